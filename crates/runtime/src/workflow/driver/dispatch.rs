//! Where a task goes: into the batch when its service is inside, to an activity's waiting list, or
//! outside.

use std::collections::VecDeque;

use bytes::Bytes;
use stepbus_asl::{Failure, Input, Integration, RunTask, TaskId};
use stepbus_model::ExecutionId;
use stepbus_store::{StoreError, TaskRef, TaskTokenRow};

use super::{Driver, Step};
use crate::workflow::inside::{self, Done};

/// How a task gets its result when no call gives it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wait {
    /// From whoever has its token, or from a worker.
    Token,
    /// At the end of the execution it started.
    Child(ExecutionId),
}

impl Driver {
    pub(super) fn run_task(
        &mut self,
        task: RunTask,
        step: &mut Step,
        inputs: &mut VecDeque<Input>,
    ) {
        let id = task.task;
        let fail = |failure| Input::TaskFailed { task: id, failure };
        if let Some(activity) = inside::activity_of(&task) {
            let known = self.engine.activities.named(activity);
            let Some(activity) = known else {
                let cause = format!("The activity {} does not exist.", task.resource);
                inputs.push_back(fail(Failure::new("States.Runtime", cause)));
                return;
            };
            let input = serde_json::to_vec(&task.arguments).unwrap_or_default();
            self.hand_out(&task, Some((activity, input.into())), step);
            step.effects.activities.push(activity);
            return;
        }
        if let Some(failure) = inside::refusal(&task) {
            inputs.push_back(fail(failure));
            return;
        }
        let own = self.row.item.is_none();
        if own && inside::produces(&task) && !self.engine.pressure.lets_pass() {
            self.held.push(&self.engine, task);
            return;
        }
        if task.integration != Integration::RequestResponse {
            // Before the call: whoever is called may answer by the token at once. AWS takes an
            // answer by the token of a .sync task too.
            self.hand_out(&task, None, step);
        }
        let (batch, effects) = (&mut step.batch, &mut step.effects);
        let done = inside::perform(&self.engine, &self.row, &task, batch, effects);
        match done {
            None => step.calls.push(task),
            Some(Err(failure)) => inputs.push_back(fail(failure)),
            Some(Ok(done)) => {
                self.note_child(id, &done);
                inputs.push_back(done.input(&task));
            }
        }
    }

    /// Does what was held back; what still is stays so.
    pub(super) async fn go_on_with_held(&mut self) -> Result<(), StoreError> {
        let mut step = Step::default();
        let mut inputs = VecDeque::new();
        for task in self.held.take() {
            self.run_task(task, &mut step, &mut inputs);
        }
        self.absorb(inputs, &mut step);
        match self.settle_at_once(step) {
            Some(step) => self.settle(step).await,
            None => Ok(()),
        }
    }

    /// Makes the token of a task good.
    fn hand_out(
        &mut self,
        task: &RunTask,
        activity: Option<(stepbus_model::ResourceId, Bytes)>,
        step: &mut Step,
    ) {
        let Some(token) = task.token.clone() else { return };
        let (activity, input) = activity.unzip();
        step.batch.put_task_token(TaskTokenRow {
            id: self.engine.store.next_id(),
            token,
            task: self.task_ref(task.task),
            activity,
            input,
            taken: false,
        });
        self.waits.insert(task.task, Wait::Token);
        self.listen();
    }

    pub(super) fn note_child(&mut self, task: TaskId, done: &Done) {
        if let Some(child) = done.awaited {
            self.waits.insert(task, Wait::Child(child));
            self.listen();
        }
    }

    pub(super) fn task_ref(&self, task: TaskId) -> TaskRef {
        TaskRef { execution: self.row.id, visit: task.visit.0, attempt: task.attempt }
    }

    /// The task is over: nobody's answer to it counts any more.
    pub(super) fn close_task(&mut self, task: TaskId, step: &mut Step) {
        let Some(wait) = self.waits.remove(&task) else { return };
        step.batch.close_task(self.task_ref(task));
        if let Wait::Child(child) = wait {
            step.left.push(child);
        }
    }

    /// A map's child has no mailbox of its own until something from outside may come for it.
    fn listen(&mut self) {
        if self.mailbox.is_none() {
            let (line, mailbox) = self.engine.executions.connect(&self.engine, self.row.id);
            self.mailbox = Some(mailbox);
            self.line = Some(line);
        }
    }

    /// What the tasks wait for that were submitted before the execution left memory.
    pub(super) async fn recall_waits(&mut self) -> Result<(), StoreError> {
        let submitted = self.execution.submitted_tasks(&self.program);
        if submitted.is_empty() {
            return Ok(());
        }
        let by_token = |task: &&RunTask| task.integration == Integration::WaitForTaskToken;
        for task in submitted.iter().filter(by_token) {
            self.waits.insert(task.task, Wait::Token);
        }
        if !submitted.iter().all(|task| by_token(&task)) {
            for row in self.engine.store.sync_children(self.row.id).await? {
                let visit = stepbus_asl::Visit(row.parent.visit);
                let task = TaskId { visit, attempt: row.parent.attempt };
                self.waits.insert(task, Wait::Child(row.child));
            }
        }
        self.listen();
        Ok(())
    }
}
