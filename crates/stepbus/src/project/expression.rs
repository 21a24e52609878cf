//! Checks JSONata: that it compiles, and that it reads only what will be there.

use serde_json::Value;
use stepbus_document::join;
use stepbus_expr::jsonata::expression_in;
use stepbus_expr::{CompileError, Jsonata};

use super::problem::suggest;

/// Something wrong with an expression inside a template.
#[derive(Debug)]
pub(super) struct Found {
    /// From the template's root.
    pub(super) pointer: String,
    /// Of the text that holds the expression, where the place is known.
    pub(super) character: Option<usize>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// What is wrong with the expressions of a template over these variables.
pub(super) fn check(template: &Value, variables: &[&str]) -> Vec<Found> {
    let mut found = Vec::new();
    walk(template, variables, "", &mut found);
    found
}

fn walk(value: &Value, variables: &[&str], pointer: &str, found: &mut Vec<Found>) {
    match value {
        Value::String(text) => match expression_in(text) {
            Ok(None) => {}
            Ok(Some(source)) => {
                let before = text.find(source).map_or(0, |start| text[..start].chars().count());
                let problems = check_source(source, variables);
                found.extend(problems.into_iter().map(|problem| Found {
                    pointer: pointer.to_owned(),
                    character: problem.character.map(|character| before + character),
                    ..problem
                }));
            }
            Err(error) => found.push(Found { pointer: pointer.to_owned(), ..broken(&error) }),
        },
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, variables, &join(pointer, index), found);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                walk(member, variables, &join(pointer, key), found);
            }
        }
        _ => {}
    }
}

/// What is wrong with one expression, without `{% %}`.
pub(super) fn check_source(source: &str, variables: &[&str]) -> Vec<Found> {
    let expression = match Jsonata::compile(source) {
        Ok(expression) => expression,
        Err(error) => return vec![broken(&error)],
    };
    let unknown = expression.variables().filter(|name| !variables.contains(name));
    unknown
        .map(|name| {
            let known: Vec<String> = variables.iter().map(|name| format!("${name}")).collect();
            let written = format!("${name}");
            Found {
                pointer: String::new(),
                character: source.find(&written).map(|start| source[..start].chars().count()),
                message: format!("`{written}` has no value here"),
                hint: Some(suggest(&written, known.iter().map(String::as_str))),
            }
        })
        .collect()
}

fn broken(error: &CompileError) -> Found {
    Found {
        pointer: String::new(),
        character: error.position,
        message: format!("this is no JSONata: {error}"),
        hint: None,
    }
}
