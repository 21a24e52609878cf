//! A delivery in memory.

use std::sync::Arc;
use std::time::Duration;

use stepbus_model::{Share, Timestamp};
use stepbus_store::DeliveryRow;

use super::dead_letter::last_tried;
use crate::catalogue::Subscription;
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
}

impl Task {
    pub(super) fn new(
        row: DeliveryRow,
        event: Option<Arc<EventBody>>,
        subscription: Option<Arc<Subscription>>,
        share: Share,
    ) -> Self {
        let last_tried = last_tried(&row);
        Task { row, event, subscription, share, verified: true, last_tried }
    }

    /// The same delivery once more, without its event.
    pub(super) fn again(&self) -> Task {
        Task {
            row: self.row.clone(),
            event: None,
            subscription: self.subscription.clone(),
            ..*self
        }
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
