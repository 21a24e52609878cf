//! Failures made from answers and troubles, with everything secret taken out.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use stepbus_model::Limits;

use crate::client::Answer;
use crate::connection::{Connection, Outgoing};
use crate::outcome::body;
use crate::report::{Exchange, Failure, code};
use crate::secret::{MASK, Masker, is_sensitive_name};
use crate::trouble::Trouble;

impl Failure {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Failure { code: code.to_owned(), message: message.into(), status: None, exchange: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// One call that was made, as far as a failure needs it.
pub(crate) struct Made<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) request: &'a Outgoing,
    pub(crate) took: Duration,
    pub(crate) masker: Masker,
    pub(crate) limits: &'a Limits,
}

impl Made<'_> {
    /// The failure that an answer stands for; `note` comes before what the target itself says.
    pub(crate) fn of_answer(&self, answer: &Answer, code: &str, note: Option<&str>) -> Failure {
        let said = said(answer, self.limits.error_chars);
        let mut message = format!("{} answered {}", self.what(), answer.status);
        for part in [note, said.as_deref()].into_iter().flatten() {
            message.push_str(": ");
            message.push_str(part);
        }
        Failure {
            code: code.to_owned(),
            message: self.masker.mask(&message).into_owned(),
            status: Some(answer.status.as_u16()),
            exchange: Some(Box::new(self.exchange(Some(answer)))),
        }
    }

    pub(crate) fn of_trouble(&self, trouble: &Trouble) -> Failure {
        let message = format!("{}: {}", self.what(), trouble.message);
        Failure {
            code: trouble.code().to_owned(),
            message: self.masker.mask(&message).into_owned(),
            status: None,
            exchange: Some(Box::new(self.exchange(None))),
        }
    }

    fn what(&self) -> String {
        let url = &self.request.url;
        format!("{} {}", self.request.method, url.split('?').next().unwrap_or(url))
    }

    fn exchange(&self, answer: Option<&Answer>) -> Exchange {
        let added: Vec<_> = self.connection.added_headers().collect();
        let mut request_headers = self.headers(&self.request.headers);
        request_headers
            .retain(|(name, _)| !added.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        request_headers.extend(added.iter().map(|(name, value)| self.header(name, value)));
        let limit = self.limits.exchange_bytes;
        Exchange {
            method: self.request.method.to_string(),
            url: self.masker.mask(&self.request.url).into_owned(),
            request_headers,
            request_body: self.body(&self.request.body, limit),
            status: answer.map(|answer| answer.status.as_u16()),
            response_headers: answer
                .map(|answer| self.headers(&answer.headers))
                .unwrap_or_default(),
            response_body: answer.map(|answer| self.body(&answer.body, limit)).unwrap_or_default(),
            took: self.took,
        }
    }

    fn headers(&self, headers: &HeaderMap) -> Vec<(String, String)> {
        let text = |value: &http::HeaderValue| match value.is_sensitive() {
            true => MASK.to_owned(),
            false => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        };
        headers.iter().map(|(name, value)| self.header(name.as_str(), &text(value))).collect()
    }

    fn header(&self, name: &str, value: &str) -> (String, String) {
        let shown = match is_sensitive_name(name) {
            true => Cow::Borrowed(MASK),
            false => self.masker.mask(value),
        };
        (name.to_ascii_lowercase(), shown.into_owned())
    }

    /// Masked before it is cut, so that no half of a secret is left.
    fn body(&self, body: &[u8], limit: usize) -> String {
        let mut text = self.masker.mask_body(&String::from_utf8_lossy(body));
        if text.len() > limit {
            let whole = text.len();
            text.truncate(text.floor_char_boundary(limit));
            text.push_str(&format!("… (cut at exchange_bytes; {whole} bytes in all)"));
        }
        text
    }
}

/// The code of an answer that meant no success.
pub(crate) fn code_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 | 407 => code::NO_PERMISSIONS,
        429 => code::THROTTLING,
        _ => code::ERROR_FROM_TARGET,
    }
}

/// What a target says about its error, where it says it in one of the usual places.
fn said(answer: &Answer, chars: usize) -> Option<String> {
    let found = match body(answer) {
        Value::String(text) => {
            let kind = answer.header(&header::CONTENT_TYPE).unwrap_or("text/plain");
            let plain = kind.starts_with("text/plain") || kind.contains("json");
            plain.then_some(text)
        }
        value => message_in(&value, 0),
    };
    let text = found?;
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    let mut short: String = text.chars().take(chars).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    Some(short)
}

fn message_in(value: &Value, depth: usize) -> Option<String> {
    const PLACES: [&str; 11] = [
        "error_description",
        "errorMessage",
        "message",
        "error",
        "errors",
        "detail",
        "details",
        "title",
        "reason",
        "data",
        "code",
    ];
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Array(items) if depth > 0 && items.iter().all(Value::is_string) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            (!texts.is_empty()).then(|| texts.join(": "))
        }
        Value::Array(items) if depth < 4 => {
            items.iter().find_map(|item| message_in(item, depth + 1))
        }
        Value::Object(members) if depth < 4 => PLACES
            .iter()
            .filter_map(|place| members.get(*place))
            .find_map(|member| message_in(member, depth + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn finds_what_the_target_says() {
        let check = |kind: &str, text: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            let body = Bytes::copy_from_slice(text.as_bytes());
            let answer = Answer { status: StatusCode::BAD_REQUEST, headers, body };
            assert_eq!(said(&answer, 20).as_deref(), expected, "{text}");
        };
        let json = "application/json; charset=utf-8";
        check(json, r#"{"error":["UserError",["No UoM"]]}"#, Some("UserError"));
        check(json, r#"{"error":["UserError","No UoM"]}"#, Some("UserError: No UoM"));
        check(json, r#"{"error":{"code":5,"message":"bad sku"}}"#, Some("bad sku"));
        check(json, r#"{"errors":[{"message":"dup"}]}"#, Some("dup"));
        check(json, r#"{"ok":1}"#, None);
        check(json, "{broken", Some("{broken"));
        check("text/plain", "a text longer than twenty characters", Some("a text longer than t…"));
        check("text/html", "<h1>oops</h1>", None);
    }
}
