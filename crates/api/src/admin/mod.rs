//! The admin API: what the command line and the console ask for, as JSON.

mod dead_letters;
mod events;
mod executions;
mod map_runs;
mod operating;
mod queues;
mod replays;
mod runs;
mod schedules;
mod tasks;

use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::Face;
use crate::error::ApiError;

pub(crate) fn routes() -> Router<Face> {
    Router::new()
        .route("/runs", get(runs::list))
        .route("/runs/{id}", get(runs::show))
        .route("/subscriptions", get(operating::subscriptions))
        .route("/subscriptions/{name}", get(operating::subscription))
        .route("/schedules", get(schedules::list))
        .route("/schedules/{name}", get(schedules::show))
        .route("/schedules/{name}/next", get(schedules::next))
        .route("/schedules/{name}/run-now", post(schedules::run_now))
        .route("/destinations", get(operating::destinations))
        .route("/destinations/{name}", get(operating::destination))
        .route("/destinations/{name}/test", post(operating::try_destination))
        .route("/{listing}/{name}/pause", post(operating::pause))
        .route("/{listing}/{name}/resume", post(operating::resume))
        .route("/{listing}/{name}/drain", post(operating::drain))
        .route("/health", get(runs::health))
        .route("/workflows", get(executions::workflows))
        .route("/workflows/{name}/executions", post(executions::start))
        .route("/executions", get(executions::list))
        .route("/executions/{id}", get(executions::describe))
        .route("/executions/{id}/history", get(executions::history))
        .route("/executions/{id}/export", get(executions::export))
        .route("/executions/{id}/replay", get(executions::replay))
        .route("/executions/{id}/stop", post(executions::stop))
        .route("/map-runs", get(map_runs::list))
        .route("/map-runs/{id}", get(map_runs::describe))
        .route("/map-runs/{id}/redrive", post(map_runs::redrive))
        .route("/runs/{id}/rerun-failed", post(map_runs::rerun_failed))
        .route("/executions/{id}/redrive", post(executions::redrive))
        .route("/map-runs/{id}/update", post(map_runs::update))
        .route("/map-runs/{id}/failures", get(map_runs::failures))
        .route("/map-runs/{id}/failure-groups", get(map_runs::groups))
        .route("/map-runs/{id}/export", get(map_runs::export))
        .route("/events", get(events::list).post(events::put))
        .route("/replays", get(replays::list).post(replays::start))
        .route("/replays/{name}", get(replays::show))
        .route("/replays/{name}/cancel", post(replays::cancel))
        .route("/storage", get(replays::storage))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/groups", get(dead_letters::groups))
        .route("/dead-letters/{id}", get(dead_letters::show))
        .route("/dead-letters/{id}/payload", get(dead_letters::payload).put(dead_letters::edit))
        .route("/dead-letters/redrive", post(dead_letters::redrive))
        .route("/dead-letters/purge", post(dead_letters::purge))
        .route("/operations", get(dead_letters::operations))
        .route("/operations/{id}", get(dead_letters::operation))
        .route("/operations/{id}/cancel", post(dead_letters::cancel))
        .route("/audit-log", get(operating::audit_log))
        .route("/queues", get(queues::list))
        .route("/queues/{name}/messages", post(queues::send))
        .route("/queues/{name}/receive", post(queues::receive))
        .route("/queues/{name}/delete", post(queues::delete))
        .route("/queues/{name}/visibility", post(queues::visibility))
        .route("/queues/{name}/purge", post(queues::purge))
        .route("/tasks/success", post(tasks::success))
        .route("/tasks/failure", post(tasks::failure))
        .route("/tasks/heartbeat", post(tasks::heartbeat))
        .route("/activities", get(tasks::activities).post(tasks::create))
        .route("/activities/{name}", get(tasks::describe))
        .route("/activities/{name}/delete", post(tasks::delete))
        .route("/activities/{name}/take", post(tasks::take))
        .fallback(|| async { ApiError::not_found("such admin route") })
}

/// Which part of a listing is asked for.
#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<usize>,
}

impl Page {
    const DEFAULT: usize = 50;

    fn size(&self, most: usize) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(Self::DEFAULT) {
            0 => Err(ApiError::invalid("limit must be at least 1")),
            limit if limit > most => {
                Err(ApiError::invalid(format!("limit must be at most {most}")))
            }
            limit => Ok(limit),
        }
    }
}

/// An id in a path or query.
fn id<T: std::str::FromStr>(text: &str) -> Result<T, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| ApiError::invalid(error.to_string()))
}

fn optional_id<T: std::str::FromStr>(text: Option<&String>) -> Result<Option<T>, ApiError>
where
    T::Err: std::fmt::Display,
{
    text.map(|text| id(text)).transpose()
}
