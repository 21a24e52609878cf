//! Lambda functions: HTTP services that take the payload and answer with the result, by
//! `arn:aws:states:::lambda:invoke` or by the function's own ARN.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value, json};
use stepbus_asl::{Failure, RunTask};
use stepbus_connect::{CallError, HttpTask};
use stepbus_model::crash;
use stepbus_store::ExecutionRow;

use super::{sdk, tasks};
use crate::FunctionSpec;
use crate::engine::Engine;

pub(super) const RESOURCE: &str = "arn:aws:states:::lambda:invoke";

pub(super) const ARGUMENTS: &[&str] = &["FunctionName", "Payload", "Qualifier", "InvocationType"];

const LATEST: &str = "$LATEST";

/// What Lambda's answer has when the function failed, whatever the status.
const FUNCTION_ERROR: &str = "x-amz-function-error";

const UNKNOWN: &str = "Lambda.Unknown";

/// Whether a Resource is a function's ARN.
#[must_use]
pub fn is_function(resource: &str) -> bool {
    let mut parts = resource.split(':').skip(2);
    parts.next() == Some("lambda") && parts.nth(2) == Some("function")
}

/// The name in a function's ARN, in a part of one, or with a version.
#[must_use]
pub fn function_name(text: &str) -> &str {
    let rest = text.split_once(":function:").map_or(text, |(_, rest)| rest);
    rest.split(':').next().unwrap_or(rest)
}

/// `lambda:invoke`: the payload is one of the arguments, the answer one member of the result.
pub(super) async fn invoke(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
) -> Result<Arc<Value>, Failure> {
    let none = Map::new();
    let arguments = task.arguments.as_object().unwrap_or(&none);
    if let Some(name) = arguments.keys().find(|name| !ARGUMENTS.contains(&name.as_str())) {
        let known = ARGUMENTS.join(", ");
        return Err(invalid(format!("invoke does not take `{name}` here; it takes {known}")));
    }
    let Some(function) = arguments.get("FunctionName").and_then(Value::as_str) else {
        return Err(invalid("`FunctionName` is required: a function's name or ARN".to_owned()));
    };
    check_fixed(arguments, function)?;
    let payload = arguments.get("Payload").cloned().unwrap_or_else(|| json!({}));
    let payload = call(engine, row, task, function, &payload).await?;
    let result = json!({ "ExecutedVersion": LATEST, "Payload": payload, "StatusCode": 200 });
    Ok(Arc::new(sdk::result(engine, row, task, result)))
}

/// Arguments that have one value here: a function has one version, and a task waits for its answer.
fn check_fixed(arguments: &Map<String, Value>, function: &str) -> Result<(), Failure> {
    match arguments.get("Qualifier") {
        None | Some(Value::Null) => {}
        Some(latest) if latest == LATEST => {}
        Some(other) => {
            let other = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            let cause = format!("Function not found: {function}:{other} (there is {LATEST})");
            return Err(Failure::new("Lambda.ResourceNotFoundException", cause));
        }
    }
    match arguments.get("InvocationType") {
        None | Some(Value::Null) => Ok(()),
        Some(kind) if kind == "RequestResponse" => Ok(()),
        Some(kind) => Err(invalid(format!(
            "`InvocationType` is RequestResponse here, not {kind}; to call without waiting for the answer, publish an event to a subscription or start a workflow"
        ))),
    }
}

/// A function by its ARN: arguments and result are the payloads themselves.
pub(super) async fn call_named(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
) -> Result<Arc<Value>, Failure> {
    call(engine, row, task, &task.resource, &task.arguments).await.map(Arc::new)
}

async fn call(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    function: &str,
    payload: &Value,
) -> Result<Value, Failure> {
    let catalogue = engine.catalogue();
    let Some(spec) = catalogue.functions.get(function_name(function)) else {
        let cause = format!("Function not found: {function}");
        return Err(Failure::new("Lambda.ResourceNotFoundException", cause));
    };
    let call = HttpTask {
        idempotency_key: Some(tasks::idempotency_key(engine, row, task)),
        share: engine.share(row.run),
        ..request(engine, spec, payload)
    };
    crash::point("task.before_call");
    let answer = engine.connect.invoke(call).await;
    crash::point("task.after_call");
    let response = answer.map_err(|error| refused(&error))?;
    if response.headers().any(|(name, _)| name == FUNCTION_ERROR) {
        let body = String::from_utf8_lossy(&response.body);
        let body = engine.connect.masked(spec.connection.as_deref(), &body);
        return Err(function_error(&body));
    }
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&response.body).map_err(|error| {
        let cause = format!("the function `{}` answered with no JSON: {error}", spec.name);
        Failure::new(UNKNOWN, cause)
    })
}

fn request(engine: &Engine, spec: &FunctionSpec, payload: &Value) -> HttpTask {
    let default = Duration::from_secs(engine.limits.http_timeout_seconds);
    HttpTask {
        connection: spec.connection.clone(),
        method: "POST".to_owned(),
        url: spec.url.clone(),
        body: Some(Bytes::from(payload.to_string())),
        timeout: Some(spec.timeout_ms.map_or(default, Duration::from_millis)),
        ..HttpTask::default()
    }
}

/// What a call without a good answer means, by the names that Retry and Catch know.
fn refused(error: &CallError) -> Failure {
    let body = error.body.as_deref().unwrap_or_default();
    let exchange = error.failure.exchange.as_deref();
    let says_so = exchange.is_some_and(|exchange| {
        let mut headers = exchange.response_headers.iter();
        headers.any(|(name, _)| name.eq_ignore_ascii_case(FUNCTION_ERROR))
    });
    if says_so || error_type(body).is_some() {
        return function_error(body);
    }
    let name = match error.status {
        Some(429) => "Lambda.TooManyRequestsException",
        Some(500..) => "Lambda.ServiceException",
        Some(_) => UNKNOWN,
        None if error.error == "States.Http.Socket" => "Lambda.ServiceException",
        None => &error.error,
    };
    Failure::new(name, error.cause.clone())
}

/// What the function threw.
fn function_error(body: &str) -> Failure {
    let name = error_type(body).unwrap_or_else(|| UNKNOWN.to_owned());
    Failure::new(name, body)
}

fn error_type(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let name = body.get("errorType")?.as_str()?;
    (!name.is_empty()).then(|| name.to_owned())
}

fn invalid(cause: String) -> Failure {
    Failure::new("Lambda.InvalidParameterValueException", cause)
}
