//! Where the items of a map run come from: read page by page, each page with the token that leads
//! to the next one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use serde_json::value::RawValue;
use stepbus_asl::{Failure, MapRunSpec, MapSource};

use crate::engine::Engine;

/// One item as it was read.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// The member's name when the items are the members of a JSON object.
    pub key: Option<String>,
    pub value: Box<RawValue>,
}

/// Items that follow one another in their source.
#[derive(Debug, Default)]
pub(crate) struct SourcePage {
    pub items: Vec<Item>,
    /// Where the next page begins; none when this is the last one.
    pub next: Option<String>,
    /// The source's version (an ETag, a hash) where it has one.
    pub version: Option<String>,
}

/// How much a page may hold. A source gives at least one item, however large, unless it has none
/// left, and may give fewer than there is room for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub items: usize,
    pub bytes: usize,
}

/// A source of items. The same token gives the same items again, also after a restart: a source
/// that cannot promise this is pinned to a version and fails when that is gone.
pub(crate) trait ItemSource: Send {
    /// The items from `token` on, from the first one when there is none. Failures that may pass
    /// are retried inside; what is returned ends the map run.
    fn page<'a>(
        &'a mut self,
        token: Option<&'a str>,
        room: Room,
    ) -> BoxFuture<'a, Result<SourcePage, Failure>>;
}

/// `Map.Item.Source` of the context object.
pub(super) fn source_name(spec: &MapRunSpec) -> String {
    match &spec.source {
        MapSource::Items(_) => "STATE_DATA".to_owned(),
        MapSource::Reader(reader) => reader.resource.clone(),
    }
}

/// Opens the source of a map run. `pinned` is the version its first page was read from.
pub(super) async fn open(
    _engine: &Arc<Engine>,
    spec: &MapRunSpec,
    _pinned: Option<&str>,
) -> Result<Box<dyn ItemSource>, Failure> {
    match &spec.source {
        MapSource::Items(items) => Ok(Box::new(Members::of(items.clone()))),
        MapSource::Reader(reader) => {
            let cause = format!("The ItemReader resource {} is not offered", reader.resource);
            Err(Failure::new("States.ItemReaderFailed", cause))
        }
    }
}

/// The members of an array from the state's data. The journal holds it, so it needs no version.
pub(super) struct Members(Arc<Value>);

impl Members {
    pub(super) fn of(items: Arc<Value>) -> Members {
        Members(items)
    }

    pub(super) fn read(&self, token: Option<&str>, room: Room) -> Result<SourcePage, Failure> {
        let members = self.0.as_array().map(Vec::as_slice).unwrap_or_default();
        let from = token.map_or(Ok(0), str::parse::<usize>);
        let from = from.map_err(|error| unreadable(token.unwrap_or_default(), &error))?;
        let mut page = SourcePage::default();
        let mut bytes = 0;
        for member in members.iter().skip(from).take(room.items.max(1)) {
            let text = member.to_string();
            bytes += text.len();
            if bytes > room.bytes && !page.items.is_empty() {
                break;
            }
            let value = RawValue::from_string(text).map_err(|error| unreadable("", &error))?;
            page.items.push(Item { key: None, value });
        }
        let to = from + page.items.len();
        page.next = (to < members.len()).then(|| to.to_string());
        Ok(page)
    }
}

fn unreadable(token: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        "States.Runtime",
        format!("The map's items cannot be read from '{token}': {error}"),
    )
}

impl ItemSource for Members {
    fn page<'a>(
        &'a mut self,
        token: Option<&'a str>,
        room: Room,
    ) -> BoxFuture<'a, Result<SourcePage, Failure>> {
        Box::pin(async move { self.read(token, room) })
    }
}
