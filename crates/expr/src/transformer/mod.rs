//! What a classic target of a rule receives: the event, a constant (`Input`), a part of the event
//! (`InputPath`) or what a template makes of it (`InputTransformer`).

mod error;
mod template;

use std::sync::Arc;

use serde_json::{Map, Value};
use stepbus_model::Timestamp;

use crate::path::{Path, Root};

pub use error::{TargetInputError, Undeliverable};

use template::{Known, Output, Template};

/// Most variables of one `InputPathsMap`.
pub const MAX_VARIABLES: usize = 100;
/// Most characters of the name or the path of a variable.
pub const MAX_VARIABLE_LENGTH: usize = 256;
/// Most characters of an `InputTemplate` or a constant `Input`.
pub const MAX_TEMPLATE_LENGTH: usize = 8192;

/// What a target receives for an event. Cloning is cheap.
#[derive(Debug, Clone)]
pub enum TargetInput {
    /// The event as it is.
    Event,
    /// The same JSON text for every event.
    Constant(Arc<str>),
    /// What a path leads to.
    Path(Path),
    Transformer(InputTransformer),
}

/// What a template may say of the rule and of the arrival of the event.
#[derive(Debug, Clone, Copy)]
pub struct RuleContext<'a> {
    pub rule_arn: &'a str,
    pub rule_name: &'a str,
    pub ingestion_time: Timestamp,
}

impl TargetInput {
    /// Reads the members `Input`, `InputPath` and `InputTransformer` of a target as PutTargets
    /// takes them.
    ///
    /// # Errors
    /// When more than one of them is there, or the one that is there is not valid.
    pub fn of_target(target: &Value) -> Result<TargetInput, TargetInputError> {
        let member = |name: &str| target.get(name).filter(|value| !value.is_null());
        match (member("Input"), member("InputPath"), member("InputTransformer")) {
            (None, None, None) => Ok(TargetInput::Event),
            (Some(input), None, None) => TargetInput::constant(text(input, "Input")?),
            (None, Some(path), None) => TargetInput::path(text(path, "InputPath")?),
            (None, None, Some(transformer)) => {
                let template = transformer
                    .get("InputTemplate")
                    .ok_or(TargetInputError::Missing("inputTransformer.inputTemplate"))?;
                let none = Map::new();
                let paths = match transformer.get("InputPathsMap") {
                    None | Some(Value::Null) => &none,
                    Some(Value::Object(paths)) => paths,
                    Some(_) => return Err(TargetInputError::PathsType),
                };
                InputTransformer::parse(paths, text(template, "InputTemplate")?)
                    .map(TargetInput::Transformer)
            }
            _ => Err(TargetInputError::MoreThanOne),
        }
    }

    /// The same JSON text for every event.
    ///
    /// # Errors
    /// When it is too long or no JSON.
    pub fn constant(text: &str) -> Result<TargetInput, TargetInputError> {
        if text.chars().count() > MAX_TEMPLATE_LENGTH {
            return Err(TargetInputError::TooLong { member: "input", most: MAX_TEMPLATE_LENGTH });
        }
        template::check_json(text)
            .map_err(|error| TargetInputError::Constant(error.to_string()))?;
        Ok(TargetInput::Constant(text.into()))
    }

    /// What a path into the event leads to.
    ///
    /// # Errors
    /// When it is too long, or no path that begins with `$`.
    pub fn path(text: &str) -> Result<TargetInput, TargetInputError> {
        if text.chars().count() > MAX_VARIABLE_LENGTH {
            let most = MAX_VARIABLE_LENGTH;
            return Err(TargetInputError::TooLong { member: "inputPath", most });
        }
        event_path(text).map(TargetInput::Path)
    }

    /// The body the target receives for an event, at most `most` bytes of it.
    ///
    /// # Errors
    /// When there is nothing that can be delivered.
    pub fn render(
        &self,
        event: &Value,
        context: &RuleContext<'_>,
        most: usize,
    ) -> Result<String, Undeliverable> {
        let body = match self {
            TargetInput::Event => event.to_string(),
            TargetInput::Constant(text) => text.to_string(),
            TargetInput::Path(path) => {
                let value = path.select(event).map_err(|error| Undeliverable::NoValue {
                    path: path.text().to_owned(),
                    message: error.to_string(),
                })?;
                value.to_string()
            }
            TargetInput::Transformer(transformer) => transformer.render(event, context, most)?,
        };
        if body.len() > most { Err(Undeliverable::TooLong(most)) } else { Ok(body) }
    }
}

fn text<'a>(value: &'a Value, member: &'static str) -> Result<&'a str, TargetInputError> {
    value.as_str().ok_or(TargetInputError::NotText(member))
}

fn event_path(text: &str) -> Result<Path, TargetInputError> {
    let wrong = |message: String| TargetInputError::InputPath { path: text.to_owned(), message };
    let path = Path::parse(text).map_err(|error| wrong(error.to_string()))?;
    if *path.root() != Root::Input {
        return Err(wrong("it must begin with '$.'".to_owned()));
    }
    if text.contains(['"', '\'']) {
        return Err(wrong("names follow a '.', not in brackets and quotes".to_owned()));
    }
    Ok(path)
}

/// A template and the variables it may name. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct InputTransformer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    variables: Vec<(String, Path)>,
    template: Template,
}

impl InputTransformer {
    /// Reads an `InputPathsMap` and an `InputTemplate`.
    ///
    /// # Errors
    /// When a limit is passed, a name or a path is not valid, or the template is no JSON or names
    /// a variable that is not there.
    pub fn parse(
        paths: &Map<String, Value>,
        template: &str,
    ) -> Result<InputTransformer, TargetInputError> {
        if paths.len() > MAX_VARIABLES {
            return Err(TargetInputError::TooLong {
                member: "inputTransformer.inputPathsMap",
                most: MAX_VARIABLES,
            });
        }
        let variables =
            paths.iter().map(|(name, path)| variable(name, path)).collect::<Result<Vec<_>, _>>()?;
        let known = |name: &str| variables.iter().position(|(known, _)| known == name);
        let template = Template::parse(template, &known)?;
        Ok(InputTransformer(Arc::new(Inner { variables, template })))
    }

    /// The body for an event, at most `most` bytes of it.
    ///
    /// # Errors
    /// When a JSON template comes to something that is no JSON, or the body is too long.
    pub fn render(
        &self,
        event: &Value,
        context: &RuleContext<'_>,
        most: usize,
    ) -> Result<String, Undeliverable> {
        let mut output = Output::new(&self.0.template, most);
        while let Some(known) = output.next_variable()? {
            match known {
                Known::Path(index) => match self.0.variables[index].1.select(event) {
                    Ok(value) => output.insert(&value),
                    // A variable that the event has no value for is empty.
                    Err(_) => output.insert_text(""),
                },
                Known::RuleArn => output.insert_text(context.rule_arn),
                Known::RuleName => output.insert_text(context.rule_name),
                Known::IngestionTime => {
                    output.insert_text(&context.ingestion_time.to_rfc3339_seconds());
                }
                Known::Event => output.insert(&envelope(event)),
                Known::EventJson => output.insert(event),
            }
        }
        output.finish()
    }
}

fn variable(name: &str, path: &Value) -> Result<(String, Path), TargetInputError> {
    let wrong = |message: &str| TargetInputError::Variable {
        name: name.to_owned(),
        message: message.to_owned(),
    };
    if name.is_empty() || name.chars().count() > MAX_VARIABLE_LENGTH {
        return Err(wrong("a name has 1 to 256 characters"));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
        return Err(wrong("a name is made of letters, digits, '_' and '-'"));
    }
    if name.starts_with("AWS") {
        return Err(wrong("a name may not start with 'AWS'"));
    }
    let Some(text) = path.as_str() else { return Err(wrong("its path must be a string")) };
    if text.chars().count() > MAX_VARIABLE_LENGTH {
        return Err(wrong("a path has at most 256 characters"));
    }
    Ok((name.to_owned(), event_path(text)?))
}

/// What `aws.events.event` stands for: the event without its detail.
fn envelope(event: &Value) -> Value {
    let Value::Object(members) = event else { return event.clone() };
    let members = members.iter().filter(|(name, _)| *name != "detail").map(|(name, value)| {
        let name = if name == "detail-type" { "detailType" } else { name };
        (name.to_owned(), value.clone())
    });
    Value::Object(members.collect())
}
