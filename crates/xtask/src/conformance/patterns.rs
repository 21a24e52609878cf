//! Event patterns: `compile` cases and `match` cases.

use serde_json::Value;
use stepbus_model::Limits;
use stepbus_pattern::{InvalidPattern, Matcher, Pattern, Scratch};

pub(crate) fn run_case(case: &Value) -> Result<(), String> {
    let limits = limits_of(case);
    let patterns = pattern_texts(case)
        .iter()
        .map(|text| Pattern::parse_within(text, &limits))
        .collect::<Result<Vec<_>, _>>();
    let expected = case["expect"].as_str().unwrap_or_default();
    match (expected, patterns) {
        ("valid", Ok(_)) => Ok(()),
        ("invalid", Err(error)) => check_error(case, &error),
        ("match" | "no", Ok(patterns)) => {
            let event = text_of(&case["event"]);
            check_match(expected, &outcome_of(&patterns, event.as_bytes())?)
        }
        (_, Ok(_)) => Err(difference(expected, "valid")),
        (_, Err(error)) => Err(difference(expected, &error.to_string())),
    }
}

/// Cases of the reference library name their test; it bounds neither wildcards nor `$or`.
fn limits_of(case: &Value) -> Limits {
    if case["test"].is_string() {
        Limits {
            pattern_complexity: usize::MAX,
            pattern_combinations: usize::MAX,
            ..Limits::DEFAULT
        }
    } else {
        Limits::AWS
    }
}

fn pattern_texts(case: &Value) -> Vec<String> {
    match case["patterns"].as_array() {
        Some(patterns) => patterns.iter().map(text_of).collect(),
        None => vec![text_of(&case["pattern"])],
    }
}

/// Patterns and events stand in the cases as text or as JSON.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn check_error(case: &Value, error: &InvalidPattern) -> Result<(), String> {
    if let Some(code) = case["aws_code"].as_str()
        && code != InvalidPattern::CODE
    {
        return Err(difference(code, InvalidPattern::CODE));
    }
    let (expected, actual) = match (case["aws_message"].as_str(), case["message"].as_str()) {
        (Some(message), _) => (message, error.to_string()),
        (None, Some(message)) => (message, error.detail()),
        (None, None) => return Ok(()),
    };
    // Some recordings leave out the place.
    let places = expected.contains(PLACE);
    let actual = if places { &actual } else { actual.split(PLACE).next().unwrap_or_default() };
    if expected == actual { Ok(()) } else { Err(difference(expected, actual)) }
}

const PLACE: &str = "\n at [Source: ";

/// The machine for many patterns and the plain way must agree.
fn outcome_of(patterns: &[Pattern], event: &[u8]) -> Result<String, String> {
    let matcher = Matcher::new();
    matcher.add_all(patterns.iter().enumerate());
    let mut scratch = Scratch::new();
    let found = matcher.matches(event, &mut scratch).map_err(|e| e.to_string())?;
    for (i, pattern) in patterns.iter().enumerate() {
        let alone = pattern.matches(event).map_err(|e| e.to_string())?;
        if alone != found.contains(&i) {
            return Err(format!(
                "the matcher says {} where the pattern alone says {alone}: {}",
                found.contains(&i),
                pattern.text()
            ));
        }
    }
    Ok(if found.is_empty() { "no" } else { "match" }.to_owned())
}

fn check_match(expected: &str, actual: &str) -> Result<(), String> {
    if expected == actual { Ok(()) } else { Err(difference(expected, actual)) }
}

fn difference(expected: &str, actual: &str) -> String {
    format!("expected: {expected}\nactual:   {actual}")
}
