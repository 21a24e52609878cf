//! An expression and its data, with a unit separator between them: evaluation ends within its
//! bounds, gives the same each time, and counting its steps changes no result.

use serde_json::Value;
use stepbus_expr::{Env, EvalErrorKind, EvalLimits, Jsonata, Scope};
use stepbus_model::Timestamp;

const LIMITS: EvalLimits = EvalLimits {
    depth: 2_000,
    steps: 200_000,
    sequence: 50_000,
    bytes: 1024 * 1024,
    result_depth: 120,
};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, json) = text.split_once('\u{1f}').unwrap_or((text, "null"));
    let Ok(expression) = Jsonata::compile(source) else { return };
    let data = serde_json::from_str::<Value>(json).unwrap_or(Value::Null);
    let one = eval(&expression, &data, LIMITS);
    let again = eval(&expression, &data, LIMITS);
    assert!(one == again, "the same expression gives {one:?} and then {again:?}");
    // Few steps make the evaluator count them.
    let counted = eval(&expression, &data, EvalLimits { steps: 2_000, ..LIMITS });
    let stopped = |result: &Outcome| matches!(result, Err(EvalErrorKind::Limit { .. }));
    if !stopped(&one) && !stopped(&counted) {
        assert!(one == counted, "{one:?} counted is {counted:?}");
    }
}

type Outcome = Result<Option<Value>, EvalErrorKind>;

fn eval(expression: &Jsonata, data: &Value, limits: EvalLimits) -> Outcome {
    let mut scope = Scope::new(Env::new(Timestamp(1_700_000_000_000), 1));
    scope.limits(limits);
    scope.bind_member("states", "input", data);
    scope.bind("x", data);
    expression.eval(&scope).map_err(|error| {
        let _ = error.to_string();
        error.kind
    })
}
