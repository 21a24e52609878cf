//! The children of a map run: started, resumed, and ended when their map run is.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Value, json};
use stepbus_asl::{Bounds, Failure, MapItem, MapRunSpec, Program, SEMANTICS, Start};
use stepbus_model::{ExecutionId, MapRunId, RunId, arn};
use stepbus_store::{
    Batch, Cause, ExecutionEnd, ExecutionRow, ExecutionStatus, ItemCounts, MapRunEnd, MapRunStatus,
    StoreError,
};

use super::driver::{Driver, Fate};
use super::kind;
use super::map_run::Parent;
use super::roll::{Presence, Roll};
use crate::engine::Engine;

/// What all children of a map run have in common.
pub(super) struct Family {
    map_run: MapRunId,
    run: RunId,
    parent: ExecutionRow,
    program: Arc<Program>,
    processor: Arc<Program>,
    spec: MapRunSpec,
    state_machine_arn: Arc<str>,
    state_machine_name: Arc<str>,
    bounds: Bounds,
}

impl Family {
    pub(super) fn new(
        engine: &Engine,
        map_run: MapRunId,
        parent: &Parent,
        spec: &MapRunSpec,
        processor: Arc<Program>,
    ) -> Family {
        let catalogue = engine.catalogue();
        let workflow = catalogue.name(parent.row.workflow);
        let name = format!("{workflow}/{}", spec.label);
        Family {
            map_run,
            run: parent.row.run,
            parent: parent.row.clone(),
            program: parent.program.clone(),
            processor,
            spec: spec.clone(),
            state_machine_arn: arn::state_machine(&name).into(),
            state_machine_name: name.into(),
            bounds: Bounds::from(&engine.limits),
        }
    }

    /// What the child for an item, or for a batch of items, begins with.
    pub(super) fn input(&self, index: u64, item: &Arc<Value>) -> Result<Arc<Value>, Failure> {
        let select = |index: u64, item: &Arc<Value>| {
            self.program.map_item_input(&self.spec.state_path, &self.spec.scope, index, item)
        };
        let Some(batcher) = &self.spec.batcher else { return select(index, item) };
        let first = item["first"].as_u64().unwrap_or(0);
        let members = item["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let selected: Result<Vec<Arc<Value>>, Failure> = (first..)
            .zip(members)
            .map(|(index, item)| select(index, &Arc::new(item.clone())))
            .collect();
        let mut input = json!({ "Items": selected? });
        if let Some(batch_input) = &batcher.batch_input {
            input["BatchInput"] = batch_input.clone();
        }
        Ok(Arc::new(input))
    }

    fn launch(&self, engine: &Engine, new: New) -> (ExecutionRow, Start) {
        let New { index, item, input } = new;
        // Named by map run and item, so an EXPRESS child that starts again after a crash is,
        // to the outside, the same one.
        let identity = format!("{}/{index}", self.map_run);
        let name = engine.derived_name(&identity).to_string();
        let start = Start {
            input,
            execution_arn: arn::execution(&self.state_machine_name, &name).into(),
            execution_name: name.as_str().into(),
            state_machine_arn: self.state_machine_arn.clone(),
            state_machine_name: self.state_machine_name.clone(),
            role_arn: None,
            seed: engine.seed(&identity),
            workflow_type: self.spec.execution_type,
            map_item: Some(MapItem {
                index,
                value: item,
                key: None,
                source: Some("STATE_DATA".to_owned()),
            }),
            bounds: self.bounds,
        };
        let row = ExecutionRow {
            id: ExecutionId(engine.store.next_id()),
            run: self.run,
            workflow: self.parent.workflow,
            definition: self.parent.definition,
            kind: kind(self.spec.execution_type),
            name,
            cause: Cause::MapRun(self.map_run),
            hops: self.parent.hops,
            item: Some((self.map_run, index)),
            status: ExecutionStatus::Running,
            idle: false,
            wake: None,
            started: engine.clock.now(),
            ended: None,
            output: None,
            error: None,
            error_cause: None,
            recoveries: 0,
            semantics: SEMANTICS,
        };
        (row, start)
    }
}

/// A child that is to begin.
pub(super) struct New {
    pub index: u64,
    pub item: Arc<Value>,
    pub input: Arc<Value>,
}

/// The items of a map run: those of the state, or batches of them.
pub(super) fn items_of(items: &Value, spec: &MapRunSpec) -> Vec<Value> {
    let members = items.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(batcher) = &spec.batcher else { return members.to_vec() };
    let most = |bound: u64| if bound == 0 { u64::MAX } else { bound };
    let (most_items, most_bytes) =
        (most(batcher.max_items_per_batch), most(batcher.max_input_bytes_per_batch));
    let mut batches = Vec::new();
    let (mut batch, mut bytes, mut first) = (Vec::new(), 0, 0);
    for (index, item) in members.iter().enumerate() {
        let size = item.to_string().len() as u64 + 1;
        if !batch.is_empty() && (batch.len() as u64 >= most_items || bytes + size > most_bytes) {
            batches.push(json!({ "first": first, "items": std::mem::take(&mut batch) }));
            (bytes, first) = (0, index);
        }
        bytes += size;
        batch.push(item.clone());
    }
    if !batch.is_empty() {
        batches.push(json!({ "first": first, "items": batch }));
    }
    batches
}

/// Runs the child of an item to its end.
pub(super) async fn run(
    engine: Arc<Engine>,
    family: &Family,
    new: New,
    presence: Arc<Presence>,
) -> Result<ExecutionStatus, StoreError> {
    let (row, start) = family.launch(&engine, new);
    let mut driver = Driver::child(engine, row, family.processor.clone(), start, presence);
    ended(driver.run().await?)
}

/// Takes up a child that was in flight when the process ended.
pub(super) async fn resume(
    engine: Arc<Engine>,
    family: &Family,
    row: ExecutionRow,
    presence: Arc<Presence>,
) -> Result<ExecutionStatus, StoreError> {
    let processor = family.processor.clone();
    let mut driver = Driver::resumed(engine, row, processor, None, Some(presence)).await?;
    ended(driver.run().await?)
}

fn ended(fate: Fate) -> Result<ExecutionStatus, StoreError> {
    match fate {
        Fate::Ended(status) => Ok(status),
        Fate::Parked(_) => Err(StoreError::Failed("a map's child left memory".to_owned())),
    }
}

/// Adds the end of every item that has none: running children and items without a child. Nobody
/// drives them any more, and nobody else does the same at the same time.
pub(super) async fn abort_remaining(
    engine: &Engine,
    map_run: MapRunId,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    // What the children had handed over for commit before they were stopped comes first.
    engine.store.commit(Batch::new()).await?;
    let Some(row) = engine.store.map_run(map_run).await? else { return Ok(()) };
    let total = u64::try_from(row.counts.total).unwrap_or(0);
    let step = engine.limits.page_rows as u64;
    let mut running = HashSet::new();
    for from in (0..total).step_by(usize::try_from(step).unwrap_or(1)) {
        for child in engine.store.map_children(map_run, from, from + step).await? {
            if child.status == ExecutionStatus::Running {
                running.insert(child.id);
                batch.end_execution(&child, aborted(engine));
            }
        }
    }
    let never_began =
        row.counts.total - row.counts.ended() - i64::try_from(running.len()).unwrap_or(0);
    batch.count_items(map_run, ItemCounts { aborted: never_began, ..ItemCounts::default() });
    for inner in engine.store.map_runs_of_run(row.run).await? {
        if inner.status == MapRunStatus::Running && running.contains(&inner.execution) {
            Box::pin(end_abandoned(engine, inner.id)).await?;
        }
    }
    Ok(())
}

/// Ends a map run whose state was left, once nobody is at work on it.
pub(super) fn abandon(engine: &Arc<Engine>, map_run: MapRunId, at_work: Roll) {
    let engine = engine.clone();
    tokio::spawn(async move {
        at_work.empty().await;
        let _one_at_a_time = engine.executions.sweeping.lock().await;
        if let Err(error) = end_abandoned(&engine, map_run).await {
            tracing::error!(%map_run, %error, "cannot end the map run; the next start does");
        }
    });
}

/// Ends a map run that nobody is at work on, unless it has ended.
pub(super) async fn end_abandoned(engine: &Engine, map_run: MapRunId) -> Result<(), StoreError> {
    let row = engine.store.map_run(map_run).await?;
    if row.is_none_or(|row| row.status != MapRunStatus::Running) {
        return Ok(());
    }
    let mut batch = Batch::new();
    abort_remaining(engine, map_run, &mut batch).await?;
    batch.end_map_run(MapRunEnd {
        id: map_run,
        status: MapRunStatus::Aborted,
        at: engine.clock.now(),
        error: None,
        error_cause: None,
    });
    engine.store.commit(batch).await
}

/// Ends a child whose map run has ended without it; others are their map run's business.
pub(super) async fn sweep_orphan(
    engine: &Engine,
    map_run: MapRunId,
    child: ExecutionRow,
) -> Result<(), StoreError> {
    match engine.store.map_run(map_run).await? {
        Some(row) if row.status == MapRunStatus::Running => Ok(()),
        _ => {
            let mut batch = Batch::new();
            batch.end_execution(&child, aborted(engine));
            engine.store.commit(batch).await
        }
    }
}

fn aborted(engine: &Engine) -> ExecutionEnd {
    ExecutionEnd {
        status: ExecutionStatus::Aborted,
        at: engine.clock.now(),
        output: None,
        error: None,
        error_cause: None,
    }
}
