use std::sync::Arc;

use stepbus_model::Limits;

use crate::consistency::{Candidates, MOST_CHOICES, Ordered, TooMany, Way, all_can_hold};
use crate::error::{InvalidEvent, InvalidPattern};
use crate::explain::{self, Explanation};
use crate::flatten::{self, Element, Flat};
use crate::parse;
use crate::term::{Condition, Conjunction};

/// An event pattern, parsed and validated. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: Arc<str>,
    /// Any of them is enough.
    conjunctions: Arc<[Conjunction]>,
    depth: usize,
}

impl Pattern {
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Pattern, InvalidPattern> {
        Pattern::parse_within(text, &Limits::DEFAULT)
    }

    /// As [`Pattern::parse`], with other bounds on depth, wildcards and `$or`.
    pub fn parse_within(
        text: impl AsRef<[u8]>,
        limits: &Limits,
    ) -> Result<Pattern, InvalidPattern> {
        let bytes = text.as_ref();
        let text = std::str::from_utf8(bytes).map_err(|e| {
            let valid = String::from_utf8_lossy(&bytes[..e.valid_up_to()]);
            InvalidPattern::at("Invalid UTF-8", &valid, valid.len())
        })?;
        let conjunctions = parse::parse(text, limits)?.into();
        Ok(Pattern { text: text.into(), conjunctions, depth: limits.json_depth })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the event matches. For one pattern and a few events; see
    /// [`Matcher`](crate::Matcher) for many.
    pub fn matches(&self, event: &[u8]) -> Result<bool, InvalidEvent> {
        let flat = flatten::flatten(event, self.depth)?;
        for conjunction in self.conjunctions.iter() {
            if holds(conjunction, &flat).map_err(|e| e.refuse(event))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// For every field of the pattern: what the event has there, and why that does or does not do.
    pub fn explain(&self, event: &[u8]) -> Result<Explanation, InvalidEvent> {
        let flat = flatten::flatten(event, self.depth)?;
        explain::explain(&self.conjunctions, &flat).map_err(|e| e.refuse(event))
    }

    pub(crate) fn conjunctions(&self) -> &[Conjunction] {
        &self.conjunctions
    }
}

/// Values looked at in the plain way before a quicker one is taken.
const PLAIN_LOOKS: usize = 1_000_000;

/// Whether all conditions hold, with values that are in the same element of any array they share.
pub(crate) fn holds(conjunction: &[Condition], flat: &Flat) -> Result<bool, TooMany> {
    if !conjunction.iter().all(|condition| may_hold(condition, flat)) {
        return Ok(false);
    }
    match holds_from(conjunction, flat, &mut Vec::new(), &mut { PLAIN_LOOKS }) {
        Some(held) => Ok(held),
        None => hold_in_large_arrays(conjunction, flat),
    }
}

fn hold_in_large_arrays(conjunction: &[Condition], flat: &Flat) -> Result<bool, TooMany> {
    let conditions: Vec<_> = conjunction
        .iter()
        .map(|condition| {
            let values = || flat.leaves.iter().filter(|leaf| *leaf.path == *condition.path);
            let matching = values().filter(|leaf| condition.matches(leaf.scalar.value()));
            let absent = condition.may_be_absent();
            Candidates {
                ways: matching.map(|leaf| &*leaf.elements).collect(),
                absent: absent.then(|| values().map(|leaf| &*leaf.elements).collect()),
            }
        })
        .collect();
    if conditions.iter().any(|condition| condition.absent.is_some()) {
        return Ordered { conditions, budget: MOST_CHOICES }.can_hold();
    }
    let mut ways: Vec<_> = conditions
        .iter()
        .zip(0..)
        .flat_map(|(c, condition)| c.ways.iter().map(move |&elements| Way { elements, condition }))
        .collect();
    Ok(all_can_hold(&mut ways, conditions.len()))
}

/// Whether the condition, taken alone, holds somewhere.
pub(crate) fn may_hold(condition: &Condition, flat: &Flat) -> bool {
    condition.may_be_absent()
        || flat
            .leaves
            .iter()
            .any(|leaf| *leaf.path == *condition.path && condition.matches(leaf.scalar.value()))
}

/// Nothing when `looks` are used up.
fn holds_from(
    conjunction: &[Condition],
    flat: &Flat,
    chosen: &mut Vec<Element>,
    looks: &mut usize,
) -> Option<bool> {
    let Some((condition, rest)) = conjunction.split_first() else { return Some(true) };
    *looks = looks.checked_sub(flat.leaves.len())?;
    let reachable: Vec<_> = flat
        .leaves
        .iter()
        .filter(|leaf| *leaf.path == *condition.path && consistent(chosen, &leaf.elements))
        .collect();
    let absent = reachable.is_empty() && condition.may_be_absent();
    if absent && holds_from(rest, flat, chosen, looks)? {
        return Some(true);
    }
    for leaf in reachable.iter().filter(|leaf| condition.matches(leaf.scalar.value())) {
        let before = chosen.len();
        chosen.extend(leaf.elements.iter().filter(|e| !chosen.contains(e)).collect::<Vec<_>>());
        let held = holds_from(rest, flat, chosen, looks)?;
        chosen.truncate(before);
        if held {
            return Some(true);
        }
    }
    Some(false)
}

fn consistent(chosen: &[Element], elements: &[Element]) -> bool {
    elements.iter().all(|e| chosen.iter().all(|c| c.array != e.array || c.index == e.index))
}
