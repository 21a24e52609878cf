//! Whether conditions can hold together when values in different elements of one array may not be
//! combined.

use crate::error::InvalidEvent;
use crate::flatten::Element;

/// Where a condition holds: the way through arrays to each of its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) elements: &'a [Element],
    pub(crate) condition: u32,
}

/// Conditions that one conjunction may have; a bit for each.
pub(crate) const MOST_CONDITIONS: usize = 128;
type Conditions = u128;

/// Whether one way can be chosen for each of `conditions` conditions, no two of which take
/// different elements of one array.
pub(crate) fn all_can_hold(ways: &mut [Way<'_>], conditions: usize) -> bool {
    ways.sort_unstable_by(|a, b| a.elements.cmp(b.elements));
    let all = if conditions == MOST_CONDITIONS { !0 } else { (1 << conditions) - 1 };
    combinations(ways, 0).contains(&all)
}

/// The largest sets of conditions that can hold together, taking the ways from `depth` on. All
/// ways have their first `depth` elements in common.
fn combinations(ways: &[Way<'_>], depth: usize) -> Vec<Conditions> {
    let here = ways.iter().take_while(|way| way.elements.len() == depth);
    let (count, direct) =
        here.fold((0, 0), |(count, set), way| (count + 1, set | 1 << way.condition));
    let mut sets: Vec<Conditions> = vec![direct];
    for array in ways[count..].chunk_by(|a, b| a.elements[depth].array == b.elements[depth].array) {
        let mut choices: Vec<Conditions> = Vec::new();
        for element in array.chunk_by(|a, b| a.elements[depth] == b.elements[depth]) {
            for set in combinations(element, depth + 1) {
                insert_largest(&mut choices, set);
            }
        }
        let mut joined = Vec::new();
        for &set in &sets {
            for &choice in &choices {
                insert_largest(&mut joined, set | choice);
            }
        }
        sets = joined;
    }
    sets
}

fn insert_largest(sets: &mut Vec<Conditions>, set: Conditions) {
    if sets.iter().any(|other| other | set == *other) {
        return;
    }
    sets.retain(|other| other | set != set);
    sets.push(set);
}

/// As [`all_can_hold`] where some conditions hold by absence: none of their field's values may be
/// in reach of the elements chosen for the conditions before them.
pub(crate) struct Ordered<'a> {
    pub(crate) conditions: Vec<Candidates<'a>>,
    /// Choices left before the search is given up.
    pub(crate) budget: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Candidates<'a> {
    /// Where the condition holds by a value.
    pub(crate) ways: Vec<&'a [Element]>,
    /// Where its field has any value, if absence would do.
    pub(crate) absent: Option<Vec<&'a [Element]>>,
}

/// Choices tried before a search is given up.
pub(crate) const MOST_CHOICES: u32 = 10_000_000;

/// The search was given up.
#[derive(Debug)]
pub(crate) struct TooMany;

impl TooMany {
    pub(crate) fn refuse(&self, event: &[u8]) -> InvalidEvent {
        let reason = "its arrays have too many elements to tell what is absent from which";
        InvalidEvent::at(reason, event, 0)
    }
}

impl<'a> Ordered<'a> {
    pub(crate) fn can_hold(&mut self) -> Result<bool, TooMany> {
        self.can_hold_from(0, &mut Vec::new())
    }

    fn can_hold_from(
        &mut self,
        from: usize,
        chosen: &mut Vec<&'a [Element]>,
    ) -> Result<bool, TooMany> {
        let Some(candidates) = self.conditions.get(from) else { return Ok(true) };
        let reachable = |way: &&&'a [Element]| chosen.iter().all(|other| consistent(way, other));
        let absent = candidates
            .absent
            .as_ref()
            .is_some_and(|values| values.iter().filter(reachable).count() == 0);
        let ways: Vec<_> = candidates.ways.iter().filter(reachable).copied().collect();
        let looked_at = candidates.ways.len() + candidates.absent.as_ref().map_or(0, Vec::len) + 1;
        let spent = u32::try_from(looked_at).unwrap_or(u32::MAX);
        self.budget = self.budget.checked_sub(spent).ok_or(TooMany)?;
        if absent && self.can_hold_from(from + 1, chosen)? {
            return Ok(true);
        }
        for way in ways {
            chosen.push(way);
            let held = self.can_hold_from(from + 1, chosen)?;
            chosen.pop();
            if held {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether no array is left in different elements.
fn consistent(a: &[Element], b: &[Element]) -> bool {
    // Ways are the same until they part; where they part they differ in the array or the element.
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) => a.array != b.array,
        None => true,
    }
}
