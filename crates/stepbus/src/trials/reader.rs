//! Reads a document's members, and notes with place and hint what is not as it should be.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use stepbus_document::{Document, join};

use crate::project::{Problem, Severity, suggest};

pub(super) struct Reader<'d> {
    pub(super) file: PathBuf,
    pub(super) document: &'d Document,
    pub(super) problems: Vec<Problem>,
}

impl<'d> Reader<'d> {
    pub(super) fn wrong(&mut self, pointer: &str, message: impl Into<String>) -> &mut Problem {
        let position = self.document.position(pointer);
        let line = self.document.source().lines().nth(position.line as usize - 1);
        self.problems.push(Problem {
            severity: Severity::Error,
            file: self.file.clone(),
            position: Some(position),
            location: pointer.to_owned(),
            message: message.into(),
            hint: None,
            excerpt: line.map(str::to_owned),
        });
        self.problems.last_mut().expect("just pushed")
    }

    pub(super) fn object(&mut self, value: &'d Value, at: &str) -> Option<&'d Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.wrong(at, format!("this must be an object, not {}", kind(value)));
        }
        object
    }

    /// An object with no members but these.
    pub(super) fn members(
        &mut self,
        value: &'d Value,
        at: &str,
        known: &[&str],
    ) -> Option<&'d Map<String, Value>> {
        let object = self.object(value, at)?;
        for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
            let hint = suggest(name, known.iter().copied());
            self.wrong(&join(at, name), format!("unknown field `{name}`")).hint = Some(hint);
        }
        Some(object)
    }

    pub(super) fn text(&mut self, value: &'d Value, at: &str) -> Option<&'d str> {
        let text = value.as_str();
        if text.is_none() {
            self.wrong(at, format!("this must be a text, not {}", kind(value)));
        }
        text
    }

    pub(super) fn whole(&mut self, value: &Value, at: &str) -> Option<u64> {
        let number = value.as_u64();
        if number.is_none() {
            self.wrong(at, "this must be a whole number, 0 or more");
        }
        number
    }

    pub(super) fn seconds(&mut self, value: &Value, at: &str) -> Option<Duration> {
        let seconds = value.as_f64().and_then(|number| Duration::try_from_secs_f64(number).ok());
        if seconds.is_none() {
            self.wrong(at, "this must be a number of seconds, 0 or more");
        }
        seconds
    }

    /// A name that must be one of the known ones.
    pub(super) fn name<'k>(
        &mut self,
        what: &str,
        name: &str,
        at: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> bool {
        if known.clone().any(|known| known == name) {
            return true;
        }
        let hint = suggest(name, known);
        self.wrong(at, format!("there is no {what} `{name}`")).hint = Some(hint);
        false
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
