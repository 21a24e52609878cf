//! What an expression reads of the document it is evaluated over. Step Functions gives it none, so
//! at the top of an expression `$`, `$$` and bare field names stand for nothing.

use jsonata_core::ast::{AstNode, PathStep, Stage};

use super::tree::for_each_child;

/// The references to a document, as they are written, each once.
pub(super) fn references(tree: &AstNode) -> Vec<String> {
    let mut found = Vec::new();
    at_top(tree, &mut found);
    found
}

fn add(reference: &str, found: &mut Vec<String>) {
    if !found.iter().any(|known| known == reference) {
        found.push(reference.to_owned());
    }
}

/// A part of the expression for which no step of a path has given a context.
fn at_top(node: &AstNode, found: &mut Vec<String>) {
    match node {
        AstNode::Variable(name) if name.is_empty() => add("$", found),
        AstNode::ParentVariable(_) => add("$$", found),
        AstNode::Name(name) => add(name, found),
        AstNode::Wildcard => add("*", found),
        AstNode::Descendant => add("**", found),
        AstNode::Path { steps } => {
            if let Some((first, rest)) = steps.split_first() {
                at_top(&first.node, found);
                stages(first, found);
                for step in rest {
                    below(&step.node, found);
                    stages(step, found);
                }
            }
        }
        AstNode::ObjectTransform { input, pattern } => {
            at_top(input, found);
            for (key, value) in pattern {
                below(key, found);
                below(value, found);
            }
        }
        AstNode::Sort { input, terms } => {
            at_top(input, found);
            terms.iter().for_each(|(term, _)| below(term, found));
        }
        AstNode::Transform { .. } => below(node, found),
        node => for_each_child(node, &mut |child| at_top(child, found)),
    }
}

fn stages(step: &PathStep, found: &mut Vec<String>) {
    for stage in &step.stages {
        if let Stage::Filter(predicate) = stage {
            below(predicate, found);
        }
    }
}

/// A part for which a step has given a context: only `$$` still means the document.
fn below(node: &AstNode, found: &mut Vec<String>) {
    if matches!(node, AstNode::ParentVariable(_)) {
        add("$$", found);
    }
    for_each_child(node, &mut |child| below(child, found));
}

#[cfg(test)]
mod tests {
    use crate::jsonata::Jsonata;

    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        let expression = Jsonata::compile(source).unwrap();
        assert_eq!(expression.top_references().collect::<Vec<_>>(), expected, "{source}");
    }

    #[test]
    fn what_stands_for_a_document_that_is_not_there() {
        check("$.a + 1", &["$"]);
        check("$$.a", &["$$"]);
        check("order.id", &["order"]);
        check("*", &["*"]);
        check("$states.input.items[$ > 1].(name & $)", &[]);
        check("$states.input.items[id = $$.id]", &["$$"]);
        check("$map($states.input, function($v) { $v.a & b })", &["b"]);
        check("$states.input{type: $sum(price)}", &[]);
        check("$states.input^(>price)[0].name", &[]);
        check("$states.input ~> |items|{'price': price * 2}|", &[]);
        check("{'a': $x := 1, 'b': [1..3].($ * 2)}", &[]);
        check("$sum(prices)", &["prices"]);
    }
}
