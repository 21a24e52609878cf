//! Drives one execution: gives it what happened, commits that with its consequences, then acts.
//!
//! A STANDARD execution commits each input before its commands go out. An EXPRESS one keeps its
//! journal in memory until something else must be committed with it: events it published, or its
//! end; after a crash it goes on from what was committed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stepbus_asl::{
    Command, Execution, Input, MapRunSpec, Outcome, Program, RunTask, TaskId, Timer, Visit,
};
use stepbus_model::{ExecutionId, MapRunId, RunId, Timestamp, crash};
use stepbus_store::{
    Batch, Cause, ExecutionEnd, ExecutionKind, ExecutionRow, ExecutionStatus, MapRunStatus,
    SnapshotRow, StoreError,
};
use tokio::sync::{mpsc, oneshot};

use super::child::Begun;
use super::journal::Pending;
use super::restore::{Restored, restore};
use super::roll::{Presence, Roll};
use super::{Launch, Line, Message, child, later, map_run, redrive, sync, tasks};
use crate::engine::Engine;
use crate::publish::Effects;

mod calls;
mod dispatch;
mod ending;
mod held;
mod recovery;

use calls::{Awaited, Calls};
use dispatch::Wait;
pub(super) use ending::{Ending, Place};
use held::HeldTasks;
pub use recovery::IN_FLIGHT_AT_CRASH;

/// Something a driver waited for, with what must be committed along with it.
#[derive(Debug)]
pub(super) struct Arrival {
    pub input: Input,
    pub batch: Batch,
    pub effects: Effects,
    /// The execution it started and whose end is the task's result.
    pub awaited: Option<ExecutionId>,
    /// Hears that it is on disk.
    pub done: Option<oneshot::Sender<bool>>,
}

impl From<Input> for Arrival {
    fn from(input: Input) -> Self {
        Arrival {
            input,
            batch: Batch::new(),
            effects: Effects::default(),
            awaited: None,
            done: None,
        }
    }
}

/// What became of an execution that is no longer driven.
#[derive(Debug)]
pub(super) enum Fate {
    Ended(ExecutionStatus),
    /// Out of memory, to be woken then.
    Parked(Option<Timestamp>),
}

pub(super) struct Driver {
    engine: Arc<Engine>,
    row: ExecutionRow,
    program: Arc<Program>,
    execution: Execution,
    /// Whether the row is in the store.
    stored: bool,
    /// The child whose place this one takes in the store.
    replaces: Option<Box<ExecutionRow>>,
    pending: Pending,
    /// Entries covered by the snapshot in the store, if there is one: 0 when it is of no use.
    snapshot_at: Option<u64>,
    /// Size of the snapshot last written here.
    snapshot_bytes: u64,
    timers: BTreeMap<Timer, Timestamp>,
    calls: Calls,
    map_runs: BTreeMap<Visit, (MapRunId, Roll)>,
    /// Of a map's child: tells its map run that it is still at work.
    presence: Option<Arc<Presence>>,
    mailbox: Option<mpsc::UnboundedReceiver<Message>>,
    /// Of a map's child that has a mailbox: keeps it known.
    line: Option<Line>,
    /// Calls that were in flight at the latest crash and have no result yet.
    recovered: BTreeSet<Awaited>,
    /// Its calls fail: it is what killed the process so many times.
    may_not_call: Option<u32>,
    /// Tasks whose results come by themselves.
    waits: BTreeMap<TaskId, Wait>,
    /// Tasks that wait until extraction goes on.
    held: HeldTasks,
    /// Another execution waits for the end of this one.
    awaited_by_parent: bool,
    /// When something last happened.
    quiet_since: Timestamp,
    ended: Option<Outcome>,
    /// Those who wait until the execution has ended.
    told: Vec<oneshot::Sender<()>>,
    /// Commands of inputs that are in the store already.
    first: Vec<Command>,
    /// Of a map's child: its end, which its map run commits.
    uncommitted: Option<Box<Ending>>,
}

/// What one round of inputs amounts to.
#[derive(Default)]
struct Step {
    batch: Batch,
    effects: Effects,
    calls: Vec<RunTask>,
    map_runs: Vec<(MapRunId, Box<MapRunSpec>)>,
    /// Map runs whose state was left; they are ended once that is on disk.
    abandoned: Vec<(MapRunId, Roll)>,
    /// Executions that are to be seen to, since this one waits for them no more.
    left: Vec<ExecutionId>,
    /// Children of it may have been stopped that waited for others.
    map_run_ended: bool,
}

impl Driver {
    /// Drives an execution whose row and first entry are in the store.
    pub(super) fn started(
        engine: Arc<Engine>,
        launch: Launch,
        mailbox: mpsc::UnboundedReceiver<Message>,
    ) -> Driver {
        let Launch { row, program, start, awaited, told } = launch;
        let (execution, commands) = Execution::begin(&program, row.started, start);
        let mut driver = Driver::new(engine, row, program, execution, Some(mailbox));
        driver.stored = true;
        driver.awaited_by_parent = awaited;
        driver.told.extend(told);
        driver.pending = Pending::after(1);
        driver.first = commands;
        driver
    }

    /// Drives a map's child of which nothing is in the store.
    pub(super) fn child(
        engine: Arc<Engine>,
        begun: Begun,
        program: Arc<Program>,
        presence: Arc<Presence>,
    ) -> Box<Driver> {
        let Begun { row, execution, commands, entry, old } = begun;
        let started = row.started;
        let mut driver = Box::new(Driver::new(engine, row, program, execution, None));
        driver.presence = Some(presence);
        driver.replaces = old;
        driver.pending.push(started, entry);
        driver.first = commands;
        driver
    }

    /// Takes an execution up from the store; none when there is nothing to drive.
    pub(super) async fn load(
        engine: Arc<Engine>,
        id: ExecutionId,
        mailbox: mpsc::UnboundedReceiver<Message>,
    ) -> Result<Option<Driver>, StoreError> {
        let Some(row) = engine.store.execution(id).await? else { return Ok(None) };
        if row.status != ExecutionStatus::Running {
            return Ok(None);
        }
        let program = engine.executions.program(&engine, row.definition).await?;
        Driver::resumed(engine, row, program, Some(mailbox), None).await.map(Some)
    }

    /// Rebuilds the value from snapshot and journal, and sends again what was in flight.
    pub(super) async fn resumed(
        engine: Arc<Engine>,
        row: ExecutionRow,
        program: Arc<Program>,
        mailbox: Option<mpsc::UnboundedReceiver<Message>>,
        presence: Option<Arc<Presence>>,
    ) -> Result<Driver, StoreError> {
        let Restored { execution, entries, snapshot_at } =
            restore(&*engine.store, &row, &program).await?;
        let was_idle = row.idle;
        let mut driver = Driver::new(engine, row, program, execution, mailbox);
        driver.stored = true;
        driver.presence = presence;
        driver.pending = Pending::after(entries);
        driver.snapshot_at = snapshot_at;
        // It may have ended in the input that was committed last.
        driver.ended = driver.execution.outcome().cloned();
        driver.timers = driver.execution.open_timers().into_iter().collect();
        if matches!(driver.row.cause, Cause::Execution(_)) {
            driver.awaited_by_parent =
                driver.engine.store.sync_child(driver.row.id).await?.is_some();
        }
        driver.recall_waits().await?;
        driver.recover(was_idle).await?;
        driver.recover_map_runs().await?;
        Ok(driver)
    }

    fn new(
        engine: Arc<Engine>,
        row: ExecutionRow,
        program: Arc<Program>,
        execution: Execution,
        mailbox: Option<mpsc::UnboundedReceiver<Message>>,
    ) -> Driver {
        Driver {
            engine,
            row,
            program,
            execution,
            stored: false,
            replaces: None,
            pending: Pending::default(),
            snapshot_at: None,
            snapshot_bytes: 0,
            timers: BTreeMap::new(),
            calls: Calls::default(),
            map_runs: BTreeMap::new(),
            presence: None,
            mailbox,
            line: None,
            recovered: BTreeSet::new(),
            may_not_call: None,
            waits: BTreeMap::new(),
            held: HeldTasks::default(),
            awaited_by_parent: false,
            quiet_since: Timestamp(0),
            ended: None,
            told: Vec::new(),
            first: Vec::new(),
            uncommitted: None,
        }
    }

    pub(super) fn id(&self) -> ExecutionId {
        self.row.id
    }

    pub(super) fn run_id(&self) -> RunId {
        self.row.run
    }

    /// Goes on with the map runs whose state is open, ends those whose state was left.
    async fn recover_map_runs(&mut self) -> Result<(), StoreError> {
        let rows = self.engine.store.map_runs_of_run(self.row.run).await?;
        let mut begun: BTreeMap<u64, MapRunId> = rows
            .into_iter()
            .filter(|row| row.execution == self.row.id && row.status == MapRunStatus::Running)
            .map(|row| (row.visit, row.id))
            .collect();
        for spec in self.execution.open_map_runs() {
            match begun.remove(&spec.visit.0) {
                Some(id) => self.start_map_run(id, Box::new(spec), false),
                None => match redrive::map_run_of(&self.engine, &self.row, &spec).await? {
                    Some(id) => self.start_map_run(id, Box::new(spec), false),
                    None => self.first.push(Command::StartMapRun(Box::new(spec))),
                },
            }
        }
        for id in begun.into_values() {
            child::abandon(&self.engine, id, Roll::default());
        }
        Ok(())
    }

    /// Drives until the execution ends or leaves memory; the end of a map's child may be left to its
    /// map run to commit ([`Driver::take_ending`]). Messages that come after that find the
    /// mailbox open until the driver is dropped.
    pub(super) async fn run(&mut self) -> Result<Fate, StoreError> {
        let mut step = Step::default();
        let commands = std::mem::take(&mut self.first);
        let mut inputs = VecDeque::new();
        self.obey(commands, &mut step, &mut inputs);
        self.absorb(inputs, &mut step);
        if let Some(step) = self.settle_at_once(step) {
            self.settle(step).await?;
        }
        loop {
            if let Some(outcome) = &self.ended {
                let fate = Fate::Ended(status(outcome));
                for told in self.told.drain(..) {
                    let _ = told.send(());
                }
                return Ok(fate);
            }
            if self.held.may_go_on() {
                Box::pin(self.go_on_with_held()).await?;
                continue;
            }
            let until = match self.may_park() {
                Some((wake, until)) if until <= self.engine.clock.now() => {
                    return Box::pin(self.park(wake)).await;
                }
                other => other.map(|(_, until)| until),
            };
            let Some(arrival) = self.next(until).await else { continue };
            let (step, done) = self.take_in(arrival);
            if let Some(step) = self.settle_at_once(step) {
                self.settle(step).await?;
            }
            if let Some(done) = done {
                let _ = done.send(true);
            }
        }
    }

    fn take_in(&mut self, arrival: Arrival) -> (Step, Option<oneshot::Sender<bool>>) {
        let Arrival { input, batch, effects, awaited, done } = arrival;
        let mut step = Step { batch, effects, ..Step::default() };
        if let (Some(child), Some(task)) = (awaited, task_of(&input)) {
            self.waits.insert(task, Wait::Child(child));
        }
        self.absorb(VecDeque::from([input]), &mut step);
        (step, done)
    }

    /// The next thing that happens to the execution; none when `until` has come.
    async fn next(&mut self, until: Option<Timestamp>) -> Option<Arrival> {
        loop {
            let now = self.engine.clock.now();
            if until.is_some_and(|until| until <= now) {
                return None;
            }
            let due =
                self.timers.iter().min_by_key(|(_, at)| **at).map(|(timer, at)| (*timer, *at));
            if let Some((timer, at)) = due
                && at <= now
            {
                self.timers.remove(&timer);
                return Some(Input::TimerFired { timer }.into());
            }
            let at = due.map(|(_, at)| at).into_iter().chain(until).min();
            let wait = at.map(|at| at.since(now).min(LONGEST_WAIT));
            tokio::select! {
                biased;
                message = receive(&mut self.mailbox) => match message {
                    Message::Stop { failure, done } => {
                        self.told.push(done);
                        return Some(Input::Stopped(failure).into());
                    }
                    Message::Tell { input, batch, done } => {
                        if self.execution.expects(&input) {
                            return Some(Arrival { batch: *batch, done: Some(done), ..input.into() });
                        }
                        let _ = done.send(false);
                    }
                },
                Some(arrival) = self.calls.next() => return Some(arrival),
                () = self.held.changed() => return None,
                () = sleep(wait) => {}
            }
        }
    }

    /// Applies inputs, and those that follow from them inside, until nothing but the outside is
    /// left to wait for.
    fn absorb(&mut self, mut inputs: VecDeque<Input>, step: &mut Step) {
        while let Some(input) = inputs.pop_front() {
            if self.ended.is_some() || !self.execution.expects(&input) {
                continue;
            }
            if let Input::TaskSucceeded { task, .. } | Input::TaskFailed { task, .. } = &input {
                self.calls.settled(Awaited::Task(*task));
                self.recovered.remove(&Awaited::Task(*task));
                self.close_task(*task, step);
            }
            if let Input::MapRunEnded { visit, .. } = &input {
                step.map_run_ended = true;
                self.calls.settled(Awaited::MapRun(*visit));
                self.recovered.remove(&Awaited::MapRun(*visit));
            }
            let at = later(self.engine.clock.now(), self.execution.latest());
            self.quiet_since = at;
            self.pending.push(at, input.clone());
            let commands = self.execution.apply(&self.program, at, input);
            self.obey(commands, step, &mut inputs);
            self.forget_recovered(step);
        }
    }

    fn obey(&mut self, commands: Vec<Command>, step: &mut Step, inputs: &mut VecDeque<Input>) {
        for command in commands {
            match command {
                Command::RunTask(task) => self.run_task(task, step, inputs),
                Command::CancelTask { task } => {
                    self.held.forget(task);
                    self.calls.call_off(Awaited::Task(task));
                    self.recovered.remove(&Awaited::Task(task));
                    self.close_task(task, step);
                }
                Command::SetTimer { timer, at } => {
                    self.timers.insert(timer, at);
                }
                Command::ClearTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Command::StartMapRun(spec) => {
                    match map_run::begin(&self.engine, &self.row, &spec, &mut step.batch) {
                        Ok(id) => step.map_runs.push((id, spec)),
                        Err(failure) => inputs.push_back(Input::MapRunEnded {
                            visit: spec.visit,
                            outcome: stepbus_asl::MapRunOutcome::Failed(failure),
                        }),
                    }
                }
                Command::StopMapRun { visit } => {
                    self.calls.call_off(Awaited::MapRun(visit));
                    self.recovered.remove(&Awaited::MapRun(visit));
                    step.abandoned.extend(self.map_runs.remove(&visit));
                }
                Command::End(outcome) => self.ended = Some(outcome),
            }
        }
    }

    /// Acts on a step of which nothing must be committed before; gives back any other. While many
    /// executions wait, what only a commit needs takes no memory in each of them.
    fn settle_at_once(&mut self, step: Step) -> Option<Box<Step>> {
        if self.only_ends(&step) {
            self.uncommitted = self.ending().map(Box::new);
            return None;
        }
        let standard = self.row.kind == ExecutionKind::Standard;
        let due = standard && !self.pending.is_empty();
        if due || self.ended.is_some() || !step.batch.is_empty() {
            return Some(Box::new(step));
        }
        self.act_on(step);
        None
    }

    /// Commits what a step amounts to, then acts on it.
    async fn settle(&mut self, mut step: Box<Step>) -> Result<(), StoreError> {
        // What concerns the running execution comes before its end.
        self.record(&mut step.batch);
        self.snapshot_if_due(&mut step.batch);
        let child = self.row.item.is_some();
        crash::point(if child { "map.child_before_commit" } else { "task.before_commit" });
        self.engine.store.commit(std::mem::take(&mut step.batch)).await?;
        crash::point(if child { "map.child_after_commit" } else { "task.after_commit" });
        self.engine.act(std::mem::take(&mut step.effects));
        self.act_on(*step);
        Ok(())
    }

    /// Acts on what is on disk, or need not be.
    fn act_on(&mut self, step: Step) {
        for (id, roll) in step.abandoned {
            child::abandon(&self.engine, id, roll);
        }
        if step.map_run_ended {
            sync::settle_all(&self.engine);
        }
        for child in step.left {
            sync::settle(&self.engine, child);
        }
        if self.ended.is_some() && self.awaited_by_parent {
            crash::point("child.after_end");
            sync::settle(&self.engine, self.row.id);
        }
        if self.ended.is_some() {
            return;
        }
        for task in step.calls {
            self.start_task(task);
        }
        for (id, spec) in step.map_runs {
            self.start_map_run(id, spec, true);
        }
    }

    /// Adds the row, or what changed of it, and the journal's new entries.
    fn record(&mut self, batch: &mut Batch) {
        if let Some(ending) = self.ending() {
            ending.record(batch);
            if self.awaited_by_parent {
                batch.child_ended(self.row.id);
            }
            return;
        }
        if !self.stored {
            match self.replaces.take() {
                Some(old) => batch.restart_execution(&old, self.row.clone()),
                None => batch.start_execution(self.row.clone()),
            }
            self.stored = true;
        }
        if let Some(row) = self.pending.take(&self.row) {
            batch.append_journal(row);
        }
    }

    fn snapshot_if_due(&mut self, batch: &mut Batch) {
        let entries = self.pending.total();
        let limits = &self.engine.limits;
        let worth = self.snapshot_bytes / limits.snapshot_bytes_per_input.max(1);
        let every = limits.snapshot_every_inputs.max(worth);
        if self.ended.is_none() && entries - self.snapshot_at.unwrap_or(0) >= every {
            self.snapshot(batch);
        }
    }

    fn snapshot(&mut self, batch: &mut Batch) {
        let inputs = self.pending.total();
        let value = Bytes::from(self.execution.to_bytes());
        let bytes = value.len() as u64;
        batch.put_snapshot(SnapshotRow { execution: self.row.id, inputs, value });
        self.snapshot_at = Some(inputs);
        self.snapshot_bytes = bytes;
    }

    /// When to wake, and when to leave memory, if the execution only waits and for long enough.
    fn may_park(&self) -> Option<(Option<Timestamp>, Timestamp)> {
        let unread = |mailbox: &mpsc::UnboundedReceiver<Message>| !mailbox.is_empty();
        let driven_by_itself = self.row.item.is_none() && self.stored;
        if !driven_by_itself
            || self.mailbox.as_ref().is_some_and(unread)
            || self.calls.in_flight()
            || !self.pending.is_empty()
            || !self.execution.waits_only(&self.program)
        {
            return None;
        }
        let wake = self.timers.values().min().copied();
        let soon = Duration::from_secs(self.engine.limits.park_after_seconds);
        let near = wake.is_some_and(|at| at <= self.engine.clock.now().plus(soon));
        if near {
            return None;
        }
        // What comes by itself may come soon, unless the place is needed.
        let stays = !self.waits.is_empty() && !self.engine.executions.crowded();
        let since = if stays { self.quiet_since.plus(soon) } else { Timestamp(0) };
        Some((wake, since))
    }

    /// Lets go of everything in flight and waits until nothing of it is left; the mailbox stays.
    pub(super) async fn halt(mut self) -> Option<mpsc::UnboundedReceiver<Message>> {
        let mailbox = self.mailbox.take();
        let map_runs = std::mem::take(&mut self.map_runs);
        let rolls: Vec<Roll> = map_runs.into_values().map(|(_, roll)| roll).collect();
        drop(self);
        for roll in rolls {
            roll.empty().await;
        }
        mailbox
    }

    async fn park(&mut self, wake: Option<Timestamp>) -> Result<Fate, StoreError> {
        let mut batch = Batch::new();
        self.snapshot(&mut batch);
        batch.park_execution(self.row.id, wake);
        crash::point("timer.before_commit");
        self.engine.store.commit(batch).await?;
        crash::point("timer.after_commit");
        Ok(Fate::Parked(wake))
    }

    fn start_task(&mut self, task: RunTask) {
        let id = task.task;
        if let Some(failure) = self.refuses(&task) {
            return self.fail_recovered(id, failure);
        }
        let call = tasks::perform(&self.engine, &self.row, task);
        self.calls.start(Awaited::Task(id), call);
    }

    fn start_map_run(&mut self, id: MapRunId, spec: Box<MapRunSpec>, fresh: bool) {
        let visit = spec.visit;
        let roll = Roll::default();
        let presence = roll.sign(self.presence.clone());
        self.map_runs.insert(visit, (id, roll));
        let (row, program) = (self.row.clone(), self.program.clone());
        let definition = row.definition;
        let parent = map_run::Parent { row, program, definition };
        let call = map_run::run(self.engine.clone(), id, parent, spec, fresh, presence);
        self.calls.start(Awaited::MapRun(visit), call);
    }
}

/// Bounds the harm of a clock that jumps while an execution waits in memory.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// For ever when there is nothing to wake for.
async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

async fn receive(mailbox: &mut Option<mpsc::UnboundedReceiver<Message>>) -> Message {
    match mailbox {
        Some(mailbox) => match mailbox.recv().await {
            Some(message) => message,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

fn task_of(input: &Input) -> Option<TaskId> {
    match input {
        Input::TaskSubmitted { task, .. } => Some(*task),
        _ => None,
    }
}

fn status(outcome: &Outcome) -> ExecutionStatus {
    match outcome {
        Outcome::Succeeded(_) => ExecutionStatus::Succeeded,
        Outcome::Failed(_) => ExecutionStatus::Failed,
        Outcome::TimedOut(_) => ExecutionStatus::TimedOut,
        Outcome::Aborted(_) => ExecutionStatus::Aborted,
    }
}

pub(super) fn end(outcome: &Outcome, at: Timestamp) -> ExecutionEnd {
    let (output, failure) = match outcome {
        Outcome::Succeeded(output) => {
            (Some(Bytes::from(serde_json::to_vec(output).unwrap_or_default())), None)
        }
        Outcome::Failed(failure) | Outcome::TimedOut(failure) | Outcome::Aborted(failure) => {
            (None, Some(failure))
        }
    };
    ExecutionEnd {
        status: status(outcome),
        at,
        output,
        error: failure.and_then(|failure| failure.error.clone()),
        error_cause: failure.and_then(|failure| failure.cause.clone()),
    }
}
