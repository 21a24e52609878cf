//! Executions taken up again at a state they were in.

use serde_json::{Value, json};
use stepbus_asl::{Command, Execution, Input, NoEntry, Program, find_entry, history, replay};
use stepbus_model::Timestamp;

use crate::support::{Answers, BEGIN, Ran, program, run, start};

const LOOP: &str = r#"
QueryLanguage: JSONata
StartAt: Count
States:
  Count:
    Type: Pass
    Assign: { n: "{% $exists($n) ? $n + 1 : $states.input.n %}" }
    Output: "{% $states.input %}"
    Next: Ask
  Ask:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { n: "{% $n %}" }
    Output: "{% $states.result %}"
    Next: More
  More:
    Type: Choice
    Choices: [{ Condition: "{% $n < 3 %}", Next: Count }]
    Default: Both
  Both:
    Type: Parallel
    Branches:
      - StartAt: Left
        States: { Left: { Type: Task, Resource: "arn:aws:states:::http:invoke", End: true } }
      - StartAt: Right
        States: { Right: { Type: Task, Resource: "arn:aws:states:::http:invoke", End: true } }
    Next: Last
  Last: { Type: Pass, End: true }
"#;

/// Fails in a branch of `Both`, after `Ask` was visited three times.
fn failed(definition: &Program) -> Ran {
    let answers = json!({
        "Ask": [{ "n": 11 }, { "n": 12 }, { "n": 13 }],
        "Left": "left",
        "Right": { "error": "Down" },
    });
    run(definition, start(json!({ "n": 1 })), &mut Answers::of(&answers))
}

fn called(commands: &[Command]) -> Vec<(&str, &Value)> {
    let called = commands.iter().filter_map(|command| match command {
        Command::RunTask(run) => Some((&*run.state_name, &*run.arguments)),
        _ => None,
    });
    called.collect()
}

fn later() -> Timestamp {
    Timestamp(BEGIN.0 + 1_000)
}

#[test]
fn a_state_is_entered_again_as_it_was_last() {
    let definition = program(LOOP);
    let mut journal = failed(&definition).journal;
    let found = find_entry(&definition, journal.clone(), Some("Ask")).unwrap();
    assert_eq!(*found.entry.input, json!({ "n": 12 }));
    assert_eq!(Value::Object(found.entry.variables.clone()), json!({ "n": 3 }));
    let mut execution = replay(&definition, journal.clone()).unwrap();
    let again = Input::RedrivenFrom(Box::new(found.entry));
    let commands = execution.apply(&definition, later(), again.clone());
    assert_eq!(called(&commands), [("Ask", &json!({ "n": 3 }))]);
    assert_eq!(execution.open_tasks(&definition).len(), 1, "the branches are gone");
    journal.push((later(), again));
    let same = replay(&definition, journal.clone()).unwrap();
    assert_eq!(same.to_bytes(), execution.to_bytes());
    let told = history(&definition, journal);
    let told: Vec<&str> = told.iter().rev().map(|event| event.event_type).take(4).collect();
    assert_eq!(told, ["TaskStarted", "TaskScheduled", "TaskStateEntered", "ExecutionRedriven"]);
}

#[test]
fn a_state_that_cannot_be_entered_again_is_refused_by_name() {
    let definition = program(LOOP);
    let journal = failed(&definition).journal;
    let refused = |state| find_entry(&definition, journal.clone(), Some(state)).unwrap_err();
    assert_eq!(refused("Last"), NoEntry::NeverEntered("Last".into()));
    let inside = NoEntry::Inside { state: "Left".into(), within: "Both".into() };
    assert_eq!(refused("Left"), inside);
    assert_eq!(
        refused("Botj").to_string(),
        "its definition has no state 'Botj'; did you mean 'Both'?"
    );
}

#[test]
fn it_goes_on_by_another_definition_where_it_stands() {
    let definition = program(LOOP);
    let journal = failed(&definition).journal;
    let found = find_entry(&definition, journal, None).unwrap();
    assert_eq!(found.entry.state, "Both");
    let changed = program(&LOOP.replace("Right", "East"));
    let mut start = start(json!({ "n": 1 }));
    let visits = found.visits;
    start.resumption = Some(Box::new(found));
    let (execution, commands) = Execution::begin(&changed, later(), start);
    assert_eq!(
        called(&commands).iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["Left", "East"]
    );
    let tasks = execution.open_tasks(&changed);
    assert!(tasks.iter().all(|task| task.task.visit.0 > visits), "visits are numbered on");
    let value = execution.inspect(&changed);
    assert_eq!(value["threads"][0]["variables"], json!({ "n": 3 }));
}
