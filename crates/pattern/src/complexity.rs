//! How much work a field's wildcards can make for a state machine, and AWS's bound on it.
//!
//! The measure: over all values, the most beginnings of wildcards that one value matches. For
//! `*a*` and the value `xa` these are `*`, `*a` and `*a*`. The opening quote belongs to a value.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::error::InvalidPattern;
use crate::term::{AnythingBut, Conjunction, Term};
use crate::value::Wildcard;

/// Sets of beginnings looked at before a field counts as too complex.
const MOST_SETS: usize = 20_000;

pub(crate) fn check(conjunctions: &[Conjunction], most: usize) -> Result<(), InvalidPattern> {
    for (_, wildcards) in wildcards_by_field(conjunctions) {
        if exceeds(&wildcards, most) {
            return Err(InvalidPattern::anywhere(
                "Rule is too complex - try using fewer wildcard characters or fewer repeating \
                 character sequences after a wildcard character",
            ));
        }
    }
    Ok(())
}

/// A machine looks at a field after the fields before it, so wildcards meet in it when their
/// conjunctions are equal up to there.
type Place<'a> = (Vec<(&'a str, &'a str)>, &'a str);

fn wildcards_by_field(conjunctions: &[Conjunction]) -> BTreeMap<Place<'_>, Vec<&Wildcard>> {
    let mut found: BTreeMap<Place<'_>, Vec<&Wildcard>> = BTreeMap::new();
    for conjunction in conjunctions {
        for (i, condition) in conjunction.iter().enumerate() {
            for wildcard in condition.terms.iter().flat_map(wildcards_of) {
                let before = conjunction[..i].iter().map(|c| (&*c.path, &*c.source)).collect();
                let wildcards = found.entry((before, &condition.path)).or_default();
                if !wildcards.contains(&wildcard) {
                    wildcards.push(wildcard);
                }
            }
        }
    }
    found
}

fn wildcards_of(term: &Term) -> &[Wildcard] {
    match term {
        Term::Wildcard(wildcard) => std::slice::from_ref(wildcard),
        Term::AnythingBut(AnythingBut::Wildcards(wildcards)) => wildcards,
        _ => &[],
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Byte(u8),
    Star,
}

/// A beginning: which wildcard, and how many of its steps.
type Beginning = (u32, u32);

fn exceeds(wildcards: &[&Wildcard], most: usize) -> bool {
    // Each star and the text behind it make at most two beginnings beside the first.
    let bound: usize = wildcards.iter().map(|w| longest_set(w)).sum();
    if bound <= most {
        return false;
    }
    let steps: Vec<Vec<Step>> = wildcards.iter().map(|w| steps_of(w)).collect();
    let alphabet: BTreeSet<u8> = steps
        .iter()
        .flatten()
        .filter_map(|step| if let Step::Byte(byte) = step { Some(*byte) } else { None })
        .collect();
    let start: BTreeSet<Beginning> =
        (0..steps.len()).map(|i| (i as u32, 0)).flat_map(|b| with_stars(&steps, b)).collect();
    let mut seen = HashSet::from([start.clone()]);
    let mut pending = vec![start];
    while let Some(set) = pending.pop() {
        if set.len() > most || seen.len() > MOST_SETS {
            return true;
        }
        // `None` stands for every byte that no wildcard names.
        for byte in alphabet.iter().copied().map(Some).chain([None]) {
            let next: BTreeSet<Beginning> =
                set.iter().flat_map(|&beginning| after(&steps, beginning, byte)).collect();
            if !next.is_empty() && seen.insert(next.clone()) {
                pending.push(next);
            }
        }
    }
    false
}

fn longest_set(wildcard: &Wildcard) -> usize {
    let stars = wildcard.parts().len() - 1;
    let behind: usize = wildcard.parts()[1..].iter().map(|part| part.len()).sum();
    if stars == 0 { 1 } else { stars + behind + 1 }
}

fn steps_of(wildcard: &Wildcard) -> Vec<Step> {
    let mut steps = Vec::new();
    for (i, part) in wildcard.parts().iter().enumerate() {
        if i > 0 {
            steps.push(Step::Star);
        }
        steps.extend(part.iter().map(|&byte| Step::Byte(byte)));
    }
    steps
}

/// A beginning and, if a star follows it, the one with the star: it matches the same value.
fn with_stars(steps: &[Vec<Step>], beginning: Beginning) -> Vec<Beginning> {
    let (wildcard, length) = beginning;
    if steps[wildcard as usize].get(length as usize) == Some(&Step::Star) {
        vec![beginning, (wildcard, length + 1)]
    } else {
        vec![beginning]
    }
}

fn after(steps: &[Vec<Step>], beginning: Beginning, byte: Option<u8>) -> Vec<Beginning> {
    let (wildcard, length) = beginning;
    let own = &steps[wildcard as usize];
    let mut next = Vec::new();
    if length > 0 && own[length as usize - 1] == Step::Star {
        next.push(beginning);
    }
    if let Some(&Step::Byte(expected)) = own.get(length as usize)
        && byte == Some(expected)
    {
        next.extend(with_stars(steps, (wildcard, length + 1)));
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_exceeds(wildcards: &[&str], most: usize, expected: bool) {
        let wildcards: Vec<_> = wildcards.iter().map(|w| Wildcard::new(w).unwrap()).collect();
        let borrowed: Vec<_> = wildcards.iter().collect();
        assert_eq!(exceeds(&borrowed, most), expected);
    }

    #[test]
    fn counts_the_beginnings_that_one_value_matches() {
        check_exceeds(&["*a*"], 3, false);
        check_exceeds(&["*a*"], 2, true);
        check_exceeds(&["*a*a*a*a*a"], 10, false);
        check_exceeds(&["*a*a*a*a*a*a"], 10, true);
        check_exceeds(&["abcdefghijklmnop*q"], 10, false);
        check_exceeds(&["*:x/a/*", "*:x/b/*", "*:x/c/*"], 10, false);
        check_exceeds(&["*:x/a/*", "*:x/b/*", "*:x/c/*", "*:x/d/*"], 10, true);
    }
}
