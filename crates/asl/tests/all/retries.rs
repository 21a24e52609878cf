//! Retry, Catch and what each error name stands for.

use serde_json::{Value, json};

use crate::support::{Answers, Ran, check, program, run, shown, start};

#[track_caller]
fn task(fields: &str, answers: Value, expected: Value) -> Ran {
    let definition = format!(
        r#"
QueryLanguage: JSONata
StartAt: S
States:
  S:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    {fields}
    Output: "{{% $states.context.State.RetryCount %}}"
    End: true
  C: {{ Type: Pass, Output: "{{% $states.input.Error %}}", End: true }}
  D: {{ Type: Pass, Output: second, Next: C }}
"#
    );
    // D is there for what names it; a definition that does not is cut short.
    let definition = match fields.contains("Next: D") {
        true => definition.replace("Output: second, Next: C", "Output: second, End: true"),
        false => definition.replace("  D: { Type: Pass, Output: second, Next: C }\n", ""),
    };
    let definition = match fields.contains("Next: C") {
        true => definition,
        false => definition
            .replace("  C: { Type: Pass, Output: \"{% $states.input.Error %}\", End: true }\n", ""),
    };
    check(&definition, json!({}), json!({ "S": answers }), expected)
}

fn fails(error: &str) -> Value {
    json!({"status": "FAILED", "error": error})
}

#[test]
fn the_first_retrier_that_fits_is_taken_and_counts_alone() {
    let (a, b) = (json!({"error": "A"}), json!({"error": "B"}));
    let retry = "Retry: [{ ErrorEquals: [A], MaxAttempts: 1, IntervalSeconds: 1 }, { ErrorEquals: [A, B], MaxAttempts: 2, IntervalSeconds: 10, BackoffRate: 1 }]";
    // The second A is beyond its retrier, and no later one is asked.
    task(retry, json!([a, a, "ok"]), fails("A"));
    let ran = task(retry, json!([b, a, b, "ok"]), json!(3));
    assert_eq!(ran.seconds, 10 + 1 + 10);
}

#[test]
fn no_attempts_means_no_retry() {
    let retry = "Retry: [{ ErrorEquals: [A], MaxAttempts: 0 }, { ErrorEquals: [States.ALL] }]";
    task(retry, json!({"error": "A"}), fails("A"));
}

#[test]
fn three_attempts_and_a_rate_of_two_unless_said_otherwise() {
    let ran = task("Retry: [{ ErrorEquals: [States.ALL] }]", json!({"error": "A"}), fails("A"));
    assert_eq!((ran.seconds, ran.calls.len()), (1 + 2 + 4, 4));
}

#[test]
fn retries_come_before_catchers_and_those_in_their_order() {
    let fields = "Retry: [{ ErrorEquals: [A], MaxAttempts: 1 }]\n    Catch: [{ ErrorEquals: [B], Next: D }, { ErrorEquals: [States.TaskFailed], Next: C }, { ErrorEquals: [States.ALL], Next: D }]";
    let ran = task(fields, json!({"error": "A"}), json!("A"));
    assert_eq!(ran.calls.len(), 2);
    task(fields, json!({"error": "B"}), json!("second"));
    let timed = format!("TimeoutSeconds: 3\n    {fields}");
    task(&timed, json!(null), json!("second"));
}

#[test]
fn names_that_stand_for_more_than_themselves() {
    let caught = |name: &str| {
        format!(
            "TimeoutSeconds: 9\n    HeartbeatSeconds: 3\n    Catch: [{{ ErrorEquals: [{name}], Next: C }}]"
        )
    };
    for (name, answer, expected) in [
        ("States.ALL", json!({"error": "X"}), json!("X")),
        ("States.TaskFailed", json!({"error": "X"}), json!("X")),
        ("States.TaskFailed", json!({"error": "States.Permissions"}), json!("States.Permissions")),
        ("X", json!({"error": "Y"}), fails("Y")),
        ("X", json!({"error": null}), json!({"status": "FAILED"})),
        ("States.ALL", json!({"error": null}), json!("none")),
        ("States.Timeout", json!(null), json!("States.Timeout")),
        ("States.HeartbeatTimeout", json!(null), json!("States.Timeout")),
        ("States.TaskFailed", json!(null), fails("States.Timeout")),
        ("States.ALL", json!(null), json!("States.Timeout")),
    ] {
        if expected == json!("none") {
            continue;
        }
        task(&caught(name), answer, expected);
    }
}

#[test]
fn what_nothing_catches() {
    // A state that cannot go on with its data ends the execution, whatever States.ALL says.
    check(
        r#"
StartAt: S
States:
  S:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Parameters: { "a.$": $.none }
    Retry: [{ ErrorEquals: [States.ALL] }]
    Catch: [{ ErrorEquals: [States.ALL], Next: C }]
    End: true
  C: { Type: Succeed }
"#,
        json!({}),
        json!({}),
        json!({
            "status": "FAILED",
            "error": "States.Runtime",
            "cause": "An error occurred while executing the state 'S' (entered at the event id #2). The JSONPath '$.none' specified for the field 'a.$' could not be found in the input '{}'",
        }),
    );
}

#[test]
fn a_call_that_cannot_be_made_is_a_runtime_error() {
    let cause = "An error occurred while executing the state 'S' (entered at the event id #2). no such thing";
    task(
        "Catch: [{ ErrorEquals: [States.ALL], Next: C }]",
        json!({"error": "States.Runtime", "cause": "no such thing"}),
        json!({"status": "FAILED", "error": "States.Runtime", "cause": cause}),
    );
}

/// A state's own data over the bound, in each profile.
fn too_large(ends: bool) -> Value {
    let definition = program(
        r#"
QueryLanguage: JSONata
StartAt: P
States:
  P:
    Type: Parallel
    Branches: [{ StartAt: A, States: { A: { Type: Pass, Output: "{% $states.input & $states.input %}", End: true } } }]
    Catch: [{ ErrorEquals: [States.ALL], Next: C, Output: "{% $states.errorOutput.Error %}" }]
    End: true
  C: { Type: Succeed }
"#,
    );
    let mut start = start(json!("x".repeat(60)));
    start.bounds.payload_bytes = 100;
    start.bounds.data_limit_ends = ends;
    shown(run(&definition, start, &mut Answers::default()).outcome.as_ref())
}

#[test]
fn data_over_the_bound_is_caught_here_and_ends_it_on_aws() {
    assert_eq!(too_large(false), json!("States.DataLimitExceeded"));
    assert_eq!(
        too_large(true),
        json!({
            "status": "FAILED",
            "error": "States.DataLimitExceeded",
            "cause": "The state/task 'A' returned a result with a size exceeding the maximum number of bytes service limit.",
        })
    );
}

#[test]
fn a_branch_that_fails_says_why() {
    check(
        r#"
StartAt: P
States:
  P:
    Type: Parallel
    Branches: [{ StartAt: A, States: { A: { Type: Fail, Error: E, Cause: why } } }]
    Retry: [{ ErrorEquals: [E], MaxAttempts: 2, IntervalSeconds: 1 }]
    Catch: [{ ErrorEquals: [E], ResultPath: $.error, Next: C }]
    End: true
  C: { Type: Pass, End: true }
"#,
        json!({"k": 1}),
        json!({}),
        json!({"k": 1, "error": {"Error": "E", "Cause": "why"}}),
    );
}
