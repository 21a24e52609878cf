//! Dead letters as people and programs look at them.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use stepbus_model::{DeliveryId, EventId, MessageId, RunId, Timestamp};
use stepbus_store::{MessageFilter, MessageRow, StoreError};

use crate::catalogue::Catalogue;
use crate::engine::Engine;

/// A message of a dead-letter queue, with names for ids.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    pub id: MessageId,
    pub queue: String,
    pub run: RunId,
    pub sent: Timestamp,
    pub subscription: Option<String>,
    pub delivery: Option<DeliveryId>,
    pub event: Option<EventId>,
    pub key: Option<String>,
    pub attempts: u32,
    pub error_code: Option<String>,
    /// EventBridge's attributes, and under `stepbus` ours: the delivery, when it was tried, and
    /// the last request and response with secrets masked.
    pub attributes: Value,
    /// The event as it was published.
    pub body: Option<Box<RawValue>>,
}

impl DeadLetter {
    fn new(catalogue: &Catalogue, row: MessageRow) -> Self {
        let body = std::str::from_utf8(&row.body).ok().map(str::to_owned);
        let delivery = row.delivery;
        DeadLetter {
            id: row.id,
            queue: catalogue.name(row.queue).to_owned(),
            run: row.run,
            sent: row.sent,
            subscription: delivery.as_ref().map(|row| catalogue.name(row.subscription).to_owned()),
            delivery: delivery.as_ref().map(|row| row.id),
            event: delivery.as_ref().map(|row| row.event),
            attempts: delivery.as_ref().map_or(0, |row| row.attempts),
            key: delivery.and_then(|row| row.key),
            error_code: row.error_code,
            attributes: serde_json::from_str(&row.attributes).unwrap_or_default(),
            body: body.and_then(|text| RawValue::from_string(text).ok()),
        }
    }

    /// One of EventBridge's attributes, as in `ERROR_MESSAGE`.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }
}

impl Engine {
    /// A page of the dead letters that the filter lets through, oldest first, after `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dead_letters(
        &self,
        filter: MessageFilter,
        after: MessageId,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let limit = limit.min(self.limits.page_rows);
        let rows = self.store.messages(filter, after, limit).await?;
        let catalogue = self.catalogue();
        Ok(rows.into_iter().map(|row| DeadLetter::new(&catalogue, row)).collect())
    }

    /// One dead letter; none when there is none of that id, any more or yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dead_letter(&self, id: MessageId) -> Result<Option<DeadLetter>, StoreError> {
        let row = self.store.message(id).await?;
        Ok(row.map(|row| DeadLetter::new(&self.catalogue(), row)))
    }
}
