//! Dead letters: listed, shown, sent again, given up.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_model::{MessageId, Timestamp};
use stepbus_runtime::{
    DeadLetter, EditError, GroupBy, LetterGroup, OperationView, PayloadView, Purge, Redrive,
    RedriveVersion, Selection, Tally,
};
use stepbus_store::{MessageFilter, ResourceKind, StoreError};
use tokio::sync::watch;

use super::operating::Who;
use super::{Page, id, optional_id};
use crate::Face;
use crate::error::ApiError;

/// How long an answer waits for work that goes on by itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// What narrows a listing or a selection.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    queue: Option<String>,
    run: Option<String>,
    subscription: Option<String>,
    error_code: Option<String>,
    key: Option<String>,
    /// Part of the cause.
    cause: Option<String>,
    /// Sent at least so many seconds ago.
    older_than: Option<u64>,
    /// Sent at most so many seconds ago.
    newer_than: Option<u64>,
}

impl Filter {
    fn compile(&self, face: &Face) -> Result<MessageFilter, ApiError> {
        let catalogue = face.engine.catalogue();
        let missing = |kind: &str, name: &str| ApiError::not_found(&format!("{kind} '{name}'"));
        let queue = match &self.queue {
            None => None,
            Some(name) => Some(*catalogue.queues.get(name).ok_or_else(|| missing("queue", name))?),
        };
        let subscription = match &self.subscription {
            None => None,
            Some(name) => {
                let found = face.engine.resource_named(ResourceKind::Subscription, name);
                Some(found.ok_or_else(|| missing("subscription", name))?)
            }
        };
        let ago = |seconds: u64| {
            let millis = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
            Timestamp(face.engine.now().0.saturating_sub(millis))
        };
        Ok(MessageFilter {
            queue,
            run: optional_id(self.run.as_ref())?,
            subscription,
            error_code: self.error_code.clone(),
            key: self.key.clone(),
            cause: self.cause.clone(),
            sent_before: self.older_than.map(ago),
            sent_from: self.newer_than.map(ago),
            dead: true,
        })
    }

    fn is_empty(&self) -> bool {
        let texts =
            [&self.queue, &self.run, &self.subscription, &self.error_code, &self.key, &self.cause];
        texts.iter().all(|text| text.is_none())
            && self.older_than.is_none()
            && self.newer_than.is_none()
    }
}

/// Which part of the listing.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Grouped {
    #[serde(default)]
    by: GroupBy,
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(filter): Query<Filter>,
    Query(page): Query<Listed>,
) -> Result<Json<Vec<DeadLetter>>, ApiError> {
    let limit = Page { limit: page.limit }.size(face.engine.limits().page_rows)?;
    let after = page.after.as_ref().map_or(Ok(MessageId(0)), |text| id(text))?;
    Ok(Json(face.engine.dead_letters(filter.compile(&face)?, after, limit).await?))
}

/// How many there are of what, and since when.
pub(super) async fn groups(
    State(face): State<Face>,
    Query(filter): Query<Filter>,
    Query(grouped): Query<Grouped>,
) -> Result<Json<Vec<LetterGroup>>, ApiError> {
    Ok(Json(face.engine.dead_letter_groups(filter.compile(&face)?, grouped.by).await?))
}

pub(super) async fn show(
    State(face): State<Face>,
    Path(message): Path<String>,
) -> Result<Json<DeadLetter>, ApiError> {
    let found = face.engine.dead_letter(id(&message)?).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&message))
}

#[derive(Debug, Deserialize)]
pub(super) struct Selected {
    /// One message; else all that pass the filter.
    id: Option<MessageId>,
    #[serde(flatten)]
    filter: Filter,
    /// Must be true when nothing narrows the selection.
    #[serde(default)]
    all: bool,
    rate: Option<NonZeroU32>,
    #[serde(default)]
    version: RedriveVersion,
    reason: Option<String>,
    /// Members that have no meaning, so that a mistyped filter does not widen the selection.
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

/// Members that the flattened filter takes.
const FILTERS: [&str; 8] =
    ["queue", "run", "subscription", "error_code", "key", "cause", "older_than", "newer_than"];

impl Selected {
    fn selection(&self, face: &Face) -> Result<Selection, ApiError> {
        let unknown = self.unknown.keys().find(|name| !FILTERS.contains(&name.as_str()));
        if let Some(unknown) = unknown {
            return Err(ApiError::invalid(format!("unknown member '{unknown}'")));
        }
        if let Some(id) = self.id {
            return Ok(Selection::One(id));
        }
        if !self.all && self.filter.is_empty() {
            let message = "say which dead letters: an id, a filter, or `all`";
            return Err(ApiError::invalid(message));
        }
        Ok(Selection::Matching(self.filter.compile(face)?))
    }
}

/// Begins the redrive and answers with how far it is when it ends or patience does.
pub(super) async fn redrive(
    State(face): State<Face>,
    Who(who): Who,
    Json(selected): Json<Selected>,
) -> Result<Json<Value>, ApiError> {
    let wish = Redrive {
        selection: selected.selection(&face)?,
        rate: selected.rate,
        version: selected.version,
        who,
    };
    let operation = face.engine.start_redrive(wish).await?;
    let view = face.engine.await_operation(operation, PATIENCE).await?;
    let view = view.ok_or_else(|| ApiError::not_found("operation"))?;
    let mut body = answer(&view.tally, view.status == "RUNNING");
    body["operation"] = json!(operation);
    body["status"] = json!(view.status);
    Ok(Json(body))
}

pub(super) async fn operations(
    State(face): State<Face>,
    Query(page): Query<Page>,
) -> Result<Json<Vec<OperationView>>, ApiError> {
    let limit = page.size(face.engine.limits().page_rows)?;
    Ok(Json(face.engine.operations(limit).await?))
}

/// How it stands; waits a while for its end.
pub(super) async fn operation(
    State(face): State<Face>,
    Path(operation): Path<u64>,
    Query(wait): Query<Wait>,
) -> Result<Json<OperationView>, ApiError> {
    let patience = Duration::from_secs(wait.wait.unwrap_or(0)).min(PATIENCE);
    let view = face.engine.await_operation(operation, patience).await?;
    view.map(Json).ok_or_else(|| ApiError::not_found(&format!("operation {operation}")))
}

#[derive(Debug, Deserialize)]
pub(super) struct Wait {
    /// Seconds.
    wait: Option<u64>,
}

pub(super) async fn cancel(
    State(face): State<Face>,
    Path(operation): Path<u64>,
    Who(who): Who,
) -> Result<Json<Value>, ApiError> {
    let cancelled = face.engine.cancel_operation(operation, &who).await?;
    Ok(Json(json!({ "operation": operation, "cancelled": cancelled })))
}

pub(super) async fn payload(
    State(face): State<Face>,
    Path(message): Path<String>,
) -> Result<Json<PayloadView>, ApiError> {
    Ok(Json(face.engine.dead_letter_payload(id(&message)?).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    payload: Value,
    #[serde(default)]
    reason: String,
}

pub(super) async fn edit(
    State(face): State<Face>,
    Path(message): Path<String>,
    Who(who): Who,
    Json(edit): Json<Edit>,
) -> Result<Json<PayloadView>, ApiError> {
    let message = id(&message)?;
    Ok(Json(face.engine.edit_dead_letter(message, &edit.payload, &who, &edit.reason).await?))
}

impl From<EditError> for ApiError {
    fn from(error: EditError) -> Self {
        let message = error.to_string();
        match error {
            EditError::NoDeadLetter(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
            }
            EditError::Tick(_) | EditError::TooLarge { .. } => ApiError::invalid(message),
            EditError::Overtaken(_) => {
                ApiError::new(StatusCode::CONFLICT, "ConflictException", message)
            }
            EditError::Store(error) => error.into(),
        }
    }
}

pub(super) async fn purge(
    State(face): State<Face>,
    Who(who): Who,
    Json(selected): Json<Selected>,
) -> Result<Json<Value>, ApiError> {
    let Some(reason) = selected.reason.clone().filter(|reason| !reason.trim().is_empty()) else {
        return Err(ApiError::invalid("a purge needs a reason, which the audit keeps"));
    };
    let wish = Purge { selection: selected.selection(&face)?, reason, who };
    let engine = face.engine.clone();
    work(|told| async move { engine.purge(&wish, |tally| tell(&told, tally)).await }).await
}

fn tell(told: &watch::Sender<Tally>, tally: &Tally) {
    told.send_replace(tally.clone());
}

/// Has the work go on whoever waits, and answers with what is done when it ends or patience does.
async fn work<F>(start: impl FnOnce(watch::Sender<Tally>) -> F) -> Result<Json<Value>, ApiError>
where
    F: Future<Output = Result<Tally, StoreError>> + Send + 'static,
{
    let (told, so_far) = watch::channel(Tally::default());
    let working = tokio::spawn(start(told));
    match tokio::time::timeout(PATIENCE, working).await {
        Ok(Ok(tally)) => Ok(Json(answer(&tally?, false))),
        Ok(Err(error)) => Err(StoreError::Failed(error.to_string()).into()),
        Err(_) => Ok(Json(answer(&so_far.borrow(), true))),
    }
}

fn answer(tally: &Tally, running: bool) -> Value {
    json!({
        "done": tally.done, "refused": tally.refused, "refusal": tally.refusal, "running": running,
    })
}
