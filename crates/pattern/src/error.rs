use std::fmt;

/// A pattern that EventBridge would refuse, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct InvalidPattern {
    reason: String,
    place: Option<Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    line: u32,
    column: u32,
    source: String,
}

impl InvalidPattern {
    /// The name of the error on the wire.
    pub const CODE: &str = "InvalidEventPatternException";

    pub(crate) fn anywhere(reason: impl Into<String>) -> InvalidPattern {
        InvalidPattern { reason: reason.into(), place: None }
    }

    pub(crate) fn at(reason: impl Into<String>, text: &str, offset: usize) -> InvalidPattern {
        let (line, column) = line_and_column(text, offset);
        let source = quoted_source(text);
        InvalidPattern { reason: reason.into(), place: Some(Place { line, column, source }) }
    }

    /// What is wrong, without the place and without AWS's opening sentence.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// From 1; `None` where AWS names no place either.
    pub fn line(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.line)
    }

    /// From 1, in UTF-16 units as AWS counts them.
    pub fn column(&self) -> Option<u32> {
        self.place.as_ref().map(|place| place.column)
    }

    /// The reason with its place, as the matching library words it.
    pub fn detail(&self) -> String {
        match &self.place {
            None => self.reason.clone(),
            Some(place) => format!("{}\n at {}", self.reason, place),
        }
    }
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Event pattern is not valid. Reason: {}", self.detail())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[Source: {}; line: {}, column: {}]", self.source, self.line, self.column)
    }
}

/// `[Source: …; line: …, column: …]` for a place named inside another message.
pub(crate) fn describe_place(text: &str, offset: usize) -> String {
    let (line, column) = line_and_column(text, offset);
    Place { line, column, source: quoted_source(text) }.to_string()
}

/// An event that is no JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Event is not valid. Reason: {reason} at line {line}, column {column}")]
pub struct InvalidEvent {
    reason: String,
    line: u32,
    column: u32,
}

impl InvalidEvent {
    pub(crate) fn at(reason: impl Into<String>, event: &[u8], offset: usize) -> InvalidEvent {
        let before = &event[..offset.min(event.len())];
        let (line, column) = match std::str::from_utf8(before) {
            Ok(text) => line_and_column(text, text.len()),
            Err(e) => line_and_column_of_bytes(&before[..e.valid_up_to()]),
        };
        InvalidEvent { reason: reason.into(), line, column }
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// From 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// From 1.
    pub fn column(&self) -> u32 {
        self.column
    }
}

fn line_and_column_of_bytes(valid: &[u8]) -> (u32, u32) {
    let text = String::from_utf8_lossy(valid);
    line_and_column(&text, text.len())
}

fn line_and_column(text: &str, offset: usize) -> (u32, u32) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = &text[..end];
    let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before[start..].encode_utf16().count() + 1;
    (saturate(line), saturate(column))
}

fn saturate(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// AWS shows the start of the pattern's text only.
const SHOWN_UNITS: usize = 500;

fn quoted_source(text: &str) -> String {
    let units = text.encode_utf16().count();
    let mut shown = String::from("(String)\"");
    let mut taken = 0;
    for c in text.chars() {
        taken += c.len_utf16();
        if taken > SHOWN_UNITS {
            break;
        }
        if c.is_control() && c != '\n' && c != '\r' {
            shown.push_str(&format!("\\u{:04X}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown.push('"');
    if units > SHOWN_UNITS {
        shown.push_str(&format!("[truncated {} chars]", units - SHOWN_UNITS));
    }
    shown
}
