//! Comparing with recordings, in which what differs from run to run was put out of sight.

use serde_json::Value;

/// Members that no two runs share.
const PASSING: &[&str] = &[
    "timestamp",
    "roleArn",
    "mapRunArn",
    "region",
    "SdkHttpMetadata",
    "SdkResponseMetadata",
    "TaskToken",
];

/// A recording of a history.
pub(super) struct Recorded<'c> {
    pub(super) events: &'c [Value],
    /// The execution was still running, so more may have followed.
    pub(super) running: bool,
    /// Day of the recording.
    pub(super) day: &'c str,
}

/// From this day on, recordings let the exit of a distributed Map follow the start of its map
/// run; before, its end.
const EXIT_FOLLOWS_START: &str = "2024-11-01";

pub(super) fn histories(recorded: &Recorded<'_>, actual: &[Value]) -> Result<(), String> {
    let mut expected: Vec<&Value> = recorded.events.iter().collect();
    if expected.is_empty() {
        return Ok(());
    }
    let numbered = expected.iter().all(|event| event["id"].is_u64());
    if numbered {
        expected.sort_by_key(|event| event["id"].as_u64());
        if expected.len() != actual.len() && !(recorded.running && expected.len() < actual.len()) {
            return Err(difference(&expected, actual, "number of events"));
        }
    }
    for event in &expected {
        let Some(id) = event["id"].as_u64() else { continue };
        let found = actual.iter().find(|event| event["id"] == id);
        if !found.is_some_and(|found| same_event(recorded.day, event, found, actual)) {
            return Err(difference(&expected, actual, &format!("event {id}")));
        }
    }
    Ok(())
}

fn same_event(day: &str, expected: &Value, actual: &Value, history: &[Value]) -> bool {
    if same(expected, actual) {
        return true;
    }
    let follows = |id: &Value| history.iter().find(|event| event["id"] == *id);
    let after_map_run = follows(&actual["previousEventId"])
        .is_some_and(|event| event["type"] == "MapRunStarted" && day < EXIT_FOLLOWS_START);
    if !after_map_run || actual["type"] != "MapStateExited" {
        return false;
    }
    let mut older = actual.clone();
    older["previousEventId"] = Value::from(actual["previousEventId"].as_u64().unwrap_or(0) + 1);
    same(expected, &older)
}

fn difference(expected: &[&Value], actual: &[Value], what: &str) -> String {
    let list = |events: &mut dyn Iterator<Item = &Value>| {
        events.map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    format!(
        "history: {what}\nexpected:\n{}\nactual:\n{}",
        list(&mut expected.iter().copied()),
        list(&mut actual.iter())
    )
}

/// Whether a recorded value and an actual one are the same, as far as the recording tells.
pub(in crate::conformance) fn same(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::String(expected), Value::String(actual)) => {
            expected == actual || stands_for_any(expected) || same_text(expected, actual)
        }
        (Value::String(expected), actual) => {
            (stands_for_any(expected) && !actual.is_null())
                || serde_json::from_str::<Value>(expected).is_ok_and(|value| same(&value, actual))
        }
        (Value::Object(expected), Value::Object(actual)) => {
            let passing = |name: &str| PASSING.contains(&name);
            expected.iter().all(|(name, value)| {
                passing(name) || actual.get(name).is_some_and(|actual| same(value, actual))
            }) && actual.keys().all(|name| passing(name) || expected.contains_key(name))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| same(expected, actual))
        }
        (Value::Number(expected), Value::Number(actual)) => {
            expected == actual || expected.as_f64() == actual.as_f64()
        }
        // JSON text, which the recording shows parsed.
        (expected, Value::String(text)) => {
            serde_json::from_str::<Value>(text).is_ok_and(|actual| same(expected, &actual))
        }
        (expected, actual) => expected == actual,
    }
}

/// Texts that hold placeholders, and JSON texts that differ in white space.
fn same_text(expected: &str, actual: &str) -> bool {
    let json = (serde_json::from_str::<Value>(expected), serde_json::from_str::<Value>(actual));
    match json {
        (Ok(expected), Ok(actual)) => return same(&expected, &actual),
        (Err(_), Ok(Value::String(inner))) => return expected == inner,
        _ => {}
    }
    fits(&pieces(expected), actual)
}

/// Texts that stand for anything.
const ANY: &[&str] = &[
    "map_run_arn",
    "snf_role_arn",
    "activity_arn",
    "sqs_queue_url",
    "date",
    "timestamp",
    "RandomNumberGenerated",
    "RequestId",
    "x-amzn-RequestId",
];

/// Names that stand for a run's own ones without the brackets of a placeholder.
const BARE: &[&str] = &[
    "lambda_function_name",
    "lambda_function_1_name",
    "lambda_function_2_name",
    "activity_arn",
    "sqs_queue_url",
];

/// What stands between the placeholders of a text.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((start, end)) = placeholder(rest) {
        pieces.push(&rest[..start]);
        rest = &rest[end..];
    }
    pieces.push(rest);
    pieces
}

fn placeholder(text: &str) -> Option<(usize, usize)> {
    let bracketed = text.find('<').and_then(|start| {
        let inside = text[start..].find('>')? + start + 1;
        // `<<task_token>:1>` is one placeholder.
        let nested = text[start + 1..inside].contains('<');
        let end = if nested { text[inside..].find('>')? + inside + 1 } else { inside };
        Some((start, end))
    });
    let bare =
        BARE.iter().filter_map(|name| text.find(name).map(|start| (start, start + name.len())));
    bare.chain(bracketed).min()
}

fn fits(pieces: &[&str], actual: &str) -> bool {
    let [first, middle @ .., last] = pieces else { return false };
    let Some(mut rest) = actual.strip_prefix(first) else { return false };
    for piece in middle {
        match rest.find(piece) {
            Some(start) => rest = &rest[start + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn stands_for_any(text: &str) -> bool {
    (text.starts_with('<') && text.ends_with('>')) || ANY.contains(&text)
}
