//! Retention: messages that nobody took for so long are deleted.

use std::sync::Arc;
use std::time::Duration;

use stepbus_model::{MessageId, Timestamp};
use stepbus_store::MessageFilter;

use super::QueueError;
use crate::catalogue::Queue;
use crate::engine::Engine;

/// Between two looks for messages that are too old.
const ROUND: Duration = Duration::from_secs(60);

pub(crate) fn start(engine: &Arc<Engine>) {
    let engine = engine.clone();
    tokio::spawn(async move {
        loop {
            if let Err(error) = engine.expire_messages().await {
                tracing::warn!(%error, "could not look for messages that are too old");
            }
            tokio::select! {
                () = engine.stopped() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    });
}

impl Engine {
    /// Deletes what is older than its queue keeps messages.
    pub(crate) async fn expire_messages(self: &Arc<Self>) -> Result<u64, QueueError> {
        let mut expired = 0;
        for queue in self.catalogue().all_queues() {
            if let Some(seconds) = queue.spec.retention_seconds {
                let span = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
                let oldest = Timestamp(self.clock.now().0.saturating_sub(span));
                expired += self.expire_before(queue, oldest).await?;
            }
        }
        Ok(expired)
    }

    async fn expire_before(
        self: &Arc<Self>,
        queue: &Arc<Queue>,
        oldest: Timestamp,
    ) -> Result<u64, QueueError> {
        let place = self.queues.place(queue.id);
        let filter = MessageFilter { queue: Some(queue.id), ..MessageFilter::default() };
        let limit = self.limits.dead_letter_batch.max(1);
        let mut expired = 0;
        loop {
            let _gate = place.gate.lock().await;
            let mut rows = self.store.messages(filter.clone(), MessageId(0), limit).await?;
            rows.retain(|row| row.sent < oldest);
            if rows.is_empty() {
                return Ok(expired);
            }
            expired += rows.len() as u64;
            tracing::info!(queue = queue.spec.name, messages = rows.len(), "messages grew too old");
            self.remove(queue, rows, "it grew older than the queue keeps messages").await?;
        }
    }
}
