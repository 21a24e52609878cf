//! Journals kept from each version of the semantics: what they tell must never change.

use expect_test::expect;
use serde_json::{Value, json};
use stepbus_asl::{Input, replay};
use stepbus_model::Timestamp;

use crate::support::{Answers, program, run, shown, start};

const SEMANTICS_1: &str = include_str!("journals/semantics-1.json");

const WORKFLOW: &str = r#"
QueryLanguage: JSONata
StartAt: Begin
TimeoutSeconds: 900
States:
  Begin:
    Type: Pass
    Assign: { run: "{% $uuid() %}", dice: "{% $random() %}" }
    Next: Each
  Each:
    Type: Map
    Items: "{% $states.input.ids %}"
    MaxConcurrency: 2
    ItemProcessor:
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          TimeoutSeconds: 5
          Retry: [{ ErrorEquals: [Busy], IntervalSeconds: 2, JitterStrategy: FULL }]
          Catch: [{ ErrorEquals: [States.ALL], Next: Lost, Output: "{% $states.errorOutput.Error %}" }]
          Output: "{% $states.result.name & ' ' & $string($round($dice, 6)) %}"
          End: true
        Lost: { Type: Pass, End: true }
    Next: Both
  Both:
    Type: Parallel
    Branches:
      - { StartAt: Rest, States: { Rest: { Type: Wait, Seconds: 3, Output: rested, End: true } } }
      - StartAt: Which
        States:
          Which:
            Type: Choice
            QueryLanguage: JSONata
            Choices: [{ Condition: "{% $count($states.input) > 2 %}", Next: Many }]
            Default: Few
          Many: { Type: Pass, Output: many, End: true }
          Few: { Type: Pass, Output: few, End: true }
    Output: { both: "{% $states.result %}", run: "{% $run %}" }
    End: true
"#;

fn kept(text: &str) -> (Vec<(Timestamp, Input)>, Value, Vec<Value>) {
    let kept: Value = serde_json::from_str(text).unwrap();
    let journal = serde_json::from_value(kept["journal"].clone()).unwrap();
    let history = kept["history"].as_array().unwrap().clone();
    (journal, kept["end"].clone(), history)
}

fn told(journal: &[(Timestamp, Input)]) -> Vec<Value> {
    let events = stepbus_asl::history(&program(WORKFLOW), journal.iter().cloned());
    events.iter().map(stepbus_asl::HistoryEvent::to_value).collect()
}

#[test]
fn a_journal_of_semantics_1_tells_what_it_told() {
    let (journal, end, history) = kept(SEMANTICS_1);
    let execution = replay(&program(WORKFLOW), journal.iter().cloned()).unwrap();
    assert_eq!(shown(execution.outcome()), end);
    assert_eq!(told(&journal), history);
    expect!["(1, 44)"].assert_eq(&format!("{:?}", (execution.semantics(), history.len())));
}

/// Keeps a journal for a version of the semantics: `cargo test -p stepbus-asl -- --ignored`.
#[test]
#[ignore = "writes the file that the other test reads"]
fn keep_a_journal() {
    let answers = json!({"Get": [{"name": "Bike"}, {"error": "Busy"}, null, {"name": "Helmet"}]});
    let input = json!({"ids": [1, 2, 3]});
    let ran = run(&program(WORKFLOW), start(input), &mut Answers::of(&answers));
    let kept = json!({
        "end": shown(ran.outcome.as_ref()),
        "history": told(&ran.journal),
        "journal": serde_json::to_value(&ran.journal).unwrap(),
    });
    let path = format!(
        "{}/tests/all/journals/semantics-{}.json",
        env!("CARGO_MANIFEST_DIR"),
        stepbus_asl::SEMANTICS
    );
    std::fs::write(path, serde_json::to_string_pretty(&kept).unwrap()).unwrap();
}
