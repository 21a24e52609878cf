//! Retry, Catch, and what happens to everything else when nothing handles a failure.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::data::{Leaving, Seen, merge};
use super::{Flow, ROOT, Run, events};
use crate::chance::{Point, seed, unit};
use crate::definition::model::{Catcher, Kind, Language, Retrier, State, Target};
use crate::fault::{Fault, FaultKind, RUNTIME, TIMEOUT};
use crate::io::{Command, Failure, Outcome, TaskId, Timer, TimerKind};
use crate::thread::{Activity, Thread, ThreadId};

impl Run<'_> {
    /// What a state does about a failure: again, elsewhere, or give up.
    pub(super) fn handle(&mut self, id: ThreadId, thread: &mut Thread, fault: Fault) -> Flow {
        let fault = self.with_cause(thread, fault);
        let heartbeat = fault.kind == FaultKind::Heartbeat;
        self.note_failure(&fault.failure);
        self.terminal |=
            fault.kind == FaultKind::DataLimit && self.execution.start.bounds.data_limit_ends;
        // Data that the state itself cannot go on with ends the execution at once.
        let fatal = matches!(fault.kind, FaultKind::Runtime | FaultKind::DataLimit);
        let failure = self.told(thread, fault);
        let state = self.program.state(thread.state);
        let forks = matches!(state.kind, Kind::Parallel { .. } | Kind::Map(_));
        if let Some(flow) = self.retry(thread, state, &failure, heartbeat) {
            self.terminal = false;
            if forks {
                self.drop_children(id);
            }
            return flow;
        }
        if forks && !fatal {
            thread.last = self.emit(thread.last, events::failed(&state.kind), || None);
        }
        let index = state.catch.iter().position(|c| self.names(&c.errors, &failure, heartbeat));
        let Some(index) = index else { return Flow::Failed(failure) };
        let catcher = &state.catch[index];
        self.note_error("catchIndex", index);
        let caught = self.catch(thread, state, catcher, &failure);
        match caught.map_err(|fault| fault.within(&format!("Catch[{index}]/"))) {
            Ok(flow) => {
                self.terminal = false;
                if forks {
                    self.drop_children(id);
                }
                flow
            }
            Err(fault) => {
                let fault = self.with_cause(thread, fault);
                Flow::Failed(self.told(thread, fault))
            }
        }
    }

    /// Data that is too large is told with the state's name, as AWS does.
    fn with_cause(&self, thread: &Thread, mut fault: Fault) -> Fault {
        if fault.kind == FaultKind::DataLimit && fault.failure.cause.is_none() {
            let name = &self.program.state(thread.state).name;
            fault.failure.cause = Some(format!(
                "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
            ));
        }
        fault
    }

    /// Whether ErrorEquals names the failure.
    fn names(&self, errors: &[String], failure: &Failure, heartbeat: bool) -> bool {
        let error = failure.error.as_deref().unwrap_or_default();
        let any = error != RUNTIME && !self.terminal;
        errors.iter().any(|name| match name.as_str() {
            "States.ALL" => any,
            "States.TaskFailed" => any && error != TIMEOUT,
            "States.HeartbeatTimeout" if heartbeat => true,
            name => name == error,
        })
    }

    /// The failure as it is shown, its event written if it has one of its own.
    fn told(&mut self, thread: &mut Thread, fault: Fault) -> Failure {
        match fault.kind {
            FaultKind::Told | FaultKind::Heartbeat | FaultKind::DataLimit => fault.failure,
            FaultKind::Runtime => self.explain(thread, fault),
            FaultKind::Evaluation { ref location } => {
                let location = location.clone();
                let failure = self.explain(thread, fault);
                let name = &self.program.state(thread.state).name;
                // AWS lets it follow what came before the state, unless the state went on.
                let follows =
                    if thread.last == thread.entered { thread.before } else { thread.last };
                thread.last = self.emit(follows, "EvaluationFailed", || {
                    events::evaluation_failed(name, &failure, location.as_deref())
                });
                failure
            }
        }
    }

    fn retry(
        &mut self,
        thread: &mut Thread,
        state: &State,
        failure: &Failure,
        heartbeat: bool,
    ) -> Option<Flow> {
        let index = state.retry.iter().position(|r| self.names(&r.errors, failure, heartbeat))?;
        let retrier = &state.retry[index];
        thread.retries.resize(state.retry.len(), 0);
        let done = thread.retries[index];
        self.note_error("retryIndex", index);
        if done >= retrier.max_attempts {
            return None;
        }
        thread.retries[index] += 1;
        let chance = seed(self.execution.start.seed, thread.visit.0, thread.attempt, Point::Jitter);
        let until = self.execution.at.plus(pause(retrier, done, unit(chance)));
        let pause = until.since(self.execution.at).as_secs();
        self.note_error(
            "retryBackoffIntervalSeconds",
            usize::try_from(pause).unwrap_or(usize::MAX),
        );
        thread.activity = Activity::Retrying { until };
        let timer = Timer { visit: thread.visit, kind: TimerKind::Retry, attempt: thread.attempt };
        self.commands.push(Command::SetTimer { timer, at: until });
        Some(Flow::Wait)
    }

    fn catch(
        &mut self,
        thread: &mut Thread,
        state: &State,
        catcher: &Catcher,
        failure: &Failure,
    ) -> Result<Flow, Fault> {
        let error = Arc::new(error_output(failure));
        let leaving = match state.language {
            Language::Jsonata => self.jsonata_caught(thread, catcher, &error)?,
            Language::JsonPath => {
                let seen = Seen::default();
                let assigned = catcher
                    .assign
                    .as_ref()
                    .map(|a| self.evaluate(thread, Point::Caught, a, "Assign", &error, seen))
                    .transpose()?;
                let output = merge(&thread.input, error, &catcher.result_path)?;
                self.check_size(thread, &output)?;
                Leaving { output, assigned }
            }
        };
        self.leave(thread, leaving, Target::State(catcher.next))
    }

    fn jsonata_caught(
        &self,
        thread: &Thread,
        catcher: &Catcher,
        error: &Arc<Value>,
    ) -> Result<Leaving, Fault> {
        let seen = Seen { error: Some(error), ..Seen::default() };
        self.with_frame(thread, Point::Caught, &thread.input, seen, |frame| {
            let assigned =
                catcher.assign.as_ref().map(|assign| assign.eval("Assign", frame)).transpose()?;
            let output = match &catcher.output {
                Some(output) => output.eval("Output", frame)?,
                None => Arc::clone(error),
            };
            Ok(Leaving { output, assigned })
        })
    }

    /// A thread in which nothing handles the failure: the state above it may.
    pub(super) fn fail_thread(&mut self, id: ThreadId, thread: Thread, failure: Failure) {
        let (mut id, mut thread, mut failure) = (id, thread, failure);
        loop {
            let (last, parent) = (thread.last, thread.parent);
            if !matches!(thread.activity, Activity::Fork(_)) {
                thread.activity = Activity::Stopped;
            }
            self.put_thread(id, thread);
            let Some(parent) = parent else {
                self.emit(last, "ExecutionFailed", || {
                    events::workflow_failure_details("executionFailedEventDetails", &failure)
                });
                return self.end(Outcome::Failed(failure));
            };
            let Some(mut above) = self.take_thread(parent.thread) else { return };
            let state = self.program.state(above.state);
            if matches!(state.kind, Kind::Map(_)) {
                self.emit(last, "MapIterationFailed", || {
                    let name = "mapIterationFailedEventDetails";
                    events::iteration(name, &state.name, parent.index)
                });
            }
            self.abort_children(parent.thread, Some(id), last, &state.kind, &state.name);
            above.last = last;
            match self.handle(parent.thread, &mut above, Fault::told(failure)) {
                Flow::Failed(unhandled) => {
                    (id, thread, failure) = (parent.thread, above, unhandled);
                }
                flow => return self.settle(parent.thread, above, flow),
            }
        }
    }

    fn children(&self, of: ThreadId) -> Vec<ThreadId> {
        let threads = self.execution.threads.iter().enumerate();
        threads
            .filter(|(_, thread)| {
                thread.as_ref().and_then(|t| t.parent).is_some_and(|parent| parent.thread == of)
            })
            .filter_map(|(id, _)| ThreadId::try_from(id).ok())
            .collect()
    }

    /// Stops what the siblings of a failed branch or iteration were doing.
    pub(super) fn abort_children(
        &mut self,
        of: ThreadId,
        except: Option<ThreadId>,
        follows: u64,
        kind: &Kind,
        name: &str,
    ) {
        for child in self.children(of) {
            if Some(child) == except {
                continue;
            }
            let Some(mut thread) = self.take_thread(child) else { continue };
            if matches!(kind, Kind::Map(_)) {
                let index = thread.parent.map_or(0, |parent| parent.index);
                self.emit(follows, "MapIterationAborted", || {
                    events::iteration("mapIterationAbortedEventDetails", name, index)
                });
            }
            self.abort(child, &mut thread, follows);
            self.put_thread(child, thread);
        }
    }

    fn abort(&mut self, id: ThreadId, thread: &mut Thread, follows: u64) {
        let state = self.program.state(thread.state);
        self.abort_children(id, None, follows, &state.kind, &state.name);
        let tells = matches!(
            state.kind,
            Kind::Task(_) | Kind::Wait(_) | Kind::Parallel { .. } | Kind::Map(_)
        );
        if tells && !matches!(thread.activity, Activity::Ready | Activity::Stopped) {
            self.emit(follows, events::aborted(&state.kind), || None);
        }
        self.cancel(thread);
        self.ready.retain(|ready| *ready != id);
        if !matches!(thread.activity, Activity::Fork(_)) {
            thread.activity = Activity::Stopped;
        }
    }

    /// Commands that end what the thread waits for.
    fn cancel(&mut self, thread: &Thread) {
        let timer = |kind| Timer { visit: thread.visit, kind, attempt: thread.attempt };
        match &thread.activity {
            Activity::Waiting { .. } => {
                self.commands.push(Command::ClearTimer { timer: timer(TimerKind::Wait) });
            }
            Activity::Retrying { .. } => {
                self.commands.push(Command::ClearTimer { timer: timer(TimerKind::Retry) });
            }
            Activity::Task(_) => {
                self.clear_task_timers(thread);
                let task = TaskId { visit: thread.visit, attempt: thread.attempt };
                self.commands.push(Command::CancelTask { task });
            }
            Activity::MapRun(_) => {
                self.commands.push(Command::StopMapRun { visit: thread.visit });
            }
            Activity::Ready | Activity::Fork(_) | Activity::Stopped => {}
        }
    }

    /// Ends the whole execution from outside.
    pub(super) fn stop_all(&mut self) -> u64 {
        let Some(mut root) = self.take_thread(ROOT) else { return 0 };
        let last = root.last;
        self.abort(ROOT, &mut root, last);
        self.put_thread(ROOT, root);
        last
    }

    /// The thread is gone, and its variables with it.
    pub(super) fn forget_variables(&mut self, thread: &Thread) {
        let all = &mut self.execution.variable_bytes;
        *all = all.saturating_sub(thread.variable_bytes);
    }

    /// Forgets the children of a thread, and theirs.
    pub(super) fn drop_children(&mut self, of: ThreadId) {
        for child in self.children(of) {
            self.drop_children(child);
            self.ready.retain(|ready| *ready != child);
            if let Some(thread) = self.execution.threads[child as usize].take() {
                self.forget_variables(&thread);
            }
            self.execution.free.push(child);
        }
    }
}

/// The pause before the retry that follows `done` retries; `chance` is from 0 to 1.
fn pause(retrier: &Retrier, done: u32, chance: f64) -> Duration {
    /// Beyond this no timer is worth setting exactly; AWS's own bound is a year.
    const LONGEST: f64 = 31_622_400.0;
    let exponent = i32::try_from(done).unwrap_or(i32::MAX);
    #[expect(clippy::cast_precision_loss, reason = "bounded by 99,999,999")]
    let seconds = retrier.interval_seconds as f64 * retrier.backoff_rate.powi(exponent);
    #[expect(clippy::cast_precision_loss, reason = "bounded by 31,622,400")]
    let most = retrier.max_delay_seconds.map_or(LONGEST, |most| most as f64);
    let seconds = seconds.min(most);
    Duration::from_secs_f64(if retrier.full_jitter { seconds * chance } else { seconds })
}

/// What Catch hands on.
fn error_output(failure: &Failure) -> Value {
    let mut object = Map::new();
    if let Some(error) = &failure.error {
        object.insert("Error".to_owned(), Value::from(error.as_str()));
    }
    if let Some(cause) = &failure.cause {
        object.insert("Cause".to_owned(), Value::from(cause.as_str()));
    }
    Value::Object(object)
}
