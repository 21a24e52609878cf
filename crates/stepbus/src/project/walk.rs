//! Holds a file against its layout: fills in references, and notes everything that does not fit.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use stepbus_document::{Document, join};

use super::expression;
use super::format;
use super::problem::{Problems, Source, suggest};
use super::shape::{Inline, Object, Section, Shape, Text};
use super::vars::Fill;

/// What to do about a secret in the file.
const CLEAR: &str = "take it from the environment, \"${NAME}\", or from a file, \"${file:PATH}\"";

/// Two texts: as written, with its references, and as filled in.
pub(super) type Filled = BTreeMap<String, (String, String)>;

pub(super) struct Walk<'a> {
    pub(super) source: &'a Source,
    pub(super) document: &'a Document,
    pub(super) fill: Fill<'a>,
    pub(super) problems: &'a mut Problems,
    /// What held a reference, by pointer.
    pub(super) filled: Filled,
}

impl Walk<'_> {
    pub(super) fn value(&mut self, shape: &Shape, value: &mut Value, at: &str) {
        match (shape, &mut *value) {
            (Shape::Object(object), Value::Object(map)) => self.object(object, map, at),
            (Shape::Named(inner), Value::Object(map)) => self.named(inner, map, at),
            (Shape::Params, Value::Object(map)) => self.params(map, at),
            (Shape::Values(variables), Value::Object(map)) => self.values(variables, map, at),
            (Shape::Plain(example), Value::String(text)) => {
                let checked = format::some(text);
                self.checked(checked, at, example);
            }
            (Shape::List(inner), Value::Array(items)) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(inner, item, &join(at, index));
                }
            }
            (Shape::Text(text), Value::String(written)) => self.text(text, written, at),
            (Shape::Name(section), Value::String(name)) => {
                if self.resolve(name, at) {
                    self.refer(*section, name, at);
                }
            }
            (Shape::Word(words), Value::String(written)) => {
                if self.resolve(written, at) && !words.contains(&written.as_str()) {
                    let hint = suggest(written, words.iter().copied());
                    let message = self.masked(at, &format!("`{written}` is not known here"));
                    self.error(at, message, hint);
                }
            }
            (Shape::Count(least, most), _) => self.count(*least, *most, value, at),
            (Shape::FlagOr(object), Value::Object(map)) => self.object(object, map, at),
            (Shape::Flag | Shape::FlagOr(_), Value::Bool(_)) => {}
            (Shape::Flag | Shape::FlagOr(_), Value::String(written)) if written.contains("${") => {
                self.parsed(value, at, |text| text.parse::<bool>().ok().map(Value::from), shape);
            }
            (Shape::Size, Value::Number(number)) if number.as_u64().is_some_and(|n| n > 0) => {}
            (Shape::Size, Value::String(written)) => {
                if self.resolve(written, at) {
                    let checked = format::is_size(written);
                    self.checked(checked, at, "1MiB");
                }
            }
            (Shape::FileOr(_, Inline::Template(variables)), Value::String(text))
                if text.starts_with("{%") || text.ends_with("%}") =>
            {
                self.template(value, variables, at);
            }
            (Shape::FileOr(example, _), Value::String(path)) => {
                if self.resolve(path, at) {
                    let checked = format::some(path);
                    self.checked(checked, at, example);
                }
            }
            (Shape::FileOr(_, Inline::Object(object)), Value::Object(map)) => {
                self.object(object, map, at);
            }
            (Shape::FileOr(_, Inline::Foreign), Value::Object(_)) => {}
            (Shape::FileOr(_, Inline::Template(variables)), Value::Object(_)) => {
                self.template(value, variables, at);
            }
            (Shape::Template(variables), _) => self.template(value, variables, at),
            (Shape::Expression(variables), Value::String(_)) => {
                self.template(value, variables, at);
                self.is_expression(value, at);
            }
            _ => self.wrong_type(shape, value, at),
        }
    }

    fn object(&mut self, object: &Object, map: &mut Map<String, Value>, at: &str) {
        let mut unknown = false;
        for (key, value) in map.iter_mut() {
            let inside = join(at, key);
            match object.field(key) {
                Some(field) => self.value(&field.shape, value, &inside),
                None => {
                    unknown = true;
                    let hint = suggest(key, object.names());
                    let position = self.document.position(&inside);
                    let message = format!("unknown field `{key}`");
                    self.problems.error(self.source, position, &inside, message).hint(hint);
                }
            }
        }
        let missing =
            object.fields.iter().filter(|field| field.required && !map.contains_key(field.name));
        for field in missing {
            let message = format!("`{}` is missing", field.name);
            self.missing(at, message, field.about);
        }
        if object.one_of.is_empty() {
            return;
        }
        let given: Vec<&str> =
            object.one_of.iter().copied().filter(|name| map.contains_key(*name)).collect();
        let choice = object.one_of.join("`, `");
        match given.as_slice() {
            [_] => {}
            [] if unknown => {}
            [] => self.missing(at, format!("one of `{choice}` is missing"), "give exactly one"),
            [_, second, ..] => {
                let inside = join(at, second);
                let position = self.document.position(&inside);
                let message = format!("only one of `{choice}` may be given");
                self.problems.error(self.source, position, &inside, message);
            }
        }
    }

    fn missing(&mut self, at: &str, message: String, about: &str) {
        let position = self.document.position(at);
        self.problems.error(self.source, position, at, message).hint(about);
    }

    fn named(&mut self, inner: &Shape, map: &mut Map<String, Value>, at: &str) {
        for (name, value) in map.iter_mut() {
            let inside = join(at, name);
            if let Err(message) = format::name(name) {
                let position = self.document.position(&inside);
                self.problems.error(self.source, position, &inside, message);
            }
            // `catalog:` with nothing after it is an object without fields.
            if value.is_null() && matches!(inner, Shape::Object(_)) {
                *value = Value::Object(Map::new());
            }
            self.value(inner, value, &inside);
        }
    }

    fn params(&mut self, map: &mut Map<String, Value>, at: &str) {
        for (name, value) in map.iter_mut() {
            let inside = join(at, name);
            match value {
                Value::String(written) if format::names_a_secret(name) => {
                    self.secret(written, &inside);
                }
                Value::String(written) => {
                    self.resolve(written, &inside);
                }
                Value::Number(_) | Value::Bool(_) => {}
                _ => {
                    let found = found(value);
                    let message = format!("expected a text, found {found}");
                    self.error(&inside, message, "header and query values are text");
                }
            }
        }
    }

    /// Values that are stored in clear and may be expressions.
    fn values(&mut self, variables: &[&str], map: &mut Map<String, Value>, at: &str) {
        for (name, value) in map.iter_mut() {
            let inside = join(at, name);
            match value {
                Value::String(_) if format::names_a_secret(name) => self.error(
                    &inside,
                    format!("`{name}` looks like a secret, which has no place here"),
                    "a connection carries secrets: its `auth`, `headers` or `query`",
                ),
                Value::String(written) if written.contains("${") && !written.contains("{%") => {
                    let hint = "what comes from outside stands in a connection or destination";
                    self.error(&inside, "no reference is filled in here", hint);
                }
                Value::String(_) => self.template(value, variables, &inside),
                Value::Number(_) | Value::Bool(_) => *value = Value::from(value.to_string()),
                _ => {
                    let message = format!("expected a text, found {}", found(value));
                    self.error(&inside, message, "an expression may give it: \"{% … %}\"");
                }
            }
        }
    }

    fn text(&mut self, text: &Text, written: &mut String, at: &str) {
        if text.secret {
            self.secret(written, at);
        } else if self.resolve(written, at) {
            let checked = (text.check)(written);
            self.checked(checked, at, text.example);
        }
    }

    fn refer(&mut self, section: Section, name: &str, at: &str) {
        let members = self.document.value().get(section.name()).and_then(Value::as_object);
        if members.is_some_and(|members| members.contains_key(name)) {
            return;
        }
        let known = members.into_iter().flat_map(|members| members.keys().map(String::as_str));
        let hint = suggest(name, known);
        let message = self.masked(at, &format!("no {} is named `{name}`", section.kind()));
        self.error(at, message, hint);
    }

    fn secret(&mut self, written: &mut String, at: &str) {
        if !written.contains("${") {
            self.problems.hide(written);
            self.error(at, "a secret stands here in clear", CLEAR);
        } else if self.resolve(written, at) && written.is_empty() {
            let (reference, _) = &self.filled[at];
            let message = format!("`{reference}` is empty");
            self.error(at, message, "a secret must not be empty");
        }
    }

    fn count(&mut self, least: u64, most: u64, value: &mut Value, at: &str) {
        let shape = Shape::Count(least, most);
        match value {
            Value::Number(number) if number.is_u64() || number.is_i64() => {}
            Value::String(written) if written.contains("${") => {
                self.parsed(value, at, |text| text.parse::<i64>().ok().map(Value::from), &shape);
            }
            _ => return self.wrong_type(&shape, value, at),
        }
        if let Value::Number(number) = value
            && !number.as_u64().is_some_and(|number| (least..=most).contains(&number))
        {
            let message = self.masked(at, &format!("{number} is out of range"));
            self.error(at, message, format!("from {least} to {most}"));
        }
    }

    /// A reference where no text is wanted: what it gives is read as the kind that is.
    fn parsed(
        &mut self,
        value: &mut Value,
        at: &str,
        parse: fn(&str) -> Option<Value>,
        shape: &Shape,
    ) {
        let Value::String(written) = value else { return };
        if !self.resolve(written, at) {
            return;
        }
        match parse(written.trim()) {
            Some(parsed) => *value = parsed,
            None => {
                let message = format!("expected {}, found `{written}`", shape.expected());
                let message = self.masked(at, &message);
                self.error(at, message, "");
            }
        }
    }

    /// Fills in the references of a text; false when it cannot, which is then noted.
    fn resolve(&mut self, written: &mut String, at: &str) -> bool {
        match self.fill.text(written) {
            Ok(filled) => {
                if filled.referred {
                    self.filled.insert(at.to_owned(), (written.clone(), filled.text.clone()));
                }
                *written = filled.text;
                true
            }
            Err(unfilled) => {
                for problem in unfilled {
                    let position = self.document.position_within(at, problem.character);
                    let open = self.fill.vars.open;
                    self.problems.unfilled(self.source, position, at, problem, open);
                }
                false
            }
        }
    }

    fn template(&mut self, value: &Value, variables: &[&str], at: &str) {
        for found in expression::check(value, variables) {
            let inside = format!("{at}{}", found.pointer);
            let position = match found.character {
                Some(character) => self.document.position_within(&inside, character),
                None => self.document.value_position(&inside),
            };
            let problem = self.problems.error(self.source, position, &inside, found.message);
            problem.hint = found.hint;
        }
    }

    /// Other templates may be constant; a key or a rule that is would be a mistake.
    fn is_expression(&mut self, value: &Value, at: &str) {
        let constant =
            value.as_str().is_some_and(|text| !text.contains("{%") && !text.contains("%}"));
        if constant {
            let message = "expected an expression, found plain text".to_owned();
            self.error(at, message, "write \"{% … %}\"");
        }
    }

    fn checked(&mut self, checked: Result<(), String>, at: &str, example: &str) {
        if let Err(message) = checked {
            let message = self.masked(at, &message);
            let hint = if message.contains("for example") || example.is_empty() {
                String::new()
            } else {
                format!("for example {example}")
            };
            self.error(at, message, hint);
        }
    }

    fn wrong_type(&mut self, shape: &Shape, value: &Value, at: &str) {
        let quoted = "put it in quotes if it is meant as text";
        let mut found = found(value).to_owned();
        let hint = match (shape, value) {
            (Shape::Text(text), Value::Number(_) | Value::Bool(_)) if text.secret => {
                self.problems.hide(&value.to_string());
                CLEAR.to_owned()
            }
            (Shape::Text(text), Value::Number(_) | Value::Bool(_))
                if (text.check)(&value.to_string()).is_ok() =>
            {
                quoted.to_owned()
            }
            (Shape::Name(_), Value::Number(_) | Value::Bool(_)) => quoted.to_owned(),
            (Shape::Flag | Shape::FlagOr(_), Value::String(_)) => {
                "true or false, without quotes".to_owned()
            }
            (Shape::Count(..) | Shape::Size, Value::Number(number)) => {
                found = number.to_string();
                String::new()
            }
            (Shape::Text(text), _) if !text.example.is_empty() => {
                format!("for example {}", text.example)
            }
            (Shape::FileOr(example, _) | Shape::Plain(example), _) => {
                format!("for example {example}")
            }
            (Shape::Object(object), _) => {
                format!("its fields: {}", object.names().collect::<Vec<_>>().join(", "))
            }
            _ => String::new(),
        };
        let message = format!("expected {}, found {found}", shape.expected());
        self.error(at, message, hint);
    }

    fn error(&mut self, at: &str, message: impl Into<String>, hint: impl Into<String>) {
        let position = self.document.value_position(at);
        let problem = self.problems.error(self.source, position, at, message);
        let hint = hint.into();
        problem.hint = (!hint.is_empty()).then_some(hint);
    }

    /// A message that shows the reference, not what came out of it.
    fn masked(&self, at: &str, message: &str) -> String {
        match self.filled.get(at) {
            Some((written, text)) if !text.is_empty() => message.replace(text.as_str(), written),
            _ => message.to_owned(),
        }
    }
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
