//! An execution as a value.

use std::sync::Arc;

use serde_json::Value;
use stepbus_model::Timestamp;

use crate::io::{Command, Input, MapRunSpec, Outcome, RunTask, Start, Status, Timer};
use crate::program::Program;

/// The meaning of a journal. It grows when replaying an old journal would give something else.
pub const SEMANTICS: u32 = 1;

/// Why bytes are no snapshot this binary can continue from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("the snapshot has version {0}; this binary reads {1}: replay the journal instead")]
    Version(u32, u32),
    #[error("the snapshot cannot be read: {0}")]
    Format(#[from] serde_json::Error),
}

/// One execution of a workflow, as a value.
#[derive(Debug, Clone)]
pub struct Execution {
    _private: (),
}

impl Execution {
    /// The execution and what its first input, [`Input::Started`], asks for.
    #[must_use]
    pub fn begin(program: &Program, at: Timestamp, start: Start) -> (Execution, Vec<Command>) {
        let mut execution = Execution { _private: () };
        let commands = execution.apply(program, at, Input::Started(Box::new(start)));
        (execution, commands)
    }

    /// Takes what happened and gives what is to be done about it.
    ///
    /// An input that no longer concerns anything (a late timer, the result of a cancelled task)
    /// changes nothing; [`Execution::expects`] tells beforehand.
    pub fn apply(&mut self, _program: &Program, _at: Timestamp, _input: Input) -> Vec<Command> {
        unimplemented!()
    }

    /// Whether the input would change anything. What would not need not be journalled.
    #[must_use]
    pub fn expects(&self, _input: &Input) -> bool {
        unimplemented!()
    }

    #[must_use]
    pub fn status(&self) -> Status {
        unimplemented!()
    }

    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        unimplemented!()
    }

    /// Nothing is in flight but timers: the execution may leave memory until one fires.
    #[must_use]
    pub fn waits_only(&self) -> bool {
        unimplemented!()
    }

    /// Tasks whose results are awaited; after a crash they are to be sent again.
    #[must_use]
    pub fn open_tasks(&self, _program: &Program) -> Vec<RunTask> {
        unimplemented!()
    }

    #[must_use]
    pub fn open_timers(&self) -> Vec<(Timer, Timestamp)> {
        unimplemented!()
    }

    #[must_use]
    pub fn open_map_runs(&self, _program: &Program) -> Vec<MapRunSpec> {
        unimplemented!()
    }

    /// A snapshot, with its version.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// # Errors
    /// When the bytes are of another version or no snapshot at all.
    pub fn from_bytes(_bytes: &[u8]) -> Result<Execution, SnapshotError> {
        unimplemented!()
    }

    /// The semantics the execution began under.
    #[must_use]
    pub fn semantics(&self) -> u32 {
        SEMANTICS
    }

    /// State input of each open visit, variables and the like, to show where an execution stands.
    #[must_use]
    pub fn inspect(&self, _program: &Program) -> Arc<Value> {
        unimplemented!()
    }
}
