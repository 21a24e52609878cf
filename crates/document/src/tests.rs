use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[track_caller]
fn check(text: &str, expected: Value) {
    let document = Document::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(*document.value(), expected, "{text}");
}

#[track_caller]
fn check_error(text: &str, expected: Expect) {
    expected.assert_eq(&Document::parse(text).unwrap_err().to_string());
}

#[test]
fn plain_scalars_follow_the_core_schema() {
    let table = [
        ("~", json!(null)),
        ("null", json!(null)),
        ("nULL", json!("nULL")),
        ("true", json!(true)),
        ("FALSE", json!(false)),
        ("on", json!("on")),
        ("no", json!("no")),
        ("Yes", json!("Yes")),
        ("y", json!("y")),
        ("12", json!(12)),
        ("+12", json!(12)),
        ("-12", json!(-12)),
        ("012", json!(12)),
        ("0o14", json!(12)),
        ("0x1F", json!(31)),
        ("0xZ", json!("0xZ")),
        ("0b11", json!("0b11")),
        ("1_000", json!("1_000")),
        ("12:30:45", json!("12:30:45")),
        ("2024-01-01", json!("2024-01-01")),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("18446744073709551616", json!(18_446_744_073_709_551_616.0)),
        ("1.5", json!(1.5)),
        (".5", json!(0.5)),
        ("1.", json!(1.0)),
        ("1e3", json!(1000.0)),
        ("-1.5E-1", json!(-0.15)),
        (".", json!(".")),
        ("1.2.3", json!("1.2.3")),
        ("e3", json!("e3")),
        ("inf", json!("inf")),
        ("30d", json!("30d")),
    ];
    for (scalar, expected) in table {
        check(&format!("a: {scalar}"), json!({ "a": expected }));
        check(&format!("a: '{scalar}'"), json!({ "a": scalar }));
        check(&format!("a: \"{scalar}\""), json!({ "a": scalar }));
        check(&format!("a: !!str {scalar}"), json!({ "a": scalar }));
        check(&format!("{scalar}: a"), json!({ scalar: "a" }));
    }
}

#[test]
fn tags_of_the_core_schema_are_understood() {
    check("!!int '12'", json!(12));
    check("!!float 12", json!(12));
    check("!!null ''", json!(null));
    check("!!bool 'true'", json!(true));
    check("! 12", json!("12"));
    check("!!seq [1]", json!([1]));
    check("!!map {a: 1}", json!({ "a": 1 }));
    check_error("!!int x", expect!["line 1 column 1: `x` is not an integer"]);
    check_error(
        "a: !!binary x",
        expect!["line 1 column 4: the tag `!!binary` has no meaning here"],
    );
    check_error("a: !Ref x", expect!["line 1 column 4: the tag `!Ref` has no meaning here"]);
    check_error("a: !x [1]", expect!["line 1 column 4: the tag `!x` has no meaning here"]);
}

#[test]
fn what_yaml_can_say_and_json_cannot_is_refused() {
    check_error("", expect!["line 1 column 1: the text is empty"]);
    check_error("# only a comment\n", expect!["line 2 column 1: the text is empty"]);
    check_error(
        "a: 1\n---\nb: 2",
        expect!["line 2 column 1: a second document starts; one text holds one document"],
    );
    check_error(
        "a: .inf",
        expect!["line 1 column 4: JSON has no number `.inf`; quote it if it is meant as text"],
    );
    check_error(
        "a: -.INF",
        expect!["line 1 column 4: JSON has no number `-.INF`; quote it if it is meant as text"],
    );
    check_error(
        "a: .nan",
        expect!["line 1 column 4: JSON has no number `.nan`; quote it if it is meant as text"],
    );
    check_error("a: 1e999", expect!["line 1 column 4: the number `1e999` is too large"]);
    check_error(
        "a: 0xffffffffffffffffff",
        expect!["line 1 column 4: the number `0xffffffffffffffffff` is too large"],
    );
    check_error("? [a, b]\n: c", expect!["line 1 column 3: a key must be a plain or quoted text"]);
    check_error(": c", expect!["line 1 column 1: a key is missing before `:`"]);
    check_error(
        "a: &x {b: 1}\nc:\n  <<: *x",
        expect!["line 3 column 3: `<<` (merge) is no part of YAML 1.2; write the members out"],
    );
    check_error(
        "a: *nowhere",
        expect!["line 1 column 4: not YAML: while parsing node, found unknown anchor"],
    );
    check_error(
        "a: &x [*x]",
        expect!["line 1 column 8: the alias stands inside the value it names"],
    );
}

#[test]
fn structure_that_is_wrong_is_refused_with_its_place() {
    check_error(
        "a: 1\n b: 2",
        expect!["line 2 column 3: not YAML: mapping values are not allowed in this context"],
    );
    check_error(
        "a:\n\tb: 2",
        expect![
            "line 2 column 2: not YAML: tabs disallowed within this context (block indentation)"
        ],
    );
    check_error(
        "a: [1, 2",
        expect!["line 2 column 1: not YAML: while parsing a flow sequence, expected ',' or ']'"],
    );
    check_error(
        "a: \"open",
        expect![
            "line 1 column 4: not YAML: while scanning a quoted scalar, found unexpected end of stream"
        ],
    );
    check_error(
        "a: b: c",
        expect!["line 1 column 5: not YAML: mapping values are not allowed in this context"],
    );
    check_error(
        "a: 1\nb: 2\na: 3",
        expect!["line 3 column 1: the key `a` stands twice; first at line 1 column 1"],
    );
    check_error(
        "a: {b: 1, 'b': 2}",
        expect!["line 1 column 11: the key `b` stands twice; first at line 1 column 5"],
    );
    check_error(
        "a: \"\\ud83d\\ude00\"",
        expect![
            "line 1 column 4: not YAML: while parsing a quoted scalar, found invalid Unicode character escape code"
        ],
    );
    check_error(
        "{\"a\": 1,\n \"b\": 2,\n \"\\u0061\": 3}",
        expect!["line 3 column 2: the key `a` stands twice; first at line 1 column 2"],
    );
    check_error(
        "{\"a\": 1,}",
        expect![
            "line 1 column 9: not JSON: a key must be text in double quotes (what starts with `{` or `[` is read as JSON)"
        ],
    );
    check_error(
        "{a: 1}",
        expect![
            "line 1 column 2: not JSON: a key must be text in double quotes (what starts with `{` or `[` is read as JSON)"
        ],
    );
    check_error(
        "{'a': 1}",
        expect![
            "line 1 column 2: not JSON: a key must be text in double quotes (what starts with `{` or `[` is read as JSON)"
        ],
    );
    check_error("[1, 2", expect!["line 1 column 6: not JSON: the text ends inside an array"]);
    check_error("[1] x", expect!["line 1 column 5: not JSON: trailing characters"]);
    check_error("[01]", expect!["line 1 column 3: not JSON: invalid number"]);
    check_error("[1e999]", expect!["line 1 column 2: not JSON: number out of range"]);
    check_error(
        "[\"ü\", \"\\ud800\"]",
        expect!["line 1 column 7: not JSON: unexpected end of hex escape"],
    );
    check_error("[\"ü\", tru]", expect!["line 1 column 10: not JSON: expected a value"]);
    check_error("[1 // no comments\n]", expect!["line 1 column 4: not JSON: expected `,` or `]`"]);
}

#[test]
fn json_keeps_its_own_rules() {
    check(" {\"a\":\t[1, -0.5, 1e2, \"\\/\\ud83d\\ude00\\u0041\", null, true]}\r\n", {
        json!({ "a": [1, -0.5, 100.0, "/😀A", null, true] })
    });
    check("{}", json!({}));
    check("[]", json!([]));
    check("[[], {}]", json!([[], {}]));
    check("\u{feff}{\"a\": 1}", json!({ "a": 1 }));
    check("\u{feff}a: 1", json!({ "a": 1 }));
    let key = "$serde_json::private::RawValue";
    check(&format!("{{\"{key}\": \"[1]\"}}"), json!({ key: "[1]" }));
    check(&format!("{key}: '[1]'"), json!({ key: "[1]" }));
}

#[test]
fn aliases_copy_within_a_bound() {
    check("a: &x [1, 2]\nb: *x", json!({ "a": [1, 2], "b": [1, 2] }));
    let mut bomb = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for n in 1..12 {
        let alias = vec![format!("*a{}", n - 1); 9].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{alias}]\n"));
    }
    check_error(
        &bomb,
        expect!["line 6 column 20: anchors and aliases copy more than 1048576 bytes"],
    );
}

#[test]
fn size_and_depth_are_bounded() {
    let nested = |open: &str, close: &str, depth: usize| {
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    };
    assert!(Document::parse(&nested("[", "]", MAX_DEPTH)).is_ok());
    assert!(Document::parse(&format!("- {}", nested("[", "]", MAX_DEPTH - 1))).is_ok());
    check_error(
        &nested("[", "]", MAX_DEPTH + 1),
        expect!["line 1 column 129: nested deeper than 128 levels"],
    );
    check_error(
        &nested("{\"a\":", "}", 100_000).replace(":}", ":1}"),
        expect!["line 1 column 641: nested deeper than 128 levels"],
    );
    check_error(
        &format!("- {}", nested("[", "]", MAX_DEPTH)),
        expect!["line 1 column 130: nested deeper than 128 levels"],
    );
    check_error(
        &"- ".repeat(MAX_DEPTH + 1),
        expect!["line 1 column 257: nested deeper than 128 levels"],
    );
    check_error(
        &" ".repeat(MAX_BYTES + 1),
        expect!["line 1 column 1: the text has 16777217 bytes; at most 16777216 are read"],
    );
}

#[test]
fn positions_are_of_keys_and_items() {
    let yaml = "name: ä\nlist:\n  - one\n  - {key: two, \"a/b~\": 3}\ntext: |\n  x\n";
    let json = "{\"name\": \"ä\",\n \"list\": [\"one\",\n  {\"key\": \"two\",\n  \"a/b~\": 3}]\n}";
    let table = [
        ("", "1:1 1:1", "1:1 1:1"),
        ("/name", "1:1 1:7", "1:2 1:10"),
        ("/list", "2:1 3:3", "2:2 2:10"),
        ("/list/0", "3:5 3:5", "2:11 2:11"),
        ("/list/1", "4:5 4:5", "3:3 3:3"),
        ("/list/1/key", "4:6 4:11", "3:4 3:11"),
        ("/list/1/a~1b~0", "4:16 4:24", "4:3 4:11"),
        ("/list/1/nothing/here", "4:5 4:5", "3:3 3:3"),
        ("/list/7", "2:1 3:3", "2:2 2:10"),
        ("/name/0", "1:1 1:7", "1:2 1:10"),
        ("nonsense", "1:1 1:1", "1:1 1:1"),
    ];
    let (yaml, json) = (Document::parse(yaml).unwrap(), Document::parse(json).unwrap());
    for (pointer, in_yaml, in_json) in table {
        for (document, expected) in [(&yaml, in_yaml), (&json, in_json)] {
            let found =
                format!("{} {}", document.position(pointer), document.value_position(pointer));
            assert_eq!(found, expected, "{pointer} in {:?}", document.source());
        }
    }
}

#[test]
fn characters_of_a_text_are_found_again() {
    let yaml = "plain: ab cd\nsingle: 'ab cd'\ndouble: \"ab cd\"\nescaped: \"a\\tb\"\nliteral: |\n  \
                ab\n\n   cd\nblank: |\n\n   ab\nfolded: >\n  ab\n  cd\nnumber: 12\n";
    let table = [
        ("/plain", 3, "1:11"),
        ("/single", 3, "2:13"),
        ("/double", 0, "3:10"),
        ("/escaped", 2, "4:10"),
        ("/literal", 0, "6:3"),
        ("/literal", 5, "8:4"),
        ("/literal", 400, "6:3"),
        ("/blank", 2, "11:5"),
        ("/folded", 3, "13:3"),
        ("/number", 1, "15:9"),
        ("/none", 1, "1:1"),
    ];
    let document = Document::parse(yaml).unwrap();
    for (pointer, character, expected) in table {
        let found = document.position_within(pointer, character);
        assert_eq!(found.to_string(), expected, "{pointer}");
    }
}

#[test]
fn texts_are_replaced_and_keep_their_places() {
    let document = Document::parse("a: x\nb: [y, 1, {c: x}]\n").unwrap();
    let changed =
        document.map_texts(|pointer, text| (text == "x").then(|| format!("{pointer} was x")));
    assert_eq!(
        *changed.value(),
        json!({ "a": "/a was x", "b": ["y", 1, { "c": "/b/2/c was x" }] })
    );
    assert_eq!(changed.position("/b/2/c"), document.position("/b/2/c"));
    assert_eq!(changed.source(), document.source());
    let part = document.part("/b/2").unwrap();
    assert_eq!(*part.value(), json!({ "c": "x" }));
    assert_eq!(part.position("/c"), document.position("/b/2/c"));
    assert!(document.part("/c").is_none());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e15..1e15f64).prop_map(Value::from),
        "[ -~äß😀]{0,12}".prop_map(Value::from),
        "(on|no|null|~|1e3|0x1F|\\{% \\$a %\\}|- x|#|: |a: b|)".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map("[a-z/~ :]{1,6}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Block style YAML; texts double quoted.
fn to_yaml(value: &Value, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    match value {
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&format!("\n{pad}-"));
                to_yaml(item, indent + 2, out);
            }
        }
        Value::Object(map) if !map.is_empty() => {
            for (key, member) in map {
                out.push_str(&format!("\n{pad}{}:", Value::from(key.as_str())));
                to_yaml(member, indent + 2, out);
            }
        }
        leaf => out.push_str(&format!(" {leaf}")),
    }
}

fn pointers(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, join(&pointer, index), found);
            }
        }
        Value::Object(map) => {
            for (key, member) in map {
                pointers(member, join(&pointer, key), found);
            }
        }
        _ => {}
    }
    found.push(pointer);
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        if let Ok(document) = Document::parse(&text) {
            document.position("/a/0");
        }
    }

    #[test]
    fn text_like_yaml_never_panics(text in "([a-c]|[ \n\t:#&*!|>'\"%@{}\\[\\],?~-]|<<|!!|\\u00e4|\r\n|1|---|\\\\){0,60}") {
        if let Ok(document) = Document::parse(&text) {
            let mut all = Vec::new();
            pointers(document.value(), String::new(), &mut all);
            for pointer in all {
                document.position_within(&pointer, 3);
            }
        }
    }

    #[test]
    fn json_and_yaml_forms_give_the_same_value(value in any_value()) {
        let json = serde_json::to_string_pretty(&value).unwrap();
        let mut yaml = String::new();
        to_yaml(&value, 0, &mut yaml);
        for text in [&json, &yaml] {
            let document = Document::parse(text).map_err(|e| TestCaseError::fail(format!("{e}: {text}")))?;
            prop_assert_eq!(document.value(), &value, "{}", text);
            let lines: Vec<&str> = document.source().lines().collect();
            let mut all = Vec::new();
            pointers(&value, String::new(), &mut all);
            for pointer in all {
                let at = document.position(&pointer);
                prop_assert_eq!(document.position(&document.pointer_at(at)), at);
                let key = pointer.rsplit('/').next().unwrap().replace("~1", "/").replace("~0", "~");
                let at = document.position(&pointer);
                let rest: String = lines[at.line as usize - 1].chars().skip(at.column as usize - 1).collect();
                let parent = &pointer[..pointer.len() - pointer.rsplit('/').next().unwrap().len()];
                let parent = value.pointer(parent.trim_end_matches('/'));
                if !pointer.is_empty() && parent.is_some_and(Value::is_object) {
                    prop_assert!(rest.starts_with(&Value::from(key).to_string()), "{} {}", pointer, text);
                }
            }
        }
    }
}
