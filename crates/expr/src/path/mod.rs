//! JSONPath as Step Functions reads it, which is Jayway's dialect: a definite path gives a bare
//! value and any other an array, filters know words such as `in` and `subsetof`, and functions
//! such as `.length()` may end a path.

mod error;
mod filter;
mod function;
mod parse;
mod select;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

pub use error::PathError;

use filter::Condition;
use function::Function;

/// A parsed path. Cloning is cheap.
#[derive(Clone)]
pub struct Path {
    text: Arc<str>,
    root: Root,
    steps: Arc<[Step]>,
}

/// Where a path begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// `$`
    Input,
    /// `$$`
    Context,
    /// `$name`
    Variable(Arc<str>),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// One name, or several of one object.
    Names(Vec<String>),
    Indices(Vec<i64>),
    Slice {
        from: Option<i64>,
        to: Option<i64>,
    },
    Wildcard,
    /// The rest of the path holds for every value below.
    Scan,
    Filter(Condition),
    Function(Function),
}

/// What the roots of paths stand for.
#[derive(Clone, Copy)]
pub struct Roots<'a> {
    pub input: &'a Value,
    pub context: &'a Value,
    /// The value of `$name`, where there is one.
    pub variables: &'a dyn Fn(&str) -> Option<&'a Value>,
}

impl<'a> Roots<'a> {
    /// Roots without variables.
    #[must_use]
    pub fn new(input: &'a Value, context: &'a Value) -> Roots<'a> {
        Roots { input, context, variables: &|_| None }
    }

    /// The document a root stands for, as text for a message.
    pub(crate) fn document(self, root: &Root) -> String {
        match root {
            Root::Input => self.input.to_string(),
            Root::Context => self.context.to_string(),
            Root::Variable(name) => {
                (self.variables)(name).map_or_else(String::new, Value::to_string)
            }
        }
    }
}

impl fmt::Debug for Roots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("input", &self.input).field("context", &self.context).finish()
    }
}

impl Path {
    /// Reads a path: `$…`, `$$…` or `$name…`.
    ///
    /// # Errors
    /// When the text is no path; the message says where and why.
    pub fn parse(text: &str) -> Result<Path, PathError> {
        let (root, steps) = parse::path(text)?;
        Ok(Path { text: text.into(), root, steps: steps.into() })
    }

    /// The text it was read from.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    #[must_use]
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Whether it leads to one value at most, which [`Path::select`] then gives bare.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        select::is_definite(&self.steps)
    }

    /// Whether it is a reference path: names and single indices, nothing else.
    #[must_use]
    pub fn is_reference(&self) -> bool {
        self.steps.iter().all(|step| match step {
            Step::Names(names) => names.len() == 1,
            Step::Indices(indices) => indices.len() == 1,
            _ => false,
        })
    }

    /// Whether it is its root and nothing more.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.steps.is_empty()
    }

    /// What the path leads to, from `root` as the value its first sign stands for.
    ///
    /// # Errors
    /// When a definite path leads nowhere, in Jayway's words, or a bound is reached.
    pub fn select<'a>(&self, root: &'a Value) -> Result<Cow<'a, Value>, PathError> {
        select::select(&self.steps, root, root)
    }

    /// What the path leads to, from the root it names.
    ///
    /// # Errors
    /// As [`Path::select`], or when no such variable is known.
    pub fn select_in<'a>(&self, roots: Roots<'a>) -> Result<Cow<'a, Value>, PathError> {
        match &self.root {
            Root::Input => self.select(roots.input),
            Root::Context => self.select(roots.context),
            Root::Variable(name) => match (roots.variables)(name) {
                Some(value) => self.select(value),
                None => Err(PathError::UnknownVariable { name: name.to_string() }),
            },
        }
    }

    /// Puts `value` where the reference path points, making objects on the way as `ResultPath`
    /// does.
    ///
    /// # Errors
    /// When the path is no reference path, or leads through something that is no object or array.
    pub fn set(&self, root: &mut Value, value: Value) -> Result<(), PathError> {
        if !self.is_reference() {
            return Err(PathError::NotReference { path: self.text.to_string() });
        }
        if !self.fits(root) {
            return Err(PathError::CannotSet {
                path: self.text.to_string(),
                input: root.to_string(),
            });
        }
        let mut at = root;
        for step in self.steps.iter() {
            at = match step {
                Step::Names(names) => {
                    if !at.is_object() {
                        *at = Value::Object(Map::new());
                    }
                    at.as_object_mut().expect("made above").entry(&names[0]).or_insert(Value::Null)
                }
                Step::Indices(indices) => {
                    let length = at.as_array().map_or(0, Vec::len);
                    let index = select::position(indices[0], length).expect("checked by fits");
                    &mut at[index]
                }
                _ => unreachable!("a reference path has names and indices only"),
            };
        }
        *at = value;
        Ok(())
    }

    /// Whether every step meets an object it may extend, an item that is there, or nothing yet.
    fn fits(&self, root: &Value) -> bool {
        let mut at = Some(root);
        for (index, step) in self.steps.iter().enumerate() {
            at = match (step, at) {
                (Step::Names(names), Some(Value::Object(members))) => members.get(&names[0]),
                // What a step before this one will make; null is filled, but not the input itself.
                (Step::Names(_), None) => None,
                (Step::Names(_), Some(Value::Null)) if index > 0 => None,
                (Step::Indices(indices), Some(Value::Array(items))) => {
                    match select::position(indices[0], items.len()) {
                        Some(index) => items.get(index),
                        None => return false,
                    }
                }
                _ => return false,
            };
        }
        true
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Path").field(&self.text).finish()
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Path {}
