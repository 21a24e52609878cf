//! What was in flight when the process ended: sent again or failed, and counted.

use serde_json::json;

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
