//! The machine for many patterns agrees with the plain way, whatever the patterns and the event.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use stepbus_pattern::{Matcher, Pattern, Scratch};

/// No event gives a field twice: which of the values counts is not defined.
const NAMES: [&str; 5] = ["a", "b", "c", "d.e", "x y"];

fn text() -> impl Strategy<Value = String> {
    let texts = [
        "", "a", "A", "ab", "aB", "abc", "bc", "ABC", "b", "10.0.0.1", "::1", "é", "É", "ß", "SS",
        "a\"b\\", "a*c", "\u{1}",
    ];
    select(texts.to_vec()).prop_map(str::to_owned)
}

fn number() -> impl Strategy<Value = Value> {
    select(vec!["0", "1", "1.0", "-2.5", "3", "100", "1e2", "123456789012345678", "0.1"])
        .prop_map(|text| serde_json::from_str(text).unwrap())
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::from),
        3 => number(),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn event() -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            object(inner.clone(), 0..4),
            vec(object(inner, 0..4), 0..4).prop_map(Value::from),
        ]
    });
    object(value, 0..5)
}

fn object(
    member: impl Strategy<Value = Value>,
    size: std::ops::Range<usize>,
) -> impl Strategy<Value = Value> {
    btree_map(select(NAMES.to_vec()), member, size).prop_map(|members: BTreeMap<_, _>| {
        Value::Object(members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    })
}

fn wildcard() -> impl Strategy<Value = String> {
    let wildcards = ["*", "a*", "*c", "a*c", "*b*", "*ab*c", "abc", r"a\*c", "*a*b*"];
    select(wildcards.to_vec()).prop_map(str::to_owned)
}

fn term() -> impl Strategy<Value = Value> {
    let some = || text().prop_filter("must not be empty", |text| !text.is_empty());
    prop_oneof![
        6 => scalar(),
        1 => text().prop_map(|t| json!({"prefix": t})),
        1 => text().prop_map(|t| json!({"suffix": t})),
        1 => text().prop_map(|t| json!({"equals-ignore-case": t})),
        1 => text().prop_map(|t| json!({"prefix": {"equals-ignore-case": t}})),
        1 => text().prop_map(|t| json!({"suffix": {"equals-ignore-case": t}})),
        1 => wildcard().prop_map(|t| json!({"wildcard": t})),
        2 => any::<bool>().prop_map(|b| json!({"exists": b})),
        1 => select(vec![("<", 1), ("<=", 1), (">", 0), (">=", 1), ("=", 100)])
            .prop_map(|(operator, n)| json!({"numeric": [operator, n]})),
        1 => (0..3, 3..5).prop_map(|(low, high)| json!({"numeric": [">=", low, "<", high]})),
        1 => select(vec!["10.0.0.0/8", "::/64", "0.0.0.0/0"]).prop_map(|c| json!({"cidr": c})),
        1 => vec(text(), 1..3).prop_map(|t| json!({"anything-but": t})),
        1 => vec(select(vec![json!(0), json!(1), json!(100)]), 1..3)
            .prop_map(|n| json!({"anything-but": n})),
        1 => vec(some(), 1..3).prop_map(|t| json!({"anything-but": {"prefix": t}})),
        1 => vec(some(), 1..3).prop_map(|t| json!({"anything-but": {"suffix": t}})),
        1 => vec(text(), 1..3).prop_map(|t| json!({"anything-but": {"equals-ignore-case": t}})),
        1 => wildcard().prop_map(|t| json!({"anything-but": {"wildcard": t}})),
    ]
}

fn pattern() -> impl Strategy<Value = Value> {
    let leaf = vec(term(), 1..4).prop_map(Value::from);
    let nested = leaf.prop_recursive(3, 10, 3, |inner| object(inner, 1..3));
    let plain = object(nested, 1..4).boxed();
    prop_oneof![
        3 => plain.clone(),
        1 => (plain.clone(), vec(plain, 2..4)).prop_map(|(mut pattern, alternatives)| {
            pattern["$or"] = Value::from(alternatives);
            pattern
        }),
    ]
}

fn parsed(patterns: &[Value]) -> Vec<Pattern> {
    patterns.iter().map(|pattern| Pattern::parse(pattern.to_string()).unwrap()).collect()
}

fn check_agreement(
    matcher: &Matcher<usize>,
    patterns: &[(usize, &Pattern)],
    event: &Value,
    scratch: &mut Scratch<usize>,
) {
    let event = event.to_string();
    let mut found = matcher.matches(event.as_bytes(), scratch).unwrap().to_vec();
    found.sort_unstable();
    let mut expected: Vec<_> = patterns
        .iter()
        .filter(|(_, pattern)| pattern.matches(event.as_bytes()).unwrap())
        .map(|&(key, _)| key)
        .collect();
    expected.sort_unstable();
    assert_eq!(found, expected, "{event}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn many_patterns_match_as_each_alone_does(
        patterns in vec(pattern(), 1..12),
        events in vec(event(), 1..4),
    ) {
        let patterns = parsed(&patterns);
        let matcher = Matcher::new();
        matcher.add_all(patterns.iter().enumerate());
        let all: Vec<_> = patterns.iter().enumerate().collect();
        let mut scratch = Scratch::new();
        for event in &events {
            check_agreement(&matcher, &all, event, &mut scratch);
        }
    }

    #[test]
    fn patterns_come_and_go(
        patterns in vec(pattern(), 1..10),
        changes in vec((any::<bool>(), 66_usize..74, any::<prop::sample::Index>()), 1..30),
        event in event(),
    ) {
        let patterns = parsed(&patterns);
        let matcher = Matcher::new();
        // So many that the machine keeps them apart from those that come later.
        let mut expected: BTreeMap<usize, &Pattern> =
            (0..70).zip(patterns.iter().cycle()).collect();
        matcher.add_all(expected.iter().map(|(&key, &pattern)| (key, pattern)));
        let mut scratch = Scratch::new();
        for (add, key, index) in changes {
            if add {
                let pattern = &patterns[index.index(patterns.len())];
                matcher.add(key, pattern);
                expected.insert(key, pattern);
            } else {
                prop_assert_eq!(matcher.remove(key), expected.remove(&key).is_some());
            }
        }
        prop_assert_eq!(matcher.len(), expected.len());
        let all: Vec<_> = expected.into_iter().collect();
        check_agreement(&matcher, &all, &event, &mut scratch);
    }

    #[test]
    fn what_explain_says_is_what_matches_says(pattern in pattern(), event in event()) {
        let pattern = Pattern::parse(pattern.to_string()).unwrap();
        let event = event.to_string();
        let explanation = pattern.explain(event.as_bytes()).unwrap();
        prop_assert_eq!(explanation.matched, pattern.matches(event.as_bytes()).unwrap());
    }

    #[test]
    fn bytes_of_any_kind_make_no_panic(
        bytes in vec(any::<u8>(), 0..200),
        event in event(),
        cut in any::<prop::sample::Index>(),
        put in any::<u8>(),
    ) {
        let pattern = Pattern::parse(r#"{"a": {"b": [1, {"exists": false}]}, "c": [null]}"#).unwrap();
        let matcher = Matcher::new();
        matcher.add(0_usize, &pattern);
        let mut scratch = Scratch::new();
        let mut broken = event.to_string().into_bytes();
        let at = cut.index(broken.len());
        broken[at] = put;
        for text in [&bytes[..], &broken[..], &broken[..at]] {
            let _ = Pattern::parse(text);
            let alone = pattern.matches(text);
            let found = matcher.matches(text, &mut scratch).map(<[_]>::len);
            if let (Ok(alone), Ok(found)) = (alone, found) {
                prop_assert_eq!(usize::from(alone), found);
            }
        }
    }
}

#[test]
fn thousands_of_patterns_outlive_the_recompiling_of_the_machine() {
    let matcher = Matcher::new();
    let patterns: Vec<_> = (0..600)
        .map(|i| {
            Pattern::parse(format!(r#"{{"n": [{i}], "s": [{{"anything-but": "x"}}]}}"#)).unwrap()
        })
        .collect();
    for (i, pattern) in patterns.iter().enumerate() {
        matcher.add(i, pattern);
    }
    let mut scratch = Scratch::new();
    for i in (0..600).step_by(3) {
        assert!(matcher.remove(i));
    }
    for i in 0..600 {
        let event = format!(r#"{{"n": {i}, "s": "y"}}"#);
        let found = matcher.matches(event.as_bytes(), &mut scratch).unwrap();
        assert_eq!(found.to_vec(), if i % 3 == 0 { vec![] } else { vec![i] });
    }
}

#[test]
fn matching_goes_on_while_patterns_come_and_go() {
    let matcher = Matcher::new();
    let constant = Pattern::parse(r#"{"a": ["x"]}"#).unwrap();
    matcher.add(0, &constant);
    let other = Pattern::parse(r#"{"b": {"c": [{"prefix": "x"}]}}"#).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..600 {
                matcher.add(1 + i % 7, &other);
                matcher.remove(1 + i % 5);
            }
        });
        scope.spawn(|| {
            let mut scratch = Scratch::new();
            for _ in 0..5_000 {
                let event = br#"{"b": {"c": "y"}, "a": "x"}"#;
                assert_eq!(matcher.matches(event, &mut scratch).unwrap(), [0]);
            }
        });
    });
}
