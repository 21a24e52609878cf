//! JSON in which strings of the form `{% … %}` are expressions.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{CompileError, EvalError, EvalErrorKind};
use super::scope::Scope;
use super::{Jsonata, compile_error};
use crate::pointer::inside;

/// A JSON value with its expressions compiled. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Template {
    root: Arc<Node>,
}

#[derive(Debug)]
enum Node {
    Constant(Value),
    Expression(Jsonata),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Template {
    /// Compiles every expression of `value`.
    ///
    /// # Errors
    /// All strings that are no valid expression, each with its RFC 6901 pointer.
    pub fn compile(value: &Value) -> Result<Template, Vec<(String, CompileError)>> {
        let mut errors = Vec::new();
        let root = compile(value, &mut String::new(), &mut errors);
        if errors.is_empty() { Ok(Template { root: Arc::new(root) }) } else { Err(errors) }
    }

    /// The value with each expression replaced by its result; `None` when the template is one
    /// expression and that returns nothing.
    ///
    /// # Errors
    /// The first expression that fails, or that returns nothing inside the value, with its
    /// pointer.
    pub fn eval(&self, scope: &Scope<'_>) -> Result<Option<Value>, EvalError> {
        match &*self.root {
            Node::Expression(expression) => expression.eval(scope).map_err(|error| error.at("")),
            node => eval(node, scope).map(Some),
        }
    }

    /// Whether no expression is in it.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        matches!(*self.root, Node::Constant(_))
    }

    /// Calls `visit` with the pointer of each expression.
    pub fn for_each_expression(&self, visit: &mut dyn FnMut(&str, &Jsonata)) {
        walk(&self.root, &mut String::new(), visit);
    }
}

fn compile(value: &Value, pointer: &mut String, errors: &mut Vec<(String, CompileError)>) -> Node {
    match value {
        Value::String(text) => match expression_in(text) {
            Ok(None) => Node::Constant(value.clone()),
            Ok(Some(source)) => match Jsonata::compile(source) {
                Ok(expression) => Node::Expression(expression),
                Err(error) => {
                    errors.push((pointer.clone(), error));
                    Node::Constant(Value::Null)
                }
            },
            Err(error) => {
                errors.push((pointer.clone(), error));
                Node::Constant(Value::Null)
            }
        },
        Value::Array(items) => {
            let nodes: Vec<Node> = items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    inside(pointer, &index.to_string(), |pointer| compile(item, pointer, errors))
                })
                .collect();
            if nodes.iter().all(|node| matches!(node, Node::Constant(_))) {
                Node::Constant(value.clone())
            } else {
                Node::Array(nodes)
            }
        }
        Value::Object(members) => {
            let nodes: Vec<(String, Node)> = members
                .iter()
                .map(|(name, member)| {
                    let node = inside(pointer, name, |pointer| compile(member, pointer, errors));
                    (name.clone(), node)
                })
                .collect();
            if nodes.iter().all(|(_, node)| matches!(node, Node::Constant(_))) {
                Node::Constant(value.clone())
            } else {
                Node::Object(nodes)
            }
        }
        value => Node::Constant(value.clone()),
    }
}

/// The expression that a string stands for, if it does.
///
/// # Errors
/// When the string opens or closes an expression without doing the other.
pub fn expression_in(text: &str) -> Result<Option<&str>, CompileError> {
    match (text.strip_prefix("{%"), text.ends_with("%}")) {
        (None, false) => Ok(None),
        (Some(rest), true) if text.len() >= 4 => Ok(Some(rest[..rest.len() - 2].trim())),
        (Some(_), _) => Err(compile_error(
            "The string begins with '{%' but does not end with '%}'. An expression fills its \
             string: no character may follow '%}'.",
        )),
        (None, true) => Err(compile_error(
            "The string ends with '%}' but does not begin with '{%'. An expression fills its \
             string: no character may precede '{%'.",
        )),
    }
}

fn eval(node: &Node, scope: &Scope<'_>) -> Result<Value, EvalError> {
    match node {
        Node::Constant(value) => Ok(value.clone()),
        Node::Expression(expression) => match expression.eval(scope) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(EvalError {
                kind: EvalErrorKind::Undefined,
                expression: expression.source().to_owned(),
                pointer: Some(String::new()),
            }),
            Err(error) => Err(error.at("")),
        },
        Node::Array(nodes) => {
            let items = nodes.iter().enumerate().map(|(index, node)| {
                eval(node, scope).map_err(|error| error.within(&index.to_string()))
            });
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        Node::Object(nodes) => {
            let mut members = Map::with_capacity(nodes.len());
            for (name, node) in nodes {
                let value = eval(node, scope).map_err(|error| error.within(name))?;
                members.insert(name.clone(), value);
            }
            Ok(Value::Object(members))
        }
    }
}

fn walk(node: &Node, pointer: &mut String, visit: &mut dyn FnMut(&str, &Jsonata)) {
    match node {
        Node::Constant(_) => {}
        Node::Expression(expression) => visit(pointer, expression),
        Node::Array(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                inside(pointer, &index.to_string(), |pointer| walk(node, pointer, visit));
            }
        }
        Node::Object(nodes) => {
            for (name, node) in nodes {
                inside(pointer, name, |pointer| walk(node, pointer, visit));
            }
        }
    }
}
