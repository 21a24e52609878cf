//! What waits leaves memory, what finds no room waits in the store.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use stepbus_model::ExecutionId;
use stepbus_store::{Batch, SnapshotRow};

use super::world::{CALL, Running, Target, World, until};

pub(super) const NAP: &str = r#"
QueryLanguage: JSONata
StartAt: Begin
States:
  Begin: { Type: Pass, Assign: { from: "{% $states.input.from %}" }, Next: Nap }
  Nap: { Type: Wait, Seconds: 3600, Next: Tell }
  Tell: { Type: Pass, Output: "{% $from & ' rested' %}", End: true }
"#;

const HOUR: Duration = Duration::from_secs(3_600);

async fn napping() -> (World, Target) {
    let target = Target::start().await;
    let mut world = World::empty();
    world.workflow("nap", NAP, &target);
    world.workflow("call", CALL, &target);
    (world, target)
}

async fn parked(running: &Running) -> ExecutionId {
    let id = running.start("nap", json!({ "from": "work" })).await;
    until("it leaves memory", async || running.engine.executions_in_memory() == 0).await;
    let row = running.row(id).await;
    assert!(row.idle);
    assert!(row.wake.unwrap() >= row.started.plus(HOUR));
    assert!(running.engine.store.snapshot(id).await.unwrap().is_some());
    id
}

async fn expect_rested(running: &Running, id: ExecutionId) {
    running.look_at_the_clock();
    assert_eq!(running.output(id).await, json!("work rested"));
    assert!(running.engine.store.snapshot(id).await.unwrap().is_none());
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_leaves_memory_and_is_woken() {
    let (world, _target) = napping().await;
    let running = world.open().await;
    let id = parked(&running).await;
    world.clock.advance(HOUR);
    expect_rested(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_wait_outlives_the_process() {
    let (world, _target) = napping().await;
    let running = world.open().await;
    let id = parked(&running).await;
    running.stop().await;
    let running = world.open().await;
    assert_eq!(running.engine.executions_in_memory(), 0, "nothing to do, nothing loaded");
    running.stop().await;
    world.clock.advance(HOUR);
    let running = world.open().await;
    expect_rested(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_another_version_is_no_loss() {
    let (world, _target) = napping().await;
    let running = world.open().await;
    let id = parked(&running).await;
    let mut batch = Batch::new();
    let value = Bytes::from_static(b"\xff\xff\xff\xffof tomorrow");
    batch.put_snapshot(SnapshotRow { execution: id, inputs: 1, value });
    world.store.commit(batch).await.unwrap();
    world.clock.advance(HOUR);
    expect_rested(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_executions_than_memory_holds_all_end() {
    let (mut world, target) = napping().await;
    world.limits.executions_in_memory = 4;
    // Waiting for room is no crash.
    world.limits.task_recoveries = 0;
    let running = world.open().await;
    let mut ids = Vec::new();
    for n in 0..50 {
        ids.push(running.start("call", json!({ "sku": n.to_string() })).await);
        assert!(running.engine.executions_in_memory() <= 4);
    }
    for id in ids {
        assert_eq!(running.output(id).await, json!({}));
    }
    assert_eq!(target.arrived().len(), 50, "each once");
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_due_while_memory_is_full_is_woken_later() {
    let (mut world, target) = napping().await;
    world.limits.executions_in_memory = 1;
    let running = world.open().await;
    let napper = parked(&running).await;
    target.close_gate();
    let caller = running.start("call", json!({})).await;
    until("memory is full", async || target.arrived().len() == 1).await;
    world.clock.advance(HOUR);
    running.look_at_the_clock();
    let store = &world.store;
    until("its time has come", async || {
        let due = store.due_executions(running.engine.now(), 1).await.unwrap();
        due == [(napper, due[0].1)]
    })
    .await;
    target.open_gate();
    running.output(caller).await;
    expect_rested(&running, napper).await;
}
