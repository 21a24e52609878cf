//! The history of an execution, derived from its journal.

use serde_json::{Map, Value};
use stepbus_model::Timestamp;

use crate::execution::Execution;
use crate::interpreter::Recorder;
use crate::io::Input;
use crate::program::Program;

/// The details of an event: the name of its member, as `taskScheduledEventDetails`, and the
/// member. Inputs and outputs in it are JSON text, as AWS gives them.
pub type Details = Option<(&'static str, Value)>;

/// An event as GetExecutionHistory gives it.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEvent {
    pub id: u64,
    pub previous_event_id: u64,
    pub timestamp: Timestamp,
    pub event_type: &'static str,
    pub details: Details,
}

impl HistoryEvent {
    /// The event in AWS's wire form; the timestamp in seconds.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut event = Map::new();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds stay exact far beyond 9999")]
        event.insert("timestamp".to_owned(), Value::from(self.timestamp.0 as f64 / 1000.0));
        event.insert("type".to_owned(), Value::from(self.event_type));
        event.insert("id".to_owned(), Value::from(self.id));
        event.insert("previousEventId".to_owned(), Value::from(self.previous_event_id));
        if let Some((name, details)) = &self.details {
            event.insert((*name).to_owned(), details.clone());
        }
        Value::Object(event)
    }
}

/// Replays a journal and tells it in AWS's words.
pub fn history(
    program: &Program,
    journal: impl IntoIterator<Item = (Timestamp, Input)>,
) -> Vec<HistoryEvent> {
    let mut events = Vec::new();
    let mut execution: Option<Execution> = None;
    for (at, input) in journal {
        match (&mut execution, input) {
            (None, Input::Started(start)) => {
                let recorder = Some(Recorder { events: &mut events, until: u64::MAX, watch: None });
                execution = Some(Execution::begin_recorded(program, at, start, recorder).0);
            }
            (Some(execution), input) => {
                let recorder = Some(Recorder { events: &mut events, until: u64::MAX, watch: None });
                execution.apply_recorded(program, at, input, recorder);
            }
            (None, _) => {}
        }
    }
    events
}

/// Replays a journal, or a part of it from its beginning, to the value it led to.
pub fn replay(
    program: &Program,
    journal: impl IntoIterator<Item = (Timestamp, Input)>,
) -> Option<Execution> {
    let mut journal = journal.into_iter();
    let (at, Input::Started(start)) = journal.next()? else { return None };
    let (mut execution, _) = Execution::begin(program, at, start);
    for (at, input) in journal {
        execution.apply(program, at, input);
    }
    Some(execution)
}
