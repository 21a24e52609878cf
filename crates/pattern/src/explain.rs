//! Why an event does or does not match, for people.

use std::fmt;

use serde::Serialize;

use crate::consistency::TooMany;
use crate::flatten::{Flat, Leaf, Scalar};
use crate::pattern;
use crate::term::{Condition, Conjunction};

/// What [`Pattern::explain`](crate::Pattern::explain) found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    pub matched: bool,
    /// One for a pattern without `$or`, else one for each combination; any of them is enough.
    pub alternatives: Vec<Alternative>,
}

/// Fields that must match together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alternative {
    pub matched: bool,
    pub fields: Vec<FieldExplanation>,
    /// Why it did not match although each field did.
    pub note: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldExplanation {
    /// The names from the root to the field, joined with dots.
    pub field: String,
    /// What the pattern asks for, as it is written there.
    pub expected: String,
    pub matched: bool,
    /// The event's values there, as JSON; empty when it has none.
    pub found: Vec<String>,
    pub why_not: Option<String>,
}

/// Values shown of a field that has many.
const SHOWN_VALUES: usize = 20;

pub(crate) fn explain(conjunctions: &[Conjunction], flat: &Flat) -> Result<Explanation, TooMany> {
    let alternatives = conjunctions
        .iter()
        .map(|conjunction| alternative(conjunction, flat))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Explanation { matched: alternatives.iter().any(|a| a.matched), alternatives })
}

fn alternative(conjunction: &[Condition], flat: &Flat) -> Result<Alternative, TooMany> {
    let fields: Vec<_> = conjunction.iter().map(|condition| field(condition, flat)).collect();
    let matched = pattern::holds(conjunction, flat)?;
    let note = (!matched && fields.iter().all(|field| field.matched)).then(|| {
        "each field matches, but only with values from different elements of an array".to_owned()
    });
    Ok(Alternative { matched, fields, note })
}

fn field(condition: &Condition, flat: &Flat) -> FieldExplanation {
    let leaves: Vec<_> = flat.leaves.iter().filter(|l| *l.path == *condition.path).collect();
    let value_matches = leaves.iter().any(|leaf| condition.matches(leaf.scalar.value()));
    let element_may_lack = !leaves.is_empty() && leaves.iter().all(|l| !l.elements.is_empty());
    let absent = condition.may_be_absent() && (leaves.is_empty() || element_may_lack);
    let matched = value_matches || absent;
    FieldExplanation {
        field: condition.path.to_string(),
        expected: condition.source.to_string(),
        matched,
        found: leaves.iter().take(SHOWN_VALUES).map(|leaf| json(&leaf.scalar)).collect(),
        why_not: (!matched).then(|| why_not(condition, &leaves, flat)),
    }
}

fn why_not(condition: &Condition, leaves: &[&Leaf], flat: &Flat) -> String {
    let container = flat.containers.iter().find(|(path, _)| **path == *condition.path);
    match (leaves.len(), container) {
        (0, Some((_, kind))) => format!("the field is {kind}; only values are compared"),
        (0, None) => "the event has no such field".to_owned(),
        _ if condition.may_be_absent() && condition.terms.len() == 1 => {
            "the event has the field".to_owned()
        }
        (1, _) => "the value is none of those asked for".to_owned(),
        (n, _) => format!("none of the {n} values is one of those asked for"),
    }
}

fn json(scalar: &Scalar) -> String {
    match scalar {
        Scalar::String(text) => quote(text),
        Scalar::Number(text) => text.clone(),
        Scalar::True => "true".to_owned(),
        Scalar::False => "false".to_owned(),
        Scalar::Null => "null".to_owned(),
    }
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.matched { "matches" } else { "does not match" };
        writeln!(f, "The event {verdict} the pattern.")?;
        for (i, alternative) in self.alternatives.iter().enumerate() {
            if self.alternatives.len() > 1 {
                let verdict = if alternative.matched { "matches" } else { "does not match" };
                writeln!(f, "Alternative {} of $or {verdict}:", i + 1)?;
            }
            write!(f, "{alternative}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for field in &self.fields {
            let mark = if field.matched { "✓" } else { "✗" };
            let found = match field.found.as_slice() {
                [] => "nothing".to_owned(),
                found => found.join(", "),
            };
            write!(f, "  {mark} {}: found {found}; asked for {}", field.field, field.expected)?;
            match &field.why_not {
                Some(why) => writeln!(f, "; {why}")?,
                None => writeln!(f)?,
            }
        }
        match &self.note {
            Some(note) => writeln!(f, "  {note}"),
            None => Ok(()),
        }
    }
}
