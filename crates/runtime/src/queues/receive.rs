//! Receiving: a message is hidden while somebody works on it, and comes again unless they delete it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};
use stepbus_model::{MessageId, Timestamp, arn};
use stepbus_store::{Batch, MessageFilter, MessageRow, StoreError};

use super::{Place, QueueError};
use crate::catalogue::Queue;
use crate::delivery::{Purge, Selection};
use crate::engine::Engine;
use crate::schedules::letters::schedule_of;

/// SQS's bounds.
const MOST_MESSAGES: usize = 10;
const LONGEST_WAIT: Duration = Duration::from_secs(20);
const LONGEST_INVISIBILITY: Duration = Duration::from_secs(12 * 3_600);
/// Between two looks while nothing comes: dead letters are made without a word to those who wait.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A wish for messages.
#[derive(Debug, Clone, Copy)]
pub struct Receive {
    /// 1 to 10.
    pub max: usize,
    /// How long they stay hidden; the queue's own when it is none.
    pub visibility: Option<Duration>,
    /// How long to wait for the first.
    pub wait: Duration,
}

/// A message in the hands of somebody, by SQS's names.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ReceivedMessage {
    pub message_id: MessageId,
    /// For deleting it; good until it is received again.
    pub receipt_handle: String,
    pub body: String,
    /// SentTimestamp, ApproximateReceiveCount and so on, all of them text.
    pub attributes: Map<String, Value>,
    pub message_attributes: Map<String, Value>,
}

impl Engine {
    /// Takes messages that are visible, and hides them from others for a while.
    ///
    /// # Errors
    /// When there is no such queue, the wish is out of bounds, or the store fails.
    pub async fn receive_messages(
        self: &Arc<Self>,
        queue: &str,
        wish: Receive,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        let queue = self.queue_named(queue)?;
        check(wish)?;
        let place = self.queues.place(queue.id);
        let deadline = self.clock.now().plus(wish.wait);
        loop {
            let arrived = place.arrived.notified();
            let received = self.take(&queue, &place, wish).await?;
            let now = self.clock.now();
            if !received.is_empty() || now >= deadline {
                return Ok(received);
            }
            let next = self.store.next_visible(queue.id, now).await?;
            let until = next.map_or(deadline, |at| at.min(deadline));
            let wait = until.since(now).min(LOOK_AGAIN).max(Duration::from_millis(1));
            tokio::select! {
                () = arrived => {}
                () = tokio::time::sleep(wait) => {}
                () = self.stopped() => return Ok(Vec::new()),
            }
        }
    }

    async fn take(
        self: &Arc<Self>,
        queue: &Queue,
        place: &Place,
        wish: Receive,
    ) -> Result<Vec<ReceivedMessage>, QueueError> {
        let hide = wish.visibility.unwrap_or(Duration::from_secs(queue.spec.visibility_seconds));
        let _gate = place.gate.lock().await;
        loop {
            let now = self.clock.now();
            let rows = self.store.visible_messages(queue.id, now, wish.max).await?;
            let (mut batch, mut received, mut moved) = (Batch::new(), Vec::new(), None);
            for row in rows {
                match queue.given_up(&row) {
                    Some(other) => {
                        batch.move_message(row.id, other, moved_from(queue, &row), now);
                        moved = Some(other);
                    }
                    None => {
                        batch.receive_message(&row, now, now.plus(hide));
                        received.push(shown(row, now));
                    }
                }
            }
            if batch.is_empty() {
                return Ok(received);
            }
            match self.store.commit(batch).await {
                Ok(()) => {}
                // One of them was redriven or purged meanwhile; the others come again.
                Err(StoreError::Gone(_)) => continue,
                Err(error) => return Err(error.into()),
            }
            if let Some(other) = moved {
                self.queues.arrived(other);
            }
            if !received.is_empty() || moved.is_none() {
                return Ok(received);
            }
        }
    }

    /// Deletes a received message. False when it was received again since, or is gone.
    ///
    /// # Errors
    /// When there is no such queue, the receipt is none, or the store fails.
    pub async fn delete_message(
        self: &Arc<Self>,
        queue: &str,
        receipt: &str,
    ) -> Result<bool, QueueError> {
        let queue = self.queue_named(queue)?;
        let place = self.queues.place(queue.id);
        let _gate = place.gate.lock().await;
        let Some(row) = self.received(&queue, receipt).await? else { return Ok(false) };
        self.remove(&queue, vec![row], "deleted by whoever received it").await?;
        Ok(true)
    }

    /// Changes for how long a received message stays hidden; zero makes it visible at once.
    ///
    /// # Errors
    /// When there is no such queue, the message is not in flight, or the store fails.
    pub async fn change_visibility(
        self: &Arc<Self>,
        queue: &str,
        receipt: &str,
        span: Duration,
    ) -> Result<(), QueueError> {
        let queue = self.queue_named(queue)?;
        bounded(span)?;
        let place = self.queues.place(queue.id);
        let _gate = place.gate.lock().await;
        let now = self.clock.now();
        let row = self.received(&queue, receipt).await?;
        let row = row.filter(|row| row.reception.visible > now);
        let row = row.ok_or_else(|| QueueError::NotInFlight(receipt.to_owned()))?;
        let mut batch = Batch::new();
        batch.hide_message(&row, now.plus(span));
        self.store.commit(batch).await?;
        if span.is_zero() {
            self.queues.arrived(queue.id);
        }
        Ok(())
    }

    /// Empties a queue; its dead letters count as discarded.
    ///
    /// # Errors
    /// When there is no such queue or the store fails; what was deleted until then stays so.
    pub async fn purge_queue(self: &Arc<Self>, queue: &str) -> Result<u64, QueueError> {
        let queue = self.queue_named(queue)?;
        let place = self.queues.place(queue.id);
        let mut purged = 0;
        let filter = MessageFilter { queue: Some(queue.id), ..MessageFilter::default() };
        let mut after = MessageId(0);
        loop {
            let _gate = place.gate.lock().await;
            let limit = self.limits.dead_letter_batch.max(1);
            let rows = self.store.messages(filter.clone(), after, limit).await?;
            let Some(last) = rows.last() else { return Ok(purged) };
            after = last.id;
            purged += rows.len() as u64;
            self.remove(&queue, rows, "the queue was purged").await?;
        }
    }

    /// The message of a receipt that is still good.
    async fn received(
        &self,
        queue: &Queue,
        receipt: &str,
    ) -> Result<Option<MessageRow>, QueueError> {
        let invalid = || QueueError::Receipt(receipt.to_owned());
        let (id, count) = receipt.split_once('/').ok_or_else(invalid)?;
        let id: MessageId = id.parse().map_err(|_| invalid())?;
        let count: u32 = count.parse().map_err(|_| invalid())?;
        let row = self.store.message(id).await?;
        let row = row.filter(|row| row.queue == queue.id);
        Ok(row.filter(|row| row.reception.count == count && count > 0))
    }

    /// Takes messages away for good; of a dead letter books and audit keep the reason.
    pub(super) async fn remove(
        self: &Arc<Self>,
        queue: &Queue,
        rows: Vec<MessageRow>,
        why: &str,
    ) -> Result<(), QueueError> {
        let mut batch = Batch::new();
        for row in rows {
            if row.delivery.is_none() && schedule_of(&row).is_none() {
                batch.delete_message(row.id);
                continue;
            }
            let purge = Purge {
                selection: Selection::One(row.id),
                reason: why.to_owned(),
                who: format!("queue:{}", queue.spec.name),
            };
            self.purge(&purge, |_| {}).await?;
        }
        if batch.is_empty() {
            return Ok(());
        }
        Ok(self.store.commit(batch).await?)
    }
}

fn check(wish: Receive) -> Result<(), QueueError> {
    if !(1..=MOST_MESSAGES).contains(&wish.max) {
        return Err(QueueError::Invalid(format!(
            "{} messages asked for, 1 to {MOST_MESSAGES} can be received at once",
            wish.max
        )));
    }
    if wish.wait > LONGEST_WAIT {
        let most = LONGEST_WAIT.as_secs();
        return Err(QueueError::Invalid(format!("the longest wait is {most} seconds")));
    }
    wish.visibility.map_or(Ok(()), bounded)
}

fn bounded(span: Duration) -> Result<(), QueueError> {
    if span > LONGEST_INVISIBILITY {
        let most = LONGEST_INVISIBILITY.as_secs();
        return Err(QueueError::Invalid(format!(
            "the longest visibility timeout is {most} seconds"
        )));
    }
    Ok(())
}

/// A message's attributes after it went over into the dead-letter queue.
fn moved_from(queue: &Queue, row: &MessageRow) -> String {
    let mut attributes: Value = serde_json::from_str(&row.attributes).unwrap_or_else(|_| json!({}));
    attributes["DeadLetterQueueSourceArn"] = arn::queue(&queue.spec.name).into();
    attributes.to_string()
}

fn shown(row: MessageRow, now: Timestamp) -> ReceivedMessage {
    let count = row.reception.count.saturating_add(1);
    let stored: Value = serde_json::from_str(&row.attributes).unwrap_or_default();
    let mut attributes = Map::new();
    let mut put = |name: &str, value: String| attributes.insert(name.to_owned(), value.into());
    put("SentTimestamp", row.sent.0.to_string());
    put("ApproximateReceiveCount", count.to_string());
    put("ApproximateFirstReceiveTimestamp", row.reception.first.unwrap_or(now).0.to_string());
    if let Some(source) = stored.get("DeadLetterQueueSourceArn").and_then(Value::as_str) {
        put("DeadLetterQueueSourceArn", source.to_owned());
    }
    ReceivedMessage {
        message_id: row.id,
        receipt_handle: format!("{}/{count}", row.id),
        body: String::from_utf8_lossy(&row.body).into_owned(),
        attributes,
        message_attributes: message_attributes(stored),
    }
}

/// The sender's attributes; of a dead letter those that EventBridge gives it.
fn message_attributes(stored: Value) -> Map<String, Value> {
    let Value::Object(mut stored) = stored else { return Map::new() };
    if let Some(Value::Object(attributes)) = stored.remove("MessageAttributes") {
        return attributes;
    }
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) if name != "DeadLetterQueueSourceArn" => {
            Some((name, json!({ "DataType": "String", "StringValue": text })))
        }
        _ => None,
    };
    stored.into_iter().filter_map(text).collect()
}

impl Queue {
    /// The dead-letter queue of a message that was received as often as is allowed.
    fn given_up(&self, row: &MessageRow) -> Option<stepbus_model::ResourceId> {
        let redrive = self.spec.redrive.as_ref()?;
        self.dead_letter.filter(|_| row.reception.count >= redrive.max_receive_count)
    }
}
