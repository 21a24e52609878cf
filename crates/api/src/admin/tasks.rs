//! Tasks whose results come from outside: by their tokens, and by activities' workers.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_runtime::{ACTIVITY_POLL, ActivityView};

use crate::Face;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Success {
    token: String,
    /// JSON.
    output: Value,
}

pub(super) async fn success(
    State(face): State<Face>,
    Json(success): Json<Success>,
) -> Result<Json<Value>, ApiError> {
    face.engine.send_task_success(&success.token, &success.output.to_string()).await?;
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failure {
    token: String,
    error: Option<String>,
    cause: Option<String>,
}

pub(super) async fn failure(
    State(face): State<Face>,
    Json(failure): Json<Failure>,
) -> Result<Json<Value>, ApiError> {
    face.engine.send_task_failure(&failure.token, failure.error, failure.cause).await?;
    Ok(Json(json!({})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Heartbeat {
    token: String,
}

pub(super) async fn heartbeat(
    State(face): State<Face>,
    Json(heartbeat): Json<Heartbeat>,
) -> Result<Json<Value>, ApiError> {
    face.engine.send_task_heartbeat(&heartbeat.token).await?;
    Ok(Json(json!({})))
}

pub(super) async fn activities(State(face): State<Face>) -> Json<Vec<ActivityView>> {
    Json(face.engine.activities())
}

pub(super) async fn describe(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<ActivityView>, ApiError> {
    Ok(Json(face.engine.activity(&name)?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    name: String,
}

pub(super) async fn create(
    State(face): State<Face>,
    Json(create): Json<Create>,
) -> Result<Json<ActivityView>, ApiError> {
    Ok(Json(face.engine.create_activity(&create.name).await?))
}

pub(super) async fn delete(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    face.engine.delete_activity(&name).await?;
    Ok(Json(json!({})))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Take {
    worker: Option<String>,
    /// 60 seconds at most, and by default.
    wait_seconds: Option<u64>,
}

/// The task that waits longest; `token` is null when there was none for so long.
pub(super) async fn take(
    State(face): State<Face>,
    Path(name): Path<String>,
    Json(take): Json<Take>,
) -> Result<Json<Value>, ApiError> {
    let patience = take.wait_seconds.map_or(ACTIVITY_POLL, Duration::from_secs);
    let task = face.engine.get_activity_task(&name, take.worker, patience).await?;
    Ok(Json(match task {
        Some(task) => json!({ "token": task.token, "input": task.input }),
        None => json!({ "token": null }),
    }))
}
