//! What was in flight when the process ended: sent again or failed, and counted.

use serde_json::json;
use stepbus_store::ExecutionStatus;

use super::world::{Target, World, until};
use crate::{AtCrash, IN_FLIGHT_AT_CRASH, InFlightAtCrash, RedriveOptions};

/// Calls, catches and asks again only when it may.
const CHARGE: &str = r#"
QueryLanguage: JSONata
StartAt: Charge
States:
  Charge:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { ApiEndpoint: "URL/charge", Method: POST, RequestBody: "{% $states.input %}" }
    Retry: [{ ErrorEquals: [Stepbus.InFlightAtCrash], MaxAttempts: 0 }, { ErrorEquals: [States.ALL] }]
    Catch: [{ ErrorEquals: [Stepbus.InFlightAtCrash], Next: Ask, Output: "{% $states.errorOutput %}" }]
    End: true
  Ask:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { ApiEndpoint: "URL/ask", Method: POST, RequestBody: {} }
    Output: "{% { 'charged': $states.result.ResponseBody, 'after': $states.input } %}"
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_fails_where_the_project_says_so() {
    let target = Target::start().await;
    let mut world = World::empty();
    world.workflow("charge", CHARGE, &target);
    let states = [("Charge".to_owned(), AtCrash::Fail)].into();
    world.in_flight_at_crash(InFlightAtCrash { states, ..InFlightAtCrash::default() });
    target.behave(|call| (200, json!(call.path)));
    target.close_gate();
    let running = world.open().await;
    let id = running.start("charge", json!({ "sku": "P-1" })).await;
    until("the call is under way", async || target.arrived().len() == 1).await;
    running.stop().await;
    let running = world.open().await;
    until("what follows is called", async || target.arrived().len() == 2).await;
    running.stop().await;
    // `Ask` may be sent again.
    let running = world.open().await;
    until("it is sent again", async || target.arrived().len() == 3).await;
    target.open_gate();
    let output = running.output(id).await;
    assert_eq!(output["after"]["Error"], IN_FLIGHT_AT_CRASH);
    let paths: Vec<String> = target.arrived().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/charge", "/ask", "/ask"]);
    running.expect_sound().await;

    // What failed is asked for anew by a redrive: nothing was in flight then.
    running.stop().await;
    world.in_flight_at_crash(InFlightAtCrash {
        default: AtCrash::Fail,
        ..InFlightAtCrash::default()
    });
    target.close_gate();
    let running = world.open().await;
    let id = running.start("charge", json!({ "sku": "P-2" })).await;
    until("the call is under way", async || target.arrived().len() == 4).await;
    running.stop().await;
    let running = world.open().await;
    until("the question is under way", async || target.arrived().len() == 5).await;
    running.stop().await;
    let running = world.open().await;
    running.failure(id, IN_FLIGHT_AT_CRASH).await;
    target.open_gate();
    running.engine.redrive_execution(id, &RedriveOptions::default()).await.unwrap();
    assert_eq!(running.output(id).await["charged"], "/ask");
    running.expect_sound().await;
}

/// Two branches: one whose answer kills the process, one that goes on.
const POISON: &str = r#"
QueryLanguage: JSONata
StartAt: Both
States:
  Both:
    Type: Parallel
    End: true
    Branches:
      - StartAt: Poison
        States:
          Poison:
            Type: Task
            Resource: arn:aws:states:::http:invoke
            Arguments: { ApiEndpoint: "URL/poison", Method: POST, RequestBody: {} }
            End: true
      - StartAt: Poll
        States:
          Poll:
            Type: Task
            Resource: arn:aws:states:::http:invoke
            Arguments: { ApiEndpoint: "OTHER/poll", Method: POST, RequestBody: {} }
            Next: Poll
            Catch: [{ ErrorEquals: [Enough], Next: Rest }]
          Rest: { Type: Succeed }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_that_goes_on_hides_no_poison() {
    let (target, other) = (Target::start().await, Target::start().await);
    let mut world = World::empty();
    world.limits.task_recoveries = 2;
    world.workflow("both", &POISON.replace("OTHER", &other.url), &target);
    target.close_gate();
    let running = world.open().await;
    let id = running.start("both", json!({})).await;
    let mut running = Some(running);
    for crash in 1..=3 {
        until("one branch hangs", async || target.arrived().len() == crash).await;
        let polled = other.arrived().len();
        until("the other one goes on", async || other.arrived().len() > polled + 3).await;
        running.take().unwrap().stop().await;
        running = Some(world.open().await);
    }
    let running = running.unwrap();
    let cause = running.failure(id, "States.Runtime").await;
    assert!(cause.contains("task_recoveries"), "{cause}");
    assert_eq!(target.arrived().len(), 3);
    running.expect_sound().await;
}

const EACH: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: [1, 2, 3, 4, 5]
    ToleratedFailureCount: 1
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: EXPRESS }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments:
            ApiEndpoint: "{% $states.input = 3 ? 'OTHER/poison' : 'URL/get' %}"
            Method: POST
            RequestBody: {}
          Output: "{% $states.context.Map.Item.Index %}"
          End: true
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_ends_the_process_again_and_again_fails() {
    let (target, poison) = (Target::start().await, Target::start().await);
    let mut world = World::empty();
    world.limits.task_recoveries = 2;
    world.workflow("each", &EACH.replace("OTHER", &poison.url), &target);
    poison.close_gate();
    let mut running = world.open().await;
    let id = running.start("each", json!({})).await;
    until("it is at work", async || !poison.arrived().is_empty()).await;
    let map_run = running.map_runs(id).await[0].id;
    for crash in 1..=3 {
        until("it is at work", async || poison.arrived().len() == crash).await;
        until("the others are over", async || {
            let ended = running.children(map_run).await;
            ended.iter().filter(|child| child.status != ExecutionStatus::Running).count() == 4
        })
        .await;
        assert_eq!(running.row(id).await.recoveries as usize, crash - 1);
        running.stop().await;
        running = world.open().await;
    }
    assert_eq!(running.output(id).await, json!([0, 1, 3, 4]));
    assert_eq!(poison.arrived().len(), 3);
    let children = running.children(map_run).await;
    let failed: Vec<_> =
        children.iter().filter(|child| child.status == ExecutionStatus::Failed).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].error.as_deref(), Some("States.Runtime"));
    assert!(failed[0].error_cause.as_deref().unwrap().contains("task_recoveries"));
    running.expect_sound().await;
}

/// Once what was at work at a crash has its end, the crash counts no longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_map_that_goes_on_counts_crashes_anew() {
    let (target, last) = (Target::start().await, Target::start().await);
    let mut world = World::empty();
    world.limits.map_concurrency = 1;
    world.workflow("each", &EACH.replace("OTHER", &last.url), &target);
    target.close_gate();
    last.close_gate();
    let running = world.open().await;
    let id = running.start("each", json!({})).await;
    until("the first is at work", async || target.arrived().len() == 1).await;
    running.stop().await;
    let running = world.open().await;
    until("it is at work again", async || target.arrived().len() == 2).await;
    assert_eq!(running.row(id).await.recoveries, 1);
    target.open_gate();
    until("the third is at work", async || last.arrived().len() == 1).await;
    until("the crash is forgotten", async || running.row(id).await.recoveries == 0).await;
    last.open_gate();
    assert_eq!(running.output(id).await, json!([0, 1, 2, 3, 4]));
    running.expect_sound().await;
}
