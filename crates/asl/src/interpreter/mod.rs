//! The interpreter: takes an input, walks the threads that can go on, gives commands.
//!
//! Threads that can go on take turns, a state at a time, in the order they became ready. A
//! thread is moved out of the execution while it runs, so what it changes is plain to see.

mod context;
mod data;
mod distributed;
mod events;
mod failure;
mod fork;
mod inputs;
mod single;
mod size;
mod task;
mod work;

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use crate::entry::Watch;
use crate::execution::{Execution, execution_timer};
use crate::fault::{Fault, RUNTIME};
use crate::history::{Details, HistoryEvent};
use crate::io::{Command, Failure, Outcome, WorkflowType};
use crate::program::Program;
use crate::thread::{Activity, Thread, ThreadId};

pub(crate) use context::of_map_run;
pub(crate) use data::check_array;
pub(crate) use single::{Inspection, STATE_NAME, Visited};
pub(crate) use size::bytes;
pub(crate) use task::task_command;

/// The execution's own thread.
pub(crate) const ROOT: ThreadId = 0;

/// One input being taken.
pub(crate) struct Run<'r> {
    pub(crate) program: &'r Program,
    pub(crate) execution: &'r mut Execution,
    recorder: Option<Recorder<'r>>,
    inspection: Option<&'r Inspection>,
    commands: Vec<Command>,
    ready: VecDeque<ThreadId>,
    steps: u64,
    /// The failure on its way up is one that States.ALL leaves alone.
    terminal: bool,
}

/// Takes down what happens, and when it is enough.
pub(crate) struct Recorder<'r> {
    pub(crate) events: &'r mut Vec<HistoryEvent>,
    /// Once this event has come about, nothing more is done.
    pub(crate) until: u64,
    pub(crate) watch: Option<&'r mut Watch>,
}

/// What a thread does after a step.
enum Flow {
    /// It goes on with its next step.
    Next,
    /// It waits for something from outside or for its children.
    Wait,
    /// Its last state ended with this output.
    Done(Arc<Value>),
    /// Nothing in it handles the failure.
    Failed(Failure),
}

impl<'r> Run<'r> {
    pub(crate) fn new(
        program: &'r Program,
        execution: &'r mut Execution,
        recorder: Option<Recorder<'r>>,
    ) -> Self {
        Run {
            program,
            execution,
            recorder,
            inspection: None,
            commands: Vec::new(),
            ready: VecDeque::new(),
            steps: 0,
            terminal: false,
        }
    }

    pub(crate) fn begin(&mut self) {
        let start = Arc::clone(&self.execution.start);
        let started = self.emit(0, "ExecutionStarted", || events::execution_started(&start));
        let resumed = start.resumption.as_deref().and_then(|resumption| {
            let thread = resumption.entry.thread(self.program, started)?;
            Some((resumption, thread))
        });
        let thread = match resumed {
            Some((resumption, thread)) => {
                self.execution.visits = resumption.visits;
                self.execution.redrives = resumption.redrives;
                Thread { last: self.tell_redriven(), ..thread }
            }
            // AWS: nothing follows ExecutionStarted, the first state's event names no previous one.
            None => Thread::new(None, self.program.start(), Arc::clone(&start.input), 0),
        };
        self.set_execution_timer();
        self.execution.variable_bytes = thread.variable_bytes;
        self.execution.threads.push(Some(thread));
        self.ready.push_back(ROOT);
        self.walk();
    }

    fn set_execution_timer(&mut self) {
        let (own, limit) = (self.program.timeout_seconds(), self.express_limit());
        if let Some(seconds) = own.into_iter().chain(limit).min() {
            let at = self.execution.at.plus(std::time::Duration::from_secs(seconds));
            self.execution.times_out_at = Some(at);
            let timer = execution_timer(self.execution.redrives);
            self.commands.push(Command::SetTimer { timer, at });
        }
    }

    /// Seconds after which the execution is timed out whatever its definition says.
    fn express_limit(&self) -> Option<u64> {
        let start = &self.execution.start;
        start.bounds.express_seconds.filter(|_| start.workflow_type == WorkflowType::Express)
    }

    pub(crate) fn finish(self) -> Vec<Command> {
        let execution = &self.execution;
        debug_assert_eq!(execution.variable_bytes, execution.counted_variable_bytes());
        self.commands
    }

    /// Lets every thread that can go on do so.
    fn walk(&mut self) {
        while self.execution.outcome.is_none() && !self.is_enough() {
            let Some(id) = self.ready.pop_front() else { break };
            if let Some(thread) = self.take_thread(id) {
                self.go_on(id, thread);
            }
        }
        self.ready.clear();
    }

    fn go_on(&mut self, id: ThreadId, mut thread: Thread) {
        loop {
            let flow = self.step(id, &mut thread);
            match flow {
                Flow::Next if self.ready.is_empty() && !self.is_enough() => {}
                flow => return self.settle(id, thread, flow),
            }
        }
    }

    /// Whether the event has come about up to which a replay was asked for.
    fn is_enough(&self) -> bool {
        self.recorder.as_ref().is_some_and(|recorder| self.execution.events >= recorder.until)
    }

    /// Puts a thread back as its flow says.
    fn settle(&mut self, id: ThreadId, thread: Thread, flow: Flow) {
        match flow {
            Flow::Next => {
                self.put_thread(id, thread);
                self.ready.push_back(id);
            }
            Flow::Wait => self.put_thread(id, thread),
            Flow::Done(output) => self.finish_thread(id, thread, output),
            Flow::Failed(failure) => self.fail_thread(id, thread, failure),
        }
    }

    fn step(&mut self, id: ThreadId, thread: &mut Thread) -> Flow {
        self.steps += 1;
        if let Some(cause) = self.exhausted() {
            return Flow::Failed(Failure::new(RUNTIME, cause));
        }
        match &mut thread.activity {
            Activity::Task(open) if !open.started => {
                open.started = true;
                self.tell_task_started(thread);
                Flow::Wait
            }
            _ => self.enter(id, thread),
        }
    }

    /// Why the execution may not go on, when a bound is reached.
    fn exhausted(&self) -> Option<String> {
        let bounds = &self.execution.start.bounds;
        if self.steps > bounds.steps_per_input {
            let most = bounds.steps_per_input;
            return Some(format!(
                "The execution took {most} steps without waiting for anything (limit steps_per_input). It runs in a loop."
            ));
        }
        (self.execution.events >= bounds.history_events).then(|| {
            let most = bounds.history_events;
            format!("The execution reached the maximum number of history events ({most}).")
        })
    }

    /// Takes a thread to work on it; nothing waits in it meanwhile.
    fn take_thread(&mut self, id: ThreadId) -> Option<Thread> {
        let thread = self.execution.threads.get_mut(id as usize)?.take()?;
        self.execution.waiting.remove(&thread.visit);
        Some(thread)
    }

    fn put_thread(&mut self, id: ThreadId, thread: Thread) {
        let waits =
            !matches!(thread.activity, Activity::Ready | Activity::Fork(_) | Activity::Stopped);
        if waits {
            self.execution.waiting.insert(thread.visit, id);
        }
        self.execution.threads[id as usize] = Some(thread);
    }

    fn add_thread(&mut self, thread: Thread) -> ThreadId {
        if let Some(id) = self.execution.free.pop() {
            self.execution.threads[id as usize] = Some(thread);
            return id;
        }
        let threads = &mut self.execution.threads;
        threads.push(Some(thread));
        ThreadId::try_from(threads.len() - 1).expect("threads are counted in 32 bits")
    }

    /// Counts an event of the history, and tells it when somebody listens.
    fn emit(
        &mut self,
        previous: u64,
        event_type: &'static str,
        details: impl FnOnce() -> Details,
    ) -> u64 {
        self.execution.events += 1;
        let id = self.execution.events;
        if let Some(recorder) = &mut self.recorder {
            recorder.events.push(HistoryEvent {
                id,
                previous_event_id: previous,
                timestamp: self.execution.at,
                event_type,
                details: details(),
            });
        }
        id
    }

    fn watch(&mut self, tell: impl FnOnce(&mut Watch)) {
        if let Some(watch) = self.recorder.as_mut().and_then(|recorder| recorder.watch.as_mut()) {
            tell(watch);
        }
    }

    /// Takes the latest event back, if it is the one named.
    fn unsay(&mut self, event: u64) -> bool {
        let latest = event == self.execution.events;
        if latest {
            self.execution.events -= 1;
            if let Some(recorder) = &mut self.recorder {
                recorder.events.pop();
            }
        }
        latest
    }

    /// The execution is over. Nothing may be open any more.
    fn end(&mut self, outcome: Outcome) {
        if self.execution.times_out_at.take().is_some() {
            let timer = execution_timer(self.execution.redrives);
            self.commands.push(Command::ClearTimer { timer });
        }
        if matches!(outcome, Outcome::Succeeded(_)) {
            self.execution.threads.clear();
            self.execution.variable_bytes = 0;
            self.execution.free.clear();
        }
        self.execution.waiting.clear();
        self.execution.outcome = Some(outcome.clone());
        self.commands.push(Command::End(outcome));
    }

    /// The text of a failure that the state's place is put before.
    fn explain(&self, thread: &Thread, fault: Fault) -> Failure {
        let name = &self.program.state(thread.state).name;
        let entered = thread.entered;
        let cause = fault.failure.cause.unwrap_or_default();
        Failure {
            error: fault.failure.error,
            cause: Some(format!(
                "An error occurred while executing the state '{name}' (entered at the event id #{entered}). {cause}"
            )),
        }
    }
}
