//! The language's odd corners in JSONPath mode, a small definition each.

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
    let definition = format!("StartAt: S\nStates:\n  S: {{ {fields}{end} }}\n");
    check(&definition, input, answers, expected);
}

fn runtime(cause: &str) -> Value {
    failed("States.Runtime", cause)
}

fn failed(error: &str, cause: &str) -> Value {
    let place = "An error occurred while executing the state 'S' (entered at the event id #2). ";
    json!({"status": "FAILED", "error": error, "cause": format!("{place}{cause}")})
}

#[test]
fn null_paths() {
    state("Type: Pass, InputPath: null", json!({"a": 1}), json!({}));
    state("Type: Pass, OutputPath: null", json!({"a": 1}), json!({}));
    state("Type: Pass, Result: 1, ResultPath: null", json!({"a": 1}), json!({"a": 1}));
    state("Type: Succeed, InputPath: null", json!({"a": 1}), json!({}));
    state("Type: Wait, Seconds: 0, OutputPath: null", json!([1]), json!({}));
}

#[test]
fn input_and_output_paths() {
    state("Type: Pass, InputPath: $.a", json!({"a": [1]}), json!([1]));
    state("Type: Pass, InputPath: $.a, ResultPath: $.b", json!({"a": 1}), json!({"a": 1, "b": 1}));
    state("Type: Pass, InputPath: '$.a[*].b'", json!({"a": [{"b": 1}, {"c": 2}]}), json!([1]));
    state("Type: Pass, OutputPath: $$.State.Name", json!({}), json!("S"));
    state("Type: Pass, OutputPath: '$..id'", json!({"id": 1, "x": {"id": 2}}), json!([1, 2]));
    state(
        "Type: Pass, InputPath: $.a.b",
        json!({"a": {}}),
        runtime("Invalid path '$.a.b' : No results for path: $['a']['b']"),
    );
    state(
        "Type: Pass, InputPath: $.a.b.c",
        json!({"a": {}}),
        runtime("Invalid path '$.a.b.c' : Missing property in path $['a']['b']"),
    );
}

#[test]
fn result_paths() {
    let merged = |path: &str| format!("Type: Pass, Result: 7, ResultPath: {path}");
    state(&merged("$.a.b.c"), json!({"a": {"x": 1}}), json!({"a": {"x": 1, "b": {"c": 7}}}));
    state(&merged("'$.a[1]'"), json!({"a": [1, 2, 3]}), json!({"a": [1, 7, 3]}));
    state(&merged("\"$['a b']\""), json!({}), json!({"a b": 7}));
    state(&merged("$"), json!({"a": 1}), json!(7));
    state(
        &merged("$.a"),
        json!([1]),
        failed("States.ResultPathMatchFailure", "Unable to apply ReferencePath $.a to input [1]"),
    );
    state(
        &merged("$.a.b"),
        json!({"a": 1}),
        failed(
            "States.ResultPathMatchFailure",
            "Unable to apply ReferencePath $.a.b to input {\"a\":1}",
        ),
    );
}

#[test]
fn payload_templates() {
    state(
        r#"Type: Pass, Parameters: { "a.$": $.x, b: [{ "c.$": $.y }, "$.x"], d: { e: null }, "f.$": $$.Execution.Input.x, "g.$": "$" }"#,
        json!({"x": 1, "y": [2]}),
        json!({"a": 1, "b": [{"c": [2]}, "$.x"], "d": {"e": null}, "f": 1, "g": {"x": 1, "y": [2]}}),
    );
    state("Type: Pass, Parameters: {}", json!({"x": 1}), json!({}));
    state(
        r#"Type: Pass, Parameters: { a: { "b.$": $.none.x } }"#,
        json!({"x": 1}),
        runtime(
            "The JSONPath '$.none.x' specified for the field 'b.$' could not be found in the input '{\"x\":1}'",
        ),
    );
    answered(
        r#"Type: Task, Resource: "arn:aws:states:::http:invoke", ResultSelector: { "n.$": "$.list.length()", "all.$": "$.list[?(@.on)].id", "by.$": $$.State.Name }, ResultPath: $.r"#,
        json!({"k": 1}),
        json!({"S": {"list": [{"id": 1, "on": true}, {"id": 2}]}}),
        json!({"k": 1, "r": {"n": 2, "all": [1], "by": "S"}}),
    );
}

#[test]
fn intrinsics() {
    let call =
        |call: &str| format!("Type: Pass, Parameters: {{ \"r.$\": \"{call}\" }}, OutputPath: $.r");
    let input = || {
        json!({
            "list": [1, 2, 3, 3], "text": "a,b;c", "n": 2, "object": {"x": 1}, "json": "{\"k\": [1]}",
            "mixed": [1, "a", {"x": 1}, null, {"x": 1}], "word": "Zeta",
        })
    };
    for (text, expected) in [
        ("States.Array()", json!([])),
        ("States.Array(1, 'a', true, null, $.list)", json!([1, "a", true, null, [1, 2, 3, 3]])),
        ("States.ArrayPartition($.list, 3)", json!([[1, 2, 3], [3]])),
        ("States.ArrayContains($.list, 3)", json!(true)),
        ("States.ArrayContains($.mixed, $.object)", json!(true)),
        ("States.ArrayContains($.list, '3')", json!(false)),
        ("States.ArrayRange(1, 9, 2)", json!([1, 3, 5, 7, 9])),
        ("States.ArrayRange(5, 1, -2)", json!([5, 3, 1])),
        ("States.ArrayGetItem($.list, 0)", json!(1)),
        ("States.ArrayLength($.mixed)", json!(5)),
        ("States.ArrayUnique($.mixed)", json!([1, "a", {"x": 1}, null])),
        ("States.Base64Encode('Data to encode')", json!("RGF0YSB0byBlbmNvZGU=")),
        ("States.Base64Decode('RGF0YQ==')", json!("Data")),
        ("States.Hash('input data', 'SHA-1')", json!("aaff4a450a104cd177d28d18d74485e8cae074b7")),
        (
            "States.JsonMerge($.object, States.StringToJson($.json), false)",
            json!({"x": 1, "k": [1]}),
        ),
        ("States.StringToJson($.json)", json!({"k": [1]})),
        ("States.JsonToString($.mixed)", json!("[1,\"a\",{\"x\":1},null,{\"x\":1}]")),
        ("States.MathAdd(111, -1)", json!(110)),
        ("States.MathAdd($.n, 1)", json!(3)),
        ("States.StringSplit($.text, ',;')", json!(["a", "b", "c"])),
        (
            "States.StringSplit('This.is+a,test=string', '.+,=')",
            json!(["This", "is", "a", "test", "string"]),
        ),
        (
            "States.Format('Hi {}, {} of {}', $.word, $.n, $.list)",
            json!("Hi Zeta, 2 of [1, 2, 3, 3]"),
        ),
        ("States.Format('{}', States.ArrayLength(States.Array(1, 2)))", json!("2")),
        ("States.MathRandom(7, 8)", json!(7)),
    ] {
        state(&call(text), input(), expected);
    }
}

#[test]
fn intrinsics_that_fail() {
    let call = |call: &str| format!("Type: Pass, Parameters: {{ \"r.$\": \"{call}\" }}");
    let check = |text: &str, why: &str| {
        let cause = format!("The function '{text}' had the following error: {why}");
        state(
            &call(text),
            json!({"list": [1], "o": {}}),
            failed("States.IntrinsicFailure", &cause),
        );
    };
    check(
        "States.ArrayLength($.o)",
        "Invalid arguments in States.ArrayLength: argument 1 must be an array but was: {}",
    );
    check(
        "States.ArrayGetItem($.list, 1)",
        "Invalid arguments in States.ArrayGetItem: index 1 is outside an array of 1 items",
    );
    check(
        "States.ArrayRange(1, 1001, 1)",
        "Invalid arguments in States.ArrayRange: at most 1000 items are allowed",
    );
    check(
        "States.JsonMerge($.o, $.o, true)",
        "Invalid arguments in States.JsonMerge: deep merging is not supported; use false",
    );
    state(
        &call("States.ArrayLength($.none)"),
        json!({"a": 1}),
        runtime(
            "The function 'States.ArrayLength($.none)' had the following error: The JsonPath argument for the field '$.none' could not be found in the input '{\"a\":1}'",
        ),
    );
}

#[test]
fn waits() {
    let begin = "2023-11-14T22:13:20Z";
    let seconds = |fields: &str, input: Value| {
        let definition =
            format!("StartAt: S\nStates:\n  S: {{ Type: Wait, {fields}, End: true }}\n");
        check(&definition, input.clone(), json!({}), input).seconds
    };
    assert_eq!(seconds("Seconds: 5", json!({})), 5);
    assert_eq!(seconds("SecondsPath: $.s", json!({"s": 7})), 7);
    assert_eq!(seconds("SecondsPath: $.s", json!({"s": 7.0})), 7);
    assert_eq!(seconds("SecondsPath: $.s", json!({"s": 0})), 0);
    assert_eq!(seconds("TimestampPath: $.t", json!({"t": begin})), 0);
    assert_eq!(seconds("TimestampPath: $.t", json!({"t": "2023-11-14T23:14:20+01:00"})), 60);
    assert_eq!(seconds("Timestamp: '2023-11-14T22:13:21.5Z'", json!({})), 1);
    state(
        "Type: Wait, SecondsPath: $.s",
        json!({"s": -1}),
        runtime(
            "The SecondsPath field refers to value \"-1\" which is not a non-negative integer: $.s",
        ),
    );
    state(
        "Type: Wait, TimestampPath: $.t",
        json!({"t": "tomorrow"}),
        runtime(
            "The TimestampPath parameter does not reference a valid ISO-8601 extended offset date-time format string: $.t == tomorrow",
        ),
    );
    state(
        "Type: Wait, SecondsPath: $.none",
        json!({}),
        runtime("The SecondsPath parameter does not reference an input value: $.none"),
    );
}

#[test]
fn fail_states() {
    let ends =
        |error: Value, cause: Value| json!({"status": "FAILED", "error": error, "cause": cause});
    state("Type: Fail, Error: E, Cause: why", json!({}), ends(json!("E"), json!("why")));
    state("Type: Fail", json!({}), json!({"status": "FAILED"}));
    state(
        r#"Type: Fail, ErrorPath: $.e, CausePath: "States.Format('{} of {}', $.n, $$.State.Name)""#,
        json!({"e": "E", "n": 1}),
        ends(json!("E"), json!("1 of S")),
    );
    state(
        "Type: Fail, ErrorPath: $.e",
        json!({"e": 1}),
        runtime("The ErrorPath field refers to value \"1\" which is not a string: $.e"),
    );
}

#[test]
fn maps_in_jsonpath() {
    let map = |fields: &str| {
        format!(
            "Type: Map, {fields}, ItemProcessor: {{ StartAt: P, States: {{ P: {{ Type: Pass, End: true }} }} }}"
        )
    };
    state(&map("ItemsPath: $.l"), json!({"l": [1, 2]}), json!([1, 2]));
    state(
        &map(
            r#"InputPath: $.in, ItemsPath: $.l, ItemSelector: { "v.$": $$.Map.Item.Value, "i.$": $$.Map.Item.Index, "x.$": $.x }, ResultPath: $.out"#,
        ),
        json!({"in": {"l": ["a"], "x": 9}}),
        json!({"in": {"l": ["a"], "x": 9}, "out": [{"v": "a", "i": 0, "x": 9}]}),
    );
    state(
        &map(
            r#"Parameters: { "v.$": $$.Map.Item.Value }, ResultSelector: { "n.$": "$.length()" }"#,
        ),
        json!([5, 6]),
        json!({"n": 2}),
    );
    state(
        &map("ItemsPath: $.l"),
        json!({"l": 1}),
        json!({"status": "FAILED", "error": "States.Runtime",
            "cause": "An error occurred while executing the state 'S' (entered at the event id #2). Reference path \"$.l\" must point to array."}),
    );
}
