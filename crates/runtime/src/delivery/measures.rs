//! What is counted while deliveries run, for metrics; the books are the store's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use stepbus_model::{ResourceId, Timestamp};

/// Upper bounds of the latency histogram, in milliseconds; what is slower is in the last bucket.
const BOUNDS_MS: [u64; 14] =
    [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 60_000, 600_000, 3_600_000];

#[derive(Debug, Default)]
pub(super) struct Measures {
    pub(super) attempts: AtomicU64,
    pub(super) retries: AtomicU64,
    throttled_ms: AtomicU64,
    buckets: [AtomicU64; BOUNDS_MS.len() + 1],
    latency_ms: AtomicU64,
}

/// A subscription's deliveries since the process started, and those in hand.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeliveryMeasures {
    pub subscription: ResourceId,
    pub name: String,
    /// Calls that were answered or failed; throttling is none.
    pub attempts: u64,
    /// Attempts that led to another one later.
    pub retries: u64,
    /// For how long the destination took nothing.
    pub throttled: Duration,
    /// From the match, or the redrive, to the fate.
    pub latency: Latency,
    /// Deliveries in memory.
    pub in_memory: usize,
    /// Keys of a FIFO subscription that wait for a retry.
    pub waiting_lanes: usize,
    /// More are ready in the store than memory holds.
    pub behind: bool,
    /// Until when its destination takes nothing.
    pub paused_until: Option<Timestamp>,
    /// An operator paused the subscription or its destination.
    pub held: bool,
    /// Deliveries in workers' hands.
    pub in_hand: usize,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Latency {
    /// Upper bound in seconds, and how many took no longer; the last has no bound.
    pub buckets: Vec<(f64, u64)>,
    pub sum: Duration,
    pub count: u64,
}

impl Measures {
    pub(super) fn finished(&self, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MS.partition_point(|bound| *bound < millis);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.latency_ms.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn throttled(&self, span: Duration) {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        self.throttled_ms.fetch_add(millis, Ordering::Relaxed);
    }

    pub(super) fn throttled_time(&self) -> Duration {
        Duration::from_millis(self.throttled_ms.load(Ordering::Relaxed))
    }

    pub(super) fn latency(&self) -> Latency {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(self.buckets.len());
        for (index, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_MS.get(index).map_or(f64::INFINITY, |ms| *ms as f64 / 1_000.0);
            buckets.push((bound, count));
        }
        let sum = Duration::from_millis(self.latency_ms.load(Ordering::Relaxed));
        Latency { buckets, sum, count }
    }
}
