//! SendTaskSuccess and its kin: what is accepted is on disk, as the journal entry of whoever waits,
//! in the commit in which the token ends.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Failure, Input, TaskId, Visit};
use stepbus_model::ExecutionId;
use stepbus_store::{Batch, ExecutionStatus, StoreError, TaskTokenRow};
use tokio::sync::oneshot;

use super::{Message, TRIES};
use crate::engine::Engine;

/// Why a worker's word was not taken, by AWS's names.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("Invalid Token: 'Invalid token'")]
    InvalidToken,
    #[error("Invalid Output: '{0}'")]
    InvalidOutput(String),
    #[error("Task Timed Out: 'Provided task does not exist anymore'")]
    TaskTimedOut,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskError {
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            TaskError::InvalidToken => "InvalidToken",
            TaskError::InvalidOutput(_) => "InvalidOutput",
            TaskError::TaskTimedOut => "TaskTimedOut",
            TaskError::Store(_) => "ServiceUnavailable",
        }
    }
}

impl Engine {
    /// The result of a task; `output` is JSON.
    ///
    /// # Errors
    /// When the token is good for no open task, the output is no JSON, or the store fails.
    pub async fn send_task_success(
        self: &Arc<Self>,
        token: &str,
        output: &str,
    ) -> Result<(), TaskError> {
        if output.len() > self.limits.payload_bytes {
            let (size, limit) = (output.len(), self.limits.payload_bytes);
            let message = format!("the output has {size} bytes, the limit is {limit}");
            return Err(TaskError::InvalidOutput(message));
        }
        let output: Value = serde_json::from_str(output)
            .map_err(|error| TaskError::InvalidOutput(error.to_string()))?;
        let output = Arc::new(output);
        self.answer(token, |task| Input::TaskSucceeded { task, output }).await
    }

    /// # Errors
    /// When the token is good for no open task, or the store fails.
    pub async fn send_task_failure(
        self: &Arc<Self>,
        token: &str,
        error: Option<String>,
        cause: Option<String>,
    ) -> Result<(), TaskError> {
        let failure = Failure { error, cause };
        self.answer(token, |task| Input::TaskFailed { task, failure }).await
    }

    /// # Errors
    /// When the token is good for no open task, or the store fails.
    pub async fn send_task_heartbeat(self: &Arc<Self>, token: &str) -> Result<(), TaskError> {
        self.answer(token, |task| Input::Heartbeat { task }).await
    }

    async fn answer(
        self: &Arc<Self>,
        token: &str,
        input: impl FnOnce(TaskId) -> Input,
    ) -> Result<(), TaskError> {
        let Some(row) = self.store.task_token(token).await? else {
            return Err(if is_token(token) {
                TaskError::TaskTimedOut
            } else {
                TaskError::InvalidToken
            });
        };
        let told = self.tell(row.task.execution, input(task_of(&row)), Batch::new()).await?;
        if told { Ok(()) } else { Err(TaskError::TaskTimedOut) }
    }

    /// Has an execution take an input from outside, in a commit with `batch`. False when it does
    /// not expect it any more; nothing is committed then.
    pub(crate) async fn tell(
        self: &Arc<Self>,
        id: ExecutionId,
        input: Input,
        batch: Batch,
    ) -> Result<bool, StoreError> {
        for _ in 0..TRIES {
            let child = match self.store.execution(id).await? {
                Some(row) if row.status == ExecutionStatus::Running => row.item.is_some(),
                _ => return Ok(false),
            };
            let (done, answer) = oneshot::channel();
            let message =
                Message::Tell { input: input.clone(), batch: Box::new(batch.clone()), done };
            if child {
                self.executions.send_to_child(id, message)?;
            } else {
                self.executions.send(self, id, message)?;
            }
            // Nobody hears it when the execution ends, or leaves memory, at the same moment.
            if let Ok(wanted) = answer.await {
                return Ok(wanted);
            }
        }
        Err(StoreError::Failed(format!(
            "{id} leaves memory whenever it is told something; try again"
        )))
    }
}

pub(super) fn task_of(row: &TaskTokenRow) -> TaskId {
    TaskId { visit: Visit(row.task.visit), attempt: row.task.attempt }
}

/// Whether the text has the form of a token.
fn is_token(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
