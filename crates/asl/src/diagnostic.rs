//! What is wrong with a definition, and where.

use std::fmt;

use serde::Serialize;
use stepbus_document::{Document, Position, join};

use crate::definition::model::StateId;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    Error,
    Warning,
}

/// One problem of a definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// AWS's code, as `SCHEMA_VALIDATION_FAILED`.
    pub code: &'static str,
    pub message: String,
    /// As in `/States/X/Field`; none when the definition as a whole is meant.
    pub location: Option<String>,
    pub position: Option<Position>,
    /// What was probably meant, or what to do.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(position) = self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}: {}", self.code, self.message)?;
        if let Some(location) = &self.location {
            write!(f, " at {location}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

macro_rules! codes {
    ($($(#[$about:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$about])* pub(crate) const $name: &str = $code;)*
        /// Every code that a diagnostic may have.
        pub const CODES: &[&str] = &[$($code),*];
    };
}

codes! {
    INVALID_JSON = "INVALID_JSON_DESCRIPTION";
    SCHEMA = "SCHEMA_VALIDATION_FAILED";
    MISSING_TARGET = "MISSING_TRANSITION_TARGET";
    MISSING_END = "MISSING_END_STATE";
    DUPLICATE_STATE = "DUPLICATE_STATE_NAME";
    INVALID_STATE_NAME = "INVALID_STATE_NAME";
    DUPLICATE_LABEL = "DUPLICATE_LABEL_NAME";
    INVALID_LABEL = "INVALID_LABEL_NAME";
    INVALID_RESOURCE = "INVALID_RESOURCE";
    INVALID_JSONATA = "INVALID_JSONATA_EXPRESSION";
    TOO_DEEP = "TOO_DEEPLY_NESTED";
    /// Ours: AWS lets the execution find out.
    UNASSIGNED = "UNASSIGNED_VARIABLE";
    /// Ours: AWS lets such a loop run until its history is full.
    ENDLESS_LOOP = "ENDLESS_LOOP";
    NO_DOLLAR = "NO_DOLLAR";
    PASS_RESULT_IS_STATIC = "PASS_RESULT_IS_STATIC";
}

/// A place in a definition, in the document's words and in AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct At {
    /// RFC 6901: `/States/X/Choices/0/Next`
    pub(crate) pointer: String,
    /// AWS's: `/States/X/Choices[0]/Next`
    pub(crate) location: String,
}

impl At {
    pub(crate) fn root() -> At {
        At { pointer: String::new(), location: String::new() }
    }

    pub(crate) fn field(&self, name: &str) -> At {
        At { pointer: join(&self.pointer, name), location: format!("{}/{name}", self.location) }
    }

    pub(crate) fn item(&self, index: usize) -> At {
        At { pointer: join(&self.pointer, index), location: format!("{}[{index}]", self.location) }
    }

    /// The place at an RFC 6901 pointer from here.
    pub(crate) fn inside(&self, pointer: &str) -> At {
        At {
            pointer: format!("{}{pointer}", self.pointer),
            location: format!("{}{}", self.location, location_of(pointer)),
        }
    }

    /// `/` for the root.
    fn shown(&self) -> String {
        if self.location.is_empty() { "/".to_owned() } else { self.location.clone() }
    }
}

/// A variable that an expression reads.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) at: At,
    /// The state, of the machine that is being read, in which it is read.
    pub(crate) state: StateId,
}

/// The problems found so far.
#[derive(Debug)]
pub(crate) struct Problems<'d> {
    document: &'d Document,
    pub(crate) found: Vec<Diagnostic>,
    /// Variables that expressions read, until it is known who assigns them.
    pub(crate) variables_read: Vec<Read>,
}

impl<'d> Problems<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Problems { document, found: Vec::new(), variables_read: Vec::new() }
    }

    pub(crate) fn reads(&mut self, variable: &str, at: &At) {
        self.variables_read.push(Read { name: variable.to_owned(), at: at.clone(), state: 0 });
    }

    pub(crate) fn schema(&mut self, at: &At, message: impl Into<String>) -> &mut Diagnostic {
        self.error(SCHEMA, at, message)
    }

    pub(crate) fn error(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Error, code, at, message.into())
    }

    pub(crate) fn warning(
        &mut self,
        code: &'static str,
        at: &At,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        self.add(Severity::Warning, code, at, message.into())
    }

    fn add(
        &mut self,
        severity: Severity,
        code: &'static str,
        at: &At,
        message: String,
    ) -> &mut Diagnostic {
        let position = Some(self.document.position(&at.pointer));
        let location = Some(at.shown());
        self.found.push(Diagnostic { severity, code, message, location, position, hint: None });
        self.found.last_mut().expect("just pushed")
    }

    /// A problem inside a text value, at its `character`th character.
    pub(crate) fn within(
        &mut self,
        code: &'static str,
        at: &At,
        character: usize,
        message: impl Into<String>,
    ) {
        let position = self.document.position_within(&at.pointer, character);
        self.error(code, at, message).position = Some(position);
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.found.iter().any(|problem| problem.severity == Severity::Error)
    }
}

impl Diagnostic {
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }
}

/// The one of `known` that was probably meant.
pub(crate) fn closest<'k>(
    written: &str,
    known: impl IntoIterator<Item = &'k str>,
) -> Option<&'k str> {
    let lower = written.to_lowercase();
    known
        .into_iter()
        .filter(|name| *name != written)
        .map(|name| (strsim::damerau_levenshtein(&lower, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= name.chars().count().div_ceil(4).min(3))
        .filter(|(_, name)| name.chars().count() > 2)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// An RFC 6901 pointer as AWS writes it: `/a/0` is `/a[0]`.
pub(crate) fn location_of(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |mut location, token| {
        if !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_digit()) {
            location.push_str(&format!("[{token}]"));
        } else {
            location.push('/');
            location.push_str(&token.replace("~1", "/").replace("~0", "~"));
        }
        location
    })
}
