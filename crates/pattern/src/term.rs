//! One thing a field may be: a member of the array that a pattern gives for the field.

use std::sync::Arc;

use crate::value::number;
use crate::value::{IgnoreCase, IpAddress, IpRange, Number, NumberRange, Value, Wildcard};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    Text(Box<str>),
    Number(Number),
    True,
    False,
    Null,
    Prefix(Box<str>),
    Suffix(Box<str>),
    EqualsIgnoreCase(IgnoreCase),
    PrefixIgnoreCase(IgnoreCase),
    SuffixIgnoreCase(IgnoreCase),
    Wildcard(Wildcard),
    Range(NumberRange),
    Ip(IpRange),
    Exists,
    /// Holds when the field has no value; no value satisfies it.
    Absent,
    AnythingBut(AnythingBut),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum AnythingBut {
    Texts(Vec<Box<str>>),
    Numbers(Vec<Number>),
    EqualsIgnoreCase(Vec<IgnoreCase>),
    Prefixes(Vec<Box<str>>),
    Suffixes(Vec<Box<str>>),
    Wildcards(Vec<Wildcard>),
}

impl Term {
    pub(crate) fn matches(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Term::Exists, _) | (Term::True, Value::True) | (Term::False, Value::False) => true,
            (Term::Null, Value::Null) => true,
            (Term::AnythingBut(but), _) => !but.names(value),
            (Term::Number(own), Value::Number(text)) => own.equals(text),
            (Term::Range(range), Value::Number(text)) => {
                number::approximate(text).is_some_and(|number| range.contains(number.key))
            }
            (_, Value::String(text)) => self.matches_text(text),
            _ => false,
        }
    }

    fn matches_text(&self, text: &[u8]) -> bool {
        match self {
            Term::Text(own) => own.as_bytes() == text,
            Term::Prefix(own) => text.starts_with(own.as_bytes()),
            Term::Suffix(own) => text.ends_with(own.as_bytes()),
            Term::EqualsIgnoreCase(own) => own.equals(text),
            Term::PrefixIgnoreCase(own) => own.is_prefix_of(text),
            Term::SuffixIgnoreCase(own) => own.is_suffix_of(text),
            Term::Wildcard(own) => own.matches(text),
            Term::Ip(range) => IpAddress::read(text).is_some_and(|ip| range.contains(ip)),
            _ => false,
        }
    }
}

impl AnythingBut {
    /// Whether the value is one of those that are ruled out.
    pub(crate) fn names(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (AnythingBut::Numbers(own), Value::Number(text)) => own.iter().any(|n| n.equals(text)),
            (AnythingBut::Texts(own), Value::String(text)) => {
                own.iter().any(|t| t.as_bytes() == text)
            }
            (AnythingBut::EqualsIgnoreCase(own), Value::String(text)) => {
                own.iter().any(|t| t.equals(text))
            }
            (AnythingBut::Prefixes(own), Value::String(text)) => {
                own.iter().any(|t| text.starts_with(t.as_bytes()))
            }
            (AnythingBut::Suffixes(own), Value::String(text)) => {
                own.iter().any(|t| text.ends_with(t.as_bytes()))
            }
            (AnythingBut::Wildcards(own), Value::String(text)) => {
                own.iter().any(|t| t.matches(text))
            }
            _ => false,
        }
    }
}

/// A field of a pattern and what it may be: any of the terms.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    /// The names from the root to the field, joined with dots.
    pub(crate) path: Arc<str>,
    pub(crate) terms: Arc<[Term]>,
    /// The member of the pattern as it is written.
    pub(crate) source: Arc<str>,
}

impl Condition {
    pub(crate) fn matches(&self, value: Value<'_>) -> bool {
        self.terms.iter().any(|term| term.matches(value))
    }

    pub(crate) fn may_be_absent(&self) -> bool {
        self.terms.contains(&Term::Absent)
    }
}

/// Conditions that must hold together, in the order of their paths. A pattern without `$or` is
/// one of these.
pub(crate) type Conjunction = Vec<Condition>;
