//! The metered form of an expression: see [`super::meter`].

use jsonata_core::ast::{AstNode, BinaryOp, PathStep, Stage, UnaryOp};
use jsonata_core::value::with_stack;

use super::functions;
use super::meter::{
    BELOW, BIND, COPY, FOLD, INDEX, INTO, KEEP, NAME, PAIRS, PASS, PUT, READ, SPAN, TICK, WALK,
};

/// A copy of `node` that charges for its work.
pub(super) fn metered(node: &AstNode) -> AstNode {
    with_stack(|| match node {
        AstNode::Path { steps } => path(steps),
        AstNode::Binary { op: BinaryOp::ChainPipe, lhs, rhs } => pipe(lhs, rhs),
        AstNode::Binary { op, lhs, rhs } => binary(*op, lhs, rhs),
        AstNode::Unary { op, operand } => unary(*op, operand),
        AstNode::Function { name, args, is_builtin } => AstNode::Function {
            name: name.clone(),
            args: arguments(name, args),
            is_builtin: *is_builtin,
        },
        AstNode::Call { procedure, args } => {
            AstNode::Call { procedure: Box::new(metered(procedure)), args: arguments("", args) }
        }
        AstNode::Lambda { params, body, signature, thunk } => AstNode::Lambda {
            params: params.clone(),
            body: Box::new(after(
                call(TICK, params.iter().cloned().map(AstNode::Variable).collect()),
                metered(body),
            )),
            signature: signature.clone(),
            thunk: *thunk,
        },
        AstNode::Array(items) => AstNode::Array(items.iter().map(item).collect()),
        AstNode::Block(items) => AstNode::Block(all(items)),
        AstNode::ArrayGroup(items) => AstNode::ArrayGroup(items.iter().map(item).collect()),
        AstNode::Object(pairs) => AstNode::Object(pairs_of(pairs)),
        AstNode::ObjectTransform { input, pattern } => AstNode::ObjectTransform {
            input: Box::new(uncharged(input)),
            pattern: pairs_of(pattern),
        },
        AstNode::Conditional { condition, then_branch, else_branch } => AstNode::Conditional {
            condition: Box::new(metered(condition)),
            then_branch: Box::new(metered(then_branch)),
            else_branch: else_branch.as_deref().map(|other| Box::new(metered(other))),
        },
        AstNode::FunctionApplication(inner) => {
            AstNode::FunctionApplication(Box::new(metered(inner)))
        }
        AstNode::Sort { input, terms } => AstNode::Sort {
            input: Box::new(uncharged(input)),
            terms: terms.iter().map(|(term, up)| (each(term), *up)).collect(),
        },
        AstNode::Transform { location, update, delete } => AstNode::Transform {
            location: Box::new(metered(location)),
            update: Box::new(metered(update)),
            delete: delete.as_deref().map(|delete| Box::new(metered(delete))),
        },
        AstNode::String(_)
        | AstNode::Name(_)
        | AstNode::Number(_)
        | AstNode::Boolean(_)
        | AstNode::Null
        | AstNode::Undefined
        | AstNode::Placeholder
        | AstNode::Regex { .. }
        | AstNode::Variable(_)
        | AstNode::ParentVariable(_)
        | AstNode::Wildcard
        | AstNode::Descendant
        | AstNode::Parent(_) => node.clone(),
    })
}

fn all(nodes: &[AstNode]) -> Vec<AstNode> {
    nodes.iter().map(metered).collect()
}

fn call(name: &str, args: Vec<AstNode>) -> AstNode {
    AstNode::Function { name: name.to_owned(), args, is_builtin: true }
}

/// `node`, evaluated after a charge that is always true. A condition keeps a tail call one.
fn after(charge: AstNode, node: AstNode) -> AstNode {
    AstNode::Conditional {
        condition: Box::new(charge),
        then_branch: Box::new(node),
        else_branch: None,
    }
}

/// An item of an array, into which a sequence is copied. An array in an array stays one, and the
/// evaluator knows it by its tree.
fn item(node: &AstNode) -> AstNode {
    match node {
        AstNode::Array(_)
        | AstNode::ArrayGroup(_)
        | AstNode::Binary { op: BinaryOp::Range, .. } => metered(node),
        node if is_literal(node) => node.clone(),
        node => call(COPY, vec![metered(node)]),
    }
}

/// What is evaluated once for each of many values.
fn each(node: &AstNode) -> AstNode {
    after(call(TICK, Vec::new()), metered(node))
}

fn pairs_of(pairs: &[(AstNode, AstNode)]) -> Vec<(AstNode, AstNode)> {
    pairs.iter().map(|(key, value)| (each(key), metered(value))).collect()
}

fn binary(op: BinaryOp, lhs: &AstNode, rhs: &AstNode) -> AstNode {
    let (lhs, rhs) = match op {
        BinaryOp::Concatenate | BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::In => {
            (whole(lhs), whole(rhs))
        }
        BinaryOp::Range => (call(SPAN, vec![metered(lhs)]), call(SPAN, vec![metered(rhs)])),
        BinaryOp::ColonEqual => (lhs.clone(), kept(rhs)),
        BinaryOp::FocusBind | BinaryOp::IndexBind => (lhs.clone(), rhs.clone()),
        _ => (metered(lhs), metered(rhs)),
    };
    AstNode::Binary { op, lhs: Box::new(lhs), rhs: Box::new(rhs) }
}

fn unary(op: UnaryOp, operand: &AstNode) -> AstNode {
    AstNode::Unary { op, operand: Box::new(metered(operand)) }
}

/// A value that is read from end to end. Literals are paid for by the expression's length.
fn whole(node: &AstNode) -> AstNode {
    match node {
        AstNode::String(_) | AstNode::Number(_) | AstNode::Boolean(_) | AstNode::Null => {
            node.clone()
        }
        node => call(READ, vec![metered(node)]),
    }
}

fn kept(node: &AstNode) -> AstNode {
    match node {
        // The evaluator looks at these trees to let a function see its own name.
        AstNode::Lambda { .. } | AstNode::Variable(_) | AstNode::Transform { .. } => metered(node),
        AstNode::Binary { op: BinaryOp::ColonEqual, .. } => metered(node),
        AstNode::Function { args, .. } if args.contains(&AstNode::Placeholder) => metered(node),
        node => call(KEEP, vec![metered(node)]),
    }
}

/// The evaluator looks at the trees of both sides of `~>`: a call takes the left side as its first
/// argument, and two functions make a third.
fn pipe(lhs: &AstNode, rhs: &AstNode) -> AstNode {
    let left = match lhs {
        AstNode::Path { .. } | AstNode::Array(_) | AstNode::Object(_) => whole(lhs),
        lhs => metered(lhs),
    };
    let node = AstNode::Binary {
        op: BinaryOp::ChainPipe,
        lhs: Box::new(left),
        rhs: Box::new(uncharged(rhs)),
    };
    match lhs {
        AstNode::Variable(name) if !functions::is_function(name) => {
            after(call(WALK, vec![lhs.clone(), AstNode::String(BELOW.to_string())]), node)
        }
        _ => node,
    }
}

fn arguments(name: &str, args: &[AstNode]) -> Vec<AstNode> {
    let partial = args.contains(&AstNode::Placeholder);
    let higher = matches!(
        name,
        "map" | "filter" | "reduce" | "single" | "sift" | "each" | "sort" | "match" | "replace"
    );
    let put = match (name, args.len()) {
        ("join", 2) => Some(1),
        ("replace", 3..) => Some(2),
        _ => None,
    };
    let folds = name == "reduce" && !matches!(args.get(1), Some(AstNode::Lambda { .. }));
    args.iter()
        .enumerate()
        .map(|(index, arg)| match arg {
            AstNode::Lambda { params, body, signature, thunk: _ } if put == Some(index) => {
                // Each replacement is copied, so each is read.
                let body = after(call(TICK, Vec::new()), call(READ, vec![metered(body)]));
                let (params, signature) = (params.clone(), signature.clone());
                AstNode::Lambda { params, body: Box::new(body), signature, thunk: false }
            }
            arg if !partial && put == Some(index) => call(PUT, vec![metered(arg)]),
            arg if !partial && put.is_some_and(|_| index == 0) => call(INTO, vec![metered(arg)]),
            AstNode::Placeholder | AstNode::Lambda { .. } | AstNode::Regex { .. } => metered(arg),
            // The evaluator looks at the tree of a function that is an argument.
            AstNode::Variable(_) | AstNode::Function { .. } if higher && index > 0 => metered(arg),
            AstNode::Variable(name) if functions::is_function(name) => arg.clone(),
            arg if partial => call(BIND, vec![metered(arg)]),
            arg if name == "distinct" => call(PAIRS, vec![metered(arg)]),
            arg if folds && index == 0 => call(FOLD, vec![metered(arg)]),
            arg => whole(arg),
        })
        .collect()
}

fn path(steps: &[PathStep]) -> AstNode {
    let rewritten = AstNode::Path { steps: steps.iter().map(step).collect() };
    match charge_of(steps) {
        Some(charge) => after(charge, rewritten),
        None => rewritten,
    }
}

/// The charge for following the path's names, from its variable or from the context.
fn charge_of(steps: &[PathStep]) -> Option<AstNode> {
    let (start, rest) = match &steps.first()?.node {
        AstNode::Variable(_) | AstNode::ParentVariable(_) => {
            (steps[0].node.clone(), steps.get(1..)?)
        }
        AstNode::Name(_) | AstNode::Wildcard | AstNode::Descendant => {
            (AstNode::Variable(String::new()), steps)
        }
        _ => return None,
    };
    let mut args = vec![start];
    args.extend(steps.first().into_iter().filter(|_| rest.len() < steps.len()).flat_map(indices));
    for step in rest {
        match &step.node {
            AstNode::Name(name) => {
                args.push(AstNode::String(format!("{NAME}{name}")));
                args.extend(indices(step));
            }
            AstNode::Wildcard | AstNode::Descendant => {
                args.push(AstNode::String(BELOW.to_string()));
                break;
            }
            _ => break,
        }
    }
    Some(call(WALK, args))
}

/// Predicates that pick one item; any other is charged for as it runs.
fn indices(step: &PathStep) -> impl Iterator<Item = AstNode> {
    step.stages.iter().filter_map(|stage| match stage {
        Stage::Filter(predicate) => match **predicate {
            AstNode::Number(index) => {
                Some(AstNode::String(format!("{INDEX}{}", index.floor() as i64)))
            }
            _ => None,
        },
        _ => None,
    })
}

fn step(step: &PathStep) -> PathStep {
    let node = match &step.node {
        AstNode::FunctionApplication(inner) => {
            AstNode::FunctionApplication(Box::new(body(inner, step.inner_tuple)))
        }
        AstNode::Block(_) => body(&step.node, true),
        // `[]` after a call keeps what the call gave, before a guard would unwrap it.
        AstNode::Function { .. } | AstNode::Call { .. } | AstNode::Conditional { .. }
            if step.stages.is_empty() =>
        {
            body(&step.node, false)
        }
        node => uncharged(node),
    };
    let stages = step
        .stages
        .iter()
        .map(|stage| match stage {
            Stage::Filter(predicate) if !is_literal(predicate) => {
                Stage::Filter(Box::new(each(predicate)))
            }
            stage => stage.clone(),
        })
        .collect();
    PathStep {
        stages,
        focus: step.focus.clone(),
        index_var: step.index_var.clone(),
        ancestor_label: step.ancestor_label.clone(),
        is_tuple: step.is_tuple,
        inner_tuple: step.inner_tuple,
        ..PathStep::new(node)
    }
}

fn body(node: &AstNode, keep_block: bool) -> AstNode {
    if keep_block { tail(node) } else { call(PASS, vec![metered(node)]) }
}

/// A body whose last path has to stay one: the names and parents it binds reach the steps after
/// it. Its charges stand before it.
fn tail(node: &AstNode) -> AstNode {
    match node {
        AstNode::Block(items) => match items.split_last() {
            Some((last, before)) => {
                let mut items = vec![call(TICK, Vec::new())];
                items.extend(before.iter().map(metered));
                if let AstNode::Path { steps } = last {
                    items.extend(charge_of(steps));
                }
                items.push(tail(last));
                AstNode::Block(items)
            }
            None => node.clone(),
        },
        AstNode::FunctionApplication(inner) => AstNode::FunctionApplication(Box::new(tail(inner))),
        node => uncharged(node),
    }
}

/// A path without a charge before it, where it is no value yet.
fn uncharged(node: &AstNode) -> AstNode {
    match node {
        AstNode::Path { steps } => AstNode::Path { steps: steps.iter().map(step).collect() },
        node => metered(node),
    }
}

fn is_literal(node: &AstNode) -> bool {
    match node {
        AstNode::Number(_) | AstNode::String(_) | AstNode::Boolean(_) => true,
        AstNode::Unary { op: UnaryOp::Negate, operand } => is_literal(operand),
        _ => false,
    }
}
