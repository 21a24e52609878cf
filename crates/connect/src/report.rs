//! How a delivery or a task ended, told so that it can be kept, shown and acted upon.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stepbus_model::Timestamp;

/// How one attempt of a delivery ended.
///
/// `remote_id` is the truth about an upsert from now on, whatever became of the attempt: keep it,
/// and forget the one kept when it is `None`. For a plain call it is what the request brought.
#[derive(Debug, Clone)]
pub enum Report {
    Delivered {
        remote_id: Option<String>,
        /// Payloads of a batch that failed although the call did not.
        failed: Vec<ItemFailure>,
        receipt: Receipt,
    },
    /// The attempt failed and another may succeed, not before `retry_after` if the system said so.
    Retryable { error: Arc<Failure>, retry_after: Option<Duration>, remote_id: Option<String> },
    /// The destination takes nothing until then: it throttles, or its circuit is open. This is no
    /// attempt. `error` says what made it so, perhaps in another delivery.
    Throttled { until: Timestamp, error: Arc<Failure>, remote_id: Option<String> },
    /// No further attempt will succeed.
    Permanent { error: Arc<Failure>, remote_id: Option<String> },
}

impl Report {
    #[must_use]
    pub fn remote_id(&self) -> Option<&str> {
        match self {
            Report::Delivered { remote_id, .. }
            | Report::Retryable { remote_id, .. }
            | Report::Throttled { remote_id, .. }
            | Report::Permanent { remote_id, .. } => remote_id.as_deref(),
        }
    }

    #[must_use]
    pub fn error(&self) -> Option<&Arc<Failure>> {
        match self {
            Report::Delivered { .. } => None,
            Report::Retryable { error, .. }
            | Report::Throttled { error, .. }
            | Report::Permanent { error, .. } => Some(error),
        }
    }
}

/// One payload of a batch that the target did not take.
#[derive(Debug, Clone)]
pub struct ItemFailure {
    /// Its place in the array, from 0.
    pub index: usize,
    pub permanent: bool,
    pub error: Arc<Failure>,
}

/// What is known of a delivery that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The status of the last answer.
    pub status: u16,
    /// Calls made: more than one for an upsert or after logging in again.
    pub calls: u32,
    /// From the first call's start to the last one's end, waiting for permits included.
    pub took: Duration,
}

/// Why an attempt failed. Secrets are masked in all of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// One of [`code`], as in the ERROR_CODE of a dead letter.
    pub code: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Box<Exchange>>,
}

/// EventBridge's names for what a dead letter died of.
pub mod code {
    pub const CONNECTION_FAILURE: &str = "CONNECTION_FAILURE";
    pub const TIMEOUT: &str = "TIMEOUT";
    pub const THROTTLING: &str = "THROTTLING";
    pub const NO_PERMISSIONS: &str = "NO_PERMISSIONS";
    pub const NO_RESOURCE: &str = "NO_RESOURCE";
    pub const ERROR_FROM_TARGET: &str = "ERROR_FROM_TARGET";
    pub const INVALID_PARAMETER: &str = "INVALID_PARAMETER";
    pub const RESOURCE_LIMIT_EXCEEDED: &str = "RESOURCE_LIMIT_EXCEEDED";
}

/// The last request of an attempt and what came back; bodies are cut at `Limits::exchange_bytes`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub method: String,
    pub url: String,
    pub request_headers: Vec<(String, String)>,
    pub request_body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response_headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub response_body: String,
    pub took: Duration,
}
