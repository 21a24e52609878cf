//! Schedules: listed, shown, fired by hand.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_runtime::{ScheduleError, ScheduleView};

use super::operating::Who;
use crate::Face;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(super) struct All {
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(query): Query<All>,
) -> Json<Vec<ScheduleView>> {
    Json(face.engine.schedules(query.all))
}

pub(super) async fn show(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<ScheduleView>, ApiError> {
    let found = face.engine.schedules(true).into_iter().find(|view| view.schedule == name);
    found.map(Json).ok_or_else(|| ApiError::not_found(&format!("schedule '{name}'")))
}

#[derive(Debug, Deserialize)]
pub(super) struct Next {
    count: Option<usize>,
}

pub(super) async fn next(
    State(face): State<Face>,
    Path(name): Path<String>,
    Query(next): Query<Next>,
) -> Result<Json<Value>, ApiError> {
    let times = face.engine.next_times(&name, next.count.unwrap_or(10))?;
    Ok(Json(times.into_iter().map(|at| json!({ "at": at, "time": at.to_rfc3339() })).collect()))
}

pub(super) async fn run_now(
    State(face): State<Face>,
    Path(name): Path<String>,
    Who(who): Who,
) -> Result<Json<Value>, ApiError> {
    let run = face.engine.run_schedule_now(&name, &who).await?;
    Ok(Json(json!({ "schedule": name, "run": run })))
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let message = error.to_string();
        match error {
            ScheduleError::NoSchedule(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
            }
            ScheduleError::Refused(_) => ApiError::invalid(message),
            ScheduleError::Store(error) => error.into(),
        }
    }
}
