//! Publish and route: an event, everything that matches it, and what starts because of it, in one
//! batch.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use stepbus_model::{
    DeliveryId, Event, EventId, Outcome, ResourceId, RunId, Timestamp, crash, event,
};
use stepbus_pattern::Scratch;
use stepbus_store::{Batch, Cause, DeliveryRow, EventRow, LedgerRow, Priority, RunRow, StoreError};
use uuid::Uuid;

use crate::catalogue::{Bus, Subscription};
use crate::declared::Order;
use crate::delivery::{self, Job};
use crate::engine::Engine;
use crate::event::EventBody;
use crate::log::{self, Gate, Way};
use crate::targets::Target;
use crate::workflow::Launch;

/// An event that is on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    pub id: EventId,
    pub run: RunId,
    /// The id in the envelope.
    pub wire_id: Uuid,
}

/// Why an entry was not published, by PutEvents' error codes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct EntryError {
    pub code: &'static str,
    pub message: String,
}

impl EntryError {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        EntryError { code, message: message.into() }
    }
}

/// An event that somebody outside sends, and how it is to be treated.
#[derive(Debug)]
pub struct Entry {
    pub bus: String,
    pub event: Event,
    /// Of the run that it starts.
    pub priority: Priority,
    /// By which it counts as the same event for some minutes, should it come again.
    pub dedup_id: Option<String>,
    /// Whatever the run delivers is sent although it is unchanged.
    pub force: bool,
}

/// Who starts a run, and by what people know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origination<'a> {
    pub origin: &'a str,
    /// The event's detail type, where there is none.
    pub label: &'a str,
}

/// Where a new event stands in the chain of causes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub run: RunId,
    pub cause: Cause,
    pub hops: u16,
}

/// An event with its id, and what becomes of each match.
struct Admitted {
    body: Arc<EventBody>,
    matches: Vec<Match>,
}

struct Match {
    subscription: Arc<Subscription>,
    gate: Arc<Gate>,
    way: Way,
    /// It was counted as a delivery that waits.
    waits: bool,
}

/// What is done once the batch that says so is on disk.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub jobs: Vec<Job>,
    pub launches: Vec<Launch>,
    /// Queues that got messages.
    pub messages: Vec<ResourceId>,
    /// Activities that got tasks.
    pub activities: Vec<ResourceId>,
    /// Buses that the event which is being routed came through, in this commit.
    passing: Vec<ResourceId>,
    /// Events that went on to another bus because of one root.
    passed: usize,
}

impl Effects {
    /// Has an event go on from one bus to another, unless it was there already or one root event
    /// has become too many.
    pub(crate) fn pass(
        &mut self,
        engine: &Engine,
        from: ResourceId,
        to: ResourceId,
        route: impl FnOnce(&mut Self) -> Result<String, EntryError>,
    ) -> Result<String, EntryError> {
        self.passed += 1;
        self.passing.push(from);
        let result = if self.passing.contains(&to) {
            let catalogue = engine.catalogue();
            let mut way: Vec<&str> = self.passing.iter().map(|bus| catalogue.name(*bus)).collect();
            way.push(catalogue.name(to));
            let message = format!("the event would go round in a loop: {}", way.join(" → "));
            Err(EntryError::new("LoopDetected", message))
        } else if self.passed > engine.limits.fan_out {
            let limit = engine.limits.fan_out;
            let message = format!("one event went on to other buses more than {limit} times");
            Err(EntryError::new("FanOutLimitExceeded", message))
        } else {
            route(self)
        };
        self.passing.pop();
        result
    }
}

/// How often a call is tried again that met the same event at the same moment.
const SAME_MOMENT: u32 = 16;

thread_local! {
    static SCRATCH: RefCell<Scratch<ResourceId>> = RefCell::new(Scratch::default());
}

impl Engine {
    /// Publishes events that somebody outside sends; each is the root of a run of its own.
    ///
    /// # Errors
    /// When the store does not take them; nothing is published then. An entry that is refused
    /// for itself has its error in its place.
    pub async fn publish(
        self: &Arc<Self>,
        origin: &str,
        entries: Vec<Entry>,
    ) -> Result<Vec<Result<Published, EntryError>>, StoreError> {
        let keys: Vec<_> = entries.iter().map(|entry| self.dedup_key(entry)).collect();
        for _ in 0..SAME_MOMENT {
            let mut seen = self.seen(keys.iter().flatten().flatten()).await?;
            let (mut batch, mut effects) = (Batch::acceptance(), Effects::default());
            let mut results = Vec::with_capacity(entries.len());
            let by = Origination { origin, label: "" };
            for (entry, key) in entries.iter().zip(&keys) {
                results.push(match key {
                    Err(error) => Err(error.clone()),
                    Ok(None) => self.publish_root(&mut batch, &mut effects, by, entry),
                    Ok(Some(key)) => match seen.get(key) {
                        Some(published) => Ok(published),
                        None => self.publish_root(&mut batch, &mut effects, by, entry).inspect(
                            |published| seen.add(self, &mut batch, key.clone(), *published),
                        ),
                    },
                });
            }
            match self.accept(batch, effects).await {
                // Somebody published the same at the same moment: now it is known.
                Err(StoreError::Conflict { .. }) => {}
                answer => return answer.map(|()| results),
            }
        }
        Err(StoreError::Failed("the same events are published over and over".to_owned()))
    }

    /// Adds the run, its root event and all that follows from it to the batch.
    pub(crate) fn publish_root(
        &self,
        batch: &mut Batch,
        effects: &mut Effects,
        by: Origination<'_>,
        entry: &Entry,
    ) -> Result<Published, EntryError> {
        let event = &entry.event;
        let now = self.clock.now();
        let run = RunId(self.store.next_id());
        let mut routed = Batch::new();
        let cause = Origin { run, cause: Cause::Outside, hops: 0 };
        let published = self.route(&mut routed, effects, cause, &entry.bus, event)?;
        let label = if by.label.is_empty() { &event.detail_type } else { by.label };
        self.priorities.set(run, entry.priority);
        self.forced.note(entry.force);
        batch.start_run(RunRow {
            id: run,
            origin: by.origin.to_owned(),
            label: label.to_owned(),
            priority: entry.priority,
            force: entry.force,
            started: now,
            last: now,
            open: 0,
        });
        batch.append(routed);
        Ok(published)
    }

    /// Commits a batch that somebody outside waits for, then acts on it: to the end, even when
    /// whoever waits goes away meanwhile.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        batch: Batch,
        effects: Effects,
    ) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        let engine = self.clone();
        let accepted = tokio::spawn(async move {
            let room = engine.has_room().await;
            if !matches!(room, Ok(true)) {
                engine.forget(effects.jobs);
                return Err(room.err().unwrap_or(StoreError::Full));
            }
            crash::point("accept.before_commit");
            if let Err(error) = engine.store.commit(batch).await {
                engine.forget(effects.jobs);
                return Err(error);
            }
            crash::point("accept.after_commit");
            engine.act(effects);
            Ok(())
        });
        accepted.await.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string())))
    }

    /// Deliveries that were counted and are not to be.
    fn forget(&self, jobs: Vec<Job>) {
        for job in jobs {
            self.gates.gate(job.subscription.id).less(1, log::bound(&self.limits));
        }
    }

    /// Carries out what a committed batch asks for.
    pub(crate) fn act(self: &Arc<Self>, effects: Effects) {
        for job in effects.jobs {
            self.deliveries.offer(self, job);
        }
        for launch in effects.launches {
            self.executions.launch(self, launch);
        }
        for activity in effects.activities {
            self.activities.arrived(activity);
        }
        for queue in effects.messages {
            self.queues.arrived(queue);
        }
    }

    /// Adds an event and every match of it to the batch. Nothing is added when it is refused.
    /// A match of a subscription that has too many deliveries, or would be one too many of the
    /// event, stays in the log.
    pub(crate) fn route(
        &self,
        batch: &mut Batch,
        effects: &mut Effects,
        origin: Origin,
        bus: &str,
        event: &Event,
    ) -> Result<Published, EntryError> {
        if effects.passing.is_empty() {
            effects.passed = 0;
        }
        let Admitted { body, matches } = loop {
            match self.admitted(batch, origin, bus, event)? {
                Ok(admitted) => break admitted,
                Err(full) => full.into_iter().for_each(|id| self.go_by_cursor(id)),
            }
        };
        batch.append_event(body.row.clone());
        for Match { subscription, gate, way, waits } in matches {
            if let Way::Behind(opened) = way {
                gate.leave_behind(batch, opened, &body.row);
                continue;
            }
            gate.tell(batch);
            let before = effects.jobs.len();
            self.add_match(batch, effects, &subscription, &body, body.row.at);
            if waits && effects.jobs.len() == before {
                // It met its fate at once.
                gate.less(1, log::bound(&self.limits));
            }
        }
        let wire_id = event::wire_id(body.row.id, self.store.installation());
        Ok(Published { id: body.row.id, run: origin.run, wire_id })
    }

    /// Gives the event its id and says what becomes of each match; or which subscriptions must go
    /// over to their cursors first. No subscription changes over in between.
    fn admitted(
        &self,
        batch: &mut Batch,
        origin: Origin,
        bus: &str,
        event: &Event,
    ) -> Result<Result<Admitted, Vec<ResourceId>>, EntryError> {
        let gates = self.gates.enter();
        let catalogue = self.catalogue();
        let name = stepbus_model::arn::name_of(bus);
        let bus = catalogue.buses.get(name).ok_or_else(|| {
            EntryError::new(
                "ResourceNotFoundException",
                format!("Event bus {name} does not exist."),
            )
        })?;
        let body = self.admit(batch, origin, bus, event)?;
        let bound = log::bound(&self.limits);
        let (mut matches, mut full) = (Vec::new(), Vec::new());
        for (number, id) in self.matches(bus, &body)?.into_iter().enumerate() {
            let found = catalogue.subscriptions.get(&id).zip(gates.get(&id));
            let Some((subscription, gate)) = found else { continue };
            let surplus = number >= self.limits.fan_out;
            let waits = subscription.target.takes_time() || self.defers(id);
            match gate.decide(body.row.id, waits, surplus, bound) {
                Way::Full => full.push(id),
                way => {
                    let (subscription, gate) = (subscription.clone(), gate.clone());
                    let waits = waits && way == Way::Deliver;
                    matches.push(Match { subscription, gate, way, waits });
                }
            }
        }
        if full.is_empty() {
            return Ok(Ok(Admitted { body, matches }));
        }
        for undone in matches.iter().filter(|undone| undone.waits) {
            undone.gate.less(1, bound);
        }
        Ok(Err(full))
    }

    fn admit(
        &self,
        batch: &mut Batch,
        origin: Origin,
        bus: &Bus,
        event: &Event,
    ) -> Result<Arc<EventBody>, EntryError> {
        if origin.hops > self.limits.hops {
            let message = format!(
                "the event is {} hops from its root, the limit is {}: its causes form a loop",
                origin.hops, self.limits.hops
            );
            return Err(EntryError::new("HopLimitExceeded", message));
        }
        let id = if batch.holds() {
            EventId(self.store.next_id())
        } else {
            let (id, uncommitted) = self.store.event_id();
            batch.hold(uncommitted);
            id
        };
        let at = self.clock.now();
        let envelope = event.envelope(id, self.store.installation(), at);
        if envelope.len() > self.limits.event_bytes {
            let (size, limit) = (envelope.len(), self.limits.event_bytes);
            let message = format!("the event has {size} bytes, the limit is {limit}");
            return Err(EntryError::new("EventTooLarge", message));
        }
        Ok(EventBody::new(EventRow {
            id,
            run: origin.run,
            bus: bus.id,
            cause: origin.cause,
            hops: origin.hops,
            at,
            envelope: Bytes::from(envelope),
        }))
    }

    fn matches(&self, bus: &Bus, event: &EventBody) -> Result<Vec<ResourceId>, EntryError> {
        let mut matched = SCRATCH
            .with_borrow_mut(|scratch| {
                bus.matcher.matches(&event.row.envelope, scratch).map(<[_]>::to_vec)
            })
            .map_err(|error| EntryError::new("MalformedDetail", error.to_string()))?;
        matched.sort_unstable();
        Ok(matched)
    }

    /// Adds what becomes of a match: a delivery, or its fate when that comes at once.
    pub(crate) fn add_match(
        &self,
        batch: &mut Batch,
        effects: &mut Effects,
        subscription: &Arc<Subscription>,
        event: &Arc<EventBody>,
        created: Timestamp,
    ) {
        let id = DeliveryId(self.store.next_id());
        let (key, failure) = match subscription.key(event) {
            Ok(key) => (key, None),
            Err(error) => (None, Some(error.to_string())),
        };
        let fifo = subscription.spec.order == Order::Fifo;
        let row = DeliveryRow {
            id,
            run: event.row.run,
            subscription: subscription.id,
            version: subscription.version,
            event: event.row.id,
            lane: key.as_deref().filter(|_| fifo).map(delivery::lane),
            key,
            created,
            revision: 0,
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
        };
        if let Some(message) = failure {
            let message = format!("the key cannot be computed: {message}");
            let failure = delivery::failure(delivery::TRANSFORM_FAILED, message);
            delivery::give_up_at_birth(self, batch, subscription, event, row, &failure);
            return;
        }
        match &subscription.target {
            Target::Inside(inside) if !self.defers(subscription.id) => {
                match inside.place(self, batch, effects, subscription, event) {
                    Ok(note) => {
                        let at = row.created;
                        batch.add_finished_delivery(finished(row, at, note));
                    }
                    Err(failure) => {
                        delivery::give_up_at_birth(self, batch, subscription, event, row, &failure);
                    }
                }
            }
            Target::Inside(_) | Target::Outside(_) => {
                batch.add_delivery(row.clone());
                let (subscription, event) = (subscription.clone(), event.clone());
                effects.jobs.push(Job { row, event: Some(event), subscription });
            }
        }
    }
}

fn finished(row: DeliveryRow, at: Timestamp, note: String) -> LedgerRow {
    LedgerRow {
        id: row.id,
        run: row.run,
        subscription: row.subscription,
        version: row.version,
        event: row.event,
        key: row.key,
        outcome: Outcome::Delivered,
        revision: row.revision,
        attempts: 1,
        created: row.created,
        finished: at,
        note: Some(note),
    }
}
