//! An execution's value, taken up from the store: its latest snapshot and what came after.

use stepbus_asl::{Execution, Input, Program};
use stepbus_store::{ExecutionRow, Store, StoreError};

use super::journal;

/// A value that was taken up.
#[derive(Debug)]
pub struct Restored {
    pub execution: Execution,
    /// Journal entries that made it.
    pub entries: u64,
    /// How many of them the snapshot in the store covers, when there is one; 0 when it cannot be
    /// read.
    pub snapshot_at: Option<u64>,
}

/// Takes an execution up from the store.
///
/// # Errors
/// When the store fails or the journal is damaged.
pub async fn restore(
    store: &dyn Store,
    row: &ExecutionRow,
    program: &Program,
) -> Result<Restored, StoreError> {
    let damaged = |what: &str| StoreError::Failed(format!("{}: {what}", row.id));
    let snapshot = store.snapshot(row.id).await?;
    let kept = snapshot.is_some();
    // A snapshot of another version is no loss: the journal has it all.
    let restored = snapshot.and_then(|snapshot| {
        Execution::from_bytes(&snapshot.value).ok().map(|execution| (execution, snapshot.inputs))
    });
    let from = restored.as_ref().map_or(0, |(_, inputs)| *inputs);
    let rows = store.journal(row.id, from).await?;
    let mut inputs = journal::decode(&rows, from)?.into_iter();
    let mut entries = from;
    let mut execution = match restored {
        Some((execution, _)) => execution,
        None => match inputs.next() {
            Some((at, Input::Started(start))) => {
                entries += 1;
                Execution::begin(program, at, start).0
            }
            _ => return Err(damaged("its journal does not begin with a start")),
        },
    };
    for (at, input) in inputs {
        execution.apply(program, at, input);
        entries += 1;
    }
    Ok(Restored { execution, entries, snapshot_at: kept.then_some(from) })
}
