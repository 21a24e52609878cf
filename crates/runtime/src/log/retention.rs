//! What is kept, and for how long: a small service that deletes in bounded batches.
//!
//! An event goes when its bus keeps it no longer, nothing of its run is open (so no delivery and no
//! cursor needs it; a dead letter has its own copy), no archive keeps it, and no replay or
//! subscription that starts in the past is still to read it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use stepbus_model::{EventId, ResourceId, Timestamp};
use stepbus_pattern::{Matcher, Scratch};
use stepbus_store::{Batch, EventRow, LogRange, StoreError, Usage};

use crate::declared::WhenFull;
use crate::engine::Engine;
use crate::pressure::PressureView;

/// Passes after which what was passed over is looked at again.
const LOOK_AGAIN: u32 = 60;
/// Of the bound on storage, in percent: dropping early stops below this.
const ENOUGH: u64 = 95;

/// An archive: keeps a bus's matching events beyond the retention of the bus.
#[derive(Debug)]
pub struct Archive {
    pub name: String,
    pub bus: ResourceId,
    /// None for ever.
    pub retention_seconds: Option<u64>,
    pub pattern: String,
    pub(crate) matcher: Matcher<()>,
}

/// How far each log was looked through.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// By log, and the age in seconds that its events were looked through for.
    looked: Mutex<HashMap<(ResourceId, u64), EventId>>,
    passes: Mutex<u32>,
    /// One pass at a time.
    turn: tokio::sync::Mutex<()>,
}

#[cfg(test)]
impl Marks {
    /// Passes that were begun.
    pub(crate) fn passes(&self) -> u32 {
        *self.passes.lock()
    }
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    pub events: u64,
    /// Of them, those that were younger than their retention: the bound on storage asked for it.
    pub early: u64,
}

/// The disk that the records take.
#[derive(Debug, Clone, Serialize)]
pub struct StorageView {
    #[serde(flatten)]
    pub usage: Usage,
    pub max_bytes: Option<u64>,
    /// Nothing is accepted: the bound is reached and nothing more can be dropped.
    pub refusing: bool,
    /// How near the bounds of the whole are, and what that holds back.
    pub pressure: PressureView,
}

impl Engine {
    /// One pass of the service. Bounded in what it does at a time, not in all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self) -> Result<Swept, StoreError> {
        let _turn = self.marks.turn.lock().await;
        {
            let mut passes = self.marks.passes.lock();
            *passes += 1;
            if passes.is_multiple_of(LOOK_AGAIN) {
                self.marks.looked.lock().clear();
            }
        }
        let mut swept = Swept::default();
        let catalogue = self.catalogue();
        for bus in catalogue.buses.values() {
            let pin = self.pin(bus.id).await?;
            let mut ages = vec![bus.retention_seconds];
            let archives = catalogue.archives.iter().filter(|archive| archive.bus == bus.id);
            ages.extend(archives.filter_map(|archive| archive.retention_seconds));
            ages.retain(|age| *age >= bus.retention_seconds);
            ages.sort_unstable();
            ages.dedup();
            for age in ages {
                swept.events += self.sweep_log(bus.id, age, pin).await?;
            }
        }
        for replay in self.store.replays().await?.iter().filter(|replay| replay.state.ended()) {
            let bus = catalogue.buses.values().find(|bus| bus.id == replay.bus);
            let age = bus.map_or(0, |bus| bus.retention_seconds);
            swept.events += self.sweep_log(replay.id, age, EventId(u64::MAX >> 1)).await?;
        }
        swept.early = self.keep_within_bound().await?;
        swept.events += swept.early;
        Ok(swept)
    }

    /// Whether there is room for what somebody outside brings. Whoever finds the bound passed makes
    /// room; where there is none to be made, the next pass looks again.
    pub(crate) async fn has_room(&self) -> Result<bool, StoreError> {
        let most = self.catalogue().storage.max_bytes;
        if most.is_none_or(|most| self.store.used_bytes() <= most) {
            self.refusing.store(false, Ordering::Relaxed);
            return Ok(true);
        }
        if self.refusing.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let _turn = self.marks.turn.lock().await;
        // The one before may have made room already, or found that there is none.
        if most.is_some_and(|most| self.store.used_bytes() > most)
            && !self.refusing.load(Ordering::Relaxed)
        {
            self.keep_within_bound().await?;
        }
        Ok(!self.refusing.load(Ordering::Relaxed))
    }

    /// Bytes by what they hold. Looks at the whole database.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn storage(&self) -> Result<StorageView, StoreError> {
        Ok(StorageView {
            usage: self.store.usage(true).await?,
            max_bytes: self.catalogue().storage.max_bytes,
            refusing: self.refusing.load(Ordering::Relaxed),
            pressure: self.pressure(),
        })
    }

    /// The first event that a replay or a subscription that starts in the past is still to read.
    async fn pin(&self, bus: ResourceId) -> Result<EventId, StoreError> {
        let cursors = self.store.cursors().await?.into_iter();
        let cursors = cursors.filter(|cursor| cursor.bus == bus).map(|cursor| cursor.position);
        let replays = self.store.replays().await?.into_iter();
        let replays = replays.filter(|replay| replay.bus == bus && !replay.state.ended());
        let first = cursors.chain(replays.map(|replay| replay.position)).min();
        Ok(first.unwrap_or(EventId(u64::MAX >> 1)))
    }

    /// Deletes the events of that age which nothing keeps any longer.
    async fn sweep_log(&self, log: ResourceId, age: u64, pin: EventId) -> Result<u64, StoreError> {
        let cutoff = before(self.clock.now(), age);
        let end = self.first_event_since(log, cutoff).await?.min(pin);
        let mark = (log, age);
        let from = self.marks.looked.lock().get(&mark).copied().unwrap_or(EventId(0));
        let catalogue = self.catalogue();
        let keeps = |event: &EventRow, scratch: &mut Scratch<()>| {
            event.at >= cutoff
                || catalogue.archives.iter().any(|archive| {
                    archive.bus == log
                        && archive.retention_seconds.is_none_or(|longer| longer > age)
                        && archive
                            .matcher
                            .matches(&event.envelope, scratch)
                            .is_ok_and(|found| !found.is_empty())
                })
        };
        let (deleted, reached) = self.delete_between(log, from, end, u64::MAX, keeps).await?;
        self.marks.looked.lock().insert(mark, reached);
        Ok(deleted)
    }

    async fn delete_between(
        &self,
        log: ResourceId,
        mut from: EventId,
        below: EventId,
        most: u64,
        keeps: impl Fn(&EventRow, &mut Scratch<()>) -> bool,
    ) -> Result<(u64, EventId), StoreError> {
        let (rows, bytes) = (self.limits.log_page_events.max(1), self.limits.log_page_bytes);
        let mut scratch = Scratch::default();
        let mut deleted = 0;
        while from < below && deleted < most {
            let page = self.store.log_page(LogRange { bus: log, from, below, rows, bytes }).await?;
            let Some(last) = page.last() else { return Ok((deleted, below)) };
            from = EventId(last.id.0 + 1);
            let range = LogRange { bus: log, from: page[0].id, below: from, rows, bytes };
            let unfinished = self.store.unfinished_events(range).await?;
            let gone: Vec<EventId> = page
                .iter()
                .filter(|event| !unfinished.contains(&event.id) && !keeps(event, &mut scratch))
                .map(|event| event.id)
                .collect();
            if gone.is_empty() {
                continue;
            }
            deleted += gone.len() as u64;
            let mut batch = Batch::new();
            // Those of runs that go on meanwhile stay; they are looked at again.
            batch.delete_events(gone);
            self.store.commit(batch).await?;
        }
        Ok((deleted, from))
    }

    /// Holds what is stored to its bound: the oldest events that nothing needs are dropped early,
    /// or nothing more is accepted, as set. Nothing that is pending is ever dropped.
    async fn keep_within_bound(&self) -> Result<u64, StoreError> {
        let catalogue = self.catalogue();
        let Some(most) = catalogue.storage.max_bytes else {
            self.refusing.store(false, Ordering::Relaxed);
            self.pressure.crammed.store(false, Ordering::Relaxed);
            return Ok(0);
        };
        let (mut dropped, enough) = (0, most / 100 * ENOUGH);
        let full = self.store.used_bytes() > most;
        if full && catalogue.storage.when_full == WhenFull::DropOldest {
            dropped = self.drop_oldest(enough).await?;
            if dropped > 0 {
                tracing::warn!(
                    dropped,
                    max_bytes = most,
                    "events were dropped before their retention: the bound on storage is reached"
                );
            }
        }
        let left = self.store.used_bytes();
        if full || left <= enough {
            self.pressure.crammed.store(left > enough, Ordering::Relaxed);
        }
        let refusing = left > most;
        if refusing && !self.refusing.swap(refusing, Ordering::Relaxed) {
            tracing::error!(
                max_bytes = most,
                "nothing is accepted until there is room: the bound on storage is reached"
            );
        }
        self.refusing.store(refusing, Ordering::Relaxed);
        Ok(dropped)
    }

    async fn drop_oldest(&self, enough: u64) -> Result<u64, StoreError> {
        let buses: Vec<ResourceId> = self.catalogue().buses.values().map(|bus| bus.id).collect();
        let page = self.limits.log_page_events.max(1) as u64;
        let horizon = self.store.horizon();
        let mut at: HashMap<ResourceId, EventId> = HashMap::new();
        let mut dropped = 0;
        loop {
            let mut moved = false;
            for bus in &buses {
                if self.store.used_bytes() <= enough {
                    return Ok(dropped);
                }
                let from = at.get(bus).copied().unwrap_or(EventId(0));
                let end = self.pin(*bus).await?.min(horizon);
                let (count, reached) =
                    self.delete_between(*bus, from, end, page, |_, _| false).await?;
                moved |= reached > from && from < end;
                at.insert(*bus, reached);
                dropped += count;
            }
            if !moved {
                return Ok(dropped);
            }
        }
    }
}

fn before(now: Timestamp, seconds: u64) -> Timestamp {
    let millis = i64::try_from(seconds.saturating_mul(1_000)).unwrap_or(i64::MAX);
    Timestamp(now.0.saturating_sub(millis))
}

/// Runs passes until the engine stops.
pub(crate) fn start(engine: &Arc<Engine>) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let pause = Duration::from_secs(engine.limits.sweep_seconds.max(1));
        let passes = async {
            loop {
                match engine.sweep().await {
                    Ok(swept) if swept.events > 0 => {
                        tracing::info!(events = swept.events, "deleted what is kept no longer");
                    }
                    Ok(_) => {}
                    Err(StoreError::Closed | StoreError::Fenced) => return,
                    Err(error) => tracing::warn!(%error, "a pass of the retention failed"),
                }
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = engine.stopped() => {}
            () = passes => {}
        }
    });
}
