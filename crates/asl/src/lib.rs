//! The Amazon States Language: definitions, validation, a pure interpreter, derived history.
//!
//! [`Program`] is a checked definition. [`Execution`] is a value: [`Execution::apply`] takes what
//! happened and gives what is to be done, the same for the same inputs, always. Nothing in here
//! reads a clock, a random source, a socket or a file.

mod chance;
mod choice;
mod definition;
mod diagnostic;
mod entry;
mod execution;
mod expression;
mod fault;
mod history;
mod interpreter;
mod io;
pub mod map;
mod paths;
mod program;
pub mod recording;
mod snapshot;
mod start;
pub mod test_state;
mod thread;
pub mod trial;
mod validate;

pub use diagnostic::{CODES, Diagnostic, Severity};
pub use entry::{Entry, NoEntry, Resumption, find_entry};
pub use execution::{Execution, SEMANTICS};
pub use history::{Details, HistoryEvent, history, replay};
pub use io::{
    Command, Failure, Input, Integration, ItemBatcher, ItemReader, MapRunOutcome, MapRunSpec,
    MapScope, MapSource, Outcome, ResultWriter, RunTask, Status, TaskId, Timer, TimerKind, Visit,
    WorkflowType,
};
pub use program::Program;
pub use snapshot::SnapshotError;
pub use start::{Bounds, MapItem, Start};
pub use validate::{refusal, validate};
