//! What each operator and each rule of combination means, case by case.

use stepbus_model::Limits;
use stepbus_pattern::{InvalidPattern, Matcher, Pattern, Scratch};

#[track_caller]
fn check(pattern: &str, event: &str, expected: bool) {
    let pattern = Pattern::parse(pattern).unwrap();
    assert_eq!(pattern.matches(event.as_bytes()), Ok(expected), "alone");
    let matcher = Matcher::new();
    matcher.add((), &pattern);
    let mut scratch = Scratch::new();
    let found = matcher.matches(event.as_bytes(), &mut scratch).unwrap();
    assert_eq!(!found.is_empty(), expected, "in the machine");
}

#[test]
fn exact_values() {
    check(r#"{"a": ["x", "y"]}"#, r#"{"a": "y"}"#, true);
    check(r#"{"a": ["x"]}"#, r#"{"a": "X"}"#, false);
    check(r#"{"a": ["5"]}"#, r#"{"a": 5}"#, false);
    check(r#"{"a": [5]}"#, r#"{"a": 5.0}"#, true);
    check(r#"{"a": [12345678901234567890]}"#, r#"{"a": 12345678901234567891}"#, false);
    check(r#"{"a": [12345678901234567890]}"#, r#"{"a": 12345678901234567890}"#, true);
    check(r#"{"a": [null]}"#, r#"{"a": null}"#, true);
    check(r#"{"a": [null]}"#, "{}", false);
    check(r#"{"a": [true]}"#, r#"{"a": "true"}"#, false);
    check(r#"{"a": [""]}"#, r#"{"a": ""}"#, true);
    check(r#"{"a": ["::1"]}"#, r#"{"a": "0:0:0:0:0:0:0:1"}"#, true);
    check(r#"{"a": ["é"]}"#, r#"{"a": "\u00e9"}"#, true);
    check(r#"{"\u0061": ["x"]}"#, r#"{"a": "x"}"#, true);
    check(r#"{"a": ["x"]}"#, r#"{"\u0061": "x"}"#, true);
}

#[test]
fn text_operators() {
    check(r#"{"a": [{"prefix": ""}]}"#, r#"{"a": ""}"#, true);
    check(r#"{"a": [{"prefix": ""}]}"#, r#"{"a": 1}"#, false);
    check(r#"{"a": [{"suffix": "é"}]}"#, r#"{"a": "caf\u00e9"}"#, true);
    check(r#"{"a": [{"prefix": {"equals-ignore-case": "ÉC"}}]}"#, r#"{"a": "école"}"#, true);
    check(r#"{"a": [{"suffix": {"equals-ignore-case": "ÉC"}}]}"#, r#"{"a": "avéc"}"#, true);
    check(r#"{"a": [{"wildcard": "*/x/*.png"}]}"#, r#"{"a": "d/x/y.png"}"#, true);
    check(r#"{"a": [{"wildcard": "*"}]}"#, r#"{"a": null}"#, false);
    check(r#"{"a": [{"cidr": "10.0.0.0/24"}]}"#, r#"{"a": "10.0.0.77"}"#, true);
    check(r#"{"a": [{"cidr": "10.0.0.0/24"}]}"#, r#"{"a": "10.0.1.77"}"#, false);
}

#[test]
fn numeric() {
    check(r#"{"a": [{"numeric": [">", 0, "<=", 5]}]}"#, r#"{"a": 5}"#, true);
    check(r#"{"a": [{"numeric": [">", 0, "<=", 5]}]}"#, r#"{"a": 0}"#, false);
    check(r#"{"a": [{"numeric": ["<", 0.1]}]}"#, r#"{"a": -1e-9}"#, true);
    check(r#"{"a": [{"numeric": ["=", 0]}]}"#, r#"{"a": -0.0}"#, true);
    check(r#"{"a": [{"numeric": [">", 0]}]}"#, r#"{"a": "1"}"#, false);
}

#[test]
fn anything_but() {
    check(r#"{"a": [{"anything-but": "x"}]}"#, r#"{"a": null}"#, true);
    check(r#"{"a": [{"anything-but": "x"}]}"#, r#"{"a": {}}"#, false);
    check(r#"{"a": [{"anything-but": "x"}]}"#, r#"{"a": []}"#, false);
    check(r#"{"a": [{"anything-but": "x"}]}"#, "{}", false);
    check(r#"{"a": [{"anything-but": "x"}]}"#, r#"{"a": ["x", "y"]}"#, true);
    check(r#"{"a": [{"anything-but": [1, 2]}]}"#, r#"{"a": 2.0}"#, false);
    check(r#"{"a": [{"anything-but": [1, 2]}]}"#, r#"{"a": "2"}"#, true);
    check(r#"{"a": [{"anything-but": {"prefix": ["x", "y"]}}]}"#, r#"{"a": "yes"}"#, false);
    check(r#"{"a": [{"anything-but": {"wildcard": "*/x/*"}}]}"#, r#"{"a": "a/x/b"}"#, false);
    check(r#"{"a": [{"anything-but": {"equals-ignore-case": "x"}}]}"#, r#"{"a": "X"}"#, false);
}

#[test]
fn exists_is_about_values() {
    check(r#"{"a": [{"exists": true}]}"#, r#"{"a": null}"#, true);
    check(r#"{"a": [{"exists": true}]}"#, r#"{"a": {"b": 1}}"#, false);
    check(r#"{"a": [{"exists": true}]}"#, r#"{"a": []}"#, false);
    check(r#"{"a": [{"exists": false}]}"#, r#"{"a": {"b": 1}}"#, true);
    check(r#"{"a": {"b": [{"exists": false}]}}"#, r#"{"a": 1}"#, true);
    check(r#"{"a": [{"exists": false}, "x"]}"#, r#"{"a": "x"}"#, true);
    check(r#"{"a": [{"exists": false}, "x"]}"#, r#"{"a": "y"}"#, false);
}

#[test]
fn fields_of_different_elements_never_combine() {
    let both = r#"{"a": {"x": [1], "y": [2]}}"#;
    check(both, r#"{"a": [{"x": 1, "y": 2}]}"#, true);
    check(both, r#"{"a": [{"x": 1}, {"y": 2}]}"#, false);
    check(both, r#"{"a": [[{"x": 1}], [{"y": 2}, {"x": 1, "y": 2}]]}"#, true);
    check(both, r#"{"a": [[{"x": 1}, {"y": 2}]]}"#, false);
    check(
        r#"{"a": {"x": [1]}, "b": {"y": [2]}}"#,
        r#"{"a": [{"x": 1}], "b": [{}, {"y": 2}]}"#,
        true,
    );
    check(r#"{"a": {"x": [1], "y": [{"exists": false}]}}"#, r#"{"a": [{"x": 1}, {"y": 2}]}"#, true);
    check(r#"{"a": {"x": [1], "y": [{"exists": false}]}}"#, r#"{"a": [{"x": 1, "y": 2}]}"#, false);
    check(r#"{"a": ["x"], "b": ["y"]}"#, r#"{"a": ["z", "x"], "b": ["y", "z"]}"#, true);
}

#[test]
fn large_arrays_take_no_time_to_speak_of() {
    let elements = |text: &str| vec![text; 3_000].join(",");
    let apart = format!(r#"{{"a": [{}, {}]}}"#, elements(r#"{"x": 1}"#), elements(r#"{"y": 2}"#));
    check(r#"{"a": {"x": [1], "y": [2]}}"#, &apart, false);
    check(r#"{"a": {"x": [1], "y": [{"exists": false}]}}"#, &apart, true);
    let together = format!(r#"{{"a": [{}, {{"x": 1, "y": 2}}]}}"#, elements(r#"{"x": 1}"#));
    check(r#"{"a": {"x": [1], "y": [2]}}"#, &together, true);
}

#[test]
fn dots_are_nesting() {
    check(r#"{"a.b": {"c": [1]}}"#, r#"{"a": {"b.c": 1}}"#, true);
    check(r#"{"a": {"b": [1]}}"#, r#"{"a": 2, "a.b": 1}"#, true);
    check(r#"{"a": {"b": [1]}}"#, r#"{"a.b": {"c": 1}}"#, false);
}

#[test]
fn or() {
    let or = r#"{"s": ["x"], "$or": [{"a": [1]}, {"b": [2], "$or": [{"c": [3]}, {"d": [4]}]}]}"#;
    check(or, r#"{"s": "x", "a": 1}"#, true);
    check(or, r#"{"s": "x", "b": 2}"#, false);
    check(or, r#"{"s": "x", "b": 2, "d": 4}"#, true);
    check(or, r#"{"a": 1}"#, false);
    check(r#"{"a": {"$or": [{"b": [1]}, {"c": [1]}]}}"#, r#"{"a": {"c": 1}}"#, true);
}

#[test]
fn the_last_of_repeated_members_of_a_pattern_counts() {
    check(r#"{"a": ["x"], "a": ["y"]}"#, r#"{"a": "x"}"#, false);
    check(r#"{"a": ["x"], "a": ["y"]}"#, r#"{"a": "y"}"#, true);
}

#[track_caller]
fn check_invalid(pattern: &str, reason: &str, place: Option<(u32, u32)>) {
    let error = Pattern::parse(pattern).unwrap_err();
    assert_eq!(error.reason(), reason);
    assert_eq!(error.line().zip(error.column()), place);
}

#[test]
fn refusals_say_what_and_where() {
    check_invalid("[]", "Filter is not an object", Some((1, 2)));
    check_invalid("", "Filter is not an object", Some((1, 1)));
    check_invalid("{}", "Empty objects are not allowed", Some((1, 3)));
    check_invalid(r#"{"a": []}"#, "Empty arrays are not allowed", Some((1, 9)));
    check_invalid("{\n \"a\": 5}", "\"a\" must be an object or an array", Some((2, 8)));
    check_invalid(
        r#"{"a": [[1]]}"#,
        "Match value must be String, number, true, false, or null",
        Some((1, 9)),
    );
    check_invalid(
        r#"{"a": [{"wildcard": "x**"}]}"#,
        "Consecutive wildcard characters at pos 2",
        Some((1, 26)),
    );
    check_invalid(r#"{"a": [{"cidr": "x"}]}"#, "Malformed CIDR, one '/' required", None);
    check_invalid(
        r#"{"$or": [{"a": [1]}]}"#,
        "There must have at least 2 Objects in $or relationship.",
        Some((1, 21)),
    );
    check_invalid(
        r#"{"$or": [{"prefix": ["a"]}, {"a": [1]}]}"#,
        "prefix is Ruler reserved fieldName which cannot be used inside $or.",
        Some((1, 22)),
    );
    check_invalid(
        r#"{"a": [1]} x"#,
        "Unexpected character ('x' (code 120)): expected the end of the text",
        Some((1, 13)),
    );
}

#[test]
fn a_refusal_reads_as_on_aws() {
    let error = Pattern::parse(r#"{"a": [{"prefix": 1}]}"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Event pattern is not valid. Reason: prefix match pattern must be a string\n \
         at [Source: (String)\"{\"a\": [{\"prefix\": 1}]}\"; line: 1, column: 20]"
    );
    assert_eq!(InvalidPattern::CODE, "InvalidEventPatternException");
}

#[test]
fn patterns_are_bounded() {
    let error = Pattern::parse(r#"{"a": [{"wildcard": "*a*a*a*a*a*a*a"}]}"#).unwrap_err();
    assert!(error.reason().starts_with("Rule is too complex - try using fewer wildcard"));
    let or = format!(r#""$or": [{}]"#, vec![r#"{"a": [1]}"#; 40].join(","));
    let error = Pattern::parse(format!(r#"{{{or}, "b": {{{or}}}}}"#)).unwrap_err();
    assert!(error.reason().starts_with("Rule is too complex - $or makes more than 1000"));
    let depth = Limits::DEFAULT.json_depth;
    let deep = format!("{}[1]{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    assert!(Pattern::parse(&deep).unwrap_err().reason().contains("nesting depth"));
    let wide: Vec<_> = (0..200).map(|i| format!(r#""f{i}": [1]"#)).collect();
    let error = Pattern::parse(format!("{{{}}}", wide.join(","))).unwrap_err();
    assert!(error.reason().starts_with("Rule is too complex - at most 128 fields"));
}

#[track_caller]
fn check_invalid_event(event: &[u8], reason: &str) {
    let pattern = Pattern::parse(r#"{"a": {"b": [1]}}"#).unwrap();
    let error = pattern.matches(event).unwrap_err();
    assert!(error.to_string().contains(reason), "{error}");
    let matcher = Matcher::new();
    matcher.add((), &pattern);
    assert!(matcher.matches(event, &mut Scratch::new()).is_err());
}

#[test]
fn broken_events_are_refused() {
    check_invalid_event(b"", "Event must be a JSON object");
    check_invalid_event(b"[1]", "Event must be a JSON object");
    check_invalid_event(b"{\"a\": 1", "Unexpected end-of-input");
    check_invalid_event(b"{\"a\": {\"b\": \xff}}", "it is not UTF-8 at line 1, column 13");
    check_invalid_event(b"{\"a\": {\"b\": 01}}", "Leading zeroes not allowed");
    check_invalid_event(b"{\"a\": {\"b\" 1}}", "was expecting a colon");
    check_invalid_event(b"{\"a\": 1} x", "expected the end of the text");
    let depth = Limits::DEFAULT.json_depth + 1;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    check_invalid_event(deep.as_bytes(), "nesting depth");
}

#[test]
fn an_explanation_names_the_field_and_the_reason() {
    let pattern = Pattern::parse(r#"{"a": {"x": [1], "y": [2, 3]}, "b": [{"exists": false}]}"#);
    let explained =
        |event: &str| pattern.as_ref().unwrap().explain(event.as_bytes()).unwrap().to_string();
    assert_eq!(
        explained(r#"{"a": [{"x": 1}, {"y": 2}]}"#),
        "The event does not match the pattern.\n  \
         ✓ a.x: found 1; asked for [1]\n  \
         ✓ a.y: found 2; asked for [2, 3]\n  \
         ✓ b: found nothing; asked for [{\"exists\": false}]\n  \
         each field matches, but only with values from different elements of an array\n"
    );
    assert_eq!(
        explained(r#"{"a": {"x": {}, "y": ["q", 5]}, "b": null}"#),
        "The event does not match the pattern.\n  \
         ✗ a.x: found nothing; asked for [1]; the field is an object; only values are compared\n  \
         ✗ a.y: found \"q\", 5; asked for [2, 3]; none of the 2 values is one of those asked for\n  \
         ✗ b: found null; asked for [{\"exists\": false}]; the event has the field\n"
    );
}
