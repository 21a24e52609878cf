//! The functions that may end a path.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::Step;
use super::error::PathError;
use super::select::Walk;

#[derive(Debug, PartialEq)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Argument>,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Argument {
    /// From the document's root.
    Path(Vec<Step>),
    Value(Value),
}

const NAMES: [&str; 13] = [
    "append", "avg", "concat", "first", "index", "keys", "last", "length", "max", "min", "size",
    "stddev", "sum",
];

impl Function {
    pub(crate) fn is_known(name: &str) -> bool {
        NAMES.contains(&name)
    }

    pub(crate) fn apply(&self, subject: &Value, walk: &Walk<'_>) -> Result<Value, PathError> {
        let arguments = self.arguments(walk)?;
        match self.name.as_str() {
            "length" | "size" => Ok(length(arguments.first().map_or(subject, |first| first))),
            "keys" => Ok(match subject {
                Value::Object(members) => members.keys().cloned().collect(),
                _ => Value::Null,
            }),
            "concat" => Ok(concat(subject, &arguments)),
            "append" => Ok(append(subject, &arguments)),
            "first" => self.item(subject, 0),
            "last" => self.item(subject, -1),
            "index" => match arguments.first().and_then(|value| value.as_i64()) {
                Some(index) => self.item(subject, index),
                None => Err(PathError::Function("index() takes one number".to_owned())),
            },
            _ => self.aggregate(subject, &arguments),
        }
    }

    fn arguments<'v>(&'v self, walk: &Walk<'v>) -> Result<Vec<Cow<'v, Value>>, PathError> {
        self.arguments
            .iter()
            .map(|argument| match argument {
                Argument::Path(steps) => walk.select(steps, walk.root),
                Argument::Value(value) => Ok(Cow::Borrowed(value)),
            })
            .collect()
    }

    fn item(&self, subject: &Value, index: i64) -> Result<Value, PathError> {
        let items = subject.as_array().ok_or_else(|| {
            PathError::Function(format!("{}() can only be applied to arrays", self.name))
        })?;
        super::select::position(index, items.len()).map(|index| items[index].clone()).ok_or_else(
            || {
                PathError::Function(format!(
                    "{}() finds no item {index} in an array of {}",
                    self.name,
                    items.len()
                ))
            },
        )
    }

    fn aggregate(&self, subject: &Value, arguments: &[Cow<'_, Value>]) -> Result<Value, PathError> {
        let mut numbers = Vec::new();
        let subject = if arguments.is_empty() { Some(subject) } else { None };
        for value in subject.into_iter().chain(arguments.iter().map(|value| &**value)) {
            match value {
                Value::Array(items) => numbers.extend(items.iter().filter_map(Value::as_f64)),
                value => numbers.extend(value.as_f64()),
            }
        }
        if numbers.is_empty() {
            return Err(PathError::Function(
                "Aggregation function attempted to calculate value using empty array".to_owned(),
            ));
        }
        let count = numbers.len() as f64;
        let sum: f64 = numbers.iter().sum();
        let result = match self.name.as_str() {
            "sum" => sum,
            "avg" => sum / count,
            "min" => numbers.iter().copied().fold(f64::INFINITY, f64::min),
            "max" => numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            _ => {
                let mean = sum / count;
                let squares: f64 = numbers.iter().map(|number| (number - mean).powi(2)).sum();
                (squares / count).sqrt()
            }
        };
        Ok(crate::jsonata::number(result))
    }
}

fn length(value: &Value) -> Value {
    match value {
        Value::Array(items) => json!(items.len()),
        Value::Object(members) => json!(members.len()),
        _ => Value::Null,
    }
}

fn concat(subject: &Value, arguments: &[Cow<'_, Value>]) -> Value {
    let mut text = String::new();
    let mut add = |value: &Value| {
        if let Value::String(part) = value {
            text.push_str(part);
        }
    };
    for value in std::iter::once(subject).chain(arguments.iter().map(|value| &**value)) {
        match value {
            Value::Array(items) => items.iter().for_each(&mut add),
            value => add(value),
        }
    }
    Value::String(text)
}

fn append(subject: &Value, arguments: &[Cow<'_, Value>]) -> Value {
    match subject {
        Value::Array(items) => {
            let added = arguments.iter().map(|value| value.clone().into_owned());
            Value::Array(items.iter().cloned().chain(added).collect())
        }
        other => other.clone(),
    }
}
