//! Pages of the retained log for whoever asks.

use stepbus_model::{EventId, ResourceId, Timestamp};
use stepbus_pattern::{Matcher, Pattern, Scratch};
use stepbus_store::{EventRow, LogRange, Store, StoreError};

use crate::engine::Engine;

/// Pages looked at for one answer: who asks for what is rare is told how far was looked.
const PAGES: usize = 16;

/// Which events of a bus.
#[derive(Debug, Clone)]
pub struct LogQuery {
    pub bus: ResourceId,
    /// The first event to look at.
    pub from: EventId,
    /// Accepted at that time or later.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    pub pattern: Option<Pattern>,
    pub limit: usize,
}

/// Events in the order of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage {
    pub events: Vec<EventRow>,
    /// Where to go on; none when the end of what is settled was reached. Nothing will appear
    /// before it.
    pub next: Option<EventId>,
}

impl Engine {
    /// The events of a bus that pass the query, oldest first, up to the log's horizon: none will
    /// appear among them later.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log(&self, query: &LogQuery) -> Result<LogPage, StoreError> {
        let below = self.store.horizon();
        let mut from = query.from;
        if let Some(since) = query.since {
            from = from.max(self.first_event_since(query.bus, since).await?);
        }
        let matcher = query.pattern.as_ref().map(|pattern| {
            let matcher = Matcher::within(&self.limits);
            matcher.add((), pattern);
            matcher
        });
        let mut scratch = Scratch::default();
        let mut passes = |event: &EventRow| {
            query.since.is_none_or(|since| event.at >= since)
                && query.until.is_none_or(|until| event.at < until)
                && matcher.as_ref().is_none_or(|matcher| {
                    matcher
                        .matches(&event.envelope, &mut scratch)
                        .is_ok_and(|found| !found.is_empty())
                })
        };
        let (rows, bytes) = (self.limits.log_page_events.max(1), self.limits.log_page_bytes);
        let mut events = Vec::new();
        for _ in 0..PAGES {
            let page =
                self.store.log_page(LogRange { bus: query.bus, from, below, rows, bytes }).await?;
            let Some(last) = page.last() else { return Ok(LogPage { events, next: None }) };
            let past = query.until.is_some_and(|until| last.at.0 >= until.0 + SLACK_MS);
            let full = page.len() >= rows;
            for event in page {
                from = EventId(event.id.0 + 1);
                if passes(&event) {
                    events.push(event);
                    if events.len() >= query.limit {
                        return Ok(LogPage { events, next: Some(from) });
                    }
                }
            }
            if past {
                return Ok(LogPage { events, next: None });
            }
            if !full && from >= below {
                return Ok(LogPage { events, next: None });
            }
        }
        Ok(LogPage { events, next: Some(from) })
    }

    /// An event of the bus before which none was accepted at `since` or later. The order of ids is
    /// that of times but for what is published at the same moment, so a little more is given.
    pub(crate) async fn first_event_since(
        &self,
        bus: ResourceId,
        since: Timestamp,
    ) -> Result<EventId, StoreError> {
        let since = Timestamp(since.0.saturating_sub(SLACK_MS));
        exactly_since(&*self.store, bus, since).await
    }
}

/// The first event of the bus that was accepted at `since` or later, as far as the order of ids is
/// that of times.
pub(crate) async fn exactly_since(
    store: &dyn Store,
    bus: ResourceId,
    since: Timestamp,
) -> Result<EventId, StoreError> {
    let (mut low, mut high) = (0, store.horizon().0);
    while low < high {
        let middle = low + (high - low) / 2;
        let (from, below) = (EventId(middle), EventId(high));
        match store.log_page(LogRange { bus, from, below, rows: 1, bytes: 1 }).await?.first() {
            Some(event) if event.at < since => low = event.id.0 + 1,
            _ => high = middle,
        }
    }
    Ok(EventId(low))
}

/// How far the order of times may be off that of ids.
pub(crate) const SLACK_MS: i64 = 60_000;
