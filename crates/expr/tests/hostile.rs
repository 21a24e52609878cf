//! Expressions that would run away, or that are made to break a parser.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};
use stepbus_expr::{Env, EvalErrorKind, EvalLimits, Jsonata, Scope};
use stepbus_model::Timestamp;

fn eval(source: &str, limits: EvalLimits) -> Option<Result<Option<Value>, EvalErrorKind>> {
    let data = json!({"items": (0..500).collect::<Vec<_>>(), "text": "abc"});
    let mut scope = Scope::new(Env::new(Timestamp(0), 1));
    scope.limits(limits);
    scope.bind("s", &data);
    let expression = Jsonata::compile(source).ok()?;
    Some(expression.eval(&scope).map_err(|error| error.kind))
}

/// In a release build each of these ends within a second; the bound here is for slow machines.
#[track_caller]
fn check_stopped(source: &str) {
    let start = Instant::now();
    let limits = EvalLimits { steps: 1_000_000, ..EvalLimits::DEFAULT };
    match eval(source, limits) {
        Some(Err(EvalErrorKind::Limit { .. } | EvalErrorKind::TooLarge { .. })) => {}
        other => panic!("{source}: {:.200}", format!("{other:?}")),
    }
    assert!(start.elapsed() < Duration::from_secs(60), "{source}: {:?}", start.elapsed());
}

#[test]
fn endless_recursion_is_stopped() {
    check_stopped("($f := function() { $f() }; $f())");
    check_stopped("($f := function($n) { 1 + $f($n) }; $f(1))");
    check_stopped("($f := function($n) { $n.($f($)) }; $f(1))");
    check_stopped("(function($f) { $f($f) })(function($f) { $f($f) })");
    check_stopped("($a := function() { $b() }; $b := function() { $a() }; $a())");
    check_stopped("($f := function($n) { $map([1, 2], $f) }; $f(1))");
}

#[test]
fn what_multiplies_is_stopped() {
    check_stopped("[1..1000].([1..1000].([1..1000].($)))");
    check_stopped("$map([1..3000], function($a) { $map([1..3000], function($b) { $a * $b }) })");
    check_stopped("($x := [1..100000]; $map([1..100000].[$x], $sum))");
    check_stopped("($x := [1..100000]; [1..100000][$sum($x) = 1])");
    check_stopped("($x := [1..100000]; [1..100000]^($sum($x)))");
    check_stopped("($x := [1..100000].{'a': 1}; [1..1000].($x.nothing))");
    check_stopped("($x := [1..100000].{'a': 1}; [1..1000]{$string($): $x.nothing})");
    check_stopped("($f := $append(?, [1..100000]); $map([1..1000], $f))");
    check_stopped("$distinct([1..100000])");
    check_stopped("$reduce([1..30000], $append)");
}

#[test]
fn what_grows_is_stopped() {
    check_stopped("$reduce([1..100], function($a, $i) { $a & $a }, 'x')");
    check_stopped("$reduce([1..100], function($a, $i) { [$a, $a] }, 1)");
    check_stopped("$string($reduce([1..100], function($a, $i) { {'a': $a, 'b': $a} }, 1))");
    check_stopped("$reduce([1..100], function($a, $i) { $append($a, $a) }, [1])");
    check_stopped(
        "($a := $s.text; $string($reduce([1..99], function($x, $i) { [[$x], [$x]] }, $a)))",
    );
    check_stopped("$pad('x', 1e12)");
    check_stopped("$reduce(['x', 1e12], $pad)");
    check_stopped("($p := $pad('x', ?); $p(1e12))");
    check_stopped("$formatInteger(1e15, 'I')");
    check_stopped("(1e15).$formatInteger($s.text)");
    check_stopped("$fromMillis(0, '[Y,64]')");
    check_stopped("$now('[H,99999999-99999999]')");
    check_stopped("$toMillis('00:45', '[,a&]')");
    check_stopped("$fromMillis(0, 'x [ ,2]')");
    check_stopped("$fromMillis(0, '[äY]')");
    check_stopped("($t := $pad('x', 100000); $join($map([1..100000], $string), $t))");
    check_stopped("($t := $pad('x', 100000); $replace($t, 'x', $t))");
    check_stopped("($t := $pad('x', 100000); $replace($t, / /, function($m) { $t }))");
    check_stopped("$range(1, 1e12, 1)");
    check_stopped("[1..5000000]");
}

#[test]
fn work_that_ends_is_let_be() {
    let limits = EvalLimits::DEFAULT;
    for (source, expected) in [
        ("($f := function($n) { $n = 0 ? 'end' : $f($n - 1) }; $f(50000))", json!("end")),
        ("($f := function($n) { $n = 0 ? 0 : 1 + $f($n - 1) }; $f(2000))", json!(2000)),
        ("$count($map([1..20000], function($i) { {'a': $i & '!'} }))", json!(20_000)),
        ("$sum($s.items.($ * 2))", json!(249_500)),
        ("$reduce([1..5000], function($a, $i) { $a + $i })", json!(12_502_500)),
        ("$count($distinct([1..5000]))", json!(5000)),
        ("$length($join($map([1..20000], $string), ', '))", json!(128_892)),
        ("$pad('x', -3)", json!("  x")),
        ("('x').$pad(3) & '|'", json!("x  |")),
        ("($p := $pad(?, 3); $p('x'))", json!("x  ")),
        ("$formatInteger(2024, 'I')", json!("MMXXIV")),
        ("$formatInteger(12345678901, '#,##0')", json!("12,345,678,901")),
        ("(0).$fromMillis('[Y]')", json!("1970")),
        ("('1970').$toMillis()", json!(0)),
        ("$s.text ~> $replace('b', '-') ~> $uppercase", json!("A-C")),
        ("($pad := function($x) { $x }; $pad(1e12))", json!(1e12 as i64)),
    ] {
        assert_eq!(eval(source, limits), Some(Ok(Some(expected))), "{source}");
    }
}

#[test]
fn no_depth_of_text_overflows_the_stack() {
    let deep = |open: &str, close: &str| {
        for depth in [500, 20_000] {
            let text = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            let _ = eval(&text, EvalLimits::DEFAULT);
            let _ = Jsonata::compile(&open.repeat(depth));
        }
    };
    for (open, close) in [
        ("(", ")"),
        ("[", "]"),
        ("{'a':", "}"),
        ("-", ""),
        ("1+", ""),
        ("a.", ""),
        ("a[", "]"),
        ("$f(", ")"),
        ("function($x){", "}"),
        ("1?", ":1"),
        ("$x:=", ""),
        ("1~>", ""),
        ("a^(", ")"),
        ("|a|", "|"),
        ("%.", ""),
        ("a@$b.", ""),
        ("a#$b.", ""),
        ("/*", "*/"),
        ("\"\\u", "\""),
        ("`", "`"),
    ] {
        deep(open, close);
    }
    assert!(Jsonata::compile(&"(".repeat(100_000)).is_err());
    assert!(Jsonata::compile(&" ".repeat(1_000_000)).is_err());
    assert!(Jsonata::compile("/(((a{900}){900}){900})/").is_err());
}

#[test]
fn a_result_is_bounded() {
    let limits = EvalLimits { bytes: 1_000, ..EvalLimits::DEFAULT };
    assert!(matches!(eval("[1..2000]", limits), Some(Err(EvalErrorKind::TooLarge { .. }))));
    let nested = "$reduce([1..300], function($a, $i) { {'a': $a} }, 1)";
    assert!(matches!(eval(nested, EvalLimits::DEFAULT), Some(Err(EvalErrorKind::Limit { .. }))));
    assert_eq!(eval("$sum", EvalLimits::DEFAULT), Some(Err(EvalErrorKind::NotData)));
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("$s.items".to_owned()),
        Just("$s.text".to_owned()),
        "[a-c]",
        "[0-9]{1,3}",
        "'[ab%]{0,3}'",
        "\\$(sum|map|string|pad|join|now|x|keys|reduce|filter|fromMillis|formatInteger|each|spread)",
        "[-+*/&=<>.,;:?!()\\[\\]{}|^%@#~$\"'`\\\\ ]",
        Just("function($x){".to_owned()),
        Just("~>".to_owned()),
        Just("..".to_owned()),
        Just(":=".to_owned()),
        Just("**".to_owned()),
        Just("/a+/".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_evaluated_or_refused(pieces in prop::collection::vec(piece(), 0..14)) {
        let _ = eval(&pieces.concat(), EvalLimits { steps: 100_000, ..EvalLimits::DEFAULT });
    }

    #[test]
    fn text_of_all_kinds_is_evaluated_or_refused(text in "\\PC*") {
        let _ = eval(&text, EvalLimits { steps: 100_000, ..EvalLimits::DEFAULT });
    }
}
