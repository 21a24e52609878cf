//! Reads on from a subscription's cursor: the matches of a page and the cursor's move are one
//! commit.

use std::sync::Arc;
use std::time::Duration;

use stepbus_model::{DeliveryId, EventId, Limits, crash};
use stepbus_pattern::{Matcher, Pattern, Scratch};
use stepbus_store::{Batch, CursorRow, DeliveryRow, EventRow, LogRange};

use super::gate::Gate;
use crate::catalogue::{Subscription, compile_version};
use crate::declared::SubscriptionSpec;
use crate::delivery::durable::{Stopped, commit, read};
use crate::engine::Engine;
use crate::event::EventBody;
use crate::publish::Effects;

/// Between two looks at a log whose newest events are not settled yet.
const SETTLING: Duration = Duration::from_millis(2);
/// Between two counts of what is pending while there is no room.
const RECOUNT: Duration = Duration::from_secs(1);

/// A version of the subscription, as it reads the log.
struct Reading {
    version: u32,
    /// None when its pattern cannot be read any more.
    matcher: Option<Matcher<()>>,
    scratch: Scratch<()>,
    /// None when it cannot be used any more; its deliveries are given up by the worker.
    subscription: Option<Arc<Subscription>>,
}

/// What was read of a page.
enum Progress {
    /// There may be more.
    Read,
    /// Nothing below this is left.
    CaughtUp(EventId),
}

/// Reads on until all is read and matches become deliveries again.
pub(super) async fn fill(engine: &Arc<Engine>, gate: &Arc<Gate>) -> Result<(), Stopped> {
    let mut reading: Option<Reading> = None;
    loop {
        room(engine, gate).await?;
        let Some(cursor) = gate.first() else { return Ok(()) };
        let current = match reading.take() {
            Some(reading) if reading.version == cursor.version => reading,
            _ => open(engine, &cursor).await?,
        };
        let current = reading.insert(current);
        let horizon = match page(engine, gate, &cursor, current).await? {
            Progress::Read => continue,
            Progress::CaughtUp(horizon) => horizon,
        };
        if cursor.until.is_some_and(|until| until <= horizon) {
            let mut batch = Batch::new();
            batch.close_cursor((cursor.subscription, cursor.opened));
            commit(engine, batch).await?;
            if !engine.gates.drop_first(gate) {
                return Ok(());
            }
        } else if let Some(change) = engine.gates.come_back(gate, horizon) {
            tracing::info!(
                subscription = engine.catalogue().name(cursor.subscription),
                "the subscription has read all of the log that it left there"
            );
            super::settle(engine, change);
            return Ok(());
        } else {
            tokio::time::sleep(SETTLING).await;
        }
    }
}

/// Waits until deliveries may be added: half of the bound must be free, then it is used up.
async fn room(engine: &Engine, gate: &Gate) -> Result<(), Stopped> {
    let bound = bound(&engine.limits);
    let mut enough = bound;
    loop {
        let changed = gate.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if gate.pending() < enough {
            return Ok(());
        }
        enough = bound / 2 + 1;
        if tokio::time::timeout(RECOUNT, changed).await.is_err() {
            super::recount(engine, gate).await?;
        }
    }
}

pub(crate) fn bound(limits: &Limits) -> i64 {
    i64::try_from(limits.subscription_pending.max(1)).unwrap_or(i64::MAX)
}

async fn open(engine: &Engine, cursor: &CursorRow) -> Result<Reading, Stopped> {
    let catalogue = engine.catalogue();
    let version = cursor.version;
    let row = read(|| engine.store.resource_version(cursor.subscription, version)).await?;
    let spec: Option<SubscriptionSpec> =
        row.as_ref().and_then(|row| serde_json::from_str(&row.body).ok());
    let pattern = spec.and_then(|spec| Pattern::parse(spec.pattern.as_bytes()).ok());
    let matcher = pattern.map(|pattern| {
        let matcher = Matcher::within(&engine.limits);
        matcher.add((), &pattern);
        matcher
    });
    if matcher.is_none() {
        tracing::error!(subscription = %cursor.subscription, version, "its pattern is unreadable");
    }
    let current = catalogue.subscriptions.get(&cursor.subscription);
    let subscription = match current.filter(|current| current.version == version) {
        Some(current) => Some(current.clone()),
        None => row.and_then(|row| compile_version(&catalogue, &row).ok().map(Arc::new)),
    };
    Ok(Reading { version, matcher, scratch: Scratch::default(), subscription })
}

async fn page(
    engine: &Arc<Engine>,
    gate: &Gate,
    cursor: &CursorRow,
    reading: &mut Reading,
) -> Result<Progress, Stopped> {
    let horizon = engine.store.horizon();
    let below = cursor.until.map_or(horizon, |until| until.min(horizon));
    if cursor.position >= below {
        return Ok(Progress::CaughtUp(horizon));
    }
    let (rows, bytes) = (engine.limits.log_page_events.max(1), engine.limits.log_page_bytes);
    let range = LogRange { bus: cursor.bus, from: cursor.position, below, rows, bytes };
    let events = read(|| engine.store.log_page(range)).await?;
    let size: usize = events.iter().map(|event| event.envelope.len().max(1)).sum();
    let whole = events.len() < rows && size < bytes;
    let mut room = bound(&engine.limits) - gate.pending();
    let mut filled = Filled::default();
    let mut position = cursor.position;
    let mut stopped = false;
    for event in events {
        let next = EventId(event.id.0 + 1);
        if reading.matches(&event) {
            if room <= 0 {
                stopped = true;
                break;
            }
            room -= 1;
            filled.add(engine, cursor, reading.subscription.as_ref(), event);
        }
        position = next;
    }
    if whole && !stopped {
        position = below;
    }
    if position > cursor.position {
        filled.commit(engine, gate, cursor, position).await?;
        gate.read_to(position);
    }
    Ok(if whole && !stopped { Progress::CaughtUp(below.max(position)) } else { Progress::Read })
}

impl Reading {
    fn matches(&mut self, event: &EventRow) -> bool {
        let Some(matcher) = &self.matcher else { return false };
        matcher.matches(&event.envelope, &mut self.scratch).is_ok_and(|found| !found.is_empty())
    }
}

/// The matches of a page.
#[derive(Default)]
struct Filled {
    batch: Batch,
    effects: Effects,
    /// The first of those that no worker can send.
    unusable: Option<DeliveryId>,
    count: i64,
}

impl Filled {
    fn add(
        &mut self,
        engine: &Engine,
        cursor: &CursorRow,
        subscription: Option<&Arc<Subscription>>,
        event: EventRow,
    ) {
        let mut batch = Batch::from_log(cursor, event.id);
        let now = engine.clock.now();
        let before = self.effects.jobs.len();
        if let Some(subscription) = subscription {
            let event = EventBody::new(event);
            engine.add_match(&mut batch, &mut self.effects, subscription, &event, now);
            self.count += i64::from(self.effects.jobs.len() > before);
        } else {
            let id = DeliveryId(engine.store.next_id());
            batch.add_delivery(DeliveryRow {
                id,
                run: event.run,
                subscription: cursor.subscription,
                version: cursor.version,
                event: event.id,
                key: None,
                lane: None,
                created: now,
                revision: 0,
                attempts: 0,
                first_tried: None,
                due: None,
                failure: None,
            });
            self.unusable.get_or_insert(id);
            self.count += 1;
        }
        self.batch.append(batch);
    }

    async fn commit(
        mut self,
        engine: &Arc<Engine>,
        gate: &Gate,
        cursor: &CursorRow,
        position: EventId,
    ) -> Result<(), Stopped> {
        self.batch.move_cursor((cursor.subscription, cursor.opened), position);
        gate.more(self.count);
        crash::point("cursor.before_commit");
        let committed = commit(engine, self.batch).await?;
        crash::point("cursor.after_commit");
        if !committed {
            tracing::error!(subscription = %cursor.subscription, "its cursor is gone");
            return Err(Stopped);
        }
        engine.act(self.effects);
        if let Some(first) = self.unusable {
            engine.deliveries.read_from(engine, cursor.subscription, first);
        }
        Ok(())
    }
}
