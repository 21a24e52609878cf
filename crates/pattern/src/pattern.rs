use std::sync::Arc;

use stepbus_model::Limits;

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
        Ok(self.conjunctions.iter().any(|conjunction| holds(conjunction, &flat)))
    }

    /// For every field of the pattern: what the event has there, and why that does or does not do.
    pub fn explain(&self, event: &[u8]) -> Result<Explanation, InvalidEvent> {
        let flat = flatten::flatten(event, self.depth)?;
        Ok(explain::explain(&self.conjunctions, &flat))
    }

    pub(crate) fn conjunctions(&self) -> &[Conjunction] {
        &self.conjunctions
    }
}

/// Whether all conditions hold, with values that are in the same element of any array they share.
pub(crate) fn holds(conjunction: &[Condition], flat: &Flat) -> bool {
    conjunction.iter().all(|condition| may_hold(condition, flat))
        && holds_from(conjunction, flat, &mut Vec::new())
}

/// Whether the condition, taken alone, holds somewhere.
pub(crate) fn may_hold(condition: &Condition, flat: &Flat) -> bool {
    condition.may_be_absent()
        || flat
            .leaves
            .iter()
            .any(|leaf| *leaf.path == *condition.path && condition.matches(leaf.scalar.value()))
}

fn holds_from(conjunction: &[Condition], flat: &Flat, chosen: &mut Vec<Element>) -> bool {
    let Some((condition, rest)) = conjunction.split_first() else { return true };
    let reachable: Vec<_> = flat
        .leaves
        .iter()
        .filter(|leaf| *leaf.path == *condition.path && consistent(chosen, &leaf.elements))
        .collect();
    if reachable.is_empty() && condition.may_be_absent() && holds_from(rest, flat, chosen) {
        return true;
    }
    reachable.iter().filter(|leaf| condition.matches(leaf.scalar.value())).any(|leaf| {
        let before = chosen.len();
        chosen.extend(leaf.elements.iter().filter(|e| !chosen.contains(e)).collect::<Vec<_>>());
        let held = holds_from(rest, flat, chosen);
        chosen.truncate(before);
        held
    })
}

fn consistent(chosen: &[Element], elements: &[Element]) -> bool {
    elements.iter().all(|e| chosen.iter().all(|c| c.array != e.array || c.index == e.index))
}
