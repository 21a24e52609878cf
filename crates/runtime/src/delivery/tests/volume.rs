//! Many deliveries: none lost, none twice, memory bounded.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::json;
use stepbus_connect::{CallSpec, DestinationSpec};
use stepbus_model::{Limits, Totals};

use super::world::{Dice, Target, World, subscription, until};
use crate::Order;

fn products(count: u64, keys: u64) -> impl Iterator<Item = (String, u64)> {
    (0..count).map(move |n| (format!("P-{}", n % keys), n))
}

fn all_delivered(count: i64) -> Totals {
    Totals { matched: count, delivered: count, ..Totals::default() }
}

async fn overflow(order: Order, keys: u64) {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().order = order;
    world.limits = Limits { delivery_window: 10, ..world.limits };
    let running = world.open().await;
    for page in 0..10 {
        running.publish(products(500, keys).skip(page * 50).take(50)).await;
    }
    running.quiet().await;
    let taken = target.taken();
    let distinct: HashSet<&str> = taken.iter().map(|call| call.idempotency_key.as_str()).collect();
    assert_eq!((taken.len(), distinct.len()), (500, 500), "each exactly once");
    running.expect_books(all_delivered(500)).await;
    // Memory follows what is committed.
    until("all is measured and forgotten", async || {
        let measures = &running.engine.delivery_measures()[0];
        measures.latency.count == 500 && measures.in_memory == 0 && !measures.behind
    })
    .await;
    assert_eq!(running.engine.delivery_measures()[0].attempts, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_window_comes_from_the_store() {
    overflow(Order::Unordered, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifo_keys_beyond_the_window_come_from_the_store() {
    overflow(Order::Fifo, 50).await;
    overflow(Order::Fifo, 500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_is_taken_up_by_the_next_engine() {
    let target = Target::start().await;
    let world = World::new(&target);
    target.close_gate();
    let running = world.open().await;
    running.publish(products(50, 50)).await;
    until("calls are under way", async || target.waiting() > 0).await;
    running.stop().await;
    target.open_gate();
    let running = world.open().await;
    running.quiet().await;
    let skus: HashSet<String> = target.taken().iter().map(|call| call.sku().to_owned()).collect();
    assert_eq!(skus.len(), 50);
    running.expect_books(all_delivered(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_stalls_holds_up_no_other() {
    let (stuck, target) = (Target::start().await, Target::start().await);
    let mut world = World::new(&target);
    let call = CallSpec::new("PUT", &format!("{}/products/{{sku}}", stuck.url));
    world.declared.destinations.push(DestinationSpec::call("erp", None, call));
    world.declared.subscriptions.push(subscription("slow", "erp"));
    stuck.close_gate();
    let running = world.open().await;
    running.publish(products(100, 100)).await;
    until("the other has all", async || target.taken().len() == 100).await;
    assert!(stuck.taken().is_empty());
    stuck.open_gate();
    running.quiet().await;
    assert_eq!(stuck.taken().len(), 100);
    running.expect_books(all_delivered(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_throttles_uses_up_no_attempts() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().retry.max_attempts = 0;
    let mut dice = Dice::new(7);
    target.behave(move |_| if dice.below(3) == 0 { (429, json!({})) } else { (200, json!({})) });
    let running = world.open().await;
    running.publish(products(100, 100)).await;
    running.quiet().await;
    assert_eq!(target.taken().len(), 100);
    running.expect_books(all_delivered(100)).await;
    assert!(running.engine.delivery_measures()[0].throttled > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_carries_the_same_idempotency_key() {
    let target = Target::start().await;
    let world = World::new(&target);
    let mut seen = HashSet::new();
    target.behave(move |call| {
        let first = seen.insert(call.sku().to_owned());
        if first { (503, json!({})) } else { (200, json!({})) }
    });
    let running = world.open().await;
    running.publish(products(5, 5)).await;
    running.quiet().await;
    let calls = target.calls();
    let keys: HashSet<&str> = calls.iter().map(|(call, _)| call.idempotency_key.as_str()).collect();
    assert_eq!((calls.len(), keys.len()), (10, 5));
    running.expect_books(all_delivered(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_retries_than_alarms_in_memory() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.limits = Limits { timers_in_memory: 5, delivery_window: 20, ..world.limits };
    let mut tries: HashMap<String, u32> = HashMap::new();
    // A 409 is tried again and opens no circuit.
    target.behave(move |call| {
        let tries = tries.entry(call.sku().to_owned()).or_default();
        *tries += 1;
        if *tries < 4 { (409, json!({})) } else { (200, json!({})) }
    });
    let running = world.open().await;
    running.publish(products(60, 60)).await;
    running.quiet().await;
    assert_eq!(target.calls().len(), 240);
    running.expect_books(all_delivered(60)).await;
}
