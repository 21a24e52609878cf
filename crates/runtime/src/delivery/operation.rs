//! Redrives as work of their own: their progress is noted in the commits that do the work, so that
//! one goes on after a restart where it was.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stepbus_model::{MessageId, Timestamp};
use stepbus_store::{AuditRow, Batch, OperationRow, OperationStatus, StoreError};
use tokio::sync::Notify;

use super::redrive::{Redrive, Tally};
use crate::engine::Engine;

const REDRIVE: &str = "dlq.redrive";
/// Between two looks whether a full disk has room again.
const PAUSE: Duration = Duration::from_secs(1);

/// A redrive and how far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Work {
    pub(super) wish: Redrive,
    /// What dies after this is not meant.
    pub(super) until: MessageId,
    pub(super) after: MessageId,
    pub(super) tally: Tally,
}

impl Work {
    pub(super) fn new(engine: &Engine, wish: Redrive) -> Work {
        let until = MessageId(engine.store.next_id());
        Work { wish, until, after: MessageId(0), tally: Tally::default() }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A piece of work as operators look at it.
#[derive(Debug, Clone, Serialize)]
pub struct OperationView {
    pub id: u64,
    pub kind: String,
    pub status: &'static str,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub wish: Option<Redrive>,
    #[serde(flatten)]
    pub tally: Tally,
}

impl OperationView {
    fn new(row: OperationRow) -> Self {
        let work: Option<Work> = serde_json::from_str(&row.body).ok();
        let (wish, tally) = work.map(|work| (work.wish, work.tally)).unzip();
        OperationView {
            id: row.id,
            kind: row.kind,
            status: row.status.name(),
            started: row.started,
            ended: row.ended,
            wish,
            tally: tally.unwrap_or_default(),
        }
    }
}

/// What is under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Operations {
    stops: Mutex<HashMap<u64, Arc<AtomicBool>>>,
    ended: Notify,
}

/// Where a piece of work notes its progress.
#[derive(Debug)]
pub(super) struct Noted {
    row: OperationRow,
    stop: Arc<AtomicBool>,
}

impl Noted {
    pub(super) fn id(&self) -> u64 {
        self.row.id
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The row as it is once `work` is done.
    pub(super) fn after(&self, work: &Work) -> OperationRow {
        OperationRow { body: work.text(), ..self.row.clone() }
    }
}

impl Engine {
    /// Begins to send dead letters again. It goes on whoever waits, and after a restart.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn start_redrive(self: &Arc<Self>, wish: Redrive) -> Result<u64, StoreError> {
        let id = self.store.next_id();
        let work = Work::new(self, wish);
        let row = OperationRow {
            id,
            kind: REDRIVE.to_owned(),
            status: OperationStatus::Running,
            started: self.clock.now(),
            ended: None,
            body: work.text(),
        };
        let mut batch = Batch::acceptance();
        batch.put_operation(row.clone());
        self.store.commit(batch).await?;
        self.carry_on(row, work);
        Ok(id)
    }

    /// Takes up what a restart interrupted.
    pub(crate) async fn resume_operations(self: &Arc<Self>) -> Result<(), StoreError> {
        for row in self.store.operations(true, usize::MAX).await? {
            match serde_json::from_str::<Work>(&row.body) {
                Ok(work) => self.carry_on(row, work),
                Err(error) => tracing::error!(id = row.id, %error, "an operation cannot be read"),
            }
        }
        Ok(())
    }

    fn carry_on(self: &Arc<Self>, row: OperationRow, work: Work) {
        let stop = Arc::new(AtomicBool::new(false));
        self.operations.stops.lock().insert(row.id, stop.clone());
        let engine = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = engine.stopped() => {}
                () = perform(&engine, Noted { row, stop }, work) => {}
            }
        });
    }

    /// Has an operation end after what it is at. False when it is not under way.
    ///
    /// # Errors
    /// When the store does not take the audit's line.
    pub async fn cancel_operation(&self, id: u64, who: &str) -> Result<bool, StoreError> {
        let Some(stop) = self.operations.stops.lock().get(&id).cloned() else { return Ok(false) };
        stop.store(true, Ordering::Relaxed);
        let mut batch = Batch::new();
        batch.audit(AuditRow {
            at: self.clock.now(),
            who: who.to_owned(),
            action: format!("{REDRIVE}.cancel"),
            subject: id.to_string(),
            detail: json!({ "operation": id }).to_string(),
        });
        self.store.commit(batch).await?;
        Ok(true)
    }

    /// How an operation stands, once it ended or patience did.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn await_operation(
        &self,
        id: u64,
        patience: Duration,
    ) -> Result<Option<OperationView>, StoreError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let ended = self.operations.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            let Some(row) = self.store.operation(id).await? else { return Ok(None) };
            let over = row.status != OperationStatus::Running;
            if over || tokio::time::timeout_at(deadline, ended).await.is_err() {
                return Ok(Some(OperationView::new(row)));
            }
        }
    }

    /// Operations, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn operations(&self, limit: usize) -> Result<Vec<OperationView>, StoreError> {
        let rows = self.store.operations(false, limit).await?;
        Ok(rows.into_iter().map(OperationView::new).collect())
    }
}

async fn perform(engine: &Arc<Engine>, noted: Noted, mut work: Work) {
    let status = loop {
        match engine.redrive_work(&mut work, Some(&noted), |_| {}).await {
            Ok(()) if noted.is_stopped() => break OperationStatus::Cancelled,
            Ok(()) => break OperationStatus::Succeeded,
            Err(StoreError::Closed | StoreError::Fenced) => return,
            Err(StoreError::Full) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                work.tally.refusal = Some(error.to_string());
                break OperationStatus::Failed;
            }
        }
    };
    let row = noted.after(&work);
    let row = OperationRow { status, ended: Some(engine.clock.now()), ..row };
    let mut batch = Batch::new();
    batch.put_operation(row);
    if let Err(error) = engine.store.commit(batch).await {
        tracing::error!(%error, "the end of an operation could not be noted");
    }
    engine.operations.stops.lock().remove(&noted.id());
    engine.operations.ended.notify_waiters();
}
