//! Map runs: listed, described, updated, what failed in them.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_model::{ExecutionId, MapRunId};
use stepbus_runtime::{
    Engine, FailedChild, FailureGroup, MapRunDetail, MapRunUpdate, Redriven, RerunSelection,
};
use stepbus_store::StoreError;

use super::{Page, id, optional_id};
use crate::Face;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(super) struct List {
    run: Option<String>,
    execution: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(query): Query<List>,
) -> Result<Json<Vec<MapRunDetail>>, ApiError> {
    let limit = Page { limit: query.limit }.size(face.engine.limits().page_rows)?;
    let run = optional_id(query.run.as_ref())?;
    let execution = optional_id(query.execution.as_ref())?;
    let before = optional_id(query.before.as_ref())?;
    Ok(Json(face.engine.map_runs(run, execution, before, limit).await?))
}

pub(super) async fn describe(
    State(face): State<Face>,
    Path(map_run): Path<String>,
) -> Result<Json<MapRunDetail>, ApiError> {
    let found = face.engine.map_run(id(&map_run)?).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&map_run))
}

pub(super) async fn update(
    State(face): State<Face>,
    Path(map_run): Path<String>,
    Json(update): Json<MapRunUpdate>,
) -> Result<Json<MapRunDetail>, ApiError> {
    Ok(Json(face.engine.update_map_run(id(&map_run)?, update).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RedriveMapRun {
    error: Option<String>,
    item_filter: Option<String>,
    from_state: Option<String>,
    #[serde(default)]
    current_definition: bool,
    client_token: Option<String>,
}

pub(super) async fn redrive(
    State(face): State<Face>,
    Path(map_run): Path<String>,
    Json(redrive): Json<RedriveMapRun>,
) -> Result<Json<Redriven>, ApiError> {
    let RedriveMapRun { error, item_filter, from_state, current_definition, client_token } =
        redrive;
    let selection = RerunSelection { error, item_filter, from_state, current_definition };
    let id = id(&map_run)?;
    Ok(Json(face.engine.redrive_map_run(id, &selection, client_token.as_deref()).await?))
}

/// What failed in a run, runs again.
pub(super) async fn rerun_failed(
    State(face): State<Face>,
    Path(run): Path<String>,
    Json(selection): Json<RerunSelection>,
) -> Result<Json<Value>, ApiError> {
    let done = face.engine.rerun_failed(id(&run)?, &selection).await?;
    let rows = done.into_iter().map(|(subject, redriven)| {
        json!({
            "subject": subject,
            "children": redriven.children,
            "redriveDate": redriven.redrive_date,
        })
    });
    Ok(Json(Value::from(rows.collect::<Vec<Value>>())))
}

pub(super) async fn groups(
    State(face): State<Face>,
    Path(map_run): Path<String>,
) -> Result<Json<Vec<FailureGroup>>, ApiError> {
    Ok(Json(face.engine.failure_groups(id(&map_run)?).await?))
}

#[derive(Debug, Deserialize)]
pub(super) struct Failures {
    after: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn failures(
    State(face): State<Face>,
    Path(map_run): Path<String>,
    Query(query): Query<Failures>,
) -> Result<Json<Value>, ApiError> {
    let limit = Page { limit: query.limit }.size(face.engine.limits().page_rows)?;
    let after = optional_id(query.after.as_ref())?.unwrap_or(ExecutionId(0));
    let (failures, next) =
        face.engine.failed_children(known(&face, &map_run).await?, after, limit).await?;
    Ok(Json(json!({ "failures": failures, "next": next })))
}

async fn known(face: &Face, map_run: &str) -> Result<MapRunId, ApiError> {
    let found: MapRunId = id(map_run)?;
    match face.engine.map_run(found).await? {
        Some(_) => Ok(found),
        None => Err(ApiError::not_found(map_run)),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Export {
    format: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Csv,
    Jsonl,
}

/// All failed children as one file, written as it is read.
pub(super) async fn export(
    State(face): State<Face>,
    Path(map_run): Path<String>,
    Query(query): Query<Export>,
) -> Result<Response, ApiError> {
    let format = match query.format.as_deref() {
        None | Some("jsonl") => Format::Jsonl,
        Some("csv") => Format::Csv,
        Some(other) => {
            return Err(ApiError::invalid(format!(
                "unknown format '{other}'; there are: csv, jsonl"
            )));
        }
    };
    let id = known(&face, &map_run).await?;
    let media = if format == Format::Csv { "text/csv" } else { "application/jsonl" };
    let reading = Reading {
        engine: face.engine.clone(),
        id,
        format,
        after: Some(ExecutionId(0)),
        head: true,
    };
    let pages = futures_util::stream::try_unfold(reading, Reading::next);
    Ok(([(header::CONTENT_TYPE, media)], Body::from_stream(pages)).into_response())
}

/// Where an export stands.
struct Reading {
    engine: Arc<Engine>,
    id: MapRunId,
    format: Format,
    after: Option<ExecutionId>,
    head: bool,
}

/// Children of one piece of an export.
const PIECE: usize = 100;

const COLUMNS: &str =
    "index,execution,status,error,cause,started,ended,redriveCount,item,input\r\n";

impl Reading {
    async fn next(mut self) -> Result<Option<(Bytes, Reading)>, StoreError> {
        let Some(after) = self.after else { return Ok(None) };
        let mut text = String::new();
        if std::mem::take(&mut self.head) && self.format == Format::Csv {
            text.push_str(COLUMNS);
        }
        let (children, next) = self.engine.failed_children(self.id, after, PIECE).await?;
        for child in &children {
            match self.format {
                Format::Csv => csv_line(child, &mut text),
                Format::Jsonl => {
                    text.push_str(&serde_json::to_string(child).unwrap_or_default());
                    text.push('\n');
                }
            }
        }
        self.after = next;
        Ok(Some((Bytes::from(text), self)))
    }
}

fn csv_line(child: &FailedChild, text: &mut String) {
    let time = |at: stepbus_model::Timestamp| at.to_rfc3339();
    let fields = [
        child.index.to_string(),
        child.execution.to_string(),
        child.status.to_owned(),
        child.error.clone().unwrap_or_default(),
        child.cause.clone().unwrap_or_default(),
        time(child.started),
        child.ended.map(time).unwrap_or_default(),
        child.redrive_count.to_string(),
        child.item.to_string(),
        child.input.to_string(),
    ];
    let quoted = fields.map(|field| {
        if field.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", field.replace('"', "\"\""))
        } else {
            field
        }
    });
    text.push_str(&quoted.join(","));
    text.push_str("\r\n");
}
