//! FIFO by key: strict order, single flight, and what a dead letter does to its key.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use stepbus_model::{Limits, Totals};

use super::world::{Call, Dice, Target, World, until};
use crate::delivery::RedriveVersion;
use crate::{OnDeadLetter, Order};

/// The numbers each product was sent, without repeats of the same delivery.
fn sequences(taken: &[Call]) -> HashMap<String, Vec<u64>> {
    let mut sequences: HashMap<String, Vec<u64>> = HashMap::new();
    for call in taken {
        let sequence = sequences.entry(call.sku().to_owned()).or_default();
        if sequence.last() != Some(&call.n()) {
            sequence.push(call.n());
        }
    }
    sequences
}

fn fifo(target: &Target) -> World {
    let mut world = World::new(target);
    world.load().order = Order::Fifo;
    world
}

async fn ordered_in_every_key(limits: impl Fn(&mut Limits), seed: u64) {
    let target = Target::start().await;
    let mut world = fifo(&target);
    limits(&mut world.limits);
    let mut dice = Dice::new(seed);
    target.behave(move |_| match dice.below(10) {
        0 | 1 => (503, json!({})),
        2 => (429, json!({})),
        _ => (200, json!({})),
    });
    let mut n = 0;
    for _ in 0..4 {
        let running = world.open().await;
        for _ in 0..5 {
            let page: Vec<(String, u64)> =
                (n..n + 30).map(|n| (format!("P-{}", n % 7), n)).collect();
            n += 30;
            running.publish(page).await;
        }
        // Some are under way, some wait for a retry, most have not been touched.
        running.stop().await;
        target.abandoned().await;
    }
    let running = world.open().await;
    running.quiet().await;
    for (sku, sequence) in sequences(&target.taken()) {
        let expected: Vec<u64> = (0..n).filter(|n| format!("P-{}", n % 7) == sku).collect();
        assert_eq!(sequence, expected, "{sku}");
    }
    let all = i64::try_from(n).unwrap();
    running.expect_books(Totals { matched: all, delivered: all, ..Totals::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_over_failures_and_restarts() {
    ordered_in_every_key(|_| {}, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_when_memory_is_short() {
    ordered_in_every_key(|limits| limits.delivery_window = 4, 2).await;
    ordered_in_every_key(|limits| limits.waiting_lanes = 1, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_flight_at_a_time_within_a_key() {
    let target = Target::start().await;
    let world = fifo(&target);
    let running = world.open().await;
    running.publish((0..60).map(|n| (format!("P-{}", n % 3), n))).await;
    running.quiet().await;
    assert_eq!(target.most_at_once_of_one_product(), 1);
    assert_eq!(target.calls().len(), 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_key_holds_up_no_other() {
    let target = Target::start().await;
    let world = fifo(&target);
    let well = Arc::new(AtomicBool::new(false));
    let healed = well.clone();
    // A 409 is tried again and opens no circuit.
    target.behave(move |call| {
        let stuck = call.sku() == "P-0" && !healed.load(Ordering::Relaxed);
        if stuck { (409, json!({})) } else { (200, json!({})) }
    });
    let running = world.open().await;
    running.publish((0..200).map(|n| (format!("P-{}", n % 10), n))).await;
    until("all others are there", async || target.taken().len() == 180).await;
    assert!(target.taken().iter().all(|call| call.sku() != "P-0"));
    well.store(true, Ordering::Relaxed);
    running.quiet().await;
    let stuck = &sequences(&target.taken())["P-0"];
    assert_eq!(*stuck, (0..200).step_by(10).collect::<Vec<_>>());
    running.expect_books(Totals { matched: 200, delivered: 200, ..Totals::default() }).await;
}

/// P-0's first is refused while `bad`; everything else is taken.
fn refuse_first(target: &Target) -> Arc<AtomicBool> {
    let bad = Arc::new(AtomicBool::new(true));
    let refuses = bad.clone();
    target.behave(move |call| {
        let refused = call.sku() == "P-0" && call.n() == 0 && refuses.load(Ordering::Relaxed);
        if refused { (400, json!({ "error": "no" })) } else { (200, json!({})) }
    });
    bad
}

fn two_products() -> impl Iterator<Item = (String, u64)> {
    (0..10).map(|n| (format!("P-{}", n % 2), n))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_advances_past_its_dead_letter() {
    let target = Target::start().await;
    let world = fifo(&target);
    let bad = refuse_first(&target);
    let running = world.open().await;
    running.publish(two_products()).await;
    running.quiet().await;
    assert_eq!(sequences(&target.taken())["P-0"], [2, 4, 6, 8]);
    bad.store(false, Ordering::Relaxed);
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 1);
    running.quiet().await;
    assert_eq!(sequences(&target.taken())["P-0"], [2, 4, 6, 8, 0]);
    running.expect_books(Totals { matched: 10, delivered: 10, ..Totals::default() }).await;
}

fn blocking(target: &Target) -> World {
    let mut world = fifo(target);
    world.load().on_dead_letter = OnDeadLetter::Block;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_key_waits_for_its_redrive() {
    let target = Target::start().await;
    let world = blocking(&target);
    let bad = refuse_first(&target);
    let running = world.open().await;
    running.publish(two_products()).await;
    let blocked =
        Totals { matched: 10, delivered: 5, dead_lettered: 1, pending: 4, ..Totals::default() };
    until("all but the blocked", async || running.totals("load").await == blocked).await;
    // A redrive that fails again leaves the key blocked; so does a restart.
    running.redrive_all(RedriveVersion::Original).await;
    until("dead again", async || running.totals("load").await == blocked).await;
    running.stop().await;
    let running = world.open().await;
    running.publish([("P-0".to_owned(), 10), ("P-1".to_owned(), 11)]).await;
    until("the free key goes on", async || running.totals("load").await.delivered == 6).await;
    assert!(!sequences(&target.taken()).contains_key("P-0"));
    bad.store(false, Ordering::Relaxed);
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 1);
    running.quiet().await;
    assert_eq!(sequences(&target.taken())["P-0"], [0, 2, 4, 6, 8, 10]);
    running.expect_books(Totals { matched: 12, delivered: 12, ..Totals::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_frees_a_blocked_key() {
    let target = Target::start().await;
    let world = blocking(&target);
    refuse_first(&target);
    let running = world.open().await;
    running.publish(two_products()).await;
    until("dead", async || running.totals("load").await.dead_lettered == 1).await;
    assert_eq!(running.purge_all().await.done, 1);
    running.quiet().await;
    assert_eq!(sequences(&target.taken())["P-0"], [2, 4, 6, 8]);
    let expected = Totals { matched: 10, delivered: 9, discarded: 1, ..Totals::default() };
    running.expect_books(expected).await;
}
