//! What stands around an execution while a case runs: a clock, functions, map runs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_asl::{
    Bounds, Command, Execution, Failure, Input, MapItem, MapRunOutcome, MapRunSpec, MapSource,
    Outcome, Program, RunTask, Start, TaskId, Timer, TimerKind, WorkflowType, map,
};
use stepbus_model::{Limits, Timestamp};

use super::items;
use super::recording::{Answer, Recording};

/// 2024-03-17, for cases that do not say when they were recorded.
const BEGIN: Timestamp = Timestamp(1_710_673_798_000);
const MACHINE: &str = "arn:aws:states:us-east-1:111111111111:stateMachine:machine";

/// What a function does.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Function {
    Echo,
    Raise,
    /// Answers with more than a state may hold.
    Large,
    /// Does not answer in time.
    Slow,
    Hello,
}

pub(super) struct World {
    recording: Recording,
    /// The items of the object that a map reads.
    items: Option<Vec<Value>>,
    now: Timestamp,
    timers: BTreeMap<Timer, Timestamp>,
    functions: BTreeMap<String, Function>,
    history: Vec<Value>,
    pub(super) journal: Vec<(Timestamp, Input)>,
}

impl World {
    /// The world of a case, in which what `history` records is answered to the same calls.
    pub(super) fn of(case: &Value, history: &[Value], items: Option<&[Value]>) -> World {
        let handlers = case["lambda_handlers"].as_array();
        let functions = handlers
            .into_iter()
            .flatten()
            .filter_map(|handler| {
                let name = handler[0].as_str()?;
                Some((name.to_owned(), function(handler[1].as_str()?)))
            })
            .collect();
        let recorded = case["recorded"].as_str().and_then(|day| Timestamp::parse(day).ok());
        World {
            functions,
            now: recorded.unwrap_or(BEGIN),
            recording: Recording::of(history),
            history: history.to_vec(),
            items: items.map(<[Value]>::to_vec),
            ..World::new()
        }
    }

    fn new() -> World {
        World {
            recording: Recording::default(),
            items: None,
            now: BEGIN,
            timers: BTreeMap::new(),
            functions: BTreeMap::new(),
            history: Vec::new(),
            journal: Vec::new(),
        }
    }

    /// Runs to the end, or until only timers are left when the recording ends there.
    pub(super) fn run(
        &mut self,
        program: &Program,
        input: Value,
        workflow_type: WorkflowType,
        stops_at_timers: bool,
    ) -> Option<Outcome> {
        self.execute(program, start(input, workflow_type, None), stops_at_timers)
    }

    fn execute(
        &mut self,
        program: &Program,
        start: Start,
        stops_at_timers: bool,
    ) -> Option<Outcome> {
        self.journal.push((self.now, Input::Started(Arc::new(start.clone()))));
        let (mut execution, commands) = Execution::begin(program, self.now, start);
        let mut answers = self.perform(program, commands);
        while execution.outcome().is_none() {
            let input = match self.recorded().or_else(|| answers.pop()) {
                Some(input) => input,
                None if stops_at_timers => break,
                None => self.next_timer()?,
            };
            if !execution.expects(&input) {
                continue;
            }
            self.journal.push((self.now, input.clone()));
            let commands = execution.apply(program, self.now, input);
            let mut more = self.perform(program, commands);
            more.append(&mut answers);
            answers = more;
        }
        execution.outcome().cloned()
    }

    fn next_timer(&mut self) -> Option<Input> {
        let (timer, at) = self.timers.iter().min_by_key(|(timer, at)| (**at, timer.visit))?;
        let (timer, at) = (*timer, *at);
        self.timers.remove(&timer);
        self.now = self.now.max(at);
        Some(Input::TimerFired { timer })
    }

    /// Does what is asked for; the answers come last first.
    fn perform(&mut self, program: &Program, commands: Vec<Command>) -> Vec<Input> {
        let mut answers = Vec::new();
        for command in commands {
            match command {
                Command::RunTask(task) if is_offered(&task) && self.recording.take(&task) => {}
                Command::RunTask(task) => answers.extend(self.call(&task)),
                Command::SetTimer { timer, at } => {
                    self.timers.insert(timer, at);
                }
                Command::ClearTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Command::StartMapRun(spec) => {
                    let outcome = self.map_run(program, &spec);
                    answers.push(Input::MapRunEnded { visit: spec.visit, outcome });
                }
                Command::CancelTask { .. } | Command::StopMapRun { .. } | Command::End(_) => {}
            }
        }
        answers.reverse();
        answers
    }

    fn call(&self, run: &RunTask) -> Option<Input> {
        let task = run.task;
        if let Some((_, name)) = run.resource.split_once(":function:") {
            return self.invoke(task, name, &run.arguments, |output| output);
        }
        if run.resource.ends_with(":lambda:invoke") {
            let name = run.arguments["FunctionName"].as_str()?;
            let name = name.rsplit(':').next()?;
            let payload = run.arguments.get("Payload").cloned().unwrap_or_else(|| json!({}));
            return self.invoke(task, name, &payload, |output| {
                json!({
                    "ExecutedVersion": "$LATEST",
                    "Payload": output,
                    "SdkHttpMetadata": {},
                    "SdkResponseMetadata": {},
                    "StatusCode": 200,
                })
            });
        }
        if run.resource.contains(":activity:") {
            // A recording in which it was never scheduled is one of an activity that is gone.
            let gone = format!("The activity {} does not exist.", run.resource);
            let failure = Failure::new("States.Runtime", gone);
            return Some(Input::TaskFailed { task, failure });
        }
        let cause = format!("no stand-in for {}", run.resource);
        Some(Input::TaskFailed { task, failure: Failure::new("Unavailable", cause) })
    }

    /// The next thing that the recording says came from outside.
    fn recorded(&mut self) -> Option<Input> {
        while let Some((task, answer)) = self.recording.next() {
            return Some(match answer {
                Answer::Started(worker) => Input::TaskStarted { task, worker },
                Answer::Submitted(output) => Input::TaskSubmitted { task, output },
                Answer::Succeeded(output) => Input::TaskSucceeded { task, output },
                Answer::Failed(failure) => Input::TaskFailed { task, failure },
                Answer::TimedOut => match self.task_timer(task) {
                    Some(timer) => Input::TimerFired { timer },
                    None => continue,
                },
            });
        }
        None
    }

    /// Lets the timer fire that ends a task first.
    fn task_timer(&mut self, task: TaskId) -> Option<Timer> {
        let kinds = [TimerKind::Heartbeat, TimerKind::Timeout];
        let timers = kinds.map(|kind| Timer { visit: task.visit, kind, attempt: task.attempt });
        let set = timers.into_iter().filter_map(|timer| Some((*self.timers.get(&timer)?, timer)));
        let (at, timer) = set.min_by_key(|(at, _)| *at)?;
        self.timers.remove(&timer);
        self.now = self.now.max(at);
        Some(timer)
    }

    fn invoke(
        &self,
        task: TaskId,
        name: &str,
        payload: &Value,
        wrap: impl Fn(Value) -> Value,
    ) -> Option<Input> {
        let output = match self.functions.get(name).copied().unwrap_or(Function::Echo) {
            Function::Slow => return None,
            Function::Raise => {
                let cause = json!({
                    "errorMessage": "Some exception was raised.",
                    "errorType": "Exception",
                });
                let failure = Failure::new("Exception", cause.to_string());
                return Some(Input::TaskFailed { task, failure });
            }
            Function::Large => Value::from("x".repeat(Limits::AWS.payload_bytes)),
            Function::Hello => Value::from("HelloWorld!"),
            Function::Echo => payload.clone(),
        };
        Some(Input::TaskSucceeded { task, output: Arc::new(wrap(output)) })
    }

    fn map_run(&mut self, program: &Program, spec: &MapRunSpec) -> MapRunOutcome {
        let items = match &spec.source {
            MapSource::Items(items) => Ok(items.as_array().cloned().unwrap_or_default()),
            MapSource::Reader(reader) => {
                let recorded = items::Recorded::of(&self.history, &spec.state_name);
                items::read(reader, &recorded, self.items.as_deref())
            }
        };
        let items = match items {
            Ok(items) => items,
            Err(failure) => return MapRunOutcome::Failed(failure),
        };
        let Some(processor) = program.processor(&spec.state_path) else {
            return MapRunOutcome::Failed(Failure::default());
        };
        let mut counts = map::MapCounts { total: items.len() as u64, failed: 0 };
        let mut outputs = Vec::with_capacity(items.len());
        let mut first = 0;
        for (index, batch) in items::batches(items, spec.batcher.as_ref()).into_iter().enumerate() {
            let mut selected = Vec::with_capacity(batch.len());
            for value in &batch {
                let item = map_item(first, value.clone());
                first += 1;
                match program.map_item_input(&spec.state_path, &spec.scope, &item) {
                    Ok(input) => selected.push((*input).clone()),
                    Err(failure) => return MapRunOutcome::Failed(failure),
                }
            }
            let input = items::input(selected, spec.batcher.as_ref());
            let value = if spec.batcher.is_some() { input.clone() } else { batch[0].clone() };
            let item = map_item(index as u64, value);
            let start = start(input, spec.execution_type, Some(item));
            let mut child = World { functions: self.functions.clone(), ..World::new() };
            match child.execute(&processor, start, false) {
                Some(Outcome::Succeeded(output)) => outputs.push((*output).clone()),
                _ => counts.failed += 1,
            }
        }
        self.now = self.now.plus(Duration::from_secs(1));
        if map::exceeds_tolerance(
            counts,
            spec.tolerated_failure_count,
            spec.tolerated_failure_percentage,
        ) {
            return MapRunOutcome::Failed(map::tolerance_exceeded());
        }
        match items::output(spec, outputs) {
            Ok(output) => MapRunOutcome::Succeeded(Arc::new(output)),
            Err(failure) => MapRunOutcome::Failed(failure),
        }
    }
}

fn map_item(index: u64, value: Value) -> MapItem {
    MapItem { index, value: Arc::new(value), key: None, source: None }
}

fn start(input: Value, workflow_type: WorkflowType, map_item: Option<MapItem>) -> Start {
    Start {
        input: Arc::new(input),
        execution_arn: "arn:aws:states:us-east-1:111111111111:execution:machine:run".into(),
        execution_name: "run".into(),
        state_machine_arn: MACHINE.into(),
        state_machine_name: "machine".into(),
        role_arn: Some("snf_role_arn".into()),
        seed: 7,
        workflow_type,
        map_item,
        resumption: None,
        bounds: Bounds::from(&Limits::AWS),
    }
}

/// Whether Stepbus has what is called; to anything else nobody answers.
fn is_offered(run: &RunTask) -> bool {
    const OFFERED: [&str; 7] = [
        ":function:",
        ":activity:",
        ":::lambda:",
        ":::sqs:",
        ":::states:",
        ":::events:",
        ":::http:",
    ];
    OFFERED.iter().any(|service| run.resource.contains(service))
}

/// Handlers are known by the names of their files.
fn function(path: &str) -> Function {
    let file = path.rsplit('/').next().unwrap_or(path);
    if file.starts_with("raise") {
        Function::Raise
    } else if file.starts_with("large") {
        Function::Large
    } else if file.starts_with("wait") {
        Function::Slow
    } else if file.starts_with("return_bytes") {
        Function::Hello
    } else {
        Function::Echo
    }
}
