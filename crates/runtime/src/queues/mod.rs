//! Queues as a place to send to and to receive from, as SQS's standard queues are. A message and
//! its invisibility are on disk; dead letters are messages too, whose end the books tell.

mod keep;
mod receive;
mod send;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use stepbus_model::{ResourceId, arn};
use stepbus_store::StoreError;
use tokio::sync::Notify;

use crate::catalogue::{Catalogue, Queue};
use crate::engine::Engine;

pub(crate) use keep::start as start_keeping;
pub use receive::{Receive, ReceivedMessage};
pub(crate) use send::NewMessage;
pub use send::SentMessage;
pub use view::QueueView;

/// Why something was not done with a queue, by SQS's names.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("there is no queue '{0}'")]
    NoQueue(String),
    #[error("{0}")]
    Invalid(String),
    #[error("the message has {size} bytes, the limit is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("'{0}' is no receipt of this queue")]
    Receipt(String),
    #[error("{0} is not in flight: it was deleted, or became visible again")]
    NotInFlight(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QueueError {
    /// The error's name in SQS's API.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            QueueError::NoQueue(_) => "QueueDoesNotExist",
            QueueError::Invalid(_) | QueueError::TooLarge { .. } => "InvalidParameterValue",
            QueueError::Receipt(_) => "ReceiptHandleIsInvalid",
            QueueError::NotInFlight(_) => "MessageNotInflight",
            QueueError::Store(_) => "ServiceUnavailable",
        }
    }
}

/// Of each queue, who receives now and who waits for a message.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<HashMap<ResourceId, Arc<Place>>>);

#[derive(Debug, Default)]
struct Place {
    /// Held while messages are chosen and hidden, so that each is received by one.
    gate: tokio::sync::Mutex<()>,
    arrived: Notify,
}

impl Queues {
    fn place(&self, queue: ResourceId) -> Arc<Place> {
        self.0.lock().entry(queue).or_default().clone()
    }

    /// Messages came: those who wait look again.
    pub(crate) fn arrived(&self, queue: ResourceId) {
        if let Some(place) = self.0.lock().get(&queue) {
            place.arrived.notify_waiters();
        }
    }
}

impl Engine {
    /// A declared queue by name, ARN or URL.
    pub(crate) fn queue_named(&self, name: &str) -> Result<Arc<Queue>, QueueError> {
        let catalogue = self.catalogue();
        find(&catalogue, name).cloned().ok_or_else(|| QueueError::NoQueue(name.to_owned()))
    }
}

fn find<'a>(catalogue: &'a Catalogue, name: &str) -> Option<&'a Arc<Queue>> {
    catalogue.queue(*catalogue.queues.get(queue_name(name))?)
}

/// The name in a queue's ARN or URL, or the text itself.
#[must_use]
pub fn queue_name(text: &str) -> &str {
    if text.contains("://") {
        text.trim_end_matches('/').rsplit('/').next().unwrap_or(text)
    } else {
        arn::name_of(text)
    }
}
