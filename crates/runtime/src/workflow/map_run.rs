//! A distributed map: pages of items are committed first, then a bounded window of children runs.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use stepbus_asl::map::{MapCounts, exceeds_tolerance, tolerance_exceeded};
use stepbus_asl::{Failure, Input, MapRunOutcome, MapRunSpec, MapSource, Program};
use stepbus_model::{MapRunId, crash};
use stepbus_store::{
    Batch, ExecutionRow, ExecutionStatus, ItemCounts, MapRunEnd, MapRunRow, MapRunStatus,
    StoreError,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::child::{self, Family};
use super::driver::Arrival;
use super::pages::{self, Loaded, Pump, Trouble, Unit};
use super::results;
use super::roll::{Presence, Roll};
use crate::engine::Engine;

/// The execution a map run belongs to.
pub(super) struct Parent {
    pub row: ExecutionRow,
    pub program: Arc<Program>,
}

/// Adds the map run to the batch, and the first page of its items when the state has them.
pub(super) fn begin(
    engine: &Engine,
    parent: &ExecutionRow,
    spec: &MapRunSpec,
    batch: &mut Batch,
) -> Result<MapRunId, Failure> {
    let id = MapRunId(engine.store.next_id());
    // The journal holds the array, or what it is computed from.
    let source = match &spec.source {
        MapSource::Items(_) => MapSource::Items(Arc::new(Value::Null)),
        MapSource::Reader(reader) => MapSource::Reader(reader.clone()),
    };
    let kept = MapRunSpec { source, ..spec.clone() };
    let first = pages::first(id, spec, &engine.limits)?;
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
        source_version: None,
        error: None,
        error_cause: None,
    });
    if let Some(page) = first {
        batch.add_map_page(page);
        crash::point("map.before_page");
    }
    Ok(id)
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
        let (of_runner, spec) = (engine.clone(), Arc::new(*spec));
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
    spec: &Arc<MapRunSpec>,
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
    row: MapRunRow,
    family: Arc<Family>,
    spec: &'a Arc<MapRunSpec>,
    counts: ItemCounts,
    /// Items of the pages that came.
    total: u64,
    pages: mpsc::Receiver<Result<Loaded, Trouble>>,
    /// What came of the pages and is not started yet.
    waiting: Loaded,
    /// All pages have come.
    all_here: bool,
    children: JoinSet<Result<Tally, StoreError>>,
    /// The children at work, with all that works for them.
    roll: Roll,
    presence: &'a Arc<Presence>,
}

/// What became of a child, and of how many items.
struct Tally {
    status: ExecutionStatus,
    items: i64,
}

impl<'a> MapRun<'a> {
    async fn open(
        engine: &'a Arc<Engine>,
        id: MapRunId,
        parent: &Parent,
        spec: &'a Arc<MapRunSpec>,
        fresh: bool,
        presence: &'a Arc<Presence>,
    ) -> Result<MapRun<'a>, StoreError> {
        let row = engine.store.map_run(id).await?;
        let row = row.ok_or_else(|| StoreError::Gone(id.to_string()))?;
        let processor = parent.program.processor(&spec.state_path);
        let processor = processor.ok_or_else(|| StoreError::Gone(spec.state_path.clone()))?;
        let family = Family::new(engine, id, parent, spec, processor);
        let roll = Roll::default();
        let (to, pages) = mpsc::channel(engine.limits.map_pages_ahead.max(1));
        let pump = Pump {
            engine: engine.clone(),
            id,
            spec: spec.clone(),
            pinned: row.source_version.clone(),
            fresh,
        };
        let here = roll.sign(Some(presence.clone()));
        tokio::spawn(async move {
            let _here = here;
            tokio::select! {
                () = to.closed() => {}
                () = pump.run(&to) => {}
            }
        });
        Ok(MapRun {
            engine,
            family: Arc::new(family),
            spec,
            counts: row.counts,
            total: 0,
            row,
            pages,
            waiting: Loaded::default(),
            all_here: false,
            children: JoinSet::new(),
            roll,
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
                let Some(unit) = self.waiting.units.pop_front() else { break };
                if let Err(failure) = self.start(unit) {
                    return self.give_up(failure).await;
                }
            }
            if self.all_here && self.children.is_empty() {
                return self.succeed().await;
            }
            let hungry = !self.all_here && self.waiting.units.is_empty();
            tokio::select! {
                Some(ended) = self.children.join_next(), if !self.children.is_empty() => {
                    let tally = match ended {
                        Ok(tally) => tally?,
                        Err(panic) => {
                            let failure = Failure::new("States.Runtime", panic.to_string());
                            return self.give_up(failure).await;
                        }
                    };
                    self.count(&tally);
                    if self.too_many_failed() {
                        return self.give_up(tolerance_exceeded()).await;
                    }
                }
                page = self.pages.recv(), if hungry => match page {
                    Some(Ok(loaded)) => {
                        self.total += loaded.items;
                        self.waiting = loaded;
                    }
                    Some(Err(Trouble::Store(error))) => return Err(error),
                    Some(Err(Trouble::Failed(failure))) => return self.give_up(failure).await,
                    None => self.all_here = true,
                },
            }
        }
    }

    fn count(&mut self, tally: &Tally) {
        *self.counts.column(tally.status) += tally.items;
    }

    fn too_many_failed(&self) -> bool {
        let failed = u64::try_from(self.counts.ended() - self.counts.succeeded).unwrap_or(0);
        let counts = MapCounts { total: self.total(), failed };
        let spec = self.spec;
        exceeds_tolerance(counts, spec.tolerated_failure_count, spec.tolerated_failure_percentage)
    }

    /// How many items there are; while the source is still being read nobody knows, and no share
    /// of them can be too large.
    fn total(&self) -> u64 {
        match &self.spec.source {
            MapSource::Items(items) => items.as_array().map_or(0, |items| items.len() as u64),
            MapSource::Reader(_) if self.all_here => self.total,
            MapSource::Reader(_) => u64::MAX,
        }
    }

    fn start(&mut self, unit: Unit) -> Result<(), Failure> {
        let (engine, family) = (self.engine.clone(), self.family.clone());
        let presence = self.roll.sign(Some(self.presence.clone()));
        let items = i64::try_from(unit.members.len()).unwrap_or(i64::MAX);
        if let Some(row) = self.waiting.running.remove(&unit.index) {
            self.children.spawn(async move {
                let status = child::resume(engine, &family, row, presence).await?;
                Ok(Tally { status, items })
            });
            return Ok(());
        }
        let input = family.input(&unit)?;
        let new = child::New { unit, input };
        self.children.spawn(async move {
            let status = child::run(engine, &family, new, presence).await?;
            Ok(Tally { status, items })
        });
        Ok(())
    }

    /// The results go where they are to go; their output is the state's.
    async fn succeed(&mut self) -> Result<Ended, StoreError> {
        let end = MapRunEnd {
            id: self.row.id,
            status: MapRunStatus::Succeeded,
            at: self.engine.clock.now(),
            error: None,
            error_cause: None,
        };
        match self.results().await {
            Ok(results) => Ok(Ended {
                outcome: MapRunOutcome::Succeeded(Arc::new(results)),
                end,
                batch: Batch::new(),
            }),
            Err(Trouble::Failed(failure)) => Ok(Ended {
                end: MapRunEnd {
                    status: MapRunStatus::Failed,
                    error: failure.error.clone(),
                    error_cause: failure.cause.clone(),
                    ..end
                },
                outcome: MapRunOutcome::Failed(failure),
                batch: Batch::new(),
            }),
            Err(Trouble::Store(error)) => Err(error),
        }
    }

    async fn results(&self) -> Result<Value, Trouble> {
        let sink = results::open(self.engine, self.spec, &self.row).await;
        let mut sink = sink.map_err(Trouble::Failed)?;
        results::tell(self.engine, self.row.id, &self.family, &mut *sink).await?;
        sink.finish().await.map_err(Trouble::Failed)
    }

    /// Stops the children and waits until nothing of them is left.
    async fn halt(&mut self) {
        self.pages.close();
        self.children.shutdown().await;
        self.roll.empty().await;
        // What they had handed over for commit comes before whatever is read next.
        let _ = self.engine.store.commit(Batch::new()).await;
    }

    async fn give_up(&mut self, failure: Failure) -> Result<Ended, StoreError> {
        self.halt().await;
        let ended = give_up(self.engine, self.row.id, &failure).await?;
        if self.spec.result_writer.is_none() {
            return Ok(ended);
        }
        // The writer tells of the children as they are recorded.
        self.engine.store.commit(ended.batch).await?;
        match self.results().await {
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::Failed(failure)) => {
                tracing::warn!(map_run = %self.row.id, ?failure, "the results of a failed map run could not be written");
            }
            Ok(_) => {}
        }
        Ok(Ended { batch: Batch::new(), ..ended })
    }
}
