//! What a project declares, as plain data without secrets: the wiring hands it over, the store
//! keeps each version of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepbus_asl::WorkflowType;
use stepbus_connect::{ConnectionSpec, DestinationSpec};
use stepbus_store::Priority;

/// Everything a project file declares. Endpoints' keys and connections' secrets stay out of the
/// store: only what has a `Serialize` of its own is kept, and a secret serialises as `***`.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    pub buses: Vec<BusSpec>,
    pub queues: Vec<QueueSpec>,
    pub connections: Vec<ConnectionSpec>,
    pub destinations: Vec<DestinationSpec>,
    pub workflows: Vec<WorkflowSpec>,
    pub subscriptions: Vec<SubscriptionSpec>,
    pub endpoints: Vec<EndpointSpec>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusSpec {
    pub name: String,
    /// How long events are kept.
    pub retention_seconds: u64,
}

/// A queue, by the meaning of SQS's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    pub name: String,
    /// How long a received message is hidden from others. SQS: 30.
    pub visibility_seconds: u64,
    /// How long a sent message is hidden at first.
    pub delay_seconds: u64,
    /// How long messages are kept; without it, until they are deleted.
    pub retention_seconds: Option<u64>,
    /// Where messages go that are received again and again.
    pub redrive: Option<RedrivePolicy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePolicy {
    /// The name of the dead-letter queue.
    pub dead_letter: String,
    pub max_receive_count: u32,
}

impl QueueSpec {
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        QueueSpec {
            name: name.into(),
            visibility_seconds: 30,
            delay_seconds: 0,
            retention_seconds: None,
            redrive: None,
        }
    }
}

impl From<&str> for QueueSpec {
    fn from(name: &str) -> Self {
        QueueSpec::new(name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowSpec {
    pub name: String,
    /// The States Language text, JSON or YAML.
    pub definition: String,
    pub kind: WorkflowType,
}

/// A subscription = bus + pattern + optional transform + one target + retry policy + dead-letter
/// queue + key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    pub name: String,
    pub bus: String,
    /// The event pattern as JSON text.
    pub pattern: String,
    /// A JSONata template over `$event`; its value is the business key.
    pub key: Option<Value>,
    /// A JSONata template over `$event`; without one the whole event is sent.
    pub transform: Option<Value>,
    /// A JSONata template over `$event`; what orders two payloads of one key.
    pub version: Option<Value>,
    pub target: TargetSpec,
    pub order: Order,
    pub on_dead_letter: OnDeadLetter,
    pub skip_unchanged: bool,
    pub retry: RetrySpec,
    /// The name of the dead-letter queue; without one a failed delivery is discarded and counted.
    pub dead_letter: Option<String>,
    pub enabled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSpec {
    Workflow(String),
    Destination(String),
}

impl TargetSpec {
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            TargetSpec::Workflow(name) | TargetSpec::Destination(name) => name,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Unordered,
    /// Single flight and strict order within a key.
    Fifo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadLetter {
    /// The key goes on with its next delivery.
    #[default]
    Advance,
    /// The key waits until the dead letter is redriven or purged.
    Block,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrySpec {
    pub max_age_seconds: u64,
    /// Attempts after the first. EventBridge: 0 to 185.
    pub max_attempts: u32,
}

/// A route of the public listener that publishes an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointSpec {
    pub name: String,
    /// Upper case.
    pub method: String,
    /// As in `/sync/{container}`.
    pub path: String,
    #[serde(skip)]
    pub api_key: stepbus_connect::Secret,
    pub overlap: Overlap,
    /// Of the runs it starts.
    pub priority: Priority,
    /// Values a path parameter may take; one that is not named may take any.
    pub params: BTreeMap<String, Vec<String>>,
    pub max_body_bytes: Option<usize>,
    pub bus: String,
    pub detail_type: String,
    pub source: String,
    /// A JSONata template over `$request`: `path`, `query`, `headers`, `body`.
    pub detail: Value,
}

/// What a call meets while a run of the same endpoint and path is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    Allow,
    /// 409 with the open run's id.
    Refuse,
}
