//! Services that are inside: what they do is a write in the execution's own batch.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Failure, Input, RunTask};
use stepbus_store::{Batch, ExecutionRow};

use super::{put_events, send_message};
use crate::engine::Engine;
use crate::publish::Effects;

type Service =
    fn(&Engine, &ExecutionRow, &RunTask, &mut Batch, &mut Effects) -> Result<Value, Failure>;

const SERVICES: &[(&str, Service)] =
    &[(put_events::RESOURCE, put_events::perform), (send_message::RESOURCE, send_message::perform)];

/// Does what the task asks for, when its service is inside, and gives what came of it.
pub(super) fn perform(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Option<Input> {
    let (_, service) = SERVICES.iter().find(|(resource, _)| *resource == &*task.resource)?;
    let id = task.task;
    Some(match service(engine, row, task, batch, effects) {
        Ok(output) => Input::TaskSucceeded { task: id, output: Arc::new(output) },
        Err(failure) => Input::TaskFailed { task: id, failure },
    })
}
