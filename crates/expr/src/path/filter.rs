//! The conditions of filters, with Jayway's comparisons.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::Step;
use super::error::PathError;
use super::select::Walk;

#[derive(Debug, PartialEq)]
pub(crate) enum Condition {
    Any(Vec<Condition>),
    All(Vec<Condition>),
    Not(Box<Condition>),
    /// The path leads somewhere, be it to null.
    Exists(Operand),
    Compare {
        left: Operand,
        compare: Compare,
        right: Operand,
    },
}

#[derive(Debug, PartialEq)]
pub(crate) enum Operand {
    Path { from_item: bool, steps: Vec<Step>, definite: bool },
    Value(Value),
    Regex(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Equal,
    NotEqual,
    SameTypeEqual,
    SameTypeNotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Matches,
    In,
    NotIn,
    Contains,
    All,
    SubsetOf,
    AnyOf,
    NoneOf,
    Size,
    Empty,
}

impl Compare {
    /// Longer signs stand before those they begin with.
    pub(crate) const SIGNS: &[(&str, Compare)] = &[
        ("===", Compare::SameTypeEqual),
        ("!==", Compare::SameTypeNotEqual),
        ("==", Compare::Equal),
        ("!=", Compare::NotEqual),
        ("=~", Compare::Matches),
        ("<=", Compare::LessOrEqual),
        ("<", Compare::Less),
        (">=", Compare::GreaterOrEqual),
        (">", Compare::Greater),
    ];

    pub(crate) const WORDS: &[(&str, Compare)] = &[
        ("in", Compare::In),
        ("nin", Compare::NotIn),
        ("contains", Compare::Contains),
        ("all", Compare::All),
        ("subsetof", Compare::SubsetOf),
        ("anyof", Compare::AnyOf),
        ("noneof", Compare::NoneOf),
        ("size", Compare::Size),
        ("empty", Compare::Empty),
    ];
}

/// A regular expression that has to match the whole text.
#[derive(Debug)]
pub(crate) struct Regex {
    source: String,
    compiled: regex::Regex,
}

impl Regex {
    pub(crate) fn new(pattern: &str, flags: &str) -> Result<Regex, String> {
        let mut builder = regex::RegexBuilder::new(&format!("^(?:{pattern})$"));
        builder.size_limit(1024 * 1024).nest_limit(100);
        for flag in flags.chars() {
            match flag {
                'i' => builder.case_insensitive(true),
                'm' => builder.multi_line(true),
                's' => builder.dot_matches_new_line(true),
                'x' => builder.ignore_whitespace(true),
                'u' | 'U' | 'd' => &mut builder,
                other => return Err(format!("'{other}' is no flag of a regular expression")),
            };
        }
        let compiled = builder
            .build()
            .map_err(|error| format!("the regular expression is not valid: {error}"))?;
        Ok(Regex { source: format!("/{pattern}/{flags}"), compiled })
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Condition {
    pub(crate) fn holds(&self, item: &Value, walk: &Walk<'_>) -> Result<bool, PathError> {
        Ok(match self {
            Condition::Any(conditions) => {
                for condition in conditions {
                    if condition.holds(item, walk)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::All(conditions) => {
                for condition in conditions {
                    if !condition.holds(item, walk)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Not(condition) => !condition.holds(item, walk)?,
            Condition::Exists(operand) => operand.value(item, walk)?.is_some(),
            Condition::Compare { left, compare: Compare::Matches, right } => {
                matches(left, right, item, walk)?
            }
            Condition::Compare { left, compare, right } => {
                let (left, right) = (left.value(item, walk)?, right.value(item, walk)?);
                compared(left.as_deref(), *compare, right.as_deref())
            }
        })
    }
}

impl Operand {
    fn value<'v>(
        &'v self,
        item: &'v Value,
        walk: &Walk<'v>,
    ) -> Result<Option<Cow<'v, Value>>, PathError> {
        match self {
            Operand::Value(value) => Ok(Some(Cow::Borrowed(value))),
            Operand::Regex(_) => Ok(None),
            Operand::Path { from_item, steps, .. } => {
                let start = if *from_item { item } else { walk.root };
                match walk.select(steps, start) {
                    Ok(value) => Ok(Some(value)),
                    Err(error @ PathError::Limit(_)) => Err(error),
                    Err(_) => Ok(None),
                }
            }
        }
    }
}

fn matches(
    left: &Operand,
    right: &Operand,
    item: &Value,
    walk: &Walk<'_>,
) -> Result<bool, PathError> {
    let (regex, subject) = match (left, right) {
        (Operand::Regex(regex), subject) | (subject, Operand::Regex(regex)) => (regex, subject),
        _ => return Ok(false),
    };
    let is_match = |value: &Value| match value {
        Value::String(text) => regex.compiled.is_match(text),
        Value::Number(number) => regex.compiled.is_match(&number.to_string()),
        _ => false,
    };
    Ok(match subject.value(item, walk)?.as_deref() {
        Some(Value::Array(items)) => items.iter().any(is_match),
        Some(value) => is_match(value),
        None => false,
    })
}

/// `None` stands for a path that leads nowhere.
fn compared(left: Option<&Value>, compare: Compare, right: Option<&Value>) -> bool {
    use Ordering::{Greater, Less};
    let order = || order(left?, right?);
    let lists = || Some((left?.as_array()?, right?.as_array()?));
    match compare {
        Compare::Equal => equal(left, right),
        Compare::NotEqual => !equal(left, right),
        Compare::SameTypeEqual => same_type(left, right) && equal(left, right),
        Compare::SameTypeNotEqual => !(same_type(left, right) && equal(left, right)),
        Compare::Less => order() == Some(Less),
        Compare::LessOrEqual => order().is_some_and(|order| order != Greater),
        Compare::Greater => order() == Some(Greater),
        Compare::GreaterOrEqual => order().is_some_and(|order| order != Less),
        Compare::In => right.and_then(Value::as_array).is_some_and(|list| has(list, left)),
        Compare::NotIn => !right.and_then(Value::as_array).is_some_and(|list| has(list, left)),
        Compare::Contains => match (left, right) {
            (Some(Value::Array(list)), right) => has(list, right),
            (Some(Value::String(text)), Some(Value::String(part))) => text.contains(part.as_str()),
            _ => false,
        },
        Compare::All => {
            lists().is_some_and(|(left, right)| right.iter().all(|item| has(left, Some(item))))
        }
        Compare::SubsetOf => {
            lists().is_some_and(|(left, right)| left.iter().all(|item| has(right, Some(item))))
        }
        Compare::AnyOf => {
            lists().is_some_and(|(left, right)| left.iter().any(|item| has(right, Some(item))))
        }
        Compare::NoneOf => {
            lists().is_some_and(|(left, right)| !left.iter().any(|item| has(right, Some(item))))
        }
        Compare::Size => {
            right.and_then(Value::as_u64).is_some_and(|size| length(left) == Some(size))
        }
        Compare::Empty => right
            .and_then(Value::as_bool)
            .is_some_and(|empty| length(left).is_some_and(|length| (length == 0) == empty)),
        Compare::Matches => false,
    }
}

fn has(list: &[Value], wanted: Option<&Value>) -> bool {
    list.iter().any(|item| equal(Some(item), wanted))
}

fn length(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Array(items) => Some(items.len() as u64),
        Value::Object(members) => Some(members.len() as u64),
        Value::String(text) => Some(text.chars().count() as u64),
        _ => None,
    }
}

fn same_type(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => std::mem::discriminant(left) == std::mem::discriminant(right),
        (left, right) => left.is_none() && right.is_none(),
    }
}

fn equal(left: Option<&Value>, right: Option<&Value>) -> bool {
    match (left, right) {
        (Some(Value::Number(_)), Some(Value::Number(_))) => {
            left.zip(right).and_then(|(left, right)| order(left, right)) == Some(Ordering::Equal)
        }
        // Jayway takes the type of the left side.
        (Some(Value::Number(number)), Some(Value::String(text))) => {
            text.trim().parse::<f64>().is_ok_and(|parsed| Some(parsed) == number.as_f64())
        }
        (Some(Value::String(text)), Some(Value::Number(number))) => *text == number.to_string(),
        (left, right) => left == right,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(one), Value::Number(other)) => match (one.as_i64(), other.as_i64()) {
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}
