//! An event on its way through the system: the bytes that are kept, and the value they hold.

use std::sync::{Arc, OnceLock};

use serde_json::Value;
use stepbus_store::EventRow;

/// A committed event, shared by everything that handles it and parsed at most once.
#[derive(Debug)]
pub struct EventBody {
    pub row: EventRow,
    value: OnceLock<Value>,
    /// What an operator wrote in the place of a delivery's payload; that delivery's event alone.
    edited: Option<Value>,
}

impl EventBody {
    #[must_use]
    pub fn new(row: EventRow) -> Arc<Self> {
        Arc::new(EventBody { row, value: OnceLock::new(), edited: None })
    }

    /// The whole envelope. What the bus accepted is JSON, so there is always a value.
    #[must_use]
    pub fn value(&self) -> &Value {
        self.value.get_or_init(|| serde_json::from_slice(&self.row.envelope).unwrap_or_default())
    }

    /// The same event for a delivery whose payload an operator wrote.
    pub(crate) fn with_edited(&self, payload: Value) -> Arc<Self> {
        let (row, value) = (self.row.clone(), OnceLock::new());
        Arc::new(EventBody { row, value, edited: Some(payload) })
    }

    pub(crate) fn edited(&self) -> Option<&Value> {
        self.edited.as_ref()
    }
}
