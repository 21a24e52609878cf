//! What a case expects, and how what happened differs from it.

use serde_json::Value;
use stepbus_asl::trial::Ran;
use stepbus_asl::{Failure, Outcome};
use stepbus_document::join;

use super::Named;
use super::file::States;
use super::reader::Reader;

pub(super) struct Expect {
    at: String,
    status: Option<String>,
    output: Option<Value>,
    output_contains: Option<Value>,
    error: Option<String>,
    cause: Option<String>,
    cause_contains: Option<String>,
    path: Option<Vec<String>>,
    variables: Named,
    calls: Vec<(String, u64)>,
    arguments: Named,
    seconds: Option<f64>,
}

const STATUSES: [&str; 5] = ["SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED", "RUNNING"];

/// A difference of less than this is one of rounding.
const SECONDS: f64 = 0.001;

impl Expect {
    pub(super) fn read<'d>(
        reader: &mut Reader<'d>,
        value: &'d Value,
        at: &str,
        states: &States,
    ) -> Option<Expect> {
        let known = [
            "status",
            "output",
            "output_contains",
            "error",
            "cause",
            "cause_contains",
            "path",
            "variables",
            "calls",
            "arguments",
            "seconds",
        ];
        let members = reader.members(value, at, &known)?;
        let mut text = |name: &str| -> Option<Option<String>> {
            match members.get(name) {
                None => Some(None),
                Some(value) => reader.text(value, &join(at, name)).map(|t| Some(t.to_owned())),
            }
        };
        let (status, error) = (text("status")?, text("error")?);
        let (cause, cause_contains) = (text("cause")?, text("cause_contains")?);
        if let Some(status) = &status {
            reader.name("status", status, &join(at, "status"), STATUSES.into_iter());
        }
        let seconds = match members.get("seconds") {
            Some(value) => Some(reader.seconds(value, &join(at, "seconds"))?.as_secs_f64()),
            None => None,
        };
        Some(Expect {
            at: at.to_owned(),
            status,
            output: members.get("output").cloned(),
            output_contains: members.get("output_contains").cloned(),
            error,
            cause,
            cause_contains,
            path: path(reader, members.get("path"), &join(at, "path"), states),
            variables: named(reader, members.get("variables"), &join(at, "variables")),
            calls: calls(reader, members.get("calls"), &join(at, "calls"), states),
            arguments: of_states(reader, members.get("arguments"), &join(at, "arguments"), states),
            seconds,
        })
    }

    /// Calls `fail` with place and words for each expectation that is not met.
    pub(super) fn check(&self, ran: &Ran, fail: &mut dyn FnMut(&str, String)) {
        let at = |name: &str| join(&self.at, name);
        let failure = failure(ran);
        let found = status(ran);
        let expected = match (&self.status, &self.error, &self.cause, &self.cause_contains) {
            (Some(status), ..) => status.as_str(),
            (None, None, None, None) => "SUCCEEDED",
            // Whatever failed, it failed.
            _ if failure.is_some() => found,
            _ => "FAILED",
        };
        if expected != found {
            let why = failure.map_or_else(String::new, |failure| format!(" ({})", told(failure)));
            let place = if self.status.is_some() { at("status") } else { self.at.clone() };
            fail(&place, format!("expected {expected}, found {found}{why}"));
        }
        self.check_output(ran, fail);
        let texts = [("error", &self.error), ("cause", &self.cause)];
        for (name, expected) in texts {
            let found = failure.and_then(|failure| match name {
                "error" => failure.error.as_deref(),
                _ => failure.cause.as_deref(),
            });
            if let Some(expected) = expected
                && found != Some(expected)
            {
                let found = found.unwrap_or("none");
                fail(&at(name), format!("{name}: expected {expected:?}, found {found:?}"));
            }
        }
        if let Some(part) = &self.cause_contains {
            let found = failure.and_then(|failure| failure.cause.as_deref()).unwrap_or_default();
            if !found.contains(part.as_str()) {
                let message = format!("cause: {part:?} is not in {found:?}");
                fail(&at("cause_contains"), message);
            }
        }
        self.check_way(ran, fail);
    }

    fn check_output(&self, ran: &Ran, fail: &mut dyn FnMut(&str, String)) {
        let output = match &ran.outcome {
            Some(Outcome::Succeeded(output)) => Some(&**output),
            _ => None,
        };
        for (name, expected, part) in
            [("output", &self.output, false), ("output_contains", &self.output_contains, true)]
        {
            let Some(expected) = expected else { continue };
            let at = join(&self.at, name);
            match output {
                None => fail(&at, format!("{name}: there is no output")),
                Some(output) => {
                    if let Some(difference) = difference(expected, output, part, "") {
                        fail(&at, format!("{name}{difference}"));
                    }
                }
            }
        }
    }

    /// The states, variables and calls on the way, and the time.
    fn check_way(&self, ran: &Ran, fail: &mut dyn FnMut(&str, String)) {
        let at = |name: &str| join(&self.at, name);
        if let Some(path) = &self.path
            && *path != ran.path
        {
            let same = path.iter().zip(&ran.path).take_while(|(one, other)| one == other).count();
            let name = |path: &[String]| path.get(same).cloned().unwrap_or("the end".to_owned());
            let (expected, found) = (name(path), name(&ran.path));
            let place = if same < path.len() { join(&at("path"), same) } else { at("path") };
            let number = same + 1;
            fail(&place, format!("path: expected {expected} as state {number}, found {found}"));
        }
        for (name, expected) in &self.variables {
            let place = join(&at("variables"), name);
            match ran.assigned.get(name) {
                None => fail(&place, format!("variable ${name} was not assigned")),
                Some(found) => {
                    if let Some(difference) = difference(expected, found, false, "") {
                        fail(&place, format!("variable ${name}{difference}"));
                    }
                }
            }
        }
        for (state, expected) in &self.calls {
            let found = ran.calls.iter().filter(|call| call.state == *state).count();
            if found as u64 != *expected {
                let message = format!("{state}: expected {expected} calls, found {found}");
                fail(&join(&at("calls"), state), message);
            }
        }
        for (state, expected) in &self.arguments {
            self.check_arguments(ran, state, expected, fail);
        }
        if let Some(expected) = self.seconds {
            let found = ran.took.as_secs_f64();
            if (found - expected).abs() >= SECONDS {
                fail(&at("seconds"), format!("seconds: expected {expected}, found {found}"));
            }
        }
    }

    /// A list speaks of each call, anything else of the last one.
    fn check_arguments(
        &self,
        ran: &Ran,
        state: &str,
        expected: &Value,
        fail: &mut dyn FnMut(&str, String),
    ) {
        let place = join(&join(&self.at, "arguments"), state);
        let calls: Vec<&Value> =
            ran.calls.iter().filter(|call| call.state == state).map(|c| &*c.arguments).collect();
        let pairs: Vec<(&Value, Option<&Value>)> = match expected {
            Value::Array(each) => each
                .iter()
                .enumerate()
                .map(|(n, expected)| (expected, calls.get(n).copied()))
                .collect(),
            expected => vec![(expected, calls.last().copied())],
        };
        for (number, (expected, found)) in pairs.into_iter().enumerate() {
            let number = number + 1;
            match found {
                None => fail(&place, format!("{state} was not called {number} times")),
                Some(found) => {
                    if let Some(difference) = difference(expected, found, true, "") {
                        fail(&place, format!("arguments of {state}{difference}"));
                    }
                }
            }
        }
    }
}

pub(super) fn status(ran: &Ran) -> &'static str {
    match &ran.outcome {
        None => "RUNNING",
        Some(Outcome::Succeeded(_)) => "SUCCEEDED",
        Some(Outcome::Failed(_)) => "FAILED",
        Some(Outcome::TimedOut(_)) => "TIMED_OUT",
        Some(Outcome::Aborted(_)) => "ABORTED",
    }
}

fn failure(ran: &Ran) -> Option<&Failure> {
    match ran.outcome.as_ref()? {
        Outcome::Succeeded(_) => None,
        Outcome::Failed(failure) | Outcome::TimedOut(failure) | Outcome::Aborted(failure) => {
            Some(failure)
        }
    }
}

fn told(failure: &Failure) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    format!("{}: {}", text(&failure.error), text(&failure.cause))
}

/// The first place where a value is not what is expected; with `part`, objects may have more
/// members.
fn difference(expected: &Value, found: &Value, part: bool, at: &str) -> Option<String> {
    let differs = || {
        let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
        Some(format!("{place}: expected {}, found {}", short(expected), short(found)))
    };
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => {
            for (name, expected) in one {
                let at = join(at, name);
                match other.get(name) {
                    None => {
                        return Some(format!(
                            " at {at}: expected {}, it is missing",
                            short(expected)
                        ));
                    }
                    Some(found) => {
                        if let Some(difference) = difference(expected, found, part, &at) {
                            return Some(difference);
                        }
                    }
                }
            }
            let more = other.keys().find(|name| !part && !one.contains_key(*name))?;
            Some(format!(" at {}: expected nothing, found {}", join(at, more), short(&other[more])))
        }
        (Value::Array(one), Value::Array(other)) => {
            if one.len() != other.len() {
                let (one, other) = (one.len(), other.len());
                let place = if at.is_empty() { String::new() } else { format!(" at {at}") };
                return Some(format!("{place}: expected {one} items, found {other}"));
            }
            one.iter().zip(other).enumerate().find_map(|(index, (expected, found))| {
                difference(expected, found, part, &join(at, index))
            })
        }
        (Value::Number(one), Value::Number(other)) if one.as_f64() == other.as_f64() => None,
        (expected, found) if expected == found => None,
        _ => differs(),
    }
}

/// A value short enough for a line.
fn short(value: &Value) -> String {
    const WIDTH: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn named(reader: &mut Reader<'_>, value: Option<&Value>, at: &str) -> Named {
    match value {
        None => Named::new(),
        Some(Value::Object(members)) => members.clone(),
        Some(_) => {
            reader.wrong(at, "this must be an object");
            Named::new()
        }
    }
}

/// An object whose names are states.
fn of_states(reader: &mut Reader<'_>, value: Option<&Value>, at: &str, states: &States) -> Named {
    let mut members = named(reader, value, at);
    members.retain(|name, _| reader.name("state", name, &join(at, name), states.names()));
    members
}

fn calls(
    reader: &mut Reader<'_>,
    value: Option<&Value>,
    at: &str,
    states: &States,
) -> Vec<(String, u64)> {
    let members = of_states(reader, value, at, states);
    let number = |(name, value): (String, Value)| {
        let number = reader.whole(&value, &join(at, &name))?;
        Some((name, number))
    };
    members.into_iter().filter_map(number).collect()
}

fn path(
    reader: &mut Reader<'_>,
    value: Option<&Value>,
    at: &str,
    states: &States,
) -> Option<Vec<String>> {
    let Some(items) = value?.as_array() else {
        reader.wrong(at, "the path is a list of states");
        return None;
    };
    let mut path = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let at = join(at, index);
        let name = item.as_str().unwrap_or_default();
        reader.name("state", name, &at, states.names());
        path.push(name.to_owned());
    }
    Some(path)
}
