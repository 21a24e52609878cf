//! One delivery in a worker's hands: from its payload to what is committed about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use stepbus_connect::{Failure, Payload, Report, code};
use stepbus_model::{Outcome, ResourceId, Timestamp, crash};
use stepbus_store::{Batch, Cause, DeliveryRow, EventRow, Finish, Retry};
use tokio::sync::OwnedMutexGuard;

use super::dead_letter::{self, Address, Death, TRANSFORM_FAILED, failure};
use super::durable::{Stopped, commit, read};
use super::guard::{self, Held};
use super::policy::{self, Fate, Group, LastFailure};
use super::queue::Queue;
use super::task::Task;
use super::window::Pause;
use crate::catalogue::Subscription;
use crate::declared::OnDeadLetter;
use crate::engine::Engine;
use crate::event::EventBody;
use crate::parameters::Filled;
use crate::publish::Effects;
use crate::targets::{Inside, Outside, Parcel, Target};

/// How long one is put off whose destination is paused while its subscription is not: it was made
/// for another target.
const PUT_OFF: Duration = Duration::from_secs(30);

/// What everything about one delivery needs.
pub(super) struct Attempt<'a> {
    pub(super) engine: &'a Arc<Engine>,
    queue: &'a Queue,
    pub(super) row: DeliveryRow,
    pub(super) event: Arc<EventBody>,
    pub(super) subscription: Arc<Subscription>,
}

/// What is to be sent, or why it need not be.
pub(super) struct Packed {
    pub(super) payload: Payload,
    parameters: Filled,
    /// Of the payload, where the subscription skips what is unchanged.
    pub(super) hash: Option<String>,
    pub(super) version: Option<String>,
}

/// Sends a delivery and commits what became of it.
pub(super) async fn deliver(
    engine: &Arc<Engine>,
    queue: &Queue,
    task: Task,
) -> Result<(), Stopped> {
    if queue.held() {
        queue.resume(task);
        return Ok(());
    }
    let Some(attempt) = Attempt::open(engine, queue, task).await? else { return Ok(()) };
    attempt.deliver().await
}

/// The delivery's event. It is never gone before its deliveries; were it, they end as having none.
async fn load(engine: &Engine, row: &DeliveryRow) -> Result<Arc<EventBody>, Stopped> {
    let event = read(|| engine.store.event(row.event)).await?;
    Ok(EventBody::new(event.unwrap_or_else(|| EventRow {
        id: row.event,
        run: row.run,
        bus: ResourceId(0),
        cause: Cause::Outside,
        hops: 0,
        at: row.created,
        envelope: Bytes::from_static(b"{}"),
    })))
}

/// Ends deliveries that are too old and whose destination fails, many in one commit.
pub(super) async fn expire(
    engine: &Arc<Engine>,
    queue: &Queue,
    tasks: Vec<Task>,
    pause: &Pause,
) -> Result<(), Stopped> {
    let mut batch = Batch::new();
    let mut ended = Vec::with_capacity(tasks.len());
    for task in tasks {
        let Some(attempt) = Attempt::open(engine, queue, task).await? else { continue };
        attempt.bury_aged(&mut batch, pause);
        let followers = queue.followers(engine, &attempt.row).await?;
        followers.lift(&mut batch, engine.clock.now());
        ended.push((attempt, followers));
    }
    if ended.is_empty() {
        return Ok(());
    }
    let together = commit(engine, batch).await?;
    crash::point("delivery.after_commit");
    for (attempt, followers) in ended {
        if !together {
            let mut batch = Batch::new();
            attempt.bury_aged(&mut batch, pause);
            commit(engine, batch).await?;
        }
        queue.ended(engine, &attempt.row, followers).await?;
    }
    Ok(())
}

/// A delivery in whose course something panicked: one failed attempt, so that it neither is lost
/// nor goes on for ever.
pub(super) async fn panicked(
    engine: &Arc<Engine>,
    queue: &Queue,
    task: Task,
) -> Result<(), Stopped> {
    tracing::error!(delivery = %task.row.id, "a delivery panicked");
    let event = load(engine, &task.row).await?;
    let Some(subscription) = task.subscription else {
        return give_up_unusable(engine, queue, task.row, event).await;
    };
    let attempt = Attempt { engine, queue, row: task.row, event, subscription };
    let error = Arc::new(failure("INTERNAL_ERROR", "a fault inside stepbus; its log says more"));
    let report = Report::Retryable { error, retry_after: None, remote_id: None };
    attempt.conclude(report, None, None).await
}

async fn give_up_unusable(
    engine: &Arc<Engine>,
    queue: &Queue,
    row: DeliveryRow,
    event: Arc<EventBody>,
) -> Result<(), Stopped> {
    let text = read(|| engine.store.resource_version(row.subscription, row.version)).await?;
    let text = text.map(|row| row.body).unwrap_or_default();
    let address = Address::of_text(engine, row.subscription, &text);
    let error = failure(
        code::NO_RESOURCE,
        format!(
            "version {} of the subscription cannot be used any more: its target is gone; \
             redrive with the current version",
            row.version
        ),
    );
    let tried = dead_letter::last_tried(&row);
    let death = Death { error: &error, exhausted: None, attempts: row.attempts, tried };
    let mut batch = Batch::new();
    dead_letter::bury(engine, &mut batch, &address, &event, &row, &death);
    close(engine, queue, batch, &row).await
}

/// Commits a delivery's fate and lets its lane go on.
async fn close(
    engine: &Engine,
    queue: &Queue,
    mut batch: Batch,
    row: &DeliveryRow,
) -> Result<(), Stopped> {
    let followers = queue.followers(engine, row).await?;
    followers.lift(&mut batch, engine.clock.now());
    commit(engine, batch).await?;
    crash::point("delivery.after_commit");
    queue.ended(engine, row, followers).await
}

impl<'a> Attempt<'a> {
    pub(super) async fn deliver(&self) -> Result<(), Stopped> {
        let target = &self.subscription.target;
        if target.destination().is_some_and(|id| self.engine.holds.is_paused(id)) {
            return self.put_off().await;
        }
        match target {
            Target::Inside(inside) => self.place(inside).await,
            Target::Outside(target) => self.send(&**target).await,
        }
    }

    /// Gathers what is needed. None: it is not its turn, or it met its end here.
    pub(super) async fn open(
        engine: &'a Arc<Engine>,
        queue: &'a Queue,
        task: Task,
    ) -> Result<Option<Self>, Stopped> {
        if !task.verified && !queue.heads_its_lane(engine, &task.row).await? {
            return Ok(None);
        }
        let mut event = match task.event {
            Some(event) => event,
            None => load(engine, &task.row).await?,
        };
        let row = task.row;
        // Only what was redriven can have a payload that an operator wrote.
        if row.revision > 0
            && let Some(edit) = read(|| engine.store.edit(row.id, row.revision)).await?
            && let Ok(payload) = serde_json::from_slice(&edit.payload)
        {
            event = event.with_edited(payload);
        }
        let Some(subscription) = task.subscription else {
            give_up_unusable(engine, queue, row, event).await?;
            return Ok(None);
        };
        let attempt = Attempt { engine, queue, row, event, subscription };
        Ok(if attempt.stays_blocked().await? { None } else { Some(attempt) })
    }

    /// Where a dead letter blocks its key: whether an older one of this key lies there. The
    /// delivery then waits until that one is gone.
    async fn stays_blocked(&self) -> Result<bool, Stopped> {
        let row = &self.row;
        // As it is set now: who stops blocking wants the keys to go on.
        let catalogue = self.engine.catalogue();
        let current = catalogue.subscriptions.get(&row.subscription).unwrap_or(&self.subscription);
        let blocks = current.spec.on_dead_letter == OnDeadLetter::Block;
        let (true, Some(_), Some(key)) = (blocks, row.lane, &row.key) else { return Ok(false) };
        let locks = &self.engine.deliveries.locks;
        let lock = locks.hold(row.subscription, key).await;
        let store = &self.engine.store;
        let blocker = read(|| store.dead_before(row.subscription, key, row.id)).await?;
        let Some((message, dead)) = blocker else { return Ok(false) };
        let blocker = dead_letter::blocked_by(dead, message);
        if row.due != Some(Timestamp::MAX) {
            let now = self.engine.clock.now();
            let mut batch = Batch::new();
            batch.retry_delivery(Retry {
                id: row.id,
                run: row.run,
                attempts: row.attempts,
                first_tried: row.first_tried.unwrap_or(now),
                due: Timestamp::MAX,
                failure: LastFailure::write(None, &blocker),
            });
            commit(self.engine, batch).await?;
        }
        drop(lock);
        self.queue.parked(self.engine, row, Timestamp::MAX).await?;
        Ok(true)
    }

    async fn put_off(&self) -> Result<(), Stopped> {
        let row = &self.row;
        let now = self.engine.clock.now();
        let due = now.plus(PUT_OFF);
        let mut batch = Batch::new();
        batch.retry_delivery(Retry {
            id: row.id,
            run: row.run,
            attempts: row.attempts,
            first_tried: row.first_tried.unwrap_or(now),
            due,
            failure: row.failure.clone().unwrap_or_default(),
        });
        commit(self.engine, batch).await?;
        self.queue.parked(self.engine, row, due).await
    }

    /// A redriven delivery to a target inside: it is placed in the commit that calls it delivered.
    async fn place(&self, inside: &Inside) -> Result<(), Stopped> {
        let (mut batch, mut effects) = (Batch::new(), Effects::default());
        let placed =
            inside.place(self.engine, &mut batch, &mut effects, &self.subscription, &self.event);
        let note = match placed {
            Ok(note) => Some(note),
            Err(error) => return self.die(&error, None, self.row.attempts, None).await,
        };
        let attempts = self.row.attempts + 1;
        batch.finish_delivery(&self.row, self.finish(Outcome::Delivered, attempts, note));
        let followers = self.queue.followers(self.engine, &self.row).await?;
        followers.lift(&mut batch, self.engine.clock.now());
        if commit(self.engine, batch).await? {
            self.engine.act(effects);
        }
        self.queue.ended(self.engine, &self.row, followers).await
    }

    async fn send(&self, target: &dyn Outside) -> Result<(), Stopped> {
        let mut held = self.hold(target).await?;
        let packed = match self.pack() {
            Ok(packed) => packed,
            Err(message) => return self.transform_failed(&message).await,
        };
        if let Some(held) = &mut held {
            if let Some(outcome) = self.spared(&packed, held).await? {
                return self.needless(outcome).await;
            }
            // From here on nobody knows what the target holds, until it says so.
            held.known.hash = None;
            if held.stored.as_ref().is_some_and(|stored| stored.hash.is_some()) {
                self.store_key(held).await?;
            }
        }
        let parcel = Parcel {
            delivery: self.row.id,
            run: self.row.run,
            key: self.row.key.clone(),
            subscription: self.subscription.clone(),
            event: self.event.clone(),
            payload: packed.payload,
            items: None,
            parameters: packed.parameters,
            idempotency_key: self.idempotency_key(),
            remote_id: held.as_ref().and_then(|held| held.known.remote_id.clone()),
        };
        crash::point("delivery.before_call");
        let report = target.send(self.engine, parcel).await;
        crash::point("delivery.after_call");
        if let Some(held) = &mut held {
            held.known.remote_id = report.remote_id().map(str::to_owned);
            if matches!(report, Report::Delivered { .. }) {
                held.known.hash = packed.hash;
                held.known.version = packed.version.or(held.known.version.take());
            }
        }
        self.conclude(report, held.as_ref(), None).await
    }

    /// The key and whose it is, where what is kept of it matters.
    fn kept(&self, target: &dyn Outside) -> Option<(ResourceId, &str)> {
        let key = self.row.key.as_deref()?;
        let spec = &self.subscription.spec;
        let scope = target.scope().unwrap_or(self.row.subscription);
        let deliveries = &self.engine.deliveries;
        let kept = target.keeps_remote_id() || spec.skip_unchanged || spec.version.is_some();
        // Another subscription may compare with what this one is about to overwrite.
        (kept || deliveries.is_compared(scope)).then_some((scope, key))
    }

    /// Takes the key in hand.
    async fn hold(&self, target: &dyn Outside) -> Result<Option<Held>, Stopped> {
        let Some((scope, key)) = self.kept(target) else { return Ok(None) };
        let lock = self.engine.deliveries.locks.hold(scope, key).await;
        let stored = read(|| self.engine.store.key(scope, key)).await?;
        Ok(Some(Held::new(scope, key, stored, Some(lock))))
    }

    /// Locks the keys of these all at once; for the one target that all of them have.
    pub(super) async fn lock_all(
        &self,
        target: &dyn Outside,
        all: &[Attempt<'_>],
    ) -> Vec<OwnedMutexGuard<()>> {
        let keys: Vec<(ResourceId, &str)> =
            all.iter().filter_map(|attempt| attempt.kept(target)).collect();
        let Some((scope, _)) = keys.first() else { return Vec::new() };
        let locks = &self.engine.deliveries.locks;
        locks.hold_all(*scope, keys.iter().map(|(_, key)| *key)).await
    }

    /// What is known of the key, which is locked already.
    pub(super) async fn known(&self, target: &dyn Outside) -> Result<Option<Held>, Stopped> {
        let Some((scope, key)) = self.kept(target) else { return Ok(None) };
        let stored = read(|| self.engine.store.key(scope, key)).await?;
        Ok(Some(Held::new(scope, key, stored, None)))
    }

    pub(super) async fn needless(&self, outcome: Outcome) -> Result<(), Stopped> {
        self.end(outcome, self.row.attempts, None).await
    }

    pub(super) fn pack(&self) -> Result<Packed, String> {
        let (subscription, event) = (&self.subscription, &self.event);
        let version = subscription.stale_version(event);
        let version = version.map_err(|error| format!("the version failed: {error}"))?;
        let content = subscription
            .content(event, self.engine.limits.payload_bytes)
            .map_err(|error| format!("the transform failed: {error}"))?;
        let parameters = match subscription.parameters.is_empty() {
            true => Filled::default(),
            false => subscription.parameters.fill(event)?,
        };
        let hashed = subscription.spec.skip_unchanged;
        let mut hash = None;
        if hashed {
            let compared = subscription.compared(&content, event);
            let compared =
                compared.map_err(|error| format!("`skip_unchanged.by` failed: {error}"))?;
            hash = Some(guard::fingerprint(&compared, &parameters));
        }
        Ok(Packed { payload: content.payload(), parameters, hash, version })
    }

    /// Why it need not be sent, unless its run sends what is unchanged as well.
    pub(super) async fn spared(
        &self,
        packed: &Packed,
        held: &Held,
    ) -> Result<Option<Outcome>, Stopped> {
        let outcome = needless(packed, held);
        let forced = outcome == Some(Outcome::Unchanged) && self.is_forced().await?;
        Ok(outcome.filter(|_| !forced))
    }

    /// Whether it is to be sent although the target holds the same already.
    async fn is_forced(&self) -> Result<bool, Stopped> {
        if !self.engine.forced.any() {
            return Ok(false);
        }
        let run = read(|| self.engine.store.run(self.row.run)).await?;
        Ok(run.is_some_and(|run| run.force))
    }

    /// The same for every attempt with the same payload.
    fn idempotency_key(&self) -> String {
        let text = format_args!("{}/{}", self.row.id, self.row.revision);
        self.engine.derived_name(text).to_string()
    }

    async fn store_key(&self, held: &mut Held) -> Result<(), Stopped> {
        if let Some(change) = held.change() {
            let mut batch = Batch::new();
            batch.put_key(change.clone());
            commit(self.engine, batch).await?;
            held.stored = Some(change);
        }
        Ok(())
    }

    /// Commits what the attempt led to; `group` is with whom it was sent and stays.
    pub(super) async fn conclude(
        &self,
        report: Report,
        held: Option<&Held>,
        group: Option<&Group>,
    ) -> Result<(), Stopped> {
        let row = &self.row;
        let attempts = row.attempts + 1;
        if !matches!(report, Report::Throttled { .. }) {
            self.queue.measures.attempts.fetch_add(1, Ordering::Relaxed);
        }
        match report {
            Report::Delivered { .. } => self.end(Outcome::Delivered, attempts, held).await,
            Report::Permanent { error, .. } => self.die(&error, None, attempts, held).await,
            Report::Retryable { error, retry_after, .. } => {
                let now = self.engine.clock.now();
                let (limits, retry) = (&self.engine.limits, &self.subscription.spec.retry);
                match policy::after_failure(limits, retry, row, attempts, now, retry_after, group) {
                    Fate::Retry(due) => {
                        let failure = LastFailure::write_of(Some(now), &error, group);
                        self.retry(failure, attempts, due, held).await
                    }
                    Fate::Exhausted(what) => self.die(&error, Some(what), attempts, held).await,
                }
            }
            Report::Throttled { until, error, .. } => {
                if let Some(change) = held.and_then(Held::change) {
                    let mut batch = Batch::new();
                    batch.put_key(change);
                    commit(self.engine, batch).await?;
                }
                let subscription = Some(self.subscription.clone());
                let share = self.engine.share(row.run);
                let event = Some(self.event.clone());
                let mut task = Task::new(row.clone(), event, subscription, share);
                task.group = group.cloned().map(Arc::new);
                self.queue.pause(self.engine, task, Pause { until, error });
                Ok(())
            }
        }
    }

    async fn end(
        &self,
        outcome: Outcome,
        attempts: u32,
        held: Option<&Held>,
    ) -> Result<(), Stopped> {
        let mut batch = Batch::new();
        batch.finish_delivery(&self.row, self.finish(outcome, attempts, None));
        if let Some(change) = held.and_then(Held::change) {
            batch.put_key(change);
        }
        close(self.engine, self.queue, batch, &self.row).await
    }

    async fn retry(
        &self,
        failure: String,
        attempts: u32,
        due: Timestamp,
        held: Option<&Held>,
    ) -> Result<(), Stopped> {
        let now = self.engine.clock.now();
        let row = &self.row;
        self.queue.measures.retries.fetch_add(1, Ordering::Relaxed);
        let mut batch = Batch::new();
        batch.retry_delivery(Retry {
            id: row.id,
            run: row.run,
            attempts,
            first_tried: row.first_tried.filter(|_| row.attempts > 0).unwrap_or(now),
            due,
            failure,
        });
        if let Some(change) = held.and_then(Held::change) {
            batch.put_key(change);
        }
        commit(self.engine, batch).await?;
        crash::point("delivery.after_commit");
        self.queue.parked(self.engine, row, due).await
    }

    pub(super) async fn transform_failed(&self, message: &str) -> Result<(), Stopped> {
        let error = failure(TRANSFORM_FAILED, message);
        self.die(&error, None, self.row.attempts, None).await
    }

    async fn die(
        &self,
        error: &Failure,
        exhausted: Option<&'static str>,
        attempts: u32,
        held: Option<&Held>,
    ) -> Result<(), Stopped> {
        let tried = if attempts > self.row.attempts {
            Some(self.engine.clock.now())
        } else {
            dead_letter::last_tried(&self.row)
        };
        let death = Death { error, exhausted, attempts, tried };
        let address = Address::of(&self.subscription);
        let mut batch = Batch::new();
        dead_letter::bury(self.engine, &mut batch, &address, &self.event, &self.row, &death);
        if let Some(change) = held.and_then(Held::change) {
            batch.put_key(change);
        }
        close(self.engine, self.queue, batch, &self.row).await
    }

    fn bury_aged(&self, batch: &mut Batch, pause: &Pause) {
        let row = &self.row;
        let (error, tried) = dead_letter::last_failure(row, &pause.error);
        let exhausted = Some(policy::AGE);
        let death = Death { error: &error, exhausted, attempts: row.attempts, tried };
        let address = Address::of(&self.subscription);
        dead_letter::bury(self.engine, batch, &address, &self.event, row, &death);
    }

    fn finish(&self, outcome: Outcome, attempts: u32, note: Option<String>) -> Finish {
        Finish { outcome, at: self.engine.clock.now(), attempts, note }
    }
}

/// Why it need not be sent: the target holds the same already, or something newer.
fn needless(packed: &Packed, held: &Held) -> Option<Outcome> {
    if let (Some(version), Some(last)) = (&packed.version, &held.known.version)
        && guard::older(version, last)
    {
        return Some(Outcome::Stale);
    }
    let unchanged = packed.hash.is_some() && packed.hash == held.known.hash;
    unchanged.then_some(Outcome::Unchanged)
}
