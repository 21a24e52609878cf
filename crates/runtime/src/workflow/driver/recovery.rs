//! What was in flight when the process ended, or when an execution was taken up anew in the same
//! process: counted, then sent again or failed, as the project file says.

use stepbus_asl::{Command, Failure, Input, MapRunSpec, RunTask, TaskId, WorkflowType};
use stepbus_store::{Batch, ExecutionKind, StoreError};

use super::{Awaited, Driver, Step};
use crate::declared::{AtCrash, InFlightAtCrash};
use crate::workflow::inside;

/// The error of an attempt of which nobody knows whether it was carried out.
pub const IN_FLIGHT_AT_CRASH: &str = "Stepbus.InFlightAtCrash";

impl Driver {
    /// Counts the crash against what was in flight, so that an answer that kills the process
    /// ends as an error, and has what was in flight begin again.
    pub(super) async fn recover(&mut self, was_idle: bool) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        if was_idle {
            batch.wake_execution(self.row.id);
            self.row.idle = false;
        }
        let tasks = self.execution.open_tasks(&self.program);
        // What began in this process was in flight at no crash: it waited for room in memory, or
        // the store failed for a while.
        let began = self.row.redriven.unwrap_or(self.row.started);
        let at_crash = began < self.engine.started;
        let cut_off = self.engine.executions.cut_off.lock().remove(&self.row.id);
        let express = |spec: &MapRunSpec| spec.execution_type == WorkflowType::Express;
        let map_runs = self.execution.open_map_runs().into_iter().filter(express);
        let map_runs: Vec<Awaited> = map_runs.map(|spec| Awaited::MapRun(spec.visit)).collect();
        let in_flight = tasks.iter().any(inside::is_call) || !map_runs.is_empty();
        if in_flight && at_crash {
            self.row.recoveries += 1;
            batch.set_recoveries(self.row.id, self.row.recoveries);
        }
        if !batch.is_empty() {
            self.engine.store.commit(batch).await?;
        }
        let crashes = self.row.recoveries;
        if crashes > 0 {
            self.recovered.extend(map_runs);
        }
        let poisonous = crashes > self.engine.limits.task_recoveries;
        for task in tasks {
            let call = inside::is_call(&task);
            if call && crashes > 0 {
                self.recovered.insert(Awaited::Task(task.task));
            }
            if call && poisonous {
                let failure = self.poisonous(crashes);
                self.fail_recovered(task.task, failure);
            } else if call && (at_crash || cut_off) && self.may_not_resend(&task) {
                self.fail_recovered(task.task, in_flight_failure());
            } else {
                self.first.push(Command::RunTask(task));
            }
        }
        Ok(())
    }

    fn may_not_resend(&self, task: &RunTask) -> bool {
        self.records_attempts() && self.at_crash(|spec| spec.of(&task.state_name) == AtCrash::Fail)
    }

    /// An EXPRESS execution's journal may be behind what it called.
    fn records_attempts(&self) -> bool {
        self.row.kind == ExecutionKind::Standard
    }

    fn at_crash(&self, holds: impl FnOnce(&InFlightAtCrash) -> bool) -> bool {
        let catalogue = self.engine.catalogue();
        let workflow = catalogue.workflows.get(catalogue.name(self.row.workflow));
        workflow.is_some_and(|workflow| holds(&workflow.spec.in_flight_at_crash))
    }

    fn poisonous(&self, crashes: u32) -> Failure {
        let limit = self.engine.limits.task_recoveries;
        let cause = format!(
            "The process ended {crashes} times while this task was in flight, the limit is {limit} (task_recoveries)"
        );
        Failure::new("States.Runtime", cause)
    }

    /// Has every call of a map's child fail, since it was at work at so many crashes in a row.
    pub(in crate::workflow) fn may_not_call(&mut self, crashes: u32) {
        self.may_not_call = Some(crashes);
    }

    pub(super) fn refuses(&self, task: &RunTask) -> Option<Failure> {
        let crashes = self.may_not_call?;
        inside::is_call(task).then(|| self.poisonous(crashes))
    }

    pub(super) fn fail_recovered(&mut self, task: TaskId, failure: Failure) {
        let input = Input::TaskFailed { task, failure };
        self.calls.start(Awaited::Task(task), Box::pin(async { input.into() }));
    }

    /// Crashes are counted no longer once everything has a result that was in flight at the
    /// latest one: until then other branches may go on while one kills the process.
    pub(super) fn forget_recovered(&mut self, step: &mut Step) {
        if self.row.recoveries > 0 && self.recovered.is_empty() {
            self.row.recoveries = 0;
            step.batch.set_recoveries(self.row.id, 0);
        }
    }
}

impl Drop for Driver {
    /// Calls that are dropped here may have been carried out, which only this process knows.
    fn drop(&mut self) {
        if self.ended.is_none()
            && self.records_attempts()
            && self.calls.has_task()
            && self.at_crash(InFlightAtCrash::fails_any)
        {
            self.engine.executions.cut_off.lock().insert(self.row.id);
        }
    }
}

fn in_flight_failure() -> Failure {
    let cause = "The process ended while this attempt was in flight. Whether it was carried out is not known; it is not sent again, as `in_flight_at_crash` of the workflow says.";
    Failure::new(IN_FLIGHT_AT_CRASH, cause)
}
