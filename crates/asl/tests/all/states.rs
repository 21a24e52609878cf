use serde_json::json;

use crate::support::check;

#[test]
fn pass_with_output_and_variables() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: First
States:
  First:
    Type: Pass
    Assign: { total: "{% $sum($states.input.prices) %}", currency: EUR }
    Output: { count: "{% $count($states.input.prices) %}" }
    Next: Second
  Second:
    Type: Pass
    Output: "{% $string($total) & ' ' & $currency & ' for ' & $states.input.count %}"
    End: true
"#,
        json!({"prices": [1, 2, 3]}),
        json!({}),
        json!("6 EUR for 3"),
    );
}

#[test]
fn assign_and_output_see_the_state_as_it_was_entered() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: One
States:
  One: { Type: Pass, Assign: { n: 1 }, Next: Two }
  Two: { Type: Pass, Assign: { n: "{% $n + 1 %}" }, Output: "{% $n %}", Next: Three }
  Three: { Type: Pass, Output: ["{% $states.input %}", "{% $n %}"], End: true }
"#,
        json!({}),
        json!({}),
        json!([1, 2]),
    );
}

#[test]
fn choice_takes_the_first_rule_that_holds() {
    let definition = r#"
QueryLanguage: JSONata
StartAt: Which
States:
  Which:
    Type: Choice
    Choices:
      - { Condition: "{% $states.input.n > 10 %}", Next: Many, Assign: { size: big } }
      - { Condition: "{% $states.input.n > 1 %}", Next: Many, Assign: { size: small }, Output: few }
    Default: Other
    Assign: { size: none }
  Many: { Type: Pass, Output: ["{% $states.input %}", "{% $size %}"], End: true }
  Other: { Type: Succeed, Output: "{% $size %}" }
"#;
    check(definition, json!({"n": 11}), json!({}), json!([{"n": 11}, "big"]));
    check(definition, json!({"n": 2}), json!({}), json!(["few", "small"]));
    check(definition, json!({"n": 0}), json!({}), json!("none"));
}

#[test]
fn choice_without_a_match_fails() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Which
States:
  Which: { Type: Choice, Choices: [{ Condition: "{% false %}", Next: End }] }
  End: { Type: Succeed }
"#,
        json!({}),
        json!({}),
        json!({
            "status": "FAILED",
            "error": "States.NoChoiceMatched",
            "cause": "An error occurred while executing the state 'Which' (entered at the event id #2). Failed to transition out of the state. The state does not point to a next state.",
        }),
    );
}

#[test]
fn choice_conditions_must_be_boolean() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Which
States:
  Which: { Type: Choice, Choices: [{ Condition: "{% $states.input %}", Next: End }] }
  End: { Type: Succeed }
"#,
        json!("yes"),
        json!({}),
        json!({
            "status": "FAILED",
            "error": "States.QueryEvaluationError",
            "cause": "An error occurred while executing the state 'Which' (entered at the event id #2). The JSONata expression '$states.input' specified for the field 'Choices[0]/Condition' returned an unexpected result type. Expected 'boolean', but was 'string' instead.",
        }),
    );
}

#[test]
fn wait_for_seconds_and_until_a_moment() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Some
States:
  Some: { Type: Wait, Seconds: "{% $states.input.seconds %}", Next: Until }
  Until: { Type: Wait, Timestamp: "{% $states.input.until %}", Output: done, End: true }
"#,
        json!({"seconds": 90, "until": "2023-11-14T22:20:20Z"}),
        json!({}),
        json!("done"),
    );
    assert_eq!(ran.seconds, 420);
}

#[test]
fn wait_for_what_has_passed_sets_no_timer() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Until
States:
  Until: { Type: Wait, Timestamp: "2001-01-01T00:00:00Z", End: true }
"#,
        json!(1),
        json!({}),
        json!(1),
    );
    assert_eq!(ran.journal.len(), 1);
}

#[test]
fn fail_with_computed_error_and_cause() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: No
States:
  No: { Type: Fail, Error: "{% 'Bad' & $states.input.what %}", Cause: for a reason }
"#,
        json!({"what": "Price"}),
        json!({}),
        json!({"status": "FAILED", "error": "BadPrice", "cause": "for a reason"}),
    );
}

#[test]
fn task_arguments_result_and_context() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Get
States:
  Get:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { ApiEndpoint: "{% 'http://mdm/' & $states.input.id %}", Method: GET }
    Output: { body: "{% $states.result.ResponseBody %}", by: "{% $states.context.Execution.Name %}" }
    End: true
"#,
        json!({"id": 7}),
        json!({"Get": {"ResponseBody": {"name": "Bike"}, "StatusCode": 200}}),
        json!({"body": {"name": "Bike"}, "by": "e"}),
    );
    let call = &ran.calls[0];
    assert_eq!(&*call.resource, "arn:aws:states:::http:invoke");
    assert_eq!(*call.arguments, json!({"ApiEndpoint": "http://mdm/7", "Method": "GET"}));
    assert_eq!(call.token, None);
}

#[test]
fn a_task_token_is_the_one_in_the_context() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: arn:aws:states:::sqs:sendMessage.waitForTaskToken
    Arguments: { MessageBody: "{% $states.context.Task.Token %}" }
    Output: "{% $states.result %}"
    End: true
"#,
        json!({}),
        json!({"Ask": "answered"}),
        json!("answered"),
    );
    let call = &ran.calls[0];
    assert_eq!(&*call.resource, "arn:aws:states:::sqs:sendMessage");
    assert_eq!(call.arguments["MessageBody"].as_str(), call.token.as_deref());
}

#[test]
fn a_loop_without_end_is_stopped() {
    let outcome = check_cause(
        r#"
QueryLanguage: JSONata
StartAt: Again
States:
  Again: { Type: Choice, Choices: [{ Condition: "{% true %}", Next: Again }], Default: Done }
  Done: { Type: Succeed }
"#,
    );
    assert!(outcome.contains("It runs in a loop."), "{outcome}");
}

fn check_cause(definition: &str) -> String {
    use crate::support::{Answers, program, run, shown, start};
    let mut start = start(json!({}));
    start.bounds.steps_per_input = 1_000;
    let ran = run(&program(definition), start, &mut Answers::default());
    shown(ran.outcome.as_ref())["cause"].as_str().unwrap_or_default().to_owned()
}
