//! What listings are narrowed by, and what a store says of itself.

use serde::{Deserialize, Serialize};
use stepbus_model::{DeliveryId, EventId, MapRunId, MessageId, ResourceId, RunId, Timestamp};

use crate::records::{DeliveryRow, ExecutionStatus};

/// Which executions to list; children of map runs only when `map_run` asks for them.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExecutionFilter {
    pub workflow: Option<ResourceId>,
    pub run: Option<RunId>,
    pub status: Option<ExecutionStatus>,
    pub map_run: Option<MapRunId>,
}

/// A page of a bus's log, in the order of ids.
#[derive(Debug, Clone, Copy)]
pub struct LogRange {
    pub bus: ResourceId,
    pub from: EventId,
    /// Events from here on are not asked for.
    pub below: EventId,
    pub rows: usize,
    /// Envelope bytes after which the page ends; it holds one event at least.
    pub bytes: usize,
}

/// The disk that the records take, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The database's file.
    pub database: u64,
    /// Of it, what is free to be used again.
    pub unused: u64,
    /// Written and not yet in the database's file.
    pub write_ahead_log: u64,
    /// Free on the disk.
    pub disk_free: u64,
    /// By what the records are for, when that was asked for.
    pub groups: Vec<(String, u64)>,
}

impl Usage {
    /// What the records themselves take.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.database.saturating_sub(self.unused)
    }
}

/// Which messages to list. Texts are compared whole unless they say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MessageFilter {
    pub queue: Option<ResourceId>,
    pub run: Option<RunId>,
    pub subscription: Option<ResourceId>,
    pub error_code: Option<String>,
    pub key: Option<String>,
    /// Part of a dead letter's cause, in whatever case.
    pub cause: Option<String>,
    pub sent_before: Option<Timestamp>,
    pub sent_from: Option<Timestamp>,
    /// Only what failed for good: deliveries, and ticks of schedules, which have an error code.
    pub dead: bool,
}

/// Dead letters that are there for the same reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    pub queue: ResourceId,
    /// Whose deliveries they were; none of a schedule's ticks.
    pub subscription: Option<ResourceId>,
    /// Whose ticks they were.
    pub schedule: Option<String>,
    pub error_code: Option<String>,
    pub cause: Option<String>,
    pub count: u64,
    pub oldest: Timestamp,
    pub newest: Timestamp,
    /// The oldest of them.
    pub sample: MessageId,
}

/// How many messages a queue holds, by SQS's names for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct QueueCounts {
    /// To be received now.
    pub visible: u64,
    /// Received, and hidden until they are deleted or become visible again.
    pub in_flight: u64,
    /// Sent with a delay that is not over.
    pub delayed: u64,
}

/// Counters since the store was opened, and sizes as they are.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Stats {
    pub commits: u64,
    pub batches: u64,
    pub changes: u64,
    /// Time spent on group commits, from their first change until they were durable.
    pub commit_micros: u64,
    /// The part of it spent waiting for the disk to sync.
    pub sync_micros: u64,
    pub checkpoints: u64,
    pub failed_commits: u64,
    pub queued_batches: u64,
    pub database_bytes: u64,
    pub log_bytes: u64,
    pub free_bytes: u64,
    /// Nothing new is accepted until there is room.
    pub full: bool,
}

/// A page of deliveries that wait for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ready {
    pub rows: Vec<DeliveryRow>,
    /// Where to look on; none when the end was reached.
    pub next: Option<DeliveryId>,
}
