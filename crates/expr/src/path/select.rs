//! Following a path through a value.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::Step;
use super::error::PathError;

/// Values one evaluation may visit.
const VISITS: usize = 5_000_000;

pub(super) fn select<'a>(
    steps: &[Step],
    from: &'a Value,
    root: &'a Value,
) -> Result<Cow<'a, Value>, PathError> {
    Walk { root, left: Cell::new(VISITS) }.select(steps, from)
}

pub(super) fn is_definite(steps: &[Step]) -> bool {
    if matches!(steps.last(), Some(Step::Function(_))) {
        return true;
    }
    steps.iter().enumerate().all(|(index, step)| is_step_definite(step, index + 1 == steps.len()))
}

fn is_step_definite(step: &Step, last: bool) -> bool {
    match step {
        // Several names at the end give one object of them.
        Step::Names(names) => names.len() == 1 || last,
        Step::Indices(indices) => indices.len() == 1,
        Step::Function(_) => true,
        Step::Slice { .. } | Step::Wildcard | Step::Scan | Step::Filter(_) => false,
    }
}

/// The place of an index that may count from the end.
pub(super) fn position(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index.checked_add(i64::try_from(length).ok()?)? } else { index };
    usize::try_from(index).ok().filter(|index| *index < length)
}

pub(crate) struct Walk<'r> {
    pub(super) root: &'r Value,
    left: Cell<usize>,
}

impl<'r> Walk<'r> {
    pub(super) fn select<'a>(
        &self,
        steps: &[Step],
        from: &'a Value,
    ) -> Result<Cow<'a, Value>, PathError>
    where
        'r: 'a,
    {
        if let Some((Step::Function(function), before)) = steps.split_last() {
            let subject = self.select(before, from)?;
            return function.apply(&subject, self).map(Cow::Owned);
        }
        let mut found = Vec::new();
        self.follow(steps, 0, true, from, &mut found)?;
        if !is_definite(steps) {
            return Ok(Cow::Owned(found.into_iter().map(Cow::into_owned).collect()));
        }
        found
            .pop()
            .ok_or_else(|| PathError::NotFound(format!("No results for path: {}", shown(steps))))
    }

    fn visit(&self) -> Result<(), PathError> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(PathError::Limit(VISITS)),
        }
    }

    /// `definite` tells whether the steps before `index` lead to one value: then leading nowhere
    /// is an error, and otherwise it only gives no result.
    fn follow<'a>(
        &self,
        steps: &[Step],
        index: usize,
        definite: bool,
        at: &'a Value,
        found: &mut Vec<Cow<'a, Value>>,
    ) -> Result<(), PathError> {
        self.visit()?;
        let Some(step) = steps.get(index) else {
            found.push(Cow::Borrowed(at));
            return Ok(());
        };
        let last = index + 1 == steps.len();
        let still = definite && is_step_definite(step, last);
        let mut go = |next: &'a Value| self.follow(steps, index + 1, still, next, found);
        match step {
            Step::Names(names) => self.names(steps, index, definite, at, names, found),
            Step::Wildcard => match at {
                Value::Array(items) => items.iter().try_for_each(go),
                Value::Object(members) => members.values().try_for_each(go),
                _ => Ok(()),
            },
            Step::Indices(indices) => {
                let items = array(steps, index, definite, at)?;
                let places = indices.iter().filter_map(|index| position(*index, items.len()));
                places.map(|place| &items[place]).try_for_each(go)
            }
            Step::Slice { from, to } => {
                let items = array(steps, index, definite, at)?;
                slice(items, *from, *to).iter().try_for_each(go)
            }
            Step::Scan => self.scan(steps, index, at, found),
            Step::Filter(condition) => match at {
                Value::Array(items) => {
                    for item in items {
                        self.visit()?;
                        if condition.holds(item, self)? {
                            go(item)?;
                        }
                    }
                    Ok(())
                }
                Value::Object(_) if condition.holds(at, self)? => go(at),
                _ => Ok(()),
            },
            Step::Function(_) => Ok(()),
        }
    }

    fn names<'a>(
        &self,
        steps: &[Step],
        index: usize,
        definite: bool,
        at: &'a Value,
        names: &[String],
        found: &mut Vec<Cow<'a, Value>>,
    ) -> Result<(), PathError> {
        let last = index + 1 == steps.len();
        let Value::Object(members) = at else {
            if !definite {
                return Ok(());
            }
            return Err(PathError::NotFound(format!(
                "Expected to find an object with property {} in path {} but found '{}'. This is \
                 not a json object according to the JsonProvider.",
                shown_step(&steps[index]),
                shown(&steps[..index]),
                kind(at)
            )));
        };
        if names.len() > 1 && last {
            let chosen: Map<String, Value> = names
                .iter()
                .filter_map(|name| Some((name.clone(), members.get(name)?.clone())))
                .collect();
            found.push(Cow::Owned(Value::Object(chosen)));
            return Ok(());
        }
        for name in names {
            match members.get(name) {
                Some(next) => {
                    self.follow(steps, index + 1, definite && names.len() == 1, next, found)?;
                }
                None if last || !definite || names.len() > 1 => {}
                None => {
                    return Err(PathError::NotFound(format!(
                        "Missing property in path {}",
                        shown(&steps[..=index])
                    )));
                }
            }
        }
        Ok(())
    }

    /// The steps after a `..` hold for `at` and everything below it, parents first.
    fn scan<'a>(
        &self,
        steps: &[Step],
        index: usize,
        at: &'a Value,
        found: &mut Vec<Cow<'a, Value>>,
    ) -> Result<(), PathError> {
        let mut waiting = vec![at];
        while let Some(at) = waiting.pop() {
            self.visit()?;
            let fits = match steps.get(index + 1) {
                // Every item is met on its own way down.
                Some(Step::Names(_) | Step::Filter(_)) => at.is_object(),
                Some(Step::Indices(_) | Step::Slice { .. }) => at.is_array(),
                _ => true,
            };
            if fits {
                self.follow(steps, index + 1, false, at, found)?;
            }
            match at {
                Value::Array(items) => waiting.extend(items.iter().rev()),
                Value::Object(members) => waiting.extend(members.values().rev()),
                _ => {}
            }
        }
        Ok(())
    }
}

fn array<'a>(
    steps: &[Step],
    index: usize,
    definite: bool,
    at: &'a Value,
) -> Result<&'a [Value], PathError> {
    match at {
        Value::Array(items) => Ok(items),
        _ if !definite => Ok(&[]),
        Value::Null => {
            Err(PathError::NotFound(format!("The path {} is null", shown(&steps[..index]))))
        }
        other => Err(PathError::NotFound(format!(
            "Filter: {} can only be applied to arrays. Current context is: {other}",
            shown_step(&steps[index])
        ))),
    }
}

fn slice(items: &[Value], from: Option<i64>, to: Option<i64>) -> &[Value] {
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let place = |index: i64| {
        let index = if index < 0 { index.saturating_add(length) } else { index };
        usize::try_from(index.clamp(0, length)).unwrap_or(0)
    };
    let (from, to) = (from.map_or(0, place), to.map_or(items.len(), place));
    items.get(from..to).unwrap_or(&[])
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "java.lang.Boolean",
        Value::Number(number) if number.is_f64() => "java.lang.Double",
        Value::Number(_) => "java.lang.Integer",
        Value::String(_) => "java.lang.String",
        Value::Array(_) => "net.minidev.json.JSONArray",
        Value::Object(_) => "java.util.LinkedHashMap",
    }
}

/// A path as Jayway writes it: `$['a'][0]`.
fn shown(steps: &[Step]) -> String {
    steps.iter().fold("$".to_owned(), |mut text, step| {
        text.push_str(&shown_step(step));
        text
    })
}

fn shown_step(step: &Step) -> String {
    let mut text = String::new();
    match step {
        Step::Names(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
            let _ = write!(text, "[{}]", names.join(","));
        }
        Step::Indices(indices) => {
            let indices: Vec<String> = indices.iter().map(i64::to_string).collect();
            let _ = write!(text, "[{}]", indices.join(","));
        }
        Step::Slice { from, to } => {
            let place = |index: &Option<i64>| index.map_or_else(String::new, |i| i.to_string());
            let _ = write!(text, "[{}:{}]", place(from), place(to));
        }
        Step::Wildcard => text.push_str("[*]"),
        Step::Scan => text.push_str(".."),
        Step::Filter(_) => text.push_str("[?]"),
        Step::Function(function) => {
            let _ = write!(text, ".{}()", function.name);
        }
    }
    text
}
