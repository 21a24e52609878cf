//! The history of an execution, derived from its journal.

use serde_json::Value;
use stepbus_model::Timestamp;

use crate::io::Input;
use crate::program::Program;

/// An event as GetExecutionHistory gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEvent {
    pub id: u64,
    pub previous_event_id: u64,
    pub timestamp: Timestamp,
    pub event_type: &'static str,
    /// Name of the details member, as `taskScheduledEventDetails`, and the details.
    pub details: Option<(&'static str, Value)>,
}

/// Replays a journal and tells it in AWS's words.
pub fn history(
    _program: &Program,
    _journal: impl IntoIterator<Item = (Timestamp, Input)>,
) -> Vec<HistoryEvent> {
    unimplemented!()
}
