//! A distributed map: pages of items are committed first, then a bounded window of children runs.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use stepbus_asl::map::{MapCounts, exceeds_tolerance, tolerance_exceeded};
use stepbus_asl::{Failure, Input, MapRunOutcome, MapRunSpec, MapSource, Program};
use stepbus_model::{MapRunId, crash};
use stepbus_store::{
    Batch, ExecutionRow, ExecutionStatus, ItemCounts, MapPageRow, MapRunEnd, MapRunRow,
    MapRunStatus, StoreError,
};
use tokio::task::JoinSet;

use super::child::{self, Family};
use super::driver::Arrival;
use super::roll::{Presence, Roll};
use crate::engine::Engine;

/// The execution a map run belongs to.
pub(super) struct Parent {
    pub row: ExecutionRow,
    pub program: Arc<Program>,
}

/// Adds the map run and all pages of its items to the batch.
pub(super) fn begin(
    engine: &Engine,
    parent: &ExecutionRow,
    spec: &MapRunSpec,
    batch: &mut Batch,
) -> Result<MapRunId, Failure> {
    let items = match &spec.source {
        MapSource::Items(items) => items.clone(),
        MapSource::Reader(reader) => {
            let cause = format!("The ItemReader resource {} is not offered", reader.resource);
            return Err(Failure::new("States.ItemReaderFailed", cause));
        }
    };
    if let Some(writer) = &spec.result_writer {
        let resource = writer.resource.as_deref().unwrap_or("none");
        let cause = format!("The ResultWriter resource {resource} is not offered");
        return Err(Failure::new("States.ResultWriterFailed", cause));
    }
    let id = MapRunId(engine.store.next_id());
    let kept = MapRunSpec { source: MapSource::Items(Arc::new(Value::Null)), ..spec.clone() };
    batch.start_map_run(MapRunRow {
        id,
        run: parent.run,
        execution: parent.id,
        visit: spec.visit.0,
        status: MapRunStatus::Running,
        started: engine.clock.now(),
        ended: None,
        counts: ItemCounts::default(),
        spec: Bytes::from(serde_json::to_vec(&kept).unwrap_or_default()),
        error: None,
        error_cause: None,
    });
    for page in pages(engine, id, &child::items_of(&items, spec)) {
        batch.add_map_page(page);
    }
    crash::point("map.before_page");
    Ok(id)
}

fn pages(engine: &Engine, id: MapRunId, items: &[Value]) -> Vec<MapPageRow> {
    let mut pages = Vec::new();
    let (mut texts, mut bytes, mut first) = (Vec::new(), 0, 0);
    for (index, item) in items.iter().enumerate() {
        let text = item.to_string();
        let full = texts.len() >= engine.limits.map_page_items
            || bytes + text.len() > engine.limits.map_page_bytes;
        if full && !texts.is_empty() {
            pages.push(page(id, pages.len(), first, &texts));
            (texts, bytes, first) = (Vec::new(), 0, index);
        }
        bytes += text.len();
        texts.push(text);
    }
    if !texts.is_empty() {
        pages.push(page(id, pages.len(), first, &texts));
    }
    let count = pages.len();
    for (number, page) in pages.iter_mut().enumerate() {
        page.next_token = (number + 1 < count).then(|| (number + 1).to_string());
    }
    pages
}

fn page(map_run: MapRunId, number: usize, first: usize, texts: &[String]) -> MapPageRow {
    MapPageRow {
        map_run,
        page: number as u64,
        first_index: first as u64,
        count: u32::try_from(texts.len()).unwrap_or(u32::MAX),
        items: Bytes::from(format!("[{}]", texts.join(","))),
        next_token: None,
    }
}

/// Runs the children and gives the outcome, to be committed with the map run's end.
pub(super) fn run(
    engine: Arc<Engine>,
    id: MapRunId,
    parent: Parent,
    spec: Box<MapRunSpec>,
    fresh: bool,
    presence: Arc<Presence>,
) -> BoxFuture<'static, Arrival> {
    Box::pin(async move {
        crash::point("map.after_page");
        let visit = spec.visit;
        let at_work = Roll::default();
        let here = at_work.sign(Some(presence));
        // In a task of its own: many children must not slow the parent's other branches.
        let mut runner = JoinSet::new();
        let of_runner = engine.clone();
        runner.spawn(async move { carry_out(&of_runner, id, &parent, &spec, fresh, &here).await });
        let ended = match runner.join_next().await {
            Some(Ok(ended)) => ended,
            lost => {
                let panic = lost.and_then(Result::err);
                let cause = panic.map_or_else(String::new, |error| error.to_string());
                at_work.empty().await;
                clear_up(&engine, id, &Failure::new("States.Runtime", cause)).await
            }
        };
        crash::point("map.before_outcome");
        let mut batch = ended.batch;
        batch.end_map_run(ended.end);
        Arrival { input: Input::MapRunEnded { visit, outcome: ended.outcome }, batch }
    })
}

/// Runs the children; when the store fails, goes on from what it holds.
async fn carry_out(
    engine: &Arc<Engine>,
    id: MapRunId,
    parent: &Parent,
    spec: &MapRunSpec,
    mut fresh: bool,
    presence: &Arc<Presence>,
) -> Ended {
    loop {
        let error = match MapRun::open(engine, id, parent, spec, fresh, presence).await {
            Ok(mut map_run) => match map_run.finish().await {
                Ok(ended) => return ended,
                Err(error) => {
                    map_run.halt().await;
                    error
                }
            },
            Err(error) => error,
        };
        fresh = false;
        warn(id, &error).await;
    }
}

async fn clear_up(engine: &Engine, id: MapRunId, failure: &Failure) -> Ended {
    loop {
        match give_up(engine, id, failure).await {
            Ok(ended) => return ended,
            Err(error) => warn(id, &error).await,
        }
    }
}

async fn warn(id: MapRunId, error: &StoreError) {
    tracing::error!(map_run = %id, %error, "the store failed; the map run goes on from what it holds");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
}

/// A map run's outcome and what is committed with it.
struct Ended {
    outcome: MapRunOutcome,
    end: MapRunEnd,
    batch: Batch,
}

/// Counts every item that did not end as aborted; nobody drives the children any more.
async fn give_up(engine: &Engine, id: MapRunId, failure: &Failure) -> Result<Ended, StoreError> {
    let mut batch = Batch::new();
    let _one_at_a_time = engine.executions.sweeping.lock().await;
    child::abort_remaining(engine, id, &mut batch).await?;
    Ok(Ended {
        end: MapRunEnd {
            id,
            status: MapRunStatus::Failed,
            at: engine.clock.now(),
            error: failure.error.clone(),
            error_cause: failure.cause.clone(),
        },
        outcome: MapRunOutcome::Failed(failure.clone()),
        batch,
    })
}

struct MapRun<'a> {
    engine: &'a Arc<Engine>,
    id: MapRunId,
    family: Arc<Family>,
    spec: &'a MapRunSpec,
    counts: ItemCounts,
    /// Items of the page that is being started, not started yet.
    waiting: VecDeque<(u64, Arc<Value>)>,
    next_page: Option<u64>,
    /// Children in flight when the process ended, by item; only while the store is caught up with.
    resumed: HashMap<u64, ExecutionRow>,
    fresh: bool,
    children: JoinSet<Result<ExecutionStatus, StoreError>>,
    /// The children at work, with all that works for them.
    roll: Roll,
    presence: &'a Arc<Presence>,
}

impl<'a> MapRun<'a> {
    async fn open(
        engine: &'a Arc<Engine>,
        id: MapRunId,
        parent: &Parent,
        spec: &'a MapRunSpec,
        fresh: bool,
        presence: &'a Arc<Presence>,
    ) -> Result<MapRun<'a>, StoreError> {
        let row = engine.store.map_run(id).await?;
        let row = row.ok_or_else(|| StoreError::Gone(id.to_string()))?;
        let processor = parent.program.processor(&spec.state_path);
        let processor = processor.ok_or_else(|| StoreError::Gone(spec.state_path.clone()))?;
        let family = Family::new(engine, id, parent, spec, processor);
        Ok(MapRun {
            engine,
            id,
            family: Arc::new(family),
            spec,
            counts: row.counts,
            waiting: VecDeque::new(),
            next_page: Some(0),
            resumed: HashMap::new(),
            fresh,
            children: JoinSet::new(),
            roll: Roll::default(),
            presence,
        })
    }

    fn window(&self) -> usize {
        let most = self.engine.limits.map_concurrency;
        match usize::try_from(self.spec.max_concurrency) {
            Ok(0) | Err(_) => most,
            Ok(wanted) => wanted.min(most),
        }
    }

    async fn finish(&mut self) -> Result<Ended, StoreError> {
        let window = self.window();
        loop {
            while self.children.len() < window {
                let Some((index, item)) = self.next_item().await? else { break };
                if let Err(failure) = self.start(index, item) {
                    return self.give_up(failure).await;
                }
            }
            let Some(ended) = self.children.join_next().await else { break };
            let status = match ended {
                Ok(status) => status?,
                Err(panic) => {
                    return self.give_up(Failure::new("States.Runtime", panic.to_string())).await;
                }
            };
            self.count(status);
            if self.too_many_failed() {
                return self.give_up(tolerance_exceeded()).await;
            }
        }
        self.succeed().await
    }

    fn count(&mut self, status: ExecutionStatus) {
        match status {
            ExecutionStatus::Succeeded => self.counts.succeeded += 1,
            ExecutionStatus::Failed | ExecutionStatus::Running => self.counts.failed += 1,
            ExecutionStatus::TimedOut => self.counts.timed_out += 1,
            ExecutionStatus::Aborted => self.counts.aborted += 1,
        }
    }

    fn too_many_failed(&self) -> bool {
        let failed = u64::try_from(self.counts.ended() - self.counts.succeeded).unwrap_or(0);
        let counts = MapCounts { total: self.total(), failed };
        let spec = self.spec;
        exceeds_tolerance(counts, spec.tolerated_failure_count, spec.tolerated_failure_percentage)
    }

    fn total(&self) -> u64 {
        u64::try_from(self.counts.total).unwrap_or(0)
    }

    /// The next item without a child that ended.
    async fn next_item(&mut self) -> Result<Option<(u64, Arc<Value>)>, StoreError> {
        loop {
            if let Some(next) = self.waiting.pop_front() {
                return Ok(Some(next));
            }
            let Some(number) = self.next_page else { return Ok(None) };
            let Some(page) = self.engine.store.map_page(self.id, number).await? else {
                self.next_page = None;
                return Ok(None);
            };
            self.next_page = page.next_token.as_ref().map(|_| number + 1);
            self.take_page(&page).await?;
        }
    }

    async fn take_page(&mut self, page: &MapPageRow) -> Result<(), StoreError> {
        let items: Vec<Arc<Value>> = serde_json::from_slice(&page.items).map_err(|error| {
            StoreError::Failed(format!("page {} of {}: {error}", page.page, self.id))
        })?;
        let mut ended = HashMap::new();
        if !self.fresh {
            let to = page.first_index + u64::from(page.count);
            for row in self.engine.store.map_children(self.id, page.first_index, to).await? {
                let Some((_, index)) = row.item else { continue };
                if row.status == ExecutionStatus::Running {
                    self.resumed.insert(index, row);
                } else {
                    ended.insert(index, ());
                }
            }
        }
        let indexed = (page.first_index..).zip(items);
        self.waiting.extend(indexed.filter(|(index, _)| !ended.contains_key(index)));
        Ok(())
    }

    fn start(&mut self, index: u64, item: Arc<Value>) -> Result<(), Failure> {
        let (engine, family) = (self.engine.clone(), self.family.clone());
        let presence = self.roll.sign(Some(self.presence.clone()));
        if let Some(row) = self.resumed.remove(&index) {
            self.children.spawn(async move { child::resume(engine, &family, row, presence).await });
            return Ok(());
        }
        let input = family.input(index, &item)?;
        let new = child::New { index, item, input };
        self.children.spawn(async move { child::run(engine, &family, new, presence).await });
        Ok(())
    }

    async fn succeed(&mut self) -> Result<Ended, StoreError> {
        let end = MapRunEnd {
            id: self.id,
            status: MapRunStatus::Succeeded,
            at: self.engine.clock.now(),
            error: None,
            error_cause: None,
        };
        match self.results().await? {
            Ok(results) => Ok(Ended {
                outcome: MapRunOutcome::Succeeded(Arc::new(results)),
                end,
                batch: Batch::new(),
            }),
            Err(failure) => Ok(Ended {
                end: MapRunEnd {
                    status: MapRunStatus::Failed,
                    error: failure.error.clone(),
                    error_cause: failure.cause.clone(),
                    ..end
                },
                outcome: MapRunOutcome::Failed(failure),
                batch: Batch::new(),
            }),
        }
    }

    /// The outputs in the order of the items, if they fit into a payload.
    async fn results(&self) -> Result<Result<Value, Failure>, StoreError> {
        let (mut results, mut bytes) = (Vec::new(), 2);
        let step = self.engine.limits.page_rows as u64;
        for from in (0..self.total()).step_by(usize::try_from(step).unwrap_or(1)) {
            for row in self.engine.store.map_children(self.id, from, from + step).await? {
                let Some(output) = row.output else { continue };
                bytes += output.len() + 1;
                if bytes > self.engine.limits.payload_bytes {
                    let cause = format!(
                        "The results of the map's children are larger than {} bytes. Use a \
                         ResultWriter, or have them return less",
                        self.engine.limits.payload_bytes
                    );
                    return Ok(Err(Failure::new("States.DataLimitExceeded", cause)));
                }
                let value = serde_json::from_slice(&output)
                    .map_err(|error| StoreError::Failed(format!("{}: {error}", row.id)))?;
                results.push(value);
            }
        }
        Ok(Ok(Value::Array(results)))
    }

    /// Stops the children and waits until nothing of them is left.
    async fn halt(&mut self) {
        self.children.shutdown().await;
        self.roll.empty().await;
        // What they had handed over for commit comes before whatever is read next.
        let _ = self.engine.store.commit(Batch::new()).await;
    }

    async fn give_up(&mut self, failure: Failure) -> Result<Ended, StoreError> {
        self.halt().await;
        give_up(self.engine, self.id, &failure).await
    }
}
