//! Events: published by hand, and read from the retained log.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use stepbus_model::{Event, EventId, Timestamp};
use stepbus_pattern::Pattern;
use stepbus_runtime::{Entry, EntryError, EventView, LogQuery};
use stepbus_store::Priority;

use super::{Page, id};
use crate::Face;
use crate::error::ApiError;

#[derive(Debug, Deserialize)]
pub(super) struct List {
    bus: Option<String>,
    after: Option<String>,
    /// RFC 3339.
    since: Option<String>,
    until: Option<String>,
    /// An event pattern.
    pattern: Option<String>,
    limit: Option<usize>,
}

pub(super) async fn list(
    State(face): State<Face>,
    Query(query): Query<List>,
) -> Result<Json<Vec<EventView>>, ApiError> {
    let limit = Page { limit: query.limit }.size(face.engine.limits().page_rows)?;
    let after = query.after.as_ref().map_or(Ok(EventId(0)), |text| id(text))?;
    let since = query.since.as_deref().map(time).transpose()?;
    let until = query.until.as_deref().map(time).transpose()?;
    let pattern = query.pattern.as_ref().map(|text| {
        Pattern::parse(text.as_bytes()).map_err(|error| ApiError::invalid(error.to_string()))
    });
    let pattern = pattern.transpose()?;
    let Some(name) = &query.bus else {
        if since.is_some() || until.is_some() || pattern.is_some() {
            let message = "a time or pattern goes with a bus: its log is read";
            return Err(ApiError::invalid(message));
        }
        return Ok(Json(face.engine.events(None, after, limit).await?));
    };
    let catalogue = face.engine.catalogue();
    let bus = catalogue.buses.get(name);
    let bus = bus.ok_or_else(|| ApiError::not_found(&format!("bus '{name}'")))?.id;
    let from = EventId(after.0 + 1);
    let mut asked = LogQuery { bus, from, since, until, pattern, limit };
    let mut events = Vec::new();
    loop {
        let page = face.engine.log(&asked).await?;
        events.extend(page.events.into_iter().map(|row| face.engine.event_view(row)));
        match page.next {
            Some(next) if events.len() < limit => {
                asked.from = next;
                asked.limit = limit - events.len();
            }
            _ => return Ok(Json(events)),
        }
    }
}

pub(super) fn time(text: &str) -> Result<Timestamp, ApiError> {
    Timestamp::parse(text).map_err(|_| {
        ApiError::invalid(format!("'{text}' is no time; write for example 2026-01-31T08:00:00Z"))
    })
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    /// Each is read by itself: what is wrong with one says nothing of the others.
    entries: Vec<Box<RawValue>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    bus: String,
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    detail: Box<RawValue>,
    #[serde(default)]
    resources: Vec<String>,
    /// Of the run that the event starts.
    #[serde(default)]
    priority: Priority,
    /// By which the event counts as the same for 5 minutes, should it come again.
    dedup_id: Option<String>,
    /// Whatever that run delivers is sent although it is unchanged.
    #[serde(default)]
    force: bool,
}

/// Each entry has its result in its place: an id and a run, or why it was refused.
pub(super) async fn put(
    State(face): State<Face>,
    put: Result<Json<Put>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(put) = put.map_err(|rejection| {
        ApiError::new(rejection.status(), "ValidationException", rejection.body_text())
    })?;
    let most = face.engine.limits().put_events_entries;
    if put.entries.is_empty() || put.entries.len() > most {
        let count = put.entries.len();
        return Err(ApiError::invalid(format!("{count} entries; allowed are 1 to {most}")));
    }
    let mut sound = Vec::with_capacity(put.entries.len());
    let mut refused = Vec::with_capacity(put.entries.len());
    for (number, text) in put.entries.iter().enumerate() {
        match entry(number, text.get()) {
            Ok(entry) => {
                sound.push(entry);
                refused.push(None);
            }
            Err(error) => refused.push(Some(error)),
        }
    }
    let published =
        if sound.is_empty() { Vec::new() } else { face.engine.publish("operator", sound).await? };
    let mut published = published.into_iter();
    let results: Vec<_> = refused
        .into_iter()
        .filter_map(|error| error.map_or_else(|| published.next(), |error| Some(Err(error))))
        .collect();
    let failed = results.iter().filter(|result| result.is_err()).count();
    let entries: Vec<Value> = results
        .into_iter()
        .map(|result| match result {
            Ok(published) => json!({
                "event": published.id, "id": published.wire_id, "run": published.run,
            }),
            Err(error) => json!({ "error": error.code, "message": error.message }),
        })
        .collect();
    Ok(Json(json!({ "failed": failed, "entries": entries })))
}

/// The entry that a text holds, or why there is none.
fn entry(number: usize, text: &str) -> Result<Entry, EntryError> {
    let refused = |code, message| Err(EntryError { code, message });
    // As deep as in the envelope: what passes here can be read back from there.
    if let Err(error) = serde_json::from_str::<Value>(text) {
        return refused("MalformedDetail", format!("entries[{number}] cannot be read: {error}"));
    }
    let written: Written = match serde_json::from_str(text) {
        Ok(written) => written,
        Err(error) => {
            let message = format!("entries[{number}] is not valid: {error} of the entry");
            return refused("InvalidArgument", message);
        }
    };
    if !written.detail.get().trim_start().starts_with('{') {
        let message = format!("entries[{number}].detail must be a JSON object");
        return refused("MalformedDetail", message);
    }
    let Written { bus, source, detail_type, detail, resources, priority, dedup_id, force } =
        written;
    let event = Event { source, detail_type, detail, resources, time: None };
    Ok(Entry { bus, event, priority, dedup_id, force })
}
