//! StartExecution and StartSyncExecution for somebody outside.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Input, WorkflowType};
use stepbus_model::{ExecutionId, RunId, arn};
use stepbus_store::{Batch, Cause, ExecutionRow, ExecutionStatus, Priority, RunRow, StoreError};
use tokio::sync::oneshot;

use super::{NewExecution, decode_journal};
use crate::catalogue::Workflow;
use crate::engine::Engine;
use crate::publish::Effects;

/// Letters of an execution's name. AWS: 80.
const NAME_CHARS: usize = 80;
/// What AWS does not allow in names.
const NOT_IN_NAMES: &str = " <>{}[]?*\"#%\\^|~`$&,;:/";

/// Why an execution was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("StateMachineDoesNotExist: there is no workflow '{0}'")]
    NoWorkflow(String),
    #[error("ExecutionAlreadyExists: '{name}' is {id}")]
    NameTaken { name: String, id: ExecutionId },
    #[error("InvalidName: {0}")]
    InvalidName(String),
    #[error(
        "StateMachineTypeNotSupported: '{0}' is STANDARD, only an EXPRESS workflow can be waited for"
    )]
    NotExpress(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the run of an execution that an operator starts is treated.
#[derive(Debug, Clone, Copy, Default)]
pub struct StartOptions {
    pub priority: Priority,
    /// Whatever the run delivers is sent although it is unchanged.
    pub force: bool,
}

impl From<Priority> for StartOptions {
    fn from(priority: Priority) -> Self {
        StartOptions { priority, force: false }
    }
}

impl Engine {
    /// Starts an execution that an operator asks for; it is the root of a run of its own. For a
    /// STANDARD workflow the same name and input give the execution that still runs under it.
    ///
    /// # Errors
    /// When there is no such workflow, the name is taken, or the store does not take it.
    pub async fn start_execution(
        self: &Arc<Self>,
        workflow: &str,
        name: Option<String>,
        input: Value,
        options: impl Into<StartOptions>,
    ) -> Result<(ExecutionId, RunId), StartError> {
        let workflow = self.workflow_named(workflow)?;
        self.start_now(workflow, name, Arc::new(input), options.into(), None).await
    }

    /// Starts an EXPRESS workflow and waits for its end.
    ///
    /// # Errors
    /// As [`Engine::start_execution`], and when the workflow is STANDARD. That the execution fails
    /// is no error here.
    pub async fn start_sync_execution(
        self: &Arc<Self>,
        workflow: &str,
        name: Option<String>,
        input: Value,
        options: impl Into<StartOptions>,
    ) -> Result<ExecutionRow, StartError> {
        let workflow = self.workflow_named(workflow)?;
        if workflow.spec.kind != WorkflowType::Express {
            return Err(StartError::NotExpress(workflow.spec.name.clone()));
        }
        let (told, ended) = oneshot::channel();
        let started =
            self.start_now(workflow, name, Arc::new(input), options.into(), Some(told)).await?;
        let (id, _) = started;
        // Dropped without a word when it found no place in memory at once: then one looks.
        let mut heard = ended.await.is_ok();
        loop {
            let row = self.store.execution(id).await?;
            let row = row.ok_or_else(|| StoreError::Gone(id.to_string()))?;
            if row.status != ExecutionStatus::Running {
                return Ok(row);
            }
            if heard {
                // Its end was told of before it could be read.
                heard = false;
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(super::LATER) => {}
                () = self.stopped() => return Err(StoreError::Closed.into()),
            }
        }
    }

    fn workflow_named(&self, name: &str) -> Result<Arc<Workflow>, StartError> {
        let catalogue = self.catalogue();
        let workflow = catalogue.workflows.get(arn::name_of(name)).cloned();
        workflow.ok_or_else(|| StartError::NoWorkflow(name.to_owned()))
    }

    async fn start_now(
        self: &Arc<Self>,
        workflow: Arc<Workflow>,
        name: Option<String>,
        input: Arc<Value>,
        StartOptions { priority, force }: StartOptions,
        told: Option<oneshot::Sender<()>>,
    ) -> Result<(ExecutionId, RunId), StartError> {
        if let Some(name) = &name {
            check_name(name).map_err(StartError::InvalidName)?;
            // An EXPRESS workflow's names may be used again.
            if workflow.spec.kind == WorkflowType::Standard
                && let Some(row) = self.store.execution_by_name(workflow.id, name).await?
            {
                return self.again(row, &input).await;
            }
        }
        let run = RunId(self.store.next_id());
        let now = self.clock.now();
        self.priorities.set(run, priority);
        self.forced.note(force);
        let mut batch = Batch::acceptance();
        batch.start_run(RunRow {
            id: run,
            origin: "operator".to_owned(),
            label: workflow.spec.name.clone(),
            priority,
            force,
            started: now,
            last: now,
            open: 0,
        });
        let new = NewExecution {
            workflow,
            run,
            cause: Cause::Outside,
            hops: 0,
            name,
            input: input.clone(),
        };
        let mut launch = self.new_execution(&mut batch, new);
        launch.told = told;
        let id = launch.row.id;
        let mut effects = Effects::default();
        effects.launches.push(launch);
        match self.accept(batch, effects).await {
            Ok(()) => Ok((id, run)),
            // Somebody else took the name since it was looked up.
            Err(StoreError::Conflict { value, .. }) => {
                let other = value.parse().unwrap_or(id);
                let row = self.store.execution(other).await?;
                let row = row.ok_or(StoreError::Gone(value))?;
                self.again(row, &input).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn again(
        &self,
        row: ExecutionRow,
        input: &Value,
    ) -> Result<(ExecutionId, RunId), StartError> {
        if row.status == ExecutionStatus::Running && same_start(self, &row, input).await? {
            return Ok((row.id, row.run));
        }
        Err(StartError::NameTaken { name: row.name, id: row.id })
    }
}

/// Whether an execution began with that input.
pub(super) async fn same_start(
    engine: &Engine,
    row: &ExecutionRow,
    input: &Value,
) -> Result<bool, StoreError> {
    let journal = decode_journal(&engine.store.journal(row.id, 0).await?, 0)?;
    Ok(matches!(
        journal.into_iter().next(),
        Some((_, Input::Started(start))) if *start.input == *input
    ))
}

/// Whether a text is a name as AWS allows them for executions and activities.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().count() > NAME_CHARS {
        return Err(format!("a name has 1 to {NAME_CHARS} characters"));
    }
    let bad = name.chars().find(|c| NOT_IN_NAMES.contains(*c) || c.is_control());
    match bad {
        Some(bad) => Err(format!("'{name}' holds '{}'", bad.escape_default())),
        None => Ok(()),
    }
}
