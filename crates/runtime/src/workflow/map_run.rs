//! A distributed map from its start to its outcome.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use stepbus_asl::{Failure, Input, MapRunOutcome, MapRunSpec, MapSource, Program, WorkflowType};
use stepbus_model::{MapRunId, crash};
use stepbus_store::{
    Batch, ExecutionRow, MapCounts, MapRunEnd, MapRunRow, MapRunStatus, MapSettings, StoreError,
};
use tokio::task::JoinSet;

use super::care::Care;
use super::child::{self, Family};
use super::driver::Arrival;
use super::pages::{self, Trouble};
use super::results;
use super::roll::{Presence, Roll};
use super::window::{self, MapRun};
use crate::engine::Engine;
use crate::threads::giving_way;

/// The execution a map run belongs to.
pub(super) struct Parent {
    pub row: ExecutionRow,
    pub program: Arc<Program>,
    /// What the program was parsed from.
    pub definition: u64,
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
        counts: MapCounts::default(),
        settings: MapSettings {
            max_concurrency: spec.max_concurrency,
            tolerated_failure_count: spec.tolerated_failure_count,
            tolerated_failure_percentage: spec.tolerated_failure_percentage,
        },
        redrives: 0,
        redriven: None,
        only_marked: false,
        definition: None,
        from_state: None,
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
        let threads = engine.threads.for_many(children_at_once(&engine, &spec));
        let carried_out =
            async move { carry_out(&of_runner, id, &parent, &spec, fresh, &here).await };
        runner.spawn_on(giving_way(carried_out), &threads);
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
        let input = Input::MapRunEnded { visit, outcome: ended.outcome };
        Arrival { batch, ..input.into() }
    })
}

/// Runs a map run that nobody waits for: a redrive of one whose execution has ended.
pub(super) async fn run_alone(engine: &Arc<Engine>, id: MapRunId) {
    loop {
        match alone(engine, id).await {
            Ok(()) => return,
            Err(error) => warn(id, &error).await,
        }
    }
}

async fn alone(engine: &Arc<Engine>, id: MapRunId) -> Result<(), StoreError> {
    let Some((_, parent, spec)) = taken_up(engine, id).await? else { return Ok(()) };
    let roll = Roll::default();
    let ended = carry_out(engine, id, &parent, &spec, false, &roll.sign(None)).await;
    crash::point("map.before_outcome");
    let mut batch = ended.batch;
    batch.end_map_run(ended.end);
    engine.store.commit(batch).await
}

/// A map run that is under way, as the store has it.
async fn taken_up(
    engine: &Engine,
    id: MapRunId,
) -> Result<Option<(MapRunRow, Parent, Arc<MapRunSpec>)>, StoreError> {
    let Some(map_run) = engine.store.map_run(id).await? else { return Ok(None) };
    if map_run.status != MapRunStatus::Running {
        return Ok(None);
    }
    let row = engine.store.execution(map_run.execution).await?;
    let row = row.ok_or_else(|| StoreError::Gone("the map run's execution".to_owned()))?;
    let definition = map_run.definition.unwrap_or(row.definition);
    let program = engine.program_of(&ExecutionRow { definition, ..row.clone() }).await?;
    let spec = Arc::new(crate::maps::spec_of(&map_run)?);
    Ok(Some((map_run, Parent { row, program, definition }, spec)))
}

/// Writes the results of a map run whose execution left it, then ends it. Its children have ended.
async fn write_and_end(engine: &Arc<Engine>, id: MapRunId) -> Result<(), StoreError> {
    let Some((row, parent, spec)) = taken_up(engine, id).await? else { return Ok(()) };
    let processor = parent.program.processor(&spec.state_path);
    let processor = processor.ok_or_else(|| StoreError::Gone(spec.state_path.clone()))?;
    let family = Arc::new(Family::new(engine, id, &parent, &spec, processor));
    let mut end = aborted(engine, id);
    let mut batch = match results::conclude(engine, &spec, &row, &family).await {
        Ok((_, written)) => written,
        Err(Trouble::Store(error)) => return Err(error),
        Err(Trouble::Failed(failure)) => {
            tracing::warn!(map_run = %id, ?failure, "the results of an aborted map run could not be written");
            (end.error, end.error_cause) = (failure.error, failure.cause);
            Batch::new()
        }
    };
    batch.end_map_run(end);
    engine.store.commit(batch).await
}

/// Has the results of an aborted map run written beside everything else.
pub(super) fn launch_end(engine: &Arc<Engine>, id: MapRunId) {
    let engine = engine.clone();
    tokio::spawn(async move {
        let written = tokio::select! {
            () = engine.stopped() => return,
            written = write_and_end(&engine, id) => written,
        };
        if let Err(error) = written {
            tracing::error!(map_run = %id, %error, "cannot end the map run; the next start does");
        }
    });
}

/// The end of a map run whose state was left.
pub(super) fn aborted(engine: &Engine, id: MapRunId) -> MapRunEnd {
    MapRunEnd {
        id,
        status: MapRunStatus::Aborted,
        at: engine.clock.now(),
        error: None,
        error_cause: None,
    }
}

/// With which children to be careful: what STANDARD ones had in flight they tell themselves.
fn care(engine: &Engine, parent: &Parent, spec: &MapRunSpec) -> Option<Care> {
    let crashes = parent.row.recoveries;
    let limits = &engine.limits;
    (crashes > 0 && spec.execution_type == WorkflowType::Express).then(|| {
        let window = window::window(limits, spec.max_concurrency);
        Care::after(crashes, limits.task_recoveries, window)
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
    let mut care = care(engine, parent, spec).filter(|_| !fresh);
    loop {
        let open = MapRun::open(engine, id, parent, spec, fresh, presence, care.take());
        let error = match open.await {
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

async fn clear_up(engine: &Arc<Engine>, id: MapRunId, failure: &Failure) -> Ended {
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
pub(super) struct Ended {
    pub outcome: MapRunOutcome,
    pub end: MapRunEnd,
    pub batch: Batch,
}

/// Ends as aborted every child that runs; nobody drives them any more.
pub(super) async fn give_up(
    engine: &Arc<Engine>,
    id: MapRunId,
    failure: &Failure,
) -> Result<Ended, StoreError> {
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

/// How many children there will be at once, as far as is known.
fn children_at_once(engine: &Engine, spec: &MapRunSpec) -> usize {
    let window = window::window(&engine.limits, spec.max_concurrency);
    match &spec.source {
        MapSource::Items(items) => items.as_array().map_or(0, Vec::len).min(window),
        MapSource::Reader(_) => window,
    }
}
