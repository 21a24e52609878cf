use serde_json::{Value, json};
use stepbus_asl::Start;

use crate::support::check;

const RETRY: &str = r#"
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Retry:
      - { ErrorEquals: [Busy], IntervalSeconds: 2, MaxAttempts: 3, BackoffRate: 3, MaxDelaySeconds: 10 }
    Catch:
      - { ErrorEquals: [States.ALL], Next: Caught, Assign: { why: "{% $states.errorOutput.Cause %}" } }
    Output: "{% $states.context.State.RetryCount %}"
    End: true
  Caught: { Type: Pass, Output: ["{% $states.input %}", "{% $why %}"], End: true }
"#;

#[test]
fn retries_back_off_up_to_the_longest_delay() {
    let busy = json!({"error": "Busy"});
    let ran = check(RETRY, json!({}), json!({"Call": [busy, busy, busy, "ok"]}), json!(3));
    assert_eq!(ran.seconds, 2 + 6 + 10);
    let attempts: Vec<u32> = ran.calls.iter().map(|call| call.task.attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 3]);
}

#[test]
fn what_retries_do_not_mend_is_caught() {
    check(
        RETRY,
        json!({}),
        json!({"Call": {"error": "Busy", "cause": "too many"}}),
        json!([{"Error": "Busy", "Cause": "too many"}, "too many"]),
    );
}

#[test]
fn jitter_comes_from_the_seed() {
    let definition = RETRY.replace("BackoffRate: 3", "JitterStrategy: FULL, BackoffRate: 3");
    let busy = json!({"error": "Busy"});
    let answers = json!({"Call": [busy, busy, busy, "ok"]});
    let one = check(&definition, json!({}), answers.clone(), json!(3));
    let same = check(&definition, json!({}), answers, json!(3));
    assert!(one.seconds < 18);
    assert_eq!(one.journal, same.journal);
}

#[test]
fn a_task_that_stays_away_times_out() {
    let ran = check(
        r#"
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    TimeoutSeconds: 30
    Catch: [{ ErrorEquals: [States.Timeout], Next: Late, Output: "{% $states.errorOutput.Error %}" }]
    End: true
  Late: { Type: Succeed }
"#,
        json!({}),
        json!({"Call": null}),
        json!("States.Timeout"),
    );
    assert_eq!(ran.seconds, 30);
}

#[test]
fn a_missed_heartbeat_has_its_own_name() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::sqs:sendMessage.waitForTaskToken
    HeartbeatSeconds: 5
    Arguments: { MessageBody: "{% $states.context.Task.Token %}" }
    Catch:
      - { ErrorEquals: [States.HeartbeatTimeout], Next: Late }
    End: true
  Late: { Type: Succeed, Output: late }
"#,
        json!({}),
        json!({"Call": null}),
        json!("late"),
    );
}

#[test]
fn task_failed_is_every_error_but_a_timeout() {
    let definition = r#"
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    TimeoutSeconds: 1
    Catch: [{ ErrorEquals: [States.TaskFailed], Next: Caught }]
    End: true
  Caught: { Type: Succeed, Output: caught }
"#;
    check(definition, json!({}), json!({"Call": {"error": "Any"}}), json!("caught"));
    let timeout = json!({"status": "FAILED", "error": "States.Timeout"});
    check(definition, json!({}), json!({"Call": null}), timeout);
}

#[test]
fn an_expression_that_fails_names_its_field() {
    let definition = r#"
QueryLanguage: JSONata
StartAt: P
States:
  P: { Type: Pass, Output: { list: [1, "{% $states.input.none %}"] }, End: true }
"#;
    check(
        definition,
        json!({}),
        json!({}),
        json!({
            "status": "FAILED",
            "error": "States.QueryEvaluationError",
            "cause": "An error occurred while executing the state 'P' (entered at the event id #2). The JSONata expression '$states.input.none' specified for the field 'Output/list[1]' returned nothing (undefined).",
        }),
    );
}

#[test]
fn the_whole_execution_times_out() {
    check(
        r#"
QueryLanguage: JSONata
TimeoutSeconds: 60
StartAt: W
States:
  W: { Type: Wait, Seconds: 61, End: true }
"#,
        json!({}),
        json!({}),
        json!({"status": "TIMED_OUT"}),
    );
}

#[test]
fn a_result_over_the_bound_can_be_caught() {
    use crate::support::{Answers, program, run, shown, start};
    let definition = program(
        r#"
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Catch: [{ ErrorEquals: [States.DataLimitExceeded], Next: Large }]
    End: true
  Large: { Type: Pass, Output: "{% $states.input.Cause %}", End: true }
"#,
    );
    let mut start = start(json!({}));
    start.bounds.payload_bytes = 1_000;
    let mut answers = Answers::of(&json!({"Call": "x".repeat(999)}));
    let ran = run(&definition, start, &mut answers);
    assert_eq!(
        shown(ran.outcome.as_ref()),
        json!(
            "The state/task 'http' returned a result with a size exceeding the maximum number of bytes service limit."
        )
    );
}

#[test]
fn redrive_runs_again_what_failed_and_nothing_else() {
    use crate::support::{Answers, BEGIN, program, run, start};
    use stepbus_asl::{Command, Input, replay};
    let definition = program(
        r#"
QueryLanguage: JSONata
StartAt: Both
States:
  Both:
    Type: Parallel
    End: true
    Branches:
      - { StartAt: A, States: { A: { Type: Task, Resource: "arn:aws:states:::http:invoke", End: true } } }
      - { StartAt: B, States: { B: { Type: Task, Resource: "arn:aws:states:::http:invoke", End: true } } }
"#,
    );
    let mut answers = Answers::of(&json!({"A": "a", "B": {"error": "Down"}}));
    let ran = run(&definition, start(json!({})), &mut answers);
    let mut execution = replay(&definition, ran.journal).unwrap();
    let commands = execution.apply(&definition, BEGIN, Input::Redriven);
    let called: Vec<&str> = commands
        .iter()
        .filter_map(|command| match command {
            Command::RunTask(run) => Some(&*run.state_name),
            _ => None,
        })
        .collect();
    assert_eq!(called, ["B"]);
}

#[test]
fn an_express_execution_has_five_minutes_on_aws() {
    use crate::support::{Answers, program, run, shown, start};
    use stepbus_asl::{Bounds, WorkflowType};
    use stepbus_model::Limits;
    #[track_caller]
    fn check(kind: WorkflowType, limits: &Limits, own: &str, expected: (Value, u64)) {
        let wait = "States: { W: { Type: Wait, Seconds: 400, End: true } }";
        let definition = program(&format!("{own}\nStartAt: W\n{wait}\n"));
        let start =
            Start { workflow_type: kind, bounds: Bounds::from(limits), ..start(json!("done")) };
        let ran = run(&definition, start, &mut Answers::default());
        assert_eq!((shown(ran.outcome.as_ref()), ran.seconds), expected);
    }
    let (express, standard) = (WorkflowType::Express, WorkflowType::Standard);
    let cause = "The EXPRESS execution ran longer than 300 seconds (limit express_seconds).";
    let limited = json!({"status": "TIMED_OUT", "error": "States.Timeout", "cause": cause});
    check(express, &Limits::AWS, "", (limited.clone(), 300));
    check(express, &Limits::AWS, "TimeoutSeconds: 301", (limited, 300));
    check(express, &Limits::AWS, "TimeoutSeconds: 299", (json!({"status": "TIMED_OUT"}), 299));
    check(standard, &Limits::AWS, "", (json!("done"), 400));
    check(express, &Limits::DEFAULT, "", (json!("done"), 400));
}
