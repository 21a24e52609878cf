//! Sending: a write in the batch of whatever sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use stepbus_model::{MessageId, RunId};
use stepbus_store::{Batch, Cause, MessageRow, Reception};

use super::QueueError;
use crate::catalogue::Queue;
use crate::engine::Engine;
use crate::publish::Effects;

/// SQS's longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(900);
/// SQS's largest number of attributes.
const ATTRIBUTES: usize = 10;

/// A message that is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct NewMessage {
    pub run: RunId,
    pub cause: Cause,
    pub body: Bytes,
    /// SQS's MessageAttributes, by name.
    pub attributes: Map<String, Value>,
    /// The queue's own when it is none.
    pub delay: Option<Duration>,
}

/// A message that is on disk.
#[derive(Debug, Clone, Serialize)]
pub struct SentMessage {
    pub message: MessageId,
    pub queue: String,
}

impl Engine {
    /// Adds a message to the batch; who waits for one hears of it once the batch is on disk.
    pub(crate) fn send_message(
        &self,
        batch: &mut Batch,
        effects: &mut Effects,
        queue: &Queue,
        new: NewMessage,
    ) -> Result<MessageId, QueueError> {
        self.check(&new)?;
        let id = MessageId(self.store.next_id());
        let now = self.clock.now();
        let delay = new.delay.unwrap_or(Duration::from_secs(queue.spec.delay_seconds));
        let mut attributes = json!({ "MessageAttributes": new.attributes });
        match new.cause {
            Cause::Outside => {}
            Cause::Event(event) => attributes["stepbus"] = json!({ "event": event }),
            Cause::Execution(execution) => {
                attributes["stepbus"] = json!({ "execution": execution });
            }
            Cause::MapRun(map_run) => attributes["stepbus"] = json!({ "map_run": map_run }),
        }
        batch.send_message(MessageRow {
            id,
            queue: queue.id,
            run: new.run,
            sent: now,
            body: new.body,
            attributes: attributes.to_string(),
            error_code: None,
            delivery: None,
            reception: Reception { visible: now.plus(delay), ..Reception::default() },
        });
        effects.messages.push(queue.id);
        Ok(id)
    }

    fn check(&self, new: &NewMessage) -> Result<(), QueueError> {
        let invalid = |message: String| Err(QueueError::Invalid(message));
        let attributes = new.attributes.iter().map(|(name, value)| {
            name.len() + value.get("StringValue").and_then(Value::as_str).map_or(0, str::len)
        });
        let size = new.body.len() + attributes.sum::<usize>();
        if size > self.limits.message_bytes {
            return Err(QueueError::TooLarge { size, limit: self.limits.message_bytes });
        }
        if new.body.is_empty() {
            return invalid("the message has no body".to_owned());
        }
        if new.attributes.len() > ATTRIBUTES {
            let count = new.attributes.len();
            return invalid(format!("{count} message attributes, the limit is {ATTRIBUTES}"));
        }
        for (name, value) in &new.attributes {
            let text = |field: &str| value.get(field).is_some_and(Value::is_string);
            if !text("DataType") || !(text("StringValue") || text("BinaryValue")) {
                return invalid(format!(
                    "the message attribute '{name}' needs a DataType and a StringValue or BinaryValue"
                ));
            }
        }
        if new.delay.is_some_and(|delay| delay > LONGEST_DELAY) {
            return invalid(format!("the longest delay is {} seconds", LONGEST_DELAY.as_secs()));
        }
        Ok(())
    }

    /// Sends a message for somebody outside.
    ///
    /// # Errors
    /// When there is no such queue, the message does not fit, or the store does not take it.
    pub async fn send_to_queue(
        self: &Arc<Self>,
        queue: &str,
        body: String,
        attributes: Map<String, Value>,
        delay: Option<Duration>,
    ) -> Result<SentMessage, QueueError> {
        let queue = self.queue_named(queue)?;
        let (mut batch, mut effects) = (Batch::acceptance(), Effects::default());
        let new = NewMessage {
            run: RunId::NONE,
            cause: Cause::Outside,
            body: body.into(),
            attributes,
            delay,
        };
        let message = self.send_message(&mut batch, &mut effects, &queue, new)?;
        self.accept(batch, effects).await?;
        Ok(SentMessage { message, queue: queue.spec.name.clone() })
    }
}
