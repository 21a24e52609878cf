//! JSONata as a state sees it.

use serde_json::{Value, json};
use stepbus_expr::{Env, EvalError, EvalErrorKind, Jsonata, Scope, Template};
use stepbus_model::Timestamp;

fn env() -> Env {
    Env::new(Timestamp(1_700_000_000_125), 42)
}

fn eval(source: &str, states: &Value) -> Result<Option<Value>, EvalError> {
    let mut scope = Scope::new(env());
    scope.bind("states", states);
    Jsonata::compile(source).unwrap().eval(&scope)
}

#[track_caller]
fn check(source: &str, expected: Value) {
    let states = json!({
        "input": {
            "sku": "A-1", "price": 12.5, "big": 9_007_199_254_740_993_u64, "none": null,
            "items": [{"id": 1, "tags": ["a", "b"]}, {"id": 2, "tags": []}], "empty": [],
        },
        "context": {"State": {"Name": "S"}},
    });
    assert_eq!(eval(source, &states), Ok(Some(expected)), "{source}");
}

#[test]
fn values() {
    check("$states.input.sku", json!("A-1"));
    check("$states.input.price * 2", json!(25));
    check("$states.input.big", json!(9_007_199_254_740_993_u64));
    check("$states.input.none", Value::Null);
    check("$states.input.items.id", json!([1, 2]));
    check("$states.input.empty", json!([]));
    check("$states.input.items[id=2].id", json!(2));
    check("$states.context.State.Name & '!'", json!("S!"));
    check("$keys($states)", json!(["input", "context"]));
    check("{'a': $missing, 'b': 1}", json!({"b": 1}));
    check("1/3*3", json!(1));
    check("1e20", json!(1e20));
}

#[test]
fn undefined_is_not_null() {
    let states = json!({"input": {"none": null}});
    assert_eq!(eval("$states.input.none", &states), Ok(Some(Value::Null)));
    assert_eq!(eval("$states.input.missing", &states), Ok(None));
    assert_eq!(eval("$states.input.missing.deeper", &states), Ok(None));
    assert_eq!(eval("$unknown", &states), Ok(None));
    assert_eq!(eval("$[0]", &states), Ok(None));
}

#[test]
fn functions_of_step_functions() {
    check("$partition([1..5], 2)", json!([[1, 2], [3, 4], [5]]));
    check("$partition([0], 2)", json!([[0]]));
    check("$range(0, 9, 3)", json!([0, 3, 6, 9]));
    check("$range(3, 1, -1)", json!([3, 2, 1]));
    check("$parse('{\"a\": [-0, 1.10]}')", json!({"a": [0, 1.1]}));
    check("$hash('input data', 'SHA-1')", json!("aaff4a450a104cd177d28d18d74485e8cae074b7"));
    check("$millis()", json!(1_700_000_000_125_i64));
    check("$now()", json!("2023-11-14T22:13:20.125Z"));
    check("$now('[Y0001]-[M01]')", json!("2023-11"));
    check("$random(3) = $random(3)", json!(true));
    check("$random() = $random()", json!(false));
    check("$uuid() = $uuid()", json!(false));
    check("$count($shuffle([1..9]))", json!(9));
    check(
        "$map([1..2], function($i) { $hash($string($i), 'MD5') })[0]",
        json!("c4ca4238a0b923820dcc509a6f75849b"),
    );
}

#[test]
fn a_seed_gives_one_result() {
    let source = "[$random(), $uuid(), $shuffle([1..20]), $now()]";
    let once = eval(source, &Value::Null).unwrap();
    assert_eq!(once, eval(source, &Value::Null).unwrap());
}

#[track_caller]
fn check_error(source: &str, code: &str, message: &str) {
    let error = eval(source, &json!({})).unwrap_err();
    assert_eq!(
        (error.code(), error.what()),
        (Some(code), format!("threw an error during evaluation. {code}: {message}")),
        "{source}"
    );
}

#[test]
fn errors_carry_their_code() {
    check_error("$nope(1)", "T1006", "Attempted to invoke a non-function");
    check_error("$eval('1')", "T1006", "Attempted to invoke a non-function");
    check_error("1 + 'a'", "T2002", "The right side of the + operator must evaluate to a number");
}

#[test]
fn free_variables() {
    let names = |source: &str| -> Vec<String> {
        Jsonata::compile(source).unwrap().variables().map(str::to_owned).collect()
    };
    assert_eq!(names("$states.input.a + $total"), ["states", "total"]);
    assert_eq!(
        names("($x := $y; $f := function($n) { $n = 0 ? $z : $f($n - 1) }; $f($x))"),
        ["y", "z"]
    );
    assert_eq!(names("($a := 1; ($b := 2; $b))").len(), 0);
    assert_eq!(names("(($b := 2); $b)"), ["b"]);
    assert_eq!(names("$map($items, $uppercase)"), ["items"]);
    assert_eq!(names("$o.a@$c.b#$i[$c.x = $k].{'n': $i}"), ["k", "o"]);
    assert_eq!(names("$.a.$$"), [""; 0]);
}

#[test]
fn templates() {
    let template = Template::compile(&json!({
        "id": "{% $states.input.sku %}", "fixed": {"a": [1, "{ %}"[..1].to_owned()]},
        "list": [1, "{%$states.input.price%}"],
    }))
    .unwrap();
    assert!(!template.is_constant());
    let states = json!({"input": {"sku": "A", "price": 2}});
    let mut scope = Scope::new(env());
    scope.bind_member("states", "input", &states["input"]);
    assert_eq!(
        template.eval(&scope),
        Ok(Some(json!({"id": "A", "fixed": {"a": [1, "{"]}, "list": [1, 2]})))
    );
    let nothing = Scope::new(env());
    let error = template.eval(&nothing).unwrap_err();
    assert_eq!(
        (error.kind, error.pointer.as_deref(), error.expression.as_str()),
        (EvalErrorKind::Undefined, Some("/id"), "$states.input.sku")
    );
    assert!(Template::compile(&json!({"a": "plain"})).unwrap().is_constant());
    let errors = Template::compile(&json!({"a/b": ["{% 1 + %}"], "c": "{% 1"})).unwrap_err();
    let pointers: Vec<&str> = errors.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(pointers, ["/a~1b/0", "/c"]);
}

#[test]
fn a_time_without_a_day_is_of_today() {
    check("$toMillis('13:45', '[H]:[m]')", json!(1_699_969_500_000_i64));
    check("$toMillis('05', '[m01]')", json!(1_699_999_500_000_i64));
    check("$toMillis('2020', '[Y]')", json!(1_577_836_800_000_i64));
    check("$toMillis('2023-11-14T22:13:20.125Z')", json!(1_700_000_000_125_i64));
}
