use serde_json::json;

use crate::support::check;

#[test]
fn data_flows_through_every_path() {
    check(
        r#"
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    InputPath: $.order
    Parameters: { "sku.$": $.sku, fixed: 1, "by.$": $$.Execution.Name }
    ResultSelector: { "price.$": $.body.price }
    ResultPath: $.found
    OutputPath: $.found
    Assign: { "seen.$": $.price }
    Next: After
  After: { Type: Pass, Parameters: { "p.$": $.price, "v.$": $seen, "f.$": "States.Format('{}!', $seen)" }, End: true }
"#,
        json!({"order": {"sku": "A"}, "other": 1}),
        json!({"Call": {"body": {"price": 12}}}),
        json!({"p": 12, "v": 12, "f": "12!"}),
    );
}

#[test]
fn a_result_can_be_put_beside_the_input_or_dropped() {
    let definition = |path: &str| {
        format!(
            "StartAt: P\nStates:\n  P: {{ Type: Pass, Result: {{ a: 1 }}, ResultPath: {path}, End: true }}"
        )
    };
    check(&definition("$.x.y"), json!({"k": 0}), json!({}), json!({"k": 0, "x": {"y": {"a": 1}}}));
    check(&definition("null"), json!({"k": 0}), json!({}), json!({"k": 0}));
    check(&definition("$"), json!({"k": 0}), json!({}), json!({"a": 1}));
}

#[test]
fn a_parameter_that_leads_nowhere_ends_the_execution() {
    check(
        r#"
StartAt: P
States:
  P: { Type: Pass, Parameters: { "x.$": $.none }, End: true }
"#,
        json!({"a": 1}),
        json!({}),
        json!({
            "status": "FAILED",
            "error": "States.Runtime",
            "cause": "An error occurred while executing the state 'P' (entered at the event id #2). The JSONPath '$.none' specified for the field 'x.$' could not be found in the input '{\"a\":1}'",
        }),
    );
}

/// Which rule of a Choice holds.
fn chooses(rule: &str, input: serde_json::Value, expected: bool) {
    let definition = format!(
        "StartAt: C\nStates:\n  C: {{ Type: Choice, Choices: [{{ {rule}, Next: Y }}], Default: N }}\n  Y: {{ Type: Pass, Result: true, End: true }}\n  N: {{ Type: Pass, Result: false, End: true }}"
    );
    check(&definition, input, json!({}), json!(expected));
}

#[test]
fn choice_operators() {
    let table = [
        ("Variable: $.a, StringEquals: x", json!({"a": "x"}), true),
        ("Variable: $.a, StringEqualsPath: $.b", json!({"a": "x", "b": "y"}), false),
        ("Variable: $.a, StringLessThan: b", json!({"a": "a"}), true),
        ("Variable: $.a, StringMatches: 'lo*-\\*.txt'", json!({"a": "log-*.txt"}), true),
        ("Variable: $.a, StringMatches: 'lo*-\\*.txt'", json!({"a": "log-1.txt"}), false),
        ("Variable: $.a, NumericGreaterThanEquals: 2", json!({"a": 2.0}), true),
        ("Variable: $.a, NumericEquals: 2", json!({"a": "2"}), false),
        ("Variable: $.a, BooleanEquals: false", json!({"a": false}), true),
        (
            "Variable: $.a, TimestampLessThan: '2024-01-01T00:00:00Z'",
            json!({"a": "2023-12-31T23:00:00-02:00"}),
            false,
        ),
        ("Variable: $.a, IsPresent: false", json!({}), true),
        ("Variable: $.a, IsNull: true", json!({"a": null}), true),
        ("Variable: $.a, IsTimestamp: true", json!({"a": "2024-01-01T00:00:00Z"}), true),
        ("Variable: $.a, IsNumeric: false", json!({"a": 1}), false),
        ("Not: { Variable: $.a, IsString: true }", json!({"a": 1}), true),
        (
            "And: [{ Variable: $.a, IsPresent: true }, { Variable: $.a, NumericLessThan: 3 }]",
            json!({"a": 2}),
            true,
        ),
        (
            "Or: [{ Variable: $.a, NumericEquals: 1 }, { Variable: $.a, NumericEquals: 2 }]",
            json!({"a": 3}),
            false,
        ),
    ];
    for (rule, input, expected) in table {
        chooses(rule, input, expected);
    }
}

#[test]
fn a_jsonpath_machine_may_have_jsonata_states() {
    check(
        r#"
StartAt: A
States:
  A: { Type: Pass, Assign: { "n.$": $.n }, Next: B }
  B: { Type: Pass, QueryLanguage: JSONata, Output: "{% $n * 2 %}", End: true }
"#,
        json!({"n": 4}),
        json!({}),
        json!(8),
    );
}

#[test]
fn catch_puts_the_error_beside_the_input() {
    check(
        r#"
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Catch: [{ ErrorEquals: [States.ALL], ResultPath: $.error, Next: After }]
    End: true
  After: { Type: Pass, End: true }
"#,
        json!({"id": 1}),
        json!({"Call": {"error": "Down", "cause": "why"}}),
        json!({"id": 1, "error": {"Error": "Down", "Cause": "why"}}),
    );
}
