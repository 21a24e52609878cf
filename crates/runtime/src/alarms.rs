//! What must be looked at again at a certain time: deliveries to retry, executions to wake.
//!
//! The store is the truth; memory holds the soonest few. Everything due before the horizon is in
//! memory, what is due later is read when its time comes near. An alarm may ring twice or for
//! something already gone: whoever is woken looks for itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use stepbus_model::{DeliveryId, ExecutionId, ResourceId, Timestamp};
use stepbus_store::StoreError;
use tokio::sync::Notify;

use crate::engine::Engine;

/// How often the clock is looked at when nothing is due: bounds the harm of a clock that jumps.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
/// Between two looks at the store while more is overdue than memory holds.
const OVERFULL_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    Delivery { subscription: ResourceId, id: DeliveryId },
    Execution(ExecutionId),
}

#[derive(Debug)]
pub(crate) struct Alarms {
    capacity: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    heap: BinaryHeap<Reverse<(Timestamp, Alarm)>>,
    /// All that is due before this is in the heap.
    horizon: Timestamp,
    /// The store is being read: what is set now may not be in what was read.
    reading: bool,
}

impl Alarms {
    pub(crate) fn new(capacity: usize) -> Self {
        // Nothing has been read yet, so nothing is known to be in memory.
        let state = State { heap: BinaryHeap::new(), horizon: Timestamp(i64::MIN), reading: false };
        Alarms { capacity, state: Mutex::new(state), changed: Notify::new() }
    }

    /// Rings for `alarm` at `due`. The store already knows of it.
    pub(crate) fn set(&self, due: Timestamp, alarm: Alarm) {
        let mut state = self.state.lock();
        if due >= state.horizon && !state.reading {
            return;
        }
        if state.heap.len() >= self.capacity && !state.reading {
            state.horizon = due;
            return;
        }
        state.heap.push(Reverse((due, alarm)));
        drop(state);
        self.changed.notify_one();
    }

    pub(crate) fn start(&self, engine: &Arc<Engine>) {
        let engine = engine.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = engine.stopped() => {}
                () = ring(&engine) => {}
            }
        });
    }

    fn take_due(&self, now: Timestamp) -> Vec<Alarm> {
        let mut state = self.state.lock();
        let mut due = Vec::new();
        while let Some(Reverse((at, alarm))) = state.heap.peek().copied() {
            if at > now {
                break;
            }
            state.heap.pop();
            due.push(alarm);
        }
        due
    }

    /// How long to sleep, and whether the store must be read first.
    fn next(&self, now: Timestamp) -> (Duration, bool) {
        let state = self.state.lock();
        let soonest = state.heap.peek().map_or(Timestamp::MAX, |Reverse((at, _))| *at);
        let wait = soonest.min(state.horizon).since(now).min(LONGEST_SLEEP);
        (wait, state.horizon <= soonest && state.horizon <= now.plus(LONGEST_SLEEP))
    }

    fn refill(&self, page: Vec<(Timestamp, Alarm)>, complete_until: Timestamp) {
        let mut state = self.state.lock();
        state.heap.extend(page.into_iter().map(Reverse));
        state.horizon = complete_until;
        state.reading = false;
    }
}

async fn ring(engine: &Arc<Engine>) {
    let alarms = &engine.alarms;
    loop {
        for alarm in alarms.take_due(engine.clock.now()) {
            match alarm {
                Alarm::Delivery { subscription, id } => {
                    engine.deliveries.retry_now(engine, subscription, id);
                }
                Alarm::Execution(id) => engine.executions.wake(engine, id),
            }
        }
        let (mut wait, read) = alarms.next(engine.clock.now());
        if read {
            match read_ahead(engine).await {
                // A page full of what rang already: whoever it rang for needs a moment.
                Ok(until) if until <= engine.clock.now() => wait = OVERFULL_PAUSE,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "could not read what is due; trying again");
                    wait = Duration::from_secs(1);
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = alarms.changed.notified() => {}
        }
    }
}

/// Fills memory with the soonest of what the store knows to be due, and says until when that is
/// all there is.
async fn read_ahead(engine: &Engine) -> Result<Timestamp, StoreError> {
    let limit = engine.alarms.capacity;
    engine.alarms.state.lock().reading = true;
    let deliveries = engine.store.due_deliveries(Timestamp::MAX, limit).await?;
    let executions = engine.store.due_executions(Timestamp::MAX, limit).await?;
    let complete = |count: usize, last: Option<Timestamp>| {
        if count < limit { Timestamp::MAX } else { last.unwrap_or(Timestamp::MAX) }
    };
    let until = complete(deliveries.len(), deliveries.last().and_then(|row| row.due))
        .min(complete(executions.len(), executions.last().map(|(_, at)| *at)));
    let mut page: Vec<(Timestamp, Alarm)> = deliveries
        .into_iter()
        .filter_map(|row| {
            let alarm = Alarm::Delivery { subscription: row.subscription, id: row.id };
            row.due.map(|due| (due, alarm))
        })
        .collect();
    page.extend(executions.into_iter().map(|(id, at)| (at, Alarm::Execution(id))));
    page.retain(|(due, _)| *due <= until);
    // Those that share the last moment may continue on the next page: it begins there again.
    engine.alarms.refill(page, until);
    Ok(until)
}
