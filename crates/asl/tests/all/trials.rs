//! Workflows run by themselves, with answers in place of the world.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_asl::Failure;
use stepbus_asl::trial::{self, Answer, Call, CallKind, Ran, Reply};

use crate::support::{BEGIN, program, shown, start};

fn run(definition: &str, input: Value, world: &mut dyn FnMut(&Call<'_>) -> Option<Answer>) -> Ran {
    trial::run(&program(definition), start(input), BEGIN, world)
}

fn result(value: Value) -> Option<Answer> {
    Some(Answer { reply: Reply::Result(Arc::new(value)), after: Duration::ZERO })
}

fn error(name: &str) -> Option<Answer> {
    let reply = Reply::Error(Failure { error: Some(name.to_owned()), cause: None });
    Some(Answer { reply, after: Duration::ZERO })
}

const RETRIED: &str = r#"
QueryLanguage: JSONata
StartAt: Rest
States:
  Rest: { Type: Wait, Seconds: 3600, Assign: { rested: true }, Next: Ask }
  Ask:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    TimeoutSeconds: 10
    Retry: [{ ErrorEquals: [States.ALL], IntervalSeconds: 60, MaxAttempts: 3, BackoffRate: 2 }]
    Arguments: { id: "{% $states.input.id %}" }
    Assign: { answer: "{% $states.result %}" }
    End: true
"#;

#[test]
fn waits_and_retries_take_no_time() {
    let ran = run(RETRIED, json!({ "id": 7 }), &mut |call| match call.number {
        0 => error("Busy"),
        1 => Some(Answer { reply: Reply::Silence, after: Duration::ZERO }),
        _ => result(json!({ "answer": 42 })),
    });
    assert_eq!(shown(ran.outcome.as_ref()), json!({ "answer": 42 }));
    // An hour, a minute, the timeout, two minutes.
    assert_eq!(ran.took.as_secs(), 3600 + 60 + 10 + 120);
    assert_eq!(ran.path, ["Rest", "Ask"]);
    assert_eq!(json!(ran.assigned), json!({ "rested": true, "answer": { "answer": 42 } }));
    assert_eq!(ran.calls.len(), 3);
    assert_eq!(*ran.calls[0].arguments, json!({ "id": 7 }));
}

#[test]
fn an_answer_may_be_late() {
    let ran = run(RETRIED, json!({ "id": 7 }), &mut |call| {
        let after = Duration::from_secs(if call.number == 0 { 11 } else { 9 });
        Some(Answer { reply: Reply::Result(Arc::new(json!(1))), after })
    });
    assert_eq!(ran.took.as_secs(), 3600 + 10 + 60 + 9);
    assert_eq!(ran.calls.len(), 2);
}

#[test]
fn a_call_without_an_answer_breaks_off() {
    let ran = run(RETRIED, json!({ "id": 7 }), &mut |_| None);
    assert_eq!(ran.unanswered.unwrap(), "there is no mock for call 1 of state 'Ask'");
    assert!(ran.outcome.is_none());
}

fn fan(mode: &str) -> String {
    format!(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: "{{% $states.input.items %}}"
    ItemSelector: {{ id: "{{% $states.context.Map.Item.Value %}}" }}
    ItemProcessor:
      ProcessorConfig: {{ Mode: {mode} }}
      StartAt: Ask
      States:
        Ask:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Retry: [{{ ErrorEquals: [Busy] }}]
          End: true
    End: true
"#
    )
}

#[test]
fn items_are_counted_each_by_itself() {
    for (mode, config) in [("INLINE", ""), ("DISTRIBUTED", ", ExecutionType: EXPRESS")] {
        let definition = fan(&format!("{mode}{config}"));
        let mut seen = Vec::new();
        let ran = run(&definition, json!({ "items": ["a", "b", "c"] }), &mut |call| {
            if call.kind == CallKind::Map {
                return None;
            }
            seen.push((call.item.unwrap(), call.number, call.arguments["id"].clone()));
            if call.item == Some(1) && call.number == 0 {
                return error("Busy");
            }
            result(call.arguments["id"].clone())
        });
        assert_eq!(shown(ran.outcome.as_ref()), json!(["a", "b", "c"]), "{mode}");
        seen.sort_by_key(|(item, number, _)| (*item, *number));
        let expected = [(0, 0, "a"), (1, 0, "b"), (1, 1, "b"), (2, 0, "c")];
        assert_eq!(seen, expected.map(|(item, number, id)| (item, number, json!(id))), "{mode}");
        assert_eq!(ran.path, ["Each", "Ask", "Ask", "Ask"], "{mode}");
        assert_eq!(ran.took.as_secs(), 1, "{mode}");
    }
}

#[test]
fn a_distributed_map_may_be_answered_as_a_whole() {
    let definition = fan("DISTRIBUTED, ExecutionType: EXPRESS");
    let ran = run(&definition, json!({ "items": [1] }), &mut |_| error("States.Broken"));
    assert_eq!(shown(ran.outcome.as_ref())["error"], "States.Broken");
    assert_eq!(ran.path, ["Each"]);
    let ran = run(&definition, json!({ "items": [1] }), &mut |call| match call.kind {
        CallKind::Task => error("Boom"),
        _ => None,
    });
    let shown = shown(ran.outcome.as_ref());
    assert_eq!(shown["error"], "States.ExceedToleratedFailureThreshold");
}
