//! The keys of a FIFO subscription that have something live, as far as memory knows them.
//!
//! A lane has one delivery at its head: in hand, or waiting for its retry. Those behind it stay in
//! the store; a flag says whether there may be any.

use std::collections::HashMap;

use stepbus_model::DeliveryId;

#[derive(Debug)]
pub(super) struct Lanes {
    lanes: HashMap<i64, Lane>,
    waiting: usize,
    limit: usize,
    /// There may be lanes in the store, waiting at their head, that memory does not know.
    strangers: bool,
}

#[derive(Debug)]
struct Lane {
    head: DeliveryId,
    waits: bool,
    /// Others may stand behind the head.
    more: bool,
}

/// What a head's alarm means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// It is in hand now.
    Go,
    /// It is in hand now, if the store agrees that it is the head.
    GoIfHead,
    /// Another is in hand and looks after those behind it.
    Behind,
}

impl Lanes {
    pub(super) fn new(limit: usize) -> Self {
        Lanes { lanes: HashMap::new(), waiting: 0, limit, strangers: true }
    }

    /// The store has nothing that waits.
    pub(super) fn no_strangers(&mut self) {
        self.strangers = false;
    }

    /// Whether a lane that memory does not know may have a head in the store.
    pub(super) fn strangers(&self) -> bool {
        self.strangers
    }

    /// No lane has anything live. One whose head has just ended counts until it is passed on:
    /// others may stand behind it.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Whether another stands before `id`, which will be found when that one leaves.
    pub(super) fn queues_behind(&mut self, lane: i64, id: DeliveryId) -> bool {
        match self.lanes.get_mut(&lane) {
            // A redriven delivery is older than the one that waits, and goes before it.
            Some(known) if known.waits && id < known.head => false,
            Some(known) => {
                known.more = true;
                true
            }
            None => false,
        }
    }

    /// Takes `id` in hand as the head, unless another stands before it.
    pub(super) fn enter(&mut self, lane: i64, id: DeliveryId, more: bool) -> bool {
        if self.queues_behind(lane, id) {
            return false;
        }
        self.take(lane, id, more);
        true
    }

    pub(super) fn wake(&mut self, lane: i64, id: DeliveryId) -> Wake {
        let wake = match self.lanes.get_mut(&lane) {
            Some(known) if known.waits && known.head == id => Wake::Go,
            Some(known) if known.waits && id < known.head => Wake::GoIfHead,
            Some(known) => {
                known.more = true;
                return Wake::Behind;
            }
            None => Wake::GoIfHead,
        };
        self.take(lane, id, true);
        wake
    }

    /// `id` is the head in hand.
    pub(super) fn take(&mut self, lane: i64, id: DeliveryId, more: bool) {
        let taken = Lane { head: id, waits: false, more };
        if let Some(before) = self.lanes.insert(lane, taken) {
            self.waiting -= usize::from(before.waits);
            if let Some(lane) = self.lanes.get_mut(&lane) {
                lane.more |= before.more || before.waits;
            }
        }
    }

    /// `head` waits. When too many do, the lane is forgotten and found again by its alarm.
    pub(super) fn wait(&mut self, lane: i64, head: DeliveryId) {
        let before = self.lanes.remove(&lane);
        self.waiting -= usize::from(before.is_some_and(|lane| lane.waits));
        if self.waiting >= self.limit {
            self.strangers = true;
            return;
        }
        self.waiting += 1;
        self.lanes.insert(lane, Lane { head, waits: true, more: true });
    }

    /// The lane that waits at that head. Looks at all of them: for what should not happen.
    pub(super) fn waiting_for(&self, head: DeliveryId) -> Option<i64> {
        let waits = |lane: &Lane| lane.waits && lane.head == head;
        self.lanes.iter().find_map(|(lane, known)| waits(known).then_some(*lane))
    }

    pub(super) fn leave(&mut self, lane: i64) {
        let before = self.lanes.remove(&lane);
        self.waiting -= usize::from(before.is_some_and(|lane| lane.waits));
    }

    /// Whether there may be others behind the head; who asks looks for them, so they count as
    /// found until another one comes.
    pub(super) fn take_more(&mut self, lane: i64) -> bool {
        self.lanes.get_mut(&lane).is_some_and(|lane| std::mem::take(&mut lane.more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: i64 = 1;
    const fn id(n: u64) -> DeliveryId {
        DeliveryId(n)
    }

    #[test]
    fn one_at_a_time() {
        let mut lanes = Lanes::new(9);
        assert!(lanes.enter(A, id(1), false));
        assert!(!lanes.take_more(A));
        assert!(!lanes.enter(A, id(2), false));
        assert!(lanes.take_more(A), "the one that came is remembered");
        assert!(!lanes.take_more(A), "once");
        lanes.leave(A);
        assert!(lanes.enter(A, id(2), false));
    }

    #[test]
    fn a_waiting_head_lets_only_an_older_one_pass() {
        let mut lanes = Lanes::new(9);
        lanes.enter(A, id(5), false);
        lanes.wait(A, id(5));
        assert!(!lanes.enter(A, id(6), false));
        assert!(lanes.enter(A, id(3), false));
        assert!(lanes.take_more(A), "the one that waited is behind it");
        assert_eq!(lanes.wake(A, id(5)), Wake::Behind);
        assert_eq!(lanes.waiting(), 0);
        lanes.wait(A, id(5));
        assert_eq!(lanes.wake(A, id(5)), Wake::Go);
    }

    #[test]
    fn lanes_beyond_the_limit_are_forgotten_and_asked_for() {
        let mut lanes = Lanes::new(1);
        lanes.no_strangers();
        for lane in [1, 2] {
            lanes.enter(lane, id(lane.unsigned_abs()), false);
            lanes.wait(lane, id(lane.unsigned_abs()));
        }
        assert!(lanes.strangers());
        assert_eq!(lanes.waiting(), 1);
        assert_eq!(lanes.wake(2, id(2)), Wake::GoIfHead);
        assert_eq!(lanes.wake(1, id(1)), Wake::Go);
        assert_eq!(lanes.waiting(), 0);
    }
}
