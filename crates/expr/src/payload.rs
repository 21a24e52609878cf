//! Payload templates of JSONPath states: in an object, `"name.$": "$.a"` becomes
//! `"name": value of $.a`, and everything else stays as written.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::intrinsic::{Intrinsic, IntrinsicError, IntrinsicSyntax};
use crate::path::{Path, PathError, Roots};
use crate::random::{Draws, Env};

/// A path or a call of an intrinsic function, as a field ending in `.$` or `Path` may hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Path(Path),
    Intrinsic(Intrinsic),
}

/// A compiled payload template. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct PayloadTemplate {
    root: Arc<Node>,
}

#[derive(Debug)]
enum Node {
    Constant(Value),
    Source { field: String, source: Source },
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// A field of a template that is neither a path nor a call, or that is there twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadProblem {
    /// Where the field stands (RFC 6901), its name with `.$`.
    pub pointer: String,
    pub field: String,
    /// The same name stands beside it without `.$`.
    pub twice: bool,
    /// What is wrong in particular, or what to do.
    pub reason: String,
}

impl fmt::Display for PayloadProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.twice {
            let name = self.field.trim_end_matches(".$");
            return write!(
                f,
                "The field '{name}' is given twice, as '{name}' and as '{}'",
                self.field
            );
        }
        write!(
            f,
            "The value for the field '{}' must be a valid JSONPath or a valid intrinsic function \
             call",
            self.field
        )
    }
}

impl std::error::Error for PayloadProblem {}

/// A source that gave no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// AWS's States.ParameterPathFailure when `field` is set.
    #[error("{}", not_found(path, field.as_deref(), input))]
    PathNotFound { path: String, field: Option<String>, input: String, reason: String },
    #[error(transparent)]
    Path(PathError),
    /// AWS's States.IntrinsicFailure.
    #[error(transparent)]
    Intrinsic(IntrinsicError),
}

fn not_found(path: &str, field: Option<&str>, input: &str) -> String {
    let field =
        field.map_or_else(String::new, |field| format!(" specified for the field '{field}'"));
    format!("The JSONPath '{path}'{field} could not be found in the input '{input}'")
}

impl Source {
    /// Reads a path or a call.
    ///
    /// # Errors
    /// What is wrong, and at which character.
    pub fn parse(text: &str) -> Result<Source, String> {
        if Intrinsic::is_meant(text) {
            return Intrinsic::parse(text)
                .map(Source::Intrinsic)
                .map_err(|error: IntrinsicSyntax| error.to_string());
        }
        Path::parse(text).map(Source::Path).map_err(|error| error.to_string())
    }

    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Source::Path(path) => path.text(),
            Source::Intrinsic(intrinsic) => intrinsic.text(),
        }
    }

    /// The paths it reads.
    pub fn for_each_path<'a>(&'a self, visit: &mut dyn FnMut(&'a Path)) {
        match self {
            Source::Path(path) => visit(path),
            Source::Intrinsic(intrinsic) => intrinsic.for_each_path(visit),
        }
    }

    /// The value it stands for.
    ///
    /// # Errors
    /// When a path leads nowhere or a function fails.
    pub fn eval(&self, roots: Roots<'_>, env: Env) -> Result<Value, SourceError> {
        self.eval_for(None, roots, &Draws::new(env.seed))
    }

    fn eval_for(
        &self,
        field: Option<&str>,
        roots: Roots<'_>,
        draws: &Draws,
    ) -> Result<Value, SourceError> {
        match self {
            Source::Intrinsic(intrinsic) => {
                intrinsic.eval_drawing(roots, draws).map_err(SourceError::Intrinsic)
            }
            Source::Path(path) => match path.select_in(roots) {
                Ok(value) => Ok(value.into_owned()),
                Err(PathError::NotFound(reason)) => Err(SourceError::PathNotFound {
                    path: path.text().to_owned(),
                    field: field.map(str::to_owned),
                    input: roots.document(path.root()),
                    reason,
                }),
                Err(error) => Err(SourceError::Path(error)),
            },
        }
    }
}

impl PayloadTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// Every field ending in `.$` that is neither a path nor a call, or that is there twice.
    pub fn compile(value: &Value) -> Result<PayloadTemplate, Vec<PayloadProblem>> {
        let mut problems = Vec::new();
        let root = compile(value, &mut String::new(), &mut problems);
        if problems.is_empty() {
            Ok(PayloadTemplate { root: Arc::new(root) })
        } else {
            Err(problems)
        }
    }

    /// The template's value.
    ///
    /// # Errors
    /// The first field that has no value.
    pub fn eval(&self, roots: Roots<'_>, env: Env) -> Result<Value, SourceError> {
        eval(&self.root, roots, &Draws::new(env.seed))
    }

    /// Whether nothing in it is computed.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        matches!(*self.root, Node::Constant(_))
    }

    /// The paths it reads.
    pub fn for_each_path<'a>(&'a self, visit: &mut dyn FnMut(&'a Path)) {
        walk(&self.root, visit);
    }
}

fn compile(value: &Value, pointer: &mut String, problems: &mut Vec<PayloadProblem>) -> Node {
    match value {
        Value::Array(items) => {
            let nodes: Vec<Node> = items
                .iter()
                .enumerate()
                .map(|(index, item)| {
                    crate::pointer::inside(pointer, &index.to_string(), |pointer| {
                        compile(item, pointer, problems)
                    })
                })
                .collect();
            if nodes.iter().all(|node| matches!(node, Node::Constant(_))) {
                Node::Constant(value.clone())
            } else {
                Node::Array(nodes)
            }
        }
        Value::Object(members) => {
            let mut nodes = Vec::with_capacity(members.len());
            let mut constant = true;
            for (name, member) in members {
                let (name, node) = crate::pointer::inside(pointer, name, |pointer| {
                    if is_twice(name, members) {
                        problems.push(PayloadProblem {
                            pointer: pointer.clone(),
                            field: name.clone(),
                            twice: true,
                            reason: "leave one of them out".to_owned(),
                        });
                    }
                    compile_member(name, member, pointer, problems)
                });
                constant &= matches!(node, Node::Constant(_));
                nodes.push((name, node));
            }
            if constant { Node::Constant(value.clone()) } else { Node::Object(nodes) }
        }
        value => Node::Constant(value.clone()),
    }
}

/// Whether the name stands in the object without `.$` too.
fn is_twice(name: &str, members: &Map<String, Value>) -> bool {
    name.strip_suffix(".$").is_some_and(|plain| members.contains_key(plain))
}

fn compile_member(
    name: &str,
    member: &Value,
    pointer: &mut String,
    problems: &mut Vec<PayloadProblem>,
) -> (String, Node) {
    let Some(target) = name.strip_suffix(".$") else {
        return (name.to_owned(), compile(member, pointer, problems));
    };
    let parsed = match member {
        Value::String(text) => Source::parse(text),
        other => Err(format!("it is {other}, not a string")),
    };
    let node = match parsed {
        Ok(source) => Node::Source { field: name.to_owned(), source },
        Err(reason) => {
            let (pointer, field) = (pointer.clone(), name.to_owned());
            problems.push(PayloadProblem { pointer, field, twice: false, reason });
            Node::Constant(Value::Null)
        }
    };
    (target.to_owned(), node)
}

fn eval(node: &Node, roots: Roots<'_>, draws: &Draws) -> Result<Value, SourceError> {
    match node {
        Node::Constant(value) => Ok(value.clone()),
        Node::Source { field, source } => source.eval_for(Some(field), roots, draws),
        Node::Array(nodes) => nodes.iter().map(|node| eval(node, roots, draws)).collect(),
        Node::Object(nodes) => {
            let mut members = Map::with_capacity(nodes.len());
            for (name, node) in nodes {
                members.insert(name.clone(), eval(node, roots, draws)?);
            }
            Ok(Value::Object(members))
        }
    }
}

fn walk<'a>(node: &'a Node, visit: &mut dyn FnMut(&'a Path)) {
    match node {
        Node::Constant(_) => {}
        Node::Source { source, .. } => source.for_each_path(visit),
        Node::Array(nodes) => nodes.iter().for_each(|node| walk(node, visit)),
        Node::Object(nodes) => nodes.iter().for_each(|(_, node)| walk(node, visit)),
    }
}
