//! Many patterns at once.

mod blocks;
mod index;
mod layer;
mod machine;
mod paths;
mod ranges;
mod walk;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use stepbus_model::Limits;

use crate::error::InvalidEvent;
use crate::pattern::Pattern;
use layer::Layer;
use machine::Machine;
pub use machine::Scratch;
use paths::Paths;

/// Many patterns, each under a key, compiled into one machine over raw event bytes. Its cost grows
/// with the event and with what matches, hardly with the number of patterns.
///
/// Patterns come and go while other threads match: a change makes a new machine beside the one in
/// use and puts it in its place. Most of the new machine is the old one; only the patterns that
/// came recently are compiled again.
///
/// An event is read as far as it takes to find the fields that patterns name, so an error behind
/// them goes unnoticed, and of a field that the event gives twice both values may count or only
/// the first. Whoever accepts events checks them then.
#[derive(Debug)]
pub struct Matcher<K> {
    machine: ArcSwap<Machine<K>>,
    rules: Mutex<Rules<K>>,
    deepest: usize,
}

#[derive(Debug)]
struct Rules<K> {
    all: HashMap<K, Rule>,
    /// Numbers rules in the order in which they came.
    came: u64,
    recent: usize,
    gone: usize,
}

#[derive(Debug)]
struct Rule {
    came: u64,
    pattern: Pattern,
    home: Home,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    /// At this place of the base layer.
    Base(u32),
    Recent,
}

/// Recent rules that are compiled again for each change, at least. A large base allows for more.
const RECENT: usize = 64;

impl<K: Copy + Eq + Hash> Default for Matcher<K> {
    fn default() -> Self {
        Matcher::new()
    }
}

impl<K: Copy + Eq + Hash> Matcher<K> {
    pub fn new() -> Matcher<K> {
        Matcher::within(&Limits::DEFAULT)
    }

    /// As [`Matcher::new`], with another bound on the depth of events.
    pub fn within(limits: &Limits) -> Matcher<K> {
        let empty = Machine::new(Arc::default(), Arc::default(), Arc::default(), Arc::default());
        Matcher {
            machine: ArcSwap::from_pointee(empty),
            rules: Mutex::new(Rules { all: HashMap::new(), came: 0, recent: 0, gone: 0 }),
            deepest: limits.json_depth,
        }
    }

    /// Adds the pattern; a pattern that the key had before goes.
    pub fn add(&self, key: K, pattern: &Pattern) {
        self.add_all([(key, pattern)]);
    }

    /// As [`Matcher::add`] for each, in one change.
    pub fn add_all<'p>(&self, patterns: impl IntoIterator<Item = (K, &'p Pattern)>) {
        let mut rules = self.rules.lock();
        let mut gone = Vec::clone(&self.machine.load().gone);
        for (key, pattern) in patterns {
            rules.remove(key, &mut gone);
            rules.came += 1;
            let came = rules.came;
            rules.recent += 1;
            let rule = Rule { came, pattern: pattern.clone(), home: Home::Recent };
            rules.all.insert(key, rule);
        }
        self.put_in_place(&mut rules, gone);
    }

    /// Whether the key had a pattern.
    pub fn remove(&self, key: K) -> bool {
        let mut rules = self.rules.lock();
        let mut gone = Vec::clone(&self.machine.load().gone);
        let removed = rules.remove(key, &mut gone);
        if removed {
            self.put_in_place(&mut rules, gone);
        }
        removed
    }

    /// The number of patterns.
    pub fn len(&self) -> usize {
        self.rules.lock().all.len()
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
        self.machine.load().matches(event, self.deepest, scratch)
    }

    fn put_in_place(&self, rules: &mut Rules<K>, gone: Vec<u64>) {
        let machine = self.machine.load();
        let base = machine.base.keys.len();
        let next = if rules.recent > RECENT + base / 32 || rules.gone > RECENT + base / 4 {
            let mut paths = Paths::default();
            let base = rules.compile(|_| true, &mut paths);
            for (key, place) in base.keys.iter().zip(0..) {
                if let Some(rule) = rules.all.get_mut(key) {
                    rule.home = Home::Base(place);
                }
            }
            (rules.recent, rules.gone) = (0, 0);
            let gone = vec![0; base.keys.len().div_ceil(64)];
            Machine::new(Arc::new(paths), Arc::new(base), Arc::new(gone), Arc::default())
        } else {
            let mut paths = Paths::clone(&machine.paths);
            let recent = rules.compile(|rule| rule.home == Home::Recent, &mut paths);
            let paths = if paths.fields() == machine.paths.fields() {
                Arc::clone(&machine.paths)
            } else {
                Arc::new(paths)
            };
            Machine::new(paths, Arc::clone(&machine.base), Arc::new(gone), Arc::new(recent))
        };
        self.machine.store(Arc::new(next));
    }
}

impl<K: Copy + Eq + Hash> Rules<K> {
    fn remove(&mut self, key: K, gone: &mut [u64]) -> bool {
        let Some(rule) = self.all.remove(&key) else { return false };
        match rule.home {
            Home::Recent => self.recent -= 1,
            Home::Base(place) => {
                gone[place as usize / 64] |= 1 << (place % 64);
                self.gone += 1;
            }
        }
        true
    }

    /// In the order in which they came.
    fn compile(&self, which: impl Fn(&Rule) -> bool, paths: &mut Paths) -> Layer<K> {
        let mut rules: Vec<_> = self.all.iter().filter(|(_, rule)| which(rule)).collect();
        rules.sort_unstable_by_key(|(_, rule)| rule.came);
        let rules = rules.into_iter().map(|(&key, rule)| (key, rule.pattern.conjunctions()));
        Layer::compile(rules, paths)
    }
}
