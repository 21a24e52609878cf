//! The events of a task, for every way it may be called.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::json;
use stepbus_asl::{Command, Execution, Failure, Input, TaskId, history};

use crate::support::{BEGIN, line, program, start};

/// Runs one task `S` and gives it `answers`, in turn.
fn check(resource: &str, answers: impl Fn(TaskId) -> Vec<Input>, expected: &Expect) {
    let program = program(&format!(
        "StartAt: S\nStates:\n  S: {{ Type: Task, Resource: \"{resource}\", End: true }}\n"
    ));
    let start = start(json!({"a": 1}));
    let mut journal = vec![(BEGIN, Input::Started(Arc::new(start.clone())))];
    let (mut execution, commands) = Execution::begin(&program, BEGIN, start);
    let Some(Command::RunTask(run)) = commands.into_iter().next() else { panic!("no call") };
    for input in answers(run.task) {
        assert!(execution.expects(&input), "{input:?}");
        execution.apply(&program, BEGIN, input.clone());
        journal.push((BEGIN, input));
    }
    let events: Vec<String> = history(&program, journal).iter().map(line).collect();
    expected.assert_eq(&events.join("\n"));
}

fn succeeded(task: TaskId) -> Input {
    Input::TaskSucceeded { task, output: Arc::new(json!("out")) }
}

fn submitted(task: TaskId) -> Input {
    Input::TaskSubmitted { task, output: Arc::new(json!({"MessageId": "m"})) }
}

fn failed(task: TaskId, error: &str) -> Input {
    Input::TaskFailed { task, failure: Failure::new(error, "why") }
}

#[test]
fn request_and_response() {
    check(
        "arn:aws:states:::http:invoke",
        |task| vec![succeeded(task)],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 TaskScheduled invoke
        4<3 TaskStarted invoke
        5<4 TaskSucceeded invoke
        6<5 TaskStateExited S
        7<6 ExecutionSucceeded"#]],
    );
}

#[test]
fn functions() {
    let function = "arn:aws:lambda:us-east-1:111111111111:function:f";
    check(
        function,
        |task| vec![succeeded(task)],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 LambdaFunctionScheduled arn:aws:lambda:us-east-1:111111111111:function:f
        4<3 LambdaFunctionStarted
        5<4 LambdaFunctionSucceeded
        6<5 TaskStateExited S
        7<6 ExecutionSucceeded"#]],
    );
    check(
        function,
        |task| vec![failed(task, "E")],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 LambdaFunctionScheduled arn:aws:lambda:us-east-1:111111111111:function:f
        4<3 LambdaFunctionStarted
        5<4 LambdaFunctionFailed E
        6<5 ExecutionFailed E"#]],
    );
    check(
        "arn:aws:states:::lambda:invoke",
        |task| vec![failed(task, "E")],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 TaskScheduled invoke
        4<3 TaskStarted invoke
        5<4 TaskFailed invoke
        6<5 ExecutionFailed E"#]],
    );
}

#[test]
fn waiting_for_the_end_of_a_job() {
    check(
        "arn:aws:states:::states:startExecution.sync:2",
        |task| vec![submitted(task), succeeded(task)],
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 TaskStateEntered S
            3<2 TaskScheduled startExecution.sync:2
            4<3 TaskStarted startExecution.sync:2
            5<4 TaskSubmitted startExecution.sync:2
            6<5 TaskSucceeded startExecution.sync:2
            7<6 TaskStateExited S
            8<7 ExecutionSucceeded"#]],
    );
    check(
        "arn:aws:states:::states:startExecution.sync",
        |task| vec![submitted(task), failed(task, "States.TaskFailed")],
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 TaskStateEntered S
            3<2 TaskScheduled startExecution.sync
            4<3 TaskStarted startExecution.sync
            5<4 TaskSubmitted startExecution.sync
            6<5 TaskFailed startExecution.sync
            7<6 ExecutionFailed States.TaskFailed"#]],
    );
}

#[test]
fn waiting_for_a_token() {
    check(
        "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        |task| vec![submitted(task), Input::Heartbeat { task }, succeeded(task)],
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 TaskStateEntered S
            3<2 TaskScheduled sendMessage.waitForTaskToken
            4<3 TaskStarted sendMessage.waitForTaskToken
            5<4 TaskSubmitted sendMessage.waitForTaskToken
            6<5 TaskSucceeded sendMessage.waitForTaskToken
            7<6 TaskStateExited S
            8<7 ExecutionSucceeded"#]],
    );
}

#[test]
fn activities() {
    let activity = "arn:aws:states:us-east-1:111111111111:activity:a";
    let taken = |task| Input::TaskStarted { task, worker: Some("w".to_owned()) };
    check(
        activity,
        |task| vec![taken(task), succeeded(task)],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 ActivityScheduled arn:aws:states:us-east-1:111111111111:activity:a
        4<3 ActivityStarted
        5<4 ActivitySucceeded
        6<5 TaskStateExited S
        7<6 ExecutionSucceeded"#]],
    );
    check(
        activity,
        |task| vec![taken(task), failed(task, "E")],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 ActivityScheduled arn:aws:states:us-east-1:111111111111:activity:a
        4<3 ActivityStarted
        5<4 ActivityFailed E
        6<5 ExecutionFailed E"#]],
    );
    check(
        activity,
        |task| vec![failed(task, "States.Runtime")],
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 TaskStateEntered S
        3<2 ExecutionFailed States.Runtime"#]],
    );
}
