//! A queue that several share by weight: however much one of them puts in, the others get on.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// Who an item belongs to, and how much of the whole that one is due beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    pub id: u64,
    pub weight: u32,
}

impl Default for Share {
    fn default() -> Self {
        Share { id: 0, weight: 1 }
    }
}

/// What one step of a share with weight 1 is worth; a multiple of every sensible weight.
const STRIDE: u64 = 1 << 20;

/// Within a share first in, first out; between shares by stride: whose next step is due first goes
/// first, and a step is the longer the smaller the weight. A share that comes anew begins at the
/// present step, so that having been away earns nothing; one that comes back sooner than its next
/// step is due still waits for that step, so that coming one at a time earns nothing either.
#[derive(Debug)]
pub struct Fair<T> {
    shares: HashMap<u64, Queue<T>>,
    /// The shares that have something, by their next step.
    due: BTreeSet<(u64, u64)>,
    /// The shares that have nothing, but whose next step is still to come.
    away: BTreeSet<(u64, u64)>,
    now: u64,
    len: usize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<T>,
    next: u64,
    stride: u64,
}

impl<T> Default for Fair<T> {
    fn default() -> Self {
        Fair { shares: HashMap::new(), due: BTreeSet::new(), away: BTreeSet::new(), now: 0, len: 0 }
    }
}

impl<T> Fair<T> {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many items the share has in the queue.
    #[must_use]
    pub fn len_of(&self, share: u64) -> usize {
        self.shares.get(&share).map_or(0, |queue| queue.items.len())
    }

    pub fn push(&mut self, share: Share, item: T) {
        self.queue(share).push_back(item);
        self.len += 1;
    }

    /// The item is the share's next one.
    pub fn push_front(&mut self, share: Share, item: T) {
        self.queue(share).push_front(item);
        self.len += 1;
    }

    fn queue(&mut self, share: Share) -> &mut VecDeque<T> {
        let queue = self.shares.entry(share.id).or_insert_with(|| Queue {
            items: VecDeque::new(),
            next: self.now,
            stride: 0,
        });
        if queue.items.is_empty() {
            self.away.remove(&(queue.next, share.id));
            self.due.insert((queue.next, share.id));
        }
        queue.stride = (STRIDE / u64::from(share.weight.max(1))).max(1);
        &mut queue.items
    }

    pub fn pop(&mut self) -> Option<T> {
        let (step, id) = self.due.pop_first()?;
        self.now = step;
        let queue = self.shares.get_mut(&id)?;
        let item = queue.items.pop_front()?;
        self.len -= 1;
        queue.next = step + queue.stride;
        let place = if queue.items.is_empty() { &mut self.away } else { &mut self.due };
        place.insert((queue.next, id));
        self.forget_the_away();
        Some(item)
    }

    /// Shares whose step has come while they were away have no advantage left to remember.
    fn forget_the_away(&mut self) {
        let now = if self.len == 0 { u64::MAX } else { self.now };
        while let Some((step, id)) = self.away.first().copied()
            && step <= now
        {
            self.away.pop_first();
            self.shares.remove(&id);
        }
    }

    /// In no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.shares.values().flat_map(|queue| &queue.items)
    }

    /// Takes out up to `most` items that meet the condition.
    pub fn extract(&mut self, most: usize, mut wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut taken = Vec::new();
        for queue in self.shares.values_mut() {
            let mut index = 0;
            while index < queue.items.len() && taken.len() < most {
                if wanted(&queue.items[index]) {
                    taken.extend(queue.items.remove(index));
                } else {
                    index += 1;
                }
            }
        }
        self.len -= taken.len();
        for (id, queue) in &self.shares {
            if queue.items.is_empty() && self.due.remove(&(queue.next, *id)) {
                self.away.insert((queue.next, *id));
            }
        }
        self.forget_the_away();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out, when `pushed` (share, weight, how many) went in.
    fn check(pushed: &[(char, u32, usize)], expected: &str) {
        let mut fair = Fair::default();
        for (name, weight, count) in pushed {
            for _ in 0..*count {
                fair.push(Share { id: u64::from(u32::from(*name)), weight: *weight }, *name);
            }
        }
        let out: String = std::iter::from_fn(|| fair.pop()).collect();
        assert_eq!(out, expected);
        assert!(fair.is_empty() && fair.shares.is_empty() && fair.away.is_empty());
    }

    #[test]
    fn shares_take_turns_by_weight() {
        check(&[('a', 1, 3)], "aaa");
        check(&[('a', 1, 5), ('b', 1, 2)], "ababaaa");
        check(&[('a', 1, 3), ('b', 4, 6)], "abbbbabba");
        check(&[('a', 0, 2), ('b', 1, 2)], "abab");
    }

    #[test]
    fn who_comes_late_waits_for_nobody_and_catches_up_on_nothing() {
        let (a, b) = (Share { id: 1, weight: 1 }, Share { id: 2, weight: 1 });
        let mut fair = Fair::default();
        for item in 0..100 {
            fair.push(a, item);
        }
        for item in 0..50 {
            assert_eq!(fair.pop(), Some(item));
        }
        fair.push(b, 1000);
        fair.push(b, 1001);
        let next: Vec<i32> = (0..5).filter_map(|_| fair.pop()).collect();
        assert_eq!(next, [1000, 50, 1001, 51, 52]);
    }

    #[test]
    fn who_comes_one_at_a_time_keeps_nobody_out() {
        let (a, b) = (Share { id: 1, weight: 1 }, Share { id: 2, weight: 1 });
        let mut fair = Fair::default();
        for _ in 0..50 {
            fair.push(a, 'a');
        }
        let mut out = String::new();
        for _ in 0..6 {
            if fair.len_of(b.id) == 0 {
                fair.push(b, 'b');
            }
            out.extend(fair.pop());
        }
        assert_eq!(out, "ababab");
    }

    #[test]
    fn what_is_put_back_comes_first_and_what_is_taken_out_is_gone() {
        let (a, b) = (Share { id: 1, weight: 1 }, Share { id: 2, weight: 1 });
        let mut fair = Fair::default();
        fair.push(a, 2);
        fair.push_front(a, 1);
        fair.push(b, 9);
        assert_eq!(fair.len_of(1), 2);
        assert_eq!(fair.extract(9, |item| *item > 1).len(), 2);
        assert_eq!((fair.len(), fair.pop(), fair.pop()), (1, Some(1), None));
    }

    #[test]
    fn no_more_is_taken_out_than_asked_for() {
        let mut fair = Fair::default();
        for item in 0..10 {
            fair.push(Share::default(), item);
        }
        assert_eq!(fair.extract(3, |_| true), [0, 1, 2]);
        assert_eq!(fair.pop(), Some(3));
    }
}
