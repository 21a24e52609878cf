//! JSON or YAML text as a [`serde_json::Value`] that knows the line and column of every part.
//!
//! YAML follows the 1.2 core schema: `on`, `no` and `yes` are text, quoted numbers are text.
//! What JSON cannot say (tags, infinities, several documents) and what can only be a mistake
//! (the same key twice) is refused, with the place. Every bound is a constant of this crate.

mod json;
mod locate;
mod mark;
mod schema;
mod yaml;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::mark::Mark;

/// Longest text, in bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Objects and arrays inside one another.
pub const MAX_DEPTH: usize = 128;
/// What anchors and aliases of one YAML text may copy: a byte of text or a value counts one.
pub const MAX_ALIAS_COPIES: usize = 1024 * 1024;

/// A parsed text. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Document(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Arc<str>,
    value: Value,
    root: Arc<Mark>,
}

/// A place in a text. Both count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub line: u32,
    pub column: u32,
}

impl Position {
    pub const START: Position = Position { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is neither JSON nor YAML, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {} column {}: {message}", position.line, position.column)]
pub struct SyntaxError {
    pub message: String,
    pub position: Position,
}

impl SyntaxError {
    pub(crate) fn new(message: impl Into<String>, position: Position) -> SyntaxError {
        SyntaxError { message: message.into(), position }
    }
}

impl Document {
    /// Reads a text that starts with `{` or `[` as JSON, any other as YAML 1.2.
    pub fn parse(text: &str) -> Result<Document, SyntaxError> {
        if text.len() > MAX_BYTES {
            let message =
                format!("the text has {} bytes; at most {MAX_BYTES} are read", text.len());
            return Err(SyntaxError::new(message, Position::START));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (value, root) =
            if json::looks_like(text) { json::parse(text)? } else { yaml::parse(text)? };
        Ok(Document(Arc::new(Inner { source: text.into(), value, root: root.into() })))
    }

    pub fn value(&self) -> &Value {
        &self.0.value
    }

    /// The text it was read from, without a byte order mark.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Where the member's key or the item at this RFC 6901 pointer stands. A pointer to nothing
    /// gives the place of its nearest ancestor that exists.
    pub fn position(&self, pointer: &str) -> Position {
        self.0.root.find(pointer).at
    }

    /// Where the value at this pointer starts: for a member, what stands after its key.
    pub fn value_position(&self, pointer: &str) -> Position {
        self.0.root.find(pointer).value
    }

    /// The pointer of what stands at a place: the innermost key or item that starts there or
    /// before.
    pub fn pointer_at(&self, position: Position) -> String {
        self.0.root.pointer_at(position)
    }

    /// The value at a pointer as a document of its own, whose places are those of this one.
    pub fn part(&self, pointer: &str) -> Option<Document> {
        let value = self.0.value.pointer(pointer)?.clone();
        let root = Arc::new(self.0.root.find(pointer).clone());
        Some(Document(Arc::new(Inner { source: Arc::clone(&self.0.source), value, root })))
    }

    /// The same document with each text value for which `change` gives another replaced; keys
    /// and places stay.
    pub fn map_texts(&self, mut change: impl FnMut(&str, &str) -> Option<String>) -> Document {
        let mut value = self.0.value.clone();
        if !map_texts(&mut value, "", &mut change) {
            return self.clone();
        }
        let Inner { source, root, .. } = &*self.0;
        Document(Arc::new(Inner { source: Arc::clone(source), value, root: Arc::clone(root) }))
    }

    /// The place of one character of a text value, counted in characters from 0. Where escapes
    /// or folding hide it, the start of the value.
    pub fn position_within(&self, pointer: &str, character: usize) -> Position {
        let mark = self.0.root.find(pointer);
        match self.0.value.pointer(pointer).and_then(Value::as_str) {
            Some(text) => locate::within(&self.0.source, mark, text, character),
            None => mark.value,
        }
    }
}

/// Whether anything changed.
fn map_texts(
    value: &mut Value,
    pointer: &str,
    change: &mut dyn FnMut(&str, &str) -> Option<String>,
) -> bool {
    match value {
        Value::String(text) => match change(pointer, text) {
            Some(other) => {
                *text = other;
                true
            }
            None => false,
        },
        Value::Array(items) => {
            items.iter_mut().enumerate().fold(false, |changed, (index, item)| {
                map_texts(item, &join(pointer, index), change) || changed
            })
        }
        Value::Object(map) => map.iter_mut().fold(false, |changed, (key, member)| {
            map_texts(member, &join(pointer, key), change) || changed
        }),
        _ => false,
    }
}

/// Appends one token to an RFC 6901 pointer, escaped.
pub fn join(pointer: &str, token: impl fmt::Display) -> String {
    let token = token.to_string();
    let mut joined = String::with_capacity(pointer.len() + token.len() + 1);
    joined.push_str(pointer);
    joined.push('/');
    for c in token.chars() {
        match c {
            '~' => joined.push_str("~0"),
            '/' => joined.push_str("~1"),
            other => joined.push(other),
        }
    }
    joined
}

pub(crate) fn duplicate(key: &str, first: Position, second: Position) -> SyntaxError {
    let message = format!(
        "the key `{}` stands twice; first at line {} column {}",
        shown(key),
        first.line,
        first.column
    );
    SyntaxError::new(message, second)
}

pub(crate) fn too_deep(position: Position) -> SyntaxError {
    SyntaxError::new(format!("nested deeper than {MAX_DEPTH} levels"), position)
}

/// A piece of the text, short enough for a message.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
