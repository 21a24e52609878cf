//! What classic targets receive: constants, paths and templates.

use std::fmt;

use serde_json::Value;
use stepbus_expr::{RuleContext, TargetInput};
use stepbus_model::Timestamp;

/// More than any recorded body has.
const MOST_BYTES: usize = 1024 * 1024;

/// Runs one case.
///
/// # Errors
/// What was expected beside what came out, where they differ.
pub(crate) fn run_case(case: &Value) -> Result<(), String> {
    let actual = outcome(case);
    let recording = Recording::of(case);
    let expected = &case["expect"];
    let same = match (expected, &actual) {
        (_, Actual::Refused(message)) => recording.same_error(&expected["error"], message),
        (_, Actual::Nothing(_)) => expected["delivered"] == false,
        (_, Actual::Body(body)) => recording.same_body(expected, body),
    };
    if same { Ok(()) } else { Err(format!("expected: {expected}\nactual:   {actual}")) }
}

enum Actual {
    Body(String),
    /// Not delivered, and why.
    Nothing(String),
    /// PutTargets fails.
    Refused(String),
}

impl fmt::Display for Actual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actual::Body(body) => write!(f, "body {body}"),
            Actual::Nothing(why) => write!(f, "not delivered: {why}"),
            Actual::Refused(message) => write!(f, "refused: {message}"),
        }
    }
}

fn outcome(case: &Value) -> Actual {
    let input = match TargetInput::of_target(&case["target"]) {
        Ok(input) => input,
        Err(error) => return Actual::Refused(error.message("target")),
    };
    let context = RuleContext {
        rule_arn: "arn:aws:events:us-east-1:111111111111:rule/bus/rule",
        rule_name: "rule",
        ingestion_time: Timestamp(1_764_000_000_000),
    };
    match input.render(&case["event"], &context, MOST_BYTES) {
        Ok(body) => Actual::Body(body),
        Err(error) => Actual::Nothing(error.to_string()),
    }
}

/// What a recording put in the place of what differs from run to run.
struct Recording {
    tokens: Vec<String>,
}

impl Recording {
    fn of(case: &Value) -> Recording {
        let tokens = case["normalised"].as_array().into_iter().flatten();
        Recording { tokens: tokens.filter_map(Value::as_str).map(str::to_owned).collect() }
    }

    fn same_body(&self, expected: &Value, body: &str) -> bool {
        if let Some(text) = expected["body_text"].as_str() {
            return self.same_text(text, body);
        }
        match (expected.get("body_json"), serde_json::from_str(body)) {
            (Some(expected), Ok(actual)) => self.same_json(expected, &actual),
            _ => false,
        }
    }

    /// The error is a text, or an object with a message, after which ours may say more; the id of
    /// the target is its own.
    fn same_error(&self, expected: &Value, message: &str) -> bool {
        let text = ["message", "Message"].iter().find_map(|member| expected[*member].as_str());
        let nested = expected["Error"]["Message"].as_str();
        let ends = message.match_indices([' ', ':']).map(|(at, _)| at).chain([message.len()]);
        let starts: Vec<&str> = ends.map(|end| &message[..end]).collect();
        text.or(nested)
            .or(expected.as_str())
            .is_some_and(|text| starts.iter().any(|start| self.same_text(text, start)))
    }

    fn same_json(&self, expected: &Value, actual: &Value) -> bool {
        match (expected, actual) {
            (Value::Object(expected), Value::Object(actual)) => {
                expected.len() == actual.len()
                    && expected.iter().all(|(name, value)| {
                        actual.get(name).is_some_and(|actual| {
                            is_left_out(name, value) || self.same_json(value, actual)
                        })
                    })
            }
            (Value::Array(expected), Value::Array(actual)) => {
                expected.len() == actual.len()
                    && expected.iter().zip(actual).all(|(a, b)| self.same_json(a, b))
            }
            (Value::String(expected), Value::String(actual)) => self.same_text(expected, actual),
            _ => expected == actual,
        }
    }

    /// Whether `actual` is `expected` with something in the place of each token.
    fn same_text(&self, expected: &str, actual: &str) -> bool {
        let next = self
            .tokens
            .iter()
            .filter_map(|token| find_word(expected, token).map(|at| (at, token.len())))
            .chain(target_id(expected))
            .min_by_key(|(at, length)| (*at, usize::MAX - length));
        let Some((at, length)) = next else { return expected == actual };
        let Some(rest) = actual.strip_prefix(&expected[..at]) else { return false };
        let ends = rest.char_indices().map(|(at, _)| at).skip(1).chain([rest.len()]);
        ends.into_iter().any(|end| self.same_text(&expected[at + length..], &rest[end..]))
    }
}

/// A detail is an object always, so this text is what a recording has in its place.
fn is_left_out(name: &str, value: &Value) -> bool {
    name == "detail" && value == "detail"
}

/// Where `token` stands as a word of its own.
fn find_word(text: &str, token: &str) -> Option<usize> {
    text.match_indices(token).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + token.len()..].chars().next();
        !before.into_iter().chain(after).any(char::is_alphanumeric)
    })
}

fn target_id(text: &str) -> Option<(usize, usize)> {
    const TOKEN: &str = "<target-id>";
    text.find(TOKEN).map(|at| (at, TOKEN.len()))
}
