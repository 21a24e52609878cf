//! Redrives that begin at a chosen state, or go on by the current definition.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepbus_store::{ExecutionStatus, MapRunStatus};

use super::maps::items;
use super::redrive::{ended, only_map_run};
use super::world::{Running, Target, World};
use crate::workflow::{RedriveError, RedriveOptions, RerunSelection};

/// Two calls, the second with what the first gave.
const TWO: &str = r#"
      StartAt: First
      States:
        First:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "URL/first", Method: POST, RequestBody: "{% $states.input %}" }
          Assign: { price: "{% $states.result.ResponseBody %}" }
          Output: "{% $states.input %}"
          Next: Second
        Second:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments:
            ApiEndpoint: URL/second
            Method: POST
            RequestBody: "{% { 'n': $states.input.n, 'price': $price } %}"
          Output: "{% [$price, $states.result.ResponseBody] %}"
          End: true
"#;

fn single() -> String {
    format!("QueryLanguage: JSONata\n{}", TWO.replace("\n      ", "\n"))
}

fn each(kind: &str) -> String {
    format!(
        r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: "{{% $states.input.items %}}"
    ToleratedFailurePercentage: 100
    ItemProcessor:
      ProcessorConfig: {{ Mode: DISTRIBUTED, ExecutionType: {kind} }}{TWO}
    End: true
"#
    )
}

/// How often each item was asked for under a path.
fn asked(target: &Target, path: &str) -> BTreeMap<u64, usize> {
    let mut asked = BTreeMap::new();
    for call in target.arrived().iter().filter(|call| call.path == path) {
        *asked.entry(call.n()).or_default() += 1;
    }
    asked
}

/// The first call gives `price`, the second one works when `works` says so of item and price.
fn behave(target: &Target, price: u64, works: impl Fn(u64, u64) -> bool + Send + 'static) {
    target.behave(move |call| match &*call.path {
        "/first" => (200, json!(price)),
        _ if works(call.n(), call.body["price"].as_u64().unwrap_or_default()) => (200, json!("ok")),
        _ => (422, json!({})),
    });
}

async fn refusal(running: &Running, id: stepbus_model::ExecutionId, state: &str) -> String {
    let options = RedriveOptions { from_state: Some(state.into()), ..RedriveOptions::default() };
    match running.engine.redrive_execution(id, &options).await {
        Err(RedriveError::NotRedrivable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_begins_at_a_chosen_state() {
    let target = Target::start().await;
    behave(&target, 1, |_, price| price == 2);
    let mut world = World::empty();
    world.workflow("two", &single(), &target);
    let running = world.open().await;
    let id = running.start("two", json!({ "n": 7 })).await;
    running.failure(id, "States.Http.StatusCode.422").await;
    assert!(refusal(&running, id, "Frist").await.ends_with("did you mean 'First'?"));

    behave(&target, 2, |_, price| price == 2);
    let options = RedriveOptions { from_state: Some("First".into()), ..RedriveOptions::default() };
    running.engine.redrive_execution(id, &options).await.unwrap();
    assert_eq!(running.output(id).await, json!([2, "ok"]));
    assert_eq!((asked(&target, "/first")[&7], asked(&target, "/second")[&7]), (2, 2));
    let keys: Vec<String> = target.arrived().into_iter().map(|call| call.idempotency_key).collect();
    assert!((1..4).all(|n| !keys[..n].contains(&keys[n])), "{keys:?}");
    running.expect_sound().await;
    assert_eq!(running.row(id).await.redrives, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_begin_at_a_chosen_state() {
    for kind in ["EXPRESS", "STANDARD"] {
        let target = Target::start().await;
        behave(&target, 1, |n, price| n % 10 > 2 || price == 2);
        let mut world = World::empty();
        world.workflow("each", &each(kind), &target);
        let running = world.open().await;
        let id = running.start("each", items(40)).await;
        running.output(id).await;
        let run = running.row(id).await.run;
        let (map_run, _, counts) = only_map_run(&running, id).await;
        assert_eq!(counts.items.failed, 12);

        behave(&target, 2, |_, price| price == 2);
        let from = |state: &str| RerunSelection {
            from_state: Some(state.into()),
            ..RerunSelection::default()
        };
        let refused =
            running.engine.rerun_failed(run, &from("Each")).await.unwrap_err().to_string();
        assert!(refused.contains("no state 'Each'"), "{refused}");
        let done = running.engine.rerun_failed(run, &from("First")).await.unwrap();
        assert_eq!(done[0].1.children, 12);
        ended(&running, map_run).await;
        running.expect_sound().await;
        let (_, status, counts) = only_map_run(&running, id).await;
        assert_eq!((status, counts.items.succeeded), (MapRunStatus::Succeeded, 40));
        for path in ["/first", "/second"] {
            for (n, times) in asked(&target, path) {
                assert_eq!(times, if n % 10 < 3 { 2 } else { 1 }, "{kind} {path} of item {n}");
            }
        }
        for child in running.children(map_run).await {
            let again = child.item.unwrap().1 % 10 < 3;
            let output: Value = serde_json::from_slice(&child.output.unwrap()).unwrap();
            assert_eq!(output, json!([if again { 2 } else { 1 }, "ok"]));
            assert_eq!(child.redrives, u32::from(again));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_of_a_redrive_run_by_the_current_definition() {
    for (kind, state) in [("EXPRESS", None), ("STANDARD", None), ("STANDARD", Some("Second"))] {
        let target = Target::start().await;
        behave(&target, 1, |n, _| n % 10 > 2);
        let mut world = World::empty();
        world.workflow("each", &each(kind), &target);
        let running = world.open().await;
        let id = running.start("each", items(40)).await;
        running.output(id).await;
        let (map_run, ..) = only_map_run(&running, id).await;
        let old = running.row(id).await.definition;
        running.stop().await;

        // What is declared now sends the second call elsewhere.
        world.declared.workflows.clear();
        world.workflow("each", &each(kind).replace("URL/second", "URL/third"), &target);
        let running = world.open().await;
        behave(&target, 2, |_, _| true);
        let selection = RerunSelection {
            current_definition: true,
            from_state: state.map(str::to_owned),
            ..RerunSelection::default()
        };
        let done = running.engine.redrive_map_run(map_run, &selection, None).await.unwrap();
        assert_eq!(done.children, 12);
        ended(&running, map_run).await;
        running.expect_sound().await;
        let first = if state.is_some() { 1 } else { 2 };
        for (n, times) in asked(&target, "/first") {
            assert_eq!(times, if n % 10 < 3 { first } else { 1 }, "{kind} {state:?} item {n}");
        }
        let third = asked(&target, "/third");
        assert!(third.len() == 12 && third.values().all(|times| *times == 1), "{third:?}");
        for child in running.children(map_run).await {
            let again = child.item.unwrap().1 % 10 < 3;
            assert_eq!(child.status, ExecutionStatus::Succeeded);
            assert_eq!(child.definition != old, again);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_of_another_definition_begins_anew_by_the_original() {
    let target = Target::start().await;
    behave(&target, 1, |_, _| false);
    let mut world = World::empty();
    world.workflow("each", &each("STANDARD"), &target);
    let running = world.open().await;
    let id = running.start("each", items(4)).await;
    running.output(id).await;
    let (map_run, ..) = only_map_run(&running, id).await;
    running.stop().await;
    world.declared.workflows.clear();
    world.workflow("each", &each("STANDARD").replace("URL/second", "URL/third"), &target);
    let running = world.open().await;
    for current_definition in [true, false] {
        let selection = RerunSelection { current_definition, ..RerunSelection::default() };
        running.engine.redrive_map_run(map_run, &selection, None).await.unwrap();
        ended(&running, map_run).await;
        running.expect_sound().await;
        behave(&target, 1, |_, _| true);
    }
    let (_, status, counts) = only_map_run(&running, id).await;
    assert_eq!((status, counts.items.succeeded), (MapRunStatus::Succeeded, 4));
    assert_eq!(asked(&target, "/first"), (0..4).map(|n| (n, 3)).collect());
    assert_eq!(asked(&target, "/second"), (0..4).map(|n| (n, 2)).collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_by_the_current_definition() {
    let target = Target::start().await;
    behave(&target, 1, |_, _| false);
    let mut world = World::empty();
    world.workflow("two", &single(), &target);
    let running = world.open().await;
    let id = running.start("two", json!({ "n": 7 })).await;
    running.failure(id, "States.Http.StatusCode.422").await;
    running.stop().await;

    let current = RedriveOptions { current_definition: true, ..RedriveOptions::default() };
    world.declared.workflows.clear();
    world.workflow("two", &single().replace("Second", "Other"), &target);
    let running = world.open().await;
    let refused = running.engine.redrive_execution(id, &current).await.unwrap_err().to_string();
    assert!(refused.contains("no state 'Second'"), "{refused}");
    running.stop().await;

    world.declared.workflows.clear();
    world.workflow("two", &single().replace("URL/second", "URL/third"), &target);
    let running = world.open().await;
    behave(&target, 2, |_, _| true);
    running.engine.redrive_execution(id, &current).await.unwrap();
    assert_eq!(running.output(id).await, json!([1, "ok"]), "with the variables it had");
    assert_eq!(asked(&target, "/first"), BTreeMap::from([(7, 1)]));
    assert_eq!(asked(&target, "/third"), BTreeMap::from([(7, 1)]));
    running.expect_sound().await;
    let history = running.engine.history(id).await.unwrap().unwrap();
    let told: Vec<&str> = history.iter().map(|event| event.event_type).take(3).collect();
    assert_eq!(told, ["ExecutionStarted", "ExecutionRedriven", "TaskStateEntered"]);
    assert_eq!(running.row(id).await.redrives, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_state_goes_on_with_its_map_run_by_the_current_definition() {
    let target = Target::start().await;
    behave(&target, 1, |n, _| n != 20);
    let strict = each("STANDARD").replace("ToleratedFailurePercentage: 100", "MaxConcurrency: 4");
    let mut world = World::empty();
    world.workflow("each", &strict, &target);
    let running = world.open().await;
    let id = running.start("each", items(60)).await;
    running.failure(id, "States.ExceedToleratedFailureThreshold").await;
    let (map_run, _, counts) = only_map_run(&running, id).await;
    let succeeded = counts.items.succeeded;
    let before = asked(&target, "/second").len();
    running.stop().await;

    world.declared.workflows.clear();
    world.workflow("each", &strict.replace("URL/second", "URL/third"), &target);
    let running = world.open().await;
    behave(&target, 1, |_, _| true);
    let current = RedriveOptions { current_definition: true, ..RedriveOptions::default() };
    running.engine.redrive_execution(id, &current).await.unwrap();
    assert_eq!(running.output(id).await, json!(vec![json!([1, "ok"]); 60]));
    running.expect_sound().await;
    let (same, status, counts) = only_map_run(&running, id).await;
    assert_eq!((same, status), (map_run, MapRunStatus::Succeeded));
    assert_eq!(counts.items.succeeded, 60);
    assert_eq!(asked(&target, "/second").len(), before, "nothing ran by the old definition");
    assert_eq!(asked(&target, "/third").len() as i64, 60 - succeeded);
}
