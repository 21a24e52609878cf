//! A distributed map from its start to its outcome.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::Value;
use stepbus_asl::{Failure, Input, MapRunOutcome, MapRunSpec, MapSource, Program};
use stepbus_model::{MapRunId, crash};
use stepbus_store::{
    Batch, ExecutionRow, MapCounts, MapRunEnd, MapRunRow, MapRunStatus, MapSettings, StoreError,
};
use tokio::task::JoinSet;

use super::child;
use super::driver::Arrival;
use super::pages;
use super::roll::{Presence, Roll};
use super::window::MapRun;
use crate::engine::Engine;

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
    let gone = |what: &str| StoreError::Gone(what.to_owned());
    let Some(map_run) = engine.store.map_run(id).await? else { return Ok(()) };
    if map_run.status != MapRunStatus::Running {
        return Ok(());
    }
    let row = engine.store.execution(map_run.execution).await?;
    let row = row.ok_or_else(|| gone("the map run's execution"))?;
    let definition = map_run.definition.unwrap_or(row.definition);
    let program = engine.program_of(&ExecutionRow { definition, ..row.clone() }).await?;
    let spec = Arc::new(crate::maps::spec_of(&map_run)?);
    let parent = Parent { row, program, definition };
    let roll = Roll::default();
    let ended = carry_out(engine, id, &parent, &spec, false, &roll.sign(None)).await;
    crash::point("map.before_outcome");
    let mut batch = ended.batch;
    batch.end_map_run(ended.end);
    engine.store.commit(batch).await
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
pub(super) struct Ended {
    pub outcome: MapRunOutcome,
    pub end: MapRunEnd,
    pub batch: Batch,
}

/// Ends as aborted every child that runs; nobody drives them any more.
pub(super) async fn give_up(
    engine: &Engine,
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
