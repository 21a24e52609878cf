//! Paths in Jayway's dialect.

use proptest::prelude::*;
use serde_json::{Value, json};
use stepbus_expr::{Path, PathError, Root, Roots};

fn shop() -> Value {
    json!({
        "store": {
            "name": "Corner", "delivery-partner": "X", "none": null,
            "items": [
                {"sku": "a", "price": 8, "tags": ["new", "red"], "size": {"w": 1}},
                {"sku": "b", "price": 12.5, "tags": [], "sale": true},
                {"sku": "c", "price": "12", "tags": ["red"], "sale": null},
            ],
            "numbers": [3, 1, 2],
        },
        "limit": 10, "odd \" 'name'": 1, "a\\\"b": 2,
    })
}

#[track_caller]
fn check(path: &str, expected: Value) {
    let root = shop();
    let actual = Path::parse(path).unwrap().select(&root).map(std::borrow::Cow::into_owned);
    assert_eq!(actual, Ok(expected), "{path}");
}

#[track_caller]
fn check_skus(filter: &str, expected: &[&str]) {
    check(&format!("$.store.items[?({filter})].sku"), json!(expected));
}

#[test]
fn definite_paths_give_bare_values() {
    check("$.store.name", json!("Corner"));
    check("$.store.delivery-partner", json!("X"));
    check("$['store'][\"name\"]", json!("Corner"));
    check("$.store.none", Value::Null);
    check("$.store.items[0].sku", json!("a"));
    check("$.store.items[-1].sku", json!("c"));
    check("$['odd \" \\'name\\'']", json!(1));
    check("$['a\\\"b']", json!(2));
    check("$.store['name','none']", json!({"name": "Corner", "none": null}));
    check("$.store.['name']", json!("Corner"));
}

#[test]
fn other_paths_give_arrays() {
    check("$.store.items[*].sku", json!(["a", "b", "c"]));
    check("$.store.items[0,2].sku", json!(["a", "c"]));
    check("$.store.items[1:].sku", json!(["b", "c"]));
    check("$.store.items[:-1].sku", json!(["a", "b"]));
    check("$.store.items[5:9]", json!([]));
    check("$..sku", json!(["a", "b", "c"]));
    check("$..tags[0]", json!(["new", "red"]));
    check("$..numbers[*]", json!([3, 1, 2]));
    check("$.store.items[*].missing", json!([]));
    check("$.store.items[*].size.w", json!([1]));
    check("$.store['items','numbers'][0]", json!([shop()["store"]["items"][0], 3]));
    check("$..[?(@.w)]", json!([{"w": 1}]));
}

#[test]
fn filters() {
    check_skus("@.price > 9", &["b"]);
    check_skus("@.price == 12", &["c"]);
    check_skus("@.price === 12", &[]);
    check_skus("@.price != 8", &["b", "c"]);
    check_skus("@.price < $.limit", &["a"]);
    check_skus("9 < @.price", &["b"]);
    check_skus("@.sale", &["b", "c"]);
    check_skus("!@.sale", &["a"]);
    check_skus("@.sale == null", &["c"]);
    check_skus("@.sku in ['a', \"c\"]", &["a", "c"]);
    check_skus("@.sku nin ['a','c']", &["b"]);
    check_skus("@.tags contains 'red'", &["a", "c"]);
    check_skus("@.sku contains 'b'", &["b"]);
    check_skus("@.tags size 2", &["a"]);
    check_skus("@.tags empty true", &["b"]);
    check_skus("@.tags subsetof ['red', 'blue']", &["b", "c"]);
    check_skus("@.tags anyof ['new', 'blue']", &["a"]);
    check_skus("@.tags noneof ['new']", &["b", "c"]);
    check_skus("@.tags all ['red']", &["a", "c"]);
    check_skus("@.sku =~ /[AB]/i", &["a", "b"]);
    check_skus("@.tags =~ /n.*/", &["a"]);
    check_skus("(@.price == 8 || @.sale == true) && @.sku != 'b'", &["a"]);
    check_skus("!(@.sku == 'a' || @.sku == 'b')", &["c"]);
    check_skus("@.tags.length() >= 1 && @['price']<=12", &["a"]);
    check_skus("@.size.w==1", &["a"]);
}

#[test]
fn functions() {
    check("$.store.items.length()", json!(3));
    check("$.store.length()", json!(5));
    check("$.store.numbers.sum()", json!(6));
    check("$.store.numbers.avg()", json!(2));
    check("$.store.numbers.min()", json!(1));
    check("$.store.numbers.max()", json!(3));
    check("$.store.numbers.first()", json!(3));
    check("$.store.numbers.last()", json!(2));
    check("$.store.numbers.index(-2)", json!(1));
    check("$.store.numbers.append(4)", json!([3, 1, 2, 4]));
    check("$.store.items[0].keys()", json!(["sku", "price", "tags", "size"]));
    check("$.concat($.store.name, '!')", json!("Corner!"));
    check("$.sum($.limit, 5)", json!(15));
    check("$..numbers.length()", json!(1));
}

#[track_caller]
fn check_missing(path: &str, message: &str) {
    let root = shop();
    let actual = Path::parse(path).unwrap().select(&root).unwrap_err();
    assert_eq!(actual.to_string(), message);
}

#[test]
fn leading_nowhere_is_told_as_jayway_tells_it() {
    check_missing("$.nothing", "No results for path: $['nothing']");
    check_missing("$.store.items[9]", "No results for path: $['store']['items'][9]");
    check_missing("$.a.b", "Missing property in path $['a']");
    check_missing("$.store.none[0]", "The path $['store']['none'] is null");
    check_missing(
        "$.limit.x",
        "Expected to find an object with property ['x'] in path $['limit'] but found \
         'java.lang.Integer'. This is not a json object according to the JsonProvider.",
    );
}

#[test]
fn what_is_no_path_says_where() {
    for (text, position) in [
        ("", 0),
        ("x", 0),
        ("$.", 2),
        ("$.a..", 5),
        ("$.a[", 4),
        ("$.a['b", 4),
        ("$.a[?(@.b ==)]", 12),
        ("$.a b", 3),
        ("$.f()", 2),
        ("$[?(@.a =~ /(/)]", 11),
        ("$.a[1:2:3]", 7),
    ] {
        match Path::parse(text) {
            Err(PathError::Syntax { position: at, .. }) => assert_eq!(at, position, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn deep_nesting_is_refused() {
    assert!(Path::parse(&format!("$[?({}", "(".repeat(100_000))).is_err());
    assert!(Path::parse(&format!("$[?({}", "!".repeat(60_000))).is_err());
    assert!(Path::parse(&format!("$[?(@.a == {}", "[".repeat(60_000))).is_err());
    let nested = "[?(@".repeat(10_000);
    assert!(Path::parse(&format!("${nested}")).is_err());
}

#[test]
fn a_path_that_explodes_is_stopped() {
    let mut value = json!([]);
    for _ in 0..100 {
        value = json!([value, 1]);
    }
    let path = Path::parse(&format!("${}", "..*".repeat(10))).unwrap();
    assert!(matches!(path.select(&value), Err(PathError::Limit(_))));
}

#[test]
fn roots() {
    let (input, context, variable) = (json!({"a": 1}), json!({"a": 2}), json!({"a": 3}));
    let roots = Roots {
        variables: &|name| (name == "var").then_some(&variable),
        ..Roots::new(&input, &context)
    };
    for (path, root, expected) in [
        ("$.a", Root::Input, 1),
        ("$$.a", Root::Context, 2),
        ("$var.a", Root::Variable("var".into()), 3),
    ] {
        let path = Path::parse(path).unwrap();
        assert_eq!(*path.root(), root);
        assert_eq!(path.select_in(roots).unwrap().into_owned(), json!(expected));
    }
    let unknown = Path::parse("$nope").unwrap().select_in(roots).unwrap_err();
    assert_eq!(unknown, PathError::UnknownVariable { name: "nope".to_owned() });
}

#[track_caller]
fn check_set(path: &str, mut root: Value, expected: Option<Value>) {
    let result = Path::parse(path).unwrap().set(&mut root, json!("new"));
    assert_eq!(result.ok().map(|()| root), expected, "{path}");
}

#[test]
fn setting() {
    check_set("$", json!({"a": 1}), Some(json!("new")));
    check_set("$.b", json!({"a": 1}), Some(json!({"a": 1, "b": "new"})));
    check_set("$.a.b.c", json!({}), Some(json!({"a": {"b": {"c": "new"}}})));
    check_set("$['a-b']", json!({"a-b": 1}), Some(json!({"a-b": "new"})));
    check_set("$.a[1]", json!({"a": [1, 2]}), Some(json!({"a": [1, "new"]})));
    check_set("$.a.b", json!({"a": null}), Some(json!({"a": {"b": "new"}})));
    check_set("$.a[2]", json!({"a": [1, 2]}), None);
    check_set("$.a.b", json!({"a": "text"}), None);
    check_set("$.a", json!([1]), None);
    check_set("$.a[*]", json!({"a": []}), None);
    assert!(Path::parse("$.a['b'][0]").unwrap().is_reference());
    assert!(!Path::parse("$..a").unwrap().is_reference());
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5_i64..5).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[abc]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Steps that Jayway's dialect and RFC 9535 read alike.
fn shared_step() -> impl Strategy<Value = String> {
    prop_oneof![
        "[abc]".prop_map(|name| format!(".{name}")),
        "[abc]".prop_map(|name| format!("['{name}']")),
        (-3_i64..3).prop_map(|index| format!("[{index}]")),
        Just("[*]".to_owned()),
        Just("[1:]".to_owned()),
        Just("[:-1]".to_owned()),
        "[abc]".prop_map(|name| format!("..{name}")),
    ]
}

proptest! {
    #[test]
    fn agrees_with_the_rfc_where_the_languages_meet(
        root in json_value(),
        steps in prop::collection::vec(shared_step(), 0..4),
    ) {
        let text = format!("${}", steps.concat());
        let other = serde_json_path::JsonPath::parse(&text).unwrap();
        let expected: Vec<&Value> = other.query(&root).all();
        let path = Path::parse(&text).unwrap();
        let actual = match path.select(&root) {
            Ok(found) if path.is_definite() => vec![found.into_owned()],
            Ok(found) => found.as_array().unwrap().clone(),
            Err(_) => Vec::new(),
        };
        let sorted = |values: Vec<String>| { let mut values = values; values.sort(); values };
        prop_assert_eq!(
            sorted(actual.iter().map(Value::to_string).collect()),
            sorted(expected.iter().map(ToString::to_string).collect()),
            "{}", text
        );
    }

    #[test]
    fn what_was_set_is_found(mut root in json_value(), names in prop::collection::vec("[abc]", 0..4)) {
        let text = names.iter().fold("$".to_owned(), |text, name| format!("{text}.{name}"));
        let path = Path::parse(&text).unwrap();
        if path.set(&mut root, json!("here")).is_ok() {
            prop_assert_eq!(path.select(&root).unwrap().into_owned(), json!("here"));
        }
    }

    #[test]
    fn any_text_is_read_or_refused(
        text in "\\$[$.\\[\\]()?@'\"*,:!=<>&|~/a-c0-9 {}\\\\-]{0,40}", root in json_value(),
    ) {
        if let Ok(path) = Path::parse(&text) {
            let _ = path.select(&root);
            prop_assert_eq!(Path::parse(path.text()), Ok(path));
        }
    }

    #[test]
    fn text_of_all_kinds_is_read_or_refused(text in "\\PC*") {
        let _ = Path::parse(&text);
        let _ = Path::parse(&format!("$.{text}"));
        let _ = Path::parse(&format!("$[?(@.{text})]"));
    }
}
