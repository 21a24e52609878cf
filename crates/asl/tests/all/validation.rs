//! What a definition is refused for, and with which words.

use expect_test::{Expect, expect};

use crate::support::problems;

fn check(definition: &str, expected: &Expect) {
    expected.assert_eq(&problems(definition));
}

/// A definition of one JSONata state `S` with the fields given.
fn jsonata(state: &str) -> String {
    format!(
        "QueryLanguage: JSONata\nStartAt: S\nStates:\n  S: {{ {state}, End: true }}\n  N: {{ Type: Succeed }}\n"
    )
}

#[test]
fn what_an_expression_cannot_see() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { id: "{% order.id %}", all: "{% $ %}", early: "{% $states.result.id %}" }
    Assign: { n: "{% $states.result.n %}", e: "{% $states.errorOutput %}" }
    Output: "{% $states.reslt %}"
    Catch:
      - { ErrorEquals: [States.ALL], Next: B, Output: "{% $states.errorOutput.Cause %}", Assign: { r: "{% $states.result %}" } }
    Next: B
  B: { Type: Pass, Output: "{% $states.result %}", Next: C }
  C: { Type: Choice, Choices: [{ Condition: "{% $$.a = 1 %}", Next: D }], Default: D }
  D: { Type: Succeed }
"#,
        &expect![[r#"
            8:44: INVALID_JSONATA_EXPRESSION: '$states.errorOutput' is not accessible here at /States/A/Assign/e (only Output and Assign of a Catch see the error)
            7:18: INVALID_JSONATA_EXPRESSION: The JSONata expression refers to 'order' at its top level, where there is no input document at /States/A/Arguments/id (the state's input is `$states.input.order`)
            7:40: INVALID_JSONATA_EXPRESSION: The JSONata expression refers to '$' at its top level, where there is no input document at /States/A/Arguments/all (the state's input is `$states.input`)
            7:56: INVALID_JSONATA_EXPRESSION: '$states.result' is not accessible here at /States/A/Arguments/early (only Output and Assign of a Task, Parallel or Map state see the result)
            9:5: UNASSIGNED_VARIABLE: '$states.reslt' does not exist at /States/A/Output (did you mean `result`?)
            11:100: INVALID_JSONATA_EXPRESSION: '$states.result' is not accessible here at /States/A/Catch[0]/Assign/r (only Output and Assign of a Task, Parallel or Map state see the result)
            13:20: INVALID_JSONATA_EXPRESSION: '$states.result' is not accessible here at /States/B/Output (only Output and Assign of a Task, Parallel or Map state see the result)
            14:34: INVALID_JSONATA_EXPRESSION: The JSONata expression refers to '$$' at its top level, where there is no input document at /States/C/Choices[0]/Condition (the state's input is `$states.input`)"#]],
    );
}

#[test]
fn variables_that_come_too_late() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Output: "{% $late %}", Next: B }
  B: { Type: Pass, Assign: { late: 1, own: "{% $own %}" }, Next: C }
  C: { Type: Choice, Choices: [{ Condition: "{% $late = 1 %}", Next: D, Assign: { again: 1 } }], Default: D }
  D: { Type: Pass, Output: "{% [$again, $late] %}", End: true }
"#,
        &expect![[r#"
            4:20: UNASSIGNED_VARIABLE: Variable 'late' is assigned by no state that comes before this one at /States/A/Output (a state's own Assign takes effect when the state is left)
            5:39: UNASSIGNED_VARIABLE: Variable 'own' is assigned by no state that comes before this one at /States/B/Assign/own (a state's own Assign takes effect when the state is left)"#]],
    );
}

#[test]
fn a_loop_lets_a_variable_come_round() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Output: "{% $exists($n) ? $n : 0 %}", Next: B }
  B: { Type: Pass, Assign: { n: 1 }, Next: C }
  C: { Type: Choice, Choices: [{ Condition: "{% $n > 3 %}", Next: D }], Default: A }
  D: { Type: Succeed }
"#,
        &expect![[r#""#]],
    );
}

#[test]
fn variables_of_inner_and_outer_scopes() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, Assign: { x: 1 }, Next: P }
  P:
    Type: Parallel
    Branches:
      - { StartAt: P1, States: { P1: { Type: Pass, Assign: { x: 2, y: "{% $x %}" }, End: true } } }
      - { StartAt: P2, States: { P2: { Type: Pass, Assign: { y: 2 }, End: true } } }
    Next: M
  M:
    Type: Map
    Items: [1]
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: EXPRESS }
      StartAt: M1
      States: { M1: { Type: Pass, Assign: { x: 3 }, Output: "{% $y %}", End: true } }
    Output: "{% $y %}"
    End: true
"#,
        &expect![[r#"
            8:68: UNASSIGNED_VARIABLE: Variable 'x' is assigned by no state that comes before this one at /States/P/Branches[0]/States/P1/Assign/y (a state's own Assign takes effect when the state is left)
            17:53: UNASSIGNED_VARIABLE: Variable 'y' is not assigned in this scope at /States/M/ItemProcessor/States/M1/Output (assign it before, as `Assign: { y: … }`)
            8:62: SCHEMA_VALIDATION_FAILED: Variable 'x' is already assigned in an outer scope at /States/P/Branches[0]/States/P1/Assign/x (give it a name of its own, and hand its value out with the state's output)
            18:5: UNASSIGNED_VARIABLE: Variable 'y' is not assigned in this scope at /States/M/Output (assign it before, as `Assign: { y: … }`)"#]],
    );
}

#[test]
fn loops_that_never_end() {
    check(
        r#"StartAt: A
States:
  A: { Type: Choice, Choices: [{ Variable: $.go, BooleanEquals: true, Next: B }], Default: E }
  B: { Type: Pass, Next: C }
  C: { Type: Wait, Seconds: 1, Next: B }
  E: { Type: Succeed }
"#,
        &expect![[r#"
            4:3: ENDLESS_LOOP: From state "B" no state that ends can be reached at /States/B (let one of the states of the loop lead out of it)
            5:3: ENDLESS_LOOP: From state "C" no state that ends can be reached at /States/C (let one of the states of the loop lead out of it)"#]],
    );
}

#[test]
fn fields_of_the_other_language() {
    check(
        r#"StartAt: A
States:
  A: { Type: Pass, Output: 1, Next: B }
  B: { Type: Task, Resource: "arn:aws:states:::http:invoke", Arguments: {}, Next: C }
  C: { Type: Map, Items: [1], ItemProcessor: { StartAt: D, States: { D: { Type: Pass, End: true } } }, Next: E }
  E: { Type: Choice, Choices: [{ Condition: "{% true %}", Next: F }] }
  F: { Type: Pass, QueryLanguage: JSONata, ResultPath: $.a, InputPath: $.b, Next: G }
  G: { Type: Choice, QueryLanguage: JSONata, Choices: [{ Variable: $.a, StringEquals: b, Next: H }], Default: H }
  H: { Type: Map, QueryLanguage: JSONata, Items: 5, ItemProcessor: { StartAt: I, States: { I: { Type: Pass, End: true } } }, End: true }
"#,
        &expect![[r#"
            3:20: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONPath', but field 'Output' is only supported for the 'JSONata' QueryLanguage at /States/A (`Output` belongs to JSONata; in JSONPath use `ResultPath`)
            4:62: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONPath', but field 'Arguments' is only supported for the 'JSONata' QueryLanguage at /States/B (`Arguments` belongs to JSONata; in JSONPath use `Parameters`)
            5:19: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONPath', but field 'Items' is only supported for the 'JSONata' QueryLanguage at /States/C (`Items` belongs to JSONata; in JSONPath use `ItemsPath`)
            6:34: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONPath', but field 'Condition' is only supported for the 'JSONata' QueryLanguage at /States/E/Choices[0] (compare with `Variable` and an operator, or set the state's `QueryLanguage: JSONata`)
            7:44: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'ResultPath' is only supported for the 'JSONPath' QueryLanguage at /States/F (`ResultPath` belongs to JSONPath; in JSONata use `Output`)
            7:61: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'InputPath' is only supported for the 'JSONPath' QueryLanguage at /States/F (`InputPath` belongs to JSONPath; this state's QueryLanguage is JSONata)
            8:56: SCHEMA_VALIDATION_FAILED: These fields are required: [Condition] at /States/G/Choices[0]
            8:58: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'Variable' is only supported for the 'JSONPath' QueryLanguage at /States/G/Choices[0] (`Variable` belongs to JSONPath; this state's QueryLanguage is JSONata)
            8:73: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'StringEquals' is only supported for the 'JSONPath' QueryLanguage at /States/G/Choices[0]
            9:43: SCHEMA_VALIDATION_FAILED: Expected value of type Array, but found Number at /States/H/Items (a list, or an expression for one as `{% $states.input.items %}`)"#]],
    );
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A: { Type: Pass, QueryLanguage: JSONPath, End: true }
"#,
        &expect![
            "4:20: SCHEMA_VALIDATION_FAILED: 'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine at /States/A"
        ],
    );
    check(
        "QueryLanguage: XPath\nStartAt: A\nStates: { A: { Type: Succeed } }",
        &expect![
            "1:1: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected 'JSONPath' or 'JSONata', but found 'XPath' at /QueryLanguage"
        ],
    );
}

#[test]
fn names_are_unique_across_all_machines() {
    check(
        r#"StartAt: A
States:
  A:
    Type: Parallel
    Branches:
      - { StartAt: B, States: { B: { Type: Pass, End: true } } }
      - { StartAt: B, States: { B: { Type: Pass, End: true } } }
    Next: M
  M:
    Type: Map
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
      StartAt: A
      States: { A: { Type: Pass, End: true } }
    End: true
"#,
        &expect![[r#"
            7:33: DUPLICATE_STATE_NAME: Duplicate state name: B at /States/A/Branches[1]/States/B (a state's name must be its own in the whole state machine)
            14:17: DUPLICATE_STATE_NAME: Duplicate state name: A at /States/M/ItemProcessor/States/A (a state's name must be its own in the whole state machine)"#]],
    );
}

#[test]
fn wrong_types_everywhere() {
    check(
        r#"Comment: 1
Version: "2.0"
TimeoutSeconds: a
StartAt: A
States:
  A:
    Type: Task
    Comment: [1]
    Resource: 5
    Parameters: text
    ResultSelector: []
    ResultPath: 7
    InputPath: {}
    TimeoutSeconds: 1.5
    HeartbeatSeconds: -1
    Retry: {}
    Catch: [{ ErrorEquals: [], Next: 3 }, 5, { ErrorEquals: [1], Next: B }]
    End: yes please
  B: text
  C: { Type: 5, End: true }
"#,
        &expect![[r#"
            1:1: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /Comment
            2:1: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected '1.0' at /Version
            3:1: SCHEMA_VALIDATION_FAILED: Expected value of type Integer, but found String at /TimeoutSeconds
            8:5: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Array at /States/A/Comment
            14:5: SCHEMA_VALIDATION_FAILED: Expected value of type Integer, but found Number at /States/A/TimeoutSeconds
            15:5: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 1 at /States/A/HeartbeatSeconds
            9:5: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /States/A/Resource
            10:5: SCHEMA_VALIDATION_FAILED: Expected value of type Object, but found String at /States/A/Parameters
            13:5: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Object at /States/A/InputPath
            11:5: SCHEMA_VALIDATION_FAILED: Expected value of type Object, but found Array at /States/A/ResultSelector
            12:5: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /States/A/ResultPath
            16:5: SCHEMA_VALIDATION_FAILED: Expected value of type Array, but found Object at /States/A/Retry (put it into a list, also when it is only one: `[ … ]`)
            17:32: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /States/A/Catch[0]/Next
            17:15: SCHEMA_VALIDATION_FAILED: Value cannot be empty at /States/A/Catch[0]/ErrorEquals
            17:43: SCHEMA_VALIDATION_FAILED: Expected value of type Object, but found Number at /States/A/Catch[1]
            17:62: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /States/A/Catch[2]/ErrorEquals[0]
            18:5: SCHEMA_VALIDATION_FAILED: Expected value of type Boolean, but found String at /States/A/End
            19:3: SCHEMA_VALIDATION_FAILED: Expected value of type Object, but found String at /States/B
            20:8: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /States/C/Type"#]],
    );
}

#[test]
fn retriers_and_catchers() {
    check(
        r#"QueryLanguage: JSONata
StartAt: A
States:
  A:
    Type: Parallel
    Branches: [{ StartAt: B, States: { B: { Type: Pass, End: true } } }]
    Retry:
      - { ErrorEquals: [States.ALL] }
      - { ErrorEquals: [X], IntervalSeconds: 0, MaxAttempts: -1, BackoffRate: 0.9, MaxDelaySeconds: 1, JitterStrategy: full, Nxt: B }
      - { IntervalSeconds: 1.5, MaxAttempts: 100000000 }
    Catch:
      - { ErrorEquals: [States.ALL, X], Next: C }
      - { Next: C }
      - { ErrorEquals: [Y], ResultPath: $.a, Next: Nowhere }
    Next: C
  C: { Type: Pass, Retry: [], Catch: [], End: true }
"#,
        &expect![[r#"
            8:25: SCHEMA_VALIDATION_FAILED: States.ALL must appear alone and at end of list at /States/A/Retry[0]/ErrorEquals[0]
            9:126: SCHEMA_VALIDATION_FAILED: Field 'Nxt' is not supported at /States/A/Retry[1]
            9:29: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 1 at /States/A/Retry[1]/IntervalSeconds
            9:49: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 0 at /States/A/Retry[1]/MaxAttempts
            9:84: SCHEMA_VALIDATION_FAILED: MaxDelaySeconds must be greater than IntervalSeconds at /States/A/Retry[1]/MaxDelaySeconds
            9:66: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 1.0 at /States/A/Retry[1]/BackoffRate
            9:104: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected 'NONE' or 'FULL', but found 'full' at /States/A/Retry[1]/JitterStrategy
            10:9: SCHEMA_VALIDATION_FAILED: These fields are required: [ErrorEquals] at /States/A/Retry[2]
            10:11: SCHEMA_VALIDATION_FAILED: Expected value of type Integer, but found Number at /States/A/Retry[2]/IntervalSeconds
            10:33: SCHEMA_VALIDATION_FAILED: The value must be less than or equal to 99999999 at /States/A/Retry[2]/MaxAttempts
            12:25: SCHEMA_VALIDATION_FAILED: States.ALL must appear alone and at end of list at /States/A/Catch[0]/ErrorEquals[0]
            13:9: SCHEMA_VALIDATION_FAILED: These fields are required: [ErrorEquals] at /States/A/Catch[1]
            14:29: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'ResultPath' is only supported for the 'JSONPath' QueryLanguage at /States/A/Catch[2] (`ResultPath` belongs to JSONPath; in JSONata use `Output`)
            14:46: MISSING_TRANSITION_TARGET: Missing 'Next' target: Nowhere at /States/A/Catch[2]/Next
            16:20: SCHEMA_VALIDATION_FAILED: Field 'Retry' is not supported at /States/C (`Retry` belongs to a Task, Parallel or Map state; this is a Pass state)
            16:31: SCHEMA_VALIDATION_FAILED: Field 'Catch' is not supported at /States/C (`Catch` belongs to a Task, Parallel or Map state; this is a Pass state)"#]],
    );
}

#[test]
fn waits() {
    for (state, expected) in [
        (
            "Type: Wait",
            expect![
                "4:3: SCHEMA_VALIDATION_FAILED: Exactly one of these fields is required: [Seconds, SecondsPath, Timestamp, TimestampPath] at /States/S"
            ],
        ),
        (
            "Type: Wait, Seconds: 100000000",
            expect![
                "4:20: SCHEMA_VALIDATION_FAILED: The value must be less than or equal to 99999999 at /States/S/Seconds"
            ],
        ),
        (
            "Type: Wait, Seconds: 1.5",
            expect![
                "4:20: SCHEMA_VALIDATION_FAILED: Expected value of type Integer, but found Number at /States/S/Seconds"
            ],
        ),
        (
            "Type: Wait, Seconds: '5'",
            expect![
                "4:20: SCHEMA_VALIDATION_FAILED: Expected value of type Integer, but found String at /States/S/Seconds (a number stands without quotation marks: 5)"
            ],
        ),
        (
            "Type: Wait, SecondsPath: $.s",
            expect![
                "4:20: SCHEMA_VALIDATION_FAILED: The QueryLanguage is set to 'JSONata', but field 'SecondsPath' is only supported for the 'JSONPath' QueryLanguage at /States/S (`SecondsPath` belongs to JSONPath; in JSONata use `Seconds`)"
            ],
        ),
        (
            "Type: Wait, Timestamp: '2024-01-01'",
            expect![
                "4:20: SCHEMA_VALIDATION_FAILED: String does not match RFC3339 timestamp at /States/S/Timestamp (write it as `2026-11-23T07:00:00Z`, with `T` and an offset)"
            ],
        ),
        (
            "Type: Wait, Timestamp: 5",
            expect![
                "4:20: SCHEMA_VALIDATION_FAILED: Expected value of type String, but found Number at /States/S/Timestamp"
            ],
        ),
    ] {
        check(&jsonata(state).replace("  N: { Type: Succeed }\n", ""), &expected);
    }
}

#[test]
fn maps() {
    check(
        r#"StartAt: M
States:
  M:
    Type: Map
    ItemsPath: States.Array(1)
    MaxConcurrency: 1
    MaxConcurrencyPath: $.m
    ItemSelector: []
    Label: x
    ItemReader: { Resource: "arn:aws:states:::s3:getObject" }
    ItemProcessor: { StartAt: A, States: { A: { Type: Pass, End: true } }, Extra: 1 }
    Iterator: { StartAt: B, States: { B: { Type: Pass, End: true } } }
    Next: N
  N:
    Type: Map
    ItemsPath: $.a
    ToleratedFailureCount: -1
    ToleratedFailurePercentage: "5"
    ItemReader: { ReaderConfig: { InputTyp: CSV, MaxItems: -1 } }
    ItemBatcher: {}
    ResultWriter: { Parameters: { Bucket: b }, WriterConfg: {} }
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTE, ExecutionType: FAST }
      StartAt: C
      States: { C: { Type: Pass, End: true } }
    Next: O
  O:
    Type: Map
    ItemReader: { ReaderConfig: { InputTyp: CSV, InputType: CVS, CSVHeaderLocation: GIVEN, CSVDelimiter: ",", MaxItems: -1 } }
    ItemBatcher: {}
    ResultWriter: { Parameters: { Bucket: b }, WriterConfg: {}, WriterConfig: { OutputType: CSV } }
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: FAST }
      StartAt: D
      States: { D: { Type: Pass, End: true } }
    End: true
"#,
        &expect![[r#"
            5:5: SCHEMA_VALIDATION_FAILED: Value is not a valid JSONPath at /States/M/ItemsPath
            8:5: SCHEMA_VALIDATION_FAILED: Expected value of type Object, but found Array at /States/M/ItemSelector
            3:3: SCHEMA_VALIDATION_FAILED: 'MaxConcurrency' and 'MaxConcurrencyPath' can not both be given at /States/M
            3:3: SCHEMA_VALIDATION_FAILED: 'ItemProcessor' and 'Iterator' can not both be given at /States/M
            3:3: SCHEMA_VALIDATION_FAILED: Field 'ItemReader' is not supported at /States/M (set `ProcessorConfig: { Mode: DISTRIBUTED }` in the ItemProcessor)
            9:5: SCHEMA_VALIDATION_FAILED: Field 'Label' has no effect in an inline Map at /States/M/Label (set `ProcessorConfig: { Mode: DISTRIBUTED }` in the ItemProcessor)
            11:76: SCHEMA_VALIDATION_FAILED: Field 'Extra' is not supported at /States/M/ItemProcessor
            23:26: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [INLINE, DISTRIBUTED] at /States/N/ItemProcessor/ProcessorConfig/Mode (did you mean `DISTRIBUTED`?)
            23:44: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [STANDARD, EXPRESS] at /States/N/ItemProcessor/ProcessorConfig/ExecutionType
            33:45: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [STANDARD, EXPRESS] at /States/O/ItemProcessor/ProcessorConfig/ExecutionType
            29:5: SCHEMA_VALIDATION_FAILED: These fields are required: [Resource] at /States/O/ItemReader
            29:35: SCHEMA_VALIDATION_FAILED: Field 'InputTyp' is not supported at /States/O/ItemReader/ReaderConfig
            29:50: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [CSV, JSON, JSONL, PARQUET, MANIFEST] at /States/O/ItemReader/ReaderConfig/InputType (did you mean `CSV`?)
            29:92: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [COMMA, PIPE, SEMICOLON, SPACE, TAB] at /States/O/ItemReader/ReaderConfig/CSVDelimiter
            29:111: SCHEMA_VALIDATION_FAILED: The value must be greater than or equal to 0 at /States/O/ItemReader/ReaderConfig/MaxItems
            29:19: SCHEMA_VALIDATION_FAILED: These fields are required: [CSVHeaders] at /States/O/ItemReader/ReaderConfig (CSVHeaderLocation GIVEN takes the names of the fields from CSVHeaders)
            30:5: SCHEMA_VALIDATION_FAILED: One of these fields is required: [MaxItemsPerBatch, MaxInputBytesPerBatch] at /States/O/ItemBatcher
            31:48: SCHEMA_VALIDATION_FAILED: Field 'WriterConfg' is not supported at /States/O/ResultWriter
            31:81: SCHEMA_VALIDATION_FAILED: Value is not valid. Expected one of [JSON, JSONL] at /States/O/ResultWriter/WriterConfig/OutputType"#]],
    );
}

#[test]
fn paths_and_intrinsics() {
    check(
        r#"StartAt: A
States:
  A:
    Type: Pass
    Parameters: { "a.$": "$.[", "b.$": States.Nope(), "c.$": "States.Format('{}'", "d.$": 5, "e.$": "plain", "f": { "g.$": "States.MathAdd(1)" } }
    ResultPath: $.a[*].b
    OutputPath: States.UUID()
    Next: B
  B: { Type: Fail, ErrorPath: "States.Array(", Error: x, Cause: y, CausePath: $.c }
"#,
        &expect![[r#"
            5:19: SCHEMA_VALIDATION_FAILED: The value for the field 'a.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters ('$.[' is not a JSONPath: a name in quotes, an index, a slice, '*' or a filter '?(…)' is missing here (at character 4))
            5:33: SCHEMA_VALIDATION_FAILED: The value for the field 'b.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters (there is no function States.Nope; there are States.Array, States.ArrayContains, States.ArrayGetItem, States.ArrayLength, States.ArrayPartition, States.ArrayRange, States.ArrayUnique, States.Base64Decode, States.Base64Encode, States.Format, States.Hash, States.JsonMerge, States.JsonToString, States.MathAdd, States.MathRandom, States.StringSplit, States.StringToJson, States.UUID (at character 1))
            5:55: SCHEMA_VALIDATION_FAILED: The value for the field 'c.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters (',' or ')' is missing here (at character 19))
            5:84: SCHEMA_VALIDATION_FAILED: The value for the field 'd.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters (it is 5, not a string)
            5:94: SCHEMA_VALIDATION_FAILED: The value for the field 'e.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters ('plain' is not a JSONPath: a path begins with '$' (at character 1))
            5:117: SCHEMA_VALIDATION_FAILED: The value for the field 'g.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters/f (States.MathAdd takes 2 arguments, not 1 (at character 18))
            6:5: SCHEMA_VALIDATION_FAILED: Value is not a Reference Path: Illegal character or operator in '$.a[*].b' at /States/A/ResultPath (a reference path names one place, as `$.result` or `$.items[0]`)
            7:5: SCHEMA_VALIDATION_FAILED: Value is not a valid JSONPath at /States/A/OutputPath
            9:3: SCHEMA_VALIDATION_FAILED: 'Error' and 'ErrorPath' can not both be given at /States/B
            9:20: SCHEMA_VALIDATION_FAILED: Value is not a valid JSONPath or intrinsic function call at /States/B/ErrorPath (an argument is missing here: text in single quotes, a number, true, false, null, a path or a function (at character 14))
            9:3: SCHEMA_VALIDATION_FAILED: 'Cause' and 'CausePath' can not both be given at /States/B"#]],
    );
}

#[test]
fn express_takes_no_waiting_calls() {
    use stepbus_asl::{WorkflowType, validate};
    let definition = r#"StartAt: A
States:
  A: { Type: Task, Resource: "arn:aws:states:::states:startExecution.sync:2", Next: B }
  B: { Type: Task, Resource: "arn:aws:states:us-east-1:1:activity:a", Next: M }
  M: { Type: Map, ItemProcessor: { ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }, StartAt: C, States: { C: { Type: Pass, End: true } } }, End: true }
"#;
    let found: Vec<String> =
        validate(definition, WorkflowType::Express).iter().map(ToString::to_string).collect();
    expect![[r#"
        3:20: SCHEMA_VALIDATION_FAILED: Express state machine does not support '.sync' service integration at /States/A/Resource (make the workflow STANDARD, or call without waiting for the result)
        4:20: SCHEMA_VALIDATION_FAILED: Express state machine does not support activity resources at /States/B/Resource
        5:36: SCHEMA_VALIDATION_FAILED: Express state machine does not support distributed Map at /States/M/ItemProcessor/ProcessorConfig"#]].assert_eq(&found.join("\n"));
}

#[test]
fn a_field_of_a_payload_stands_once() {
    check(
        r#"StartAt: A
States:
  A:
    Type: Pass
    Parameters: { a: 1, "a.$": $.a, in: [{ "b.$": $.b, b: null }], "c.$": $.c }
    End: true
"#,
        &expect![[r#"
            5:25: SCHEMA_VALIDATION_FAILED: The field 'a' is given twice, as 'a' and as 'a.$' at /States/A/Parameters (leave one of them out)
            5:44: SCHEMA_VALIDATION_FAILED: The field 'b' is given twice, as 'b' and as 'b.$' at /States/A/Parameters/in[0] (leave one of them out)"#]],
    );
}

#[test]
fn what_authors_often_write() {
    check(
        r#"QueryLanguage: JSONata
StartAt: Get
States:
  Get:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Retry: { ErrorEquals: States.ALL }
    TimeoutSeconds: "30"
    Next: Check
  Check:
    Type: Choice
    Choices: [{ Condition: $states.input.a = 1, Next: Pause }]
    Default: Over
    End: true
  Pause:
    Type: Wait
    Seconds: 5
    TimeoutSeconds: 5
    Retry: []
  Over: { Type: Succeed, End: true }
"#,
        &expect![[r#"
            8:5: SCHEMA_VALIDATION_FAILED: Expected value of type Integer, but found String at /States/Get/TimeoutSeconds (a number stands without quotation marks: 30)
            7:5: SCHEMA_VALIDATION_FAILED: Expected value of type Array, but found Object at /States/Get/Retry (put it into a list, also when it is only one: `[ … ]`)
            14:5: SCHEMA_VALIDATION_FAILED: Field 'End' is not supported at /States/Check (a Choice state goes where its rules and `Default` lead)
            12:17: SCHEMA_VALIDATION_FAILED: Condition must be a boolean or a JSONata expression at /States/Check/Choices[0]/Condition (write it as `{% $states.input.a = 1 %}`)
            18:5: SCHEMA_VALIDATION_FAILED: Field 'TimeoutSeconds' is not supported at /States/Pause (`TimeoutSeconds` belongs to a Task state, or the whole state machine; this is a Wait state)
            19:5: SCHEMA_VALIDATION_FAILED: Field 'Retry' is not supported at /States/Pause (`Retry` belongs to a Task, Parallel or Map state; this is a Wait state)
            15:3: SCHEMA_VALIDATION_FAILED: One of these fields is required: [Next, End] at /States/Pause (name the state that comes next, or, if none does, write `End: true`)
            20:26: SCHEMA_VALIDATION_FAILED: Field 'End' is not supported at /States/Over (a Succeed state ends the workflow by itself)"#]],
    );
}
