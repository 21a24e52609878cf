//! One execution: its journal, its calls over a crash, and its stop.

use std::collections::HashSet;

use serde_json::json;
use stepbus_asl::Input;
use stepbus_store::{ExecutionStatus, MapRunStatus, Priority};

use super::maps::{items, map};
use super::world::{CALL, Running, Target, World, until};
use crate::StartError;

async fn calling(target: &Target) -> World {
    let mut world = World::empty();
    world.workflow("call", CALL, target);
    target.behave(|call| (200, json!({ "price": call.n() * 2 })));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_holds_what_happened_and_history_follows_from_it() {
    let target = Target::start().await;
    let world = calling(&target).await;
    let running = world.open().await;
    let id = running.start("call", json!({ "sku": "P-1", "n": 4 })).await;
    assert_eq!(running.output(id).await, json!({ "price": 8 }));
    let inputs = running.inputs(id).await;
    assert!(matches!(&inputs[..], [Input::Started(_), Input::TaskSucceeded { .. }]), "{inputs:?}");
    let history = running.engine.history(id).await.unwrap().unwrap();
    let types: Vec<&str> = history.iter().map(|event| event.event_type).collect();
    assert_eq!(types[..2], ["ExecutionStarted", "TaskStateEntered"]);
    assert_eq!(types[types.len() - 2..], ["TaskStateExited", "ExecutionSucceeded"]);
    let view = running.engine.execution(id).await.unwrap().unwrap();
    assert_eq!(view.input, Some(json!({ "sku": "P-1", "n": 4 })));
    assert_eq!((view.status, view.output), ("SUCCEEDED", Some(json!({ "price": 8 }))));
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_is_sent_again_under_the_same_key() {
    let target = Target::start().await;
    let world = calling(&target).await;
    target.close_gate();
    let running = world.open().await;
    let id = running.start("call", json!({ "sku": "P-1", "n": 1 })).await;
    let other = running.start("call", json!({ "sku": "P-2", "n": 1 })).await;
    until("the calls are under way", async || target.arrived().len() == 2).await;
    running.stop().await;
    let running = world.open().await;
    until("they are sent again", async || target.arrived().len() == 4).await;
    assert_eq!(running.row(id).await.recoveries, 1);
    target.open_gate();
    assert_eq!(running.output(id).await, json!({ "price": 2 }));
    running.output(other).await;
    assert_eq!(running.row(id).await.recoveries, 0);
    let keys: HashSet<String> =
        target.arrived().into_iter().map(|call| call.idempotency_key).collect();
    assert_eq!((keys.len(), keys.contains("")), (2, false));
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_ends_the_process_again_and_again_fails() {
    let target = Target::start().await;
    let mut world = calling(&target).await;
    world.limits.task_recoveries = 2;
    target.close_gate();
    let running = world.open().await;
    let id = running.start("call", json!({ "sku": "P-1" })).await;
    until("the call is under way", async || target.arrived().len() == 1).await;
    running.stop().await;
    for again in 1..=2 {
        let running = world.open().await;
        until("it is sent again", async || target.arrived().len() == again + 1).await;
        running.stop().await;
    }
    let running = world.open().await;
    let cause = running.failure(id, "States.Runtime").await;
    assert!(cause.contains("ended 3 times"), "{cause}");
    assert_eq!(target.arrived().len(), 3);
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_taken_once() {
    let target = Target::start().await;
    let world = calling(&target).await;
    let running = world.open().await;
    let start = |n: u64| {
        running.engine.start_execution(
            "call",
            Some("daily".into()),
            json!({ "n": n }),
            Priority::Normal,
        )
    };
    let results = futures_util::future::join_all((0..5).map(start)).await;
    let started: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    assert_eq!(started.len(), 1);
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        match refused {
            StartError::NameTaken { name, id } => {
                assert_eq!((name.as_str(), *id), ("daily", started[0].0));
            }
            other => panic!("{other}"),
        }
    }
    running.expect_sound().await;
}

async fn stop(running: &Running, id: stepbus_model::ExecutionId) -> bool {
    let (error, cause) = (Some("Enough".to_owned()), Some("by hand".to_owned()));
    running.engine.stop_execution(id, error, cause).await.unwrap()
}

async fn expect_stopped(running: &Running, id: stepbus_model::ExecutionId) {
    assert!(stop(running, id).await);
    let row = running.row(id).await;
    assert_eq!(row.status, ExecutionStatus::Aborted, "acknowledged means on disk");
    assert_eq!(row.error.as_deref(), Some("Enough"));
    assert_eq!(row.error_cause.as_deref(), Some("by hand"));
    assert!(!stop(running, id).await, "it has ended");
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_in_memory_is_stopped() {
    let target = Target::start().await;
    let world = calling(&target).await;
    target.close_gate();
    let running = world.open().await;
    let id = running.start("call", json!({})).await;
    until("the call is under way", async || target.arrived().len() == 1).await;
    expect_stopped(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_stopped_while_it_leaves_memory() {
    let target = Target::start().await;
    let mut world = World::empty();
    world.workflow("nap", super::memory::NAP, &target);
    let running = world.open().await;
    for _ in 0..30 {
        let id = running.start("nap", json!({ "from": "work" })).await;
        assert!(stop(&running, id).await);
        assert_eq!(running.row(id).await.status, ExecutionStatus::Aborted);
    }
    let id = running.start("nap", json!({ "from": "work" })).await;
    until("it is parked", async || running.engine.executions_in_memory() == 0).await;
    expect_stopped(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_map_run_too() {
    let target = Target::start().await;
    for kind in ["EXPRESS", "STANDARD"] {
        let mut world = World::empty();
        world.workflow("each", &map(kind, "MaxConcurrency: 3"), &target);
        target.close_gate();
        let before = target.arrived().len();
        let running = world.open().await;
        let id = running.start("each", items(10)).await;
        until("children are at work", async || target.arrived().len() == before + 3).await;
        let child = running.children(running.map_runs(id).await[0].id).await;
        if let Some(child) = child.first() {
            assert!(!stop(&running, child.id).await, "a child is its map run's business");
        }
        expect_stopped(&running, id).await;
        let map_run = &running.map_runs(id).await[0];
        let counts = map_run.counts.items;
        assert_eq!((map_run.status, counts.running), (MapRunStatus::Aborted, 0));
        assert_eq!(counts.aborted + counts.pending(), 10);
        target.open_gate();
    }
}
