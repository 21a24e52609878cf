//! Where the items of a map run come from: read page by page, each page with the token that leads
//! to the next one.

mod object;
mod objects;
mod pages;
mod rows;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;
use serde_json::value::RawValue;
use stepbus_asl::{Failure, MapRunSpec, MapSource};
use stepbus_items::ItemFault;

use crate::engine::Engine;

const GET_OBJECT: &str = "arn:aws:states:::s3:getObject";
const LIST_OBJECTS: &str = "arn:aws:states:::s3:listObjectsV2";
/// Items from an HTTP endpoint, page after page. AWS has no such reader, so the name is ours.
pub const ITEM_PAGES: &str = "arn:stepbus:items:::http:pages";

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

/// A source whose failures all are the reader's.
trait Reads: Send {
    /// As [`ItemSource::page`].
    fn read(
        &mut self,
        token: Option<&str>,
        room: Room,
    ) -> impl Future<Output = Result<SourcePage, ItemFault>> + Send;
}

impl<S: Reads> ItemSource for S {
    fn page<'a>(
        &'a mut self,
        token: Option<&'a str>,
        room: Room,
    ) -> BoxFuture<'a, Result<SourcePage, Failure>> {
        Box::pin(async move { self.read(token, room).await.map_err(|fault| reader_failed(&fault)) })
    }
}

/// `Map.Item.Source` of the context object.
pub(super) fn source_name(spec: &MapRunSpec) -> String {
    let MapSource::Reader(reader) = &spec.source else { return "STATE_DATA".to_owned() };
    let text = |name: &str| reader.arguments.get(name).and_then(Value::as_str).unwrap_or_default();
    match reader.resource.as_str() {
        GET_OBJECT => format!("S3://{}/{}", text("Bucket"), text("Key")),
        LIST_OBJECTS => format!("S3://{}", text("Bucket")),
        ITEM_PAGES => text("ApiEndpoint").to_owned(),
        other => other.to_owned(),
    }
}

/// Opens the source of a map run. `pinned` is the version its first page was read from.
pub(super) async fn open(
    engine: &Arc<Engine>,
    spec: &MapRunSpec,
    pinned: Option<&str>,
) -> Result<Box<dyn ItemSource>, Failure> {
    let reader = match &spec.source {
        MapSource::Items(items) => return Ok(Box::new(Members::of(items.clone()))),
        MapSource::Reader(reader) => reader,
    };
    match reader.resource.as_str() {
        GET_OBJECT | LIST_OBJECTS => {
            objects::open(&engine.connect, reader, &engine.limits, pinned).await
        }
        ITEM_PAGES => Ok(Box::new(pages::open(engine, reader)?)),
        other => Err(reader_failed(&ItemFault(format!(
            "The ItemReader resource {other} is not offered; there are: {GET_OBJECT}, \
             {LIST_OBJECTS}, {ITEM_PAGES}"
        )))),
    }
}

fn reader_failed(fault: &ItemFault) -> Failure {
    Failure::new("States.ItemReaderFailed", fault.0.clone())
}

fn item(read: stepbus_items::Item) -> Result<Item, ItemFault> {
    let value = RawValue::from_string(read.json).map_err(|error| ItemFault(error.to_string()))?;
    Ok(Item { key: read.key, value })
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
