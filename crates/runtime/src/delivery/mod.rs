//! From a committed delivery to its one fate.
//!
//! Each subscription has a queue with workers of its own, so one that stalls slows no other. The
//! store holds all that is pending; memory holds a bounded [window](window) of it.

mod attempt;
mod batch;
mod cause;
mod collect;
mod dead_letter;
pub(crate) mod durable;
mod edit;
mod guard;
mod lanes;
mod letters;
mod measures;
mod operation;
mod policy;
mod queue;
mod redrive;
mod task;
mod window;
mod worker;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use stepbus_model::{DeliveryId, ResourceId};
use stepbus_store::{DeliveryRow, ResourceKind};

use crate::catalogue::Subscription;
use crate::engine::Engine;
use crate::event::EventBody;
use crate::targets::Target;
pub(crate) use dead_letter::{TRANSFORM_FAILED, failure, give_up_at_birth};
pub use edit::{EditError, PayloadView};
use guard::Locks;
pub use letters::{DeadLetter, GroupBy, LetterGroup};
pub use measures::{DeliveryMeasures, Latency};
pub use operation::OperationView;
pub(crate) use operation::Operations;
use queue::Queue;
pub use redrive::{Purge, Redrive, RedriveVersion, Selection, Tally};
use task::Task;

/// A pending delivery that was just committed.
#[derive(Debug)]
pub(crate) struct Job {
    pub row: DeliveryRow,
    /// Loaded from the store when there is none.
    pub event: Option<Arc<EventBody>>,
    pub subscription: Arc<Subscription>,
}

/// All subscriptions' queues.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    queues: RwLock<HashMap<ResourceId, Arc<Queue>>>,
    /// Targets of which some subscription remembers what they hold.
    compared: RwLock<HashSet<ResourceId>>,
    locks: Locks,
}

/// What an error has in common with others like it.
pub(crate) fn cause_of(message: &str) -> String {
    cause::of(message, None)
}

/// The lane of a key: a hash that stays the same for ever, since rows carry it.
pub(crate) fn lane(key: &str) -> i64 {
    let digest = Sha256::digest(key.as_bytes());
    let (head, _) = digest.split_at(8);
    head.iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

impl Deliveries {
    /// Gives each subscription whose target is outside its queue and workers, and so takes
    /// up what is pending. To be called at the start and after each change of the catalogue.
    pub(crate) fn serve(&self, engine: &Arc<Engine>) {
        let catalogue = engine.catalogue();
        let mut compared = HashSet::new();
        for subscription in catalogue.subscriptions.values() {
            let Target::Outside(target) = &subscription.target else { continue };
            if subscription.spec.skip_unchanged {
                compared.insert(target.scope().unwrap_or(subscription.id));
            }
            self.open(engine, subscription.id, Some(target.workers(engine)));
        }
        *self.compared.write() = compared;
        for queue in self.queues.read().values() {
            queue.forget_versions();
            queue.hold(engine.holds_up(queue.subscription));
        }
        let engine = engine.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = engine.stopped() => {}
                () = serve_leftovers(&engine) => {}
            }
        });
    }

    /// Takes up a delivery that was just committed.
    pub(crate) fn offer(&self, engine: &Arc<Engine>, job: Job) {
        let Job { row, event, subscription } = job;
        let queue = self.queue(engine, subscription.id);
        let share = engine.share(row.run);
        queue.offer(Task::new(row, event, Some(subscription), share), true);
    }

    /// Takes up what the store has of a subscription from that delivery on.
    pub(crate) fn read_from(&self, engine: &Arc<Engine>, subscription: ResourceId, id: DeliveryId) {
        self.queue(engine, subscription).read_from(id);
    }

    /// Its alarm rang; perhaps early, twice, or for something that is gone.
    pub(crate) fn retry_now(&self, engine: &Arc<Engine>, subscription: ResourceId, id: DeliveryId) {
        self.queue(engine, subscription).ring(engine, id);
    }

    /// What is paused changed.
    pub(crate) fn look_at_holds(&self, engine: &Engine) {
        for queue in self.queues.read().values() {
            queue.hold(engine.holds_up(queue.subscription));
        }
    }

    /// Nothing of the subscription is pending in memory or, as far as is known, in the store.
    pub(crate) fn is_empty(&self, subscription: ResourceId) -> bool {
        self.queues.read().get(&subscription).is_none_or(|queue| queue.is_empty())
    }

    /// Deliveries of the subscription in workers' hands.
    pub(crate) fn in_hand(&self, subscription: ResourceId) -> usize {
        self.queues.read().get(&subscription).map_or(0, |queue| queue.in_hand())
    }

    /// Until no worker of these subscriptions has anything in hand.
    pub(crate) async fn idle(&self, subscriptions: &[ResourceId]) {
        for subscription in subscriptions {
            let queue = self.queues.read().get(subscription).cloned();
            if let Some(queue) = queue {
                queue.idle().await;
            }
        }
    }

    fn is_compared(&self, scope: ResourceId) -> bool {
        self.compared.read().contains(&scope)
    }

    /// The subscription's queue. One that is not served, since it is gone from the project or its
    /// target is inside, gets one when there is a delivery for it.
    fn queue(&self, engine: &Arc<Engine>, subscription: ResourceId) -> Arc<Queue> {
        if let Some(queue) = self.queues.read().get(&subscription) {
            return queue.clone();
        }
        self.open(engine, subscription, None)
    }

    /// Without a number of workers: the default, if the queue is new.
    fn open(
        &self,
        engine: &Arc<Engine>,
        subscription: ResourceId,
        workers: Option<usize>,
    ) -> Arc<Queue> {
        let mut queues = self.queues.write();
        let known = queues.get(&subscription).cloned();
        let new = known.is_none();
        let queue = known.unwrap_or_else(|| {
            let queue = Queue::new(engine, subscription);
            queue.hold(engine.holds_up(subscription));
            Arc::new(queue)
        });
        queues.insert(subscription, queue.clone());
        drop(queues);
        let default = new.then_some(engine.limits.destination_concurrency);
        if let Some(workers) = workers.or(default) {
            worker::staff(engine, &queue, workers);
        }
        queue
    }
}

impl Engine {
    /// What is counted of each subscription's deliveries, since the process started.
    #[must_use]
    pub fn delivery_measures(&self) -> Vec<DeliveryMeasures> {
        let (catalogue, now) = (self.catalogue(), self.clock.now());
        let queues = self.deliveries.queues.read();
        let mut all: Vec<DeliveryMeasures> = queues
            .values()
            .map(|queue| queue.measured(catalogue.name(queue.subscription), now))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

/// Opens queues for what is still pending of subscriptions that the project no longer has, or
/// whose target was outside once.
async fn serve_leftovers(engine: &Arc<Engine>) {
    let catalogue = engine.catalogue();
    for (id, (kind, _)) in &catalogue.names {
        if *kind != ResourceKind::Subscription || engine.deliveries.queues.read().contains_key(id) {
            continue;
        }
        let Ok(oldest) = durable::read(|| engine.store.oldest_delivery(*id)).await else { return };
        if oldest.is_some() {
            engine.deliveries.queue(engine, *id);
        }
    }
}

#[cfg(test)]
mod tests;
