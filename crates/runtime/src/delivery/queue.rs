//! A subscription's queue: the window in memory, kept in step with the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use stepbus_model::{DeliveryId, ResourceId, Timestamp};
use stepbus_store::{Batch, DeliveryRow, Retry};
use tokio::sync::{Notify, OnceCell};

use super::durable::{Stopped, read};
use super::measures::{DeliveryMeasures, Measures};
use super::task::Task;
use super::window::{Passed, Pause, Step, Window};
use crate::alarms::Alarm;
use crate::catalogue::{Subscription, compile_version};
use crate::engine::Engine;
use crate::log::{self, Gate};

/// Shortest wait for a destination that takes nothing, so that a pause of no length is no loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
/// When an alarm that found no room rings again.
const RING_AGAIN: Duration = Duration::from_secs(1);
/// Versions of the subscription kept compiled beside the current one.
const OLD_VERSIONS: usize = 16;

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) subscription: ResourceId,
    pub(super) measures: Measures,
    gate: Arc<Gate>,
    window: Mutex<Window>,
    changed: Notify,
    staff: Mutex<Staff>,
    versions: Mutex<HashMap<u32, Option<Arc<Subscription>>>>,
    looked: OnceCell<()>,
    /// A worker put down what it had in hand.
    put_down: Notify,
}

/// Workers: how many there are and how many there should be.
#[derive(Debug, Default)]
struct Staff {
    wanted: usize,
    there: usize,
}

/// What stands behind a delivery in its lane, looked up before its fate is committed.
#[derive(Debug, Default)]
pub(super) struct Followers(Vec<DeliveryRow>);

impl Queue {
    pub(super) fn new(engine: &Engine, subscription: ResourceId) -> Self {
        Queue {
            subscription,
            measures: Measures::default(),
            gate: engine.gates.gate(subscription),
            window: Mutex::new(Window::new(&engine.limits)),
            changed: Notify::new(),
            staff: Mutex::default(),
            versions: Mutex::default(),
            looked: OnceCell::new(),
            put_down: Notify::new(),
        }
    }

    /// Sets the number of workers and says how many to hire.
    pub(super) fn hire(&self, wanted: usize) -> usize {
        let mut staff = self.staff.lock();
        staff.wanted = wanted.max(1);
        let missing = staff.wanted.saturating_sub(staff.there);
        staff.there += missing;
        self.changed.notify_waiters();
        missing
    }

    /// Whether the worker that asks is one too many; it leaves then.
    pub(super) fn dismisses(&self) -> bool {
        let mut staff = self.staff.lock();
        let excess = staff.there > staff.wanted;
        staff.there -= usize::from(excess);
        excess
    }

    /// The catalogue changed: old versions may have another target now.
    pub(super) fn forget_versions(&self) {
        self.versions.lock().clear();
    }

    pub(super) fn offer(&self, task: Task, newest: bool) {
        if self.window.lock().offer(task, newest) {
            self.changed.notify_one();
        }
    }

    /// Whether an operator holds it up: nothing is begun then, what is under way ends.
    pub(super) fn hold(&self, held: bool) {
        self.window.lock().hold(held);
        self.changed.notify_waiters();
    }

    pub(super) fn held(&self) -> bool {
        self.window.lock().held()
    }

    pub(super) fn in_hand(&self) -> usize {
        self.window.lock().in_hand()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.window.lock().is_empty()
    }

    pub(super) fn put_down(&self) {
        self.window.lock().put_down();
        self.put_down.notify_waiters();
    }

    /// Until no worker has anything in hand.
    pub(super) async fn idle(&self) {
        loop {
            let put_down = self.put_down.notified();
            tokio::pin!(put_down);
            put_down.as_mut().enable();
            if self.in_hand() == 0 {
                return;
            }
            put_down.await;
        }
    }

    pub(super) fn read_from(&self, id: DeliveryId) {
        self.window.lock().fall_behind(DeliveryId(id.0.saturating_sub(1)));
        self.changed.notify_one();
    }

    /// What a blocked delivery waited for is gone.
    pub(super) fn unblock(&self, engine: &Engine, lane: i64, id: DeliveryId) {
        self.window.lock().look_behind(lane, id);
        self.ring(engine, id);
    }

    pub(super) fn ring(&self, engine: &Engine, id: DeliveryId) {
        if self.window.lock().ring(id) {
            self.changed.notify_one();
            return;
        }
        let alarm = Alarm::Delivery { subscription: self.subscription, id };
        engine.alarms.set(engine.clock.now().plus(RING_AGAIN), alarm);
    }

    /// What to do next; waits until there is something. None: the worker is not needed any more.
    pub(super) async fn next(&self, engine: &Engine) -> Option<Step> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.dismisses() {
                // What it may have been woken for is left to another.
                self.changed.notify_one();
                return None;
            }
            let now = engine.clock.now();
            let step = self.window.lock().next(now, engine.started);
            match step {
                Step::Wait(None) => changed.await,
                Step::Wait(Some(until)) => {
                    let _ = tokio::time::timeout(until.since(now), changed).await;
                }
                step => return Some(step),
            }
        }
    }

    /// Once, before anything is sent: whether there are lanes that wait at their head.
    pub(super) async fn look_around(&self, engine: &Engine) -> Result<(), Stopped> {
        let look = || async {
            let waiting = read(|| engine.store.due_deliveries(Timestamp::MAX, 1)).await?;
            if waiting.is_empty() {
                self.window.lock().no_strangers();
            }
            Ok(())
        };
        self.looked.get_or_try_init(look).await?;
        Ok(())
    }

    pub(super) async fn refill(
        &self,
        engine: &Engine,
        after: DeliveryId,
        limit: usize,
    ) -> Result<(), Stopped> {
        let scan = engine.limits.ready_scan.max(limit);
        let store = &engine.store;
        let ready = read(|| store.ready_deliveries(self.subscription, after, limit, scan)).await?;
        let mut page = Vec::with_capacity(ready.rows.len());
        for row in ready.rows {
            page.push(self.task(engine, row).await?);
        }
        self.window.lock().page(page, ready.next);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Reads a delivery whose alarm rang. None: it is not to be sent now.
    pub(super) async fn wake(
        &self,
        engine: &Engine,
        id: DeliveryId,
    ) -> Result<Option<Task>, Stopped> {
        let row = read(|| engine.store.delivery(id)).await?;
        let Some(row) = row else {
            let lane = self.window.lock().gone(id);
            if let Some(lane) = lane {
                self.pass_on(engine, lane, Vec::new()).await?;
            }
            return Ok(None);
        };
        if let Some(due) = super::window::waits(&row, engine.clock.now()) {
            self.window.lock().settle(id);
            self.set_alarm(engine, id, due);
            return Ok(None);
        }
        let task = self.task(engine, row).await?;
        Ok(self.window.lock().woken(task))
    }

    /// Whether the delivery is the first of its lane; when not, the lane goes on with the first.
    pub(super) async fn heads_its_lane(
        &self,
        engine: &Engine,
        row: &DeliveryRow,
    ) -> Result<bool, Stopped> {
        let Some(lane) = row.lane else { return Ok(true) };
        let rows = self.lane(engine, lane).await?;
        if rows.first().is_some_and(|head| head.id == row.id) {
            return Ok(true);
        }
        self.window.lock().settle(row.id);
        self.pass_on(engine, lane, rows).await?;
        Ok(false)
    }

    /// Those behind `row` in its lane, when there may be any. To be asked before the row's fate
    /// is committed, and handed to [`Queue::ended`] after it.
    pub(super) async fn followers(
        &self,
        engine: &Engine,
        row: &DeliveryRow,
    ) -> Result<Followers, Stopped> {
        let Some(lane) = row.lane else { return Ok(Followers::default()) };
        if !self.window.lock().take_more(lane) {
            return Ok(Followers::default());
        }
        let mut rows = self.lane(engine, lane).await?;
        rows.retain(|follower| follower.id != row.id);
        Ok(Followers(rows))
    }

    /// The delivery's fate is on disk: memory forgets it and its lane goes on.
    pub(super) async fn ended(
        &self,
        engine: &Engine,
        row: &DeliveryRow,
        followers: Followers,
    ) -> Result<(), Stopped> {
        self.measures.finished(engine.clock.now().since(row.created));
        self.gate.less(1, log::bound(&engine.limits));
        self.window.lock().settle(row.id);
        match row.lane {
            Some(lane) => self.pass_on(engine, lane, followers.0).await,
            None => Ok(()),
        }
    }

    /// The delivery waits, as the store knows: memory forgets it until its alarm rings.
    pub(super) async fn parked(
        &self,
        engine: &Engine,
        row: &DeliveryRow,
        due: Timestamp,
    ) -> Result<(), Stopped> {
        let mut due = due;
        self.window.lock().settle(row.id);
        while let Some(lane) = row.lane
            && !self.window.lock().park(lane, row.id)
        {
            // A redriven one may have come before it, or what blocked it may be gone.
            let rows = self.lane(engine, lane).await?;
            match rows.first() {
                Some(head) if head.id == row.id => due = head.due.unwrap_or_default(),
                _ => return self.pass_on(engine, lane, rows).await,
            }
        }
        if due < Timestamp::MAX {
            self.set_alarm(engine, row.id, due);
        }
        Ok(())
    }

    /// The destination takes nothing until then; the delivery stays the next one.
    pub(super) fn pause(&self, engine: &Engine, task: Task, pause: Pause) {
        let now = engine.clock.now();
        let until = pause.until.max(now.plus(SHORTEST_PAUSE));
        let added = self.window.lock().pause(task, Pause { until, ..pause }, now);
        self.measures.throttled(added);
    }

    /// A delivery whose alarm rang is the next one to be sent.
    pub(super) fn resume(&self, task: Task) {
        self.window.lock().put_back(task);
        self.changed.notify_one();
    }

    /// The subscription in that version; none when it cannot be used any more.
    pub(super) async fn version(
        &self,
        engine: &Engine,
        version: u32,
    ) -> Result<Option<Arc<Subscription>>, Stopped> {
        let catalogue = engine.catalogue();
        let current = catalogue.subscriptions.get(&self.subscription);
        if let Some(current) = current.filter(|current| current.version == version) {
            return Ok(Some(current.clone()));
        }
        if let Some(known) = self.versions.lock().get(&version) {
            return Ok(known.clone());
        }
        let row = read(|| engine.store.resource_version(self.subscription, version)).await?;
        let compiled = row.and_then(|row| match compile_version(&catalogue, &row) {
            Ok(subscription) => Some(Arc::new(subscription)),
            Err(error) => {
                tracing::warn!(%error, version, "an old version cannot be used any more");
                None
            }
        });
        let mut versions = self.versions.lock();
        if versions.len() >= OLD_VERSIONS {
            versions.clear();
        }
        versions.insert(version, compiled.clone());
        Ok(compiled)
    }

    pub(super) fn measured(&self, name: &str, now: Timestamp) -> DeliveryMeasures {
        let window = self.window.lock();
        let (in_memory, waiting_lanes, behind) = window.counts();
        DeliveryMeasures {
            subscription: self.subscription,
            name: name.to_owned(),
            attempts: self.measures.attempts.load(Ordering::Relaxed),
            retries: self.measures.retries.load(Ordering::Relaxed),
            throttled: self.measures.throttled_time(),
            latency: self.measures.latency(),
            in_memory,
            waiting_lanes,
            behind,
            paused_until: window.paused(now).map(|pause| pause.until),
            held: window.held(),
            in_hand: window.in_hand(),
        }
    }

    async fn task(&self, engine: &Engine, row: DeliveryRow) -> Result<Task, Stopped> {
        let subscription = self.version(engine, row.version).await?;
        let share = engine.share(row.run);
        Ok(Task::new(row, None, subscription, share))
    }

    /// The first of a lane: its head, the next one, and whether there is another.
    async fn lane(&self, engine: &Engine, lane: i64) -> Result<Vec<DeliveryRow>, Stopped> {
        read(|| engine.store.lane_deliveries(self.subscription, lane, 3)).await
    }

    async fn pass_on(
        &self,
        engine: &Engine,
        lane: i64,
        mut rows: Vec<DeliveryRow>,
    ) -> Result<(), Stopped> {
        loop {
            let more = rows.len() > 1;
            let head = match rows.into_iter().next() {
                Some(row) => Some(self.task(engine, row).await?),
                None => None,
            };
            let now = engine.clock.now();
            let passed = self.window.lock().pass_on(lane, head, more, now);
            match passed {
                Passed::Done => {
                    self.changed.notify_one();
                    return Ok(());
                }
                Passed::Waits(id, due) => {
                    self.set_alarm(engine, id, due);
                    return Ok(());
                }
                Passed::LookAgain => rows = self.lane(engine, lane).await?,
            }
        }
    }

    fn set_alarm(&self, engine: &Engine, id: DeliveryId, due: Timestamp) {
        engine.alarms.set(due, Alarm::Delivery { subscription: self.subscription, id });
    }
}

impl Followers {
    /// The next one, when it is blocked: what ends now may have been what it waits for, so its
    /// end wakes it in the same commit.
    pub(super) fn lift(&self, batch: &mut Batch, now: Timestamp) {
        if let Some(next) = self.0.first().filter(|next| next.due == Some(Timestamp::MAX)) {
            batch.retry_delivery(woken(next, now));
        }
    }
}

/// A blocked delivery that is to be looked at again.
pub(super) fn woken(row: &DeliveryRow, now: Timestamp) -> Retry {
    Retry {
        id: row.id,
        run: row.run,
        attempts: row.attempts,
        first_tried: row.first_tried.unwrap_or(now),
        due: now,
        failure: row.failure.clone().unwrap_or_default(),
    }
}
