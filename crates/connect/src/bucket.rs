//! A rate as a pure function of time: when the next call may go.

use std::time::Duration;

use tokio::time::Instant;

use crate::rate::Rate;

/// How late a timer may wake a caller without the lateness being lost from the rate.
const SLACK: Duration = Duration::from_millis(5);

/// The generic cell rate algorithm: calls are due one interval apart, and may come early by what
/// the burst allows.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate: Rate,
    due: Instant,
}

impl Bucket {
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Bucket { rate, due: now }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// When the next call may go; not after `now` when it may go at once.
    pub(crate) fn ready_at(&self, now: Instant) -> Instant {
        let early = self.rate.interval() * (self.rate.burst.get() - 1) + SLACK;
        self.due.checked_sub(early).unwrap_or(now)
    }

    /// Counts a call that goes now.
    pub(crate) fn take(&mut self, now: Instant) {
        self.due = self.due.max(now) + self.rate.interval();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However calls arrive and however late their timers wake them, no window sees more
        /// than its share and the burst; and without pauses between calls the rate is reached.
        #[test]
        fn keeps_and_reaches_the_rate(
            permits in 1_u32..2_000,
            burst in 1_u32..20,
            gaps in prop::collection::vec((0_u64..20_000, 0_u64..4_000), 1..300),
            idle in any::<bool>(),
        ) {
            let rate: Rate = format!("{permits}/s burst {burst}").parse().unwrap();
            let start = Instant::now();
            let mut bucket = Bucket::new(rate, start);
            let (mut now, mut went) = (start, Vec::new());
            for (gap, late) in gaps {
                if idle {
                    now += Duration::from_micros(gap);
                }
                let ready = bucket.ready_at(now);
                if ready > now {
                    now = ready + Duration::from_micros(late);
                }
                bucket.take(now);
                went.push(now - start);
            }
            let interval = rate.interval().as_secs_f64();
            for (i, first) in went.iter().enumerate() {
                for (j, last) in went.iter().enumerate().skip(i) {
                    let span = (*last - *first + SLACK).as_secs_f64();
                    let share = span / interval + f64::from(burst) + 1e-6;
                    prop_assert!((j - i) as f64 <= share, "{} calls in {span} s", j - i + 1);
                }
            }
            if !idle {
                let slowest = interval * went.len() as f64 + SLACK.as_secs_f64();
                prop_assert!(went[went.len() - 1].as_secs_f64() <= slowest);
            }
        }
    }
}
