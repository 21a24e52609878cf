//! The context object.

use serde_json::{Map, Value, json};

use crate::chance::task_token;
use crate::definition::model::{Kind, State};
use crate::execution::Execution;
use crate::io::{TaskId, WorkflowType};
use crate::program::Program;
use crate::start::MapItem;
use crate::thread::{Activity, Fork, Thread};

/// The item that a thread works on, or that an input is computed for.
pub(super) struct Item<'a> {
    pub(super) index: u64,
    pub(super) value: &'a Value,
}

/// The context object as a thread's state sees it; `Execution.Input` only when it is `whole`.
pub(super) fn context(
    execution: &Execution,
    program: &Program,
    thread: &Thread,
    item: Option<&Item<'_>>,
    whole: bool,
) -> Value {
    let mut object = Map::new();
    object.insert("Execution".into(), execution_part(execution, whole));
    let state = program.state(thread.state);
    object.insert("State".into(), state_part(state, thread));
    let start = &execution.start;
    object.insert(
        "StateMachine".into(),
        json!({ "Id": &*start.state_machine_arn, "Name": &*start.state_machine_name }),
    );
    if let Kind::Task(task) = &state.kind
        && task.has_token()
    {
        let id = TaskId { visit: thread.visit, attempt: thread.attempt };
        let token = task_token(&start.execution_arn, start.seed, id);
        object.insert("Task".into(), json!({ "Token": token }));
    }
    if let Some(map) = map_part(execution, thread, item) {
        object.insert("Map".into(), map);
    }
    Value::Object(object)
}

fn state_part(state: &State, thread: &Thread) -> Value {
    let mut object = Map::new();
    object.insert("Name".into(), Value::from(&*state.name));
    object.insert("EnteredTime".into(), Value::from(thread.entered_at.to_rfc3339()));
    if matches!(state.kind, Kind::Task(_) | Kind::Parallel { .. } | Kind::Map(_)) {
        object.insert("RetryCount".into(), Value::from(thread.attempt));
    }
    Value::Object(object)
}

fn execution_part(execution: &Execution, whole: bool) -> Value {
    let start = &execution.start;
    let mut object = Map::new();
    object.insert("Id".into(), Value::from(&*start.execution_arn));
    if whole {
        object.insert("Input".into(), (*start.input).clone());
    }
    object.insert("Name".into(), Value::from(&*start.execution_name));
    object.insert("RoleArn".into(), start.role_arn.as_deref().map_or(Value::Null, Value::from));
    object.insert("StartTime".into(), Value::from(execution.started_at.to_rfc3339()));
    if start.workflow_type == WorkflowType::Standard {
        object.insert("RedriveCount".into(), Value::from(execution.redrives));
    }
    if let Some(at) = execution.redriven_at {
        object.insert("RedriveTime".into(), Value::from(at.to_rfc3339()));
    }
    Value::Object(object)
}

/// `Map.Item`: the one given, that of the innermost iteration, or that of the map run's child.
fn map_part(execution: &Execution, thread: &Thread, item: Option<&Item<'_>>) -> Option<Value> {
    if let Some(item) = item {
        return Some(map_item(item.index, item.value));
    }
    let mut parent = thread.parent;
    while let Some(place) = parent {
        let thread = execution.threads.get(place.thread as usize)?.as_ref()?;
        if let Activity::Fork(fork) = &thread.activity
            && let Some(value) = iteration_item(fork, place.index)
        {
            return Some(map_item(u64::from(place.index), value));
        }
        parent = thread.parent;
    }
    execution.start.map_item.as_ref().map(of_map_run)
}

/// `Map` of the context object for an item of a map run.
pub(crate) fn of_map_run(item: &MapItem) -> Value {
    let mut object = map_item(item.index, &item.value);
    if let Some(members) = object["Item"].as_object_mut() {
        if let Some(key) = &item.key {
            members.insert("Key".into(), Value::from(key.as_str()));
        }
        if let Some(source) = &item.source {
            members.insert("Source".into(), Value::from(&**source));
        }
    }
    object
}

fn iteration_item(fork: &Fork, index: u32) -> Option<&Value> {
    fork.items.as_ref()?.get(index as usize)
}

fn map_item(index: u64, value: &Value) -> Value {
    json!({ "Item": { "Index": index, "Value": value } })
}
