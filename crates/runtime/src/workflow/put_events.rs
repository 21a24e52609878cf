//! `arn:aws:states:::events:putEvents`: no call but a write in the same batch, so it happens
//! exactly once.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stepbus_asl::{Failure, RunTask};
use stepbus_model::{Event, Timestamp, arn};
use stepbus_store::{Batch, Cause, ExecutionRow};

use super::inside::Done;
use crate::engine::Engine;
use crate::publish::{Effects, EntryError, Origin};

pub(super) const RESOURCE: &str = "arn:aws:states:::events:putEvents";

/// Where events go that name no bus.
const DEFAULT_BUS: &str = "default";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Entry {
    source: String,
    detail_type: String,
    detail: Value,
    event_bus_name: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    time: Option<Value>,
    #[serde(rename = "TraceHeader")]
    _trace_header: Option<String>,
}

/// Publishes into the batch and gives the task's result. When an entry is refused the task fails
/// with `EventBridge.FailedEntry`, as on AWS; the others are on the bus all the same.
pub(super) fn perform(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Result<Done, Failure> {
    let fail = |error: &str, cause: String| Err(Failure::new(error, cause));
    let Some(Value::Array(entries)) = task.arguments.get("Entries") else {
        let cause = "the arguments of putEvents must have an array `Entries`".to_owned();
        return fail("States.Runtime", cause);
    };
    let limit = engine.limits.put_events_entries;
    if entries.is_empty() || entries.len() > limit {
        let cause = format!("`Entries` has {} entries, allowed are 1 to {limit}", entries.len());
        return fail("EventBridge.ValidationException", cause);
    }
    let mut failed = 0;
    let results: Vec<Value> = entries
        .iter()
        .map(|entry| match publish(engine, row, entry, batch, effects) {
            Ok(id) => json!({ "EventId": id }),
            Err(error) => {
                failed += 1;
                json!({ "ErrorCode": error.code, "ErrorMessage": error.message })
            }
        })
        .collect();
    let result = json!({ "Entries": results, "FailedEntryCount": failed });
    if failed > 0 {
        return fail("EventBridge.FailedEntry", result.to_string());
    }
    Ok(result.into())
}

fn publish(
    engine: &Engine,
    row: &ExecutionRow,
    entry: &Value,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Result<String, EntryError> {
    let entry = Entry::deserialize(entry)
        .map_err(|error| EntryError::new("InvalidArgument", error.to_string()))?;
    let time = match entry.time {
        None | Some(Value::Null) => None,
        Some(time) => Some(parse_time(&time)?),
    };
    let event = Event {
        source: entry.source,
        detail_type: entry.detail_type,
        detail: detail(entry.detail)?,
        resources: entry.resources,
        time,
    };
    let bus = entry.event_bus_name.as_deref().map_or(DEFAULT_BUS, arn::name_of);
    let origin =
        Origin { run: row.run, cause: Cause::Execution(row.id), hops: row.hops.saturating_add(1) };
    let mut routed = Batch::new();
    let published = engine.route(&mut routed, effects, origin, bus, &event)?;
    batch.append(routed);
    Ok(published.wire_id.to_string())
}

/// A JSON object, or text that holds one: Step Functions takes both.
fn detail(detail: Value) -> Result<Box<RawValue>, EntryError> {
    let malformed = || EntryError::new("MalformedDetail", "Detail is malformed.");
    let text = match detail {
        Value::String(text) => text,
        object @ Value::Object(_) => object.to_string(),
        _ => return Err(malformed()),
    };
    let raw = RawValue::from_string(text).map_err(|_| malformed())?;
    if raw.get().trim_start().starts_with('{') { Ok(raw) } else { Err(malformed()) }
}

/// Seconds since 1970, or RFC 3339 text.
fn parse_time(time: &Value) -> Result<Timestamp, EntryError> {
    let invalid = || {
        let message = format!("Time {time} is neither RFC 3339 text nor seconds since 1970");
        EntryError::new("InvalidArgument", message)
    };
    match time {
        Value::String(text) => Timestamp::parse(text).map_err(|_| invalid()),
        Value::Number(seconds) => {
            #[allow(clippy::cast_possible_truncation)]
            let millis = seconds.as_f64().map(|seconds| (seconds * 1000.0) as i64);
            millis.map(Timestamp).ok_or_else(invalid)
        }
        _ => Err(invalid()),
    }
}
