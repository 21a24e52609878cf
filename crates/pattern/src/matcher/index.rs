//! Which of a field's many terms a value satisfies, without trying each.

use std::collections::HashMap;

use aho_corasick::AhoCorasick;

use super::ranges::Ranges;
use crate::term::{AnythingBut, Term};
use crate::value::number::{Approximate, NumberKey};
use crate::value::{IgnoreCase, IpAddress, Number, Value, Wildcard};

/// A term among those of its index.
pub(super) type TermId = u32;

type Map<Key> = HashMap<Key, TermId, foldhash::fast::FixedState>;

/// A value and what has been read from its text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) value: Value<'a>,
    pub(super) number: Option<Approximate>,
    pub(super) ip: Option<IpAddress>,
}

impl Seen<'_> {
    #[inline]
    pub(super) fn satisfies(&self, term: &Term) -> bool {
        match (term, self.value) {
            (Term::Number(Number::Comparable(key)), Value::Number(text)) => {
                self.number.is_some_and(|number| number.equals(*key, text))
            }
            (Term::Range(range), Value::Number(_)) => {
                self.number.is_some_and(|number| range.contains(number.key))
            }
            (Term::Ip(range), Value::String(_)) => self.ip.is_some_and(|ip| range.contains(ip)),
            (Term::AnythingBut(AnythingBut::Numbers(numbers)), Value::Number(text)) => {
                let Some(own) = self.number else { return true };
                !numbers.iter().any(
                    |number| matches!(number, Number::Comparable(key) if own.equals(*key, text)),
                )
            }
            _ => term.matches(self.value),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    texts: Map<Box<[u8]>>,
    numbers: Map<NumberKey>,
    /// Numbers that no double holds, by their text.
    number_texts: Map<Box<[u8]>>,
    literals: [Option<TermId>; 3],
    exists: Option<TermId>,
    prefixes: Affixes,
    suffixes: Affixes,
    folded: Option<Box<Folded>>,
    wildcards: Option<Box<Wildcards>>,
    ranges: Ranges<NumberKey>,
    ips: Ranges<IpAddress>,
    buts: Option<Box<Buts>>,
}

/// Buffers that looking up takes, kept for their memory.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    folded: Vec<u8>,
    /// A bit for each `anything-but` that is known not to hold.
    failed: Vec<u64>,
    /// A bit for each inner part whose wildcards have been tried.
    tried: Vec<u64>,
}

impl Index {
    pub(super) fn new(terms: &[Term]) -> Index {
        let mut index = Index::default();
        let mut ranges = Vec::new();
        let mut ips = Vec::new();
        let mut wildcards = Vec::new();
        let mut buts = Vec::new();
        for (term, id) in terms.iter().zip(0..) {
            match term {
                Term::Text(text) => drop(index.texts.insert(text.as_bytes().into(), id)),
                Term::Number(Number::Comparable(key)) => drop(index.numbers.insert(*key, id)),
                Term::Number(Number::Text(text)) => {
                    index.number_texts.insert(text.as_bytes().into(), id);
                }
                Term::True => index.literals[0] = Some(id),
                Term::False => index.literals[1] = Some(id),
                Term::Null => index.literals[2] = Some(id),
                Term::Exists => index.exists = Some(id),
                Term::Prefix(text) => index.prefixes.add(text.as_bytes(), id),
                Term::Suffix(text) => index.suffixes.add(text.as_bytes(), id),
                Term::EqualsIgnoreCase(text) => index.folded().add(Fold::Equals, text, id),
                Term::PrefixIgnoreCase(text) => index.folded().add(Fold::Prefix, text, id),
                Term::SuffixIgnoreCase(text) => index.folded().add(Fold::Suffix, text, id),
                Term::Wildcard(wildcard) => wildcards.push((wildcard.clone(), id)),
                Term::Range(range) => ranges.push((range.low, range.high, id)),
                Term::Ip(range) => ips.push((range.low, range.high, id)),
                Term::AnythingBut(but) => buts.push((but, id)),
                Term::Absent => {}
            }
        }
        index.ranges = Ranges::new(ranges);
        index.ips = Ranges::new(ips);
        index.wildcards = (!wildcards.is_empty()).then(|| Box::new(Wildcards::new(wildcards)));
        index.buts = (!buts.is_empty()).then(|| Box::new(Buts::new(&buts)));
        index
    }

    fn folded(&mut self) -> &mut Folded {
        self.folded.get_or_insert_default()
    }

    /// A term may be found more than once.
    #[inline]
    pub(super) fn find(
        &self,
        seen: &Seen<'_>,
        buffers: &mut Buffers,
        found: &mut impl FnMut(TermId),
    ) {
        self.exists.into_iter().for_each(&mut *found);
        match seen.value {
            Value::String(text) => self.find_text(text, seen.ip, buffers, found),
            Value::Number(text) => {
                if let Some(number) = seen.number {
                    self.find_equal(number, text).into_iter().for_each(&mut *found);
                    self.ranges.containing(number.key, found);
                }
                if !self.number_texts.is_empty() {
                    self.number_texts.get(text).copied().into_iter().for_each(&mut *found);
                }
            }
            Value::True => self.literals[0].into_iter().for_each(&mut *found),
            Value::False => self.literals[1].into_iter().for_each(&mut *found),
            Value::Null => self.literals[2].into_iter().for_each(&mut *found),
        }
        if let Some(buts) = &self.buts {
            buts.find(seen, buffers, found);
        }
    }

    #[inline]
    fn find_equal(&self, number: Approximate, text: &[u8]) -> Option<TermId> {
        let term = *self.numbers.get(&number.key)?;
        number.equals(number.key, text).then_some(term)
    }

    #[inline]
    fn find_text(
        &self,
        text: &[u8],
        ip: Option<IpAddress>,
        buffers: &mut Buffers,
        found: &mut impl FnMut(TermId),
    ) {
        if !self.texts.is_empty() {
            self.texts.get(text).copied().into_iter().for_each(&mut *found);
        }
        self.prefixes.find_at_start(text, found);
        self.suffixes.find_at_end(text, found);
        if let Some(folded) = &self.folded {
            folded.find(text, buffers, found);
        }
        if let Some(wildcards) = &self.wildcards {
            wildcards.find(text, &mut buffers.tried, found);
        }
        if let Some(ip) = ip {
            self.ips.containing(ip, found);
        }
    }
}

/// Prefixes or suffixes, found by trying each of their lengths.
#[derive(Debug, Default)]
struct Affixes {
    lengths: Vec<usize>,
    terms: HashMap<Box<[u8]>, Vec<TermId>, foldhash::fast::FixedState>,
}

impl Affixes {
    fn add(&mut self, affix: &[u8], term: TermId) {
        self.terms.entry(affix.into()).or_default().push(term);
        if let Err(at) = self.lengths.binary_search(&affix.len()) {
            self.lengths.insert(at, affix.len());
        }
    }

    #[inline]
    fn find_at_start(&self, text: &[u8], found: &mut impl FnMut(TermId)) {
        for &length in &self.lengths {
            let Some(start) = text.get(..length) else { return };
            if let Some(terms) = self.terms.get(start) {
                terms.iter().copied().for_each(&mut *found);
            }
        }
    }

    #[inline]
    fn find_at_end(&self, text: &[u8], found: &mut impl FnMut(TermId)) {
        for &length in &self.lengths {
            let Some(start) = text.len().checked_sub(length) else { return };
            if let Some(terms) = self.terms.get(&text[start..]) {
                terms.iter().copied().for_each(&mut *found);
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Fold {
    Equals,
    Prefix,
    Suffix,
}

/// Texts that ignore case, under their folded form.
#[derive(Debug, Default)]
struct Folded {
    equals: Affixes,
    prefixes: Affixes,
    suffixes: Affixes,
    texts: HashMap<TermId, (Fold, IgnoreCase), foldhash::fast::FixedState>,
    /// Folding takes some texts for equal that are not, but none that are all ASCII.
    inexact: bool,
}

impl Folded {
    fn add(&mut self, fold: Fold, text: &IgnoreCase, term: TermId) {
        self.inexact |= !text.text().is_ascii();
        let key = IgnoreCase::folded(text.text());
        match fold {
            Fold::Equals => self.equals.add(key.as_bytes(), term),
            Fold::Prefix => self.prefixes.add(key.as_bytes(), term),
            Fold::Suffix => self.suffixes.add(key.as_bytes(), term),
        }
        self.texts.insert(term, (fold, text.clone()));
    }

    fn find(&self, text: &[u8], buffers: &mut Buffers, found: &mut impl FnMut(TermId)) {
        buffers.folded.clear();
        if text.is_ascii() {
            buffers.folded.extend(text.iter().map(u8::to_ascii_lowercase));
            if self.inexact {
                self.find_folded(&buffers.folded, &mut |term| {
                    if self.verify(term, text) {
                        found(term);
                    }
                });
            } else {
                self.find_folded(&buffers.folded, found);
            }
        } else if let Ok(valid) = std::str::from_utf8(text) {
            buffers.folded.extend_from_slice(IgnoreCase::folded(valid).as_bytes());
            self.find_folded(&buffers.folded, &mut |term| {
                if self.verify(term, text) {
                    found(term);
                }
            });
        }
    }

    #[inline]
    fn find_folded(&self, folded: &[u8], found: &mut impl FnMut(TermId)) {
        if let Some(terms) = self.equals.terms.get(folded) {
            terms.iter().copied().for_each(&mut *found);
        }
        self.prefixes.find_at_start(folded, found);
        self.suffixes.find_at_end(folded, found);
    }

    fn verify(&self, term: TermId, text: &[u8]) -> bool {
        match &self.texts[&term] {
            (Fold::Equals, own) => own.equals(text),
            (Fold::Prefix, own) => own.is_prefix_of(text),
            (Fold::Suffix, own) => own.is_suffix_of(text),
        }
    }
}

/// Wildcards, each under one literal part; those whose part is in a value are tried.
#[derive(Debug)]
struct Wildcards {
    prefixes: Affixes,
    suffixes: Affixes,
    /// Parts between two stars, and the wildcards of each.
    inner: Option<(AhoCorasick, Vec<Vec<u32>>)>,
    /// Nothing but stars, or a part too common to look for.
    any: Vec<u32>,
    wildcards: Vec<(Wildcard, TermId)>,
}

/// A part at either end this long is looked for, however long the parts between the stars are:
/// it is found in less time.
const GOOD_END: usize = 3;

impl Wildcards {
    fn new(wildcards: Vec<(Wildcard, TermId)>) -> Wildcards {
        let mut own = Wildcards {
            prefixes: Affixes::default(),
            suffixes: Affixes::default(),
            inner: None,
            any: Vec::new(),
            wildcards: Vec::new(),
        };
        let mut inner: Vec<(Box<[u8]>, Vec<u32>)> = Vec::new();
        let mut known: HashMap<Box<[u8]>, usize> = HashMap::new();
        for ((wildcard, _), id) in wildcards.iter().zip(0..) {
            let parts = wildcard.parts();
            let (first, last) = (&parts[0], &parts[parts.len() - 1]);
            let between = parts.get(1..parts.len() - 1).unwrap_or_default();
            let longest = between.iter().max_by_key(|part| part.len());
            let end = first.len().max(last.len());
            match longest {
                Some(part) if end < GOOD_END && part.len() > end => {
                    let at = *known.entry(part.clone()).or_insert_with(|| {
                        inner.push((part.clone(), Vec::new()));
                        inner.len() - 1
                    });
                    inner[at].1.push(id);
                }
                _ if end == 0 => own.any.push(id),
                _ if first.len() >= last.len() => own.prefixes.add(first, id),
                _ => own.suffixes.add(last, id),
            }
        }
        let (parts, ids): (Vec<_>, Vec<_>) = inner.into_iter().unzip();
        if !parts.is_empty() {
            match AhoCorasick::new(&parts) {
                Ok(automaton) => own.inner = Some((automaton, ids)),
                Err(_) => own.any.extend(ids.into_iter().flatten()),
            }
        }
        own.wildcards = wildcards;
        own
    }

    fn find(&self, text: &[u8], tried: &mut Vec<u64>, found: &mut impl FnMut(TermId)) {
        let mut attempt = |id: u32| {
            let (wildcard, term) = &self.wildcards[id as usize];
            if wildcard.matches(text) {
                found(*term);
            }
        };
        self.prefixes.find_at_start(text, &mut attempt);
        self.suffixes.find_at_end(text, &mut attempt);
        if let Some((automaton, ids)) = &self.inner {
            tried.clear();
            tried.resize(ids.len().div_ceil(64), 0);
            for part in automaton.find_overlapping_iter(text) {
                let part = part.pattern().as_usize();
                if tried[part / 64] >> (part % 64) & 1 == 0 {
                    tried[part / 64] |= 1 << (part % 64);
                    ids[part].iter().copied().for_each(&mut attempt);
                }
            }
        }
        self.any.iter().copied().for_each(&mut attempt);
    }
}

/// `anything-but`s: all hold but those that name the value.
#[derive(Debug)]
struct Buts {
    terms: Vec<TermId>,
    /// What they name, as terms of an index of their own.
    named: Index,
    /// For each of those terms the `anything-but`s that name it.
    owners: Vec<Vec<u32>>,
}

impl Buts {
    fn new(buts: &[(&AnythingBut, TermId)]) -> Buts {
        let mut named: Vec<Term> = Vec::new();
        let mut owners: Vec<Vec<u32>> = Vec::new();
        let mut known: HashMap<Term, usize> = HashMap::new();
        for ((but, _), id) in buts.iter().zip(0..) {
            for term in named_by(but) {
                let at = *known.entry(term.clone()).or_insert_with(|| {
                    named.push(term);
                    owners.push(Vec::new());
                    named.len() - 1
                });
                owners[at].push(id);
            }
        }
        let terms = buts.iter().map(|&(_, term)| term).collect();
        Buts { terms, named: Index::new(&named), owners }
    }

    fn find(&self, seen: &Seen<'_>, buffers: &mut Buffers, found: &mut impl FnMut(TermId)) {
        let mut failed = std::mem::take(&mut buffers.failed);
        failed.clear();
        failed.resize(self.terms.len().div_ceil(64), 0);
        if let Value::String(_) | Value::Number(_) = seen.value {
            self.named.find_named(seen, buffers, &mut |term| {
                for &but in &self.owners[term as usize] {
                    failed[but as usize / 64] |= 1 << (but % 64);
                }
            });
        }
        for (terms, failed) in self.terms.chunks(64).zip(&failed) {
            for (i, &term) in terms.iter().enumerate() {
                if failed >> i & 1 == 0 {
                    found(term);
                }
            }
        }
        buffers.failed = failed;
    }
}

impl Index {
    /// As [`Index::find`] for an index without `anything-but`s; not generic over the closure, so
    /// that the two do not multiply.
    fn find_named(
        &self,
        seen: &Seen<'_>,
        buffers: &mut Buffers,
        mut found: &mut dyn FnMut(TermId),
    ) {
        match seen.value {
            Value::String(text) => self.find_text(text, None, buffers, &mut found),
            Value::Number(text) => {
                let term = seen.number.and_then(|number| self.find_equal(number, text));
                term.into_iter().for_each(found);
            }
            _ => {}
        }
    }
}

fn named_by(but: &AnythingBut) -> Vec<Term> {
    match but {
        AnythingBut::Texts(texts) => texts.iter().cloned().map(Term::Text).collect(),
        AnythingBut::Numbers(numbers) => numbers.iter().cloned().map(Term::Number).collect(),
        AnythingBut::EqualsIgnoreCase(texts) => {
            texts.iter().cloned().map(Term::EqualsIgnoreCase).collect()
        }
        AnythingBut::Prefixes(texts) => texts.iter().cloned().map(Term::Prefix).collect(),
        AnythingBut::Suffixes(texts) => texts.iter().cloned().map(Term::Suffix).collect(),
        AnythingBut::Wildcards(wildcards) => {
            wildcards.iter().cloned().map(Term::Wildcard).collect()
        }
    }
}
