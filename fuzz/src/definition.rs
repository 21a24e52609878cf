//! Definitions: every text is refused with places or runs, and what ran can be replayed.

use std::sync::Arc;

use serde_json::json;
use stepbus_asl::{
    Bounds, Command, Execution, Failure, Input, MapRunOutcome, Program, Start, WorkflowType,
    replay, validate,
};
use stepbus_document::Document;
use stepbus_model::Timestamp;

const BEGIN: Timestamp = Timestamp(1_700_000_000_000);
/// Inputs an execution is given before it is left alone.
const INPUTS: usize = 12;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for problem in validate(text, WorkflowType::Express) {
        let _ = problem.to_string();
    }
    let Ok(document) = Document::parse(text) else { return };
    if let Ok(program) = Program::parse(&document, WorkflowType::Standard) {
        execute(&program, data.len() as u64);
    }
}

fn execute(program: &Program, seed: u64) {
    let start = start(seed);
    let mut journal = vec![(BEGIN, Input::Started(start.clone().into()))];
    let (mut execution, mut commands) = Execution::begin(program, BEGIN, start);
    let mut waiting: Vec<(Timestamp, Input)> = Vec::new();
    while journal.len() < INPUTS {
        for command in commands {
            waiting.extend(answer(command, journal.len()));
        }
        let Some((at, input)) = waiting.pop() else { break };
        commands = Vec::new();
        if execution.expects(&input) {
            let at = at.max(execution.latest());
            journal.push((at, input.clone()));
            commands = execution.apply(program, at, input);
        }
    }
    let bytes = execution.to_bytes();
    let read = Execution::from_bytes(&bytes).expect("what was just written can be read");
    assert!(read.to_bytes() == bytes, "a snapshot changes when it is read");
    let again = replay(program, journal).expect("it begins with a start");
    assert!(again.to_bytes() == bytes, "a replay leads elsewhere");
}

/// What follows a command: every third task fails, timers fire.
fn answer(command: Command, place: usize) -> Option<(Timestamp, Input)> {
    match command {
        Command::RunTask(run) if place % 3 == 2 => {
            let failure = Failure::new("Broken", "as chance has it");
            Some((BEGIN, Input::TaskFailed { task: run.task, failure }))
        }
        Command::RunTask(run) => {
            Some((BEGIN, Input::TaskSucceeded { task: run.task, output: run.arguments }))
        }
        Command::SetTimer { timer, at } => Some((at, Input::TimerFired { timer })),
        Command::StartMapRun(spec) => {
            let outcome = MapRunOutcome::Succeeded(Arc::new(json!([1, { "a": 2 }])));
            Some((BEGIN, Input::MapRunEnded { visit: spec.visit, outcome }))
        }
        _ => None,
    }
}

fn start(seed: u64) -> Start {
    Start {
        input: Arc::new(
            json!({ "a": [1, "two", { "b": null }], "n": 3, "t": "2024-01-01T00:00:00Z" }),
        ),
        execution_arn: "arn:aws:states:local:000000000000:execution:m:e".into(),
        execution_name: "e".into(),
        state_machine_arn: "arn:aws:states:local:000000000000:stateMachine:m".into(),
        state_machine_name: "m".into(),
        role_arn: None,
        seed,
        workflow_type: WorkflowType::Standard,
        map_item: None,
        resumption: None,
        bounds: Bounds {
            payload_bytes: 64 * 1024,
            steps_per_input: 20,
            history_events: 1_000,
            ..Bounds::default()
        },
    }
}
