//! Matching an event against compiled rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::blocks::Blocks;
use super::index::{Buffers, Seen};
use super::layer::{CompiledConjunction, ConditionId, ConjunctionId, Layer};
use super::paths::Paths;
use super::walk::{Found, Leaf, NOWHERE, Walk, Wants};
use crate::consistency::{Candidates, MOST_CHOICES, Ordered, TooMany, Way, all_can_hold};
use crate::error::InvalidEvent;

/// What is in use for matching at one time. Never changed: a change makes another.
#[derive(Debug)]
pub(super) struct Machine<K> {
    /// Told apart from every other machine by this.
    id: u64,
    pub(super) paths: Arc<Paths>,
    wants: Vec<Wants>,
    /// Most rules.
    pub(super) base: Arc<Layer<K>>,
    /// Rules of the base that have gone, a bit for each.
    pub(super) gone: Arc<Vec<u64>>,
    /// Rules that came since the base was compiled.
    pub(super) recent: Arc<Layer<K>>,
}

static MACHINES: AtomicU64 = AtomicU64::new(1);

/// What matching writes to; one for each thread, used again and again.
#[derive(Debug)]
pub struct Scratch<K> {
    blocks: Blocks,
    found: Found,
    buffers: Buffers,
    machine: u64,
    event: u32,
    base: Marks,
    recent: Marks,
    keys: Vec<K>,
}

/// What is known of a layer's parts for the event with the number beside it.
#[derive(Debug, Default)]
struct Marks {
    conjunctions: Vec<u32>,
    rules: Vec<u32>,
    conditions: Vec<(u32, Truth)>,
}

/// Where a condition holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Truth {
    #[default]
    Nowhere,
    /// For a value in no array's element, or for want of any value: whatever else is chosen.
    Anywhere,
    /// Only for values in elements of arrays.
    InElements,
    /// For want of a value, if all values of the field are in elements that were not chosen.
    OutOfElements,
}

impl<K> Default for Scratch<K> {
    fn default() -> Self {
        Scratch {
            blocks: Blocks::default(),
            found: Found::default(),
            buffers: Buffers::default(),
            machine: 0,
            event: 0,
            base: Marks::default(),
            recent: Marks::default(),
            keys: Vec::new(),
        }
    }
}

impl<K> Scratch<K> {
    pub fn new() -> Scratch<K> {
        Scratch::default()
    }

    fn begin(&mut self, machine: &Machine<K>) {
        self.keys.clear();
        self.blocks.clear();
        self.found.clear(machine.paths.fields());
        if self.machine != machine.id || self.event == u32::MAX {
            self.machine = machine.id;
            self.event = 0;
            self.base.reset(&machine.base);
            self.recent.reset(&machine.recent);
        }
        self.event += 1;
    }
}

impl Marks {
    fn reset<K>(&mut self, layer: &Layer<K>) {
        self.conjunctions.clear();
        self.conjunctions.resize(layer.conjunctions.len(), 0);
        self.rules.clear();
        self.rules.resize(layer.keys.len(), 0);
        self.conditions.clear();
        self.conditions.resize(layer.conditions.len(), (0, Truth::Nowhere));
    }
}

impl<K: Copy> Machine<K> {
    pub(super) fn new(
        paths: Arc<Paths>,
        base: Arc<Layer<K>>,
        gone: Arc<Vec<u64>>,
        recent: Arc<Layer<K>>,
    ) -> Machine<K> {
        let mut wants = vec![Wants::default(); paths.fields()];
        for layer in [&base, &recent] {
            for (own, wanted) in wants.iter_mut().zip(&layer.wants) {
                own.number |= wanted.number;
                own.ip |= wanted.ip;
            }
        }
        let id = MACHINES.fetch_add(1, Ordering::Relaxed);
        Machine { id, paths, wants, base, gone, recent }
    }

    pub(super) fn matches<'s>(
        &self,
        event: &[u8],
        deepest: usize,
        scratch: &'s mut Scratch<K>,
    ) -> Result<&'s [K], InvalidEvent> {
        if u32::try_from(event.len()).is_err() {
            return Err(InvalidEvent::at("Event is too long", event, 0));
        }
        if !event.is_ascii()
            && let Err(e) = std::str::from_utf8(event)
        {
            return Err(InvalidEvent::at("it is not UTF-8", event, e.valid_up_to()));
        }
        scratch.begin(self);
        let Scratch { blocks, found, .. } = scratch;
        let (paths, wants) = (&*self.paths, &self.wants[..]);
        Walk { event, blocks, paths, wants, found, depth: deepest }.run()?;
        for (layer, gone, marks) in [
            (&*self.base, Some(&**self.gone), &mut scratch.base),
            (&*self.recent, None, &mut scratch.recent),
        ] {
            if layer.keys.is_empty() {
                continue;
            }
            let mut run = Run {
                layer,
                gone,
                event,
                number: scratch.event,
                found: &scratch.found,
                marks,
                keys: &mut scratch.keys,
            };
            run.all(&mut scratch.buffers).map_err(|e| e.refuse(event))?;
        }
        Ok(&scratch.keys)
    }
}

/// One event against one layer.
struct Run<'a, K> {
    layer: &'a Layer<K>,
    gone: Option<&'a [u64]>,
    event: &'a [u8],
    number: u32,
    found: &'a Found,
    marks: &'a mut Marks,
    keys: &'a mut Vec<K>,
}

impl<'a, K: Copy> Run<'a, K> {
    fn all(&mut self, buffers: &mut Buffers) -> Result<(), TooMany> {
        let layer = self.layer;
        let found = self.found;
        let mut outcome = Ok(());
        for leaf in &found.leaves {
            let Some(Some(finder)) = layer.finders.get(leaf.field as usize) else { continue };
            let seen = self.seen(leaf);
            finder.index.find(&seen, buffers, &mut |term| {
                for &id in &finder.conjunctions[term as usize] {
                    if let Err(e) = self.consider(id) {
                        outcome = Err(e);
                    }
                }
            });
        }
        for &id in &layer.always {
            self.consider(id)?;
        }
        outcome
    }

    #[inline]
    fn seen(&self, leaf: &Leaf) -> Seen<'a> {
        Seen { value: self.found.value(leaf, self.event), number: leaf.number, ip: leaf.ip }
    }

    #[inline]
    fn consider(&mut self, id: ConjunctionId) -> Result<(), TooMany> {
        let mark = &mut self.marks.conjunctions[id as usize];
        if *mark == self.number {
            return Ok(());
        }
        *mark = self.number;
        let conjunction = &self.layer.conjunctions[id as usize];
        let rule = conjunction.rule as usize;
        if self.marks.rules[rule] == self.number || self.has_gone(rule) {
            return Ok(());
        }
        let one = conjunction.conditions.len() == 1 && conjunction.found_by.is_some();
        if one || self.holds(conjunction)? {
            self.marks.rules[rule] = self.number;
            self.keys.push(self.layer.keys[rule]);
        }
        Ok(())
    }

    #[inline]
    fn has_gone(&self, rule: usize) -> bool {
        self.gone.is_some_and(|gone| gone[rule / 64] >> (rule % 64) & 1 == 1)
    }

    fn holds(&mut self, conjunction: &CompiledConjunction) -> Result<bool, TooMany> {
        let mut in_elements = 0;
        let mut out_of_elements = false;
        for &condition in &conjunction.conditions {
            if conjunction.found_by == Some(condition) {
                continue;
            }
            match self.truth(condition) {
                Truth::Nowhere => return Ok(false),
                Truth::Anywhere => {}
                Truth::InElements => in_elements += 1,
                Truth::OutOfElements => out_of_elements = true,
            }
        }
        if in_elements == 0 && !out_of_elements {
            return Ok(true);
        }
        if let Some(condition) = conjunction.found_by {
            in_elements += usize::from(self.truth(condition) == Truth::InElements);
        }
        if out_of_elements {
            return self.ordered_hold(conjunction);
        }
        Ok(in_elements == 1 || self.hold_together(conjunction))
    }

    fn truth(&mut self, id: ConditionId) -> Truth {
        let (event, truth) = self.marks.conditions[id as usize];
        if event == self.number {
            return truth;
        }
        let truth = self.find_truth(id);
        self.marks.conditions[id as usize] = (self.number, truth);
        truth
    }

    fn find_truth(&self, id: ConditionId) -> Truth {
        let condition = &self.layer.conditions[id as usize];
        let Some(first) = self.found.first(condition.field) else {
            return if condition.may_be_absent { Truth::Anywhere } else { Truth::Nowhere };
        };
        let mut truth = Truth::Nowhere;
        let mut all_in_elements = true;
        for leaf in self.leaves(first) {
            all_in_elements &= leaf.place != NOWHERE;
            // A value in an element says nothing new of a condition that holds in another.
            if truth == Truth::InElements && leaf.place != NOWHERE {
                continue;
            }
            if self.satisfied(id, leaf) {
                if leaf.place == NOWHERE {
                    return Truth::Anywhere;
                }
                truth = Truth::InElements;
            }
        }
        if condition.may_be_absent && all_in_elements { Truth::OutOfElements } else { truth }
    }

    fn leaves(&self, first: u32) -> impl Iterator<Item = &'a Leaf> + use<'a, K> {
        let found = self.found;
        let leaf = |at: u32| &found.leaves[at as usize];
        std::iter::successors(Some(leaf(first)), move |previous| previous.next.map(leaf))
    }

    fn satisfied(&self, id: ConditionId, leaf: &Leaf) -> bool {
        let seen = self.seen(leaf);
        self.layer.conditions[id as usize].terms.iter().any(|term| seen.satisfies(term))
    }

    /// The leaves that satisfy a condition.
    fn satisfying(&self, id: ConditionId) -> impl Iterator<Item = &'a Leaf> {
        let first = self.found.first(self.layer.conditions[id as usize].field);
        first
            .into_iter()
            .flat_map(|first| self.leaves(first))
            .filter(move |leaf| self.satisfied(id, leaf))
    }

    fn hold_together(&mut self, conjunction: &CompiledConjunction) -> bool {
        let mut ways = Vec::new();
        let mut count = 0;
        for &id in &conjunction.conditions {
            if self.truth(id) != Truth::InElements {
                continue;
            }
            for leaf in self.satisfying(id) {
                ways.push(Way { elements: self.found.elements(leaf.place), condition: count });
            }
            count += 1;
        }
        all_can_hold(&mut ways, count as usize)
    }

    fn ordered_hold(&self, conjunction: &CompiledConjunction) -> Result<bool, TooMany> {
        let mut conditions = Vec::new();
        for &id in &conjunction.conditions {
            let condition = &self.layer.conditions[id as usize];
            let elements = |leaf: &Leaf| self.found.elements(leaf.place);
            let values = || self.found.first(condition.field).into_iter();
            let all = || values().flat_map(|first| self.leaves(first)).map(elements).collect();
            conditions.push(Candidates {
                ways: self.satisfying(id).map(elements).collect(),
                absent: condition.may_be_absent.then(all),
            });
        }
        Ordered { conditions, budget: MOST_CHOICES }.can_hold()
    }
}
