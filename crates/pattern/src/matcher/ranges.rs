//! Which of many ranges a point is in, in logarithmic time.

use super::index::TermId;

/// Ranges that are tried one after the other rather than looked up.
const FEW: usize = 8;

#[derive(Debug)]
pub(super) enum Ranges<T> {
    Few(Vec<(T, T, TermId)>),
    Many(Tree<T>),
}

/// The ends of all ranges cut the line into slots: each end is one, and so is each gap. Ranges
/// that overlap little are listed with each of their slots. Otherwise a segment tree over the
/// slots keeps every range in the few nodes that cover it.
#[derive(Debug)]
pub(super) struct Tree<T> {
    ends: Vec<T>,
    /// The ranges of node `n` are `items[starts[n]..starts[n + 1]]`; the last half of the nodes
    /// are the slots.
    starts: Vec<u32>,
    items: Vec<TermId>,
    /// All ranges are with the slots.
    flat: bool,
}

/// Slots of a range, on average, up to which it is listed with each.
const MOST_SLOTS: usize = 16;

impl<T> Default for Ranges<T> {
    fn default() -> Self {
        Ranges::Few(Vec::new())
    }
}

impl<T: Ord + Copy> Ranges<T> {
    /// Both ends of a range belong to it.
    pub(super) fn new(mut ranges: Vec<(T, T, TermId)>) -> Ranges<T> {
        // What the bounds exclude on both sides holds nothing.
        ranges.retain(|(low, high, _)| low <= high);
        if ranges.len() <= FEW { Ranges::Few(ranges) } else { Ranges::Many(Tree::new(&ranges)) }
    }

    #[inline]
    pub(super) fn containing(&self, point: T, found: &mut impl FnMut(TermId)) {
        match self {
            Ranges::Few(ranges) => {
                for &(low, high, term) in ranges {
                    if low <= point && point <= high {
                        found(term);
                    }
                }
            }
            Ranges::Many(tree) => tree.containing(point, found),
        }
    }
}

impl<T: Ord + Copy> Tree<T> {
    fn new(ranges: &[(T, T, TermId)]) -> Tree<T> {
        let mut ends: Vec<T> = ranges.iter().flat_map(|&(low, high, _)| [low, high]).collect();
        ends.sort_unstable();
        ends.dedup();
        let slots = ends.len() * 2 + 1;
        let mut nodes: Vec<Vec<TermId>> = vec![Vec::new(); slots * 2];
        let slot = |end| ends.partition_point(|other| *other < end) * 2 + 1;
        let covered: usize = ranges.iter().map(|r| slot(r.1) - slot(r.0) + 1).sum();
        let flat = covered <= ranges.len() * MOST_SLOTS;
        for &(low, high, term) in ranges {
            let (left, right) = (slot(low) + slots, slot(high) + slots + 1);
            if flat {
                nodes[left..right].iter_mut().for_each(|node| node.push(term));
            } else {
                cover(&mut nodes, left, right, term);
            }
        }
        let mut tree = Tree { ends, starts: vec![0], items: Vec::new(), flat };
        for node in nodes {
            tree.items.extend(node);
            tree.starts.push(tree.items.len() as u32);
        }
        tree
    }

    fn containing(&self, point: T, found: &mut impl FnMut(TermId)) {
        let slots = self.ends.len() * 2 + 1;
        let slot = match self.ends.binary_search(&point) {
            Ok(i) => i * 2 + 1,
            Err(i) => i * 2,
        };
        let mut node = slot + slots;
        while node > 0 {
            let items = self.starts[node] as usize..self.starts[node + 1] as usize;
            self.items[items].iter().copied().for_each(&mut *found);
            node = if self.flat { 0 } else { node / 2 };
        }
    }
}

/// Puts a term into the fewest nodes of a segment tree that cover the leaves from `left` to before
/// `right`.
fn cover(nodes: &mut [Vec<TermId>], mut left: usize, mut right: usize, term: TermId) {
    while left < right {
        if left % 2 == 1 {
            nodes[left].push(term);
            left += 1;
        }
        if right % 2 == 1 {
            right -= 1;
            nodes[right].push(term);
        }
        left /= 2;
        right /= 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn finds_what_trying_each_finds(
            ranges in proptest::collection::vec((0_u64..50, 0_u64..50), 0..60),
            widest in prop::sample::select(vec![3, 50]),
            point in 0_u64..50,
        ) {
            let ranges: Vec<_> = ranges
                .iter()
                .enumerate()
                .map(|(i, &(a, b))| (a, b.min(a + widest), i as TermId))
                .collect();
            let mut expected: Vec<_> = ranges
                .iter()
                .filter(|(low, high, _)| (low..=high).contains(&&point))
                .map(|&(_, _, term)| term)
                .collect();
            let mut found = Vec::new();
            Ranges::new(ranges).containing(point, &mut |term| found.push(term));
            expected.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
