//! `arn:aws:states:::sqs:sendMessage` to our own queues: no call but a write in the same batch, so
//! it happens exactly once.

use std::time::Duration;

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};
use stepbus_asl::{Failure, RunTask};
use stepbus_store::{Batch, Cause, ExecutionRow};

use super::inside::Done;
use super::sdk;
use crate::engine::Engine;
use crate::publish::Effects;
use crate::queues::{NewMessage, QueueError};

pub(super) const RESOURCE: &str = "arn:aws:states:::sqs:sendMessage";

pub(super) const ARGUMENTS: &[&str] =
    &["QueueUrl", "MessageBody", "DelaySeconds", "MessageAttributes"];

/// Sends into the batch and gives the call's result.
pub(super) fn perform(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Result<Done, Failure> {
    let arguments = &task.arguments;
    if let Some(name) = arguments
        .as_object()
        .and_then(|members| members.keys().find(|name| !ARGUMENTS.contains(&name.as_str())))
    {
        let known = ARGUMENTS.join(", ");
        return Err(invalid(format!("sendMessage does not take `{name}` here; it takes {known}")));
    }
    let Some(url) = arguments.get("QueueUrl").and_then(Value::as_str) else {
        return Err(invalid("`QueueUrl` is required: a queue's name, ARN or URL"));
    };
    let queue = engine.queue_named(url).map_err(refusal)?;
    let body = match arguments.get("MessageBody") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => return Err(invalid("`MessageBody` is required")),
        Some(body) => body.to_string(),
    };
    let delay = match arguments.get("DelaySeconds") {
        None => None,
        Some(seconds) => {
            let seconds = seconds.as_u64();
            Some(seconds.ok_or_else(|| invalid("`DelaySeconds` must be a whole number"))?)
        }
    };
    let digest = format!("{:x}", Md5::digest(body.as_bytes()));
    let new = NewMessage {
        run: row.run,
        cause: Cause::Execution(row.id),
        body: body.into(),
        attributes: attributes(arguments.get("MessageAttributes"))?,
        delay: delay.map(Duration::from_secs),
    };
    let id = engine.send_message(batch, effects, &queue, new).map_err(refusal)?;
    let result = json!({ "MD5OfMessageBody": digest, "MessageId": id });
    Ok(sdk::result(engine, row, task, result).into())
}

fn attributes(given: Option<&Value>) -> Result<Map<String, Value>, Failure> {
    match given {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members.clone()),
        Some(_) => Err(invalid("`MessageAttributes` must be an object")),
    }
}

fn invalid(cause: impl Into<String>) -> Failure {
    Failure::new("Sqs.InvalidParameterValueException", cause)
}

fn refusal(error: QueueError) -> Failure {
    let name = match &error {
        QueueError::NoQueue(_) => "Sqs.QueueDoesNotExistException",
        QueueError::Store(_) => "Sqs.SdkClientException",
        _ => "Sqs.InvalidParameterValueException",
    };
    Failure::new(name, error.to_string())
}
