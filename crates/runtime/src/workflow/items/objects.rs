//! `s3:getObject` and `s3:listObjectsV2`: items of one object, of the objects a manifest or a
//! listing names, or the entries of a listing.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stepbus_asl::{Failure, ItemReader};
use stepbus_connect::{Bucket, Connect, Entry, Version};
use stepbus_items::{
    CsvSettings, Format, Item, ItemFault, Manifest, ManifestType, Position, ReaderConfig,
    Transformation, parse_athena, parse_inventory,
};
use stepbus_model::{Limits, arn};

use super::object::{OnChange, OpenObject, Start, fault};
use super::{ItemSource, Reads, Room, SourcePage, item, reader_failed};

/// Where reading goes on: an object, the version it had, and the place in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// A number for those of a manifest, a key for those of a listing.
    object: String,
    size: u64,
    etag: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    at: Position,
}

/// Which objects there are to read.
enum Objects {
    One { key: String, version: Option<String> },
    Listed(Listing),
    Manifest(Vec<(Bucket, String)>),
}

/// Objects in the order of their keys.
struct Listing {
    bucket: Bucket,
    prefix: String,
    window: usize,
    entries: VecDeque<Entry>,
    /// Of the last entry read from the bucket.
    last: Option<String>,
    more: bool,
}

/// Items of objects, one object after the other.
pub(super) struct ObjectItems {
    bucket: Bucket,
    objects: Objects,
    format: Format,
    on_change: OnChange,
    limits: Limits,
    /// Of the manifest, or of the only object.
    pinned: Option<String>,
    open: Option<(String, OpenObject)>,
    /// An item of the open object that was read and did not fit, and where it stands.
    ahead: Option<(Position, Item)>,
    /// The token that leads to where this stands.
    stands_at: Option<String>,
    begun: bool,
}

/// The entries of a listing.
pub(super) struct Entries(Listing);

/// Opens what the reader's arguments and configuration say.
pub(super) async fn open(
    connect: &Connect,
    reader: &ItemReader,
    limits: &Limits,
    pinned: Option<&str>,
) -> Result<Box<dyn ItemSource>, Failure> {
    opened(connect, reader, limits, pinned).await.map_err(|fault| reader_failed(&fault))
}

async fn opened(
    connect: &Connect,
    reader: &ItemReader,
    limits: &Limits,
    pinned: Option<&str>,
) -> Result<Box<dyn ItemSource>, ItemFault> {
    let config = ReaderConfig::parse(&reader.config, limits)?;
    let bucket = bucket(connect, &reader.arguments)?;
    let on_change = match text(&reader.arguments, "OnSourceChange")? {
        None | Some("FAIL") => OnChange::Fail,
        Some("CONTINUE") => OnChange::Continue,
        Some(other) => {
            let message =
                format!("OnSourceChange `{other}` is not known; there are: FAIL, CONTINUE");
            return Err(ItemFault(message));
        }
    };
    let source = Opening { connect, bucket, limits, on_change, pinned };
    if reader.resource.ends_with(":listObjectsV2") {
        source.listing(&config, &reader.arguments)
    } else {
        source.object(&config, &reader.arguments).await
    }
}

struct Opening<'a> {
    connect: &'a Connect,
    bucket: Bucket,
    limits: &'a Limits,
    on_change: OnChange,
    pinned: Option<&'a str>,
}

impl Opening<'_> {
    fn listing(
        self,
        config: &ReaderConfig,
        arguments: &Value,
    ) -> Result<Box<dyn ItemSource>, ItemFault> {
        let listing = Listing {
            bucket: self.bucket.clone(),
            prefix: text(arguments, "Prefix")?.unwrap_or_default().to_owned(),
            window: self.limits.listing_window,
            entries: VecDeque::new(),
            last: None,
            more: true,
        };
        match config.transformation {
            Transformation::None => Ok(Box::new(Entries(listing))),
            Transformation::LoadAndFlatten => {
                let format = config.format()?.clone();
                Ok(self.items(Objects::Listed(listing), format))
            }
        }
    }

    async fn object(
        self,
        config: &ReaderConfig,
        arguments: &Value,
    ) -> Result<Box<dyn ItemSource>, ItemFault> {
        let key = text(arguments, "Key")?;
        let key = key.ok_or_else(|| ItemFault("`Key` is required".to_owned()))?;
        let Some(kind) = config.manifest else {
            let version = text(arguments, "VersionId")?.map(str::to_owned);
            let one = Objects::One { key: key.to_owned(), version };
            return Ok(self.items(one, config.format()?.clone()));
        };
        let (bytes, version) =
            self.bucket.read_whole(key, self.limits.manifest_bytes).await.map_err(fault)?;
        let changed = self.pinned.is_some_and(|pinned| pinned != version.etag);
        if changed && self.on_change == OnChange::Fail {
            let address = self.bucket.address(key);
            return Err(ItemFault(format!("{address} is not what it was when reading it began")));
        }
        let manifest = match kind {
            ManifestType::S3Inventory => parse_inventory(&bytes),
            ManifestType::AthenaData => parse_athena(&bytes),
        };
        let mut manifest = manifest.map_err(|fault| fault.of(&self.bucket.address(key)))?;
        let format = match (config.format()?, manifest.headers.take()) {
            (Format::Csv(settings), Some(headers)) => {
                Format::Csv(CsvSettings { headers: Some(headers), ..settings.clone() })
            }
            (format, _) => format.clone(),
        };
        let objects = self.manifest(manifest)?;
        let etag = version.etag;
        let source = ObjectItems { pinned: Some(etag), ..self.source(objects, format) };
        Ok(Box::new(source))
    }

    /// The objects a manifest lists. A bucket that is not declared is taken to be the manifest's
    /// own, under another name.
    fn manifest(&self, manifest: Manifest) -> Result<Objects, ItemFault> {
        let common = manifest.bucket.and_then(|name| self.connect.bucket(&name));
        let common = common.unwrap_or_else(|| self.bucket.clone());
        let objects = manifest.objects.into_iter().map(|(named, key)| {
            let bucket = named.and_then(|name| self.connect.bucket(&name));
            (bucket.unwrap_or_else(|| common.clone()), key)
        });
        Ok(Objects::Manifest(objects.collect()))
    }

    fn items(&self, objects: Objects, format: Format) -> Box<dyn ItemSource> {
        Box::new(self.source(objects, format))
    }

    fn source(&self, objects: Objects, format: Format) -> ObjectItems {
        ObjectItems {
            bucket: self.bucket.clone(),
            objects,
            format,
            on_change: self.on_change,
            limits: *self.limits,
            pinned: self.pinned.map(str::to_owned),
            open: None,
            ahead: None,
            stands_at: None,
            begun: false,
        }
    }
}

impl Reads for ObjectItems {
    async fn read(&mut self, token: Option<&str>, room: Room) -> Result<SourcePage, ItemFault> {
        if !self.begun || self.stands_at.as_deref() != token {
            self.seek(token).await?;
        }
        let (mut page, mut bytes) = (SourcePage::default(), 0);
        loop {
            let Some((before, read)) = self.next().await? else {
                self.stands_at = None;
                break;
            };
            let full =
                page.items.len() >= room.items.max(1) || bytes + read.json.len() > room.bytes;
            if full && !page.items.is_empty() {
                self.stands_at = self.open.as_ref().map(|open| mark(open, &before));
                page.next.clone_from(&self.stands_at);
                self.ahead = Some((before, read));
                break;
            }
            bytes += read.json.len();
            page.items.push(item(read)?);
        }
        page.version.clone_from(&self.pinned);
        Ok(page)
    }
}

impl ObjectItems {
    async fn seek(&mut self, token: Option<&str>) -> Result<(), ItemFault> {
        self.begun = true;
        (self.open, self.ahead) = (None, None);
        let Some(token) = token else {
            if let Objects::Listed(listing) = &mut self.objects {
                listing.rewind(None);
            }
            return Ok(());
        };
        let mark: Mark = serde_json::from_str(token)
            .map_err(|error| ItemFault(format!("the token {token} cannot be read: {error}")))?;
        if let Objects::Listed(listing) = &mut self.objects {
            listing.rewind(Some(mark.object.clone()));
        }
        let Some((bucket, key)) = self.place(&mark.object) else {
            return Err(ItemFault(format!(
                "the manifest lists no object {} any more",
                mark.object
            )));
        };
        let version = Version { size: mark.size, etag: mark.etag, id: mark.id };
        let start = Start { position: mark.at, version: Some(version), on_change: self.on_change };
        let open = OpenObject::open(bucket, &key, &self.format, start, &self.limits).await?;
        self.open = Some((mark.object, open));
        Ok(())
    }

    /// The next item, and where in the object that is open then it stands.
    async fn next(&mut self) -> Result<Option<(Position, Item)>, ItemFault> {
        if let Some(ahead) = self.ahead.take() {
            return Ok(Some(ahead));
        }
        loop {
            if let Some((_, open)) = &mut self.open {
                let before = open.position();
                if let Some(item) = open.next().await? {
                    return Ok(Some((before, item)));
                }
            }
            let after = self.open.take().map(|(object, _)| object);
            let Some(object) = self.object_after(after.as_deref()).await? else { return Ok(None) };
            let Some((bucket, key)) = self.place(&object) else { return Ok(None) };
            let version = self.first_version(&bucket, &key).await?;
            let position = Position::default();
            let start = Start { position, version, on_change: self.on_change };
            let open = OpenObject::open(bucket, &key, &self.format, start, &self.limits).await?;
            if let Objects::One { .. } = self.objects {
                self.pinned = Some(open.version().etag.clone());
            }
            self.open = Some((object, open));
        }
    }

    /// What the only object must be, when it was looked at before.
    async fn first_version(
        &self,
        bucket: &Bucket,
        key: &str,
    ) -> Result<Option<Version>, ItemFault> {
        let Objects::One { version, .. } = &self.objects else { return Ok(None) };
        let found = bucket.look_at(key, version.as_deref()).await.map_err(fault)?;
        let changed = self.pinned.as_ref().is_some_and(|pinned| *pinned != found.etag);
        if changed && self.on_change == OnChange::Fail {
            let address = bucket.address(key);
            return Err(ItemFault(format!("{address} is not what it was when reading it began")));
        }
        Ok(Some(found))
    }

    async fn object_after(&mut self, after: Option<&str>) -> Result<Option<String>, ItemFault> {
        Ok(match (&mut self.objects, after) {
            (Objects::One { key, .. }, None) => Some(key.clone()),
            (Objects::One { .. }, Some(_)) => None,
            (Objects::Listed(listing), _) => listing.next().await?.map(|entry| entry.key),
            (Objects::Manifest(objects), after) => {
                let next =
                    after.and_then(|after| after.parse::<usize>().ok()).map_or(0, |at| at + 1);
                (next < objects.len()).then(|| next.to_string())
            }
        })
    }

    fn place(&self, object: &str) -> Option<(Bucket, String)> {
        match &self.objects {
            Objects::One { .. } | Objects::Listed(_) => {
                Some((self.bucket.clone(), object.to_owned()))
            }
            Objects::Manifest(objects) => {
                object.parse::<usize>().ok().and_then(|at| objects.get(at)).cloned()
            }
        }
    }
}

/// The token that leads to that place.
fn mark((object, open): &(String, OpenObject), at: &Position) -> String {
    let Version { size, etag, id } = open.version().clone();
    let mark = Mark { object: object.clone(), size, etag, id, at: at.clone() };
    serde_json::to_string(&mark).unwrap_or_default()
}

impl Listing {
    fn rewind(&mut self, after: Option<String>) {
        self.entries.clear();
        (self.last, self.more) = (after, true);
    }

    async fn next(&mut self) -> Result<Option<Entry>, ItemFault> {
        while self.entries.is_empty() && self.more {
            let listed = self.bucket.list(&self.prefix, self.last.as_deref(), self.window).await;
            let (entries, more) = listed.map_err(fault)?;
            self.more = more && !entries.is_empty();
            self.last = entries.last().map(|entry| entry.key.clone()).or(self.last.take());
            self.entries.extend(entries);
        }
        Ok(self.entries.pop_front())
    }
}

impl Reads for Entries {
    /// A token is the last key before it.
    async fn read(&mut self, token: Option<&str>, room: Room) -> Result<SourcePage, ItemFault> {
        let listing = &mut self.0;
        let (mut page, mut bytes) = (SourcePage::default(), 0);
        let mut last = token.map(str::to_owned);
        // What was read ahead serves when it follows the token.
        let fits = listing.entries.front().is_some_and(|entry| Some(entry.key.as_str()) > token);
        if !fits || listing.last.is_none() {
            listing.rewind(last.clone());
        }
        while let Some(entry) = listing.next().await? {
            let text = entry_json(&entry);
            let full = page.items.len() >= room.items.max(1) || bytes + text.len() > room.bytes;
            if full && !page.items.is_empty() {
                listing.entries.push_front(entry);
                page.next = last;
                return Ok(page);
            }
            bytes += text.len();
            last = Some(entry.key);
            page.items.push(item(Item { json: text, key: None })?);
        }
        Ok(page)
    }
}

/// As ListObjectsV2 tells it. What storage class an object has is not told by every store.
fn entry_json(entry: &Entry) -> String {
    json!({
        "Etag": entry.etag,
        "Key": entry.key,
        "LastModified": entry.modified.0.div_euclid(1_000),
        "Size": entry.size,
        "StorageClass": "STANDARD",
    })
    .to_string()
}

fn bucket(connect: &Connect, arguments: &Value) -> Result<Bucket, ItemFault> {
    let named = text(arguments, "Bucket")?;
    let named = named.ok_or_else(|| ItemFault("`Bucket` is required".to_owned()))?;
    let name = arn::name_of(named);
    connect.bucket(name).ok_or_else(|| {
        ItemFault(format!(
            "there is no bucket `{name}`; declare it under `buckets` in the project file"
        ))
    })
}

fn text<'a>(arguments: &'a Value, name: &str) -> Result<Option<&'a str>, ItemFault> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(ItemFault(format!("`{name}` must be text, but is {other}"))),
    }
}
