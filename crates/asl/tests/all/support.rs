//! Runs a workflow on a clock that only moves when nothing else can happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use stepbus_asl::{
    Bounds, Command, Execution, Failure, HistoryEvent, Input, MapItem, MapRunOutcome, MapRunSpec,
    MapSource, Outcome, Program, RunTask, Start, Timer, WorkflowType, history, map, validate,
};
use stepbus_document::Document;
use stepbus_model::Timestamp;

pub(crate) const BEGIN: Timestamp = Timestamp(1_700_000_000_000);

pub(crate) fn program(definition: &str) -> Program {
    let document = Document::parse(definition).unwrap();
    Program::parse(&document, WorkflowType::Standard)
        .unwrap_or_else(|problems| panic!("{}", list(&problems)))
}

fn list(problems: &[stepbus_asl::Diagnostic]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The problems of a definition, a line each.
pub(crate) fn problems(definition: &str) -> String {
    list(&validate(definition, WorkflowType::Standard))
}

pub(crate) fn start(input: Value) -> Start {
    Start {
        input: Arc::new(input),
        execution_arn: "arn:aws:states:local:000000000000:execution:m:e".into(),
        execution_name: "e".into(),
        state_machine_arn: "arn:aws:states:local:000000000000:stateMachine:m".into(),
        state_machine_name: "m".into(),
        role_arn: None,
        seed: 42,
        workflow_type: WorkflowType::Standard,
        map_item: None,
        resumption: None,
        bounds: Bounds::default(),
    }
}

/// What answers tasks: per state name, one answer after the other, the last one again and again.
/// `{"error", "cause"}` fails the task, `null` lets it wait, anything else is its output.
#[derive(Debug, Default)]
pub(crate) struct Answers(BTreeMap<String, Vec<Value>>);

impl Answers {
    pub(crate) fn of(value: &Value) -> Answers {
        let answers = value.as_object().into_iter().flatten().map(|(name, answers)| {
            let answers = answers.as_array().cloned().unwrap_or_else(|| vec![answers.clone()]);
            (name.clone(), answers)
        });
        Answers(answers.collect())
    }

    fn next(&mut self, run: &RunTask) -> Option<Input> {
        let task = run.task;
        let output = match self.0.get_mut(&*run.state_name) {
            None => (*run.arguments).clone(),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        };
        let text = |name: &str| output[name].as_str().map(str::to_owned);
        match &output {
            Value::Null => None,
            Value::Object(members) if members.contains_key("error") => {
                let failure = Failure { error: text("error"), cause: text("cause") };
                Some(Input::TaskFailed { task, failure })
            }
            _ => Some(Input::TaskSucceeded { task, output: Arc::new(output) }),
        }
    }
}

/// A workflow that has run.
pub(crate) struct Ran {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) journal: Vec<(Timestamp, Input)>,
    pub(crate) calls: Vec<RunTask>,
    pub(crate) map_runs: Vec<MapRunSpec>,
    pub(crate) seconds: u64,
}

pub(crate) fn run(program: &Program, start: Start, answers: &mut Answers) -> Ran {
    let mut ran = Ran {
        outcome: None,
        journal: vec![(BEGIN, Input::Started(Arc::new(start.clone())))],
        calls: Vec::new(),
        map_runs: Vec::new(),
        seconds: 0,
    };
    let mut timers: BTreeMap<Timer, Timestamp> = BTreeMap::new();
    let (mut execution, mut commands) = Execution::begin(program, BEGIN, start);
    let mut now = BEGIN;
    let mut inputs = std::collections::VecDeque::new();
    loop {
        for command in commands {
            match command {
                Command::RunTask(run) => {
                    inputs.extend(answers.next(&run));
                    ran.calls.push(run);
                }
                Command::SetTimer { timer, at } => {
                    timers.insert(timer, at);
                }
                Command::ClearTimer { timer } => {
                    assert!(timers.remove(&timer).is_some(), "{timer:?} was not set");
                }
                Command::StartMapRun(spec) => {
                    let outcome = map_run(program, &spec, answers);
                    inputs.push_back(Input::MapRunEnded { visit: spec.visit, outcome });
                    ran.map_runs.push(*spec);
                }
                Command::End(outcome) => ran.outcome = Some(outcome),
                Command::CancelTask { .. } | Command::StopMapRun { .. } => {}
            }
        }
        if ran.outcome.is_some() {
            assert!(timers.is_empty(), "still set at the end: {timers:?}");
            assert!(execution.open_tasks(program).is_empty());
            break;
        }
        let input = match inputs.pop_front() {
            Some(input) => input,
            None => {
                let Some((timer, at)) = timers.iter().min_by_key(|(timer, at)| (**at, **timer))
                else {
                    break;
                };
                let (timer, at) = (*timer, *at);
                timers.remove(&timer);
                now = now.max(at);
                Input::TimerFired { timer }
            }
        };
        if !execution.expects(&input) {
            commands = Vec::new();
            continue;
        }
        ran.journal.push((now, input.clone()));
        commands = execution.apply(program, now, input);
    }
    ran.seconds = now.since(BEGIN).as_secs();
    ran
}

fn map_run(program: &Program, spec: &MapRunSpec, answers: &mut Answers) -> MapRunOutcome {
    let MapSource::Items(items) = &spec.source else {
        return MapRunOutcome::Failed(Failure::new("States.ItemReaderFailed", "no reader here"));
    };
    let processor = program.processor(&spec.state_path).unwrap();
    let items = items.as_array().cloned().unwrap();
    let mut counts = map::MapCounts { total: items.len() as u64, failed: 0 };
    let mut outputs = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let index = index as u64;
        let item = MapItem { index, value: Arc::new(item), key: None, source: None };
        let input = program.map_item_input(&spec.state_path, &spec.scope, &item);
        let input = match input {
            Ok(input) => input,
            Err(failure) => return MapRunOutcome::Failed(failure),
        };
        let start = Start { map_item: Some(item), ..start((*input).clone()) };
        match run(&processor, start, answers).outcome {
            Some(Outcome::Succeeded(output)) => outputs.push((*output).clone()),
            _ => counts.failed += 1,
        }
    }
    let (count, percentage) = (spec.tolerated_failure_count, spec.tolerated_failure_percentage);
    if map::exceeds_tolerance(counts, count, percentage) {
        return MapRunOutcome::Failed(map::tolerance_exceeded());
    }
    MapRunOutcome::Succeeded(Arc::new(Value::Array(outputs)))
}

/// The end of an execution as one value: its output, or `{"error", "cause"}` with what is known.
pub(crate) fn shown(outcome: Option<&Outcome>) -> Value {
    let failed = |status: &str, failure: &Failure| {
        let mut shown = json!({ "status": status });
        if let Some(error) = &failure.error {
            shown["error"] = json!(error);
        }
        if let Some(cause) = &failure.cause {
            shown["cause"] = json!(cause);
        }
        shown
    };
    match outcome {
        None => json!({ "status": "RUNNING" }),
        Some(Outcome::Succeeded(output)) => (**output).clone(),
        Some(Outcome::Failed(failure)) => failed("FAILED", failure),
        Some(Outcome::TimedOut(failure)) => failed("TIMED_OUT", failure),
        Some(Outcome::Aborted(failure)) => failed("ABORTED", failure),
    }
}

/// Runs a definition in YAML and compares its end.
#[track_caller]
pub(crate) fn check(definition: &str, input: Value, answers: Value, expected: Value) -> Ran {
    let program = program(definition);
    let ran = run(&program, start(input), &mut Answers::of(&answers));
    assert_eq!(shown(ran.outcome.as_ref()), expected);
    ran
}

/// A history, an event a line: `id<previous Type name`.
pub(crate) fn told(program: &Program, ran: &Ran) -> String {
    let events = history(program, ran.journal.iter().cloned());
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(crate) fn line(event: &HistoryEvent) -> String {
    let detail = event.details.as_ref().and_then(|(_, details)| {
        ["name", "state", "resource", "error", "length"]
            .iter()
            .find_map(|name| details.get(*name).cloned())
    });
    let mut line = format!("{}<{} {}", event.id, event.previous_event_id, event.event_type);
    if let Some(detail) = detail {
        line.push_str(&format!(" {}", detail.as_str().map_or(detail.to_string(), str::to_owned)));
    }
    line
}
