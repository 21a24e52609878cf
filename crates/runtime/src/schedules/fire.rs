//! One tick: what it brings about, or what becomes of it when that fails.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use stepbus_expr::{Env, Scope};
use stepbus_model::{Event, RunId, Timestamp, arn};
use stepbus_store::{Batch, Cause, Priority, RunRow, ScheduleRow, StoreError};

use super::Schedule;
use super::letters::{self, Death};
use crate::declared::{Missed, ScheduleTarget};
use crate::engine::Engine;
use crate::publish::{Effects, Entry, Origination};
use crate::queues::NewMessage;
use crate::workflow::NewExecution;

/// How late a tick may be acted upon before it counts as missed, beside its window: AWS's
/// precision.
const GRACE: Duration = Duration::from_secs(60);
/// Ticks looked at one by one after a long time down; earlier ones are only passed over.
const LOOKED_AT: usize = 10_000;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// What a tick knows of itself: `$schedule`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tick {
    pub(super) scheduled: Timestamp,
    pub(super) attempt: u32,
    /// Earlier ticks that it stands for.
    pub(super) missed: u64,
}

/// Acts on the tick that is due, and on those that came after it up to now, as one.
pub(super) async fn tick(
    engine: &Arc<Engine>,
    schedule: &Arc<Schedule>,
    row: ScheduleRow,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(first) = row.next else { return Ok(()) };
    let (mut latest, mut earlier) = (first, 0);
    while let Some(next) = schedule.timing.next(latest, row.anchor).filter(|next| *next <= now)
        && earlier < LOOKED_AT as u64
    {
        latest = next;
        earlier += 1;
    }
    let next = schedule.timing.next(latest.max(now), row.anchor);
    let mut after = ScheduleRow {
        next,
        due: next.map(|next| schedule.due(next)),
        attempts: 0,
        failure: None,
        missed: row.missed + earlier,
        ..row.clone()
    };
    let window = Duration::from_secs(schedule.spec.flexible_window_seconds) + GRACE;
    let late = now > latest.plus(window) && row.attempts == 0;
    if late && schedule.spec.missed == Missed::Skip {
        after.missed += 1;
        return note(engine, Batch::new(), Effects::default(), after).await;
    }
    let tick = Tick { scheduled: latest, attempt: row.attempts + 1, missed: earlier };
    match act(engine, schedule, tick) {
        Ok((mut batch, effects, run)) => {
            after.fired += 1;
            (after.last, after.last_run) = (Some(latest), Some(run));
            batch.put_schedule(after.clone());
            note(engine, batch, effects, after).await
        }
        Err(error) => failed(engine, schedule, row, after, (tick, now), error).await,
    }
}

/// Fires beside the schedule's times.
pub(super) async fn now(
    engine: &Arc<Engine>,
    schedule: &Schedule,
    mut batch: Batch,
) -> Result<Result<RunId, String>, StoreError> {
    let tick = Tick { scheduled: engine.clock.now(), attempt: 1, missed: 0 };
    let (fired, effects, run) = match act(engine, schedule, tick) {
        Ok(acted) => acted,
        Err((code, message)) => return Ok(Err(format!("{code}: {message}"))),
    };
    batch.append(fired);
    engine.accept(batch, effects).await?;
    Ok(Ok(run))
}

async fn note(
    engine: &Arc<Engine>,
    mut batch: Batch,
    effects: Effects,
    row: ScheduleRow,
) -> Result<(), StoreError> {
    if batch.is_empty() {
        batch.put_schedule(row.clone());
    }
    engine.accept(batch, effects).await?;
    engine.schedules.rows.lock().insert(row.schedule, row);
    Ok(())
}

type Failure = (String, String);

/// What the tick brings about, as a batch that is not committed yet.
pub(super) fn act(
    engine: &Engine,
    schedule: &Schedule,
    tick: Tick,
) -> Result<(Batch, Effects, RunId), Failure> {
    let spec = &schedule.spec;
    let invalid = |message: String| ("TRANSFORM_FAILED".to_owned(), message);
    let input = input(schedule, tick).map_err(invalid)?;
    let (mut batch, mut effects) = (Batch::new(), Effects::default());
    let origin = format!("schedule:{}", spec.name);
    let label = tick.scheduled.to_rfc3339_seconds();
    let gone = |what: &str| ("RESOURCE_NOT_FOUND".to_owned(), format!("{what} is gone"));
    let catalogue = engine.catalogue();
    if let ScheduleTarget::Event { .. } = &spec.target {
        let entry = entry(schedule, &input, tick).map_err(invalid)?;
        let by = Origination { origin: &origin, label: &label };
        let published = engine
            .publish_root(&mut batch, &mut effects, by, &entry)
            .map_err(|error| (error.code.to_owned(), error.message))?;
        return Ok((batch, effects, published.run));
    }
    let (run, now) = (RunId(engine.store.next_id()), engine.clock.now());
    batch.start_run(run_row(schedule, run, tick.scheduled, now));
    engine.forced.note(spec.force);
    match &spec.target {
        ScheduleTarget::Workflow(name) => {
            let workflow = catalogue.workflows.get(name).ok_or_else(|| gone(name))?;
            let launch = engine.new_execution(
                &mut batch,
                NewExecution {
                    workflow: workflow.clone(),
                    run,
                    cause: Cause::Outside,
                    hops: 0,
                    name: None,
                    input: Arc::new(input),
                },
            );
            effects.launches.push(launch);
        }
        ScheduleTarget::Queue(name) => {
            let found = catalogue.queues.get(name).and_then(|id| catalogue.queue(*id));
            let queue = found.ok_or_else(|| gone(name))?;
            let new = NewMessage {
                run,
                cause: Cause::Outside,
                body: Bytes::from(input.to_string()),
                attributes: Map::new(),
                delay: None,
            };
            engine
                .send_message(&mut batch, &mut effects, queue, new)
                .map_err(|error| ("INVALID_PARAMETER".to_owned(), error.to_string()))?;
        }
        ScheduleTarget::Event { .. } => {}
    }
    Ok((batch, effects, run))
}

fn run_row(schedule: &Schedule, run: RunId, tick: Timestamp, now: Timestamp) -> RunRow {
    RunRow {
        id: run,
        origin: format!("schedule:{}", schedule.spec.name),
        label: tick.to_rfc3339_seconds(),
        priority: Priority::Normal,
        force: schedule.spec.force,
        started: now,
        last: now,
        open: 0,
    }
}

fn entry(schedule: &Schedule, input: &Value, tick: Tick) -> Result<Entry, String> {
    let ScheduleTarget::Event { bus, detail_type, source } = &schedule.spec.target else {
        return Err("its target is no event".to_owned());
    };
    if !input.is_object() {
        return Err("an event's detail must be an object".to_owned());
    }
    let detail = RawValue::from_string(input.to_string());
    let event = Event {
        source: source.clone(),
        detail_type: detail_type.clone(),
        detail: detail.map_err(|error| error.to_string())?,
        resources: vec![arn::schedule(&schedule.spec.name)],
        time: Some(tick.scheduled),
    };
    let (bus, priority) = (bus.clone(), Priority::Normal);
    Ok(Entry { bus, event, priority, dedup_id: None, force: schedule.spec.force })
}

fn input(schedule: &Schedule, tick: Tick) -> Result<Value, String> {
    let seed = u64::try_from(tick.scheduled.0).unwrap_or(0);
    let mut scope = Scope::new(Env { now: tick.scheduled, seed });
    let about = json!({
        "name": schedule.spec.name,
        "arn": arn::schedule(&schedule.spec.name),
        "scheduled_time": tick.scheduled.to_rfc3339_seconds(),
        "attempt_number": tick.attempt,
        "missed": tick.missed,
    });
    scope.bind("schedule", &about);
    let value = schedule.input.eval(&scope).map_err(|error| error.to_string())?;
    Ok(value.unwrap_or(Value::Null))
}

async fn failed(
    engine: &Arc<Engine>,
    schedule: &Schedule,
    row: ScheduleRow,
    mut after: ScheduleRow,
    (tick, now): (Tick, Timestamp),
    (code, message): Failure,
) -> Result<(), StoreError> {
    let spec = &schedule.spec;
    let attempts = row.attempts + 1;
    let text = format!("{code}: {message}");
    let too_old = now >= tick.scheduled.plus(Duration::from_secs(spec.retry.max_age_seconds));
    if attempts <= spec.retry.max_attempts && !too_old {
        let span = FIRST_BACKOFF.saturating_mul(1 << attempts.min(16)).min(LONGEST_BACKOFF);
        let again = ScheduleRow {
            next: Some(tick.scheduled),
            due: Some(now.plus(span)),
            attempts,
            failure: Some(text),
            missed: after.missed,
            ..row
        };
        return note(engine, Batch::new(), Effects::default(), again).await;
    }
    after.failure = Some(text);
    let mut batch = Batch::new();
    tracing::warn!(schedule = spec.name, code, message, "a tick of a schedule failed for good");
    let condition = if too_old { "MaximumEventAgeInSeconds" } else { "MaximumRetryAttempts" };
    let run = RunId(engine.store.next_id());
    let death = Death { code: &code, message: &message, condition, attempts };
    if let Some(letter) = letters::letter(engine, schedule, run, tick, &death) {
        batch.start_run(run_row(schedule, run, tick.scheduled, now));
        batch.send_message(letter);
    }
    batch.put_schedule(after.clone());
    note(engine, batch, Effects::default(), after).await
}
