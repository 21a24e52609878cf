//! `arn:aws:states:::states:startExecution`: the child is a write in the parent's batch, so it is
//! started exactly once. With `.sync` its end is the task's result.

use std::sync::Arc;

use serde_json::{Value, json};
use stepbus_asl::{Failure, Input, Integration, RunTask, WorkflowType};
use stepbus_model::{Timestamp, arn};
use stepbus_store::{Batch, Cause, ExecutionRow, ExecutionStatus, StoreError, TaskRef};

use super::driver::Arrival;
use super::inside::Done;
use super::start::{check_name, same_start};
use super::tasks::identity;
use super::{NewExecution, sdk};
use crate::catalogue::Workflow;
use crate::engine::Engine;
use crate::publish::Effects;

pub(super) const RESOURCE: &str = "arn:aws:states:::states:startExecution";

/// TraceHeader is for AWS's own tracing.
pub(super) const ARGUMENTS: &[&str] = &["StateMachineArn", "Name", "Input", "TraceHeader"];

/// Whether the name must be looked up first.
pub(super) fn must_look(task: &RunTask) -> bool {
    &*task.resource == RESOURCE && task.arguments.get("Name").is_some_and(|name| !name.is_null())
}

struct Wish {
    workflow: Arc<Workflow>,
    name: Option<String>,
    input: Arc<Value>,
}

fn waits(task: &RunTask) -> bool {
    matches!(task.integration, Integration::Sync | Integration::Sync2)
}

fn fail(name: &str, cause: impl Into<String>) -> Failure {
    Failure::new(format!("StepFunctions.{name}Exception"), cause)
}

fn wish(engine: &Engine, row: &ExecutionRow, task: &RunTask) -> Result<Wish, Failure> {
    let Some(machine) = task.arguments.get("StateMachineArn").and_then(Value::as_str) else {
        return Err(fail(
            "Validation",
            "`StateMachineArn` is required: an ARN or a workflow's name",
        ));
    };
    let catalogue = engine.catalogue();
    let workflow = catalogue.workflows.get(arn::name_of(machine)).cloned().ok_or_else(|| {
        fail("StateMachineDoesNotExist", format!("State Machine Does Not Exist: '{machine}'"))
    })?;
    if waits(task) && workflow.spec.kind == WorkflowType::Express {
        let cause = "an EXPRESS workflow cannot be waited for; make it STANDARD, or start it \
                     without .sync";
        return Err(fail("StateMachineTypeNotSupported", cause));
    }
    let hops = row.hops.saturating_add(1);
    if hops > engine.limits.hops {
        let limit = engine.limits.hops;
        let cause = format!(
            "the execution would be {hops} hops from its root, the limit is {limit}: its causes form a loop"
        );
        return Err(fail("HopLimitExceeded", cause));
    }
    let name = match task.arguments.get("Name") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(fail("InvalidName", "`Name` must be text")),
    };
    if let Some(name) = &name {
        check_name(name).map_err(|cause| fail("InvalidName", cause))?;
    }
    let input = match task.arguments.get("Input") {
        None | Some(Value::Null) => json!({}),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|error| {
            fail(
                "InvalidExecutionInput",
                format!("Invalid State Machine Execution Input: '{error}'"),
            )
        })?,
        Some(input) => input.clone(),
    };
    Ok(Wish { workflow, name, input: Arc::new(input) })
}

/// Starts the child in the batch.
pub(super) fn perform(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Result<Done, Failure> {
    let wish = wish(engine, row, task)?;
    Ok(start(engine, row, task, wish, batch, effects))
}

fn start(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    wish: Wish,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Done {
    let id = task.task;
    let name = wish.name.unwrap_or_else(|| {
        // The same whenever the task is begun anew after a crash.
        let text = format_args!("child {}/{}/{}", identity(row), id.visit.0, id.attempt);
        engine.derived_name(text).to_string()
    });
    let new = NewExecution {
        workflow: wish.workflow.clone(),
        run: row.run,
        cause: Cause::Execution(row.id),
        hops: row.hops.saturating_add(1),
        name: Some(name.clone()),
        input: wish.input,
    };
    let mut launch = engine.new_execution(batch, new);
    let (child, started) = (launch.row.id, launch.row.started);
    if waits(task) {
        let parent = TaskRef { execution: row.id, visit: id.visit.0, attempt: id.attempt };
        batch.await_child(child, parent, task.integration == Integration::Sync2);
        launch.awaited = true;
    }
    effects.launches.push(launch);
    let output = answer(engine, row, task, &wish.workflow, &name, started);
    Done { output, awaited: waits(task).then_some(child) }
}

fn answer(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    workflow: &Workflow,
    name: &str,
    started: Timestamp,
) -> Value {
    let arn = arn::execution(&workflow.spec.name, name);
    sdk::result(engine, row, task, json!({ "ExecutionArn": arn, "StartDate": started.0 }))
}

/// Starts a child under a name that may be taken.
pub(super) async fn perform_named(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
) -> Result<Arrival, StoreError> {
    let failed = |failure| Input::TaskFailed { task: task.task, failure }.into();
    let wish = match wish(engine, row, task) {
        Ok(wish) => wish,
        Err(failure) => return Ok(failed(failure)),
    };
    let name = wish.name.clone().unwrap_or_default();
    // An EXPRESS workflow's names may be used again.
    let taken = match wish.workflow.spec.kind {
        WorkflowType::Standard => engine.store.execution_by_name(wish.workflow.id, &name).await?,
        WorkflowType::Express => None,
    };
    if let Some(other) = taken {
        let same = other.status == ExecutionStatus::Running
            && !waits(task)
            && same_start(engine, &other, &wish.input).await?;
        if same {
            let output = answer(engine, row, task, &wish.workflow, &name, other.started);
            return Ok(Done::from(output).input(task).into());
        }
        let arn = arn::execution(&wish.workflow.spec.name, &name);
        let cause = format!("Execution Already Exists: '{arn}'");
        return Ok(failed(fail("ExecutionAlreadyExists", cause)));
    }
    let (mut batch, mut effects) = (Batch::new(), Effects::default());
    let done = start(engine, row, task, wish, &mut batch, &mut effects);
    let awaited = done.awaited;
    Ok(Arrival { batch, effects, awaited, ..Arrival::from(done.input(task)) })
}
