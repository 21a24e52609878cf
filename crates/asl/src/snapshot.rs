//! An execution as bytes.
//!
//! The input of an execution is held at several places as long as it passes through unchanged; in
//! a snapshot it stands once, or a map over ten thousand items would carry them three times.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::execution::Execution;
use crate::thread::{Activity, Fork, Thread, ThreadId};

/// The form of a snapshot.
const SNAPSHOT_VERSION: u32 = 2;

/// Why bytes are no snapshot this binary can continue from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot has version {0}; this binary reads {1}: replay the journal instead")]
    Version(u32, u32),
    #[error("the snapshot is cut off: replay the journal instead")]
    Truncated,
    #[error("the snapshot cannot be read: {0}")]
    Format(#[from] serde_json::Error),
}

/// The execution, with null where a value is one that stands elsewhere.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    execution: Execution,
    shared: Shared,
}

/// Threads that hold the very value that stands elsewhere.
#[derive(Default, Serialize, Deserialize)]
struct Shared {
    /// Their input is the execution's.
    inputs: Vec<ThreadId>,
    /// The input of their children's selector is their own.
    fork_inputs: Vec<ThreadId>,
    /// The items of their children are their own input.
    fork_items: Vec<ThreadId>,
}

impl Execution {
    /// A snapshot: its version in four bytes, then JSON.
    ///
    /// # Panics
    /// Never: an execution holds nothing but JSON and numbers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = SNAPSHOT_VERSION.to_le_bytes().to_vec();
        serde_json::to_writer(&mut bytes, &Snapshot::of(self))
            .expect("an execution holds nothing but JSON and numbers");
        bytes
    }

    /// # Errors
    /// When the bytes are of another version or no snapshot at all.
    pub fn from_bytes(bytes: &[u8]) -> Result<Execution, SnapshotError> {
        let (version, json) = bytes.split_first_chunk().ok_or(SnapshotError::Truncated)?;
        let version = u32::from_le_bytes(*version);
        if version != SNAPSHOT_VERSION {
            return Err(SnapshotError::Version(version, SNAPSHOT_VERSION));
        }
        let snapshot: Snapshot = serde_json::from_slice(json)?;
        Ok(snapshot.open())
    }
}

impl Snapshot {
    fn of(execution: &Execution) -> Snapshot {
        let mut execution = execution.clone();
        let mut shared = Shared::default();
        let nothing = Arc::new(Value::Null);
        for (id, thread) in (0..).zip(&mut execution.threads) {
            let Some(thread) = thread else { continue };
            let input = Arc::clone(&thread.input);
            let leave_out = |list: &mut Vec<ThreadId>, place: &mut Arc<Value>, known| {
                if Arc::ptr_eq(place, known) {
                    list.push(id);
                    *place = Arc::clone(&nothing);
                }
            };
            leave_out(&mut shared.inputs, &mut thread.input, &execution.start.input);
            if let Activity::Fork(fork) = &mut thread.activity {
                let Fork { input: selected, items, .. } = &mut **fork;
                if let Some(selected) = selected {
                    leave_out(&mut shared.fork_inputs, selected, &input);
                }
                if let Some(items) = items {
                    leave_out(&mut shared.fork_items, items, &input);
                }
            }
        }
        Snapshot { execution, shared }
    }

    fn open(self) -> Execution {
        let Snapshot { mut execution, shared } = self;
        let input = Arc::clone(&execution.start.input);
        for thread in places(&mut execution, &shared.inputs) {
            thread.input = Arc::clone(&input);
        }
        for thread in places(&mut execution, &shared.fork_inputs) {
            if let Activity::Fork(fork) = &mut thread.activity {
                fork.input = Some(Arc::clone(&thread.input));
            }
        }
        for thread in places(&mut execution, &shared.fork_items) {
            if let Activity::Fork(fork) = &mut thread.activity {
                fork.items = Some(Arc::clone(&thread.input));
            }
        }
        execution.measure_variables();
        if execution.outcome().is_none() {
            execution.index();
        }
        execution
    }
}

/// The threads of those ids, which ascend.
fn places<'e>(
    execution: &'e mut Execution,
    ids: &'e [ThreadId],
) -> impl Iterator<Item = &'e mut Thread> {
    let threads = (0..).zip(&mut execution.threads);
    let wanted = threads.filter(|(id, _)| ids.binary_search(id).is_ok());
    wanted.filter_map(|(_, thread)| thread.as_mut())
}
