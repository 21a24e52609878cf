//! How the back threads stand back. The operating system would have them use up their turn, some
//! milliseconds, while a front thread waits, at each of the many steps of a small run. A lower
//! priority for them costs more than it seems: then everything that wakes interrupts them, a system
//! on the same machine that they call at each call.

use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeMetrics};

/// For so long after a front thread had something to do more may come: what follows from it, and
/// what others answer.
const LINGER: Duration = Duration::from_millis(1);

thread_local! {
    /// Of a back thread.
    static FRONT: OnceCell<Arc<Front>> = const { OnceCell::new() };
}

/// Makes this thread a back one.
pub(super) fn give_way_to(front: &Arc<Front>) {
    FRONT.with(|before| {
        let _ = before.set(front.clone());
    });
}

/// Between two pieces of work: a back thread lets others have the processor while front threads
/// have something to do. On other threads it does nothing.
pub(crate) fn give_way() {
    if FRONT.with(|front| front.get().is_some_and(|front| front.is_busy())) {
        std::thread::yield_now();
    }
}

/// A task that may run on the back threads: those give way each time before it goes on.
pub(crate) fn giving_way<F: Future>(task: F) -> GivingWay<F> {
    GivingWay(Box::pin(task))
}

pub(crate) struct GivingWay<F>(Pin<Box<F>>);

impl<F: Future> Future for GivingWay<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        give_way();
        self.0.as_mut().poll(context)
    }
}

/// The front threads, as the back ones see them.
pub(super) struct Front {
    metrics: RuntimeMetrics,
    began: Instant,
    pulse: Pulse,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").field("pulse", &self.pulse).finish_non_exhaustive()
    }
}

impl Front {
    pub(super) fn of(threads: &Handle) -> Arc<Front> {
        let (metrics, began) = (threads.metrics(), Instant::now());
        Arc::new(Front { metrics, began, pulse: Pulse::default() })
    }

    fn is_busy(&self) -> bool {
        let threads = 0..self.metrics.num_workers();
        let turns = threads.map(|thread| self.metrics.worker_park_unpark_count(thread));
        self.pulse.beats(turns.fold(0, u64::wrapping_add), || self.began.elapsed())
    }
}

/// Threads that have something to do wake and go to sleep again.
#[derive(Debug, Default)]
struct Pulse {
    /// How often they had when one looked last.
    turns: AtomicU64,
    /// In nanoseconds; 0: they have nothing to do.
    until: AtomicU64,
}

impl Pulse {
    /// Whether they have had something to do lately.
    fn beats(&self, turns: u64, now: impl Fn() -> Duration) -> bool {
        let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        if self.turns.load(Ordering::Relaxed) != turns {
            self.turns.store(turns, Ordering::Relaxed);
            self.until.store(nanos(now() + LINGER), Ordering::Relaxed);
            return true;
        }
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 {
            return false;
        }
        if nanos(now()) < until {
            return true;
        }
        self.until.store(0, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn a_pulse_lingers() {
        let pulse = Pulse::default();
        let check = |turns: u64, micros: u64, expected: bool| {
            let beats = pulse.beats(turns, || Duration::from_micros(micros));
            assert_eq!(beats, expected, "{turns} turns after {micros} µs");
        };
        check(0, 0, false);
        check(2, 100, true);
        check(2, 1_099, true);
        check(2, 1_100, false);
        check(2, 1_101, false);
        check(4, 9_000, true);
        check(6, 9_500, true);
        check(6, 10_499, true);
        check(6, 10_500, false);
    }

    #[test]
    fn front_threads_are_busy_while_they_wake_and_sleep() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let front = Front::of(runtime.handle());
        let wakes = || {
            let before = front.metrics.worker_park_unpark_count(0);
            runtime.block_on(runtime.spawn(async {})).unwrap();
            while front.metrics.worker_park_unpark_count(0) == before {
                std::thread::yield_now();
            }
        };
        wakes();
        assert!(front.is_busy());
        while front.is_busy() {
            std::thread::yield_now();
        }
        wakes();
        assert!(front.is_busy());
    }
}
