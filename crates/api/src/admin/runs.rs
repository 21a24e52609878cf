//! Runs and their books.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_runtime::RunView;

use super::{Page, id, optional_id};
use crate::Face;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(super) struct List {
    #[serde(default)]
    open: bool,
    before: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(query): Query<List>,
) -> Result<Json<Vec<RunView>>, ApiError> {
    let limit = Page { limit: query.limit }.size(face.engine.limits().page_rows)?;
    let before = optional_id(query.before.as_ref())?;
    Ok(Json(face.engine.runs(query.open, before, limit).await?))
}

pub(super) async fn show(
    State(face): State<Face>,
    Path(run): Path<String>,
) -> Result<Json<RunView>, ApiError> {
    let found = face.engine.run(id(&run)?).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&run))
}

/// Connections, destinations and the store, as they are now.
pub(super) async fn health(State(face): State<Face>) -> Json<Value> {
    let stats = face.engine.store().stats();
    Json(json!({ "connect": face.engine.connect().health(), "store": stats }))
}
