//! A workflow run by itself: mocks answer in place of what it would call, and time passes only
//! when nothing else can happen.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use stepbus_model::Timestamp;

use crate::execution::Execution;
use crate::history::HistoryEvent;
use crate::interpreter::Recorder;
use crate::io::{
    Command, Failure, Input, ItemBatcher, MapRunOutcome, MapRunSpec, MapSource, Outcome, RunTask,
    Timer,
};
use crate::map::{self, MapCounts};
use crate::program::Program;
use crate::start::{MapItem, Start};

/// Something a workflow asks of the world.
#[derive(Debug, Clone, Copy)]
pub struct Call<'c> {
    pub kind: CallKind,
    pub state: &'c str,
    /// The Resource of a task, the reader's of a map.
    pub resource: &'c str,
    pub arguments: &'c Value,
    /// Which call of this state it is, counted from 0 and for each item by itself.
    pub number: u64,
    /// Index of the item it is made for, of the innermost map.
    pub item: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    Task,
    /// A distributed Map is about to run: a reply stands for all of it.
    Map,
    /// What a distributed Map's ItemReader reads.
    Reader,
}

/// What the world says.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub reply: Reply,
    pub after: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Result(Arc<Value>),
    Error(Failure),
    /// Nothing comes: what TimeoutSeconds and HeartbeatSeconds are for.
    Silence,
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    pub state: String,
    pub item: Option<u64>,
    pub arguments: Arc<Value>,
}

/// What a workflow did.
#[derive(Debug)]
pub struct Ran {
    /// None when it waits for what never comes.
    pub outcome: Option<Outcome>,
    pub took: Duration,
    /// States in the order they were entered; those of a map's children where the Map started.
    pub path: Vec<String>,
    /// The last value of each variable that was assigned anywhere.
    pub assigned: Map<String, Value>,
    pub calls: Vec<Made>,
    /// The call for which there was no answer, and at which the run broke off.
    pub unanswered: Option<String>,
    /// Of the execution itself, without its maps' children.
    pub history: Vec<HistoryEvent>,
}

/// Runs a workflow; `world` answers its calls, or gives nothing where it knows no answer.
pub fn run(
    program: &Program,
    start: Start,
    at: Timestamp,
    world: &mut dyn FnMut(&Call<'_>) -> Option<Answer>,
) -> Ran {
    let mut trial = Trial {
        world,
        numbers: HashMap::new(),
        path: Vec::new(),
        assigned: Map::new(),
        calls: Vec::new(),
        unanswered: None,
    };
    let (outcome, end, history) = trial.execute(program, start, at, None);
    let Trial { path, assigned, calls, unanswered, .. } = trial;
    Ran { outcome, took: end.since(at), path, assigned, calls, unanswered, history }
}

struct Trial<'w> {
    world: &'w mut dyn FnMut(&Call<'_>) -> Option<Answer>,
    numbers: HashMap<(String, Option<u64>), u64>,
    path: Vec<String>,
    assigned: Map<String, Value>,
    calls: Vec<Made>,
    unanswered: Option<String>,
}

/// What one execution waits for.
#[derive(Default)]
struct Awaited {
    /// By the moment it comes, then in the order it was asked for.
    inputs: BTreeMap<(Timestamp, u64), Input>,
    asked: u64,
    timers: BTreeMap<Timer, Timestamp>,
}

impl Awaited {
    fn add(&mut self, at: Timestamp, input: Input) {
        self.asked += 1;
        self.inputs.insert((at, self.asked), input);
    }

    /// What comes next; an answer comes before a timer of the same moment.
    fn next(&mut self) -> Option<(Timestamp, Input)> {
        let timer = self.timers.iter().min_by_key(|(timer, at)| (**at, **timer));
        let timer = timer.map(|(timer, at)| (*at, *timer));
        match (self.inputs.first_entry(), timer) {
            (Some(input), Some((at, _))) if input.key().0 <= at => {
                let ((at, _), input) = input.remove_entry();
                Some((at, input))
            }
            (_, Some((at, timer))) => {
                self.timers.remove(&timer);
                Some((at, Input::TimerFired { timer }))
            }
            (Some(input), None) => {
                let ((at, _), input) = input.remove_entry();
                Some((at, input))
            }
            (None, None) => None,
        }
    }
}

impl Trial<'_> {
    fn execute(
        &mut self,
        program: &Program,
        start: Start,
        at: Timestamp,
        item: Option<u64>,
    ) -> (Option<Outcome>, Timestamp, Vec<HistoryEvent>) {
        let mut history = Vec::new();
        let mut awaited = Awaited::default();
        let recorder = Recorder { events: &mut history, until: u64::MAX, watch: None };
        let (mut execution, mut commands) =
            Execution::begin_recorded(program, at, start.into(), Some(recorder));
        let mut told = 0;
        loop {
            self.tell(&history[told..]);
            told = history.len();
            for command in commands {
                self.obey(program, &execution, command, item, &mut awaited);
            }
            if self.unanswered.is_some() || execution.outcome().is_some() {
                break;
            }
            let Some((at, input)) = awaited.next() else { break };
            let recorder = Recorder { events: &mut history, until: u64::MAX, watch: None };
            commands = execution.apply_recorded(program, at, input, Some(recorder));
        }
        (execution.outcome().cloned(), execution.latest(), history)
    }

    /// Takes from the history where the execution went and what it remembers.
    fn tell(&mut self, events: &[HistoryEvent]) {
        for event in events {
            let Some((_, details)) = &event.details else { continue };
            if event.event_type.ends_with("StateEntered") {
                self.path.extend(details["name"].as_str().map(str::to_owned));
            }
            // History has them as JSON text.
            for (name, text) in details["assignedVariables"].as_object().into_iter().flatten() {
                let value = text.as_str().and_then(|text| serde_json::from_str(text).ok());
                self.assigned.insert(name.clone(), value.unwrap_or_default());
            }
        }
    }

    fn obey(
        &mut self,
        program: &Program,
        execution: &Execution,
        command: Command,
        item: Option<u64>,
        awaited: &mut Awaited,
    ) {
        let now = execution.latest();
        match command {
            Command::RunTask(task) => {
                let item = execution.item_of(task.task.visit).or(item);
                if let Some((at, input)) = self.call_task(task, item, now) {
                    awaited.add(at, input);
                }
            }
            Command::StartMapRun(spec) => {
                let visit = spec.visit;
                if let Some((at, outcome)) = self.map_run(program, execution, *spec, item) {
                    awaited.add(at, Input::MapRunEnded { visit, outcome });
                }
            }
            Command::SetTimer { timer, at } => {
                awaited.timers.insert(timer, at);
            }
            Command::ClearTimer { timer } => {
                awaited.timers.remove(&timer);
            }
            Command::CancelTask { .. } | Command::StopMapRun { .. } | Command::End(_) => {}
        }
    }

    fn call_task(
        &mut self,
        task: RunTask,
        item: Option<u64>,
        now: Timestamp,
    ) -> Option<(Timestamp, Input)> {
        let (state, arguments) = (task.state_name.to_string(), Arc::clone(&task.arguments));
        let number = self.count(&state, item);
        let call = Call {
            kind: CallKind::Task,
            state: &state,
            resource: &task.resource,
            arguments: &arguments,
            number,
            item,
        };
        let answer = (self.world)(&call);
        let Some(Answer { reply, after }) = answer else {
            self.unanswered = Some(unanswered(&call));
            return None;
        };
        self.calls.push(Made { state, item, arguments });
        let task = task.task;
        let input = match reply {
            Reply::Result(output) => Input::TaskSucceeded { task, output },
            Reply::Error(failure) => Input::TaskFailed { task, failure },
            Reply::Silence => return None,
        };
        Some((now.plus(after), input))
    }

    fn count(&mut self, state: &str, item: Option<u64>) -> u64 {
        let number = self.numbers.entry((state.to_owned(), item)).or_default();
        *number += 1;
        *number - 1
    }

    /// Runs a distributed map: one child after the other, as if all ran at once.
    fn map_run(
        &mut self,
        program: &Program,
        execution: &Execution,
        spec: MapRunSpec,
        item: Option<u64>,
    ) -> Option<(Timestamp, MapRunOutcome)> {
        let now = execution.latest();
        let none = Value::Null;
        let number = self.count(&spec.state_name, item);
        let (resource, arguments) = match &spec.source {
            MapSource::Items(items) => ("", &**items),
            MapSource::Reader(reader) => (&*reader.resource, &reader.arguments),
        };
        let state = &*spec.state_name;
        let call = |kind| Call { kind, state, resource, arguments, number, item };
        if let Some(Answer { reply, after }) = (self.world)(&call(CallKind::Map)) {
            let outcome = match reply {
                Reply::Result(output) => MapRunOutcome::Succeeded(output),
                Reply::Error(failure) => MapRunOutcome::Failed(failure),
                Reply::Silence => return None,
            };
            return Some((now.plus(after), outcome));
        }
        let items = match &spec.source {
            MapSource::Items(items) => Arc::clone(items),
            MapSource::Reader(_) => match (self.world)(&call(CallKind::Reader)) {
                Some(Answer { reply: Reply::Result(items), .. }) => items,
                Some(Answer { reply: Reply::Error(failure), after }) => {
                    return Some((now.plus(after), MapRunOutcome::Failed(failure)));
                }
                _ => {
                    self.unanswered = Some(unanswered(&call(CallKind::Reader)));
                    return None;
                }
            },
        };
        let items = items_of(&items, &none);
        let children = match children(program, &spec, items) {
            Ok(children) => children,
            Err(failure) => return Some((now, MapRunOutcome::Failed(failure))),
        };
        self.children(program, execution, &spec, children)
    }

    fn children(
        &mut self,
        program: &Program,
        execution: &Execution,
        spec: &MapRunSpec,
        children: Vec<Child>,
    ) -> Option<(Timestamp, MapRunOutcome)> {
        let processor = program.processor(&spec.state_path)?;
        let (parent, now) = (execution.start(), execution.latest());
        let mut counts = MapCounts { total: children.len() as u64, failed: 0 };
        let (mut outputs, mut end) = (Vec::new(), now);
        for child in children {
            let index = child.item.index;
            let start = Start {
                input: child.input,
                execution_arn: format!("{}/{index}", spec.map_run_arn).into(),
                execution_name: index.to_string().into(),
                seed: parent.seed ^ (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
                workflow_type: spec.execution_type,
                map_item: Some(child.item),
                resumption: None,
                ..parent.clone()
            };
            let (outcome, at, _) = self.execute(&processor, start, now, Some(index));
            if self.unanswered.is_some() {
                return None;
            }
            end = end.max(at);
            match outcome {
                Some(Outcome::Succeeded(output)) => outputs.push((*output).clone()),
                Some(_) => counts.failed += 1,
                // Its children never end, so nor does the map.
                None => return None,
            }
        }
        let (count, percentage) = (spec.tolerated_failure_count, spec.tolerated_failure_percentage);
        let outcome = if map::exceeds_tolerance(counts, count, percentage) {
            MapRunOutcome::Failed(map::tolerance_exceeded())
        } else {
            MapRunOutcome::Succeeded(Arc::new(Value::Array(outputs)))
        };
        Some((end, outcome))
    }
}

struct Child {
    item: MapItem,
    input: Arc<Value>,
}

fn items_of(items: &Value, none: &Value) -> Vec<(Option<String>, Value)> {
    match items {
        Value::Array(items) => items.iter().map(|item| (None, item.clone())).collect(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| (Some(key.clone()), value.clone())).collect()
        }
        other if other == none => Vec::new(),
        other => vec![(None, other.clone())],
    }
}

fn children(
    program: &Program,
    spec: &MapRunSpec,
    items: Vec<(Option<String>, Value)>,
) -> Result<Vec<Child>, Failure> {
    let mut children = Vec::new();
    for (index, (key, value)) in (0..).zip(items) {
        let item = MapItem { index, value: Arc::new(value), key, source: None };
        let input = program.map_item_input(&spec.state_path, &spec.scope, &item)?;
        children.push(Child { item, input });
    }
    Ok(match &spec.batcher {
        None => children,
        Some(batcher) => batches(children, batcher),
    })
}

/// One child a batch of items, as full as count and bytes allow.
fn batches(children: Vec<Child>, batcher: &ItemBatcher) -> Vec<Child> {
    let most = |bound: u64| if bound == 0 { u64::MAX } else { bound };
    let (most_items, most_bytes) =
        (most(batcher.max_items_per_batch), most(batcher.max_input_bytes_per_batch));
    let mut batches: Vec<Vec<Value>> = Vec::new();
    let mut bytes = 0;
    for child in children {
        let more = child.input.to_string().len() as u64;
        match batches.last_mut() {
            Some(batch) if (batch.len() as u64) < most_items && bytes + more <= most_bytes => {
                batch.push((*child.input).clone());
                bytes += more;
            }
            _ => {
                batches.push(vec![(*child.input).clone()]);
                bytes = more;
            }
        }
    }
    let child = |(index, items)| {
        let value = Arc::new(map::batch_input(items, batcher));
        let item = MapItem { index, value: Arc::clone(&value), key: None, source: None };
        Child { item, input: value }
    };
    (0..).zip(batches).map(child).collect()
}

fn unanswered(call: &Call<'_>) -> String {
    let what = match call.kind {
        CallKind::Task | CallKind::Map => "call",
        CallKind::Reader => "reading of items",
    };
    let item = call.item.map_or_else(String::new, |item| format!(" for item {item}"));
    format!("there is no mock for {what} {} of state '{}'{item}", call.number + 1, call.state)
}
