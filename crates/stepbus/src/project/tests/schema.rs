use std::collections::BTreeMap;

use serde_json::Value;

use super::super::schema;
use super::Folder;

/// As much of JSON Schema as the project's uses, so that the test needs no validator.
fn fits(schema: &Value, value: &Value) -> bool {
    let any = |list: &Value| list.as_array().unwrap().iter().filter(|one| fits(one, value)).count();
    let each = schema.as_object().unwrap().iter();
    each.into_iter().all(|(keyword, rule)| match keyword.as_str() {
        "type" => {
            let names = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
            names.iter().any(|name| is_type(name.as_str().unwrap(), value))
        }
        "anyOf" => any(rule) > 0,
        "oneOf" => any(rule) == 1,
        "enum" => rule.as_array().unwrap().contains(value),
        "required" => value.as_object().is_none_or(|map| {
            rule.as_array().unwrap().iter().all(|name| map.contains_key(name.as_str().unwrap()))
        }),
        "properties" => value.as_object().is_none_or(|map| {
            map.iter().all(|(key, member)| rule.get(key).is_none_or(|rule| fits(rule, member)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|map| {
            let known =
                |key: &str| schema.get("properties").is_some_and(|all| all.get(key).is_some());
            map.iter().filter(|(key, _)| !known(key)).all(|(_, member)| match rule {
                Value::Bool(allowed) => *allowed,
                rule => fits(rule, member),
            })
        }),
        "propertyNames" => value
            .as_object()
            .is_none_or(|map| map.keys().all(|key| fits(rule, &Value::from(key.as_str())))),
        "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(rule, item))),
        "pattern" => value
            .as_str()
            .is_none_or(|text| regex::Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
        "minimum" => value.as_u64().is_none_or(|number| number >= rule.as_u64().unwrap()),
        "maximum" => value.as_u64().is_none_or(|number| number <= rule.as_u64().unwrap()),
        "$schema" | "title" | "description" | "examples" => true,
        other => panic!("`{other}` is not known to this test"),
    })
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("`{other}` is no type"),
    }
}

fn parse(text: &str) -> Value {
    stepbus_document::Document::parse(text).unwrap().value().clone()
}

#[test]
fn the_schema_takes_a_whole_project() {
    assert!(fits(&schema(), &parse(include_str!("product-sync.yaml"))));
}

#[test]
fn schema_and_loader_agree_on_shape() {
    let table = [
        ("name: 1", false),
        ("name: a", true),
        ("{}", false),
        ("name: a\nbuses: { b: }", true),
        ("name: a\nbuses: { b: { retention: 30d } }", true),
        ("name: a\nbuses: { b: { retention: \"${DAYS}\" } }", true),
        ("name: a\nbuses: { b: { retention: 30 } }", false),
        ("name: a\nbuses: { b: { retention: 30y } }", false),
        ("name: a\nbuses: { 'b c': }", false),
        ("name: a\nbuses: [b]", false),
        ("name: a\nbus: {}", false),
        ("name: a\nlimits: { profile: aws }", true),
        ("name: a\nlimits: { profile: best }", false),
        ("name: a\nconnections: { c: { concurrency: 0 } }", false),
        ("name: a\nconnections: { c: { concurrency: \"${DAYS}\" } }", false),
        ("name: a\nconnections: { c: { concurrency: \"${N}\" } }", true),
        ("name: a\nconnections: { c: { auth: {} } }", false),
        ("name: a\nconnections: { c: { auth: { basic: { username: a, password: b } } } }", false),
        (
            "name: a\nconnections: { c: { auth: { basic: { username: a, password: \"${N}\" } } } }",
            true,
        ),
        ("name: a\nconnections: { c: { headers: { A: 1, B: true, C: c } } }", true),
        ("name: a\nconnections: { c: { headers: { A: [1] } } }", false),
        ("name: a\ndestinations: { d: { url: \"https://x.example/\" } }", true),
        ("name: a\ndestinations: { d: { url: x.example } }", false),
        ("name: a\ndestinations: { d: { } }", false),
        ("name: a\ndestinations: { d: }", false),
        (
            "name: a\ndestinations: { d: { url: \"https://x/\", outcome: { success: \"true\" } } }",
            false,
        ),
        ("name: a\ndestinations: { d: { url: \"https://x/\", timeout: 1h30m } }", true),
        ("name: a\nworkflows: { w: 1 }", false),
        ("name: a\nworkflows: { w: { type: STANDARD } }", false),
    ];
    let schema = schema();
    let vars = BTreeMap::from([("DAYS", "30d"), ("N", "5")]);
    for (text, expected) in table {
        let by_schema = fits(&schema, &parse(text));
        let mut own = super::Vars::none();
        for (name, value) in &vars {
            own = own.with(*name, *value);
        }
        let folder = Folder::new(text);
        let by_loader = super::load(folder.0.path(), &own);
        let said = by_loader.as_ref().err().map(|problems| super::report::render(problems));
        assert_eq!(by_loader.is_ok(), expected, "loader: {text}\n{}", said.unwrap_or_default());
        // What a variable holds is beyond a schema.
        if !text.contains("concurrency: \"${DAYS}\"") {
            assert_eq!(by_schema, expected, "schema: {text}");
        }
    }
}

#[test]
fn every_field_is_described() {
    fn walk(schema: &Value, at: &str) {
        for (name, property) in
            schema.get("properties").and_then(Value::as_object).into_iter().flatten()
        {
            let about = property["description"].as_str().unwrap_or_default();
            assert!(about.ends_with('.'), "{at}/{name}: {about}");
            walk(property, &format!("{at}/{name}"));
            walk(&property["additionalProperties"], &format!("{at}/{name}"));
        }
    }
    walk(&schema(), "");
}
