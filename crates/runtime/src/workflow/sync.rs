//! The end of an execution that another one waits for: told to it exactly once, over crashes and
//! also when it is out of memory; and the end of those that nobody waits for any more.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stepbus_asl::{Failure, Input, TaskId, Visit};
use stepbus_model::{ExecutionId, arn};
use stepbus_store::{Batch, ExecutionRow, ExecutionStatus, StoreError, SyncChildRow, SyncState};

use super::{LATER, decode_journal};
use crate::engine::Engine;

/// Sees to a child that ended or is no longer wanted.
pub(super) fn settle(engine: &Arc<Engine>, child: ExecutionId) {
    let engine = engine.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = engine.stopped() => {}
            () = insist(&engine, child) => {}
        }
    });
}

/// Sees to all there are, as after a start.
pub(super) fn settle_all(engine: &Arc<Engine>) {
    let engine = engine.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = engine.stopped() => {}
            () = walk(&engine) => {}
        }
    });
}

async fn walk(engine: &Arc<Engine>) {
    let mut after = ExecutionId(0);
    loop {
        match engine.store.unsettled_children(after, engine.limits.page_rows).await {
            Ok(rows) => {
                let Some(last) = rows.last() else { return };
                after = last.child;
                for row in rows {
                    insist(engine, row.child).await;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not read which executions are to be told of");
                tokio::time::sleep(LATER).await;
            }
        }
    }
}

async fn insist(engine: &Arc<Engine>, child: ExecutionId) {
    while let Err(error) = once(engine, child).await {
        tracing::warn!(%child, %error, "whoever waits for the execution cannot be told yet");
        tokio::time::sleep(LATER).await;
    }
}

async fn once(engine: &Arc<Engine>, child: ExecutionId) -> Result<(), StoreError> {
    let Some(row) = engine.store.sync_child(child).await? else { return Ok(()) };
    match row.state {
        SyncState::Awaited => Ok(()),
        SyncState::Unwanted => engine.stop_execution(child, None, None).await.map(drop),
        SyncState::Ended => tell(engine, &row).await,
    }
}

async fn tell(engine: &Arc<Engine>, link: &SyncChildRow) -> Result<(), StoreError> {
    let parent = link.parent;
    let task = TaskId { visit: Visit(parent.visit), attempt: parent.attempt };
    let mut close = Batch::new();
    close.close_task(parent);
    if let Some(child) = engine.store.execution(link.child).await? {
        let input = result(engine, task, &child, link.json).await?;
        if engine.tell(parent.execution, input, close.clone()).await? {
            return Ok(());
        }
    }
    engine.store.commit(close).await
}

/// The task's result: what DescribeExecution tells of the child.
async fn result(
    engine: &Engine,
    task: TaskId,
    child: &ExecutionRow,
    json: bool,
) -> Result<Input, StoreError> {
    let journal = decode_journal(&engine.store.journal(child.id, 0).await?, 0)?;
    let input = match journal.into_iter().next() {
        Some((_, Input::Started(start))) => (*start.input).clone(),
        _ => Value::Null,
    };
    let output = child.output.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
    let described = describe(engine, child, input, output, json);
    if child.status == ExecutionStatus::Succeeded {
        return Ok(Input::TaskSucceeded { task, output: Arc::new(described) });
    }
    let failure = Failure::new("States.TaskFailed", described.to_string());
    Ok(Input::TaskFailed { task, failure })
}

fn describe(
    engine: &Engine,
    child: &ExecutionRow,
    input: Value,
    output: Option<Value>,
    as_json: bool,
) -> Value {
    let shown = |value: Value| if as_json { value } else { Value::String(value.to_string()) };
    let catalogue = engine.catalogue();
    let workflow = catalogue.name(child.workflow);
    let status = child.status.name();
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    if let Some(cause) = &child.error_cause {
        put("Cause", json!(cause));
    }
    if let Some(error) = &child.error {
        put("Error", json!(error));
    }
    put("ExecutionArn", json!(arn::execution(workflow, &child.name)));
    put("Input", shown(input));
    put("InputDetails", json!({ "Included": true }));
    put("Name", json!(child.name));
    if let Some(output) = output {
        put("Output", shown(output));
        put("OutputDetails", json!({ "Included": true }));
    }
    put("RedriveCount", json!(0));
    if child.status == ExecutionStatus::Succeeded {
        put("RedriveStatus", json!("NOT_REDRIVABLE"));
        let reason = format!("Execution is {status} and cannot be redriven");
        put("RedriveStatusReason", json!(reason));
    } else {
        put("RedriveStatus", json!("REDRIVABLE"));
    }
    put("StartDate", json!(child.started.0));
    put("StateMachineArn", json!(arn::state_machine(workflow)));
    put("Status", json!(status));
    put("StopDate", json!(child.ended.map(|at| at.0)));
    Value::Object(all)
}
