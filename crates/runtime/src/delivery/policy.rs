//! When a delivery is tried again, and when it is over.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use stepbus_connect::{Exchange, Failure};
use stepbus_model::{Limits, Timestamp};
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
    together: Option<&Group>,
) -> Fate {
    let too_old = row.created.plus(Duration::from_secs(retry.max_age_seconds));
    if attempts > retry.max_attempts.min(limits.delivery_attempts) {
        return Fate::Exhausted(ATTEMPTS);
    }
    if now >= too_old {
        return Fate::Exhausted(AGE);
    }
    let asked = now.plus(retry_after.unwrap_or_default());
    // Those that stay together are due together.
    let pause = match together {
        Some(group) => backoff(limits, &group.id, group.attempts + 1),
        None => backoff(limits, &row.id.to_string(), attempts),
    };
    let due = now.plus(pause).max(asked);
    // The last attempt is made when the time is over, not up to a whole backoff later.
    Fate::Retry(due.min(too_old.max(asked)))
}

/// Exponential with full jitter: anything from nothing to the whole step, the same for the same
/// attempt of the same delivery.
fn backoff(limits: &Limits, id: &str, attempts: u32) -> Duration {
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

/// Deliveries that were sent in one call and are to be sent in one call again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    /// The call's Idempotency-Key.
    pub(super) id: String,
    pub(super) size: usize,
    /// Of the one that was tried most often, before this call.
    #[serde(skip)]
    pub(super) attempts: u32,
}

/// How the last attempt failed, as a live delivery keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LastFailure {
    /// None when it was not tried: it waits for another one.
    pub(super) at: Option<Timestamp>,
    /// With whom it is to be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) batch: Option<Group>,
    #[serde(flatten)]
    pub(super) failure: Failure,
}

impl LastFailure {
    pub(super) fn read(text: &str) -> Option<LastFailure> {
        serde_json::from_str(text).ok()
    }

    /// What a delivery keeps whose batch was throttled: with whom it is to be sent again, beside
    /// how it failed before, if it did. None when it has that already.
    pub(super) fn together(
        kept: Option<&str>,
        throttled: &Failure,
        group: &Group,
    ) -> Option<String> {
        let Some(last) = kept.and_then(LastFailure::read) else {
            return Some(LastFailure::write_of(None, throttled, Some(group)));
        };
        let same = last.batch.as_ref().is_some_and(|batch| batch.id == group.id);
        (!same).then(|| LastFailure::write_of(last.at, &last.failure, Some(group)))
    }

    pub(super) fn write(at: Option<Timestamp>, failure: &Failure) -> String {
        LastFailure::write_of(at, failure, None)
    }

    pub(super) fn write_of(
        at: Option<Timestamp>,
        failure: &Failure,
        batch: Option<&Group>,
    ) -> String {
        let exchange = failure.exchange.as_deref().map(|exchange| {
            Box::new(Exchange {
                request_body: shortened(&exchange.request_body),
                response_body: shortened(&exchange.response_body),
                ..exchange.clone()
            })
        });
        let failure = Failure { exchange, ..failure.clone() };
        serde_json::to_string(&LastFailure { at, batch: batch.cloned(), failure })
            .unwrap_or_default()
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(KEPT_BODY_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use stepbus_model::{DeliveryId, EventId, ResourceId, RunId};

    use super::*;

    const LIMITS: Limits = Limits {
        delivery_backoff_first_ms: 1_000,
        delivery_backoff_cap_ms: 60_000,
        ..Limits::DEFAULT
    };
    const RETRY: RetrySpec = RetrySpec { max_age_seconds: 3_600, max_attempts: 3 };

    fn row(id: u64) -> DeliveryRow {
        DeliveryRow {
            id: DeliveryId(id),
            run: RunId(1),
            subscription: ResourceId(1),
            version: 1,
            event: EventId(1),
            key: None,
            lane: None,
            created: Timestamp(0),
            revision: 0,
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
        }
    }

    #[test]
    fn ends_when_attempts_or_time_are_used_up() {
        let check = |attempts: u32, now: i64, expected: Option<&str>| {
            let fate =
                after_failure(&LIMITS, &RETRY, &row(1), attempts, Timestamp(now), None, None);
            let ended = match fate {
                Fate::Exhausted(what) => Some(what),
                Fate::Retry(_) => None,
            };
            assert_eq!(ended, expected, "attempt {attempts} at {now}");
        };
        check(1, 0, None);
        check(3, 0, None);
        check(4, 0, Some(ATTEMPTS));
        check(1, 3_599_999, None);
        check(1, 3_600_000, Some(AGE));
        check(4, 3_600_000, Some(ATTEMPTS));
    }

    #[test]
    fn backs_off_over_the_whole_step_and_no_further() {
        for (attempts, step) in [(1, 1_000), (2, 2_000), (4, 8_000), (20, 60_000)] {
            let waits: Vec<Duration> = (0..200)
                .map(|id| backoff(&LIMITS, &DeliveryId(id).to_string(), attempts))
                .collect();
            let step = Duration::from_millis(step);
            assert!(waits.iter().all(|wait| *wait <= step));
            assert!(waits.iter().any(|wait| *wait < step / 5));
            assert!(waits.iter().any(|wait| *wait > step * 4 / 5));
            assert_eq!(waits[7], backoff(&LIMITS, &DeliveryId(7).to_string(), attempts));
        }
    }

    #[test]
    fn a_retry_is_not_before_what_was_asked_nor_long_after_the_end() {
        let check = |now: i64, asked: Option<u64>, least: i64, most: i64| {
            let asked = asked.map(Duration::from_secs);
            match after_failure(&LIMITS, &RETRY, &row(1), 1, Timestamp(now), asked, None) {
                Fate::Retry(due) => assert!((least..=most).contains(&due.0), "{due}"),
                fate => panic!("{fate:?}"),
            }
        };
        check(0, None, 0, 1_000);
        check(0, Some(30), 30_000, 30_000);
        check(3_599_990, None, 3_599_990, 3_600_000);
        check(3_599_990, Some(60), 3_659_990, 3_659_990);
    }

    #[test]
    fn a_live_delivery_keeps_its_failure_short() {
        let exchange = Exchange {
            method: "PUT".to_owned(),
            url: "http://shop/".to_owned(),
            request_headers: Vec::new(),
            request_body: "ä".repeat(5_000),
            status: Some(503),
            response_headers: Vec::new(),
            response_body: "no".to_owned(),
            took: Duration::from_millis(3),
        };
        let failure = Failure {
            code: "ERROR_FROM_TARGET".to_owned(),
            message: "503".to_owned(),
            status: Some(503),
            exchange: Some(Box::new(exchange)),
        };
        let last = LastFailure::read(&LastFailure::write(Some(Timestamp(5)), &failure)).unwrap();
        let kept = last.failure.exchange.unwrap();
        assert_eq!(last.at, Some(Timestamp(5)));
        assert_eq!(kept.request_body.chars().count(), KEPT_BODY_CHARS);
        assert_eq!(kept.response_body, "no");
    }
}
