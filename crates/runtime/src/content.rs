//! What of an event goes to a target: a transform's value, the event itself, or what PutTargets'
//! `Input`, `InputPath` and `InputTransformer` make of it. Most of it is JSON, some is text.

use bytes::Bytes;
use serde_json::Value;
use stepbus_connect::Payload;
use stepbus_expr::{RuleContext, TargetInput, Template};
use stepbus_model::arn;

use crate::declared::SubscriptionSpec;
use crate::event::EventBody;
use crate::expression;

/// A body before it is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// What a transform came to.
    Value(Value),
    /// JSON as somebody wrote it: the event, a constant, a filled template.
    Json(Bytes),
    /// A template's lines that are no JSON value.
    Text(String),
}

impl Content {
    /// A text becomes a JSON string.
    #[must_use]
    pub fn into_value(self) -> Value {
        match self {
            Content::Value(value) => value,
            Content::Json(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Content::Text(text) => Value::String(text),
        }
    }

    #[must_use]
    pub fn payload(&self) -> Payload {
        match self {
            Content::Value(value) => Payload::from(value),
            Content::Json(bytes) => Payload::Json(bytes.clone()),
            Content::Text(text) => Payload::Text(Bytes::from(text.clone())),
        }
    }
}

/// How a subscription makes its content.
#[derive(Debug)]
pub(crate) enum Input {
    Event,
    Transform(Template),
    Classic { input: TargetInput, rule_arn: String, rule_name: String },
}

impl Input {
    pub(crate) fn classic(spec: &SubscriptionSpec, input: TargetInput) -> Input {
        Input::Classic {
            input,
            rule_arn: arn::rule(&spec.bus, &spec.name),
            rule_name: spec.name.clone(),
        }
    }

    /// At most `most` bytes of what a template comes to.
    pub(crate) fn content(&self, event: &EventBody, most: usize) -> Result<Content, String> {
        match self {
            Input::Event => Ok(Content::Json(event.row.envelope.clone())),
            Input::Transform(template) => expression::over_event(template, event)
                .map(Content::Value)
                .map_err(|error| error.to_string()),
            Input::Classic { input, rule_arn, rule_name } => {
                let context = RuleContext { rule_arn, rule_name, ingestion_time: event.row.at };
                let text = input
                    .render(event.value(), &context, most)
                    .map_err(|error| error.to_string())?;
                Ok(match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
                    Ok(_) => Content::Json(Bytes::from(text)),
                    Err(_) => Content::Text(text),
                })
            }
        }
    }

    /// The event's own value is parsed once, whoever asks.
    pub(crate) fn value(&self, event: &EventBody, most: usize) -> Result<Value, String> {
        match self {
            Input::Event => Ok(event.value().clone()),
            other => other.content(event, most).map(Content::into_value),
        }
    }
}
