//! Workflows and their executions.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stepbus_model::{ExecutionId, arn};
use stepbus_runtime::{
    ExecutionView, HistoryEvent, Recording, RedriveOptions, Redriven, StartOptions, WorkflowView,
    status_named,
};
use stepbus_store::{ExecutionFilter, Priority};

use super::{Page, id, optional_id};
use crate::Face;
use crate::error::ApiError;

pub(super) async fn workflows(
    State(face): State<Face>,
) -> Result<Json<Vec<WorkflowView>>, ApiError> {
    Ok(Json(face.engine.workflows().await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    name: Option<String>,
    #[serde(default)]
    input: Value,
    priority: Option<Priority>,
    /// Whatever the run delivers is sent although it is unchanged.
    #[serde(default)]
    force: bool,
    /// Waits for the end, of an EXPRESS workflow's execution.
    #[serde(default)]
    sync: bool,
}

pub(super) async fn start(
    State(face): State<Face>,
    Path(workflow): Path<String>,
    Json(start): Json<Start>,
) -> Result<Json<Value>, ApiError> {
    let priority = start.priority.unwrap_or_default();
    let options = StartOptions { priority, force: start.force };
    if start.sync {
        let engine = &face.engine;
        let row = engine.start_sync_execution(&workflow, start.name, start.input, options).await?;
        let view = engine.execution(row.id).await?;
        return Ok(Json(json!({ "execution": row.id, "run": row.run, "result": view })));
    }
    let (execution, run) =
        face.engine.start_execution(&workflow, start.name, start.input, options).await?;
    Ok(Json(json!({ "execution": execution, "run": run })))
}

#[derive(Debug, Deserialize)]
pub(super) struct List {
    workflow: Option<String>,
    status: Option<String>,
    run: Option<String>,
    map_run: Option<String>,
    before: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(query): Query<List>,
) -> Result<Json<Vec<ExecutionView>>, ApiError> {
    let limit = Page { limit: query.limit }.size(face.engine.limits().page_rows)?;
    let catalogue = face.engine.catalogue();
    let workflow = match &query.workflow {
        None => None,
        Some(name) => {
            let found = catalogue.workflows.get(arn::name_of(name));
            Some(found.ok_or_else(|| ApiError::not_found(&format!("workflow '{name}'")))?.id)
        }
    };
    let status = match &query.status {
        None => None,
        Some(name) => Some(status_named(name).ok_or_else(|| {
            let known = "RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED";
            ApiError::invalid(format!("unknown status '{name}'; there are: {known}"))
        })?),
    };
    let filter = ExecutionFilter {
        workflow,
        status,
        run: optional_id(query.run.as_ref())?,
        map_run: optional_id(query.map_run.as_ref())?,
    };
    let before = optional_id(query.before.as_ref())?;
    Ok(Json(face.engine.executions(filter, before, limit).await?))
}

pub(super) async fn describe(
    State(face): State<Face>,
    Path(execution): Path<String>,
) -> Result<Json<ExecutionView>, ApiError> {
    let found = face.engine.execution(id(&execution)?).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&execution))
}

/// The events in GetExecutionHistory's shape.
pub(super) async fn history(
    State(face): State<Face>,
    Path(execution): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let events = face.engine.history(id(&execution)?).await?;
    let events = events.ok_or_else(|| ApiError::not_found(&execution))?;
    let events: Vec<Value> = events.into_iter().map(event).collect();
    Ok(Json(json!({ "events": events })))
}

/// Definition and journal, to be replayed anywhere.
pub(super) async fn export(
    State(face): State<Face>,
    Path(execution): Path<String>,
) -> Result<Json<Recording>, ApiError> {
    let recording = face.engine.export(id(&execution)?).await?;
    recording.map(Json).ok_or_else(|| ApiError::not_found(&execution))
}

#[derive(Debug, Deserialize)]
pub(super) struct Until {
    until: Option<u64>,
}

/// The execution as it was once an event of its history had come about.
pub(super) async fn replay(
    State(face): State<Face>,
    Path(execution): Path<String>,
    Query(query): Query<Until>,
) -> Result<Json<Value>, ApiError> {
    let recording = face.engine.export(id(&execution)?).await?;
    let recording = recording.ok_or_else(|| ApiError::not_found(&execution))?;
    let moment = recording.replay(query.until);
    Ok(Json(moment.map_err(|error| ApiError::invalid(error.to_string()))?.to_value()))
}

fn event(event: HistoryEvent) -> Value {
    let mut members = Map::new();
    members.insert("timestamp".to_owned(), event.timestamp.to_rfc3339().into());
    members.insert("type".to_owned(), event.event_type.into());
    members.insert("id".to_owned(), event.id.into());
    members.insert("previousEventId".to_owned(), event.previous_event_id.into());
    if let Some((name, details)) = event.details {
        members.insert(name.to_owned(), details);
    }
    Value::Object(members)
}

pub(super) async fn redrive(
    State(face): State<Face>,
    Path(execution): Path<String>,
    Json(options): Json<RedriveOptions>,
) -> Result<Json<Redriven>, ApiError> {
    Ok(Json(face.engine.redrive_execution(id(&execution)?, &options).await?))
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stop {
    error: Option<String>,
    cause: Option<String>,
}

pub(super) async fn stop(
    State(face): State<Face>,
    Path(execution): Path<String>,
    Json(stop): Json<Stop>,
) -> Result<Json<Value>, ApiError> {
    let id: ExecutionId = id(&execution)?;
    if face.engine.stop_execution(id, stop.error, stop.cause).await? {
        return Ok(Json(json!({ "stopping": id })));
    }
    Err(ApiError::not_found(&format!("running execution {execution} that can be stopped")))
}
