//! `events:putEvents` is a write in the execution's own commit.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;
use stepbus_connect::{CallSpec, DestinationSpec};
use stepbus_model::{EventId, ExecutionId, Timestamp};
use stepbus_store::{ExecutionFilter, ExecutionStatus};

use super::maps::items;
use super::world::{Target, World, until};
use crate::{ReplaySpec, StartOptions, SubscriptionSpec, TargetSpec};

const ANNOUNCE: &str = r#"
QueryLanguage: JSONata
StartAt: Tell
States:
  Tell:
    Type: Task
    Resource: arn:aws:states:::events:putEvents
    Arguments:
      Entries:
        - { Source: test, DetailType: made, Detail: "{% $states.input %}", EventBusName: catalog }
        - { Source: test, DetailType: told, Detail: { of: 1 }, EventBusName: BUS }
    Output: "{% $states.result.FailedEntryCount %}"
    End: true
"#;

async fn announcing(bus: &str) -> World {
    let mut world = World::empty();
    let target = Target::start().await;
    world.workflow("announce", &ANNOUNCE.replace("BUS", bus), &target);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_started_with_force_sends_what_is_unchanged() {
    const TELL: &str = r#"
QueryLanguage: JSONata
StartAt: Tell
States:
  Tell:
    Type: Task
    Resource: arn:aws:states:::events:putEvents
    Arguments:
      Entries:
        - { EventBusName: catalog, Source: test, DetailType: product, Detail: { sku: A, n: 1 } }
    End: true
"#;
    let target = Target::start().await;
    let mut world = World::empty();
    let call = CallSpec::new("PUT", &format!("{}/products/{{sku}}", target.url));
    world.declared.destinations.push(DestinationSpec::call("shop", None, call));
    let pattern = json!({ "detail-type": ["product"] }).to_string();
    let shop = TargetSpec::Destination("shop".into());
    world.declared.subscriptions.push(SubscriptionSpec {
        key: Some(json!("{% $event.detail.sku %}")),
        transform: Some(json!("{% $event.detail %}")),
        skip_unchanged: true,
        ..SubscriptionSpec::new("load", "catalog", &pattern, shop)
    });
    world.workflow("tell", TELL, &target);
    let running = world.open().await;
    let start = async |force: bool| {
        let options = StartOptions { force, ..StartOptions::default() };
        running.engine.start_execution("tell", None, json!({}), options).await.unwrap();
        running.quiet().await;
        target.taken().len()
    };
    assert_eq!(start(false).await, 1);
    assert_eq!(start(false).await, 1, "unchanged");
    assert_eq!(start(true).await, 2, "forced");
    assert_eq!(start(false).await, 2, "unchanged again");
    // So does a replay.
    let replay = async |name: &str, force: bool| {
        let spec = ReplaySpec {
            name: name.into(),
            bus: "catalog".into(),
            archive: None,
            from: Timestamp(0),
            to: running.engine.now().plus(Duration::from_secs(1)),
            pattern: None,
            subscriptions: Vec::new(),
            rate: None,
            force,
        };
        running.engine.start_replay(spec, "tester").await.unwrap();
        until("the replay is over", async || {
            running.engine.replay(name).await.unwrap().unwrap().state == "COMPLETED"
        })
        .await;
        running.quiet().await;
        target.taken().len()
    };
    assert_eq!(replay("plain", false).await, 2);
    assert_eq!(replay("forced", true).await, 6, "all four events");
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_and_not_driven_publishes_once() {
    let world = announcing("catalog").await;
    let running = world.open().await;
    let id = running.only_commit("announce", json!({ "n": 1 })).await;
    assert_eq!(running.events_of("made").await, 0);
    running.stop().await;
    for _ in 0..3 {
        let running = world.open().await;
        assert_eq!(running.output(id).await, json!(0));
        assert_eq!((running.events_of("made").await, running.events_of("told").await), (1, 1));
        running.expect_sound().await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_moment_it_publishes_once() {
    let world = announcing("catalog").await;
    let mut ids: Vec<ExecutionId> = Vec::new();
    for n in 0..10 {
        let running = world.open().await;
        ids.push(running.start("announce", json!({ "n": n })).await);
        ids.push(running.start("announce", json!({ "n": n })).await);
        running.stop().await;
    }
    let running = world.open().await;
    for id in &ids {
        running.output(*id).await;
    }
    assert_eq!(running.events_of("made").await, ids.len());
    let events = running.engine.events(None, EventId(0), 1_000).await.unwrap();
    for id in ids {
        let of_this = events.iter().filter(|event| event.caused_by == id.to_string());
        assert_eq!(of_this.count(), 2);
    }
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_entry_fails_the_task() {
    let world = announcing("nowhere").await;
    let running = world.open().await;
    let id = running.start("announce", json!({})).await;
    let cause = running.failure(id, "EventBridge.FailedEntry").await;
    assert!(cause.contains("ResourceNotFoundException"), "{cause}");
    assert_eq!(running.events_of("made").await, 1, "the other entry is on the bus");
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_ends_with_an_error() {
    let mut world = announcing("catalog").await;
    world.limits.hops = 5;
    world.starts("made", "announce");
    let running = world.open().await;
    running.start("announce", json!({ "n": 1 })).await;
    running.expect_sound().await;
    let filter = ExecutionFilter::default();
    let rows = world.store.executions(filter, None, 100).await.unwrap();
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    assert_eq!((count(ExecutionStatus::Succeeded), count(ExecutionStatus::Failed)), (5, 1));
    assert_eq!(running.events_of("made").await, 5);
    let failed = rows.iter().find(|row| row.status == ExecutionStatus::Failed).unwrap();
    assert!(failed.error_cause.as_ref().unwrap().contains("HopLimitExceeded"));
}

pub(super) const EACH: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: "{% $states.input.items %}"
    MaxConcurrency: 4
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: KIND }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
          Output: "{% $states.input %}"
          Next: Tell
        Tell:
          Type: Task
          Resource: arn:aws:states:::events:putEvents
          Arguments:
            Entries: [{ Source: test, DetailType: made, Detail: "{% $states.input %}", EventBusName: catalog }]
          Output: "{% $states.input %}"
          Next: Again
        Again:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
          Output: "{% $states.input.n %}"
          End: true
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn children_publish_once_over_restarts() {
    for kind in ["EXPRESS", "STANDARD"] {
        let target = Target::start().await;
        let mut world = World::empty();
        world.workflow("each", &EACH.replace("KIND", kind), &target);
        let mut running = world.open().await;
        let id = running.start("each", items(40)).await;
        for goal in [10, 30, 55] {
            until("some are done", async || target.taken().len() >= goal).await;
            running.stop().await;
            running = world.open().await;
        }
        assert_eq!(running.output(id).await, json!((0..40).collect::<Vec<u64>>()));
        let events = running.engine.events(None, EventId(0), 1_000).await.unwrap();
        let told: HashSet<u64> =
            events.iter().filter_map(|event| event.event["detail"]["n"].as_u64()).collect();
        assert_eq!((events.len(), told.len()), (40, 40), "{kind}");
        running.expect_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_subscription_starts_its_workflow_later_and_in_order() {
    let mut world = announcing("catalog").await;
    world.starts("product", "announce");
    let rule = world.declared.subscriptions.last_mut().unwrap();
    rule.key = Some(json!("{% $event.detail.sku %}"));
    rule.order = crate::Order::Fifo;
    let running = world.open().await;
    let subscription =
        running.engine.catalogue().subscription_named("product-announce").unwrap().id;
    running.engine.pause(subscription, "tester", "").await.unwrap();
    running.publish_details((0..10).map(|n| json!({ "sku": "P", "n": n }))).await;
    assert_eq!(running.events_of("made").await, 0);
    running.stop().await;

    let running = world.open().await;
    running.publish_details((10..15).map(|n| json!({ "sku": "P", "n": n }))).await;
    running.engine.unpause(subscription, "tester").await.unwrap();
    for n in 15..40 {
        running.publish_details([json!({ "sku": "P", "n": n })]).await;
    }
    running.quiet().await;
    assert_eq!(running.events_of("made").await, 40);
    let executions =
        running.engine.executions(ExecutionFilter::default(), None, 100).await.unwrap();
    let mut begun = Vec::new();
    for view in executions.iter().rev() {
        let view = running.engine.execution(view.id).await.unwrap().unwrap();
        begun.push(view.input.unwrap()["n"].as_u64().unwrap());
    }
    assert_eq!(begun, (0..40).collect::<Vec<_>>());
    running.expect_sound().await;
}
