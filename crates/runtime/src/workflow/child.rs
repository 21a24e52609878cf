//! The children of a map run: started, resumed, and ended when their map run is.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::map::batch_input;
use stepbus_asl::{
    Bounds, Command, Execution, Failure, Input, MapItem, MapRunSpec, Program, Resumption,
    SEMANTICS, Start,
};
use stepbus_model::{ExecutionId, MapRunId, RunId, arn};
use stepbus_store::{
    Batch, Cause, ExecutionEnd, ExecutionKind, ExecutionRow, ExecutionStatus, JournalRow,
    MapResultRow, MapRunStatus, StoreError,
};
use uuid::Uuid;

use super::care::Watch;
use super::driver::{Driver, Ending, Fate, Place, end};
use super::items::source_name;
use super::map_run::{self, Parent};
use super::pages::{Member, Trouble, Unit};
use super::results::{self, ChildResult};
use super::roll::{Presence, Roll};
use super::{journal, kind, redrive, sync};
use crate::engine::Engine;
use crate::maps::spec_of;

/// What all children of a map run have in common.
pub(super) struct Family {
    map_run: MapRunId,
    run: RunId,
    parent: ExecutionRow,
    /// The definition the children begin by.
    definition: u64,
    program: Arc<Program>,
    processor: Arc<Program>,
    spec: Arc<MapRunSpec>,
    source: Arc<str>,
    state_machine_arn: Arc<str>,
    state_machine_name: Arc<str>,
    /// What the children's ARNs begin with.
    arns: String,
    bounds: Bounds,
}

impl Family {
    pub(super) fn new(
        engine: &Engine,
        map_run: MapRunId,
        parent: &Parent,
        spec: &Arc<MapRunSpec>,
        processor: Arc<Program>,
    ) -> Family {
        let catalogue = engine.catalogue();
        let workflow = catalogue.name(parent.row.workflow);
        let name = format!("{workflow}/{}", spec.label);
        Family {
            map_run,
            run: parent.row.run,
            parent: parent.row.clone(),
            definition: parent.definition,
            program: parent.program.clone(),
            processor,
            spec: spec.clone(),
            source: source_name(spec).into(),
            state_machine_arn: arn::state_machine(&name).into(),
            arns: arn::execution(&name, ""),
            state_machine_name: name.into(),
            bounds: Bounds::from(&engine.limits),
        }
    }

    pub(super) fn has_definition_of(&self, row: &ExecutionRow) -> bool {
        self.definition == row.definition
    }

    /// What the child for an item, or for a batch of items, begins with.
    pub(super) fn input(&self, unit: &Unit) -> Result<Arc<Value>, Failure> {
        let mut selected = (unit.first..).zip(&unit.members).map(|(index, member)| {
            let item = self.map_item(index, member);
            self.program.map_item_input(&self.spec.state_path, &self.spec.scope, &item)
        });
        match &self.spec.batcher {
            None => selected.next().unwrap_or_else(|| Ok(Arc::new(Value::Null))),
            Some(batcher) => {
                let items = selected.map(|item| item.map(Arc::unwrap_or_clone));
                let items = items.collect::<Result<Vec<Value>, Failure>>()?;
                Ok(Arc::new(batch_input(items, batcher)))
            }
        }
    }

    fn map_item(&self, index: u64, member: &Member) -> MapItem {
        MapItem {
            index,
            value: member.value.clone(),
            key: member.key.clone(),
            source: Some(self.source.clone()),
        }
    }

    /// `Map.Item` as the child sees it: its item, or of a batch the whole input.
    fn own_item(&self, unit: &Unit, input: &Arc<Value>) -> MapItem {
        match (&self.spec.batcher, unit.members.first()) {
            (None, Some(member)) => self.map_item(unit.index, member),
            _ => {
                let member = Member { key: None, value: input.clone() };
                self.map_item(unit.index, &member)
            }
        }
    }

    /// Names a child by map run and item, so an EXPRESS child that starts again after a crash is,
    /// to the outside, the same one.
    fn identity(&self, engine: &Engine, index: u64) -> Uuid {
        engine.derived_name(format_args!("{}/{index}", self.map_run))
    }

    fn arn(&self, name: &str) -> String {
        [&self.arns, name].concat()
    }

    /// The child of that number as a sink is told of it.
    pub(super) fn result<'r>(
        &'r self,
        engine: &Engine,
        index: u64,
        row: Option<&'r MapResultRow>,
    ) -> ChildResult<'r> {
        let state_machine_arn = &self.state_machine_arn;
        let Some(row) = row else {
            let name = self.identity(engine, index).to_string();
            return ChildResult {
                arn: self.arn(&name),
                name: name.into(),
                state_machine_arn,
                ..ChildResult::default()
            };
        };
        ChildResult {
            status: Some(row.status),
            arn: self.arn(&row.name),
            name: row.name.as_str().into(),
            state_machine_arn,
            started: Some(row.started),
            ended: row.ended,
            input: None,
            output: row.output.as_deref(),
            error: row.error.as_deref(),
            error_cause: row.error_cause.as_deref(),
            redrive_count: row.redrives,
        }
    }

    /// Begins the child that takes these items; `old` is the one whose place it takes, which it may
    /// go on with.
    pub(super) fn begin(
        &self,
        engine: &Engine,
        unit: Unit,
        old: Option<ExecutionRow>,
        resumption: Option<Box<Resumption>>,
    ) -> Result<Begun, Failure> {
        let input = self.input(&unit)?;
        let index = unit.index;
        let items = u32::try_from(unit.members.len()).unwrap_or(u32::MAX);
        let identity = self.identity(engine, index);
        let name = identity.to_string();
        let start = Arc::new(Start {
            map_item: Some(self.own_item(&unit, &input)),
            input,
            execution_arn: self.arn(&name).into(),
            execution_name: name.as_str().into(),
            state_machine_arn: self.state_machine_arn.clone(),
            state_machine_name: self.state_machine_name.clone(),
            role_arn: None,
            seed: identity.as_u64_pair().0,
            workflow_type: self.spec.execution_type,
            resumption,
            bounds: self.bounds,
        });
        let row = ExecutionRow {
            id: old.as_ref().map_or_else(|| ExecutionId(engine.store.next_id()), |old| old.id),
            run: self.run,
            workflow: self.parent.workflow,
            definition: self.definition,
            kind: kind(self.spec.execution_type),
            name,
            cause: Cause::MapRun(self.map_run),
            hops: self.parent.hops,
            item: Some((self.map_run, index)),
            items,
            redrives: old.as_ref().map_or(0, |old| old.redrives + 1),
            redriven: old.as_ref().map(|_| engine.clock.now()),
            awaits_redrive: false,
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
        let entry = Input::Started(start.clone());
        let (execution, commands) = Execution::begin(&self.processor, row.started, start);
        Ok(Begun { row, execution, commands, entry, old: old.map(Box::new) })
    }
}

/// A child that has begun; nothing of it is in the store.
pub(super) struct Begun {
    pub row: ExecutionRow,
    pub execution: Execution,
    pub commands: Vec<Command>,
    /// What it began with, for its journal.
    pub entry: Input,
    /// The child whose place it takes.
    pub old: Option<Box<ExecutionRow>>,
}

impl Begun {
    /// It has ended, and nothing is to be done for it.
    pub(super) fn is_over(&self) -> bool {
        let acts =
            |command: &Command| matches!(command, Command::RunTask(_) | Command::StartMapRun(_));
        self.execution.outcome().is_some() && !self.commands.iter().any(acts)
    }

    /// The end of a child that is over.
    pub(super) fn ending(self) -> Option<Ending> {
        let Begun { row, execution, entry, old, .. } = self;
        let end = end(execution.outcome()?, execution.latest());
        let entries = journal::encode(&[(row.started, entry)]);
        let journal = JournalRow { execution: row.id, first: 0, count: 1, entries };
        Some(Ending::new(row, Place::New { replaces: old }, end, Some(journal)))
    }
}

/// What became of a child that was driven.
pub(super) struct Ended {
    pub status: ExecutionStatus,
    /// To be committed, unless that has happened.
    pub ending: Option<Box<Ending>>,
}

/// Runs a child that has begun to its end.
pub(super) fn run(
    engine: Arc<Engine>,
    family: &Family,
    begun: Begun,
    presence: Arc<Presence>,
    watch: Watch,
) -> impl Future<Output = Result<Ended, StoreError>> + Send + use<> {
    let mut driver = Driver::child(engine, begun, family.processor.clone(), presence);
    if let Watch::MayNotCall(crashes) = watch {
        driver.may_not_call(crashes);
    }
    to_its_end(driver)
}

/// Takes up a child that was in flight when the process ended.
pub(super) async fn resume(
    engine: Arc<Engine>,
    family: &Family,
    row: ExecutionRow,
    presence: Arc<Presence>,
) -> Result<Ended, StoreError> {
    let processor = family.processor.clone();
    let driver = Driver::resumed(engine, row, processor, None, Some(presence));
    let driver = Box::new(Box::pin(driver).await?);
    to_its_end(driver).await
}

/// Has a child that did not succeed go on from where it failed, or from a state that it was in.
pub(super) async fn redrive(
    engine: Arc<Engine>,
    family: &Family,
    (row, unit): (ExecutionRow, Unit),
    state: Option<&str>,
    presence: Arc<Presence>,
) -> Result<Ended, Trouble> {
    let found = match state {
        None => None,
        // One that was to run again already, before a state was named, need not have entered it.
        state => redrive::entry(&engine, &row, state).await?.ok(),
    };
    let anew = found.is_none() && row.kind == ExecutionKind::Express;
    if anew || row.definition != family.definition {
        let begun = family.begin(&engine, unit, Some(row), found.map(Box::new));
        let begun = begun.map_err(Trouble::Failed)?;
        return Ok(run(engine, family, begun, presence, Watch::No).await?);
    }
    let input = found.map_or(Input::Redriven, |found| Input::RedrivenFrom(Box::new(found.entry)));
    let row = redrive::reopen(&engine, row, engine.clock.now(), Batch::new(), input).await?;
    Ok(resume(engine, family, row, presence).await?)
}

async fn to_its_end(mut driver: Box<Driver>) -> Result<Ended, StoreError> {
    match driver.run().await? {
        Fate::Ended(status) => Ok(Ended { status, ending: driver.take_ending() }),
        Fate::Parked(_) => Err(StoreError::Failed("a map's child left memory".to_owned())),
    }
}

/// Adds the end of every child that runs; items without a child stay pending. Nobody drives them
/// any more, and nobody else does the same at the same time.
pub(super) async fn abort_remaining(
    engine: &Arc<Engine>,
    map_run: MapRunId,
    batch: &mut Batch,
) -> Result<(), StoreError> {
    // What the children had handed over for commit before they were stopped comes first.
    engine.store.commit(Batch::new()).await?;
    let Some(row) = engine.store.map_run(map_run).await? else { return Ok(()) };
    let mut running = HashSet::new();
    for child in engine.store.running_children(map_run).await? {
        running.insert(child.id);
        engine.executions.cut_off.lock().remove(&child.id);
        batch.end_execution(&child, aborted(engine));
        batch.close_tasks(child.id);
    }
    if running.is_empty() {
        return Ok(());
    }
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
        match end_abandoned(&engine, map_run).await {
            Ok(()) => sync::settle_all(&engine),
            Err(error) => {
                tracing::error!(%map_run, %error, "cannot end the map run; the next start does");
            }
        }
    });
}

/// Ends a map run that nobody is at work on, unless it has ended. One that writes results ends
/// when they are written.
pub(super) async fn end_abandoned(
    engine: &Arc<Engine>,
    map_run: MapRunId,
) -> Result<(), StoreError> {
    let row = engine.store.map_run(map_run).await?;
    let Some(row) = row.filter(|row| row.status == MapRunStatus::Running) else { return Ok(()) };
    let mut batch = Batch::new();
    abort_remaining(engine, map_run, &mut batch).await?;
    let writes = results::writes(&spec_of(&row)?);
    if !writes {
        batch.end_map_run(map_run::aborted(engine, map_run));
    }
    engine.store.commit(batch).await?;
    if writes {
        map_run::launch_end(engine, map_run);
    }
    Ok(())
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
            batch.close_tasks(child.id);
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
