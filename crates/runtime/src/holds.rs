//! What operators hold up: subscriptions, destinations, schedules. A pause stands in the store and
//! survives a restart; nothing new begins under it, what is in flight ends as it would.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use serde::Serialize;
use serde_json::json;
use stepbus_model::{ResourceId, Timestamp};
use stepbus_store::{AuditRow, Batch, PauseRow, ResourceKind, Store, StoreError};

use crate::declared::Order;
use crate::engine::Engine;
use crate::targets::Target;

/// A pause as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    pub since: Timestamp,
    pub by: String,
    pub reason: String,
}

/// What a drain came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Drained {
    /// Nothing is in flight any more.
    pub drained: bool,
    pub in_flight: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// Whether there is any pause or backlog at all: publishing asks this first.
    any: AtomicBool,
    paused: RwLock<HashMap<ResourceId, PauseRow>>,
    /// Subscriptions whose matches wait in the store although their target takes them at once: they
    /// were paused, and what came meanwhile goes first.
    backlogs: RwLock<HashSet<ResourceId>>,
}

impl Holds {
    pub(crate) async fn load(store: &dyn Store) -> Result<Holds, StoreError> {
        let holds = Holds::default();
        let rows = store.pauses().await?;
        *holds.paused.write() = rows.into_iter().map(|row| (row.resource, row)).collect();
        holds.note();
        Ok(holds)
    }

    fn note(&self) {
        let any = !self.paused.read().is_empty() || !self.backlogs.read().is_empty();
        self.any.store(any, Ordering::Release);
    }

    pub(crate) fn is_paused(&self, resource: ResourceId) -> bool {
        self.any.load(Ordering::Acquire) && self.paused.read().contains_key(&resource)
    }

    pub(crate) fn pause_of(&self, resource: ResourceId) -> Option<Held> {
        let paused = self.paused.read();
        let row = paused.get(&resource)?;
        Some(Held { since: row.at, by: row.who.clone(), reason: row.reason.clone() })
    }
}

impl Engine {
    /// Whether the subscription's deliveries are held up: it is paused, or its destination is.
    pub(crate) fn holds_up(&self, subscription: ResourceId) -> bool {
        if self.holds.is_paused(subscription) {
            return true;
        }
        let catalogue = self.catalogue();
        let found = catalogue.subscriptions.get(&subscription);
        let destination = found.and_then(|found| found.target.destination());
        destination.is_some_and(|id| self.holds.is_paused(id))
    }

    /// Whether a match has to wait in the store although its target takes it in the same commit:
    /// the subscription is paused, or what waited meanwhile has not all gone yet.
    pub(crate) fn defers(&self, subscription: ResourceId) -> bool {
        if !self.holds.any.load(Ordering::Acquire) {
            return false;
        }
        if self.holds.is_paused(subscription) {
            return true;
        }
        if !self.holds.backlogs.read().contains(&subscription) {
            return false;
        }
        if !self.deliveries.is_empty(subscription) {
            return true;
        }
        self.holds.backlogs.write().remove(&subscription);
        self.holds.note();
        false
    }

    /// Finds what was left waiting, at the start, before anything is published.
    pub(crate) async fn find_backlogs(&self) -> Result<(), StoreError> {
        let catalogue = self.catalogue();
        for subscription in catalogue.subscriptions.values() {
            if self.may_be_overtaken(subscription.id)
                && self.store.oldest_delivery(subscription.id).await?.is_some()
            {
                self.holds.backlogs.write().insert(subscription.id);
            }
        }
        self.holds.note();
        Ok(())
    }

    /// Whether order counts and the target takes a match in the commit that makes it.
    fn may_be_overtaken(&self, subscription: ResourceId) -> bool {
        let catalogue = self.catalogue();
        catalogue.subscriptions.get(&subscription).is_some_and(|found| {
            found.spec.order == Order::Fifo && matches!(found.target, Target::Inside(_))
        })
    }

    /// Holds a subscription, destination or schedule up from now on.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn pause(
        self: &Arc<Self>,
        resource: ResourceId,
        who: &str,
        reason: &str,
    ) -> Result<Held, StoreError> {
        let at = self.clock.now();
        let (who, reason) = (who.to_owned(), reason.to_owned());
        let row = PauseRow { resource, at, who: who.clone(), reason: reason.clone() };
        let mut batch = Batch::new();
        batch.pause(row.clone());
        let detail = json!({ "reason": reason }).to_string();
        batch.audit(self.audit_line(&who, "pause", resource, detail));
        self.store.commit(batch).await?;
        self.holds.paused.write().insert(resource, row);
        self.holds.note();
        self.deliveries.look_at_holds(self);
        Ok(Held { since: at, by: who, reason })
    }

    /// Lets it go on. False when it was not held up.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn unpause(
        self: &Arc<Self>,
        resource: ResourceId,
        who: &str,
    ) -> Result<bool, StoreError> {
        if !self.holds.paused.read().contains_key(&resource) {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.unpause(resource);
        batch.audit(self.audit_line(who, "resume", resource, "{}".to_owned()));
        // No tick is acted upon meanwhile; what passed is passed over on disk too.
        let _turn = self.schedules.turn().await;
        let passed_over = self.passed_over(resource);
        if let Some(row) = &passed_over {
            batch.put_schedule(row.clone());
        }
        self.store.commit(batch).await?;
        if let Some(row) = passed_over {
            self.schedules.put(row);
        }
        // First the backlog, so that no match slips past it.
        if self.may_be_overtaken(resource) && self.store.oldest_delivery(resource).await?.is_some()
        {
            self.holds.backlogs.write().insert(resource);
        }
        self.holds.paused.write().remove(&resource);
        self.holds.note();
        self.deliveries.look_at_holds(self);
        self.schedules.look();
        Ok(true)
    }

    /// The pause of a subscription, destination or schedule.
    #[must_use]
    pub fn held(&self, resource: ResourceId) -> Option<Held> {
        self.holds.pause_of(resource)
    }

    /// Waits until nothing of a paused subscription or destination is in flight any more, or
    /// patience is at its end.
    pub async fn drain(&self, resource: ResourceId, patience: Duration) -> Drained {
        let queues = self.queues_of(resource);
        let idle = tokio::time::timeout(patience, self.deliveries.idle(&queues)).await.is_ok();
        let in_flight = self.in_flight(resource);
        Drained { drained: idle && in_flight == 0, in_flight }
    }

    /// Deliveries of a subscription, or to a destination, that are being made.
    #[must_use]
    pub fn in_flight(&self, resource: ResourceId) -> usize {
        let queues = self.queues_of(resource);
        queues.into_iter().map(|subscription| self.deliveries.in_hand(subscription)).sum()
    }

    /// The subscription itself, or all that deliver to the destination.
    fn queues_of(&self, resource: ResourceId) -> Vec<ResourceId> {
        let catalogue = self.catalogue();
        match catalogue.names.get(&resource) {
            Some((ResourceKind::Destination, _)) => catalogue
                .subscriptions
                .values()
                .filter(|subscription| subscription.target.destination() == Some(resource))
                .map(|subscription| subscription.id)
                .collect(),
            _ => vec![resource],
        }
    }

    fn audit_line(&self, who: &str, verb: &str, resource: ResourceId, detail: String) -> AuditRow {
        let catalogue = self.catalogue();
        let kind = catalogue.names.get(&resource).map_or("resource", |(kind, _)| kind.name());
        AuditRow {
            at: self.clock.now(),
            who: who.to_owned(),
            action: format!("{kind}.{verb}"),
            subject: catalogue.name(resource).to_owned(),
            detail,
        }
    }
}
