use expect_test::{Expect, expect};

use crate::support::problems;

fn check(definition: &str, expected: &Expect) {
    expected.assert_eq(&problems(definition));
}

#[test]
fn every_problem_in_one_go() {
    check(
        r#"QueryLanguage: JSONata
StartAt: Frist
TimeoutSeconds: 0
States:
  First:
    Type: Task
    Resource: http:invoke
    Argumets: {}
    Parameters: {}
    Retry: [{ ErrorEquals: [States.ALL, X], BackoffRate: 0.5, JitterStrategy: SOME }]
    Next: Scond
  Second: { Type: Wait, Seconds: -1, Timestamp: "2024-01-01", End: true }
  Third: { Type: Pas, End: true }
  Fourth: { Type: Pass, Output: "{% $sum( %}", Assign: { states: 1, a-b: 2 } }
"#,
        &expect![[r#"
            3:1: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 1 at /TimeoutSeconds
            8:5: SCHEMA_VALIDATION_FAILED: Field 'Argumets' is not supported at /States/First (unknown field `Argumets`; did you mean `Arguments`?)
            9:5: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'Parameters' is only supported for the 'JSONPath' QueryLanguage at /States/First (`Parameters` belongs to JSONPath; in JSONata use `Arguments`)
            7:5: INVALID_RESOURCE: Resource is not a valid ARN: http:invoke at /States/First/Resource (as `arn:aws:states:::http:invoke` or the ARN of a function or an activity)
            10:45: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 1.0 at /States/First/Retry[0]/BackoffRate
            10:63: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected 'NONE' or 'FULL', but found 'SOME' at /States/First/Retry[0]/JitterStrategy
            10:29: SCHEMA_VALIDATION_FAILED: States.ALL must appear alone and at end of list at /States/First/Retry[0]/ErrorEquals[0]
            11:5: MISSING_TRANSITION_TARGET: Missing 'Next' target: Scond at /States/First/Next (did you mean `Second`?)
            12:3: SCHEMA_VALIDATION_FAILED: Exactly one of these fields is required: [Seconds, SecondsPath, Timestamp, TimestampPath] at /States/Second
            13:12: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [Task, Pass, Choice, Wait, Succeed, Fail, Parallel, Map] at /States/Third/Type (unknown Type `Pas`; did you mean `Pass`?)
            14:58: SCHEMA_VALIDATION_FAILED: Variable name 'states' is reserved at /States/Fourth/Assign/states
            14:69: SCHEMA_VALIDATION_FAILED: Variable name 'a-b' is not valid at /States/Fourth/Assign/a-b (a variable's name is letters, digits and `_`, and starts with no digit)
            14:42: INVALID_JSONATA_EXPRESSION: Unexpected end of expression at /States/Fourth/Output
            14:3: SCHEMA_VALIDATION_FAILED: One of these fields is required: [Next, End] at /States/Fourth (name the state that comes next, or, if none does, write `End: true`)
            2:1: MISSING_TRANSITION_TARGET: Missing 'StartAt' target: Frist at /StartAt (did you mean `First`?)"#]],
    );
}

#[test]
fn states_nothing_reaches() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, End: true }
  B: { Type: Pass, Next: C }
  C: { Type: Succeed }
"#,
        &expect![[r#"
            5:3: MISSING_TRANSITION_TARGET: State "B" is not reachable. at /States/B
            6:3: MISSING_TRANSITION_TARGET: State "C" is not reachable. at /States/C"#]],
    );
}

#[test]
fn a_machine_without_an_end() {
    check(
        r#"StartAt: A
States:
  A: { Type: Pass, Next: B }
  B: { Type: Pass, Next: A }
"#,
        &expect![
            "2:1: MISSING_END_STATE: Workflow has no terminal state (let a state have `End: true`, or add a Succeed or Fail state)"
        ],
    );
}

#[test]
fn choice_rules() {
    check(
        r#"StartAt: C
States:
  C:
    Type: Choice
    Choices:
      - { Variable: $.a, StringEqual: x, Next: D }
      - { Variable: $.a, NumericEquals: x, Next: D }
      - { And: [{ Variable: "$.[", IsNull: true, Next: D }], Next: E }
      - { Next: D }
  D: { Type: Succeed }
"#,
        &expect![[r#"
            6:26: SCHEMA_VALIDATION_FAILED: Field 'StringEqual' is not supported at /States/C/Choices[0] (unknown field `StringEqual`; did you mean `StringEquals`?)
            6:9: SCHEMA_VALIDATION_FAILED: A choice rule must have exactly one comparison operator at /States/C/Choices[0]
            7:26: SCHEMA_VALIDATION_FAILED: Expected value of type Number, but found String at /States/C/Choices[1]/NumericEquals
            8:62: MISSING_TRANSITION_TARGET: Missing 'Next' target: E at /States/C/Choices[2]/Next
            8:19: SCHEMA_VALIDATION_FAILED: Value is not a valid JSONPath at /States/C/Choices[2]/And[0]/Variable ('$.[' is not a JSONPath: a name in quotes, an index, a slice, '*' or a filter '?(…)' is missing here (at character 4))
            8:50: SCHEMA_VALIDATION_FAILED: Field 'Next' is not supported at /States/C/Choices[2]/And[0]
            9:9: SCHEMA_VALIDATION_FAILED: A choice rule must have exactly one comparison operator at /States/C/Choices[3]"#]],
    );
}

#[test]
fn maps_and_branches() {
    check(
        r#"QueryLanguage: JSONata
StartAt: M
States:
  M:
    Type: Map
    Label: "a b"
    ToleratedFailurePercentage: 101
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED }
      StartAt: P
      States: { P: { Type: Pass, Next: Outside } }
    Next: Outside
  Outside: { Type: Parallel, Branches: [], End: true }
"#,
        &expect![[r#"
            6:5: INVALID_LABEL_NAME: Label name contains an invalid character: ' ' at /States/M/Label
            7:5: SCHEMA_VALIDATION_FAILED: The value must be between 0 and 100 at /States/M/ToleratedFailurePercentage
            11:34: MISSING_TRANSITION_TARGET: Missing 'Next' target: Outside at /States/M/ItemProcessor/States/P/Next
            11:7: MISSING_END_STATE: Workflow has no terminal state (let a state have `End: true`, or add a Succeed or Fail state)
            13:30: SCHEMA_VALIDATION_FAILED: Value cannot be empty at /States/Outside/Branches"#]],
    );
}

#[test]
fn variables_nobody_assigns() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { total: 1 }, Next: B }
  B: { Type: Pass, Output: "{% $totl + $total + $sum([1]) %}", End: true }
"#,
        &expect![
            "5:20: UNASSIGNED_VARIABLE: Variable 'totl' is not assigned in this scope at /States/B/Output (did you mean `$total`?)"
        ],
    );
}

#[test]
fn text_that_is_no_definition() {
    check("", &expect!["1:1: SCHEMA_VALIDATION_FAILED: Definition must be a valid JSON object"]);
    check("[]", &expect!["1:1: SCHEMA_VALIDATION_FAILED: Definition must be a valid JSON object"]);
    check(
        "{\"StartAt\": }",
        &expect![[r#"
        1:13: INVALID_JSON_DESCRIPTION: not JSON: expected a value
         at [Source: (String)"{"StartAt": }"; line: 1, column: 13] at [Source: (String)"{"StartAt": }"; line: 1, column: 13]"#]],
    );
}
