//! A delivery in memory.

use std::sync::Arc;
use std::time::Duration;

use stepbus_model::{Share, Timestamp};
use stepbus_store::DeliveryRow;

use super::policy::{Group, LastFailure};
use crate::catalogue::Subscription;
use crate::declared::BatchSpec;
use crate::event::EventBody;

#[derive(Debug)]
pub(super) struct Task {
    pub(super) row: DeliveryRow,
    /// Read from the store when it is sent, where there is none.
    pub(super) event: Option<Arc<EventBody>>,
    /// By which it is sent; none when that version cannot be used any more.
    pub(super) subscription: Option<Arc<Subscription>>,
    /// Its run's, where several wait.
    pub(super) share: Share,
    /// It is known to be the head of its lane.
    pub(super) verified: bool,
    last_tried: Option<Timestamp>,
    /// With whom it was sent, and is to be sent again.
    pub(super) group: Option<Arc<Group>>,
}

/// What deliveries of one batch have in common: the version they are sent by, and the batch they
/// were in before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kind(u32, Option<Arc<Group>>);

impl Task {
    pub(super) fn new(
        row: DeliveryRow,
        event: Option<Arc<EventBody>>,
        subscription: Option<Arc<Subscription>>,
        share: Share,
    ) -> Self {
        let last = row.failure.as_deref().and_then(LastFailure::read);
        let last_tried = last.as_ref().and_then(|last| last.at);
        let group = last.and_then(|last| last.batch).map(Arc::new);
        Task { row, event, subscription, share, verified: true, last_tried, group }
    }

    /// The same delivery once more, without its event.
    pub(super) fn again(&self) -> Task {
        Task {
            row: self.row.clone(),
            event: None,
            subscription: self.subscription.clone(),
            group: self.group.clone(),
            ..*self
        }
    }

    /// How it goes together with others, when it does.
    pub(super) fn batch(&self) -> Option<&BatchSpec> {
        self.subscription.as_ref()?.spec.batch.as_ref()
    }

    pub(super) fn kind(&self) -> Kind {
        Kind(self.row.version, self.group.clone())
    }

    pub(super) fn event_bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |event| event.row.envelope.len())
    }

    /// When age ends it although the destination takes nothing.
    ///
    /// One that was not tried since the process started dies only of a destination that fails; of
    /// one that throttles only when it had the whole time in this process.
    pub(super) fn dies_at(&self, failing: bool, started: Timestamp) -> Timestamp {
        let Some(subscription) = &self.subscription else { return Timestamp(i64::MIN) };
        let span = Duration::from_secs(subscription.spec.retry.max_age_seconds);
        let tried = self.last_tried.is_some_and(|at| at >= started);
        let born = self.row.created;
        if failing || tried { born.plus(span) } else { born.max(started).plus(span) }
    }
}
