//! What an answer means: the destination's rules first, then the status.

use std::time::Duration;

use http::{StatusCode, header};
use serde_json::{Map, Value};
use stepbus_expr::{Env, Jsonata, Scope, jsonata::expression_in};
use stepbus_model::Timestamp;

use crate::client::Answer;
use crate::spec::{OutcomeRules, SpecError};

/// What to do about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Success,
    /// The credentials are no longer good.
    Login,
    Throttled(Option<Duration>),
    Retryable(Option<Duration>),
    Permanent,
}

/// The compiled rules.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    login: Option<Jsonata>,
    throttled: Option<Jsonata>,
    success: Option<Jsonata>,
    retryable: Option<Jsonata>,
    permanent: Option<Jsonata>,
    items: Option<Jsonata>,
    /// See [`OutcomeRules`]: otherwise the rule is asked about 2xx only.
    success_reads_status: bool,
}

/// An answer as expressions see it, made when the first one asks.
pub(crate) struct Seen<'a> {
    answer: &'a Answer,
    env: Env,
    parts: std::cell::OnceCell<Parts>,
}

struct Parts {
    status: Value,
    headers: Value,
    body: Value,
}

/// Compiles an expression, given with or without its `{% %}`.
pub(crate) fn expression(
    text: &str,
    pointer: &str,
    errors: &mut Vec<SpecError>,
) -> Option<Jsonata> {
    let compiled = expression_in(text)
        .and_then(|inner| Jsonata::compile(inner.unwrap_or(text)))
        .map_err(|error| errors.push(SpecError::new(pointer, error)));
    compiled.ok()
}

impl Rules {
    pub(crate) fn compile(spec: &OutcomeRules, errors: &mut Vec<SpecError>) -> Rules {
        let mut rule = |text: &Option<String>, name: &str| {
            text.as_ref().and_then(|text| expression(text, &format!("/outcome/{name}"), errors))
        };
        Rules {
            login: rule(&spec.login, "login"),
            throttled: rule(&spec.throttled, "throttled"),
            success: rule(&spec.success, "success"),
            retryable: rule(&spec.retryable, "retryable"),
            permanent: rule(&spec.permanent, "permanent"),
            items: rule(&spec.items, "items"),
            success_reads_status: spec.success.as_ref().is_some_and(|text| text.contains("status")),
        }
    }

    /// What of a batch of `count` failed, by its index.
    pub(crate) fn failed_items(
        &self,
        seen: &Seen<'_>,
        count: usize,
    ) -> Result<Vec<FailedItem>, String> {
        let Some(rule) = &self.items else { return Ok(Vec::new()) };
        let items = match seen.eval(rule)? {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(items)) => items,
            // JSONata makes a single value of a sequence of one.
            Some(item) => vec![item],
        };
        items.iter().map(|item| failed_item(item, count)).collect()
    }

    /// The class, and what is wrong with a rule that could not be evaluated.
    ///
    /// A rule that is false or undefined does not decide: comparing with what an answer lacks is
    /// false in JSONata, and must not turn a 500 into something else. Only `success` takes a
    /// default away, that of 2xx, as does a rule that could not be evaluated.
    pub(crate) fn classify(&self, seen: &Seen<'_>, now: Timestamp) -> (Class, Option<String>) {
        let status = seen.answer.status;
        let mut broken = None;
        let mut ask = |rule: &Option<Jsonata>| match seen.eval(rule.as_ref()?) {
            Ok(value) => value,
            Err(problem) => {
                broken.get_or_insert(problem);
                None
            }
        };
        if ask(&self.login).as_ref().is_some_and(truthy) {
            return (Class::Login, None);
        }
        let after = retry_after(seen.answer, now);
        if let Some(value) = ask(&self.throttled).filter(truthy) {
            let named = value.as_f64().and_then(|span| Duration::try_from_secs_f64(span).ok());
            return (Class::Throttled(named.or(after)), None);
        }
        let asked = status.is_success() || self.success_reads_status;
        let success = if asked { ask(&self.success) } else { None };
        if success.as_ref().is_some_and(truthy) {
            return (Class::Success, None);
        }
        if ask(&self.retryable).as_ref().is_some_and(truthy) {
            return (Class::Retryable(after), broken);
        }
        if ask(&self.permanent).as_ref().is_some_and(truthy) {
            return (Class::Permanent, broken);
        }
        let class = match by_status(status, after) {
            Class::Success if success.is_some() || broken.is_some() => Class::Permanent,
            class => class,
        };
        (class, broken)
    }
}

/// A payload that the target says it did not take.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FailedItem {
    pub(crate) index: usize,
    pub(crate) permanent: bool,
    pub(crate) message: Option<String>,
}

fn failed_item(item: &Value, count: usize) -> Result<FailedItem, String> {
    let number = item.get("index").unwrap_or(item);
    // JSONata's numbers are floating.
    let index = number.as_f64().filter(|index| index.fract() == 0.0 && *index >= 0.0);
    let index = index.map(|index| index as usize).filter(|index| *index < count);
    let index = index.ok_or_else(|| {
        format!("the rule `items` names {number}, which is no place in a batch of {count}")
    })?;
    let permanent = match item.get("class").and_then(Value::as_str) {
        None | Some("retryable") => false,
        Some("permanent") => true,
        Some(other) => {
            return Err(format!(
                "the rule `items` says `{other}`, which is neither `retryable` nor `permanent`"
            ));
        }
    };
    let message = item.get("message").and_then(Value::as_str).map(str::to_owned);
    Ok(FailedItem { index, permanent, message })
}

/// Without rules. That a login is needed is no more than a supposition: without a token to
/// renew, the answer is retryable.
fn by_status(status: StatusCode, after: Option<Duration>) -> Class {
    match status.as_u16() {
        200..=299 => Class::Success,
        401 | 407 => Class::Login,
        429 => Class::Throttled(after),
        503 if after.is_some() => Class::Throttled(after),
        409 | 500..=599 => Class::Retryable(after),
        _ => Class::Permanent,
    }
}

/// JSONata's own idea of what is true.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => items.iter().any(truthy),
        Value::Object(members) => !members.is_empty(),
    }
}

/// The time that Retry-After names, in seconds or as a date.
pub(crate) fn retry_after(answer: &Answer, now: Timestamp) -> Option<Duration> {
    let text = answer.header(&header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let at = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp(i64::try_from(at.as_millis()).ok()?).since(now))
}

impl<'a> Seen<'a> {
    pub(crate) fn new(answer: &'a Answer, env: Env) -> Self {
        Seen { answer, env, parts: std::cell::OnceCell::new() }
    }

    /// `None` for undefined.
    pub(crate) fn eval(&self, expression: &Jsonata) -> Result<Option<Value>, String> {
        let parts = self.parts.get_or_init(|| Parts {
            status: Value::from(self.answer.status.as_u16()),
            headers: headers(self.answer),
            body: body(self.answer),
        });
        let mut scope = Scope::new(self.env);
        scope.bind_member("response", "status", &parts.status);
        scope.bind_member("response", "headers", &parts.headers);
        scope.bind_member("response", "body", &parts.body);
        expression.eval(&scope).map_err(|error| error.to_string())
    }

    pub(crate) fn is_true(&self, expression: &Jsonata) -> Result<bool, String> {
        Ok(self.eval(expression)?.as_ref().is_some_and(truthy))
    }
}

fn headers(answer: &Answer) -> Value {
    let mut headers = Map::new();
    for (name, value) in &answer.headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        match headers.get_mut(name.as_str()) {
            Some(Value::String(before)) => {
                before.push_str(", ");
                before.push_str(&text);
            }
            _ => {
                headers.insert(name.as_str().to_owned(), Value::from(text));
            }
        }
    }
    Value::Object(headers)
}

/// Parsed when it says or looks as if it were JSON, and is; else the text.
pub(crate) fn body(answer: &Answer) -> Value {
    let kind = answer.header(&header::CONTENT_TYPE);
    let looks = || matches!(answer.body.trim_ascii_start().first(), Some(b'{' | b'['));
    if kind.map_or_else(looks, |kind| kind.contains("json"))
        && let Ok(value) = serde_json::from_slice(&answer.body)
    {
        return value;
    }
    Value::from(String::from_utf8_lossy(&answer.body))
}

#[cfg(test)]
#[path = "outcome_tests.rs"]
mod tests;
