//! Many patterns at once.

use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::error::InvalidEvent;
use crate::flatten;
use crate::pattern::{Pattern, holds};

/// Many patterns, each under a key. Patterns come and go while other threads match: a change makes
/// a new machine beside the one in use and puts it in its place.
#[derive(Debug)]
pub struct Matcher<K> {
    machine: ArcSwap<Vec<(K, Pattern)>>,
    changes: Mutex<()>,
}

/// What matching writes to; one for each thread, used again and again.
#[derive(Debug)]
pub struct Scratch<K> {
    found: Vec<K>,
}

impl<K> Default for Scratch<K> {
    fn default() -> Self {
        Scratch { found: Vec::new() }
    }
}

impl<K> Scratch<K> {
    pub fn new() -> Scratch<K> {
        Scratch::default()
    }
}

impl<K: Copy + Eq + Hash> Default for Matcher<K> {
    fn default() -> Self {
        Matcher::new()
    }
}

impl<K: Copy + Eq + Hash> Matcher<K> {
    pub fn new() -> Matcher<K> {
        Matcher { machine: ArcSwap::default(), changes: Mutex::new(()) }
    }

    /// Adds the pattern; a pattern that the key had before goes.
    pub fn add(&self, key: K, pattern: &Pattern) {
        self.add_all([(key, pattern)]);
    }

    /// As [`Matcher::add`] for each, with one change of the machine.
    pub fn add_all<'p>(&self, patterns: impl IntoIterator<Item = (K, &'p Pattern)>) {
        let _changing = self.changes.lock();
        let mut rules = Vec::clone(&self.machine.load());
        for (key, pattern) in patterns {
            rules.retain(|(other, _)| *other != key);
            rules.push((key, pattern.clone()));
        }
        self.machine.store(Arc::new(rules));
    }

    /// Whether the key had a pattern.
    pub fn remove(&self, key: K) -> bool {
        let _changing = self.changes.lock();
        let mut rules = Vec::clone(&self.machine.load());
        let before = rules.len();
        rules.retain(|(other, _)| *other != key);
        let removed = rules.len() < before;
        self.machine.store(Arc::new(rules));
        removed
    }

    pub fn len(&self) -> usize {
        self.machine.load().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys whose patterns the event matches, each once, in no particular order.
    pub fn matches<'s>(
        &self,
        event: &[u8],
        scratch: &'s mut Scratch<K>,
    ) -> Result<&'s [K], InvalidEvent> {
        let rules = self.machine.load();
        let flat = flatten::flatten(event, stepbus_model::Limits::DEFAULT.json_depth)?;
        scratch.found.clear();
        for (key, pattern) in rules.iter() {
            if pattern.conjunctions().iter().any(|conjunction| holds(conjunction, &flat)) {
                scratch.found.push(*key);
            }
        }
        Ok(&scratch.found)
    }
}
