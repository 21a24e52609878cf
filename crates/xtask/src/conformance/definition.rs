//! Definitions that AWS refuses, and what ValidateStateMachineDefinition says.

use serde_json::Value;
use stepbus_asl::{Diagnostic, Severity, WorkflowType, validate};

/// Runs a case of kind `validate`.
///
/// # Errors
/// What was expected beside what came out, where they differ.
pub(crate) fn run_validate(case: &Value) -> Result<(), String> {
    let params = &case["params"];
    let kind = match params["type"].as_str() {
        Some("EXPRESS") => WorkflowType::Express,
        _ => WorkflowType::Standard,
    };
    let found = validate(params["definition"].as_str().unwrap_or_default(), kind);
    let actual: Vec<Value> = found.iter().map(as_aws).collect();
    let failed = found.iter().any(|problem| problem.severity == Severity::Error);
    let result = if failed { "FAIL" } else { "OK" };
    let expected = &case["expect"];
    if expected["result"] == result && expected["diagnostics"] == Value::from(actual.clone()) {
        return Ok(());
    }
    Err(format!("expected: {expected}\nactual:   {result} {}", Value::from(actual)))
}

fn as_aws(problem: &Diagnostic) -> Value {
    let mut object = serde_json::Map::new();
    object.insert("code".to_owned(), Value::from(problem.code));
    if let Some(location) = &problem.location {
        object.insert("location".to_owned(), Value::from(location.as_str()));
    }
    object.insert("message".to_owned(), Value::from(problem.message.as_str()));
    let severity = match problem.severity {
        Severity::Error => "ERROR",
        Severity::Warning => "WARNING",
    };
    object.insert("severity".to_owned(), Value::from(severity));
    Value::Object(object)
}

/// Runs a case of kind `invalid_definition`.
///
/// # Errors
/// What was expected beside what came out, where they differ.
pub(crate) fn run_invalid(case: &Value) -> Result<(), String> {
    let text = case["definition"].as_str().unwrap_or_default();
    let expected = case["expect"]["message"].as_str();
    let kind = match expected {
        Some(message) if message.contains("Express") => WorkflowType::Express,
        _ => WorkflowType::Standard,
    };
    let lone = serde_json::from_str::<Value>(text).is_ok_and(|value| value.get("Type").is_some());
    let actual = match lone {
        true => stepbus_asl::test_state::refusal(text),
        false => stepbus_asl::refusal(&validate(text, kind)),
    };
    match (actual, expected) {
        (Some(_), None) => Ok(()),
        (Some(actual), Some(expected)) if actual == expected => Ok(()),
        (actual, expected) => Err(format!("expected: {expected:?}\nactual:   {actual:?}")),
    }
}
