//! Dead letters as people and programs look at them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use stepbus_model::{DeliveryId, EventId, MessageId, RunId, Timestamp};
use stepbus_store::{MessageFilter, MessageRow, StoreError};

use crate::catalogue::Catalogue;
use crate::engine::Engine;
use crate::schedules::letters::schedule_of;

/// A message of a dead-letter queue, with names for ids.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetter {
    pub id: MessageId,
    pub queue: String,
    pub run: RunId,
    pub sent: Timestamp,
    pub subscription: Option<String>,
    /// Of a tick that failed; then the body names its time, and there is no delivery.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    pub delivery: Option<DeliveryId>,
    pub event: Option<EventId>,
    pub key: Option<String>,
    pub attempts: u32,
    /// Above 0 when its payload was edited, or it was redriven by another version.
    pub revision: u32,
    pub error_code: Option<String>,
    /// EventBridge's attributes, and under `stepbus` ours: the delivery, when it was tried, and
    /// the last request and response with secrets masked.
    pub attributes: Value,
    /// The event as it was published.
    pub body: Option<Box<RawValue>>,
}

impl DeadLetter {
    fn new(catalogue: &Catalogue, row: MessageRow) -> Self {
        let schedule = schedule_of(&row);
        let body = std::str::from_utf8(&row.body).ok().map(str::to_owned);
        let delivery = row.delivery;
        DeadLetter {
            id: row.id,
            queue: catalogue.name(row.queue).to_owned(),
            run: row.run,
            sent: row.sent,
            subscription: delivery.as_ref().map(|row| catalogue.name(row.subscription).to_owned()),
            schedule,
            delivery: delivery.as_ref().map(|row| row.id),
            event: delivery.as_ref().map(|row| row.event),
            attempts: delivery.as_ref().map_or(0, |row| row.attempts),
            revision: delivery.as_ref().map_or(0, |row| row.revision),
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

/// What dead letters are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    Queue,
    Subscription,
    #[default]
    Cause,
}

/// Dead letters that have something in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LetterGroup {
    pub count: u64,
    pub oldest: Timestamp,
    pub newest: Timestamp,
    pub queues: BTreeSet<String>,
    pub subscriptions: BTreeSet<String>,
    /// Whose ticks they are.
    pub schedules: BTreeSet<String>,
    pub error_codes: BTreeSet<String>,
    /// The error without what differs from one to the next; the commonest, unless grouped by it.
    pub cause: Option<String>,
    /// The oldest of them.
    pub sample: MessageId,
}

impl LetterGroup {
    fn add(&mut self, other: LetterGroup) {
        self.count += other.count;
        self.newest = self.newest.max(other.newest);
        if other.sample < self.sample {
            (self.oldest, self.sample) = (other.oldest, other.sample);
        }
        self.queues.extend(other.queues);
        self.subscriptions.extend(other.subscriptions);
        self.schedules.extend(other.schedules);
        self.error_codes.extend(other.error_codes);
    }
}

impl Engine {
    /// The dead letters that the filter lets through, counted; those with the most first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dead_letter_groups(
        &self,
        filter: MessageFilter,
        by: GroupBy,
    ) -> Result<Vec<LetterGroup>, StoreError> {
        let catalogue = self.catalogue();
        let mut groups: BTreeMap<(String, Option<String>), LetterGroup> = BTreeMap::new();
        for found in self.store.dead_letter_groups(filter).await? {
            let queue = catalogue.name(found.queue);
            let subscription = found.subscription.map(|id| catalogue.name(id).to_owned());
            let code = found.error_code.unwrap_or_default();
            let key = match by {
                GroupBy::Queue => (queue.to_owned(), None),
                GroupBy::Subscription => match (&subscription, &found.schedule) {
                    (Some(name), _) => (format!("subscription {name}"), None),
                    (None, schedule) => (format!("schedule {schedule:?}"), None),
                },
                GroupBy::Cause => (code.clone(), found.cause.clone()),
            };
            let group = LetterGroup {
                count: found.count,
                oldest: found.oldest,
                newest: found.newest,
                queues: BTreeSet::from([queue.to_owned()]),
                subscriptions: subscription.into_iter().collect(),
                schedules: found.schedule.into_iter().collect(),
                error_codes: BTreeSet::from([code]),
                cause: found.cause,
                sample: found.sample,
            };
            match groups.get_mut(&key) {
                Some(known) => known.add(group),
                None => drop(groups.insert(key, group)),
            }
        }
        let mut groups: Vec<LetterGroup> = groups.into_values().collect();
        groups
            .sort_by(|one, other| other.count.cmp(&one.count).then(one.sample.cmp(&other.sample)));
        Ok(groups)
    }

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
        let filter = MessageFilter { dead: true, ..filter };
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
