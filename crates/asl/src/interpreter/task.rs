//! Task states: the call, its timers, its result.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::data::Seen;
use super::events::{self, Moment};
use super::size::excess;
use super::{Flow, Run};
use crate::chance::{Point, task_token};
use crate::definition::model::{Kind, Service, State, Task};
use crate::execution::Execution;
use crate::expression::Expression;
use crate::fault::{DATA_LIMIT, Fault, FaultKind, RUNTIME, TIMEOUT};
use crate::io::{Command, Failure, RunTask, TaskId, Timer, TimerKind};
use crate::program::Program;
use crate::thread::{Activity, OpenTask, Thread, ThreadId};

impl Run<'_> {
    pub(super) fn start_task(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        state: &State,
        task: &Task,
    ) -> Result<Flow, Fault> {
        let input = self.effective_input(thread, state)?;
        let arguments = self.arguments(thread, state, &input)?;
        let timeout_seconds =
            self.seconds(thread, task.timeout.as_ref(), "TimeoutSeconds", &input)?;
        let heartbeat_seconds =
            self.seconds(thread, task.heartbeat.as_ref(), "HeartbeatSeconds", &input)?;
        let credentials = match &task.credentials {
            Some(credentials) => Some(self.evaluate(
                thread,
                Point::Before,
                credentials,
                "Credentials",
                &input,
                Seen::default(),
            )?),
            None => None,
        };
        let now = self.execution.at;
        let after = |seconds: u64| now.plus(Duration::from_secs(seconds));
        let open = OpenTask {
            arguments,
            credentials,
            timeout_seconds,
            heartbeat_seconds,
            timeout_at: timeout_seconds.map(after),
            heartbeat_at: heartbeat_seconds.map(after),
            started: false,
            submitted: false,
        };
        let event = events::task_event(&task.service, Moment::Scheduled);
        thread.last = self.emit(thread.last, event, || events::task_scheduled(task, &open));
        self.call(thread, open);
        if task.service == Service::Activity {
            return Ok(Flow::Wait);
        }
        // Its start is told when its turn comes again, after other threads had theirs.
        self.ready.push_back(id);
        Ok(Flow::Wait)
    }

    fn call(&mut self, thread: &mut Thread, open: OpenTask) {
        let timer = |kind| Timer { visit: thread.visit, kind, attempt: thread.attempt };
        if let Some(at) = open.timeout_at {
            self.commands.push(Command::SetTimer { timer: timer(TimerKind::Timeout), at });
        }
        if let Some(at) = open.heartbeat_at {
            self.commands.push(Command::SetTimer { timer: timer(TimerKind::Heartbeat), at });
        }
        let command = task_command(self.execution, self.program, thread, &open);
        self.commands.extend(command.map(Command::RunTask));
        thread.activity = Activity::Task(Box::new(open));
    }

    fn seconds(
        &self,
        thread: &Thread,
        expression: Option<&Expression>,
        name: &str,
        input: &Value,
    ) -> Result<Option<u64>, Fault> {
        expression.map(|seconds| self.whole_number(thread, seconds, name, input)).transpose()
    }

    pub(super) fn tell_task_started(&mut self, thread: &mut Thread) {
        let Kind::Task(task) = &self.program.state(thread.state).kind else { return };
        let event = events::task_event(&task.service, Moment::Started);
        thread.last = self.emit(thread.last, event, || events::task_started(&task.service, None));
    }

    pub(super) fn activity_started(&mut self, thread: &mut Thread, worker: Option<&str>) {
        let Kind::Task(task) = &self.program.state(thread.state).kind else { return };
        let event = events::task_event(&task.service, Moment::Started);
        thread.last = self.emit(thread.last, event, || events::task_started(&task.service, worker));
    }

    pub(super) fn task_submitted(&mut self, thread: &mut Thread, output: &Value) {
        let Kind::Task(task) = &self.program.state(thread.state).kind else { return };
        let event = events::task_event(&task.service, Moment::Submitted);
        thread.last = self.emit(thread.last, event, || {
            events::task_output(&task.service, Moment::Submitted, output)
        });
    }

    pub(super) fn task_succeeded(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        output: Arc<Value>,
    ) -> Flow {
        let program = self.program;
        let state = program.state(thread.state);
        let Kind::Task(task) = &state.kind else { return Flow::Wait };
        if excess(&output, self.execution.start.bounds.payload_bytes).is_some() {
            let name = match &task.service {
                Service::Integrated { resource_type, .. } => resource_type,
                _ => &task.resource_text,
            };
            let cause = format!(
                "The state/task '{name}' returned a result with a size exceeding the maximum number of bytes service limit."
            );
            return self.task_failed(id, thread, Failure::new(DATA_LIMIT, cause));
        }
        self.clear_task_timers(thread);
        let event = events::task_event(&task.service, Moment::Succeeded);
        thread.last = self.emit(thread.last, event, || {
            events::task_output(&task.service, Moment::Succeeded, &output)
        });
        let left = self
            .leaving(thread, state, output)
            .and_then(|leaving| self.leave(thread, leaving, state.next));
        left.unwrap_or_else(|fault| self.handle(id, thread, fault))
    }

    pub(super) fn task_failed(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        failure: Failure,
    ) -> Flow {
        self.clear_task_timers(thread);
        if failure.error.as_deref() == Some(RUNTIME) {
            return self.task_refused(id, thread, failure);
        }
        self.tell_failure(thread, Moment::Failed, &failure);
        self.handle(id, thread, Fault::told(failure))
    }

    /// The call could not be made at all, as that of an activity which is gone. AWS finds that out
    /// before it tells of the call.
    fn task_refused(&mut self, id: ThreadId, thread: &mut Thread, failure: Failure) -> Flow {
        let untold = matches!(&thread.activity, Activity::Task(open) if !open.started);
        if untold && self.unsay(thread.last) {
            thread.last = thread.entered;
        }
        self.handle(id, thread, Fault::runtime(failure.cause.unwrap_or_default()))
    }

    pub(super) fn task_timed_out(
        &mut self,
        id: ThreadId,
        thread: &mut Thread,
        kind: FaultKind,
    ) -> Flow {
        if let Activity::Task(open) = &mut thread.activity {
            match kind {
                FaultKind::Heartbeat => open.heartbeat_at = None,
                _ => open.timeout_at = None,
            }
        }
        self.clear_task_timers(thread);
        let task = TaskId { visit: thread.visit, attempt: thread.attempt };
        self.commands.push(Command::CancelTask { task });
        let failure = Failure { error: Some(TIMEOUT.to_owned()), cause: None };
        self.tell_failure(thread, Moment::TimedOut, &failure);
        self.handle(id, thread, Fault { failure, kind })
    }

    fn tell_failure(&mut self, thread: &mut Thread, moment: Moment, failure: &Failure) {
        let Kind::Task(task) = &self.program.state(thread.state).kind else { return };
        let event = events::task_event(&task.service, moment);
        thread.last =
            self.emit(thread.last, event, || events::task_failure(&task.service, moment, failure));
    }

    pub(super) fn heartbeat(&mut self, thread: &mut Thread) {
        let at = self.execution.at;
        let timer =
            Timer { visit: thread.visit, kind: TimerKind::Heartbeat, attempt: thread.attempt };
        let Activity::Task(open) = &mut thread.activity else { return };
        if let Some(seconds) = open.heartbeat_seconds {
            let at = at.plus(Duration::from_secs(seconds));
            open.heartbeat_at = Some(at);
            self.commands.push(Command::SetTimer { timer, at });
        }
    }

    pub(super) fn clear_task_timers(&mut self, thread: &Thread) {
        let Activity::Task(open) = &thread.activity else { return };
        let timer = |kind| Timer { visit: thread.visit, kind, attempt: thread.attempt };
        let (timeout, heartbeat) = (open.timeout_at.is_some(), open.heartbeat_at.is_some());
        if timeout {
            self.commands.push(Command::ClearTimer { timer: timer(TimerKind::Timeout) });
        }
        if heartbeat {
            self.commands.push(Command::ClearTimer { timer: timer(TimerKind::Heartbeat) });
        }
    }
}

/// The call that an open task stands for.
pub(crate) fn task_command(
    execution: &Execution,
    program: &Program,
    thread: &Thread,
    open: &OpenTask,
) -> Option<RunTask> {
    let state = program.state(thread.state);
    let Kind::Task(task) = &state.kind else { return None };
    let id = TaskId { visit: thread.visit, attempt: thread.attempt };
    let start = &execution.start;
    Some(RunTask {
        task: id,
        resource: Arc::clone(&task.resource),
        integration: task.integration,
        arguments: Arc::clone(&open.arguments),
        credentials: open.credentials.clone(),
        token: task.has_token().then(|| task_token(&start.execution_arn, start.seed, id)),
        state_name: Arc::clone(&state.name),
        timeout_seconds: open.timeout_seconds,
        heartbeat_seconds: open.heartbeat_seconds,
    })
}
