//! An execution as a value.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stepbus_model::Timestamp;

use crate::definition::model::{Kind, Service};
use crate::interpreter::{Recorder, Run, bytes, task_command};
use crate::io::{
    Command, Input, MapRunSpec, Outcome, RunTask, Status, TaskId, Timer, TimerKind, Visit,
};
use crate::program::Program;
use crate::start::Start;
use crate::thread::{Activity, OpenTask, Thread, ThreadId};

/// The meaning of a journal. It grows when replaying an old journal would give something else.
pub const SEMANTICS: u32 = 1;
/// One execution of a workflow, as a value.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Execution {
    pub(crate) semantics: u32,
    pub(crate) start: Arc<Start>,
    pub(crate) started_at: Timestamp,
    /// The time of the latest input.
    pub(crate) at: Timestamp,
    /// Visits and history events so far.
    pub(crate) visits: u64,
    pub(crate) events: u64,
    pub(crate) threads: Vec<Option<Thread>>,
    /// Places in `threads` that are empty.
    pub(crate) free: Vec<ThreadId>,
    /// Bytes of the variables of all threads, also of those that are taken out to work on them.
    #[serde(skip)]
    pub(crate) variable_bytes: u64,
    /// Threads that wait for something from outside.
    #[serde(skip)]
    pub(crate) waiting: BTreeMap<Visit, ThreadId>,
    pub(crate) times_out_at: Option<Timestamp>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) redrives: u32,
    pub(crate) redriven_at: Option<Timestamp>,
}

impl Execution {
    /// The execution and what its first input, [`Input::Started`], asks for.
    #[must_use]
    pub fn begin(
        program: &Program,
        at: Timestamp,
        start: impl Into<Arc<Start>>,
    ) -> (Execution, Vec<Command>) {
        Execution::begin_recorded(program, at, start.into(), None)
    }

    pub(crate) fn begin_recorded(
        program: &Program,
        at: Timestamp,
        start: Arc<Start>,
        recorder: Option<Recorder<'_>>,
    ) -> (Execution, Vec<Command>) {
        let mut execution = Execution::new(at, start);
        let mut run = Run::new(program, &mut execution, recorder);
        run.begin();
        let commands = run.finish();
        (execution, commands)
    }

    /// An execution that stands at one thread.
    pub(crate) fn of_thread(start: Arc<Start>, at: Timestamp, thread: Thread) -> Execution {
        let variable_bytes = thread.variable_bytes;
        Execution { threads: vec![Some(thread)], variable_bytes, ..Execution::new(at, start) }
    }

    fn new(at: Timestamp, start: Arc<Start>) -> Execution {
        Execution {
            semantics: SEMANTICS,
            start,
            started_at: at,
            at,
            visits: 0,
            events: 0,
            threads: Vec::new(),
            free: Vec::new(),
            variable_bytes: 0,
            waiting: BTreeMap::new(),
            times_out_at: None,
            outcome: None,
            redrives: 0,
            redriven_at: None,
        }
    }

    /// Takes what happened and gives what is to be done about it.
    ///
    /// An input that no longer concerns anything (a late timer, the result of a cancelled task)
    /// changes nothing; [`Execution::expects`] tells beforehand.
    pub fn apply(&mut self, program: &Program, at: Timestamp, input: Input) -> Vec<Command> {
        self.apply_recorded(program, at, input, None)
    }

    pub(crate) fn apply_recorded(
        &mut self,
        program: &Program,
        at: Timestamp,
        input: Input,
        recorder: Option<Recorder<'_>>,
    ) -> Vec<Command> {
        if !self.expects(&input) {
            return Vec::new();
        }
        self.at = self.at.max(at);
        let mut run = Run::new(program, self, recorder);
        run.take(input);
        run.finish()
    }

    /// Whether the input would change anything. What would not need not be journalled.
    #[must_use]
    pub fn expects(&self, input: &Input) -> bool {
        let running = self.outcome.is_none();
        match input {
            Input::Started(_) => false,
            Input::TaskStarted { task, .. } => self.open_task(*task).is_some_and(|(_, open)| !open),
            Input::TaskSubmitted { task, .. }
            | Input::TaskSucceeded { task, .. }
            | Input::TaskFailed { task, .. }
            | Input::Heartbeat { task } => self.open_task(*task).is_some(),
            Input::TimerFired { timer } => running && self.has_timer(timer),
            Input::MapRunEnded { visit, .. } => self
                .thread_at(*visit)
                .is_some_and(|thread| matches!(thread.activity, Activity::MapRun(_))),
            Input::Stopped(_) => running,
            // What its map run aborted has no outcome of its own.
            Input::RedrivenFrom(_) => self.status() != Status::Succeeded,
            Input::Redriven => {
                self.outcome.as_ref().is_some_and(|end| end.status() != Status::Succeeded)
            }
        }
    }

    /// The thread of an open task, and whether history has told of its start.
    fn open_task(&self, task: TaskId) -> Option<(&Thread, bool)> {
        let thread = self.thread_at(task.visit)?;
        match &thread.activity {
            Activity::Task(open) if thread.attempt == task.attempt => Some((thread, open.started)),
            _ => None,
        }
    }

    /// Index of the item that the state visited works on, within the innermost inline Map.
    pub(crate) fn item_of(&self, visit: Visit) -> Option<u64> {
        let mut parent = self.thread_at(visit)?.parent;
        while let Some(place) = parent {
            let thread = self.threads.get(place.thread as usize)?.as_ref()?;
            if matches!(&thread.activity, Activity::Fork(fork) if fork.items.is_some()) {
                return Some(u64::from(place.index));
            }
            parent = thread.parent;
        }
        None
    }

    pub(crate) fn thread_at(&self, visit: Visit) -> Option<&Thread> {
        self.threads.get(*self.waiting.get(&visit)? as usize)?.as_ref()
    }

    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome.as_ref().map_or(Status::Running, Outcome::status)
    }

    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The time of the latest input; later ones are never before it.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.at
    }

    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Nothing is in flight but timers and what comes by itself, as the result of a token: the
    /// execution may leave memory until then.
    #[must_use]
    pub fn waits_only(&self, program: &Program) -> bool {
        self.outcome.is_none()
            && self.open_threads().all(|thread| match &thread.activity {
                Activity::Waiting { .. } | Activity::Retrying { .. } => true,
                Activity::Task(open) => open.submitted || is_activity(program, thread),
                _ => false,
            })
    }

    fn open_threads(&self) -> impl Iterator<Item = &Thread> {
        self.waiting.values().filter_map(|id| self.threads.get(*id as usize)?.as_ref())
    }

    /// Tasks whose results are awaited; after a crash they are to be sent again.
    #[must_use]
    pub fn open_tasks(&self, program: &Program) -> Vec<RunTask> {
        self.tasks(program, |open| !open.submitted)
    }

    /// Tasks whose calls were accepted and whose results come by themselves.
    #[must_use]
    pub fn submitted_tasks(&self, program: &Program) -> Vec<RunTask> {
        self.tasks(program, |open| open.submitted)
    }

    fn tasks(&self, program: &Program, wanted: impl Fn(&OpenTask) -> bool) -> Vec<RunTask> {
        self.open_threads()
            .filter_map(|thread| match &thread.activity {
                Activity::Task(open) if wanted(open) => task_command(self, program, thread, open),
                _ => None,
            })
            .collect()
    }

    fn has_timer(&self, timer: &Timer) -> bool {
        if timer.kind == TimerKind::Execution {
            return self.times_out_at.is_some() && *timer == execution_timer(self.redrives);
        }
        let Some(thread) = self.thread_at(timer.visit) else { return false };
        thread.attempt == timer.attempt
            && match (&thread.activity, timer.kind) {
                (Activity::Waiting { .. }, TimerKind::Wait)
                | (Activity::Retrying { .. }, TimerKind::Retry) => true,
                (Activity::Task(open), TimerKind::Timeout) => open.timeout_at.is_some(),
                (Activity::Task(open), TimerKind::Heartbeat) => open.heartbeat_at.is_some(),
                _ => false,
            }
    }

    /// Timers that are set, and when they fire.
    #[must_use]
    pub fn open_timers(&self) -> Vec<(Timer, Timestamp)> {
        let mut timers = Vec::new();
        if let (Some(at), None) = (self.times_out_at, &self.outcome) {
            timers.push((execution_timer(self.redrives), at));
        }
        for thread in self.open_threads() {
            let timer = |kind| Timer { visit: thread.visit, kind, attempt: thread.attempt };
            match &thread.activity {
                Activity::Waiting { until } => timers.push((timer(TimerKind::Wait), *until)),
                Activity::Retrying { until } => timers.push((timer(TimerKind::Retry), *until)),
                Activity::Task(open) => {
                    timers.extend(open.timeout_at.map(|at| (timer(TimerKind::Timeout), at)));
                    timers.extend(open.heartbeat_at.map(|at| (timer(TimerKind::Heartbeat), at)));
                }
                _ => {}
            }
        }
        timers
    }

    /// Map runs whose end is awaited.
    #[must_use]
    pub fn open_map_runs(&self) -> Vec<MapRunSpec> {
        self.open_threads()
            .filter_map(|thread| match &thread.activity {
                Activity::MapRun(spec) => Some((**spec).clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn measure_variables(&mut self) {
        for thread in self.threads.iter_mut().flatten() {
            thread.variable_bytes = thread.variables.iter().map(|(_, value)| bytes(value)).sum();
        }
        self.variable_bytes = self.counted_variable_bytes();
    }

    /// The same as `variable_bytes`, counted anew; no thread may be taken out.
    pub(crate) fn counted_variable_bytes(&self) -> u64 {
        self.threads.iter().flatten().map(|thread| thread.variable_bytes).sum()
    }

    /// Threads by what they wait for.
    pub(crate) fn index(&mut self) {
        for (id, thread) in self.threads.iter().enumerate() {
            let Some(thread) = thread else { continue };
            if !matches!(thread.activity, Activity::Fork(_) | Activity::Stopped) {
                let id = ThreadId::try_from(id).expect("threads are counted in 32 bits");
                self.waiting.insert(thread.visit, id);
            }
        }
    }

    /// The semantics the execution began under.
    #[must_use]
    pub fn semantics(&self) -> u32 {
        self.semantics
    }

    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Where the execution stands: of each thread the state, what it does, its input and
    /// variables.
    #[must_use]
    pub fn inspect(&self, program: &Program) -> Value {
        let threads = self.threads.iter().flatten().map(|thread| {
            let variables: serde_json::Map<String, Value> = thread
                .variables
                .iter()
                .map(|(name, value)| (name.to_string(), (**value).clone()))
                .collect();
            json!({
                "state": &*program.state(thread.state).name,
                "activity": activity_name(&thread.activity),
                "visit": thread.visit,
                "attempt": thread.attempt,
                "enteredTime": thread.entered_at.to_rfc3339(),
                "input": &*thread.input,
                "variables": variables,
            })
        });
        json!({ "status": self.status(), "threads": threads.collect::<Vec<_>>() })
    }
}

fn is_activity(program: &Program, thread: &Thread) -> bool {
    let kind = &program.state(thread.state).kind;
    matches!(kind, Kind::Task(task) if task.service == Service::Activity)
}

/// The timer of the whole execution; a redrive sets another.
pub(crate) fn execution_timer(redrives: u32) -> Timer {
    Timer { visit: Visit(0), kind: TimerKind::Execution, attempt: redrives }
}

fn activity_name(activity: &Activity) -> &'static str {
    match activity {
        Activity::Ready => "ready",
        Activity::Waiting { .. } => "waiting",
        Activity::Retrying { .. } => "retrying",
        Activity::Task(_) => "task",
        Activity::Fork(_) => "children",
        Activity::MapRun(_) => "map run",
        Activity::Stopped => "stopped",
    }
}
