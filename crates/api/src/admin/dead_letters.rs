//! Dead letters: listed, shown, sent again, given up.

use std::future::Future;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_model::MessageId;
use stepbus_runtime::{DeadLetter, Purge, Redrive, RedriveVersion, Selection, Tally};
use stepbus_store::{MessageFilter, StoreError};
use tokio::sync::watch;

use super::{Page, id, optional_id};
use crate::Face;
use crate::error::ApiError;

/// How long an answer waits for work that goes on by itself.
const PATIENCE: Duration = Duration::from_secs(30);
const OPERATOR: &str = "operator";

#[derive(Debug, Default, Deserialize)]
pub(super) struct Filter {
    queue: Option<String>,
    run: Option<String>,
    subscription: Option<String>,
    error_code: Option<String>,
    key: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
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
                let found = catalogue.subscription_named(name);
                Some(found.ok_or_else(|| missing("subscription", name))?.id)
            }
        };
        Ok(MessageFilter {
            queue,
            run: optional_id(self.run.as_ref())?,
            subscription,
            error_code: self.error_code.clone(),
            key: self.key.clone(),
        })
    }
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(filter): Query<Filter>,
) -> Result<Json<Vec<DeadLetter>>, ApiError> {
    let limit = Page { limit: filter.limit }.size(face.engine.limits().page_rows)?;
    let after = filter.after.as_ref().map_or(Ok(MessageId(0)), |text| id(text))?;
    Ok(Json(face.engine.dead_letters(filter.compile(&face)?, after, limit).await?))
}

pub(super) async fn show(
    State(face): State<Face>,
    Path(message): Path<String>,
) -> Result<Json<DeadLetter>, ApiError> {
    let found = face.engine.dead_letter(id(&message)?).await?;
    found.map(Json).ok_or_else(|| ApiError::not_found(&message))
}

/// Queues that hold messages: how many, and since when.
pub(super) async fn queues(State(face): State<Face>) -> Result<Json<Value>, ApiError> {
    let catalogue = face.engine.catalogue();
    let depths = face.engine.store().queue_depths().await?;
    let queues: Vec<Value> = depths
        .into_iter()
        .map(|(id, depth, oldest)| {
            json!({ "queue": catalogue.name(id), "messages": depth, "oldest": oldest })
        })
        .collect();
    Ok(Json(Value::from(queues)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Selected {
    /// One message; else all that pass the filter.
    id: Option<MessageId>,
    queue: Option<String>,
    run: Option<String>,
    subscription: Option<String>,
    error_code: Option<String>,
    key: Option<String>,
    /// Must be true when nothing narrows the selection.
    #[serde(default)]
    all: bool,
    rate: Option<NonZeroU32>,
    #[serde(default)]
    version: RedriveVersion,
    reason: Option<String>,
}

impl Selected {
    fn selection(&self, face: &Face) -> Result<Selection, ApiError> {
        if let Some(id) = self.id {
            return Ok(Selection::One(id));
        }
        let filter = Filter {
            queue: self.queue.clone(),
            run: self.run.clone(),
            subscription: self.subscription.clone(),
            error_code: self.error_code.clone(),
            key: self.key.clone(),
            ..Filter::default()
        };
        let narrowed = [&self.queue, &self.run, &self.subscription, &self.error_code, &self.key];
        if !self.all && narrowed.iter().all(|member| member.is_none()) {
            let message = "say which dead letters: an id, a filter, or `all`";
            return Err(ApiError::invalid(message));
        }
        Ok(Selection::Matching(filter.compile(face)?))
    }
}

pub(super) async fn redrive(
    State(face): State<Face>,
    Json(selected): Json<Selected>,
) -> Result<Json<Value>, ApiError> {
    let wish = Redrive {
        selection: selected.selection(&face)?,
        rate: selected.rate,
        version: selected.version,
        who: OPERATOR.to_owned(),
    };
    let engine = face.engine.clone();
    work(|told| async move { engine.redrive(&wish, |tally| tell(&told, tally)).await }).await
}

pub(super) async fn purge(
    State(face): State<Face>,
    Json(selected): Json<Selected>,
) -> Result<Json<Value>, ApiError> {
    let Some(reason) = selected.reason.clone().filter(|reason| !reason.trim().is_empty()) else {
        return Err(ApiError::invalid("a purge needs a reason, which the audit keeps"));
    };
    let wish = Purge { selection: selected.selection(&face)?, reason, who: OPERATOR.to_owned() };
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
