//! Executions taken out of their house and replayed.

use serde_json::{Value, json};
use stepbus_asl::recording::{About, Recording, RecordingError};
use stepbus_asl::{SEMANTICS, WorkflowType};

use crate::support::{Answers, program, run, start};

const WORKFLOW: &str = r#"
QueryLanguage: JSONata
StartAt: First
States:
  First: { Type: Pass, Assign: { n: 1 }, Next: Ask }
  Ask:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Retry: [{ ErrorEquals: [Busy], IntervalSeconds: 2 }]
    Assign: { n: "{% $n + $states.result %}" }
    Next: Last
  Last: { Type: Pass, Output: "{% $n %}", End: true }
"#;

fn recording() -> Recording {
    let answers = json!({ "Ask": [{ "error": "Busy" }, 41] });
    let ran = run(&program(WORKFLOW), start(json!({ "id": 7 })), &mut Answers::of(&answers));
    let about = About {
        id: "ex-1".to_owned(),
        name: "e".to_owned(),
        workflow: "m".to_owned(),
        workflow_type: WorkflowType::Standard,
    };
    Recording::new(about, SEMANTICS, WORKFLOW.to_owned(), Vec::new(), ran.journal)
}

fn at(recording: &Recording, until: Option<u64>) -> Value {
    recording.replay(until).unwrap().to_value()
}

#[test]
fn two_replays_give_the_same_bytes() {
    let recording = recording();
    let text = serde_json::to_string(&recording).unwrap();
    let read = Recording::parse(&text).unwrap();
    assert_eq!(read, recording);
    let events = at(&recording, None)["events"].as_u64().unwrap();
    for until in 1..=events {
        let one = at(&recording, Some(until));
        assert_eq!(at(&read, Some(until)).to_string(), one.to_string());
        assert_eq!(one["event"], until);
        assert_eq!(one["history"].as_array().unwrap().len() as u64, until);
    }
    let end = at(&recording, None);
    assert_eq!((&end["status"], &end["output"]), (&json!("SUCCEEDED"), &json!(42)));
    assert_eq!(at(&recording, Some(events)).to_string(), end.to_string());
}

#[test]
fn a_moment_has_state_variables_and_input() {
    let recording = recording();
    let history = at(&recording, None)["history"].clone();
    let event = |kind: &str| {
        let found = history.as_array().unwrap().iter().find(|event| event["type"] == kind);
        found.unwrap()["id"].as_u64()
    };
    let first = at(&recording, event("PassStateExited"));
    assert_eq!(first["status"], "RUNNING");
    let thread = &first["threads"][0];
    assert_eq!((&thread["state"], &thread["activity"]), (&json!("Ask"), &json!("ready")));
    assert_eq!(thread["variables"], json!({ "n": 1 }));
    assert_eq!((&thread["input"], &first["input"]), (&json!({ "id": 7 }), &json!({ "id": 7 })));
    let failed = at(&recording, event("TaskFailed"));
    assert_eq!(failed["threads"][0]["activity"], "retrying");
    assert_eq!(failed["journalEntries"], 2);
}

#[track_caller]
fn check_refused(text: &str, expected: &str) {
    match Recording::parse(text).and_then(|recording| recording.replay(None)) {
        Ok(_) => panic!("replayed: {text:.80}"),
        Err(error) => assert_eq!(error.to_string(), expected),
    }
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let text = serde_json::to_string(&recording()).unwrap();
    let end = text.len() / 2;
    let column = format!(
        "the file is no JSON, or it is cut off: EOF while parsing a string at line 1 column {end}"
    );
    check_refused(&text[..end], &column);
    check_refused(
        r#"{"StartAt": "A", "States": {}}"#,
        "the file is no export of an execution: it lacks `format: stepbus-execution`; `stepbus executions export` makes one",
    );
    check_refused(
        &text.replace("\"version\":1", "\"version\":2"),
        "the file has version 2; this program reads version 1",
    );
    check_refused(
        &text.replace("\"semantics\":1", "\"semantics\":9"),
        "the execution began under semantics 9; this program replays 1",
    );
    check_refused(
        &text.replace("\"journal\":", "\"diary\":"),
        "the file is damaged: unknown field `diary`, expected one of `format`, `version`, `semantics`, `execution`, `definition`, `within`, `journal`, `digest`",
    );
    check_refused(
        &text.replace("\"output\":41", "\"output\":40"),
        "the file is damaged: definition and journal do not have the digest it names",
    );
}

#[test]
fn a_journal_that_does_not_fit_is_told() {
    let about = About {
        id: "ex-1".to_owned(),
        name: "e".to_owned(),
        workflow: "m".to_owned(),
        workflow_type: WorkflowType::Standard,
    };
    let answers = json!({ "Ask": [{ "error": "Busy" }, 41] });
    let journal = run(&program(WORKFLOW), start(json!({})), &mut Answers::of(&answers)).journal;
    let recorded = |journal: Vec<_>| {
        let recording =
            Recording::new(about.clone(), SEMANTICS, WORKFLOW.to_owned(), Vec::new(), journal);
        recording.replay(None).map(|_| ()).unwrap_err()
    };
    let mut gap = journal.clone();
    gap.remove(2);
    assert_eq!(
        recorded(gap).to_string(),
        "the file is damaged: journal entry 2 does not follow from those before it"
    );
    let headless = journal[1..].to_vec();
    assert_eq!(
        recorded(headless).to_string(),
        "the file is damaged: the journal does not begin with a start"
    );
    let whole = recording().replay(Some(99)).map(|_| ()).unwrap_err();
    assert!(matches!(whole, RecordingError::NoSuchEvent { asked: 99, .. }), "{whole}");
}
