//! Up to where the log is settled.
//!
//! Ids are handed out before their commit, so an event with a lower id may become durable after one
//! with a higher id. Whoever reads the log by cursor reads only below the lowest id that is handed
//! out and not yet committed: nothing appears behind it any more.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// The ids handed out whose batches are neither durable nor dropped.
#[derive(Debug, Clone, Default)]
pub struct Horizon(Arc<Mutex<BTreeSet<u64>>>);

/// Holds the horizon below an id until the batch that carries it is durable or dropped. One for the
/// first id of a batch is enough: later ones are higher.
#[derive(Debug)]
pub struct Uncommitted {
    id: u64,
    horizon: Horizon,
}

impl Horizon {
    /// Hands out the id that `next` gives.
    pub fn hand_out(&self, next: impl FnOnce() -> u64) -> (u64, Uncommitted) {
        let mut open = self.0.lock();
        let id = next();
        open.insert(id);
        drop(open);
        (id, Uncommitted { id, horizon: self.clone() })
    }

    /// No event with an id below this will still be committed.
    pub fn settled_below(&self, next: impl FnOnce() -> u64) -> u64 {
        let open = self.0.lock();
        open.first().copied().unwrap_or_else(next)
    }
}

impl Drop for Uncommitted {
    fn drop(&mut self) {
        self.horizon.0.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_uncommitted_id_holds_the_horizon() {
        let mut last = 0;
        let mut next = || {
            last += 1;
            last
        };
        let horizon = Horizon::default();
        assert_eq!(horizon.settled_below(&mut next), 1);
        let (first, one) = horizon.hand_out(&mut next);
        let (second, two) = horizon.hand_out(&mut next);
        assert_eq!((first, second), (2, 3));
        assert_eq!(horizon.settled_below(&mut next), 2);
        drop(two);
        assert_eq!(horizon.settled_below(&mut next), 2);
        drop(one);
        assert_eq!(horizon.settled_below(&mut next), 4);
    }
}
