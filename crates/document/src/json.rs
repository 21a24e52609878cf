//! JSON: serde_json judges structure and scalars, this walk adds the places.

use std::collections::HashMap;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::mark::{Children, Mark, Style};
use crate::{MAX_DEPTH, Position, SyntaxError, duplicate, too_deep};

pub(crate) fn looks_like(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

pub(crate) fn parse(text: &str) -> Result<(Value, Mark), SyntaxError> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| refused(text, &error))?;
    let mut walk = Walk { text, offset: 0, line: 1, counted: 0, column: 1 };
    walk.value(0)
}

fn refused(text: &str, error: &serde_json::Error) -> SyntaxError {
    let line = error.line().max(1);
    let written = text.split('\n').nth(line - 1).unwrap_or("");
    let bytes = if error.is_eof() { written.len() } else { error.column().saturating_sub(1) };
    let column = written.char_indices().take_while(|(offset, _)| *offset < bytes).count() + 1;
    let position = Position { line: number(line), column: number(column) };
    SyntaxError::new(format!("not JSON: {}", reason(error)), position)
}

/// serde_json's words without the place it appends, some of them plainer.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let reason = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
    match reason {
        "key must be a string" => {
            "a key must be text in double quotes (what starts with `{` or `[` is read as JSON)"
        }
        "expected ident" | "expected value" => "expected a value",
        "EOF while parsing a list" => "the text ends inside an array",
        "EOF while parsing an object" => "the text ends inside an object",
        "EOF while parsing a string" => "the text ends inside a string",
        "EOF while parsing a value" => "the text ends where a value is expected",
        other => other,
    }
    .to_owned()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Walks a text that is known to have the structure of JSON.
struct Walk<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    /// Up to where `column` has counted the characters of the line.
    counted: usize,
    column: usize,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Result<(Value, Mark), SyntaxError> {
        self.space();
        let at = self.position();
        if depth >= MAX_DEPTH && matches!(self.byte(), b'{' | b'[') {
            return Err(too_deep(at));
        }
        match self.byte() {
            b'{' => self.object(at, depth),
            b'[' => self.array(at, depth),
            b'"' => {
                let text = self.string(at)?;
                Ok((Value::String(text), Mark::leaf(at, Style::Quoted)))
            }
            _ => Ok((self.word(at)?, Mark::leaf(at, Style::Other))),
        }
    }

    fn object(&mut self, at: Position, depth: usize) -> Result<(Value, Mark), SyntaxError> {
        let mut map = Map::new();
        let mut marks: HashMap<Box<str>, Mark> = HashMap::new();
        self.offset += 1;
        while self.more(b'}') {
            let key_at = self.position();
            let key = self.string(key_at)?;
            if let Some(first) = marks.get(key.as_str()) {
                return Err(duplicate(&key, first.at, key_at));
            }
            self.space();
            self.offset += 1; // the colon
            let (value, mark) = self.value(depth + 1)?;
            marks.insert(key.as_str().into(), mark.keyed(key_at));
            map.insert(key, value);
        }
        let mark = Mark { children: Children::Members(marks), ..Mark::leaf(at, Style::Other) };
        Ok((Value::Object(map), mark))
    }

    fn array(&mut self, at: Position, depth: usize) -> Result<(Value, Mark), SyntaxError> {
        let mut values = Vec::new();
        let mut marks = Vec::new();
        self.offset += 1;
        while self.more(b']') {
            let (value, mark) = self.value(depth + 1)?;
            values.push(value);
            marks.push(mark);
        }
        let mark = Mark { children: Children::Items(marks), ..Mark::leaf(at, Style::Other) };
        Ok((Value::Array(values), mark))
    }

    /// Steps over a comma to the next member; over the closing bracket, and there is none.
    fn more(&mut self, close: u8) -> bool {
        self.space();
        if self.byte() == b',' {
            self.offset += 1;
            self.space();
        }
        let more = self.byte() != close;
        if !more {
            self.offset += 1;
        }
        more
    }

    fn string(&mut self, at: Position) -> Result<String, SyntaxError> {
        let start = self.offset;
        self.offset += 1;
        loop {
            match self.byte() {
                b'"' => break,
                b'\\' => self.offset += 2,
                _ => self.offset += 1,
            }
        }
        self.offset += 1;
        self.scalar(start, at)
    }

    fn word(&mut self, at: Position) -> Result<Value, SyntaxError> {
        let start = self.offset;
        while !matches!(self.byte(), b',' | b']' | b'}' | b' ' | b'\t' | b'\r' | b'\n') {
            self.offset += 1;
        }
        self.scalar(start, at)
    }

    fn scalar<T: serde::de::DeserializeOwned>(
        &self,
        start: usize,
        at: Position,
    ) -> Result<T, SyntaxError> {
        serde_json::from_str(&self.text[start..self.offset])
            .map_err(|error| SyntaxError::new(format!("not JSON: {}", reason(&error)), at))
    }

    fn space(&mut self) {
        while matches!(self.byte(), b' ' | b'\t' | b'\r' | b'\n') {
            self.offset += 1;
            if self.text.as_bytes()[self.offset - 1] == b'\n' {
                self.line += 1;
                self.counted = self.offset;
                self.column = 1;
            }
        }
    }

    /// The byte to read next. The structure was checked, so a closing bracket comes first.
    fn byte(&self) -> u8 {
        self.text.as_bytes()[self.offset]
    }

    fn position(&mut self) -> Position {
        self.column += self.text[self.counted..self.offset].chars().count();
        self.counted = self.offset;
        Position { line: number(self.line), column: number(self.column) }
    }
}
