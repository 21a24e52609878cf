//! The language's odd corners in JSONata mode, a small definition each.

use serde_json::{Value, json};

use crate::support::check;

/// Runs one state `S`, written as the fields of a flow mapping.
#[track_caller]
fn state(fields: &str, input: Value, expected: Value) {
    answered(fields, input, json!({}), expected);
}

#[track_caller]
fn answered(fields: &str, input: Value, answers: Value, expected: Value) {
    let end = if fields.contains("Type: Fail") || fields.contains("Type: Succeed") {
        ""
    } else {
        ", End: true"
    };
    let definition =
        format!("QueryLanguage: JSONata\nStartAt: S\nStates:\n  S: {{ {fields}{end} }}\n");
    check(&definition, input, answers, expected);
}

fn query(cause: &str) -> Value {
    let place = "An error occurred while executing the state 'S' (entered at the event id #2). ";
    json!({
        "status": "FAILED",
        "error": "States.QueryEvaluationError",
        "cause": format!("{place}{cause}"),
    })
}

#[track_caller]
fn output(expression: &str, expected: Value) {
    let fields = format!("Type: Pass, Output: \"{{% {expression} %}}\"");
    let input = json!({"l": [3, 1, 2], "s": "text", "n": null, "o": {"k": [1]}});
    state(&fields, input, expected);
}

#[test]
fn functions_of_step_functions() {
    output("$partition($states.input.l, 2)", json!([[3, 1], [2]]));
    output("$range(0, 10, 5)", json!([0, 5, 10]));
    output("$range(3, 1, -1)", json!([3, 2, 1]));
    output("$hash('input data', 'SHA-1')", json!("aaff4a450a104cd177d28d18d74485e8cae074b7"));
    output("$random(1) = $random(1)", json!(true));
    output("$random() < 1", json!(true));
    output("$length($uuid())", json!(36));
    output("$parse('[1, {}]')", json!([1, {}]));
    output("$type($now()) & $type($millis())", json!("stringnumber"));
    output("$fromMillis($toMillis('2024-01-01T00:00:00Z'))", json!("2024-01-01T00:00:00.000Z"));
}

#[test]
fn what_step_functions_leaves_out() {
    let fields = r#"Type: Pass, Output: "{% $eval('1') %}""#;
    state(
        fields,
        json!({}),
        query(
            "The JSONata expression '$eval('1')' specified for the field 'Output' threw an error during evaluation. T1006: Attempted to invoke a non-function",
        ),
    );
}

#[test]
fn values_of_every_kind() {
    for (expression, expected) in [
        ("null", json!(null)),
        ("[]", json!([])),
        ("{}", json!({})),
        ("$states.input.n", json!(null)),
        ("[$states.input.none]", json!([])),
        ("$states.input.l[0]", json!(3)),
        ("$states.input.l[$ > 5]", json!("none")),
        ("$states.input.l[$ = 2][]", json!([2])),
        ("$sort($states.input.l)", json!([1, 2, 3])),
        ("1/3 > 0.33 and 1/3 < 0.34", json!(true)),
        ("$states.input.s ~> $uppercase", json!("TEXT")),
        ("$states.input.o.k", json!([1])),
    ] {
        match expected == json!("none") {
            true => state(
                &format!("Type: Pass, Output: \"{{% {expression} %}}\""),
                json!({"l": [3, 1, 2]}),
                query(&format!(
                    "The JSONata expression '{expression}' specified for the field 'Output' returned nothing (undefined)."
                )),
            ),
            false => output(expression, expected),
        }
    }
}

#[test]
fn only_whole_strings_are_expressions() {
    state(
        r#"Type: Pass, Output: { c: "{%1%}", d: ["{% [1] %}"], e: "a {% 1 %} b", f: "$states.input" }"#,
        json!({}),
        json!({"c": 1, "d": [[1]], "e": "a {% 1 %} b", "f": "$states.input"}),
    );
}

#[test]
fn where_results_and_errors_are_seen() {
    let task = r#"Type: Task, Resource: "arn:aws:states:::http:invoke", Assign: { r: "{% $states.result.a %}" }, Output: { r: "{% $states.result.a %}", i: "{% $states.input.i %}", c: "{% $states.context.State.RetryCount %}" }"#;
    answered(task, json!({"i": 1}), json!({"S": {"a": 2}}), json!({"r": 2, "i": 1, "c": 0}));
    let plain = r#"Type: Task, Resource: "arn:aws:states:::http:invoke""#;
    answered(plain, json!({"i": 1}), json!({"S": {"a": 2}}), json!({"a": 2}));
}

#[test]
fn fields_that_are_computed() {
    state(
        r#"Type: Map, Items: "{% $states.input.l %}", MaxConcurrency: "{% 1 %}", ItemSelector: { v: "{% $states.context.Map.Item.Value * $states.input.f %}" }, ItemProcessor: { StartAt: P, States: { P: { Type: Pass, Output: "{% $states.input.v %}", End: true } } }, Output: "{% $sum($states.result) %}""#,
        json!({"l": [1, 2], "f": 10}),
        json!(30),
    );
    state(
        r#"Type: Map, Items: "{% $states.input.l %}", ItemProcessor: { StartAt: P, States: { P: { Type: Pass, End: true } } }"#,
        json!({"l": {"a": 1}}),
        query(
            "The JSONata expression '$states.input.l' specified for the field 'Items' returned an unexpected result type. Expected 'array', but was 'object' instead.",
        ),
    );
    state(
        r#"Type: Wait, Seconds: "{% $states.input.s %}""#,
        json!({"s": "5"}),
        query(
            "The JSONata expression '$states.input.s' specified for the field 'Seconds' returned an unexpected result type. Expected 'a non-negative integer', but was 'string' instead.",
        ),
    );
    state(
        r#"Type: Fail, Error: "{% $states.input.e %}", Cause: "{% 'c' & 1 %}""#,
        json!({"e": "E"}),
        json!({"status": "FAILED", "error": "E", "cause": "c1"}),
    );
    state(r#"Type: Succeed, Output: "{% $states.input.a + 1 %}""#, json!({"a": 1}), json!(2));
}

#[test]
fn a_runaway_expression_fails_its_state_alone() {
    let definition = r#"
QueryLanguage: JSONata
StartAt: P
States:
  P:
    Type: Parallel
    Branches:
      - { StartAt: A, States: { A: { Type: Pass, Output: "{% ($f := function($n) { $f($n + 1) + 1 }; $f(1)) %}", End: true } } }
    Catch: [{ ErrorEquals: [States.QueryEvaluationError], Next: C, Output: "{% $states.errorOutput.Error %}" }]
    End: true
  C: { Type: Succeed }
"#;
    check(definition, json!({}), json!({}), json!("States.QueryEvaluationError"));
}

#[test]
fn catchers_with_output_and_assign() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: S
States:
  S:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Catch:
      - { ErrorEquals: [Never], Next: Never }
      - ErrorEquals: [Down]
        Assign: { why: "{% $states.errorOutput.Cause %}", was: "{% $states.input.id %}" }
        Output: { error: "{% $states.errorOutput.Error %}", id: "{% $states.input.id %}" }
        Next: Then
    End: true
  Never: { Type: Fail }
  Then: { Type: Pass, Output: ["{% $states.input %}", "{% $why %}", "{% $was %}"], End: true }
"#,
        json!({"id": 4}),
        json!({"S": {"error": "Down", "cause": "late"}}),
        json!([{"error": "Down", "id": 4}, "late", 4]),
    );
}
