//! Variables: when they are assigned, who sees them, and their bounds.

use serde_json::{Value, json};

use crate::support::{Answers, check, program, run, shown, start};

#[test]
fn all_are_assigned_at_once_from_the_old_values() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { x: 1, y: 2 }, Next: B }
  B: { Type: Pass, Assign: { x: "{% $y %}", y: "{% $x %}" }, Output: "{% [$x, $y] %}", Next: C }
  C: { Type: Pass, Output: "{% [$states.input, $x, $y] %}", End: true }
"#,
        json!({}),
        json!({}),
        json!([1, 2, 2, 1]),
    );
}

#[test]
fn every_kind_of_state_assigns() {
    check(
        r#"
StartAt: W
States:
  W: { Type: Wait, Seconds: 0, Assign: { "w.$": $.n }, Next: C }
  C:
    Type: Choice
    Choices: [{ Variable: $w, NumericEquals: 1, Assign: { "c.$": "States.MathAdd($w, 1)" }, Next: P }]
    Assign: { c: none }
    Default: P
  P:
    Type: Parallel
    Branches: [{ StartAt: B, States: { B: { Type: Pass, Parameters: { "in.$": $c }, End: true } } }]
    ResultSelector: { "got.$": "$[0].in" }
    Assign: { "p.$": $.got }
    Next: M
  M:
    Type: Map
    ItemsPath: $.list
    InputPath: $$.Execution.Input
    ItemProcessor: { StartAt: I, States: { I: { Type: Pass, End: true } } }
    Assign: { "m.$": $, "fixed": [1] }
    Next: T
  T: { Type: Task, Resource: "arn:aws:states:::http:invoke", Assign: { "t.$": $.r }, Next: E }
  E: { Type: Pass, Parameters: { "w.$": $w, "c.$": $c, "p.$": $p, "m.$": "$m[1]", "t.$": $t, "f.$": "$fixed[0]" }, End: true }
"#,
        json!({"n": 1, "list": [7, 8]}),
        json!({"T": {"r": "R"}}),
        json!({"w": 1, "c": 2, "p": 2, "m": 8, "t": "R", "f": 1}),
    );
}

#[test]
fn branches_keep_theirs_to_themselves() {
    let definition = r#"
QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { outer: 1 }, Next: P }
  P:
    Type: Parallel
    Branches:
      - StartAt: B
        States:
          B: { Type: Pass, Assign: { own: "{% $outer + 1 %}" }, Next: C }
          C: { Type: Pass, Output: "{% $own %}", End: true }
      - StartAt: D
        States:
          D: { Type: Pass, Output: "{% $exists($own) %}", End: true }
    Next: E
  E: { Type: Pass, Output: { r: "{% $states.input %}", seen: "{% $exists($own) %}" }, End: true }
"#;
    check(definition, json!({}), json!({}), json!({"r": [2, false], "seen": false}));
}

#[test]
fn a_failed_state_assigns_nothing() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { x: old }, Next: B }
  B:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Assign: { x: new }
    Catch: [{ ErrorEquals: [States.ALL], Next: C }]
    Next: C
  C: { Type: Pass, Output: "{% $x %}", End: true }
"#,
        json!({}),
        json!({"B": {"error": "Down"}}),
        json!("old"),
    );
}

/// Runs with bounds of 100 bytes an Assign and 250 in all.
fn bounded(definition: &str, input: Value) -> Value {
    let mut start = start(input);
    start.bounds.variable_bytes = 100;
    start.bounds.variables_bytes = 250;
    let ran = run(&program(definition), start, &mut Answers::default());
    shown(ran.outcome.as_ref())
}

const FILL: &str = r#"
QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { a: "{% $states.input %}" }, Next: B }
  B: { Type: Pass, Assign: { b: "{% $states.input %}" }, Next: C }
  C: { Type: Pass, Assign: { a: "{% $states.input %}" }, Next: D }
  D: { Type: Pass, Assign: { c: "{% $states.input %}" }, Next: E }
  E: { Type: Succeed, Output: done }
"#;

#[test]
fn one_assign_is_bounded_and_so_are_all() {
    assert_eq!(bounded(FILL, json!("x".repeat(60))), json!("done"));
    let over = |cause: &str| json!({"status": "FAILED", "error": "States.DataLimitExceeded", "cause": cause});
    assert_eq!(
        bounded(FILL, json!("x".repeat(99))),
        over(
            "The variables that the state 'A' assigns together exceed 100 bytes (limit variable_bytes)."
        )
    );
    assert_eq!(
        bounded(FILL, json!("x".repeat(90))),
        over("The variables of the execution together exceed 250 bytes (limit variables_bytes).")
    );
}

/// What a branch or an iteration assigned is gone with it, also when it fails and is tried again.
#[test]
fn what_is_gone_counts_no_more() {
    let definition = r#"
QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { a: "{% $states.input %}" }, Next: Each }
  Each:
    Type: Map
    Items: [1, 2, 3, 4]
    MaxConcurrency: 1
    ItemProcessor:
      StartAt: B
      States: { B: { Type: Pass, Assign: { b: "{% $a %}" }, End: true } }
    Output: "{% $states.input %}"
    Next: Both
  Both:
    Type: Parallel
    Branches:
      - StartAt: C
        States:
          C: { Type: Pass, Assign: { c: "{% $a %}" }, Next: D }
          D: { Type: Fail, Error: Down }
    Retry: [{ ErrorEquals: [Down], MaxAttempts: 3 }]
    Catch: [{ ErrorEquals: [Down], Next: E, Output: "{% $a %}" }]
    End: true
  E: { Type: Pass, Assign: { e: "{% $a %}" }, Next: F }
  F: { Type: Succeed, Output: done }
"#;
    assert_eq!(bounded(definition, json!("x".repeat(90))), json!("done"));
}
