use expect_test::{Expect, expect};
use serde_json::{Value, json};

use stepbus_asl::{Failure, Input};
use stepbus_model::Timestamp;

use crate::support::{Answers, BEGIN, program, run, start, told};

fn check(definition: &str, input: Value, answers: Value, expected: &Expect) {
    let program = program(definition);
    let ran = run(&program, start(input), &mut Answers::of(&answers));
    expected.assert_eq(&told(&program, &ran));
    assert_eq!(told(&program, &ran), told(&program, &ran), "two replays differ");
}

#[test]
fn a_task_that_is_retried_and_caught() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Call
States:
  Call:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Retry: [{ ErrorEquals: [Down], MaxAttempts: 1 }]
    Catch: [{ ErrorEquals: [States.ALL], Next: End }]
    End: true
  End: { Type: Succeed }
"#,
        json!({}),
        json!({"Call": {"error": "Down"}}),
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 TaskStateEntered Call
            3<2 TaskScheduled invoke
            4<3 TaskStarted invoke
            5<4 TaskFailed invoke
            6<5 TaskScheduled invoke
            7<6 TaskStarted invoke
            8<7 TaskFailed invoke
            9<8 TaskStateExited Call
            10<9 SucceedStateEntered End
            11<10 SucceedStateExited End
            12<11 ExecutionSucceeded"#]],
    );
}

#[test]
fn branches_take_turns() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Both
States:
  Both:
    Type: Parallel
    Branches:
      - { StartAt: A, States: { A: { Type: Task, Resource: "arn:aws:lambda:eu:1:function:f", End: true } } }
      - { StartAt: B, States: { B: { Type: Wait, Seconds: 1, End: true } } }
    End: true
"#,
        json!({}),
        json!({}),
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 ParallelStateEntered Both
            3<2 ParallelStateStarted
            4<3 TaskStateEntered A
            5<4 LambdaFunctionScheduled arn:aws:lambda:eu:1:function:f
            6<3 WaitStateEntered B
            7<5 LambdaFunctionStarted
            8<7 LambdaFunctionSucceeded
            9<8 TaskStateExited A
            10<6 WaitStateExited B
            11<10 ParallelStateSucceeded
            12<10 ParallelStateExited Both
            13<12 ExecutionSucceeded"#]],
    );
}

#[test]
fn iterations_and_what_a_failed_one_stops() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: [1, 2, 3]
    MaxConcurrency: 2
    ItemProcessor:
      StartAt: Get
      States: { Get: { Type: Task, Resource: "arn:aws:states:::http:invoke", End: true } }
    End: true
"#,
        json!({}),
        json!({"Get": ["a", null, {"error": "Down"}]}),
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 MapStateEntered Each
            3<2 MapStateStarted 3
            4<3 MapIterationStarted Each
            5<3 MapIterationStarted Each
            6<4 TaskStateEntered Get
            7<6 TaskScheduled invoke
            8<5 TaskStateEntered Get
            9<8 TaskScheduled invoke
            10<7 TaskStarted invoke
            11<9 TaskStarted invoke
            12<10 TaskSucceeded invoke
            13<12 TaskStateExited Get
            14<13 MapIterationSucceeded Each
            15<13 MapIterationStarted Each
            16<15 TaskStateEntered Get
            17<16 TaskScheduled invoke
            18<17 TaskStarted invoke
            19<18 TaskFailed invoke
            20<19 MapIterationFailed Each
            21<19 MapIterationAborted Each
            22<19 TaskStateAborted
            23<19 MapStateFailed
            24<23 ExecutionFailed Down"#]],
    );
}

#[test]
fn a_distributed_map() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: [1, 2]
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED }
      StartAt: P
      States: { P: { Type: Pass, End: true } }
    End: true
"#,
        json!({}),
        json!({}),
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 MapStateEntered Each
            3<2 MapStateStarted 2
            4<3 MapRunStarted
            5<4 MapRunSucceeded
            6<5 MapStateSucceeded
            7<4 MapStateExited Each
            8<7 ExecutionSucceeded"#]],
    );
}

#[test]
fn an_expression_that_fails() {
    check(
        r#"
QueryLanguage: JSONata
StartAt: One
States:
  One: { Type: Pass, Next: Two }
  Two: { Type: Pass, Output: "{% $none %}", End: true }
"#,
        json!({}),
        json!({}),
        &expect![[r#"
            1<0 ExecutionStarted
            2<0 PassStateEntered One
            3<2 PassStateExited One
            4<3 PassStateEntered Two
            5<3 EvaluationFailed Two
            6<5 ExecutionFailed States.QueryEvaluationError"#]],
    );
}

/// A branch with a Map of two tasks that never answer, a branch that waits, and one that is over.
const NESTED: &str = r#"
QueryLanguage: JSONata
StartAt: Both
States:
  Both:
    Type: Parallel
    Branches:
      - StartAt: Each
        States:
          Each:
            Type: Map
            Items: [1, 2]
            ItemProcessor:
              StartAt: Get
              States: { Get: { Type: Task, Resource: "arn:aws:states:::http:invoke", End: true } }
            End: true
      - StartAt: Nap
        States: { Nap: { Type: Wait, Seconds: 100, End: true } }
      - StartAt: Over
        States: { Over: { Type: Pass, End: true } }
    End: true
"#;

#[test]
fn a_stop_aborts_what_is_within() {
    let program = program(NESTED);
    let mut ran = run(&program, start(json!({})), &mut Answers::of(&json!({"Get": null})));
    // The wait has fired last; the stop comes before it.
    ran.journal.pop();
    let failure = Failure::new("Enough", "by hand");
    ran.journal.push((Timestamp(BEGIN.0 + 1), Input::Stopped(failure)));
    expect![[r#"
        1<0 ExecutionStarted
        2<0 ParallelStateEntered Both
        3<2 ParallelStateStarted
        4<3 MapStateEntered Each
        5<4 MapStateStarted 2
        6<5 MapIterationStarted Each
        7<5 MapIterationStarted Each
        8<3 WaitStateEntered Nap
        9<3 PassStateEntered Over
        10<9 PassStateExited Over
        11<6 TaskStateEntered Get
        12<11 TaskScheduled invoke
        13<7 TaskStateEntered Get
        14<13 TaskScheduled invoke
        15<12 TaskStarted invoke
        16<14 TaskStarted invoke
        17<3 MapIterationAborted Each
        18<3 TaskStateAborted
        19<3 MapIterationAborted Each
        20<3 TaskStateAborted
        21<3 MapStateAborted
        22<3 WaitStateAborted
        23<3 ParallelStateAborted
        24<3 ExecutionAborted Enough"#]]
    .assert_eq(&told(&program, &ran));
}

#[test]
fn a_timeout_aborts_what_is_within() {
    let definition = format!("TimeoutSeconds: 60\n{NESTED}");
    check(
        &definition,
        json!({}),
        json!({"Get": null}),
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 ParallelStateEntered Both
        3<2 ParallelStateStarted
        4<3 MapStateEntered Each
        5<4 MapStateStarted 2
        6<5 MapIterationStarted Each
        7<5 MapIterationStarted Each
        8<3 WaitStateEntered Nap
        9<3 PassStateEntered Over
        10<9 PassStateExited Over
        11<6 TaskStateEntered Get
        12<11 TaskScheduled invoke
        13<7 TaskStateEntered Get
        14<13 TaskScheduled invoke
        15<12 TaskStarted invoke
        16<14 TaskStarted invoke
        17<3 MapIterationAborted Each
        18<3 TaskStateAborted
        19<3 MapIterationAborted Each
        20<3 TaskStateAborted
        21<3 MapStateAborted
        22<3 WaitStateAborted
        23<3 ParallelStateAborted
        24<3 ExecutionTimedOut"#]],
    );
}

/// A failure in the innermost Map, caught outside of both: everything within is aborted.
#[test]
fn a_failure_within_aborts_what_stands_beside() {
    let caught = NESTED.replace(
        "      - StartAt: Over",
        "      - StartAt: Pause\n        States: { Pause: { Type: Wait, Seconds: 5, Next: Bad }, Bad: { Type: Fail, Error: Broken } }\n      - StartAt: Over",
    );
    let caught = caught.replacen("\n    End: true\n", "\n    Catch: [{ ErrorEquals: [Broken], Next: Done }]\n    End: true\n  Done: { Type: Succeed }\n", 1);
    check(
        &caught,
        json!({}),
        json!({"Get": null}),
        &expect![[r#"
        1<0 ExecutionStarted
        2<0 ParallelStateEntered Both
        3<2 ParallelStateStarted
        4<3 MapStateEntered Each
        5<4 MapStateStarted 2
        6<5 MapIterationStarted Each
        7<5 MapIterationStarted Each
        8<3 WaitStateEntered Nap
        9<3 WaitStateEntered Pause
        10<3 PassStateEntered Over
        11<10 PassStateExited Over
        12<6 TaskStateEntered Get
        13<12 TaskScheduled invoke
        14<7 TaskStateEntered Get
        15<14 TaskScheduled invoke
        16<13 TaskStarted invoke
        17<15 TaskStarted invoke
        18<9 WaitStateExited Pause
        19<18 FailStateEntered Bad
        20<19 MapIterationAborted Each
        21<19 TaskStateAborted
        22<19 MapIterationAborted Each
        23<19 TaskStateAborted
        24<19 MapStateAborted
        25<19 WaitStateAborted
        26<19 ParallelStateFailed
        27<26 ParallelStateExited Both
        28<27 SucceedStateEntered Done
        29<28 SucceedStateExited Done
        30<29 ExecutionSucceeded"#]],
    );
}
