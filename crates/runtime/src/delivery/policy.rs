//! When a delivery is tried again, and when it is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stepbus_connect::{Exchange, Failure};
use stepbus_model::{DeliveryId, Limits, Timestamp};
use stepbus_store::DeliveryRow;

use crate::declared::RetrySpec;

/// EventBridge's names for what was used up.
pub(super) const ATTEMPTS: &str = "MaximumRetryAttempts";
pub(super) const AGE: &str = "MaximumEventAgeInSeconds";

/// Characters of a body that a live delivery keeps of its last exchange; a dead letter has all
/// that was reported.
const KEPT_BODY_CHARS: usize = 1_000;

/// What a failed attempt leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Retry(Timestamp),
    Exhausted(&'static str),
}

/// `attempts` counts the one that just failed.
pub(super) fn after_failure(
    limits: &Limits,
    retry: &RetrySpec,
    row: &DeliveryRow,
    attempts: u32,
    now: Timestamp,
    retry_after: Option<Duration>,
) -> Fate {
    let too_old = row.created.plus(Duration::from_secs(retry.max_age_seconds));
    if attempts > retry.max_attempts.min(limits.delivery_attempts) {
        return Fate::Exhausted(ATTEMPTS);
    }
    if now >= too_old {
        return Fate::Exhausted(AGE);
    }
    let asked = now.plus(retry_after.unwrap_or_default());
    let due = now.plus(backoff(limits, row.id, attempts)).max(asked);
    // The last attempt is made when the time is over, not up to a whole backoff later.
    Fate::Retry(due.min(too_old.max(asked)))
}

/// Exponential with full jitter: anything from nothing to the whole step, the same for the same
/// attempt of the same delivery.
fn backoff(limits: &Limits, id: DeliveryId, attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(32);
    let step = limits
        .delivery_backoff_first_ms
        .saturating_mul(1 << doublings)
        .min(limits.delivery_backoff_cap_ms);
    let digest = Sha256::digest(format!("{id}/{attempts}"));
    let (head, _) = digest.split_at(8);
    let chance = head.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    Duration::from_millis(chance % (step + 1))
}

/// How the last attempt failed, as a live delivery keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LastFailure {
    /// None when it was not tried: it waits for another one.
    pub(super) at: Option<Timestamp>,
    #[serde(flatten)]
    pub(super) failure: Failure,
}

impl LastFailure {
    pub(super) fn read(text: &str) -> Option<LastFailure> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn write(at: Option<Timestamp>, failure: &Failure) -> String {
        let exchange = failure.exchange.as_deref().map(|exchange| {
            Box::new(Exchange {
                request_body: shortened(&exchange.request_body),
                response_body: shortened(&exchange.response_body),
                ..exchange.clone()
            })
        });
        let failure = Failure { exchange, ..failure.clone() };
        serde_json::to_string(&LastFailure { at, failure }).unwrap_or_default()
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(KEPT_BODY_CHARS).collect()
}
