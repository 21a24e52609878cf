//! How connections and destinations are, for metrics and the console.

use std::time::Duration;

use serde::Serialize;
use stepbus_model::Timestamp;

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Health {
    /// Sorted by name, as `destinations`.
    pub connections: Vec<Condition>,
    pub destinations: Vec<Condition>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Condition {
    pub name: String,
    /// Calls that hold a permit.
    pub in_flight: usize,
    /// Calls that wait for one.
    pub waiting: usize,
    pub concurrency: usize,
    /// Calls made since the process started.
    pub calls: u64,
    /// Calls that got no answer, or one that meant no success.
    pub failures: u64,
    /// Calls that were answered with throttling.
    pub throttles: u64,
    /// Time spent in calls, all added up.
    pub busy: Duration,
    /// Time for which calls were held back by throttling or an open circuit.
    pub paused: Duration,
    pub paused_until: Option<Timestamp>,
    pub circuit: Circuit,
    /// Masked; with its time.
    pub last_error: Option<(Timestamp, String)>,
    /// Age of the OAuth token in use.
    pub token_age: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Circuit {
    #[default]
    Closed,
    Open,
    /// One probe decides.
    HalfOpen,
}
