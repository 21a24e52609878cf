//! Backpressure of the whole: near a bound that everything shares (live deliveries, the records'
//! size, the disk), what brings about new work inside slows down, and near it stops, until what is
//! there has drained. What was begun goes on, deliveries above all.
//!
//! Map runs start fewer children, then none. Executions that are no children wait with
//! `events:putEvents` and `states:startExecution` while it is stopped. Near the records' size one
//! thing at a time goes on all the same: only runs that end let go of their events.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use serde::Serialize;
use stepbus_model::{Limits, Timestamp};
use stepbus_store::StoreError;
use tokio::sync::watch;

use crate::declared::WhenFull;
use crate::engine::Engine;

/// How much of what it may do extraction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Extraction {
    Free,
    Slowed,
    Stopped,
}

/// A bound that everything shares. They are named as the limits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    LiveDeliveries,
    /// `storage.max_bytes` of the project file.
    MaxBytes,
    /// Of the disk, what is to stay free.
    ExtractionReserveBytes,
}

impl Shared {
    fn name(self) -> &'static str {
        match self {
            Shared::LiveDeliveries => "live_deliveries",
            Shared::MaxBytes => "storage.max_bytes",
            Shared::ExtractionReserveBytes => "extraction_reserve_bytes",
        }
    }
}

/// How near a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Reading {
    pub bound: Shared,
    pub percent: u64,
}

/// How extraction stands, and what it is held back by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Standing {
    pub extraction: Extraction,
    /// The nearest bound.
    pub nearest: Option<Reading>,
    pub since: Timestamp,
}

/// As operators look at it.
#[derive(Debug, Clone, Serialize)]
pub struct PressureView {
    #[serde(flatten)]
    pub standing: Standing,
    pub live_deliveries: u64,
    pub live_deliveries_bound: u64,
    /// Executions that wait to publish or to start another one.
    pub waiting_executions: usize,
}

#[derive(Debug)]
pub(crate) struct Pressure {
    standing: watch::Sender<Standing>,
    /// Of a window, in thousandths, what may be used: read for every child.
    share: AtomicU32,
    /// One at a time goes on though extraction is stopped.
    trickles: AtomicBool,
    /// The one that may, until the next look.
    next: AtomicBool,
    /// Executions that wait.
    pub(crate) waiting: AtomicUsize,
    /// What is stored cannot be brought below its bound.
    pub(crate) crammed: AtomicBool,
}

const WHOLE: u32 = 1_000;

impl Pressure {
    pub(crate) fn new(now: Timestamp) -> Pressure {
        let free = Standing { extraction: Extraction::Free, nearest: None, since: now };
        Pressure {
            standing: watch::Sender::new(free),
            share: AtomicU32::new(WHOLE),
            trickles: AtomicBool::new(false),
            next: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            crammed: AtomicBool::new(false),
        }
    }

    /// How many of a window may be at work.
    pub(crate) fn room(&self, window: usize) -> usize {
        match self.share.load(Ordering::Relaxed) {
            WHOLE => window,
            0 => usize::from(self.trickles.load(Ordering::Relaxed)).min(window),
            share => (window.saturating_mul(share as usize) / WHOLE as usize).max(1).min(window),
        }
    }

    /// Whether an execution may bring about something new.
    pub(crate) fn lets_pass(&self) -> bool {
        self.share.load(Ordering::Relaxed) > 0 || self.next.swap(false, Ordering::Relaxed)
    }

    /// Whether it would now.
    pub(crate) fn would_pass(&self) -> bool {
        self.share.load(Ordering::Relaxed) > 0 || self.next.load(Ordering::Relaxed)
    }

    pub(crate) fn standing(&self) -> Standing {
        *self.standing.borrow()
    }

    /// Hears of each change, and whenever one more may go on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    fn set(&self, standing: Standing, limits: &Limits) {
        let by_size = standing.nearest.is_some_and(|nearest| nearest.bound == Shared::MaxBytes);
        let trickles = standing.extraction == Extraction::Stopped && by_size;
        self.trickles.store(trickles, Ordering::Relaxed);
        self.next.store(trickles, Ordering::Relaxed);
        self.share.store(share(&standing, limits), Ordering::Relaxed);
        let before = self.standing.borrow().extraction;
        if before != standing.extraction {
            announce(&standing);
        }
        self.standing.send_if_modified(|held| {
            let news = before != standing.extraction
                || standing.extraction == Extraction::Slowed && *held != standing
                || trickles;
            *held = standing;
            news
        });
    }
}

fn announce(standing: &Standing) {
    let (bound, percent) = match standing.nearest {
        Some(nearest) => (nearest.bound.name(), nearest.percent),
        None => ("", 0),
    };
    match standing.extraction {
        Extraction::Free => tracing::info!("extraction goes on: no bound is near any more"),
        Extraction::Slowed => tracing::warn!(
            bound,
            percent,
            "extraction slows down: map runs start fewer children, a bound is near"
        ),
        Extraction::Stopped => tracing::warn!(
            bound,
            percent,
            "extraction stops: map runs start no children and executions wait to publish until \
             what is there has drained"
        ),
    }
}

/// Of a window, in thousandths, what may be used.
fn share(standing: &Standing, limits: &Limits) -> u32 {
    let percent = standing.nearest.map_or(0, |nearest| nearest.percent);
    match standing.extraction {
        Extraction::Free => WHOLE,
        Extraction::Stopped => 0,
        Extraction::Slowed => {
            let (slow, stop) = (limits.pressure_slow_percent, limits.pressure_stop_percent);
            let left = stop.saturating_sub(percent) * u64::from(WHOLE);
            let share = left / stop.saturating_sub(slow).max(1);
            u32::try_from(share).unwrap_or(WHOLE).clamp(1, WHOLE)
        }
    }
}

/// How extraction stands by how near the nearest bound is. It goes on a few percent below where it
/// was held back, so that it does not change with every delivery.
fn judge(before: Extraction, percent: u64, limits: &Limits) -> Extraction {
    let release = limits.pressure_release_percent;
    let reaches = |level: u64, held: bool| {
        percent >= if held { level.saturating_sub(release) } else { level }
    };
    if reaches(limits.pressure_stop_percent, before == Extraction::Stopped) {
        Extraction::Stopped
    } else if reaches(limits.pressure_slow_percent, before != Extraction::Free) {
        Extraction::Slowed
    } else {
        Extraction::Free
    }
}

fn percent(used: u64, bound: u64) -> u64 {
    u64::try_from(u128::from(used) * 100 / u128::from(bound.max(1))).unwrap_or(u64::MAX)
}

impl Engine {
    /// How extraction stands, and why.
    #[must_use]
    pub fn pressure(&self) -> PressureView {
        PressureView {
            standing: self.pressure.standing(),
            live_deliveries: self.gates.live(),
            live_deliveries_bound: self.limits.live_deliveries as u64,
            waiting_executions: self.pressure.waiting.load(Ordering::Relaxed),
        }
    }

    async fn look_at_the_bounds(&self) -> Result<(), StoreError> {
        let limits = &self.limits;
        let live = percent(self.gates.live(), limits.live_deliveries as u64);
        let mut readings = vec![Reading { bound: Shared::LiveDeliveries, percent: live }];
        let usage = self.store.usage(false).await?;
        let storage = self.catalogue().storage;
        // Where the oldest events give way, the bound is met all the time and means nothing, as
        // long as they do.
        let held =
            storage.when_full == WhenFull::Refuse || self.pressure.crammed.load(Ordering::Relaxed);
        if let Some(most) = storage.max_bytes.filter(|_| held) {
            readings
                .push(Reading { bound: Shared::MaxBytes, percent: percent(usage.used(), most) });
        }
        readings.push(Reading {
            bound: Shared::ExtractionReserveBytes,
            percent: percent(
                limits.extraction_reserve_bytes,
                usage.disk_free.saturating_add(usage.unused),
            ),
        });
        let nearest = readings.into_iter().max_by_key(|reading| reading.percent);
        let before = self.pressure.standing();
        let extraction =
            judge(before.extraction, nearest.map_or(0, |nearest| nearest.percent), limits);
        let since = if extraction == before.extraction { before.since } else { self.clock.now() };
        self.pressure.set(Standing { extraction, nearest, since }, limits);
        Ok(())
    }
}

/// Looks at the bounds until the engine stops.
pub(crate) fn start(engine: &Arc<Engine>) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let pause = Duration::from_millis(engine.limits.pressure_check_ms.max(1));
        let looks = async {
            loop {
                match engine.look_at_the_bounds().await {
                    Ok(()) => {}
                    Err(StoreError::Closed | StoreError::Fenced) => return,
                    Err(error) => tracing::warn!(%error, "could not look at the bounds"),
                }
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = engine.stopped() => {}
            () = looks => {}
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_slows_stops_and_goes_on_with_a_margin() {
        let mut stands = Extraction::Free;
        for (percent, expected) in [
            (79, Extraction::Free),
            (80, Extraction::Slowed),
            (76, Extraction::Slowed),
            (74, Extraction::Free),
            (97, Extraction::Stopped),
            (91, Extraction::Stopped),
            (89, Extraction::Slowed),
            (95, Extraction::Stopped),
            (10, Extraction::Free),
        ] {
            stands = judge(stands, percent, &Limits::DEFAULT);
            assert_eq!(stands, expected, "at {percent} %");
        }
    }

    #[test]
    fn fewer_the_nearer_the_bound_and_never_none_while_slowed() {
        let pressure = Pressure::new(Timestamp(0));
        let set = |extraction, bound, percent| {
            let nearest = Some(Reading { bound, percent });
            let since = Timestamp(0);
            pressure.set(Standing { extraction, nearest, since }, &Limits::DEFAULT);
        };
        assert_eq!(pressure.room(300), 300);
        for (percent, room) in [(78, 300), (80, 300), (85, 199), (90, 99), (94, 19)] {
            set(Extraction::Slowed, Shared::LiveDeliveries, percent);
            assert_eq!((pressure.room(300), pressure.room(1)), (room, 1), "at {percent} %");
            assert!(pressure.lets_pass());
        }
        set(Extraction::Stopped, Shared::LiveDeliveries, 95);
        assert_eq!((pressure.room(300), pressure.lets_pass()), (0, false));
        // Only what ends lets go of the log.
        set(Extraction::Stopped, Shared::MaxBytes, 95);
        assert_eq!(pressure.room(300), 1);
        assert_eq!((pressure.lets_pass(), pressure.lets_pass()), (true, false));
    }
}
