//! Queues: listed, sent to, received from, emptied.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepbus_runtime::{QueueView, Receive, ReceivedMessage, SentMessage};

use crate::Face;
use crate::error::ApiError;

pub(super) async fn list(State(face): State<Face>) -> Result<Json<Vec<QueueView>>, ApiError> {
    Ok(Json(face.engine.queues().await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Send {
    body: String,
    delay_seconds: Option<u64>,
    /// SQS's MessageAttributes.
    #[serde(default)]
    attributes: Map<String, Value>,
}

pub(super) async fn send(
    State(face): State<Face>,
    Path(queue): Path<String>,
    Json(send): Json<Send>,
) -> Result<Json<SentMessage>, ApiError> {
    let delay = send.delay_seconds.map(Duration::from_secs);
    let sent = face.engine.send_to_queue(&queue, send.body, send.attributes, delay).await?;
    Ok(Json(sent))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    #[serde(default = "one")]
    max: usize,
    #[serde(default)]
    wait_seconds: u64,
    visibility_seconds: Option<u64>,
}

fn one() -> usize {
    1
}

pub(super) async fn receive(
    State(face): State<Face>,
    Path(queue): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Json<Vec<ReceivedMessage>>, ApiError> {
    let wish = Receive {
        max: wanted.max,
        visibility: wanted.visibility_seconds.map(Duration::from_secs),
        wait: Duration::from_secs(wanted.wait_seconds),
    };
    Ok(Json(face.engine.receive_messages(&queue, wish).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Received {
    receipt_handle: String,
}

/// Deletes a received message; `deleted` is false when it was received again since, or is gone.
pub(super) async fn delete(
    State(face): State<Face>,
    Path(queue): Path<String>,
    Json(received): Json<Received>,
) -> Result<Json<Value>, ApiError> {
    let deleted = face.engine.delete_message(&queue, &received.receipt_handle).await?;
    Ok(Json(json!({ "deleted": deleted })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Visibility {
    receipt_handle: String,
    seconds: u64,
}

pub(super) async fn visibility(
    State(face): State<Face>,
    Path(queue): Path<String>,
    Json(change): Json<Visibility>,
) -> Result<Json<Value>, ApiError> {
    let span = Duration::from_secs(change.seconds);
    face.engine.change_visibility(&queue, &change.receipt_handle, span).await?;
    Ok(Json(json!({ "seconds": change.seconds })))
}

pub(super) async fn purge(
    State(face): State<Face>,
    Path(queue): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({ "purged": face.engine.purge_queue(&queue).await? })))
}
