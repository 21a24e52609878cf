//! Calls that tasks make outside: `arn:aws:states:::http:invoke`.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use serde_json::{Map, Value};
use stepbus_asl::{Failure, Input, Integration, RunTask, TaskId};
use stepbus_connect::{CallError, HttpResponse, HttpTask};
use stepbus_model::{arn, crash};
use stepbus_store::ExecutionRow;

use super::driver::Arrival;
use super::{form, inside, lambda, start_execution};
use crate::engine::Engine;

pub(super) const HTTP_INVOKE: &str = "arn:aws:states:::http:invoke";

pub(super) const ARGUMENTS: &[&str] = &[
    "ApiEndpoint",
    "Method",
    "Authentication",
    "InvocationConfig",
    "Headers",
    "QueryParameters",
    "RequestBody",
    "Transform",
];

const FORM: &str = "application/x-www-form-urlencoded";

/// What names a state visit to the outside, the same after a crash: a child is named by its map
/// run and item, because an EXPRESS child that starts again is another execution.
pub(super) fn identity(row: &ExecutionRow) -> impl Display {
    fmt::from_fn(move |f| match row.item {
        None => row.id.fmt(f),
        Some((map_run, index)) if row.redrives == 0 => write!(f, "{map_run}/{index}"),
        // What failed is asked for anew.
        Some((map_run, index)) => write!(f, "{map_run}/{index}/redrive-{}", row.redrives),
    })
}

/// The same for every attempt of a state visit.
pub(super) fn idempotency_key(engine: &Engine, row: &ExecutionRow, task: &RunTask) -> String {
    engine.derived_name(format_args!("{}/{}", identity(row), task.task.visit.0)).to_string()
}

/// The call, ready to be awaited.
pub(super) fn perform(
    engine: &Arc<Engine>,
    row: &ExecutionRow,
    task: RunTask,
) -> BoxFuture<'static, Arrival> {
    if &*task.resource == HTTP_INVOKE {
        return http_invoke(engine, row, &task);
    }
    let (engine, row) = (engine.clone(), row.clone());
    Box::pin(async move {
        let result = match &*task.resource {
            start_execution::RESOURCE => return start_named(&engine, &row, &task).await,
            lambda::RESOURCE => lambda::invoke(&engine, &row, &task).await,
            function if lambda::is_function(function) => {
                lambda::call_named(&engine, &row, &task).await
            }
            other => {
                let cause = format!("The resource {other} is not offered");
                Err(Failure::new("States.Runtime", cause))
            }
        };
        answer(task.task, task.integration, result)
    })
}

fn answer(task: TaskId, kind: Integration, result: Result<Arc<Value>, Failure>) -> Arrival {
    match result {
        Ok(output) => inside::answered(task, kind, output).into(),
        Err(failure) => Input::TaskFailed { task, failure }.into(),
    }
}

/// Looks the name up until the store answers.
async fn start_named(engine: &Engine, row: &ExecutionRow, task: &RunTask) -> Arrival {
    loop {
        match start_execution::perform_named(engine, row, task).await {
            Ok(arrival) => return arrival,
            Err(error) => {
                tracing::warn!(execution = %row.id, %error, "cannot look an execution's name up");
                tokio::time::sleep(super::LATER).await;
            }
        }
    }
}

/// Of the task nothing is kept while the call is made, as very many may be made at once.
fn http_invoke(engine: &Engine, row: &ExecutionRow, task: &RunTask) -> BoxFuture<'static, Arrival> {
    let (id, kind) = (task.task, task.integration);
    let mut call = match http_task(&task.arguments) {
        Ok(call) => call,
        Err(failure) => return Box::pin(ready(answer(id, kind, Err(failure)))),
    };
    call.idempotency_key = Some(idempotency_key(engine, row, task));
    call.share = engine.share(row.run);
    call.timeout = Some(Duration::from_secs(engine.limits.http_timeout_seconds));
    crash::point("task.before_call");
    Box::pin(engine.connect.invoke(call).map(move |answered| {
        crash::point("task.after_call");
        let result = match answered {
            Ok(response) => Ok(Arc::new(result(&response))),
            Err(CallError { error, cause, .. }) => Err(Failure::new(error, cause)),
        };
        answer(id, kind, result)
    }))
}

/// The arguments by the HTTP Task's names.
pub(super) fn http_task(arguments: &Value) -> Result<HttpTask, Failure> {
    let invalid = |what: &str| Failure::new("States.Runtime", format!("http:invoke: {what}"));
    let argument = |name: &str| member(arguments, name);
    let text = |name: &str| {
        argument(name)
            .and_then(Value::as_str)
            .ok_or_else(|| invalid(&format!("`{name}` is required and must be text")))
    };
    let (url, method) = (text("ApiEndpoint")?.to_owned(), text("Method")?.to_owned());
    let connection = ["InvocationConfig", "Authentication"]
        .iter()
        .find_map(|place| member(argument(place)?, "ConnectionArn")?.as_str())
        .map(|name| connection_name(name).to_owned());
    let form = form::wanted(argument("Transform")).map_err(|what| invalid(&what))?;
    let mut headers = pairs(argument("Headers"));
    let body = match (argument("RequestBody"), form) {
        (None, _) => None,
        (Some(Value::Object(members)), Some(format)) => {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
                headers.push(("content-type".to_owned(), FORM.to_owned()));
            }
            Some(Bytes::from(form::encode(members, format)))
        }
        (Some(Value::String(text)), _) => Some(Bytes::from(text.clone())),
        (Some(body), _) => Some(Bytes::from(serde_json::to_vec(body).unwrap_or_default())),
    };
    let query = pairs(argument("QueryParameters"));
    Ok(HttpTask { connection, method, url, headers, query, body, ..HttpTask::default() })
}

/// Of an object that has few: comparing them costs less than a hash.
fn member<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.as_object()?.iter().find_map(|(own, value)| (own == name).then_some(value))
}

/// A connection's ARN ends in `connection/NAME/UUID` on AWS; here its name is enough.
#[must_use]
pub fn connection_name(arn_or_name: &str) -> &str {
    if !arn_or_name.starts_with("arn:") {
        return arn_or_name;
    }
    arn_or_name.split_once(":connection/").map_or_else(
        || arn::name_of(arn_or_name),
        |(_, rest)| rest.split('/').next().unwrap_or(rest),
    )
}

/// Members as names and texts; an array gives its name several times.
fn pairs(members: Option<&Value>) -> Vec<(String, String)> {
    let Some(Value::Object(members)) = members else { return Vec::new() };
    let mut pairs = Vec::new();
    for (name, value) in members {
        match value {
            Value::Array(values) => {
                pairs.extend(values.iter().map(|value| (name.clone(), plain(value))));
            }
            value => pairs.push((name.clone(), plain(value))),
        }
    }
    pairs
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// The HTTP Task's result: header names with arrays of values, the body as JSON where it is.
fn result(response: &HttpResponse) -> Value {
    let mut pairs: Vec<(&str, Cow<'_, str>)> = response.headers().collect();
    pairs.sort_by_key(|(name, _)| *name);
    let mut headers = Map::with_capacity(pairs.len());
    for same in pairs.chunk_by(|(one, _), (other, _)| one == other) {
        let values = same.iter().map(|(_, value)| Value::from(value.clone())).collect();
        headers.insert(same[0].0.to_owned(), Value::Array(values));
    }
    let body = serde_json::from_slice(&response.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&response.body)));
    let members = [
        ("Headers", Value::Object(headers)),
        ("ResponseBody", body),
        ("StatusCode", Value::from(response.status)),
        ("StatusText", Value::from(response.reason)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(more: Value, body: &str, content_types: &[&str]) {
        let mut arguments = json!({
            "ApiEndpoint": "https://x.example",
            "Method": "POST",
            "RequestBody": { "a": ["b", "c"] },
        });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let task = http_task(&arguments).unwrap();
        assert_eq!(task.body.unwrap(), body);
        let is_type = |name: &str| name.eq_ignore_ascii_case("content-type");
        let sent: Vec<&str> =
            task.headers.iter().filter(|(n, _)| is_type(n)).map(|(_, v)| v.as_str()).collect();
        assert_eq!(sent, content_types);
    }

    #[test]
    fn bodies_of_http_tasks() {
        check(json!({}), r#"{"a":["b","c"]}"#, &[]);
        let form = json!({
            "RequestBodyEncoding": "URL_ENCODED",
            "RequestEncodingOptions": { "ArrayFormat": "REPEAT" },
        });
        check(json!({ "Transform": form }), "a=b&a=c", &[FORM]);
        let own = "application/x-www-form-urlencoded; charset=utf-8";
        let headers = json!({ "Content-Type": own });
        check(json!({ "Transform": form, "Headers": headers }), "a=b&a=c", &[own]);
        check(json!({ "Transform": { "RequestBodyEncoding": "NONE" } }), r#"{"a":["b","c"]}"#, &[]);
        let mut wrong = json!({ "ApiEndpoint": "https://x.example", "Method": "POST" });
        wrong["Transform"] = json!({ "RequestBodyEncoding": "XML" });
        let failure = http_task(&wrong).unwrap_err();
        assert_eq!(failure.error.as_deref(), Some("States.Runtime"));
        assert!(failure.cause.unwrap().contains("URL_ENCODED"));
    }
}
