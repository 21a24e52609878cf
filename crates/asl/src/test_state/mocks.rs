//! Whether a mock and the rest of a request fit the state that is tested.

use serde_json::Value;

use super::{Configuration, FieldValidation, Mock, UNMOCKED};
use crate::definition::model::{Kind, Processor, Service, State, StateId, Target, Task};
use crate::io::Integration;
use crate::program::Program;

/// What is wrong with the request, if anything is.
pub(super) fn refusal(
    program: &Program,
    state: &State,
    mock: Option<&Mock>,
    configuration: &Configuration,
) -> Option<String> {
    let name = &state.name;
    match (&state.kind, mock) {
        (Kind::Map(_) | Kind::Parallel { .. }, None) => return Some(UNMOCKED.to_owned()),
        (Kind::Task(task), None) if waits(task) => {
            return Some(format!(
                "State '{name}' waits for something outside ({}): a mock must be given for it",
                task.resource_text
            ));
        }
        (Kind::Task(_) | Kind::Map(_) | Kind::Parallel { .. }, _) | (_, None) => {}
        (_, Some(_)) => {
            return Some(format!(
                "State '{name}' calls nothing: a mock can only be given for Task, Map and Parallel states"
            ));
        }
    }
    match (&state.kind, mock) {
        (Kind::Task(task), Some(Mock::Result(result))) => {
            let mode = configuration.field_validation;
            checked(task, result, mode).map(|what| format!("The mock's result is not valid: {what}"))
        }
        (Kind::Parallel { branches }, Some(Mock::Result(result))) => {
            let given = result.as_array().map(Vec::len);
            (given != Some(branches.len())).then(|| {
                format!(
                    "The mock's result must be an array of {} values, one for each branch of '{name}'",
                    branches.len()
                )
            })
        }
        (Kind::Map(_), Some(Mock::Result(result))) if !result.is_array() && !writes(state) => {
            Some(format!("The mock's result must be an array, as the Map state '{name}' gives"))
        }
        _ => None,
    }
    .or_else(|| configured(program, state, mock, configuration))
}

/// Its result is none of the call's own.
fn waits(task: &Task) -> bool {
    task.integration != Integration::RequestResponse || task.service == Service::Activity
}

/// A ResultWriter puts something else in the place of the array.
fn writes(state: &State) -> bool {
    let Kind::Map(map) = &state.kind else { return false };
    matches!(&map.processor, Processor::Distributed(map) if map.writer.is_some())
}

fn configured(
    program: &Program,
    state: &State,
    mock: Option<&Mock>,
    configuration: &Configuration,
) -> Option<String> {
    let name = &state.name;
    if let Some(inner) = &configuration.error_caused_by_state {
        if !matches!(mock, Some(Mock::Error(_))) {
            return Some(format!(
                "errorCausedByState names '{inner}', but the mock is no error that it could have caused"
            ));
        }
        if !has_inside(program, state, inner) {
            return Some(format!(
                "errorCausedByState names '{inner}', which is no state of '{name}'"
            ));
        }
    }
    let map = matches!(state.kind, Kind::Map(_));
    if configuration.map_iteration_failure_count.is_some() && !map {
        return Some(format!("mapIterationFailureCount is given, but '{name}' is no Map state"));
    }
    let reads = matches!(&state.kind, Kind::Map(map)
        if matches!(&map.processor, Processor::Distributed(map) if map.reader.is_some()));
    if configuration.map_item_reader_data.is_some() && !reads {
        return Some(format!("mapItemReaderData is given, but '{name}' has no ItemReader"));
    }
    None
}

/// Whether a state of that name is in a branch or the processor of `state`.
fn has_inside(program: &Program, state: &State, name: &str) -> bool {
    match &state.kind {
        Kind::Parallel { branches } => branches.iter().any(|start| leads(program, *start, name)),
        Kind::Map(map) => match &map.processor {
            Processor::Inline { start } => leads(program, *start, name),
            Processor::Distributed(map) => map.program.has(name),
        },
        _ => false,
    }
}

/// Whether `start` leads to a state of that name, in its machine or one inside.
fn leads(program: &Program, start: StateId, name: &str) -> bool {
    let mut seen = std::collections::HashSet::from([start]);
    let mut open = vec![start];
    while let Some(id) = open.pop() {
        let state = program.state(id);
        if *state.name == *name || has_inside(program, state, name) {
            return true;
        }
        let mut next: Vec<StateId> = state.catch.iter().map(|catcher| catcher.next).collect();
        if let Target::State(id) = state.next {
            next.push(id);
        }
        if let Kind::Choice(choice) = &state.kind {
            next.extend(choice.rules.iter().map(|rule| rule.next).chain(choice.default));
        }
        open.extend(next.into_iter().filter(|id| seen.insert(*id)));
    }
    false
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Type {
    Text,
    Number,
    Array,
    /// Seconds or RFC 3339.
    Moment,
}

/// The members of an API's answer that are known, and whether they must be there.
type Shape = &'static [(&'static str, Type, bool)];

const SHAPES: [(&str, &str, Shape); 4] = [
    (
        "states",
        "startExecution",
        &[("ExecutionArn", Type::Text, true), ("StartDate", Type::Moment, true)],
    ),
    (
        "sqs",
        "sendMessage",
        &[
            ("MessageId", Type::Text, false),
            ("MD5OfMessageBody", Type::Text, false),
            ("MD5OfMessageAttributes", Type::Text, false),
            ("SequenceNumber", Type::Text, false),
        ],
    ),
    (
        "events",
        "putEvents",
        &[("FailedEntryCount", Type::Number, false), ("Entries", Type::Array, false)],
    ),
    (
        "lambda",
        "invoke",
        &[
            ("StatusCode", Type::Number, false),
            ("ExecutedVersion", Type::Text, false),
            ("FunctionError", Type::Text, false),
            ("LogResult", Type::Text, false),
        ],
    ),
];

/// What of a mocked answer the API would never give. What is unknown is let through.
fn checked(task: &Task, result: &Value, mode: FieldValidation) -> Option<String> {
    let Service::Integrated { resource_type, resource } = &task.service else { return None };
    if mode == FieldValidation::None || task.integration != Integration::RequestResponse {
        return None;
    }
    let known = SHAPES.iter().find(|(kind, api, _)| kind == resource_type && api == resource);
    let (kind, api, shape) = known?;
    let Some(members) = result.as_object() else {
        return Some(format!("{kind}:{api} answers with an object"));
    };
    shape.iter().find_map(|(name, wanted, required)| match members.get(*name) {
        None if *required && mode == FieldValidation::Strict => {
            Some(format!("field '{name}' is required in the answer of {kind}:{api}"))
        }
        None => None,
        Some(value) if fits(value, *wanted) => None,
        Some(value) => Some(format!("field '{name}' of {kind}:{api} can not be {value}")),
    })
}

fn fits(value: &Value, wanted: Type) -> bool {
    match wanted {
        Type::Text => value.is_string(),
        Type::Number => value.is_number(),
        Type::Array => value.is_array(),
        Type::Moment => value.is_string() || value.is_number(),
    }
}
