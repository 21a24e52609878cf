//! ValidateStateMachineDefinition, and the words in which a definition is refused.

use stepbus_document::{Document, Position, SyntaxError};

use crate::definition;
use crate::diagnostic::{Diagnostic, INVALID_JSON, SCHEMA, Severity};
use crate::io::WorkflowType;

/// Every problem of a definition in JSON or YAML; none means that it can run as it is.
#[must_use]
pub fn validate(text: &str, workflow_type: WorkflowType) -> Vec<Diagnostic> {
    match read(text) {
        Ok(document) => definition::parse(&document, workflow_type).1,
        Err(problem) => vec![problem],
    }
}

/// A definition's document, or why the text holds none.
pub(crate) fn read(text: &str) -> Result<Document, Diagnostic> {
    if text.trim().is_empty() {
        return Err(not_an_object());
    }
    match Document::parse(text) {
        Ok(document) if document.value().is_object() => Ok(document),
        Ok(_) if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() => {
            Err(not_an_object())
        }
        Ok(_) => Err(no_json(text)),
        Err(error) => Err(syntax(text, &error)),
    }
}

fn not_an_object() -> Diagnostic {
    Diagnostic {
        severity: Severity::Error,
        code: SCHEMA,
        message: "Definition must be a valid JSON object".to_owned(),
        location: None,
        position: Some(Position::START),
        hint: None,
    }
}

/// Text that is a single YAML scalar: nobody meant that, so it is told as broken JSON.
fn no_json(text: &str) -> Diagnostic {
    let start = text.len() - text.trim_start().len();
    let token: String =
        text[start..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let column = start + token.chars().count() + 1;
    let position = Position { line: 1, column: u32::try_from(column).unwrap_or(u32::MAX) };
    let message = format!(
        "Unrecognized token '{token}': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
    );
    broken(text, message, position)
}

fn syntax(text: &str, error: &SyntaxError) -> Diagnostic {
    broken(text, error.message.clone(), error.position)
}

fn broken(text: &str, message: String, position: Position) -> Diagnostic {
    /// What AWS's parser shows of a text.
    const SHOWN: usize = 500;
    let shown: String = text.chars().take(SHOWN).collect();
    let place = format!(
        "[Source: (String)\"{shown}\"; line: {}, column: {}]",
        position.line, position.column
    );
    Diagnostic {
        severity: Severity::Error,
        code: INVALID_JSON,
        message: format!("{message}\n at {place}"),
        location: Some(place),
        position: Some(position),
        hint: None,
    }
}

/// The message of AWS's InvalidDefinition, when a problem is an error.
#[must_use]
pub fn refusal(problems: &[Diagnostic]) -> Option<String> {
    let errors: Vec<String> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| match &problem.location {
            Some(location) => {
                format!("{}: {} at {location}", problem.code, problem.message.trim_end())
            }
            None => format!("{}: {}", problem.code, problem.message),
        })
        .collect();
    (!errors.is_empty())
        .then(|| format!("Invalid State Machine Definition: '{}'", errors.join(", ")))
}
