//! Intrinsic functions and payload templates.

use proptest::prelude::*;
use serde_json::{Value, json};
use stepbus_expr::{Env, Intrinsic, PayloadTemplate, Roots, Source, SourceError};
use stepbus_model::Timestamp;

const ENV: Env = Env { now: Timestamp(1_700_000_000_000), seed: 9 };

fn eval(call: &str, input: &Value) -> Result<Value, String> {
    let (context, variable) = (json!({"Name": "ctx"}), json!({"n": 4}));
    let roots = Roots {
        variables: &|name| (name == "var").then_some(&variable),
        ..Roots::new(input, &context)
    };
    let call = Intrinsic::parse(call).map_err(|error| error.to_string())?;
    call.eval(roots, ENV).map_err(|error| error.message)
}

#[track_caller]
fn check(call: &str, expected: Value) {
    let input = json!({
        "list": [1, 2, 3, 2], "text": "a,b;c", "object": {"a": 1, "b": ["x", null]}, "n": 2,
        "template": "<{}>", "k": [{"a, b": 1}],
    });
    assert_eq!(eval(call, &input), Ok(expected), "{call}");
}

#[test]
fn functions() {
    check("States.Array(1, 'a', $.n, null)", json!([1, "a", 2, null]));
    check("States.Array()", json!([]));
    check("States.ArrayPartition($.list, 3)", json!([[1, 2, 3], [2]]));
    check("States.ArrayContains($.list, 3)", json!(true));
    check("States.ArrayRange(1, 9, 3)", json!([1, 4, 7]));
    check("States.ArrayRange(9, 2, -3)", json!([9, 6, 3]));
    check("States.ArrayRange(2, 1, 1)", json!([]));
    check("States.ArrayGetItem($.list, 2)", json!(3));
    check("States.ArrayLength($.list)", json!(4));
    check("States.ArrayUnique($.list)", json!([1, 2, 3]));
    check("States.Base64Encode('Data to encode')", json!("RGF0YSB0byBlbmNvZGU="));
    check("States.Base64Decode('RGF0YSB0byBlbmNvZGU=')", json!("Data to encode"));
    check("States.Hash('', 'MD5')", json!("d41d8cd98f00b204e9800998ecf8427e"));
    check(
        "States.JsonMerge($.object, States.StringToJson('{\"a\":2}'), false)",
        json!({"a": 2, "b": ["x", null]}),
    );
    check("States.JsonToString($.object)", json!("{\"a\":1,\"b\":[\"x\",null]}"));
    check("States.StringToJson('')", Value::Null);
    check("States.MathAdd(-1.5, -1.51)", json!(-3));
    check("States.MathAdd($var.n, 1)", json!(5));
    check("States.StringSplit($.text, ',;')", json!(["a", "b", "c"]));
    check("States.MathRandom(5, 6)", json!(5));
    check("States.Array($.k[0]['a, b'], $$.Name)", json!([1, "ctx"]));
}

#[test]
fn formatting() {
    check("States.Format('{} and {}', 'a', 1.5)", json!("a and 1.5"));
    check("States.Format('it\\'s \\{{}\\} \\\\', true)", json!("it's {true} \\"));
    check("States.Format('{}', $.object)", json!("{a=1, b=[x, null]}"));
    check("States.Format($.template, $$.Name)", json!("<ctx>"));
    check("States.Format('none')", json!("none"));
}

#[test]
fn chance_comes_from_the_seed() {
    let draw = |call: &str| eval(call, &Value::Null).unwrap();
    let two = draw("States.Array(States.UUID(), States.UUID())");
    assert_ne!(two[0], two[1]);
    assert_eq!(two, draw("States.Array(States.UUID(), States.UUID())"));
    let seeded = draw("States.MathRandom(1, 1000, 7)");
    assert_eq!(
        seeded,
        draw("States.ArrayGetItem(States.Array(0, States.MathRandom(1, 1000, 7)), 1)")
    );
}

#[track_caller]
fn check_error(call: &str, message: &str) {
    let error = eval(call, &json!({"a": 1})).unwrap_err();
    assert!(error.contains(message), "{call}: {error}");
}

#[test]
fn failures_say_why() {
    check_error(
        "States.ArrayGetItem(States.Array(1), 1)",
        "index 1 is outside an array of 1 items",
    );
    check_error("States.Format('{}')", "does not match the occurrences");
    check_error(
        "States.Format('{}', $.b)",
        "The JsonPath argument for the field '$.b' could not be found in the input '{\"a\":1}'",
    );
    check_error("States.ArrayRange(0, 1000, 1)", "at most 1000 items");
    check_error("States.Hash($.a, 'MD4')", "one of MD5, SHA-1");
    check_error("States.JsonMerge($, $, true)", "deep merging");
    check_error("States.StringToJson('{')", "not JSON");
    check_error("States.ArrayPartition(States.Array(), 0)", "above 0");
    check_error("States.MathRandom(3, 3)", "must be above");
    check_error("States.Nope()", "there is no function States.Nope");
    check_error("States.UUID(1)", "takes 0 arguments, not 1");
    check_error("States.StringToJson('\\\"')", "after a backslash");
    check_error("States.Array(1", "',' or ')'");
    check_error("States.Array('a", "never closed");
    check_error("States.Array() x", "nothing may follow");
    check_error(&"States.Array(".repeat(11), "at most 10");
    let long = format!("States.Base64Encode('{}')", "x".repeat(10_001));
    check_error(&long, "at most 10000 characters");
}

#[test]
fn payload_templates() {
    let template = PayloadTemplate::compile(&json!({
        "fixed": {"a": "$.b"}, "id.$": "$.order.id", "exec.$": "$$.Execution",
        "list": [{"n.$": "States.MathAdd($.order.id, 1)"}, 3], "rows.$": "$.rows[*].x",
    }))
    .unwrap();
    let (input, context) =
        (json!({"order": {"id": 7}, "rows": [{"x": 1}]}), json!({"Execution": "e"}));
    let value = template.eval(Roots::new(&input, &context), ENV).unwrap();
    assert_eq!(
        value,
        json!({
            "fixed": {"a": "$.b"}, "id": 7, "exec": "e", "list": [{"n": 8}, 3], "rows": [1],
        })
    );
    let error = template.eval(Roots::new(&context, &context), ENV).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The JSONPath '$.order.id' specified for the field 'id.$' could \
        not be found in the input '{\"Execution\":\"e\"}'"
    );
    let problems =
        PayloadTemplate::compile(&json!({"a": {"b.$": "x"}, "c.$": 1, "d.$": "States.X()"}))
            .unwrap_err();
    let pointers: Vec<&str> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    assert_eq!(pointers, ["/a/b.$", "/c.$", "/d.$"]);
    assert_eq!(
        problems[0].to_string(),
        "The value for the field 'b.$' must be a valid JSONPath or \
        a valid intrinsic function call"
    );
}

#[test]
fn sources() {
    let (input, none) = (json!({"a": "x"}), Value::Null);
    let of = |text: &str| Source::parse(text).unwrap().eval(Roots::new(&input, &none), ENV);
    assert_eq!(of("$.a"), Ok(json!("x")));
    assert_eq!(of("States.Format('{}!', $.a)"), Ok(json!("x!")));
    assert!(matches!(of("$.b"), Err(SourceError::PathNotFound { field: None, .. })));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        name in "(Format|Array|StringSplit|JsonMerge|MathAdd|ArrayRange|StringToJson)",
        arguments in "[$.,'()\\[\\]{}\\\\a-c0-9 -]{0,30}",
    ) {
        let _ = eval(&format!("States.{name}({arguments})"), &json!({"a": 1, "b": ["c"]}));
    }

    #[test]
    fn text_of_all_kinds_is_read_or_refused(text in "\\PC*") {
        let _ = Source::parse(&text);
        let _ = eval(&format!("States.Format('{text}', '{text}')"), &Value::Null);
        let _ = eval(&format!("States.Array({text})"), &Value::Null);
    }
}
