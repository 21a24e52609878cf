//! Ticks that failed for good, as dead letters of the schedule's queue: what they say, and how they
//! fire once more.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use stepbus_model::{MessageId, RunId, Timestamp, arn};
use stepbus_store::{AuditRow, Batch, MessageRow, Reception, StoreError};

use super::Schedule;
use super::fire::{self, Tick};
use crate::declared::ScheduleTarget;
use crate::delivery;
use crate::engine::Engine;
use crate::publish::Effects;

/// How a tick failed.
pub(super) struct Death<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) condition: &'static str,
    pub(super) attempts: u32,
}

/// The message that tells of a tick that failed.
pub(super) fn letter(
    engine: &Engine,
    schedule: &Schedule,
    run: RunId,
    tick: Tick,
    death: &Death<'_>,
) -> Option<MessageRow> {
    let spec = &schedule.spec;
    let scheduled = tick.scheduled.to_rfc3339_seconds();
    let attributes = json!({
        "SCHEDULE_ARN": arn::schedule(&spec.name),
        "TARGET_ARN": target_arn(&spec.target),
        "ERROR_CODE": death.code,
        "ERROR_MESSAGE": death.message,
        "EXHAUSTED_RETRY_CONDITION": death.condition,
        "RETRY_ATTEMPTS": death.attempts.saturating_sub(1).to_string(),
        "stepbus": {
            "schedule": spec.name,
            "cause": delivery::cause_of(death.message),
        },
    });
    let body = json!({ "scheduled_time": scheduled, "missed": tick.missed });
    Some(MessageRow {
        id: MessageId(engine.store.next_id()),
        queue: schedule.dead_letter?,
        run,
        sent: engine.clock.now(),
        body: Bytes::from(body.to_string()),
        attributes: attributes.to_string(),
        error_code: Some(death.code.to_owned()),
        delivery: None,
        reception: Reception::default(),
    })
}

/// The schedule whose tick a message tells of; none of any other message.
pub(crate) fn schedule_of(message: &MessageRow) -> Option<String> {
    if message.delivery.is_some() || message.error_code.is_none() {
        return None;
    }
    let attributes: Value = serde_json::from_str(&message.attributes).ok()?;
    Some(arn::name_of(attributes.get("SCHEDULE_ARN")?.as_str()?).to_owned())
}

/// What the tick of a dead letter brings about now, as a batch in which the letter is gone.
///
/// # Errors
/// Why it cannot: it stays a dead letter then.
pub(crate) fn refire(
    engine: &Engine,
    message: &MessageRow,
    name: &str,
) -> Result<(Batch, Effects), String> {
    let catalogue = engine.catalogue();
    let found = catalogue.schedules.values().find(|schedule| schedule.spec.name == name);
    let schedule = found.ok_or_else(|| format!("{}: schedule '{name}' is gone", message.id))?;
    let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
    let scheduled = body.get("scheduled_time").and_then(Value::as_str);
    let scheduled = scheduled.and_then(|text| Timestamp::parse(text).ok());
    let scheduled = scheduled.ok_or_else(|| format!("{}: it names no time", message.id))?;
    let missed = body.get("missed").and_then(Value::as_u64).unwrap_or(0);
    let (fired, effects, _) = fire::act(engine, schedule, Tick { scheduled, attempt: 1, missed })
        .map_err(|(code, why)| format!("{}: {code}: {why}", message.id))?;
    let mut batch = Batch::acceptance();
    batch.append(fired);
    batch.delete_message(message.id);
    Ok((batch, effects))
}

/// Gives such a dead letter up. False when somebody else was faster with it.
pub(crate) async fn discard(
    engine: &Arc<Engine>,
    message: &MessageRow,
    audit: AuditRow,
) -> Result<bool, StoreError> {
    let mut batch = Batch::new();
    batch.delete_message(message.id);
    batch.audit(audit);
    match engine.store.commit(batch).await {
        Ok(()) => Ok(true),
        Err(StoreError::Gone(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn target_arn(target: &ScheduleTarget) -> String {
    match target {
        ScheduleTarget::Event { bus, .. } => arn::event_bus(bus),
        ScheduleTarget::Workflow(name) => arn::state_machine(name),
        ScheduleTarget::Queue(name) => arn::queue(name),
    }
}
