//! Rules compiled together: for each rule the one field by which it is found, and the others to
//! check then.

use std::collections::HashMap;
use std::sync::Arc;

use super::index::{Index, TermId};
use super::paths::{FieldId, Paths};
use super::walk::Wants;
use crate::term::{AnythingBut, Condition, Conjunction, Term};
use crate::value::Number;

pub(super) type ConditionId = u32;
pub(super) type ConjunctionId = u32;

#[derive(Debug)]
pub(super) struct Layer<K> {
    pub(super) keys: Vec<K>,
    pub(super) conditions: Vec<CompiledCondition>,
    pub(super) conjunctions: Vec<CompiledConjunction>,
    /// By field; `None` for fields by which no rule is found.
    pub(super) finders: Vec<Option<Box<Finder>>>,
    /// Conjunctions that hold although the event has none of their fields, maybe.
    pub(super) always: Vec<ConjunctionId>,
    /// By field.
    pub(super) wants: Vec<Wants>,
}

#[derive(Debug)]
pub(super) struct CompiledCondition {
    pub(super) field: FieldId,
    pub(super) terms: Arc<[Term]>,
    pub(super) may_be_absent: bool,
}

#[derive(Debug)]
pub(super) struct CompiledConjunction {
    /// The rule, by its place among the keys.
    pub(super) rule: u32,
    /// In the order of their paths.
    pub(super) conditions: Box<[ConditionId]>,
    /// That whose terms lead here; none for those that are always looked at.
    pub(super) found_by: Option<ConditionId>,
}

/// Finds the conjunctions that a value of one field leads to.
#[derive(Debug)]
pub(super) struct Finder {
    pub(super) index: Index,
    /// By term of the index.
    pub(super) conjunctions: Vec<Vec<ConjunctionId>>,
}

impl<K> Default for Layer<K> {
    fn default() -> Self {
        Layer {
            keys: Vec::new(),
            conditions: Vec::new(),
            conjunctions: Vec::new(),
            finders: Vec::new(),
            always: Vec::new(),
            wants: Vec::new(),
        }
    }
}

impl<K: Copy> Layer<K> {
    pub(super) fn compile<'p>(
        rules: impl Iterator<Item = (K, &'p [Conjunction])>,
        paths: &mut Paths,
    ) -> Layer<K> {
        let mut layer = Layer::default();
        let mut known: HashMap<(FieldId, Arc<[Term]>), ConditionId> = HashMap::new();
        for (key, conjunctions) in rules {
            let rule = layer.keys.len() as u32;
            layer.keys.push(key);
            for conjunction in conjunctions {
                let conditions = conjunction
                    .iter()
                    .map(|condition| layer.intern(condition, paths, &mut known))
                    .collect();
                layer.conjunctions.push(CompiledConjunction { rule, conditions, found_by: None });
            }
        }
        layer.choose_finders(paths.fields());
        layer
    }

    fn intern(
        &mut self,
        condition: &Condition,
        paths: &mut Paths,
        known: &mut HashMap<(FieldId, Arc<[Term]>), ConditionId>,
    ) -> ConditionId {
        let field = paths.add(&condition.path);
        *known.entry((field, Arc::clone(&condition.terms))).or_insert_with(|| {
            self.conditions.push(CompiledCondition {
                field,
                terms: Arc::clone(&condition.terms),
                may_be_absent: condition.may_be_absent(),
            });
            (self.conditions.len() - 1) as ConditionId
        })
    }

    fn choose_finders(&mut self, fields: usize) {
        let costs = self.costs();
        let mut terms: Vec<Vec<Term>> = vec![Vec::new(); fields];
        let mut lists: Vec<Vec<Vec<ConjunctionId>>> = vec![Vec::new(); fields];
        let mut known: HashMap<(FieldId, Term), TermId> = HashMap::new();
        for (conjunction, id) in self.conjunctions.iter_mut().zip(0..) {
            let candidates = conjunction.conditions.iter().copied();
            conjunction.found_by = candidates
                .filter(|&condition| !self.conditions[condition as usize].may_be_absent)
                .min_by(|&a, &b| costs[a as usize].total_cmp(&costs[b as usize]));
            let Some(found_by) = conjunction.found_by else {
                self.always.push(id);
                continue;
            };
            let condition = &self.conditions[found_by as usize];
            let field = condition.field as usize;
            for term in condition.terms.iter() {
                let term = *known.entry((condition.field, term.clone())).or_insert_with(|| {
                    terms[field].push(term.clone());
                    lists[field].push(Vec::new());
                    (terms[field].len() - 1) as TermId
                });
                lists[field][term as usize].push(id);
            }
        }
        self.finders = terms
            .into_iter()
            .zip(lists)
            .map(|(terms, conjunctions)| {
                let index = || Index::new(&terms);
                (!terms.is_empty()).then(|| Box::new(Finder { index: index(), conjunctions }))
            })
            .collect();
        self.wants = vec![Wants::default(); fields];
        for condition in &self.conditions {
            let wants = &mut self.wants[condition.field as usize];
            for term in condition.terms.iter() {
                wants.number |= wants_number(term);
                wants.ip |= matches!(term, Term::Ip(_));
            }
        }
    }

    /// By condition: how likely an event is to satisfy it, as far as the rules tell. A term that
    /// many rules share is one that events have often.
    fn costs(&self) -> Vec<f64> {
        let mut shared: HashMap<(FieldId, &Term), u32> = HashMap::new();
        for conjunction in &self.conjunctions {
            for &id in &conjunction.conditions {
                let condition = &self.conditions[id as usize];
                for term in condition.terms.iter() {
                    *shared.entry((condition.field, term)).or_default() += 1;
                }
            }
        }
        let all = self.conjunctions.len().max(1) as f64;
        let cost = |condition: &CompiledCondition| {
            let terms = condition.terms.iter();
            terms
                .map(|term| likelihood(term) + f64::from(shared[&(condition.field, term)]) / all)
                .sum()
        };
        self.conditions.iter().map(cost).collect()
    }
}

fn wants_number(term: &Term) -> bool {
    matches!(term, Term::Number(_) | Term::Range(_) | Term::AnythingBut(AnythingBut::Numbers(_)))
}

/// A guess at how often a value satisfies a term.
fn likelihood(term: &Term) -> f64 {
    match term {
        Term::Text(_) | Term::Number(Number::Comparable(_) | Number::Text(_)) => 0.01,
        Term::EqualsIgnoreCase(_) => 0.01,
        Term::Prefix(text) | Term::Suffix(text) => affix(text.len()),
        Term::PrefixIgnoreCase(text) | Term::SuffixIgnoreCase(text) => affix(text.text().len()),
        Term::Wildcard(wildcard) => affix(wildcard.parts().iter().map(|part| part.len()).sum()),
        Term::Ip(range) => {
            if range.low == range.high {
                0.01
            } else {
                0.1
            }
        }
        Term::Range(_) => 0.4,
        Term::True | Term::False | Term::Null => 0.5,
        Term::Exists => 0.9,
        Term::Absent | Term::AnythingBut(_) => 1.0,
    }
}

fn affix(length: usize) -> f64 {
    match length {
        0 => 1.0,
        1 => 0.2,
        2 => 0.1,
        _ => 0.05,
    }
}
