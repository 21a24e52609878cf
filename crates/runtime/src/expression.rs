//! Expressions of subscriptions and endpoints, evaluated over an event or a request.

use serde_json::Value;
use sha2::{Digest, Sha256};
use stepbus_expr::{Env, EvalError, Scope, Template};

use crate::event::EventBody;

/// The template's value over `$event`; undefined is null.
pub(crate) fn over_event(template: &Template, event: &EventBody) -> Result<Value, EvalError> {
    let mut scope = Scope::new(Env { now: event.row.at, seed: event.row.id.0 });
    scope.bind("event", event.value());
    Ok(template.eval(&scope)?.unwrap_or(Value::Null))
}

/// The template's value as text: a string as it is, a number as JSON writes it, else none.
pub(crate) fn text(
    template: Option<&Template>,
    event: &EventBody,
) -> Result<Option<String>, EvalError> {
    let Some(template) = template else { return Ok(None) };
    Ok(match over_event(template, event)? {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    })
}

/// SHA-256 as hexadecimal text.
pub(crate) fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
