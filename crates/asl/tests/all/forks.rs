use serde_json::json;

use crate::support::check;

const PARALLEL: &str = r#"
QueryLanguage: JSONata
StartAt: Both
States:
  Both:
    Type: Parallel
    Arguments: { id: "{% $states.input %}" }
    Branches:
      - StartAt: A
        States:
          A: { Type: Task, Resource: "arn:aws:states:::http:invoke", Output: "{% $states.result %}", End: true }
      - StartAt: B
        States:
          B: { Type: Pass, Assign: { inner: 1 }, Output: "{% $states.input.id + 1 %}", Next: C }
          C: { Type: Wait, Seconds: 5, Output: "{% $states.input + $inner %}", End: true }
    Output: "{% $append($states.result, 'end') %}"
    Catch: [{ ErrorEquals: [Down], Next: Caught }]
    End: true
  Caught: { Type: Succeed, Output: "{% $states.input.Error %}" }
"#;

#[test]
fn branches_give_an_array() {
    check(PARALLEL, json!(1), json!({"A": {"a": 1}}), json!([{"a": 1}, 3, "end"]));
}

#[test]
fn a_branch_that_fails_stops_the_others() {
    let ran = check(PARALLEL, json!(1), json!({"A": {"error": "Down"}}), json!("Down"));
    assert_eq!(ran.seconds, 0);
}

#[test]
fn iterations_run_within_their_bound() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: "{% $states.input.ids %}"
    MaxConcurrency: 2
    ItemSelector: { id: "{% $states.context.Map.Item.Value %}", at: "{% $states.context.Map.Item.Index %}" }
    ItemProcessor:
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: "{% $states.input %}"
          Output: "{% $states.result.id * 10 + $states.context.Map.Item.Index %}"
          End: true
    End: true
"#,
        json!({"ids": [7, 8, 9]}),
        json!({}),
        json!([70, 81, 92]),
    );
    assert_eq!(*ran.calls[2].arguments, json!({"id": 9, "at": 2}));
}

#[test]
fn a_map_over_nothing_gives_nothing() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    ItemProcessor: { StartAt: P, States: { P: { Type: Pass, End: true } } }
    End: true
"#,
        json!([]),
        json!({}),
        json!([]),
    );
}

#[test]
fn a_fork_is_retried_as_a_whole() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: [1, 2]
    ItemProcessor:
      StartAt: Get
      States:
        Get: { Type: Task, Resource: "arn:aws:states:::http:invoke", Output: "{% $states.result %}", End: true }
    Retry: [{ ErrorEquals: [Down], IntervalSeconds: 4 }]
    End: true
"#,
        json!({}),
        json!({"Get": ["a", {"error": "Down"}, "b"]}),
        json!(["b", "b"]),
    );
    assert_eq!(ran.seconds, 4);
}

#[test]
fn variables_of_outer_states_are_seen_inside() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Set
States:
  Set: { Type: Pass, Assign: { rate: 2 }, Next: Each }
  Each:
    Type: Map
    Items: [1, 2]
    ItemProcessor:
      StartAt: Own
      States:
        Own: { Type: Pass, Assign: { twice: "{% $states.input * $rate %}" }, Next: Sum }
        Sum: { Type: Pass, Output: "{% $twice + $rate %}", End: true }
    End: true
"#,
        json!({}),
        json!({}),
        json!([4, 6]),
    );
}

#[test]
fn a_selector_that_fails_midway_leaves_nothing_behind() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: [1, 2, 3]
    ItemSelector: "{% $states.context.Map.Item.Index = 2 ? $error('no') : $states.context.Map.Item.Value %}"
    ItemProcessor: { StartAt: P, States: { P: { Type: Pass, End: true } } }
    Catch: [{ ErrorEquals: [States.QueryEvaluationError], Next: Both, Output: {} }]
    End: true
  Both:
    Type: Parallel
    Branches:
      - { StartAt: A, States: { A: { Type: Pass, Output: a, End: true } } }
      - { StartAt: B, States: { B: { Type: Pass, Output: b, End: true } } }
    End: true
"#,
        json!({}),
        json!({}),
        json!(["a", "b"]),
    );
}
