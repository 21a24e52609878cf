//! Queues as they are shown.

use serde::Serialize;
use stepbus_model::{Timestamp, arn};
use stepbus_store::QueueCounts;

use super::QueueError;
use crate::catalogue::Queue;
use crate::declared::QueueSpec;
use crate::engine::Engine;

/// A queue with what it holds.
#[derive(Debug, Clone, Serialize)]
pub struct QueueView {
    pub queue: String,
    pub arn: String,
    /// All there are, whether or not they can be received now.
    pub messages: u64,
    #[serde(flatten)]
    pub counts: QueueCounts,
    pub oldest: Option<Timestamp>,
    pub settings: QueueSpec,
}

impl Engine {
    /// Every declared queue.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn queues(&self) -> Result<Vec<QueueView>, QueueError> {
        let depths = self.store.queue_depths().await?;
        let mut views = Vec::new();
        for queue in self.catalogue().all_queues() {
            let oldest = depths.iter().find(|(id, ..)| *id == queue.id).map(|(_, _, at)| *at);
            views.push(self.queue_view(queue, oldest).await?);
        }
        views.sort_by(|one, other| one.queue.cmp(&other.queue));
        Ok(views)
    }

    async fn queue_view(
        &self,
        queue: &Queue,
        oldest: Option<Timestamp>,
    ) -> Result<QueueView, QueueError> {
        let counts = self.store.queue_counts(queue.id, self.clock.now()).await?;
        Ok(QueueView {
            queue: queue.spec.name.clone(),
            arn: arn::queue(&queue.spec.name),
            messages: counts.visible + counts.in_flight + counts.delayed,
            counts,
            oldest,
            settings: queue.spec.clone(),
        })
    }
}
