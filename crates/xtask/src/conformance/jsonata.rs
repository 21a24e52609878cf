//! Cases of JSONata's own suite: an expression, its data and what comes out.

use std::borrow::Cow;

use serde_json::{Map, Value};
use stepbus_expr::{CompileError, Env, EvalError, EvalLimits, Jsonata, Scope};
use stepbus_model::Timestamp;

/// What an expression came to, in the suite's terms.
#[derive(Debug)]
enum Outcome {
    Result(Value),
    Undefined,
    Code(String),
}

/// Runs one case.
///
/// # Errors
/// Expected and actual outcome, where they differ.
pub(crate) fn run_case(case: &Value) -> Result<(), String> {
    let actual = run(case);
    let expected = case.get("expected").unwrap_or(&Value::Null);
    let unordered = case["unordered"] == Value::Bool(true);
    let same = match (case["outcome"].as_str().unwrap_or_default(), &actual) {
        ("result", Outcome::Result(result)) => equal(expected, result, unordered),
        ("undefined", Outcome::Undefined) => true,
        ("code", Outcome::Code(code)) => expected == code.as_str(),
        _ => false,
    };
    if same {
        return Ok(());
    }
    Err(format!(
        "expression: {}\nexpected {}: {expected}\nactual: {actual:?}",
        case["expr"].as_str().unwrap_or_default(),
        case["outcome"].as_str().unwrap_or("outcome"),
    ))
}

fn run(case: &Value) -> Outcome {
    let expression = match Jsonata::compile(case["expr"].as_str().unwrap_or_default()) {
        Ok(expression) => expression,
        Err(CompileError { code, message, .. }) => return Outcome::Code(code.unwrap_or(message)),
    };
    let mut scope = Scope::new(Env::new(Timestamp(1_700_000_000_000), 0));
    scope.allow_eval();
    // The suite makes ranges of ten million items.
    scope.limits(EvalLimits {
        sequence: 10_000_100,
        bytes: 64 * 1024 * 1024,
        steps: 100_000_000,
        ..EvalLimits::DEFAULT
    });
    let none = Map::new();
    for (name, value) in case["bindings"].as_object().unwrap_or(&none) {
        scope.bind(name, value);
    }
    if let Some(data) = case.get("data") {
        scope.set_input(data);
    }
    match expression.eval(&scope) {
        Ok(Some(value)) => Outcome::Result(value),
        Ok(None) => Outcome::Undefined,
        Err(error) => Outcome::Code(code_of(&error)),
    }
}

fn code_of(error: &EvalError) -> String {
    error.code().map_or_else(|| error.what(), str::to_owned)
}

/// Equal as JavaScript sees it: a number is a number, whatever its text.
fn equal(expected: &Value, actual: &Value, unordered: bool) -> bool {
    match (expected, actual) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(ones), Value::Array(others)) if unordered => {
            ones.len() == others.len()
                && ones.iter().all(|one| others.iter().any(|other| equal(one, other, false)))
        }
        (Value::Array(ones), Value::Array(others)) => {
            ones.len() == others.len()
                && ones.iter().zip(others).all(|(one, other)| equal(one, other, false))
        }
        (Value::Object(ones), Value::Object(others)) => {
            ones.len() == others.len()
                && ones.iter().all(|(name, one)| {
                    others.get(name).is_some_and(|other| equal(one, other, false))
                })
        }
        _ => expected == actual,
    }
}

/// A line of cases with each `\\uD800`-like escape that has no partner replaced: half a character
/// is text in JavaScript, but not here.
pub(crate) fn readable(line: &str) -> Cow<'_, str> {
    if !line.contains("\\ud") {
        return Cow::Borrowed(line);
    }
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find('\\') {
        text.push_str(&rest[..start]);
        rest = &rest[start..];
        let (length, escape) = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, &rest[..12]),
            (Some(_), _) => (6, "\\ufffd"),
            (None, _) => (2, rest.get(..2).unwrap_or(rest)),
        };
        text.push_str(escape);
        rest = rest.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The half of a character that an escape at the start of `text` stands for.
fn surrogate(text: &str) -> Option<u32> {
    let code = u32::from_str_radix(text.strip_prefix("\\u")?.get(..4)?, 16).ok()?;
    (0xd800..=0xdfff).contains(&code).then_some(code)
}
