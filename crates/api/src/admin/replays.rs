//! Replays of the retained log, and the disk it takes.

use std::num::NonZeroU32;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::Value;
use stepbus_runtime::{ReplayError, ReplaySpec, ReplayView, StorageView};

use super::events::time;
use crate::Face;
use crate::error::ApiError;

const OPERATOR: &str = "operator";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    name: String,
    bus: String,
    archive: Option<String>,
    /// RFC 3339.
    from: String,
    to: String,
    pattern: Option<Value>,
    #[serde(default)]
    subscriptions: Vec<String>,
    rate: Option<NonZeroU32>,
    #[serde(default)]
    force: bool,
}

impl From<ReplayError> for ApiError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Invalid(message) => ApiError::invalid(message),
            ReplayError::Missing(what) => ApiError::not_found(&what),
            ReplayError::Store(error) => error.into(),
        }
    }
}

pub(super) async fn start(
    State(face): State<Face>,
    Json(start): Json<Start>,
) -> Result<Json<ReplayView>, ApiError> {
    let spec = ReplaySpec {
        from: time(&start.from)?,
        to: time(&start.to)?,
        name: start.name,
        bus: start.bus,
        archive: start.archive,
        pattern: start.pattern.map(|pattern| pattern.to_string()),
        subscriptions: start.subscriptions,
        rate: start.rate,
        force: start.force,
    };
    Ok(Json(face.engine.start_replay(spec, OPERATOR).await?))
}

pub(super) async fn list(State(face): State<Face>) -> Result<Json<Vec<ReplayView>>, ApiError> {
    Ok(Json(face.engine.replays().await?))
}

pub(super) async fn show(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<ReplayView>, ApiError> {
    let found = face.engine.replay(&name).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&format!("replay '{name}'")))
}

pub(super) async fn cancel(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<ReplayView>, ApiError> {
    Ok(Json(face.engine.cancel_replay(&name, OPERATOR).await?))
}

pub(super) async fn storage(State(face): State<Face>) -> Result<Json<StorageView>, ApiError> {
    Ok(Json(face.engine.storage().await?))
}
