//! Templates: JSON, or one or more quoted lines, in which `<name>` stands for a value.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::MAX_TEMPLATE_LENGTH;
use super::error::{TargetInputError, Undeliverable};

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Known {
    /// The variable of that index.
    Path(usize),
    RuleArn,
    RuleName,
    IngestionTime,
    Event,
    EventJson,
}

impl Known {
    fn reserved(name: &str) -> Option<Known> {
        Some(match name {
            "aws.events.rule-arn" => Known::RuleArn,
            "aws.events.rule-name" => Known::RuleName,
            "aws.events.event.ingestion-time" => Known::IngestionTime,
            "aws.events.event" => Known::Event,
            "aws.events.event.json" => Known::EventJson,
            _ => return None,
        })
    }
}

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    Variable { known: Known, quoted: bool },
}

#[derive(Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    /// An object: what it comes to must be JSON. Lines of text may come to anything.
    is_json: bool,
}

/// Stands for variables inside strings while a template is checked.
const STAND_IN: &str = "\u{FDD0}";

impl Template {
    pub(super) fn parse(
        text: &str,
        variables: &dyn Fn(&str) -> Option<usize>,
    ) -> Result<Template, TargetInputError> {
        if text.chars().count() > MAX_TEMPLATE_LENGTH {
            return Err(TargetInputError::TooLong {
                member: "inputTransformer.inputTemplate",
                most: MAX_TEMPLATE_LENGTH,
            });
        }
        let parts = parts(text, variables)?;
        check(&parts)
            .map_err(|message| TargetInputError::Template { template: text.to_owned(), message })?;
        let is_json = text.trim_start().starts_with('{');
        let whole = |part: &Part| matches!(part, Part::Variable { known: Known::EventJson, .. });
        if !is_json && parts.iter().any(whole) {
            return Err(TargetInputError::OnlyInJson("aws.events.event.json"));
        }
        Ok(Template { parts, is_json })
    }
}

fn parts(
    text: &str,
    variables: &dyn Fn(&str) -> Option<usize>,
) -> Result<Vec<Part>, TargetInputError> {
    let mut parts = Vec::new();
    let (mut from, mut quoted, mut escaped) = (0, false, false);
    for (at, sign) in text.char_indices() {
        if at < from {
            continue;
        }
        match sign {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '<' => {
                let Some(name) = placeholder(&text[at..]) else { continue };
                let known = Known::reserved(name)
                    .or_else(|| variables(name).map(Known::Path))
                    .ok_or_else(|| TargetInputError::UnknownVariable(name.to_owned()))?;
                if from < at {
                    parts.push(Part::Text(text[from..at].to_owned()));
                }
                parts.push(Part::Variable { known, quoted });
                from = at + name.len() + 2;
            }
            _ => {}
        }
    }
    if from < text.len() {
        parts.push(Part::Text(text[from..].to_owned()));
    }
    Ok(parts)
}

/// The name in `<name>` at the start of `text`; any other `<` is a sign as others are.
fn placeholder(text: &str) -> Option<&str> {
    let (name, _) = text.strip_prefix('<')?.split_once('>')?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!name.is_empty() && name.bytes().all(fits)).then_some(name)
}

fn check(parts: &[Part]) -> Result<(), String> {
    let mut sample = String::new();
    for part in parts {
        match part {
            Part::Text(text) => sample.push_str(text),
            Part::Variable { quoted: true, .. } => sample.push_str(STAND_IN),
            Part::Variable { quoted: false, .. } => sample.push_str("null"),
        }
    }
    let values = serde_json::Deserializer::from_str(&sample)
        .into_iter::<Value>()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    let is_container = |value: &Value| value.is_object() || value.is_array();
    if values.is_empty() {
        Err("there is nothing".to_owned())
    } else if values.len() > 1 && values.iter().any(is_container) {
        Err("an object or array may have nothing beside it".to_owned())
    } else if values.iter().any(has_variable_key) {
        Err("a variable cannot be the name of a member".to_owned())
    } else {
        Ok(())
    }
}

fn has_variable_key(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(name, value)| name == STAND_IN || has_variable_key(value))
        }
        Value::Array(items) => items.iter().any(has_variable_key),
        _ => false,
    }
}

/// Whether `text` is one JSON value.
pub(super) fn check_json(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ())
}

/// A template as it is filled in.
pub(super) struct Output<'t> {
    template: &'t Template,
    at: usize,
    text: String,
    quoted: bool,
    most: usize,
}

impl<'t> Output<'t> {
    pub(super) fn new(template: &'t Template, most: usize) -> Output<'t> {
        Output { template, at: 0, text: String::new(), quoted: false, most }
    }

    /// What must be inserted next.
    pub(super) fn next_variable(&mut self) -> Result<Option<Known>, Undeliverable> {
        while let Some(part) = self.template.parts.get(self.at) {
            if self.text.len() > self.most {
                return Err(Undeliverable::TooLong(self.most));
            }
            self.at += 1;
            match part {
                Part::Text(text) => self.text.push_str(text),
                Part::Variable { known, quoted } => {
                    self.quoted = *quoted;
                    return Ok(Some(*known));
                }
            }
        }
        Ok(None)
    }

    pub(super) fn insert(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.insert_text(text),
            Value::Array(_) | Value::Object(_) if self.quoted && !self.template.is_json => {
                self.text.push_str(&without_quotes(&value.to_string()));
            }
            _ => self.text.push_str(&value.to_string()),
        }
    }

    /// Text gets the quotes it lacks; inside quotes it stands as it is, not escaped.
    pub(super) fn insert_text(&mut self, text: &str) {
        let text = if self.quoted {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(Value::from(text).to_string())
        };
        self.text.push_str(&text);
    }

    pub(super) fn finish(self) -> Result<String, Undeliverable> {
        if self.text.len() > self.most {
            return Err(Undeliverable::TooLong(self.most));
        }
        if self.template.is_json {
            check_json(&self.text)
                .map_err(|error| Undeliverable::NotJson { message: error.to_string() })?;
        }
        Ok(self.text)
    }
}

/// JSON text without its quotes, escaped ones included.
fn without_quotes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut signs = json.chars();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => {}
            '\\' => match signs.next() {
                Some('"') | None => {}
                Some(other) => text.extend([sign, other]),
            },
            _ => text.push(sign),
        }
    }
    text
}
