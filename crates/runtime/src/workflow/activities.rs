//! Activities: durable waiting lists from which workers take tasks, each task once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use stepbus_asl::Input;
use stepbus_model::{ResourceId, Timestamp, arn};
use stepbus_store::{Batch, ResourceKind, ResourceRow, Store, StoreError};
use tokio::sync::Notify;

use super::start::check_name;
use super::tokens::task_of;
use crate::engine::Engine;

/// How long GetActivityTask waits for a task.
pub const ACTIVITY_POLL: Duration = Duration::from_secs(60);
/// Tasks read at a time.
const PAGE: usize = 10;

/// Why something was not done with an activity, by AWS's names.
#[derive(Debug, thiserror::Error)]
pub enum ActivityError {
    #[error("Activity does not exist: '{0}'")]
    ActivityDoesNotExist(String),
    #[error("Invalid Name: '{0}'")]
    InvalidName(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ActivityError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            ActivityError::ActivityDoesNotExist(_) => "ActivityDoesNotExist",
            ActivityError::InvalidName(_) => "InvalidName",
            ActivityError::Store(_) => "ServiceUnavailable",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct ActivityView {
    pub name: String,
    pub arn: String,
    pub created: Timestamp,
}

/// A task in the hands of a worker.
#[derive(Debug, Clone, Serialize)]
pub struct ActivityTask {
    pub token: String,
    /// JSON text.
    pub input: String,
}

/// The activities there are, and who waits for their tasks.
#[derive(Debug, Default)]
pub(crate) struct Activities {
    known: RwLock<HashMap<String, ResourceRow>>,
    places: Mutex<HashMap<ResourceId, Arc<Place>>>,
    /// Held while one is made or deleted.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Place {
    /// Held while a worker takes a task, so that each goes to one.
    gate: tokio::sync::Mutex<()>,
    arrived: Notify,
}

impl Activities {
    pub(crate) async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let rows = store.resources().await?;
        let rows = rows.into_iter().filter(|row| row.kind == ResourceKind::Activity);
        let known = rows.map(|row| (row.name.clone(), row)).collect();
        Ok(Activities { known: RwLock::new(known), ..Activities::default() })
    }

    /// The id of an activity by name or ARN.
    pub(super) fn named(&self, name: &str) -> Option<ResourceId> {
        let known = self.known.read();
        known.get(arn::name_of(name)).filter(|row| !row.retired).map(|row| row.id)
    }

    fn place(&self, activity: ResourceId) -> Arc<Place> {
        self.places.lock().entry(activity).or_default().clone()
    }

    /// A task came: those who wait look again.
    pub(crate) fn arrived(&self, activity: ResourceId) {
        if let Some(place) = self.places.lock().get(&activity) {
            place.arrived.notify_waiters();
        }
    }
}

impl Engine {
    /// Makes an activity; one that is there already stays as it is.
    ///
    /// # Errors
    /// When the name is none, or the store fails.
    pub async fn create_activity(&self, name: &str) -> Result<ActivityView, ActivityError> {
        check_name(name).map_err(ActivityError::InvalidName)?;
        let _one_at_a_time = self.activities.changing.lock().await;
        let known = self.activities.known.read().get(name).cloned();
        if let Some(row) = known.as_ref().filter(|row| !row.retired) {
            return Ok(view(row));
        }
        let row = ResourceRow {
            id: known.as_ref().map_or_else(|| ResourceId(self.store.next_id()), |row| row.id),
            kind: ResourceKind::Activity,
            name: name.to_owned(),
            version: known.map_or(1, |row| row.version + 1),
            body: "{}".to_owned(),
            at: self.clock.now(),
            retired: false,
        };
        self.put_activity(row).await
    }

    /// Deletes an activity. Tasks that wait for its workers go on waiting until they time out.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_activity(&self, name: &str) -> Result<(), ActivityError> {
        let _one_at_a_time = self.activities.changing.lock().await;
        let known = self.activities.known.read().get(arn::name_of(name)).cloned();
        let Some(row) = known.filter(|row| !row.retired) else { return Ok(()) };
        let (version, at) = (row.version + 1, self.clock.now());
        self.put_activity(ResourceRow { version, at, retired: true, ..row }).await.map(drop)
    }

    async fn put_activity(&self, row: ResourceRow) -> Result<ActivityView, ActivityError> {
        let mut batch = Batch::acceptance();
        batch.put_resource(row.clone());
        self.store.commit(batch).await?;
        let shown = view(&row);
        self.activities.known.write().insert(row.name.clone(), row);
        Ok(shown)
    }

    /// One activity, by name or ARN.
    ///
    /// # Errors
    /// When there is none.
    pub fn activity(&self, name: &str) -> Result<ActivityView, ActivityError> {
        let known = self.activities.known.read();
        let row = known.get(arn::name_of(name)).filter(|row| !row.retired);
        row.map(view).ok_or_else(|| ActivityError::ActivityDoesNotExist(name.to_owned()))
    }

    #[must_use]
    pub fn activities(&self) -> Vec<ActivityView> {
        let known = self.activities.known.read();
        let mut all: Vec<ActivityView> =
            known.values().filter(|row| !row.retired).map(view).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Gives a worker the task that waits longest, or none when there was none for so long.
    ///
    /// # Errors
    /// When there is no such activity, or the store fails.
    pub async fn get_activity_task(
        self: &Arc<Self>,
        name: &str,
        worker: Option<String>,
        patience: Duration,
    ) -> Result<Option<ActivityTask>, ActivityError> {
        let deadline = tokio::time::Instant::now() + patience.min(ACTIVITY_POLL);
        loop {
            let activity = self.activities.named(name);
            let activity =
                activity.ok_or_else(|| ActivityError::ActivityDoesNotExist(name.to_owned()))?;
            let place = self.activities.place(activity);
            let arrived = place.arrived.notified();
            if let Some(task) = self.take_task(activity, &place, worker.as_ref()).await? {
                return Ok(Some(task));
            }
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep_until(deadline) => return Ok(None),
                () = self.stopped() => return Ok(None),
            }
        }
    }

    async fn take_task(
        self: &Arc<Self>,
        activity: ResourceId,
        place: &Place,
        worker: Option<&String>,
    ) -> Result<Option<ActivityTask>, StoreError> {
        let _gate = place.gate.lock().await;
        let mut after = 0;
        loop {
            let rows = self.store.waiting_tasks(activity, after, PAGE).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            after = last.id;
            for row in rows {
                let mut batch = Batch::new();
                batch.take_task(row.id);
                let input = Input::TaskStarted { task: task_of(&row), worker: worker.cloned() };
                // One that timed out just now is nobody's any more.
                if self.tell(row.task.execution, input, batch).await? {
                    let input = row.input.unwrap_or_default();
                    let input = String::from_utf8_lossy(&input).into_owned();
                    return Ok(Some(ActivityTask { token: row.token, input }));
                }
            }
        }
    }
}

fn view(row: &ResourceRow) -> ActivityView {
    ActivityView { name: row.name.clone(), arn: arn::activity(&row.name), created: row.at }
}
