//! When a destination is left alone: it throttles, or its circuit is open.
//!
//! Pure: time comes in. Both are one thing here, a time before which no call goes, and a width
//! that starts small when the time is over and grows with each answer, so that thousands of
//! waiting deliveries do not all come back in the same instant.

use std::sync::Arc;
use std::time::Duration;

use stepbus_model::{Limits, Timestamp};

use crate::health::Circuit;
use crate::report::Failure;

/// Taken before a call and handed back with its end, so that calls which started before a pause
/// do not count against what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    epoch: u64,
}

/// No call goes before `until`.
#[derive(Debug, Clone)]
pub(crate) struct Blocked {
    pub(crate) until: Timestamp,
    pub(crate) cause: Arc<Failure>,
}

#[derive(Debug)]
pub(crate) struct Pauses {
    limits: Limits,
    epoch: u64,
    blocked: Option<Blocked>,
    circuit: Circuit,
    throttles_in_row: u32,
    failures_in_row: u32,
    opened_in_row: u32,
    total: Duration,
}

impl Pauses {
    pub(crate) fn new(limits: Limits) -> Self {
        Pauses {
            limits,
            epoch: 0,
            blocked: None,
            circuit: Circuit::Closed,
            throttles_in_row: 0,
            failures_in_row: 0,
            opened_in_row: 0,
            total: Duration::ZERO,
        }
    }

    pub(crate) fn check(&mut self, now: Timestamp) -> Result<Ticket, Blocked> {
        if let Some(blocked) = &self.blocked {
            if now < blocked.until {
                return Err(blocked.clone());
            }
            self.blocked = None;
            if self.circuit == Circuit::Open {
                self.circuit = Circuit::HalfOpen;
            }
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// The call was answered, and not with throttling or a server's failure. Whether the width
    /// may grow.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> bool {
        if ticket.epoch != self.epoch {
            return false;
        }
        self.throttles_in_row = 0;
        self.failures_in_row = 0;
        self.opened_in_row = 0;
        self.circuit = Circuit::Closed;
        true
    }

    /// The call was answered with throttling. Gives the end of the pause, and the width after it
    /// when a pause begins.
    pub(crate) fn throttled(
        &mut self,
        ticket: Ticket,
        now: Timestamp,
        after: Option<Duration>,
        cause: Arc<Failure>,
    ) -> (Timestamp, Option<usize>) {
        let limits = &self.limits;
        let stale = ticket.epoch != self.epoch;
        let floor = Duration::from_millis(limits.throttle_floor_ms);
        let span = match after {
            Some(after) => {
                after.clamp(floor, Duration::from_secs(limits.throttle_cap_seconds).max(floor))
            }
            None if stale => floor,
            None => grown(
                limits.throttle_first_ms,
                self.throttles_in_row,
                limits.throttle_growth_cap_ms,
            ),
        };
        if !stale {
            self.throttles_in_row = self.throttles_in_row.saturating_add(1);
            self.failures_in_row = 0;
            self.opened_in_row = 0;
            self.circuit = Circuit::Closed;
        }
        let until = self.block(now, span, cause);
        (until, (!stale).then_some(self.limits.resume_calls))
    }

    /// The call got no answer, or a server's failure. Gives the width for a probe when that
    /// opens the circuit.
    pub(crate) fn failed(
        &mut self,
        ticket: Ticket,
        now: Timestamp,
        cause: Arc<Failure>,
    ) -> Option<usize> {
        if ticket.epoch != self.epoch {
            return None;
        }
        self.failures_in_row = self.failures_in_row.saturating_add(1);
        let probe_failed = self.circuit == Circuit::HalfOpen;
        if !probe_failed && self.failures_in_row < self.limits.breaker_failures {
            return None;
        }
        let limits = &self.limits;
        let span = grown(limits.breaker_first_ms, self.opened_in_row, limits.breaker_cap_ms);
        self.opened_in_row = self.opened_in_row.saturating_add(1);
        self.circuit = Circuit::Open;
        self.block(now, span, cause);
        Some(1)
    }

    pub(crate) fn until(&self, now: Timestamp) -> Option<Timestamp> {
        self.blocked.as_ref().map(|blocked| blocked.until).filter(|until| now < *until)
    }

    pub(crate) fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// The time of all pauses that began, up to `now`.
    pub(crate) fn total(&self, now: Timestamp) -> Duration {
        let ahead = self.until(now).map_or(Duration::ZERO, |until| until.since(now));
        self.total.saturating_sub(ahead)
    }

    /// Pauses only ever get longer: a later, shorter one is inside the first.
    fn block(&mut self, now: Timestamp, span: Duration, cause: Arc<Failure>) -> Timestamp {
        let from = self.until(now).unwrap_or(now);
        let until = now.plus(span).max(from);
        self.total += until.since(from);
        self.epoch += 1;
        self.blocked = Some(Blocked { until, cause });
        until
    }
}

fn grown(first_ms: u64, times: u32, cap_ms: u64) -> Duration {
    let factor = 1_u64.checked_shl(times.min(32)).unwrap_or(u64::MAX);
    Duration::from_millis(first_ms.saturating_mul(factor).min(cap_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause() -> Arc<Failure> {
        Arc::new(Failure::new("TEST", "why"))
    }

    const fn at(ms: i64) -> Timestamp {
        Timestamp(ms)
    }

    #[test]
    fn throttling_without_a_time_grows_until_it_is_answered() {
        let mut pauses = Pauses::new(Limits { throttle_first_ms: 1_000, ..Limits::DEFAULT });
        let mut now = at(0);
        for expected in [1_000, 2_000, 4_000] {
            let ticket = pauses.check(now).unwrap();
            let (until, width) = pauses.throttled(ticket, now, None, cause());
            assert_eq!((until.since(now).as_millis(), width), (expected, Some(2)));
            assert_eq!(pauses.check(now).unwrap_err().until, until);
            now = until;
        }
        let ticket = pauses.check(now).unwrap();
        assert!(pauses.answered(ticket));
        let ticket = pauses.check(now).unwrap();
        assert_eq!(
            pauses.throttled(ticket, now, None, cause()).0,
            now.plus(Duration::from_secs(1))
        );
        assert_eq!(pauses.total(now), Duration::from_secs(7));
    }

    #[test]
    fn a_named_time_has_a_floor_and_a_cap() {
        let check = |asked: u64, expected: u64| {
            let mut pauses = Pauses::new(Limits::DEFAULT);
            let ticket = pauses.check(at(0)).unwrap();
            let after = Some(Duration::from_secs(asked));
            let (until, _) = pauses.throttled(ticket, at(0), after, cause());
            assert_eq!(until.since(at(0)), Duration::from_millis(expected));
        };
        check(0, 100);
        check(7, 7_000);
        check(86_400, 3_600_000);
    }

    #[test]
    fn calls_from_before_a_pause_neither_grow_nor_shorten_it() {
        let mut pauses = Pauses::new(Limits { throttle_first_ms: 1_000, ..Limits::DEFAULT });
        let (one, other) = (pauses.check(at(0)).unwrap(), pauses.check(at(0)).unwrap());
        let third = pauses.check(at(0)).unwrap();
        assert_eq!(pauses.throttled(one, at(0), None, cause()).0, at(1_000));
        assert_eq!(pauses.throttled(other, at(10), None, cause()), (at(1_000), None));
        assert!(!pauses.answered(third));
        assert_eq!(pauses.check(at(999)).unwrap_err().until, at(1_000));
        assert_eq!(pauses.total(at(1_000)), Duration::from_secs(1));
    }

    #[test]
    fn the_circuit_opens_after_failures_in_a_row_and_a_probe_decides() {
        let mut pauses = Pauses::new(Limits { breaker_failures: 3, ..Limits::DEFAULT });
        let fail = |pauses: &mut Pauses, now| {
            let ticket = pauses.check(now).unwrap();
            pauses.failed(ticket, now, cause())
        };
        assert_eq!(fail(&mut pauses, at(0)), None);
        assert_eq!(fail(&mut pauses, at(0)), None);
        let ticket = pauses.check(at(0)).unwrap();
        assert!(pauses.answered(ticket), "one answer starts the count anew");
        assert_eq!(fail(&mut pauses, at(0)), None);
        assert_eq!(fail(&mut pauses, at(0)), None);
        assert_eq!(fail(&mut pauses, at(0)), Some(1));
        assert_eq!(pauses.circuit(), Circuit::Open);
        assert_eq!(pauses.check(at(499)).unwrap_err().until, at(500));
        assert_eq!(fail(&mut pauses, at(500)), Some(1), "the probe failed");
        assert_eq!(pauses.check(at(500)).unwrap_err().until, at(1_500));
        let probe = pauses.check(at(1_500)).unwrap();
        assert_eq!(pauses.circuit(), Circuit::HalfOpen);
        assert!(pauses.answered(probe));
        assert_eq!(pauses.circuit(), Circuit::Closed);
        assert_eq!(fail(&mut pauses, at(1_500)), None);
    }
}
