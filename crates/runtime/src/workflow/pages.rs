//! The pages of a map run: what a source gives is cut into what its children take, committed with
//! the token that leads on, and handed to the map run; after a restart read from the store first.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use stepbus_asl::{Failure, MapRunSpec, MapSource};
use stepbus_items::ReaderConfig;
use stepbus_model::{Limits, MapRunId, crash};
use stepbus_store::{Batch, ExecutionRow, ExecutionStatus, MapPageRow, StoreError};
use tokio::sync::mpsc;

use super::items::{self, Item, ItemSource, Room, SourcePage};
use crate::engine::Engine;

/// What one child takes: an item, or a batch of them.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    /// Its place among the map run's children.
    pub index: u64,
    /// The place of its first item among the items.
    pub first: u64,
    pub members: Vec<Member>,
}

/// An item with its name, when the items are the members of an object.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub key: Option<String>,
    pub value: Arc<Value>,
}

/// A page's items as a row keeps them: an array of items or, where they have names or come in
/// batches, an array of these.
#[derive(Debug, Serialize, Deserialize)]
struct KeptBatch {
    first: u64,
    items: Vec<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Batches {
    batches: Vec<KeptBatch>,
}

/// Where items stand in their source: so many behind a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Place {
    token: Option<String>,
    skip: usize,
}

impl Place {
    fn encode(&self) -> String {
        match &self.token {
            Some(token) => format!("{}:{token}", self.skip),
            None => self.skip.to_string(),
        }
    }

    fn decode(text: &str) -> Option<Place> {
        let (skip, token) = match text.split_once(':') {
            Some((skip, token)) => (skip, Some(token.to_owned())),
            None => (text, None),
        };
        Some(Place { token, skip: skip.parse().ok()? })
    }
}

/// Cuts what a source gives into pages of whole units.
#[derive(Debug)]
pub(super) struct Cutter {
    map_run: MapRunId,
    limits: Limits,
    batched: bool,
    most_items: usize,
    most_bytes: usize,
    /// Items that may still come from the source (`MaxItems`).
    allowed: u64,
    /// Numbers of the next page, unit and item.
    page: u64,
    unit: u64,
    item: u64,
    /// Items without a page, and where in the source they stand.
    pool: VecDeque<Item>,
    places: VecDeque<(Place, usize)>,
    /// Where the source is read next; none when it has been read.
    next: Option<Place>,
    version: Option<String>,
}

impl Cutter {
    pub(super) fn new(map_run: MapRunId, spec: &MapRunSpec, limits: &Limits) -> Cutter {
        let bound = |most: u64| usize::try_from(most).ok().filter(|most| *most > 0);
        let batcher = spec.batcher.as_ref();
        let most_items = batcher.map_or(Some(1), |batcher| bound(batcher.max_items_per_batch));
        let most_bytes = batcher.and_then(|batcher| bound(batcher.max_input_bytes_per_batch));
        Cutter {
            map_run,
            limits: *limits,
            batched: batcher.is_some(),
            most_items: most_items.unwrap_or(usize::MAX),
            most_bytes: most_bytes.unwrap_or(usize::MAX).min(limits.payload_bytes),
            allowed: max_items(spec, limits),
            page: 0,
            unit: 0,
            item: 0,
            pool: VecDeque::new(),
            places: VecDeque::new(),
            next: Some(Place::default()),
            version: None,
        }
    }

    /// Goes on behind a page that is in the store.
    pub(super) fn pass(&mut self, page: &MapPageRow) -> Result<(), StoreError> {
        let place = page.next_token.as_deref().map(|token| {
            let gone = || StoreError::Failed(format!("{}: no token '{token}'", self.map_run));
            Place::decode(token).ok_or_else(gone)
        });
        self.next = place.transpose()?;
        self.page = page.page + 1;
        self.unit = page.first_index + u64::from(page.count);
        self.item += u64::from(page.item_count);
        self.allowed = self.allowed.saturating_sub(u64::from(page.item_count));
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.next.is_none() && self.pool.is_empty()
    }

    /// The token to read from; none when the source has been read.
    pub(super) fn reads_at(&self) -> Option<Option<String>> {
        self.next.as_ref().map(|place| place.token.clone())
    }

    pub(super) fn room(&self) -> Room {
        let whole = self.limits.map_page_items.max(1);
        let items = match self.most_items {
            1 | usize::MAX => whole,
            // Whole batches, so that few items are read twice after a restart.
            most => whole.div_ceil(most).saturating_mul(most).min(whole * 2),
        };
        Room { items, bytes: self.limits.map_page_bytes }
    }

    /// Takes what the source gave at its place.
    pub(super) fn take(&mut self, page: SourcePage) {
        let Some(place) = self.next.take() else { return };
        self.version = page.version.or(self.version.take());
        let given = page.items.len();
        let skip = place.skip.min(given);
        let allowed = usize::try_from(self.allowed).unwrap_or(usize::MAX);
        let taken = (given - skip).min(allowed);
        self.allowed -= taken as u64;
        self.pool.extend(page.items.into_iter().skip(skip).take(taken));
        let skip_on = place.skip - skip;
        if taken > 0 {
            self.places.push_back((place, taken));
        }
        self.next = match page.next {
            Some(token) if self.allowed > 0 => Some(Place { token: Some(token), skip: skip_on }),
            _ => None,
        };
    }

    /// The next page, when the pool has a whole unit; the last one may be empty.
    pub(super) fn cut(&mut self) -> Option<MapPageRow> {
        let mut batches = Vec::new();
        while let Some(count) = self.whole_unit() {
            batches.push(self.pool.drain(..count).collect::<Vec<Item>>());
        }
        let over = self.next.is_none();
        if batches.is_empty() && !(over && self.page == 0) {
            return None;
        }
        let items: usize = batches.iter().map(Vec::len).sum();
        self.forget(items);
        let token = match self.places.front() {
            Some((place, _)) => Some(place.clone()),
            None => self.next.clone(),
        };
        let count = batches.len();
        let row = MapPageRow {
            map_run: self.map_run,
            page: self.page,
            first_index: self.unit,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            item_count: u32::try_from(items).unwrap_or(u32::MAX),
            items: self.keep(batches),
            next_token: token.map(|place| place.encode()),
        };
        self.page += 1;
        self.unit += count as u64;
        self.item += items as u64;
        Some(row)
    }

    /// How many items the next unit has, if it is whole.
    fn whole_unit(&self) -> Option<usize> {
        let (mut count, mut bytes) = (0, 0);
        for item in &self.pool {
            let size = item.value.get().len() + 1;
            if count > 0 && (count >= self.most_items || bytes + size > self.most_bytes) {
                return Some(count);
            }
            (count, bytes) = (count + 1, bytes + size);
        }
        let whole = count >= self.most_items || self.next.is_none();
        (count > 0 && whole).then_some(count)
    }

    /// Moves the first place behind so many items.
    fn forget(&mut self, mut items: usize) {
        while let Some((place, count)) = self.places.front_mut() {
            let passed = items.min(*count);
            items -= passed;
            *count -= passed;
            place.skip += passed;
            if *count > 0 {
                return;
            }
            self.places.pop_front();
        }
    }

    fn keep(&self, batches: Vec<Vec<Item>>) -> Bytes {
        let named = batches.iter().flatten().any(|item| item.key.is_some());
        let text = if self.batched || named {
            let mut first = self.item;
            let batches = batches.into_iter().map(|items| {
                let keys = items.iter().filter_map(|item| item.key.clone()).collect();
                let items: Vec<_> = items.into_iter().map(|item| item.value).collect();
                let batch = KeptBatch { first, keys, items };
                first += batch.items.len() as u64;
                batch
            });
            serde_json::to_vec(&Batches { batches: batches.collect() })
        } else {
            let items: Vec<_> = batches.into_iter().flatten().map(|item| item.value).collect();
            serde_json::to_vec(&items)
        };
        Bytes::from(text.unwrap_or_default())
    }
}

/// `MaxItems` of the reader's configuration; one that makes no sense fails when the source opens.
pub(super) fn max_items(spec: &MapRunSpec, limits: &Limits) -> u64 {
    let MapSource::Reader(reader) = &spec.source else { return u64::MAX };
    ReaderConfig::parse(&reader.config, limits).map_or(u64::MAX, |config| config.max_items)
}

/// The first page of an array in the state's data, to be committed with the map run's start.
pub(super) fn first(
    map_run: MapRunId,
    spec: &MapRunSpec,
    limits: &Limits,
) -> Result<Option<MapPageRow>, Failure> {
    let MapSource::Items(items) = &spec.source else { return Ok(None) };
    let mut cutter = Cutter::new(map_run, spec, limits);
    let members = items::Members::of(items.clone());
    cutter.take(members.read(None, cutter.room())?);
    Ok(cutter.cut())
}

/// The units of a page.
pub(super) fn units(page: &MapPageRow) -> Result<Vec<Unit>, StoreError> {
    let damaged = |error: &dyn std::fmt::Display| {
        StoreError::Failed(format!("page {} of {}: {error}", page.page, page.map_run))
    };
    let member = |key: Option<String>, value: Box<RawValue>| {
        let value = serde_json::from_str(value.get()).map_err(|error| damaged(&error))?;
        Ok(Member { key, value: Arc::new(value) })
    };
    if page.items.first() == Some(&b'[') {
        let items: Vec<Value> =
            serde_json::from_slice(&page.items).map_err(|error| damaged(&error))?;
        let units = (page.first_index..).zip(items).map(|(index, value)| {
            let members = vec![Member { key: None, value: Arc::new(value) }];
            Unit { index, first: index, members }
        });
        return Ok(units.collect());
    }
    let kept: Batches = serde_json::from_slice(&page.items).map_err(|error| damaged(&error))?;
    let unit = |(index, batch): (u64, KeptBatch)| {
        let mut keys = batch.keys.into_iter();
        let members = batch.items.into_iter().map(|item| member(keys.next(), item));
        Ok(Unit { index, first: batch.first, members: members.collect::<Result<_, _>>()? })
    };
    (page.first_index..).zip(kept.batches).map(unit).collect()
}

/// A page whose children may start.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Items of the page, ended ones included.
    pub items: u64,
    pub units: VecDeque<Unit>,
    /// Children in flight when the process ended.
    pub running: BTreeMap<u64, ExecutionRow>,
    /// Children that did not succeed and are to run again.
    pub again: BTreeMap<u64, ExecutionRow>,
}

/// Why a map run cannot go on.
#[derive(Debug)]
pub(super) enum Trouble {
    Store(StoreError),
    /// The map run fails.
    Failed(Failure),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Trouble::Store(error)
    }
}

/// What a map run's pages are made from.
pub(super) struct Pump {
    pub engine: Arc<Engine>,
    pub id: MapRunId,
    pub spec: Arc<MapRunSpec>,
    pub pinned: Option<String>,
    /// No child has begun yet.
    pub fresh: bool,
    /// Only children that have begun go on.
    pub only_known: bool,
    /// Only pages that are in the store count.
    pub only_stored: bool,
}

impl Pump {
    /// Hands the pages over one after the other, committing those that are not in the store; the
    /// channel's bound is how far it is ahead of the children.
    pub(super) async fn run(self, to: &mpsc::Sender<Result<Loaded, Trouble>>) {
        if let Err(trouble) = self.pump(to).await {
            let _ = to.send(Err(trouble)).await;
        }
    }

    async fn pump(&self, to: &mpsc::Sender<Result<Loaded, Trouble>>) -> Result<(), Trouble> {
        let mut cutter = Cutter::new(self.id, &self.spec, &self.engine.limits);
        while let Some(page) = self.engine.store.map_page(self.id, cutter.page).await? {
            cutter.pass(&page)?;
            if to.send(Ok(self.load(&page, self.fresh).await?)).await.is_err() {
                return Ok(());
            }
            if cutter.is_done() {
                return Ok(());
            }
        }
        if self.only_known || self.only_stored {
            return Ok(());
        }
        let mut source = items::open(&self.engine, &self.spec, self.pinned.as_deref())
            .await
            .map_err(Trouble::Failed)?;
        while !cutter.is_done() {
            let page = self.produce(&mut cutter, &mut *source).await?;
            let Some(page) = page else { continue };
            if to.send(Ok(self.load(&page, true).await?)).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads from the source and commits a page, if that makes a whole unit.
    async fn produce(
        &self,
        cutter: &mut Cutter,
        source: &mut dyn ItemSource,
    ) -> Result<Option<MapPageRow>, Trouble> {
        if let Some(token) = cutter.reads_at() {
            let read = source.page(token.as_deref(), cutter.room()).await;
            cutter.take(read.map_err(Trouble::Failed)?);
        }
        let Some(page) = cutter.cut() else { return Ok(None) };
        let mut batch = Batch::new();
        if self.pinned.is_none()
            && page.page == 0
            && let Some(version) = cutter.version.clone()
        {
            batch.pin_map_source(self.id, version);
        }
        batch.add_map_page(page.clone());
        crash::point("map.before_page");
        self.engine.store.commit(batch).await?;
        crash::point("map.after_page");
        Ok(Some(page))
    }

    /// The units of a page whose child has not ended.
    async fn load(&self, page: &MapPageRow, fresh: bool) -> Result<Loaded, StoreError> {
        let mut loaded = Loaded { items: u64::from(page.item_count), ..Loaded::default() };
        let mut ended = HashSet::new();
        if !fresh {
            let to = page.first_index + u64::from(page.count);
            for row in self.engine.store.map_children(self.id, page.first_index, to).await? {
                let Some((_, index)) = row.item else { continue };
                if row.status == ExecutionStatus::Running {
                    loaded.running.insert(index, row);
                } else if row.awaits_redrive {
                    loaded.again.insert(index, row);
                } else {
                    ended.insert(index);
                }
            }
        }
        let (running, again) = (&loaded.running, &loaded.again);
        let known = |index| running.contains_key(&index) || again.contains_key(&index);
        let only_known = self.only_known;
        let mut units = units(page)?;
        units.retain(|unit| !ended.contains(&unit.index) && (!only_known || known(unit.index)));
        loaded.units = units.into();
        Ok(loaded)
    }
}
