//! An execution that ended is taken up again: its journal goes on, or begins anew by another
//! definition.

use std::sync::Arc;

use stepbus_asl::{Bounds, Execution, Input, NoEntry, Resumption, SEMANTICS, Start, find_entry};
use stepbus_model::{Timestamp, crash};
use stepbus_store::{Batch, ExecutionRow, ExecutionStatus, JournalRow, StoreError};

use crate::catalogue::Workflow;
use crate::engine::Engine;
use crate::workflow::{journal, later};

/// How the execution entered a state last; with none named, the one in which it stands.
pub(in crate::workflow) async fn entry(
    engine: &Engine,
    row: &ExecutionRow,
    state: Option<&str>,
) -> Result<Result<Resumption, NoEntry>, StoreError> {
    let program = engine.program_of(row).await?;
    let entries = journal::decode(&engine.store.journal(row.id, 0).await?, 0)?;
    Ok(find_entry(&program, entries, state))
}

/// Commits that what ended without success runs again, with what is in `batch`.
pub(in crate::workflow) async fn reopen(
    engine: &Engine,
    row: ExecutionRow,
    at: Timestamp,
    mut batch: Batch,
    input: Input,
) -> Result<ExecutionRow, StoreError> {
    let program = engine.program_of(&row).await?;
    let rows = engine.store.journal(row.id, 0).await?;
    let first = rows.last().map_or(0, |last| last.first + u64::from(last.count));
    let mut entries = journal::decode(&rows, 0)?.into_iter();
    let Some((began, Input::Started(start))) = entries.next() else {
        return Err(no_start(&row));
    };
    let (mut execution, _) = Execution::begin(&program, began, start);
    for (at, input) in entries {
        execution.apply(&program, at, input);
    }
    let at = later(at, execution.latest());
    batch.redrive_execution(&row, at);
    // A child that its map run aborted has no entry of that: it simply goes on.
    if execution.expects(&input) {
        let entries = journal::encode(&[(at, input)]);
        batch.append_journal(JournalRow { execution: row.id, first, count: 1, entries });
    }
    commit(engine, &row, batch).await
}

/// Commits that an execution begins anew by its workflow's current definition, at a state it was
/// in. Its earlier journal means nothing to that definition and goes.
pub(in crate::workflow) async fn restart(
    engine: &Engine,
    old: ExecutionRow,
    current: &Workflow,
    found: Resumption,
    at: Timestamp,
    mut batch: Batch,
) -> Result<ExecutionRow, StoreError> {
    let start = resumed(engine, &old, found).await?;
    let row = ExecutionRow {
        definition: current.definition,
        redrives: old.redrives + 1,
        redriven: Some(at),
        status: ExecutionStatus::Running,
        idle: false,
        wake: None,
        ended: None,
        output: None,
        error: None,
        error_cause: None,
        recoveries: 0,
        semantics: SEMANTICS,
        ..old.clone()
    };
    batch.restart_execution(&old, row);
    let entries = journal::encode(&[(at, Input::Started(start.into()))]);
    batch.append_journal(JournalRow { execution: old.id, first: 0, count: 1, entries });
    commit(engine, &old, batch).await
}

/// What an execution began with, to begin again at a state it was in.
async fn resumed(
    engine: &Engine,
    row: &ExecutionRow,
    found: Resumption,
) -> Result<Start, StoreError> {
    let entries = journal::decode(&engine.store.journal(row.id, 0).await?, 0)?;
    let Some((_, Input::Started(start))) = entries.into_iter().next() else {
        return Err(no_start(row));
    };
    let bounds = Bounds::from(&engine.limits);
    Ok(Start { resumption: Some(Box::new(found)), bounds, ..Arc::unwrap_or_clone(start) })
}

async fn commit(
    engine: &Engine,
    row: &ExecutionRow,
    batch: Batch,
) -> Result<ExecutionRow, StoreError> {
    crash::point("redrive.before_commit");
    engine.store.commit(batch).await?;
    crash::point("redrive.after_commit");
    let gone = || StoreError::Gone(row.id.to_string());
    engine.store.execution(row.id).await?.ok_or_else(gone)
}

fn no_start(row: &ExecutionRow) -> StoreError {
    StoreError::Failed(format!("{}: its journal has no start", row.id))
}
