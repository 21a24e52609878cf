//! Misbehaviour on demand: which fault a request meets is drawn from the seed and its number.

use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Map, Value};
use stepbus_model::{Clock, SystemClock};

use crate::random::mix;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// 429 and nothing else.
    Throttled,
    ThrottledRetryAfter,
    ThrottledRetryAfterZero,
    /// 500 with an HTML page.
    ServerError,
    /// 503 as text.
    Unavailable,
    /// Answers properly, late.
    Slow,
    /// Connection reset before anything happened.
    Reset,
    /// Applied, but answered 429.
    AppliedThrottled,
    /// Applied, then the connection is reset before the answer.
    AppliedReset,
    /// All tokens given out so far are void.
    TokenRotated,
    /// 200 with JSON that breaks off.
    Truncated,
    /// One 401 for a good credential.
    Unauthorized,
    /// A passing business error inside a 200.
    Busy,
    /// Never answered, nor applied: the caller gives up at some time.
    Stalled,
}

pub(crate) const FAULTS: [(Fault, &str); 14] = [
    (Fault::Throttled, "429"),
    (Fault::ThrottledRetryAfter, "429_retry_after"),
    (Fault::ThrottledRetryAfterZero, "429_retry_after_0"),
    (Fault::ServerError, "500"),
    (Fault::Unavailable, "503"),
    (Fault::Slow, "slow"),
    (Fault::Reset, "reset"),
    (Fault::AppliedThrottled, "applied_429"),
    (Fault::AppliedReset, "applied_reset"),
    (Fault::TokenRotated, "token_rotated"),
    (Fault::Truncated, "truncated"),
    (Fault::Unauthorized, "401"),
    (Fault::Busy, "busy"),
    (Fault::Stalled, "stalled"),
];

impl Fault {
    fn index(self) -> usize {
        self as usize
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(name: &str) -> Result<Fault, String> {
        FAULTS.iter().find(|(_, known)| *known == name).map(|(fault, _)| *fault).ok_or_else(|| {
            let known: Vec<&str> = FAULTS.iter().map(|(_, name)| *name).collect();
            format!("no fault is named '{name}'; there are {}", known.join(", "))
        })
    }
}

/// The faults of a mix with their weights. `Retry-After` counts whole seconds, during which a
/// polite client sends nothing at all, so it is rare: 5 % of 5,000 requests meet it six times.
pub(crate) type Mix = &'static [(Fault, f64)];

pub(crate) const MDM_MIX: Mix =
    &[(Fault::ServerError, 1.0), (Fault::Reset, 1.0), (Fault::Slow, 1.0), (Fault::Truncated, 1.0)];

/// What befalls every target, and what befalls one kind besides.
macro_rules! target_mix {
    ($($own:expr),*) => {
        &[
            (Fault::Throttled, 1.0),
            (Fault::ThrottledRetryAfterZero, 1.0),
            (Fault::ServerError, 1.5),
            (Fault::Unavailable, 1.5),
            (Fault::Slow, 1.0),
            (Fault::Reset, 1.5),
            (Fault::AppliedThrottled, 1.0),
            (Fault::AppliedReset, 0.5),
            $($own),*
        ]
    };
}

const WITH_RETRY_AFTER: (Fault, f64) = (Fault::ThrottledRetryAfter, 0.2);

pub(crate) const SHOP_MIX: Mix = target_mix![WITH_RETRY_AFTER];
pub(crate) const CRM_MIX: Mix = target_mix![WITH_RETRY_AFTER, (Fault::TokenRotated, 0.5)];
pub(crate) const ERP_MIX: Mix = target_mix![WITH_RETRY_AFTER, (Fault::Busy, 1.0)];
pub(crate) const SINK_MIX: Mix = target_mix![(Fault::Stalled, 0.5)];

const DOWN_UNTIL_TOLD: i64 = i64::MAX;

#[derive(Debug)]
pub(crate) struct Misbehaviour {
    mix: Mix,
    seed: u64,
    drawn: AtomicU64,
    /// Chance of each fault in 2³² parts.
    rates: [AtomicU32; FAULTS.len()],
    any: AtomicBool,
    injected: [AtomicU64; FAULTS.len()],
    refused_while_down: AtomicU64,
    slow_ms: AtomicU64,
    retry_after_seconds: AtomicU64,
    down_until: AtomicI64,
    down_by_reset: AtomicBool,
    clock: SystemClock,
}

impl Misbehaviour {
    pub(crate) fn new(mix: Mix, seed: u64, slow: Duration) -> Misbehaviour {
        Misbehaviour {
            mix,
            seed,
            drawn: AtomicU64::new(0),
            rates: std::array::from_fn(|_| AtomicU32::new(0)),
            any: AtomicBool::new(false),
            injected: std::array::from_fn(|_| AtomicU64::new(0)),
            refused_while_down: AtomicU64::new(0),
            slow_ms: AtomicU64::new(slow.as_millis() as u64),
            retry_after_seconds: AtomicU64::new(1),
            down_until: AtomicI64::new(0),
            down_by_reset: AtomicBool::new(false),
            clock: SystemClock::default(),
        }
    }

    /// Spreads `rate` over all kinds of this stand-in's mix.
    pub(crate) fn set_mixed(&self, rate: f64) {
        let sum: f64 = self.mix.iter().map(|(_, weight)| weight).sum();
        for rate in &self.rates {
            rate.store(0, Ordering::Relaxed);
        }
        for (fault, weight) in self.mix {
            self.set(*fault, rate * weight / sum);
        }
        self.any.store(rate > 0.0, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, fault: Fault, rate: f64) {
        let parts = (rate.clamp(0.0, 1.0) * f64::from(u32::MAX)) as u32;
        self.rates[fault.index()].store(parts, Ordering::Relaxed);
        let any = self.rates.iter().any(|rate| rate.load(Ordering::Relaxed) > 0);
        self.any.store(any, Ordering::Relaxed);
    }

    pub(crate) fn set_slow(&self, slow: Duration) {
        self.slow_ms.store(slow.as_millis() as u64, Ordering::Relaxed);
    }

    pub(crate) fn slow(&self) -> Duration {
        Duration::from_millis(self.slow_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn set_retry_after_seconds(&self, seconds: u64) {
        self.retry_after_seconds.store(seconds, Ordering::Relaxed);
    }

    pub(crate) fn retry_after_seconds(&self) -> u64 {
        self.retry_after_seconds.load(Ordering::Relaxed)
    }

    /// Down for that long, or until [`Misbehaviour::up`].
    pub(crate) fn take_down(&self, span: Option<Duration>, by_reset: bool) {
        self.down_by_reset.store(by_reset, Ordering::Relaxed);
        let until = span.map_or(DOWN_UNTIL_TOLD, |span| self.clock.now().plus(span).0);
        self.down_until.store(until, Ordering::Relaxed);
    }

    pub(crate) fn up(&self) {
        self.down_until.store(0, Ordering::Relaxed);
    }

    /// `Some(true)`: down and saying so with 503; `Some(false)`: down and resetting connections.
    pub(crate) fn down(&self) -> Option<bool> {
        let until = self.down_until.load(Ordering::Relaxed);
        if until == 0 {
            return None;
        }
        if until != DOWN_UNTIL_TOLD && self.clock.now().0 >= until {
            // Another request may have taken it down anew since; then it stays down.
            let _ =
                self.down_until.compare_exchange(until, 0, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        }
        self.refused_while_down.fetch_add(1, Ordering::Relaxed);
        Some(!self.down_by_reset.load(Ordering::Relaxed))
    }

    /// The fault of the next request, if it meets one.
    pub(crate) fn draw(&self) -> Option<Fault> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut left = (mix(self.seed ^ mix(number)) >> 32) as u32;
        for (fault, _) in FAULTS {
            let rate = self.rates[fault.index()].load(Ordering::Relaxed);
            if left < rate {
                return Some(fault);
            }
            left -= rate;
        }
        None
    }

    pub(crate) fn count(&self, fault: Fault) {
        self.injected[fault.index()].fetch_add(1, Ordering::Relaxed);
    }

    /// The chances in force, without those of zero.
    pub(crate) fn rates(&self) -> Value {
        let mut rates = Map::new();
        for (fault, name) in FAULTS {
            let parts = self.rates[fault.index()].load(Ordering::Relaxed);
            if parts > 0 {
                rates.insert(name.to_owned(), (f64::from(parts) / f64::from(u32::MAX)).into());
            }
        }
        Value::Object(rates)
    }

    /// Faults injected so far by kind, without those that never happened.
    pub(crate) fn report(&self) -> Value {
        let mut report = Map::new();
        for (fault, name) in FAULTS {
            let count = self.injected[fault.index()].load(Ordering::Relaxed);
            if count > 0 {
                report.insert(name.to_owned(), count.into());
            }
        }
        let refused = self.refused_while_down.load(Ordering::Relaxed);
        if refused > 0 {
            report.insert("down".to_owned(), refused.into());
        }
        Value::Object(report)
    }

    pub(crate) fn forget_counts(&self) {
        for count in self.injected.iter().chain([&self.refused_while_down]) {
            count.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(seed: u64, rate: f64) -> Vec<Option<Fault>> {
        let misbehaviour = Misbehaviour::new(CRM_MIX, seed, Duration::ZERO);
        misbehaviour.set_mixed(rate);
        (0..20_000).map(|_| misbehaviour.draw()).collect()
    }

    #[test]
    fn a_seed_repeats_its_faults_and_spreads_them_over_all_kinds() {
        let first = draws(7, 0.1);
        assert_eq!(first, draws(7, 0.1));
        assert_ne!(first, draws(8, 0.1));
        let hit = first.iter().flatten().count();
        assert!((1_800..2_200).contains(&hit), "{hit} of 20,000 at 10 %");
        for (fault, _) in CRM_MIX {
            assert!(first.contains(&Some(*fault)), "{fault:?} never came");
        }
        assert!(draws(7, 0.0).iter().all(Option::is_none));
        assert!(draws(7, 1.0).iter().flatten().count() > 19_990);
    }

    #[test]
    fn names_and_order_agree() {
        for (index, (fault, name)) in FAULTS.iter().enumerate() {
            assert_eq!(fault.index(), index);
            assert_eq!(name.parse(), Ok(*fault));
        }
    }

    #[test]
    fn down_ends_by_itself_or_when_told() {
        let misbehaviour = Misbehaviour::new(CRM_MIX, 1, Duration::ZERO);
        misbehaviour.take_down(Some(Duration::ZERO), false);
        assert_eq!(misbehaviour.down(), None);
        misbehaviour.take_down(None, true);
        assert_eq!(misbehaviour.down(), Some(false));
        misbehaviour.up();
        assert_eq!(misbehaviour.down(), None);
    }
}
