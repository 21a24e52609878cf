//! What can go wrong with an expression, in JSONata's codes.

use std::fmt;

use crate::pointer::inside;

/// An expression that cannot be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}{}", code_prefix(code.as_deref()), place(*position, token.as_deref()))]
pub struct CompileError {
    /// JSONata's code, such as `S0202`.
    pub code: Option<String>,
    pub message: String,
    /// Characters before the place where the expression stops making sense.
    pub position: Option<usize>,
    /// The token found there.
    pub token: Option<String>,
}

/// An expression that failed for the data at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    pub kind: EvalErrorKind,
    /// The expression's text without its `{% %}`.
    pub expression: String,
    /// Where in a template the expression stands (RFC 6901); `None` outside a template.
    pub pointer: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvalErrorKind {
    /// The expression returned nothing where JSON needs a value.
    Undefined,
    /// JSONata's own error.
    Thrown { code: Option<String>, message: String, token: Option<String> },
    /// A bound was reached: depth, steps, length of a sequence or bytes.
    Limit { code: Option<String>, message: String },
    /// The result is larger than the bytes it may have.
    TooLarge { message: String },
    /// The result is a function, which JSON has no form for.
    NotData,
}

impl EvalError {
    /// JSONata's code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match &self.kind {
            EvalErrorKind::Thrown { code, .. } | EvalErrorKind::Limit { code, .. } => {
                code.as_deref()
            }
            EvalErrorKind::Undefined | EvalErrorKind::NotData | EvalErrorKind::TooLarge { .. } => {
                None
            }
        }
    }

    /// What happened, as AWS words it after the expression and its field:
    /// `returned nothing (undefined).` or `threw an error during evaluation. T1006: …`.
    #[must_use]
    pub fn what(&self) -> String {
        match &self.kind {
            EvalErrorKind::Undefined => "returned nothing (undefined).".to_owned(),
            EvalErrorKind::NotData => {
                "returned a function, which is not a JSON value. Call it, or return data."
                    .to_owned()
            }
            EvalErrorKind::TooLarge { message } => {
                format!("threw an error during evaluation. {message}")
            }
            EvalErrorKind::Thrown { code, message, .. }
            | EvalErrorKind::Limit { code, message } => {
                format!(
                    "threw an error during evaluation. {}{message}",
                    code_prefix(code.as_deref())
                )
            }
        }
    }

    pub(crate) fn at(mut self, pointer: &str) -> EvalError {
        self.pointer = Some(pointer.to_owned());
        self
    }

    /// The error of a member, as one of what it is a member of.
    pub(crate) fn within(self, member: &str) -> EvalError {
        let mut pointer = String::new();
        inside(&mut pointer, member, |start| {
            start.push_str(self.pointer.as_deref().unwrap_or_default());
            EvalError { pointer: Some(start.clone()), ..self }
        })
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the JSONata expression '{}'", self.expression)?;
        if let Some(pointer) = self.pointer.as_deref().filter(|pointer| !pointer.is_empty()) {
            write!(f, " at {pointer}")?;
        }
        write!(f, " {}", self.what())
    }
}

impl std::error::Error for EvalError {}

/// Bytes given as a binding that are not JSON.
#[derive(Debug, thiserror::Error)]
#[error("the binding ${name} is not JSON: {error}")]
pub struct InvalidJson {
    pub name: String,
    #[source]
    pub error: serde_json::Error,
}

fn code_prefix(code: Option<&str>) -> String {
    code.map_or_else(String::new, |code| format!("{code}: "))
}

fn place(position: Option<usize>, token: Option<&str>) -> String {
    match (position, token) {
        (Some(position), Some(token)) => format!(" (at character {}, '{token}')", position + 1),
        (Some(position), None) => format!(" (at character {})", position + 1),
        _ => String::new(),
    }
}
