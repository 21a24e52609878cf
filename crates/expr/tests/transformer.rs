//! What classic targets receive: constants, paths and templates.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use stepbus_expr::{RuleContext, TargetInput, Undeliverable};
use stepbus_model::Timestamp;

const RULE: RuleContext<'static> = RuleContext {
    rule_arn: "arn:aws:events:eu-west-1:000000000000:rule/orders/large",
    rule_name: "large",
    ingestion_time: Timestamp(1_764_000_000_125),
};
const MOST: usize = 100_000;

fn event() -> Value {
    json!({
        "version": "0", "id": "e-1", "detail-type": "Order placed", "source": "shop",
        "time": "2025-11-24T16:00:00Z", "resources": [],
        "detail": {
            "order": {"id": "o-7", "note": "a \"b\""}, "tags": ["new", "eu"], "sizes": [1, 2],
            "total": 12.5, "paid": false, "coupon": null, "said": "x\"y", "lines": "a\nb",
            "rows": [{"sku": "s1"}, {"sku": "s2"}],
        },
    })
}

fn transformer(template: &str) -> Value {
    json!({"InputTransformer": {
        "InputPathsMap": {
            "order": "$.detail.order", "id": "$.detail.order.id", "tags": "$.detail.tags",
            "sizes": "$.detail.sizes", "total": "$.detail.total", "paid": "$.detail.paid",
            "coupon": "$.detail.coupon", "said": "$.detail.said", "lines": "$.detail.lines",
            "kind": "$.detail-type", "gone": "$.detail.gone.deeper", "first": "$.detail.rows[0].sku",
            "skus": "$.detail.rows[*].sku",
        },
        "InputTemplate": template,
    }})
}

fn render(target: &Value) -> Result<String, Undeliverable> {
    TargetInput::of_target(target).expect("a valid target").render(&event(), &RULE, MOST)
}

/// `None`: nothing is delivered.
fn check(target: &Value, expected: Option<&str>) {
    assert_eq!(render(target).ok().as_deref(), expected, "{target}");
}

#[test]
fn templates() {
    let table: &[(&str, Option<&str>)] = &[
        // Lines of text.
        (r#""<id> is <kind>""#, Some(r#""o-7 is Order placed""#)),
        (r#""<total>, <paid>""#, Some(r#""12.5, false""#)),
        (r#""<tags> <sizes>""#, Some(r#""[new,eu] [1,2]""#)),
        (r#""<order>""#, Some(r#""{id:o-7,note:a b}""#)),
        (r#""[<gone>]""#, Some(r#""[]""#)),
        ("\"<id>\"\n\"<first>\"", Some("\"o-7\"\n\"s1\"")),
        (r#""say \"<id>\" twice""#, Some(r#""say \"o-7\" twice""#)),
        (r#""1 < 2, <> and < id >""#, Some(r#""1 < 2, <> and < id >""#)),
        (r#""{<id>}""#, Some(r#""{o-7}""#)),
        ("<id>", Some(r#""o-7""#)),
        // JSON: values outside quotes are JSON, those inside stand as they are.
        (r#"{"a":<id>,"b":"<id>"}"#, Some(r#"{"a":"o-7","b":"o-7"}"#)),
        (r#" {"a": [<total>, <paid>, 9]}"#, Some(r#" {"a": [12.5, false, 9]}"#)),
        (r#"{"a":<order>}"#, Some(r#"{"a":{"id":"o-7","note":"a \"b\""}}"#)),
        (r#"[<skus>,<tags>]"#, Some(r#"[["s1","s2"],["new","eu"]]"#)),
        (r#"{"a":<gone>,"b":"<gone>"}"#, Some(r#"{"a":"","b":""}"#)),
        (r#"{"a":<coupon>}"#, Some(r#"{"a":null}"#)),
        (r#"{"a":<said>,"b":<lines>}"#, Some(r#"{"a":"x\"y","b":"a\nb"}"#)),
        (r#"{"a":"is \"<id>\""}"#, Some(r#"{"a":"is \"o-7\""}"#)),
        (r#"["<tags>", <tags>]"#, Some(r#"["[new,eu]", ["new","eu"]]"#)),
        (r#"{"a":"<sizes>"}"#, Some(r#"{"a":"[1,2]"}"#)),
        (r#"{"a":"<tags>"}"#, None),
        (r#"{"a":"<order>"}"#, None),
        (r#"{"a":"<said>"}"#, None),
        (r#"{"a":"<lines>"}"#, None),
    ];
    for (template, expected) in table {
        check(&transformer(template), *expected);
    }
}

#[test]
fn reserved_variables() {
    check(
        &transformer(
            r#""<aws.events.rule-arn> <aws.events.rule-name> <aws.events.event.ingestion-time>""#,
        ),
        Some(
            r#""arn:aws:events:eu-west-1:000000000000:rule/orders/large large 2025-11-24T16:00:00Z""#,
        ),
    );
    check(&transformer(r#"[<aws.events.rule-name>]"#), Some(r#"["large"]"#));
    let whole = render(&transformer("{\"a\": <aws.events.event.json>, \"b\": <aws.events.event>}"))
        .unwrap();
    let envelope = json!({
        "version": "0", "id": "e-1", "detailType": "Order placed", "source": "shop",
        "time": "2025-11-24T16:00:00Z", "resources": [],
    });
    assert_eq!(
        serde_json::from_str::<Value>(&whole).unwrap(),
        json!({"a": event(), "b": envelope})
    );
    check(&transformer(r#"{"a": "<aws.events.event.json>"}"#), None);
}

#[test]
fn constants_paths_and_the_event() {
    check(&json!({}), Some(&event().to_string()));
    check(&json!({"Input": "{\"a\":  [1]}"}), Some("{\"a\":  [1]}"));
    check(&json!({"InputPath": "$.detail.order.id"}), Some(r#""o-7""#));
    check(&json!({"InputPath": "$.detail.sizes"}), Some("[1,2]"));
    check(&json!({"InputPath": "$"}), Some(&event().to_string()));
    check(&json!({"InputPath": "$.detail.gone"}), None);
}

fn refusal(target: &Value) -> String {
    TargetInput::of_target(target).expect_err("an invalid target").message("t1")
}

fn with_paths(paths: Value) -> Value {
    json!({"InputTransformer": {"InputPathsMap": paths, "InputTemplate": "\"x\""}})
}

#[test]
fn refusals_say_what_is_wrong() {
    let many: Map<String, Value> = (0..101).map(|i| (format!("v{i}"), json!("$.id"))).collect();
    let table = [
        (
            transformer("\"<nobody>\""),
            "InputTemplate for target t1 contains invalid placeholder nobody.",
        ),
        (
            json!({"Input": "1", "InputPath": "$"}),
            "Only one of Input, InputPath, or InputTransformer must be provided for target t1.",
        ),
        (json!({"InputTransformer": {}}), "inputTransformer.inputTemplate' failed to satisfy"),
        (json!({"Input": "{a"}), "JSON syntax error in input for target t1: key must be a string"),
        (json!({"Input": 1}), "Input for target t1 must be a string"),
        (json!({"InputPath": "detail"}), "InputPath for target t1 is invalid. \"detail\""),
        (json!({"InputPath": "$.a['b']"}), "not in brackets and quotes"),
        (
            transformer("[<aws.events.event.json>]"),
            "InputTemplate for target t1 contains placeholder aws.events.event.json valid only for \
             JSON template.",
        ),
        (json!({"InputPath": "$$.a"}), "it must begin with '$.'"),
        (transformer("plain words"), "Invalid InputTemplate for target t1"),
        (transformer(""), "there is nothing"),
        (transformer("{\"a\":<id>} \"b\""), "an object or array may have nothing beside it"),
        (transformer("{\"<id>\": 1}"), "a variable cannot be the name of a member"),
        (transformer("{<id>: 1}"), "Invalid InputTemplate"),
        (transformer(&format!("\"{}\"", "x".repeat(8191))), "less than or equal to 8192"),
        (with_paths(Value::Object(many)), "less than or equal to 100"),
        (with_paths(json!({"AWSid": "$.id"})), "a name may not start with 'AWS'"),
        (with_paths(json!({"a b": "$.id"})), "letters, digits, '_' and '-'"),
        (with_paths(json!({"": "$.id"})), "1 to 256 characters"),
        (with_paths(json!({"a": 1})), "its path must be a string"),
        (with_paths(json!({"a": "$["})), "is not a JSONPath"),
        (with_paths(json!([])), "must be an object of names and paths"),
    ];
    for (target, expected) in table {
        let message = refusal(&target);
        assert!(message.contains(expected), "{target}: {message}");
    }
}

#[test]
fn a_body_is_bounded() {
    let template = format!("{{\"a\":[0{}]}}", ",<aws.events.event.json>".repeat(300));
    let input = TargetInput::of_target(&transformer(&template)).unwrap();
    assert_eq!(input.render(&event(), &RULE, 4096), Err(Undeliverable::TooLong(4096)));
    assert!(input.render(&event(), &RULE, 1 << 20).is_ok());
}

fn attempt(target: &Value, event: &Value) -> Option<String> {
    TargetInput::of_target(target).ok()?.render(event, &RULE, MOST).ok()
}

proptest! {
    #[test]
    fn any_template_and_path_is_taken_or_refused(
        name in "[a-cA-W_-]{0,4}", path in "\\PC{0,20}", template in "\\PC{0,60}",
    ) {
        let paths: Map<String, Value> = [(name, json!(path))].into_iter().collect();
        let target =
            json!({"InputTransformer": {"InputPathsMap": paths, "InputTemplate": template}});
        attempt(&target, &event());
        attempt(&json!({"InputPath": path}), &event());
        attempt(&json!({"Input": template}), &event());
    }

    #[test]
    fn what_looks_like_a_template_is_taken_or_refused(
        template in "[\\[{]?(\"|\\\\\"|<a>|<b>|<aws.events.event>|[a1:, <>é\\n]|\"a\":){0,12}[\\]}]?",
        a in "\\PC{0,10}",
    ) {
        let target = json!({"InputTransformer": {
            "InputPathsMap": {"a": "$.a", "b": "$.b[*]"}, "InputTemplate": template,
        }});
        let json = template.starts_with('{');
        if let Some(body) = attempt(&target, &json!({"a": a, "b": [a]})) {
            prop_assert!(!json || serde_json::from_str::<Value>(&body).is_ok(), "{}", body);
        }
    }

    #[test]
    fn a_value_outside_quotes_comes_out_as_it_went_in(text in "\\PC*") {
        let target = json!({"InputTransformer": {
            "InputPathsMap": {"a": "$.a"}, "InputTemplate": "{\"is\": <a>}",
        }});
        let body = attempt(&target, &json!({"a": text})).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"is": text}));
    }
}
