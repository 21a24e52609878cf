//! What each input does. Inputs that concern nothing have been turned away before.

use crate::entry::Entry;
use crate::fault::{FaultKind, TIMEOUT};
use crate::io::{Failure, Input, Outcome, Timer, TimerKind, Visit};
use crate::thread::{Activity, Thread, ThreadId};

use super::{Flow, ROOT, Run, events};

impl Run<'_> {
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Started(_) => {}
            Input::TaskStarted { task, worker } => self.at(task.visit, |run, _, thread| {
                if let Activity::Task(open) = &mut thread.activity {
                    open.started = true;
                }
                run.activity_started(thread, worker.as_deref());
                Flow::Wait
            }),
            Input::TaskSubmitted { task, output } => self.at(task.visit, |run, _, thread| {
                if let Activity::Task(open) = &mut thread.activity {
                    open.submitted = true;
                }
                run.task_submitted(thread, &output);
                Flow::Wait
            }),
            Input::TaskSucceeded { task, output } => {
                self.at(task.visit, |run, id, thread| run.task_succeeded(id, thread, output));
            }
            Input::TaskFailed { task, failure } => {
                self.at(task.visit, |run, id, thread| run.task_failed(id, thread, failure));
            }
            Input::Heartbeat { task } => self.at(task.visit, |run, _, thread| {
                run.heartbeat(thread);
                Flow::Wait
            }),
            Input::TimerFired { timer } => self.timer_fired(timer),
            Input::MapRunEnded { visit, outcome } => {
                self.at(visit, |run, id, thread| run.map_run_ended(id, thread, outcome));
            }
            Input::Stopped(failure) => self.stopped(failure),
            Input::Redriven => self.redriven(None),
            Input::RedrivenFrom(entry) => self.redriven(Some(&entry)),
        }
        self.walk();
    }

    /// Lets the thread that waits in `visit` take something.
    fn at(&mut self, visit: Visit, take: impl FnOnce(&mut Self, ThreadId, &mut Thread) -> Flow) {
        let Some(id) = self.execution.waiting.get(&visit).copied() else { return };
        let Some(mut thread) = self.take_thread(id) else { return };
        let flow = take(self, id, &mut thread);
        self.settle(id, thread, flow);
    }

    fn timer_fired(&mut self, timer: Timer) {
        match timer.kind {
            TimerKind::Execution => self.timed_out(),
            TimerKind::Wait => self.at(timer.visit, |run, id, thread| {
                run.waited(thread).unwrap_or_else(|fault| run.handle(id, thread, fault))
            }),
            TimerKind::Retry => self.at(timer.visit, |run, id, thread| {
                thread.attempt += 1;
                thread.activity = Activity::Ready;
                run.attempt(id, thread)
            }),
            TimerKind::Timeout => self
                .at(timer.visit, |run, id, thread| run.task_timed_out(id, thread, FaultKind::Told)),
            TimerKind::Heartbeat => self.at(timer.visit, |run, id, thread| {
                run.task_timed_out(id, thread, FaultKind::Heartbeat)
            }),
        }
    }

    fn timed_out(&mut self) {
        self.execution.times_out_at = None;
        let last = self.stop_all();
        let limit = self.express_limit();
        let own = self.program.timeout_seconds();
        let failure = match limit.filter(|limit| own.is_none_or(|own| own > *limit)) {
            None => Failure::default(),
            Some(limit) => Failure::new(
                TIMEOUT,
                format!(
                    "The EXPRESS execution ran longer than {limit} seconds (limit express_seconds)."
                ),
            ),
        };
        self.emit(last, "ExecutionTimedOut", || {
            events::workflow_failure_details("executionTimedOutEventDetails", &failure)
        });
        self.end(Outcome::TimedOut(failure));
    }

    fn stopped(&mut self, failure: Failure) {
        let last = self.stop_all();
        self.emit(last, "ExecutionAborted", || {
            events::workflow_failure_details("executionAbortedEventDetails", &failure)
        });
        self.end(Outcome::Aborted(failure));
    }

    /// Every state that had been stopped is entered again with the input it had; or only the one
    /// named, and what was stopped is forgotten.
    fn redriven(&mut self, entry: Option<&Entry>) {
        if self.execution.outcome.take().is_none() {
            self.execution.times_out_at = None;
            self.stop_all();
        }
        let event = self.tell_redriven();
        self.set_execution_timer();
        if let Some(thread) = entry.and_then(|entry| entry.thread(self.program, event)) {
            self.drop_children(ROOT);
            self.execution.threads[ROOT as usize] = Some(thread);
            self.execution.variable_bytes = self.execution.counted_variable_bytes();
            self.ready.push_back(ROOT);
            return;
        }
        for (id, thread) in self.execution.threads.iter_mut().enumerate() {
            let Some(thread) = thread else { continue };
            if matches!(thread.activity, Activity::Stopped) {
                thread.activity = Activity::Ready;
                thread.last = event;
                let visit = thread.visit;
                if let Some(last) = &mut thread.map_run {
                    last.redriven = last.visit == visit;
                }
                self.ready.extend(ThreadId::try_from(id));
            }
        }
    }

    pub(super) fn tell_redriven(&mut self) -> u64 {
        self.execution.redrives += 1;
        self.execution.redriven_at = Some(self.execution.at);
        let count = self.execution.redrives;
        let last = self.execution.events;
        self.emit(last, "ExecutionRedriven", || {
            let details = serde_json::json!({ "redriveCount": count });
            Some(("executionRedrivenEventDetails", details))
        })
    }
}
