//! YAML 1.2: saphyr's events, made into a value by the core schema.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use serde_json::{Map, Value};

use crate::mark::{Children, Mark, Style};
use crate::schema::{self, Kind};
use crate::{MAX_ALIAS_COPIES, MAX_DEPTH, Position, SyntaxError, duplicate, shown, too_deep};

pub(crate) fn parse(text: &str) -> Result<(Value, Mark), SyntaxError> {
    let mut build = Build {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        copies_left: MAX_ALIAS_COPIES,
    };
    loop {
        let (event, span) = build.next()?;
        match event {
            Event::StreamStart | Event::Nothing => {}
            Event::DocumentStart(_) => break,
            _ => return Err(SyntaxError::new("the text is empty", position(span.start))),
        }
    }
    let (event, span) = build.next()?;
    let parsed = build.node(event, span, 0)?;
    build.end()?;
    Ok(parsed)
}

struct Build<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Value>,
    copies_left: usize,
}

impl<'a> Build<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(scan_error(&error)),
            None => Err(SyntaxError::new("the text ends too early", Position::START)),
        }
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart(_) => {
                    let message = "a second document starts; one text holds one document";
                    return Err(SyntaxError::new(message, position(span.start)));
                }
                _ => {}
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
    ) -> Result<(Value, Mark), SyntaxError> {
        let at = position(span.start);
        match event {
            Event::Alias(anchor) => self.alias(anchor, at, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), at)?;
                self.remember(anchor, &value, at)?;
                Ok((value, Mark::leaf(at, mark_style(style))))
            }
            Event::SequenceStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "seq", at)?;
                let node = self.sequence(at, depth)?;
                self.remember(anchor, &node.0, at)?;
                Ok(node)
            }
            Event::MappingStart(anchor, tag) => {
                collection_tag(tag.as_deref(), "map", at)?;
                let node = self.mapping(at, depth)?;
                self.remember(anchor, &node.0, at)?;
                Ok(node)
            }
            _ => Err(SyntaxError::new("a value is missing here", at)),
        }
    }

    fn sequence(&mut self, at: Position, depth: usize) -> Result<(Value, Mark), SyntaxError> {
        if depth >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        let mut values = Vec::new();
        let mut marks = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            let (value, mark) = self.node(event, span, depth + 1)?;
            values.push(value);
            marks.push(mark);
        }
        let mark = Mark { children: Children::Items(marks), ..Mark::leaf(at, Style::Other) };
        Ok((Value::Array(values), mark))
    }

    fn mapping(&mut self, at: Position, depth: usize) -> Result<(Value, Mark), SyntaxError> {
        if depth >= MAX_DEPTH {
            return Err(too_deep(at));
        }
        let mut map = Map::new();
        let mut marks: HashMap<Box<str>, Mark> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_at = position(span.start);
            let key = key(event, key_at)?;
            if let Some(first) = marks.get(key.as_str()) {
                return Err(duplicate(&key, first.at, key_at));
            }
            let (event, span) = self.next()?;
            let (value, mark) = self.node(event, span, depth + 1)?;
            marks.insert(key.as_str().into(), mark.keyed(key_at));
            map.insert(key, value);
        }
        let mark = Mark { children: Children::Members(marks), ..Mark::leaf(at, Style::Other) };
        Ok((Value::Object(map), mark))
    }

    fn alias(
        &mut self,
        anchor: usize,
        at: Position,
        depth: usize,
    ) -> Result<(Value, Mark), SyntaxError> {
        let Some(value) = self.anchors.get(&anchor).cloned() else {
            return Err(SyntaxError::new("the alias stands inside the value it names", at));
        };
        self.pay(&value, at)?;
        if depth + height(&value) > MAX_DEPTH {
            return Err(too_deep(at));
        }
        Ok((value, Mark::leaf(at, Style::Other)))
    }

    fn remember(&mut self, anchor: usize, value: &Value, at: Position) -> Result<(), SyntaxError> {
        if anchor == 0 {
            return Ok(());
        }
        self.pay(value, at)?;
        self.anchors.insert(anchor, value.clone());
        Ok(())
    }

    /// Takes a copy's size from what anchors and aliases may still copy.
    fn pay(&mut self, value: &Value, at: Position) -> Result<(), SyntaxError> {
        if spend(&mut self.copies_left, value) {
            return Ok(());
        }
        let message = format!("anchors and aliases copy more than {MAX_ALIAS_COPIES} bytes");
        Err(SyntaxError::new(message, at))
    }
}

fn spend(left: &mut usize, value: &Value) -> bool {
    let own = match value {
        Value::String(text) => text.len() + 1,
        Value::Object(map) => map.keys().map(String::len).sum::<usize>() + 1,
        _ => 1,
    };
    let Some(rest) = left.checked_sub(own) else {
        return false;
    };
    *left = rest;
    match value {
        Value::Array(items) => items.iter().all(|item| spend(left, item)),
        Value::Object(map) => map.values().all(|member| spend(left, member)),
        _ => true,
    }
}

fn height(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

fn key(event: Event<'_>, at: Position) -> Result<String, SyntaxError> {
    match event {
        Event::Scalar(text, ScalarStyle::Plain, ..) if text.is_empty() => {
            Err(SyntaxError::new("a key is missing before `:`", at))
        }
        Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
            let message = "`<<` (merge) is no part of YAML 1.2; write the members out";
            Err(SyntaxError::new(message, at))
        }
        Event::Scalar(text, ..) => Ok(text.into_owned()),
        _ => Err(SyntaxError::new("a key must be a plain or quoted text", at)),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: Position,
) -> Result<Value, SyntaxError> {
    let kind = match tag {
        None if style == ScalarStyle::Plain => None,
        None => Some(Kind::Text),
        Some(tag) if tag.is_yaml_core_schema() => match tag.suffix.as_str() {
            "str" => Some(Kind::Text),
            "int" => Some(Kind::Integer),
            "float" => Some(Kind::Float),
            "bool" => Some(Kind::Boolean),
            "null" => Some(Kind::Null),
            _ => return Err(unknown_tag(tag, at)),
        },
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Some(Kind::Text),
        Some(tag) => return Err(unknown_tag(tag, at)),
    };
    let resolved = match kind {
        Some(kind) => schema::read_as(kind, text),
        None => schema::resolve(text),
    };
    resolved.map_err(|message| SyntaxError::new(message, at))
}

fn collection_tag(tag: Option<&Tag>, own: &str, at: Position) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if tag.is_yaml_core_schema() && tag.suffix == own => Ok(()),
        Some(tag) if tag.handle.is_empty() && tag.suffix == "!" => Ok(()),
        Some(tag) => Err(unknown_tag(tag, at)),
        None => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, at: Position) -> SyntaxError {
    let name = if tag.is_yaml_core_schema() {
        format!("!!{}", tag.suffix)
    } else {
        format!("{}{}", tag.handle, tag.suffix)
    };
    let message = format!("the tag `{}` has no meaning here", shown(&name));
    SyntaxError::new(message, at)
}

fn mark_style(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Other,
    }
}

fn scan_error(error: &ScanError) -> SyntaxError {
    SyntaxError::new(format!("not YAML: {}", error.info()), position(*error.marker()))
}

fn position(marker: Marker) -> Position {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col() + 1) }
}
