//! Executions: started, driven, put out of memory while they wait, and taken up after a restart.

mod activities;
mod care;
mod child;
mod driver;
mod form;
mod inside;
mod items;
mod journal;
mod lambda;
mod map_run;
mod pages;
mod put_events;

mod redrive;
mod restore;
mod results;
mod roll;
mod sdk;
mod send_message;
mod start;
mod start_execution;
mod sync;
mod tasks;
#[cfg(test)]
mod tests;
mod tokens;
mod window;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use stepbus_asl::{Bounds, Failure, Input, MapRunSpec, Program, SEMANTICS, Start};
use stepbus_document::Document;
use stepbus_model::{ExecutionId, MapRunId, RunId, Timestamp, arn};
use stepbus_store::{
    Batch, Cause, ExecutionKind, ExecutionRow, ExecutionStatus, JournalRow, MapSettings, Store,
    StoreError,
};
use tokio::sync::{mpsc, oneshot};

use crate::alarms::Alarm;
use crate::catalogue::Workflow;
use crate::engine::Engine;
use crate::threads::giving_way;
use driver::{Driver, Fate};

pub(crate) use activities::Activities;
pub use activities::{ACTIVITY_POLL, ActivityError, ActivityTask, ActivityView};
pub use driver::IN_FLIGHT_AT_CRASH;
pub use inside::{OFFERED, Offer, leaves_the_process, not_offered, offered, tasks_may_call};
pub use items::ITEM_PAGES;
pub(crate) use journal::decode as decode_journal;
pub use lambda::{function_name, is_function};
pub use redrive::{RedriveError, RedriveOptions, Redriven, RerunSelection};
pub(crate) use redrive::{obstacle, redrive_spent};
pub use restore::{Restored, restore};
pub use start::{StartError, StartOptions};
pub use tasks::connection_name;
pub use tokens::TaskError;
pub(crate) use window::window;

/// An execution whose start is on disk and that is now to be driven.
#[derive(Debug)]
pub(crate) struct Launch {
    pub row: ExecutionRow,
    program: Arc<Program>,
    start: Arc<Start>,
    /// Another execution waits for its end.
    pub awaited: bool,
    /// Hears that it has ended.
    pub told: Option<oneshot::Sender<()>>,
}

/// What a new execution of a workflow needs.
#[derive(Debug)]
pub(crate) struct NewExecution {
    pub workflow: Arc<Workflow>,
    pub run: RunId,
    pub cause: Cause,
    pub hops: u16,
    pub name: Option<String>,
    pub input: Arc<Value>,
}

/// What somebody else wants of a running execution.
#[derive(Debug)]
pub(crate) enum Message {
    /// `done` hears when the end is on disk.
    Stop { failure: Failure, done: oneshot::Sender<()> },
    /// Something from outside, with what is committed along with it. `done` hears whether it was
    /// expected, when it is on disk.
    Tell { input: Input, batch: Box<Batch>, done: oneshot::Sender<bool> },
}

/// Keeps the mailbox of a map's child known as long as it is there.
#[derive(Debug)]
pub(crate) struct Line {
    engine: Arc<Engine>,
    id: ExecutionId,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.engine.executions.children.lock().remove(&self.id);
    }
}

/// How often a message follows an execution that leaves memory or ends just then.
const TRIES: u32 = 10;
/// Until an execution that could not be taken into memory is tried again.
const LATER: Duration = Duration::from_secs(1);

/// Why there is no place in memory for an execution.
enum Refused {
    Present,
    Full,
}

/// The executions in memory.
#[derive(Debug, Default)]
pub(crate) struct Executions {
    live: Mutex<HashMap<ExecutionId, mpsc::UnboundedSender<Message>>>,
    /// Children of map runs that something from outside may come for.
    children: Mutex<HashMap<ExecutionId, mpsc::UnboundedSender<Message>>>,
    /// Some could not be taken into memory; they are in the store as active.
    overflow: AtomicBool,
    programs: Mutex<HashMap<u64, Arc<Program>>>,
    /// Left memory with calls in flight that may not be sent again; see `driver::recovery`.
    cut_off: Mutex<HashSet<ExecutionId>>,
    /// Map runs at work.
    map_runs: Mutex<HashMap<MapRunId, Arc<window::Live>>>,
    /// Held while a map run's remaining items are counted and ended, so that it happens once.
    sweeping: tokio::sync::Mutex<()>,
}

impl Engine {
    /// Adds a workflow's execution and its first journal entry to the batch.
    pub(crate) fn new_execution(&self, batch: &mut Batch, new: NewExecution) -> Launch {
        let id = ExecutionId(self.store.next_id());
        let now = self.clock.now();
        let workflow = &new.workflow;
        let name = new.name.unwrap_or_else(|| self.derived_name(id).to_string());
        let start = Arc::new(Start {
            input: new.input,
            execution_arn: arn::execution(&workflow.spec.name, &name).into(),
            execution_name: name.as_str().into(),
            state_machine_arn: arn::state_machine(&workflow.spec.name).into(),
            state_machine_name: workflow.spec.name.as_str().into(),
            role_arn: None,
            seed: self.seed(id),
            workflow_type: workflow.spec.kind,
            map_item: None,
            resumption: None,
            bounds: Bounds::from(&self.limits),
        });
        let row = ExecutionRow {
            id,
            run: new.run,
            workflow: workflow.id,
            definition: workflow.definition,
            kind: kind(workflow.spec.kind),
            name,
            cause: new.cause,
            hops: new.hops,
            item: None,
            items: 1,
            redrives: 0,
            redriven: None,
            awaits_redrive: false,
            status: ExecutionStatus::Running,
            idle: false,
            wake: None,
            started: now,
            ended: None,
            output: None,
            error: None,
            error_cause: None,
            recoveries: 0,
            semantics: SEMANTICS,
        };
        batch.start_execution(row.clone());
        let first = (now, Input::Started(start.clone()));
        batch.append_journal(JournalRow {
            execution: id,
            first: 0,
            count: 1,
            entries: journal::encode(std::slice::from_ref(&first)),
        });
        let program = workflow.program.clone();
        Launch { row, program, start, awaited: false, told: None }
    }

    /// The program an execution runs: its workflow's, or for a map's child the processor of the
    /// Map state.
    pub(crate) async fn program_of(&self, row: &ExecutionRow) -> Result<Arc<Program>, StoreError> {
        let program = self.executions.program(self, row.definition).await?;
        within(&*self.store, program, row).await
    }

    /// Stops a running execution, as StopExecution does.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stop_execution(
        self: &Arc<Self>,
        id: ExecutionId,
        error: Option<String>,
        cause: Option<String>,
    ) -> Result<bool, StoreError> {
        let failure = Failure { error, cause };
        for _ in 0..TRIES {
            match self.store.execution(id).await? {
                Some(row) if row.status == ExecutionStatus::Running && row.item.is_none() => {}
                _ => return Ok(false),
            }
            let (done, ended) = oneshot::channel();
            let stop = Message::Stop { failure: failure.clone(), done };
            self.executions.send(self, id, stop)?;
            // Nobody hears it when the execution ends, or leaves memory, at the same moment.
            if ended.await.is_ok() {
                return Ok(true);
            }
        }
        Err(StoreError::Failed(format!(
            "{id} leaves memory whenever it is to be stopped; try again"
        )))
    }
}

impl Executions {
    #[must_use]
    pub(crate) fn in_memory(&self) -> usize {
        self.live.lock().len()
    }

    /// Items and children of a map run in flight here.
    pub(crate) fn in_flight(&self, map_run: MapRunId) -> (u64, u64) {
        self.map_runs.lock().get(&map_run).map_or((0, 0), |live| live.in_flight())
    }

    /// Runs a map run that was redriven after its execution had ended.
    pub(crate) fn launch_map_run(&self, engine: &Arc<Engine>, map_run: MapRunId) {
        let engine = engine.clone();
        engine.threads.back().clone().spawn(async move {
            tokio::select! {
                biased;
                () = engine.stopped() => {}
                () = map_run::run_alone(&engine, map_run) => {}
            }
        });
    }

    /// Tells a map run at work its new settings; they are on disk.
    pub(crate) fn change_map_run(&self, map_run: MapRunId, settings: MapSettings) {
        if let Some(live) = self.map_runs.lock().get(&map_run) {
            live.change(settings);
        }
    }

    /// Drives an execution that has just been committed.
    pub(crate) fn launch(&self, engine: &Arc<Engine>, launch: Launch) {
        let Ok(mailbox) = self.admit(engine, launch.row.id) else { return };
        let driver = Driver::started(engine.clone(), launch, mailbox);
        spawn(engine, driver);
    }

    /// Takes up what was under way when the process ended.
    pub(crate) async fn resume(&self, engine: &Arc<Engine>) -> Result<(), StoreError> {
        self.sweep_map_runs(engine).await?;
        self.sweep_orphans(engine).await?;
        self.load_active(engine).await?;
        sync::settle_all(engine);
        Ok(())
    }

    /// Gives a map's child a mailbox.
    fn connect(
        &self,
        engine: &Arc<Engine>,
        id: ExecutionId,
    ) -> (Line, mpsc::UnboundedReceiver<Message>) {
        let (sender, mailbox) = mpsc::unbounded_channel();
        self.children.lock().insert(id, sender);
        (Line { engine: engine.clone(), id }, mailbox)
    }

    fn send_to_child(&self, id: ExecutionId, message: Message) -> Result<(), StoreError> {
        let sent = self.children.lock().get(&id).map(|sender| sender.send(message));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => Err(StoreError::Failed(format!("{id} is not taken up yet; try again"))),
        }
    }

    /// Somebody waits for a place in memory.
    fn crowded(&self) -> bool {
        self.overflow.load(Ordering::Relaxed)
    }

    /// Ends children whose map run ended without them.
    async fn sweep_orphans(&self, engine: &Arc<Engine>) -> Result<(), StoreError> {
        let mut after = ExecutionId(0);
        loop {
            let rows = engine.store.active_executions(after, engine.limits.page_rows).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            for row in rows {
                if let Some((map_run, _)) = row.item {
                    child::sweep_orphan(engine, map_run, row).await?;
                }
            }
        }
    }

    /// Takes what is active and not in memory there, as far as there is room.
    async fn load_active(&self, engine: &Arc<Engine>) -> Result<(), StoreError> {
        let page = engine.limits.page_rows;
        let mut after = ExecutionId(0);
        loop {
            let rows = engine.store.active_executions(after, page).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            for row in rows.iter().filter(|row| row.item.is_none()) {
                self.load(engine, row.id);
            }
        }
    }

    /// Ends map runs whose execution ended without them.
    async fn sweep_map_runs(&self, engine: &Arc<Engine>) -> Result<(), StoreError> {
        let mut after = MapRunId(0);
        loop {
            let rows = engine.store.running_map_runs(after, engine.limits.page_rows).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.id;
            for row in rows {
                let parent = engine.store.execution(row.execution).await?;
                let ended = match &parent {
                    Some(parent) if parent.status == ExecutionStatus::Running => continue,
                    Some(parent) => parent.ended,
                    None => None,
                };
                // By itself it runs only when it was redriven after its execution had ended.
                if row.redriven.is_some() && row.redriven >= ended {
                    self.launch_map_run(engine, row.id);
                } else {
                    child::end_abandoned(engine, row.id).await?;
                }
            }
        }
    }

    /// Takes an execution into memory because a timer of it is due.
    pub(crate) fn wake(&self, engine: &Arc<Engine>, id: ExecutionId) {
        match self.admit(engine, id) {
            Ok(mailbox) => self.spawn_load(engine, id, mailbox),
            Err(Refused::Present) => {}
            // It is idle in the store, so nobody who looks for active ones finds it.
            Err(Refused::Full) => try_later(engine, id),
        }
    }

    fn send(
        &self,
        engine: &Arc<Engine>,
        id: ExecutionId,
        message: Message,
    ) -> Result<(), StoreError> {
        let closed = match self.live.lock().get(&id) {
            Some(sender) => match sender.send(message) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent.0,
            },
            None => message,
        };
        let Ok(mailbox) = self.admit(engine, id) else {
            return Err(StoreError::Failed(format!("{id} cannot be taken into memory now")));
        };
        if let Some(sender) = self.live.lock().get(&id) {
            // The driver that is about to start reads it first.
            let _ = sender.send(closed);
        }
        self.spawn_load(engine, id, mailbox);
        Ok(())
    }

    fn load(&self, engine: &Arc<Engine>, id: ExecutionId) {
        if let Ok(mailbox) = self.admit(engine, id) {
            self.spawn_load(engine, id, mailbox);
        }
    }

    fn spawn_load(
        &self,
        engine: &Arc<Engine>,
        id: ExecutionId,
        mailbox: mpsc::UnboundedReceiver<Message>,
    ) {
        let engine = engine.clone();
        tokio::spawn(async move {
            match Driver::load(engine.clone(), id, mailbox).await {
                Ok(Some(driver)) => spawn(&engine, driver),
                Ok(None) => engine.executions.leave(&engine, id),
                Err(error) => {
                    tracing::error!(execution = %id, %error, "cannot take the execution up");
                    engine.executions.leave(&engine, id);
                    // No alarm: an active one has no time at which it would be found in the store.
                    tokio::select! {
                        () = engine.stopped() => {}
                        () = tokio::time::sleep(LATER) => engine.executions.wake(&engine, id),
                    }
                }
            }
        });
    }

    /// A place in memory, unless the execution has one already or there is none left.
    fn admit(
        &self,
        engine: &Engine,
        id: ExecutionId,
    ) -> Result<mpsc::UnboundedReceiver<Message>, Refused> {
        let mut live = self.live.lock();
        if live.contains_key(&id) {
            return Err(Refused::Present);
        }
        if live.len() >= engine.limits.executions_in_memory {
            self.overflow.store(true, Ordering::Relaxed);
            return Err(Refused::Full);
        }
        let (sender, mailbox) = mpsc::unbounded_channel();
        live.insert(id, sender);
        Ok(mailbox)
    }

    /// The execution ended or was put out of memory; whoever found no place may come now.
    fn leave(&self, engine: &Arc<Engine>, id: ExecutionId) {
        let left = {
            let mut live = self.live.lock();
            live.remove(&id);
            live.len()
        };
        if left <= engine.limits.executions_in_memory / 2
            && self.overflow.swap(false, Ordering::Relaxed)
        {
            let engine = engine.clone();
            tokio::spawn(async move {
                if let Err(error) = engine.executions.load_active(&engine).await {
                    engine.executions.overflow.store(true, Ordering::Relaxed);
                    tracing::warn!(%error, "could not read the executions that wait for memory");
                }
            });
        }
    }

    /// The program of a definition, from the declared workflows or from the store.
    pub(crate) async fn program(
        &self,
        engine: &Engine,
        definition: u64,
    ) -> Result<Arc<Program>, StoreError> {
        let catalogue = engine.catalogue();
        if let Some(workflow) =
            catalogue.workflows.values().find(|workflow| workflow.definition == definition)
        {
            return Ok(workflow.program.clone());
        }
        if let Some(program) = self.programs.lock().get(&definition) {
            return Ok(program.clone());
        }
        let row = engine.store.definition(definition).await?;
        let row = row.ok_or_else(|| StoreError::Gone(format!("definition {definition}")))?;
        let unreadable =
            |error: String| StoreError::Failed(format!("definition {definition}: {error}"));
        let document = Document::parse(&row.text).map_err(|error| unreadable(error.to_string()))?;
        // It was checked for its own kind when it was declared.
        let program = Program::parse(&document, stepbus_asl::WorkflowType::Standard)
            .map_err(|problems| unreadable(format!("{} problems", problems.len())))?;
        let program = Arc::new(program);
        self.programs.lock().insert(definition, program.clone());
        Ok(program)
    }
}

fn spawn(engine: &Arc<Engine>, driver: Driver) {
    let work = engine.threads.begin(driver.run_id());
    let (threads, engine) = (work.threads().clone(), engine.clone());
    threads.spawn(giving_way(async move {
        drive(&engine, driver).await;
        drop(work);
    }));
}

async fn drive(engine: &Arc<Engine>, mut driver: Driver) {
    let id = driver.id();
    let fate = tokio::select! {
        biased;
        () = engine.stopped() => return,
        fate = driver.run() => fate,
    };
    match fate {
        Ok(Fate::Ended(_)) => engine.executions.leave(engine, id),
        Ok(Fate::Parked(wake)) => {
            engine.executions.leave(engine, id);
            if let Some(due) = wake {
                engine.alarms.set(due, Alarm::Execution(id));
            }
        }
        // Somebody took a name since it was looked up: it is looked up again.
        Err(StoreError::Conflict { .. }) => {
            let mailbox = driver.halt().await;
            engine.executions.leave(engine, id);
            drop(mailbox);
            engine.executions.load(engine, id);
        }
        Err(error) => {
            // Its last commit stands: what follows is taken up again when the store works.
            tracing::error!(execution = %id, %error, "the store failed; taking the execution up again");
            let mailbox = driver.halt().await;
            tokio::time::sleep(LATER).await;
            engine.executions.leave(engine, id);
            drop(mailbox);
            engine.executions.load(engine, id);
        }
    }
}

fn try_later(engine: &Engine, id: ExecutionId) {
    engine.alarms.set(engine.clock.now().plus(LATER), Alarm::Execution(id));
}

/// The program an execution runs, by the program of its definition: that one, or for a map's child
/// the processor of the Map state, however deep.
pub(crate) async fn within(
    store: &dyn Store,
    program: Arc<Program>,
    row: &ExecutionRow,
) -> Result<Arc<Program>, StoreError> {
    let gone = || StoreError::Gone(format!("the Map state of {}", row.id));
    let paths = within_of(store, row).await?;
    paths.iter().try_fold(program, |program, path| program.processor(path)).ok_or_else(gone)
}

/// Pointers of the Map states that an execution runs within, the outermost first.
pub(crate) async fn within_of(
    store: &dyn Store,
    row: &ExecutionRow,
) -> Result<Vec<String>, StoreError> {
    let mut paths = Vec::new();
    let mut item = row.item;
    while let Some((map_run, _)) = item {
        let gone = || StoreError::Gone(format!("{map_run} of {}", row.id));
        let map_run = store.map_run(map_run).await?.ok_or_else(gone)?;
        let spec: MapRunSpec = serde_json::from_slice(&map_run.spec)
            .map_err(|error| StoreError::Failed(format!("{}: {error}", map_run.id)))?;
        paths.push(spec.state_path);
        item = store.execution(map_run.execution).await?.ok_or_else(gone)?.item;
    }
    paths.reverse();
    Ok(paths)
}

pub(crate) fn kind(workflow_type: stepbus_asl::WorkflowType) -> ExecutionKind {
    match workflow_type {
        stepbus_asl::WorkflowType::Standard => ExecutionKind::Standard,
        stepbus_asl::WorkflowType::Express => ExecutionKind::Express,
    }
}

/// The time a driver gives an input: the clock's, but never before the input before it.
pub(crate) fn later(now: Timestamp, latest: Timestamp) -> Timestamp {
    now.max(latest)
}
