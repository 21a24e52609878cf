//! Schedules: events, executions and messages that time brings about.
//!
//! A tick, what it brings about and the time of the next one are one commit, so each happens
//! exactly once over crashes. What was missed while the process was down fires once or not at all,
//! as the schedule says; time never goes backwards here, and a clock that does is waited for.

mod cron;
mod expression;
mod fire;
pub(crate) mod letters;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use stepbus_expr::Template;
use stepbus_model::{ResourceId, Timestamp};
use stepbus_store::{Batch, ScheduleRow, StoreError};
use tokio::sync::Notify;

use crate::declared::ScheduleSpec;
use crate::engine::Engine;
pub use expression::{ExpressionError, Timing};
pub use view::{ScheduleError, ScheduleView};

/// How often the clock is looked at when nothing is due: bounds the harm of a clock that jumps.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// A schedule as the running system uses it.
#[derive(Debug)]
pub struct Schedule {
    pub id: ResourceId,
    pub spec: ScheduleSpec,
    pub timing: Timing,
    pub(crate) dead_letter: Option<ResourceId>,
    pub(crate) input: Template,
}

impl Schedule {
    /// What says when it fires; a change of it begins the schedule anew.
    fn times(&self) -> String {
        let spec = &self.spec;
        format!("{} {} {:?} {:?}", spec.expression, spec.timezone, spec.start, spec.end)
    }

    /// With the first tick after `now`, whatever came before it.
    fn from(&self, now: Timestamp, row: &ScheduleRow) -> ScheduleRow {
        let next = self.timing.next(now, row.anchor);
        let due = next.map(|next| self.due(next));
        ScheduleRow { next, due, attempts: 0, ..row.clone() }
    }

    /// The row as it stands once the schedule is enabled or not. One that is not has a next tick
    /// and nothing due, by which it is known later that its times passed by as they should.
    fn standing(&self, now: Timestamp, row: &ScheduleRow) -> Option<ScheduleRow> {
        match (self.spec.enabled, row.due, row.next) {
            (false, Some(_), _) => Some(ScheduleRow { due: None, attempts: 0, ..row.clone() }),
            (true, None, Some(next)) if next <= now => Some(self.from(now, row)),
            (true, None, Some(next)) => {
                Some(ScheduleRow { due: Some(self.due(next)), ..row.clone() })
            }
            _ => None,
        }
    }

    /// When a tick is acted upon: within the flexible window, the same for the same tick.
    fn due(&self, tick: Timestamp) -> Timestamp {
        let window = self.spec.flexible_window_seconds.saturating_mul(1_000);
        let digest = Sha256::digest(format!("{}/{}", self.id, tick.0));
        let (head, _) = digest.split_at(8);
        let chance = head.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        tick.plus(Duration::from_millis(chance % (window + 1)))
    }
}

/// A time zone by its name.
///
/// # Errors
/// When there is none of that name.
pub fn time_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        format!("`{name}` is no time zone; write one of IANA's, as Europe/Berlin or UTC")
    })
}

#[derive(Debug, Default)]
pub(crate) struct Schedules {
    rows: Mutex<HashMap<ResourceId, ScheduleRow>>,
    changed: Notify,
    /// Held while a tick is acted upon, and while what is declared is taken over: neither undoes
    /// what the other writes.
    turn: tokio::sync::Mutex<()>,
}

impl Schedules {
    /// While this is held, nothing fires.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    pub(crate) fn put(&self, row: ScheduleRow) {
        self.rows.lock().insert(row.schedule, row);
    }

    /// Looks again at what is due.
    pub(crate) fn look(&self) {
        self.changed.notify_one();
    }
}

impl Engine {
    /// Brings the schedules' rows in step with what is declared. To be called at the start and
    /// after each change of the catalogue.
    pub(crate) async fn serve_schedules(self: &Arc<Self>) -> Result<(), StoreError> {
        let _turn = self.schedules.turn.lock().await;
        let (catalogue, now) = (self.catalogue(), self.clock.now());
        let stored = self.store.schedules().await?;
        let mut rows: HashMap<ResourceId, ScheduleRow> =
            stored.into_iter().map(|row| (row.schedule, row)).collect();
        rows.retain(|id, _| catalogue.schedules.contains_key(id));
        let mut batch = Batch::new();
        for schedule in catalogue.schedules.values() {
            let times = schedule.times();
            let known = rows.get(&schedule.id).filter(|row| row.times == times);
            if let Some(known) = known {
                if let Some(row) = schedule.standing(now, known) {
                    batch.put_schedule(row.clone());
                    rows.insert(schedule.id, row);
                }
                continue;
            }
            // A rate without a start fires at once; a time that is past by now never does.
            let next = schedule.timing.next(Timestamp(now.0 - 1), now);
            let row = ScheduleRow {
                schedule: schedule.id,
                times,
                anchor: now,
                next,
                due: next.map(|next| schedule.due(next)),
                attempts: 0,
                failure: None,
                last: None,
                last_run: None,
                fired: 0,
                missed: 0,
            };
            let row = schedule.standing(now, &row).unwrap_or(row);
            batch.put_schedule(row.clone());
            rows.insert(schedule.id, row);
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        *self.schedules.rows.lock() = rows;
        self.schedules.look();
        Ok(())
    }

    pub(crate) fn start_schedules(self: &Arc<Self>) {
        let engine = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = engine.stopped() => {}
                () = keep_time(&engine) => {}
            }
        });
    }

    /// How a schedule goes on after a pause, when ticks passed: those do not count as missed.
    pub(crate) fn passed_over(&self, id: ResourceId) -> Option<ScheduleRow> {
        let now = self.clock.now();
        let catalogue = self.catalogue();
        let (schedule, rows) = (catalogue.schedules.get(&id)?, self.schedules.rows.lock());
        let row = rows.get(&id).filter(|row| row.due.is_some_and(|due| due <= now))?;
        Some(schedule.from(now, row))
    }
}

/// Fires what is due, one after the other, for ever.
async fn keep_time(engine: &Arc<Engine>) {
    loop {
        let changed = engine.schedules.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let turn = engine.schedules.turn.lock().await;
        let now = engine.clock.now();
        let Some((due, schedule, row)) = soonest(engine) else {
            drop(turn);
            changed.await;
            continue;
        };
        if due > now {
            drop(turn);
            let _ = tokio::time::timeout(due.since(now).min(LONGEST_SLEEP), changed).await;
            continue;
        }
        let acted = fire::tick(engine, &schedule, row, now).await;
        drop(turn);
        match acted {
            Ok(()) => {}
            Err(StoreError::Closed | StoreError::Fenced) => return,
            Err(error) => {
                tracing::error!(%error, schedule = schedule.spec.name, "a schedule has to wait");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn soonest(engine: &Engine) -> Option<(Timestamp, Arc<Schedule>, ScheduleRow)> {
    let catalogue = engine.catalogue();
    let rows = engine.schedules.rows.lock();
    let ready = rows.values().filter_map(|row| {
        let schedule = catalogue.schedules.get(&row.schedule)?;
        let stands = schedule.spec.enabled && !engine.holds.is_paused(row.schedule);
        Some((row.due.filter(|_| stands)?, schedule, row))
    });
    let (due, schedule, row) = ready.min_by_key(|(due, _, row)| (*due, row.schedule))?;
    Some((due, schedule.clone(), row.clone()))
}
