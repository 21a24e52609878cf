//! Executions that wait for what comes by itself: tokens, workers, the end of others.

use std::time::Duration;

use serde_json::{Value, json};
use stepbus_model::{ExecutionId, Limits};
use stepbus_store::{Cause, ExecutionStatus, Priority};

use super::world::{CALL, Running, Target, World, until};
use crate::queues::Receive;
use crate::{
    ACTIVITY_POLL, ActivityError, InFlightAtCrash, QueueSpec, StartError, TaskError, WorkflowSpec,
};

const ASK: &str = r#"
QueryLanguage: JSONata
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: arn:aws:states:::sqs:sendMessage.waitForTaskToken
    Arguments:
      QueueUrl: questions
      MessageBody: { token: "{% $states.context.Task.Token %}", asked: "{% $states.input %}" }
    HeartbeatSeconds: 100
    TimeoutSeconds: 1000
    Catch: [{ ErrorEquals: [States.Timeout], Next: Late }]
    End: true
  Late: { Type: Pass, Output: late, End: true }
"#;

const WORK: &str = r#"
QueryLanguage: JSONata
StartAt: Work
States:
  Work:
    Type: Task
    Resource: arn:aws:states:local:000000000000:activity:weld
    Arguments: { part: "{% $states.input.part %}" }
    Retry: [{ ErrorEquals: [Sparks], MaxAttempts: 1, IntervalSeconds: 1 }]
    End: true
"#;

const PARENT: &str = r#"
QueryLanguage: JSONata
StartAt: Start
States:
  Start:
    Type: Task
    Resource: arn:aws:states:::states:startExecution.HOW
    Arguments: { StateMachineArn: CHILD, Input: "{% $states.input %}" }
    TIMEOUT
    End: true
"#;

async fn world() -> (World, Target) {
    let target = Target::start().await;
    let mut world = World::empty();
    world.limits.park_after_seconds = 0;
    world.declared.queues.push(QueueSpec::new("questions"));
    world.workflow("ask", ASK, &target);
    world.workflow("work", WORK, &target);
    world.workflow("call", CALL, &target);
    (world, target)
}

fn parent(world: &mut World, target: &Target, how: &str, child: &str, more: &str) {
    let text = PARENT.replace("HOW", how).replace("CHILD", child).replace("TIMEOUT", more);
    world.workflow("parent", &text, target);
}

impl Running {
    async fn question(&self) -> (String, Value) {
        let wish = Receive { max: 1, visibility: None, wait: Duration::ZERO };
        let mut received = Vec::new();
        until("somebody asks", async || {
            received = self.engine.receive_messages("questions", wish).await.unwrap();
            !received.is_empty()
        })
        .await;
        let message = received.remove(0);
        let body: Value = serde_json::from_str(&message.body).unwrap();
        self.engine.delete_message("questions", &message.receipt_handle).await.unwrap();
        (body["token"].as_str().unwrap().to_owned(), body["asked"].clone())
    }

    async fn out_of_memory(&self) {
        until("it leaves memory", async || self.engine.executions_in_memory() == 0).await;
    }

    /// The execution that another one started.
    async fn child_of(&self, parent: ExecutionId) -> ExecutionId {
        let mut found = None;
        until("the child is there", async || {
            let rows = self.engine.store.executions(Default::default(), None, 50).await.unwrap();
            let child = rows.iter().find(|row| row.cause == Cause::Execution(parent));
            found = child.map(|row| row.id);
            found.is_some()
        })
        .await;
        found.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_its_task_once_over_a_restart() {
    let (world, _target) = world().await;
    let running = world.open().await;
    let id = running.start("ask", json!("why?")).await;
    let (token, asked) = running.question().await;
    assert_eq!(asked, json!("why?"));
    running.out_of_memory().await;
    running.stop().await;

    let running = world.open().await;
    assert_eq!(running.engine.executions_in_memory(), 0, "it costs nothing at start-up");
    let engine = &running.engine;
    let no_json = engine.send_task_success(&token, "{").await;
    assert!(matches!(no_json, Err(TaskError::InvalidOutput(_))), "{no_json:?}");
    engine.send_task_success(&token, "{\"because\":1}").await.unwrap();
    let row = running.row(id).await;
    assert_eq!(row.status, ExecutionStatus::Succeeded, "acknowledged means on disk");
    assert_eq!(running.output(id).await, json!({ "because": 1 }));
    let again = engine.send_task_success(&token, "2").await;
    assert!(matches!(again, Err(TaskError::TaskTimedOut)), "{again:?}");
    let none = engine.send_task_failure("rubbish", None, None).await;
    assert!(matches!(none, Err(TaskError::InvalidToken)), "{none:?}");
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_many_answers_counts() {
    let (world, _target) = world().await;
    let running = world.open().await;
    for round in 0..10 {
        let id = running.start("ask", json!(round)).await;
        let (token, _) = running.question().await;
        let answers = (0..4).map(|n| {
            let (engine, token) = (running.engine.clone(), token.clone());
            async move { engine.send_task_success(&token, &n.to_string()).await.is_ok() }
        });
        let taken = futures_util::future::join_all(answers).await;
        let winner = taken.iter().position(|taken| *taken).unwrap();
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1);
        assert_eq!(running.output(id).await, json!(winner));
    }
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_put_the_timeout_off() {
    let (world, _target) = world().await;
    world.clock.stand_still();
    let running = world.open().await;
    let id = running.start("ask", json!({})).await;
    let (token, _) = running.question().await;
    for _ in 0..3 {
        running.out_of_memory().await;
        world.clock.advance(Duration::from_secs(90));
        running.engine.send_task_heartbeat(&token).await.unwrap();
    }
    assert_eq!(running.row(id).await.status, ExecutionStatus::Running);
    running.out_of_memory().await;
    world.clock.advance(Duration::from_secs(101));
    running.look_at_the_clock();
    assert_eq!(running.output(id).await, json!("late"));
    let late = running.engine.send_task_success(&token, "1").await;
    assert!(matches!(late, Err(TaskError::TaskTimedOut)), "{late:?}");
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_take_each_task_once() {
    let (world, _target) = world().await;
    let running = world.open().await;
    running.engine.create_activity("weld").await.unwrap();
    let mut ids = Vec::new();
    for part in 0..6 {
        ids.push(running.start("work", json!({ "part": part })).await);
    }
    running.out_of_memory().await;
    running.stop().await;
    let running = world.open().await;
    assert_eq!(running.engine.executions_in_memory(), 0);
    let take = |worker: usize| {
        let engine = running.engine.clone();
        async move {
            let name = Some(format!("worker-{worker}"));
            engine.get_activity_task("weld", name, ACTIVITY_POLL).await.unwrap().unwrap()
        }
    };
    let mut tasks = futures_util::future::join_all((0..6).map(take)).await;
    tasks.sort_by(|one, other| one.input.cmp(&other.input));
    for (part, task) in tasks.iter().enumerate() {
        assert_eq!(task.input, format!("{{\"part\":{part}}}"), "each once");
        running.engine.send_task_success(&task.token, &task.input).await.unwrap();
    }
    for (part, id) in ids.into_iter().enumerate() {
        assert_eq!(running.output(id).await, json!({ "part": part }));
        let history = running.engine.history(id).await.unwrap().unwrap();
        let started = history.iter().find(|event| event.event_type == "ActivityStarted").unwrap();
        let worker = &started.details.as_ref().unwrap().1["workerName"];
        assert!(worker.as_str().unwrap().starts_with("worker-"), "{worker}");
    }
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_activity_task_is_retried_and_an_activity_may_go() {
    let (world, _target) = world().await;
    let running = world.open().await;
    let engine = &running.engine;
    let nobody = running.start("work", json!({ "part": 1 })).await;
    let cause = running.failure(nobody, "States.Runtime").await;
    assert!(cause.contains("activity:weld does not exist"), "{cause}");

    engine.create_activity("weld").await.unwrap();
    let id = running.start("work", json!({ "part": 1 })).await;
    let first = engine.get_activity_task("weld", None, ACTIVITY_POLL).await.unwrap().unwrap();
    engine.send_task_failure(&first.token, Some("Sparks".into()), None).await.unwrap();
    let second = engine.get_activity_task("weld", None, ACTIVITY_POLL).await.unwrap().unwrap();
    assert_ne!(first.token, second.token);
    engine.send_task_success(&second.token, "true").await.unwrap();
    assert_eq!(running.output(id).await, json!(true));
    assert!(engine.get_activity_task("weld", None, Duration::ZERO).await.unwrap().is_none());

    engine.delete_activity("arn:aws:states:local:000000000000:activity:weld").await.unwrap();
    let gone = engine.get_activity_task("weld", None, ACTIVITY_POLL).await;
    assert!(matches!(gone, Err(ActivityError::ActivityDoesNotExist(_))));
    assert!(engine.activities().is_empty());
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parent_hears_of_its_childs_end() {
    for (how, input, output) in [
        ("sync", json!("{\"n\":4}"), json!("{\"price\":8}")),
        ("sync:2", json!({ "n": 4 }), json!({ "price": 8 })),
    ] {
        let (mut world, target) = world().await;
        target.behave(|call| (200, json!({ "price": call.n() * 2 })));
        parent(&mut world, &target, how, "call", "");
        let running = world.open().await;
        let id = running.start("parent", json!({ "n": 4 })).await;
        let result = running.output(id).await;
        assert_eq!((&result["Input"], &result["Output"]), (&input, &output));
        assert_eq!((&result["Status"], &result["RedriveCount"]), (&json!("SUCCEEDED"), &json!(0)));
        let child = running.row(running.child_of(id).await).await;
        assert_eq!(result["Name"], json!(child.name));
        assert_eq!((child.run, child.hops), (running.row(id).await.run, 1));
        let view = running.engine.execution(id).await.unwrap().unwrap();
        assert_eq!(view.children, [child.id]);
        running.expect_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_ends_while_its_parent_is_out_of_memory_or_the_process_is_not_there() {
    for restart in [false, true] {
        let (mut world, target) = world().await;
        parent(&mut world, &target, "sync:2", "call", "");
        target.close_gate();
        let running = world.open().await;
        let id = running.start("parent", json!({ "n": 1 })).await;
        until("the child calls", async || target.arrived().len() == 1).await;
        until("only the child is in memory", async || running.engine.executions_in_memory() == 1)
            .await;
        let running = if restart {
            running.stop().await;
            world.open().await
        } else {
            running
        };
        target.open_gate();
        assert_eq!(running.output(id).await["Status"], json!("SUCCEEDED"));
        assert_eq!(running.inputs(id).await.len(), 3, "start, submitted, succeeded");
        running.expect_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_moment_children_are_started_once_and_told_of_once() {
    let (mut world, target) = world().await;
    parent(&mut world, &target, "sync:2", "call", "");
    let mut ids = Vec::new();
    for n in 0..12 {
        let running = world.open().await;
        ids.push(running.start("parent", json!({ "n": n })).await);
        tokio::time::sleep(Duration::from_millis(n * 3)).await;
        running.stop().await;
    }
    let running = world.open().await;
    for id in &ids {
        assert_eq!(running.output(*id).await["Status"], json!("SUCCEEDED"));
    }
    let rows = world.store.executions(Default::default(), None, 100).await.unwrap();
    assert_eq!(rows.len(), 2 * ids.len());
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_childs_failure_is_the_tasks() {
    let (mut world, target) = world().await;
    target.behave(|_| (422, json!({})));
    parent(&mut world, &target, "sync", "call", "");
    let running = world.open().await;
    let id = running.start("parent", json!({})).await;
    let cause = running.failure(id, "States.TaskFailed").await;
    let cause: Value = serde_json::from_str(&cause).unwrap();
    assert_eq!(cause["Error"], json!("States.Http.StatusCode.422"));
    assert_eq!((&cause["Status"], &cause["Input"]), (&json!("FAILED"), &json!("{}")));
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_nobody_waits_for_is_stopped() {
    for by_hand in [true, false] {
        let (mut world, target) = world().await;
        world.clock.stand_still();
        parent(&mut world, &target, "sync", "ask", "TimeoutSeconds: 50");
        let running = world.open().await;
        let id = running.start("parent", json!({})).await;
        running.question().await;
        running.out_of_memory().await;
        if by_hand {
            assert!(running.engine.stop_execution(id, None, None).await.unwrap());
        } else {
            world.clock.advance(Duration::from_secs(51));
            running.look_at_the_clock();
            running.failure(id, "States.Timeout").await;
        }
        let child = running.child_of(id).await;
        assert_eq!(running.ended(child).await.status, ExecutionStatus::Aborted);
        running.expect_sound().await;
    }
}

const HANDS_ON: &str = r#"
QueryLanguage: JSONata
StartAt: Child
States:
  Child:
    Type: Task
    Resource: arn:aws:states:::states:startExecution.sync:2
    Arguments: { StateMachineArn: ask, Input: { token: "{% $states.context.Task.Token %}" } }
    HeartbeatSeconds: 60
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_waits_for_a_child_is_answered_by_its_token_too() {
    let (mut world, target) = world().await;
    world.clock.stand_still();
    world.workflow("parent", HANDS_ON, &target);
    let running = world.open().await;
    let id = running.start("parent", json!({})).await;
    let (_, asked) = running.question().await;
    let token = asked["token"].as_str().unwrap().to_owned();
    // A sign of life puts the timeout off.
    world.clock.advance(Duration::from_secs(40));
    running.engine.send_task_heartbeat(&token).await.unwrap();
    running.out_of_memory().await;
    running.stop().await;
    let running = world.open().await;
    world.clock.advance(Duration::from_secs(40));
    running.engine.send_task_success(&token, "5").await.unwrap();
    assert_eq!(running.output(id).await, json!(5));
    let child = running.child_of(id).await;
    assert_eq!(running.ended(child).await.status, ExecutionStatus::Aborted);
    let again = running.engine.send_task_success(&token, "6").await;
    assert!(matches!(again, Err(TaskError::TaskTimedOut)), "{again:?}");
    running.expect_sound().await;
}

const NAMED: &str = r#"
QueryLanguage: JSONata
StartAt: Start
States:
  Start:
    Type: Task
    Resource: arn:aws:states:::states:startExecution
    Arguments: "{% $states.input %}"
    Output: "{% $states.result.ExecutionArn %}"
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn names_are_kept_as_start_execution_keeps_them() {
    let (mut world, target) = world().await;
    world.workflow("named", NAMED, &target);
    target.close_gate();
    let running = world.open().await;
    let wish = |machine: &str, input: Value| json!({ "StateMachineArn": machine, "Name": "daily", "Input": input });
    let arn = "arn:aws:states:local:000000000000:execution:call:daily";
    for _ in 0..2 {
        let id = running.start("named", wish("call", json!({ "n": 1 }))).await;
        assert_eq!(running.output(id).await, json!(arn), "it still runs, with the same input");
    }
    until("it calls", async || !target.arrived().is_empty()).await;
    let other = running.start("named", wish("call", json!({ "n": 2 }))).await;
    let error = "StepFunctions.ExecutionAlreadyExistsException";
    assert!(running.failure(other, error).await.contains(arn));
    let none = running.start("named", wish("cull", json!({}))).await;
    running.failure(none, "StepFunctions.StateMachineDoesNotExistException").await;
    target.open_gate();
    running.expect_sound().await;
    assert_eq!(target.arrived().len(), 1);
    let ended = running.start("named", wish("call", json!({ "n": 1 }))).await;
    running.failure(ended, error).await;
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_of_starts_ends() {
    let (mut world, target) = world().await;
    world.limits.hops = 4;
    let text = NAMED.replace("\"{% $states.input %}\"", "{ StateMachineArn: again }");
    world.workflow("again", &text, &target);
    let running = world.open().await;
    running.start("again", json!({})).await;
    running.expect_sound().await;
    let rows = world.store.executions(Default::default(), None, 50).await.unwrap();
    assert_eq!(rows.len(), 5);
    let failed = rows.iter().find(|row| row.status == ExecutionStatus::Failed).unwrap();
    assert_eq!(failed.error.as_deref(), Some("StepFunctions.HopLimitExceededException"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_express_workflow_is_waited_for() {
    let (mut world, target) = world().await;
    target.behave(|call| (200, json!(call.n())));
    world.declared.workflows.push(WorkflowSpec {
        name: "quick".into(),
        definition: CALL.replace("URL", &target.url),
        kind: stepbus_asl::WorkflowType::Express,
        in_flight_at_crash: InFlightAtCrash::default(),
    });
    let running = world.open().await;
    let start = |workflow: &'static str| {
        running.engine.start_sync_execution(workflow, None, json!({ "n": 7 }), Priority::Normal)
    };
    let row = start("quick").await.unwrap();
    assert_eq!((row.status, row.output.unwrap().as_ref()), (ExecutionStatus::Succeeded, &b"7"[..]));
    assert!(matches!(start("call").await, Err(StartError::NotExpress(_))));
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_express_execution_has_five_minutes_in_the_aws_profile() {
    let (mut world, _) = world().await;
    world.limits = Limits { park_after_seconds: 0, ..Limits::AWS };
    world.declared.workflows.push(WorkflowSpec {
        name: "slow".into(),
        definition: "StartAt: W\nStates: { W: { Type: Wait, Seconds: 9999, End: true } }".into(),
        kind: stepbus_asl::WorkflowType::Express,
        in_flight_at_crash: InFlightAtCrash::default(),
    });
    let running = world.open().await;
    let id = running.start("slow", json!({})).await;
    until("it left memory", async || running.engine.executions_in_memory() == 0).await;
    world.clock.advance(Duration::from_secs(200));
    running.look_at_the_clock();
    assert_eq!(running.row(id).await.status, ExecutionStatus::Running);
    world.clock.advance(Duration::from_secs(101));
    running.look_at_the_clock();
    let row = running.ended(id).await;
    assert_eq!(
        (row.status, row.error.as_deref()),
        (ExecutionStatus::TimedOut, Some("States.Timeout"))
    );
    running.expect_sound().await;
}

const MAP: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: [1, 2, 3]
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
      StartAt: Ask
      States:
        Ask:
          Type: Task
          Resource: arn:aws:states:::sqs:sendMessage.waitForTaskToken
          Arguments:
            QueueUrl: questions
            MessageBody: { token: "{% $states.context.Task.Token %}", asked: "{% $states.input %}" }
          End: true
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_maps_children_wait_for_tokens_too() {
    let (mut world, target) = world().await;
    world.workflow("each", MAP, &target);
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    let mut questions = Vec::new();
    for _ in 0..3 {
        questions.push(running.question().await);
    }
    running.stop().await;
    let running = world.open().await;
    for (token, asked) in questions {
        let answer = (asked.as_u64().unwrap() * 10).to_string();
        until("the child is taken up", async || {
            running.engine.send_task_success(&token, &answer).await.is_ok()
        })
        .await;
    }
    assert_eq!(running.output(id).await, json!([10, 20, 30]));
    running.expect_sound().await;
}
