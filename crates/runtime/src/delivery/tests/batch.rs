//! Several deliveries in one call.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_connect::{CallSpec, DestinationSpec, OutcomeRules};
use stepbus_model::Totals;

use super::world::{Call, Target, World, until};
use crate::{BatchSpec, Order};

fn world(target: &Target, size: usize, window: Duration) -> World {
    let mut world = World::new(target);
    let call = CallSpec::new("POST", &format!("{}/bulk", target.url));
    world.declared.destinations = vec![DestinationSpec::call("shop", None, call)];
    let window_ms = u64::try_from(window.as_millis()).unwrap();
    world.load().batch = Some(BatchSpec { size, window_ms, max_bytes: 1_000_000 });
    world
}

fn ns(call: &Call) -> Vec<u64> {
    let items = call.body.as_array().unwrap_or_else(|| panic!("no array: {}", call.body));
    items.iter().map(|item| item["n"].as_u64().unwrap()).collect()
}

fn products(count: u64) -> Vec<Value> {
    (0..count).map(|n| json!({ "sku": format!("P-{n}"), "n": n })).collect()
}

fn delivered(count: i64) -> Totals {
    Totals { matched: count, delivered: count, ..Totals::default() }
}

const SOON: Duration = Duration::from_millis(30);
/// Long enough for all that one call publishes, however busy the machine is.
const ALL_IN: Duration = Duration::from_millis(500);
const NEVER: Duration = Duration::from_secs(3_600);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_batch_goes_at_once_and_the_rest_after_the_window() {
    let target = Target::start().await;
    let world = world(&target, 10, SOON);
    let running = world.open().await;
    running.publish_at_once(products(25)).await;
    running.quiet().await;
    let calls = target.taken();
    let mut sizes: Vec<usize> = calls.iter().map(|call| ns(call).len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [5, 10, 10]);
    let keys: HashSet<&str> = calls.iter().map(|call| call.idempotency_key.as_str()).collect();
    assert_eq!(keys.len(), 3);
    let all: HashSet<u64> = calls.iter().flat_map(ns).collect();
    assert_eq!(all.len(), 25);
    running.expect_books(delivered(25)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_goes_by_the_clock() {
    const SIZE: usize = 1_000;
    let target = Target::start().await;
    let world = world(&target, SIZE, NEVER);
    let running = world.open().await;
    running.publish_details(products(3)).await;
    let waits = async || running.engine.delivery_measures()[0].in_memory == 3;
    until("three wait", waits).await;
    assert_eq!(target.arrived(), vec![]);
    // The window may begin after the first of these; one of the next then ends it.
    let mut n = 3;
    let sent = async || {
        world.clock.advance(NEVER);
        running.publish_details([json!({ "sku": format!("late-{n}"), "n": n })]).await;
        n += 1;
        !target.taken().is_empty()
    };
    until("the window is over", sent).await;
    let first = ns(&target.taken()[0]);
    assert!(first.starts_with(&[0, 1, 2]) && first.len() < SIZE, "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_item_is_the_only_dead_letter() {
    let target = Target::start().await;
    let world = world(&target, 16, SOON);
    target.behave(|call| {
        let bad = ns(call).contains(&11);
        if bad { (422, json!({ "message": "bad" })) } else { (200, json!({})) }
    });
    let running = world.open().await;
    running.publish_at_once(products(16)).await;
    running.quiet().await;
    let mut taken: Vec<u64> = target.taken().iter().flat_map(ns).collect();
    taken.sort_unstable();
    let good: Vec<u64> = (0..16).filter(|n| *n != 11).collect();
    assert_eq!(taken, good, "each of the others once");
    let dead = running.dead().await;
    assert_eq!(dead.iter().map(|dead| dead.key.as_deref()).collect::<Vec<_>>(), [Some("P-11")]);
    let expected = Totals { matched: 16, delivered: 15, dead_lettered: 1, ..Totals::default() };
    running.expect_books(expected).await;
    // Halved four times: 16, 8, 8, 4, 4, 2, 2, 1, 1.
    assert_eq!(target.calls().len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_says_which_items_failed() {
    let target = Target::start().await;
    let mut world = world(&target, 4, SOON);
    world.declared.destinations[0].outcome = OutcomeRules {
        items: Some("{% $response.body.failed %}".into()),
        ..OutcomeRules::default()
    };
    let mut first = true;
    target.behave(move |call| {
        if !std::mem::replace(&mut first, false) {
            return (200, json!({}));
        }
        assert_eq!(ns(call), [0, 1, 2, 3]);
        let refused = json!({ "index": 2, "class": "permanent", "message": "no such tax" });
        (207, json!({ "failed": [1, refused] }))
    });
    let running = world.open().await;
    running.publish_at_once(products(4)).await;
    running.quiet().await;
    let sent: Vec<Vec<u64>> = target.calls().iter().map(|(call, _)| ns(call)).collect();
    assert_eq!(sent, [vec![0, 1, 2, 3], vec![1]]);
    let dead = running.dead().await;
    assert_eq!(dead[0].key.as_deref(), Some("P-2"));
    let said = dead[0].attribute("ERROR_MESSAGE").unwrap();
    assert!(said.contains("item 2 of 4: no such tax"), "{said}");
    let expected = Totals { matched: 4, delivered: 3, dead_lettered: 1, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_failed_comes_again_as_it_was() {
    let target = Target::start().await;
    let world = world(&target, 5, SOON);
    let mut tries: HashMap<String, u32> = HashMap::new();
    target.behave(move |call| {
        let count = tries.entry(call.idempotency_key.clone()).or_default();
        *count += 1;
        match *count {
            1 => (503, json!({})),
            2 => (429, json!({})),
            _ => (200, json!({})),
        }
    });
    let running = world.open().await;
    running.publish_at_once(products(20)).await;
    running.quiet().await;
    let mut calls: HashMap<String, Vec<Vec<u64>>> = HashMap::new();
    for (call, _) in target.calls() {
        calls.entry(call.idempotency_key.clone()).or_default().push(ns(&call));
    }
    assert_eq!(calls.len(), 4, "{calls:?}");
    for bodies in calls.values() {
        assert_eq!(bodies.len(), 3);
        assert!(bodies.iter().all(|body| body == &bodies[0]), "{bodies:?}");
    }
    running.expect_books(delivered(20)).await;
}

/// The target applied it and answered with 429; then the process is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_batch_stays_together_over_a_restart() {
    for order in [Order::Unordered, Order::Fifo] {
        let target = Target::start().await;
        let mut world = world(&target, 5, ALL_IN);
        world.load().order = order;
        target.answer_with("Retry-After", "3600");
        target.behave(|_| (429, json!({})));
        let running = world.open().await;
        running.publish_at_once(products(3)).await;
        until("it is throttled", async || {
            running.engine.delivery_measures()[0].paused_until.is_some()
        })
        .await;
        // Those that come meanwhile would fill the batch up.
        running.publish_details((3..7).map(|n| json!({ "sku": format!("P-{n}"), "n": n }))).await;
        running.stop().await;
        let refused = target.arrived();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(ns(&refused[0]), [0, 1, 2]);
        target.answer_with("X-Fine", "yes");
        target.behave(|_| (200, json!({})));
        let running = world.open().await;
        running.quiet().await;
        let again = target.taken();
        let same = again.iter().filter(|call| call.idempotency_key == refused[0].idempotency_key);
        assert_eq!(same.map(ns).collect::<Vec<_>>(), [[0, 1, 2]], "{again:?}");
        let mut others: Vec<u64> = again.iter().flat_map(ns).filter(|n| *n > 2).collect();
        others.sort_unstable();
        assert_eq!(others, [3, 4, 5, 6], "and nothing twice");
        running.expect_books(delivered(7)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_in_a_batch_once_and_stays_in_order() {
    for (order, unchanged) in [(Order::Fifo, false), (Order::Unordered, true)] {
        let target = Target::start().await;
        let mut world = world(&target, 10, SOON);
        world.load().order = order;
        world.load().skip_unchanged = unchanged;
        let running = world.open().await;
        let details = (0..60).map(|n| json!({ "sku": format!("P-{}", n % 7), "n": n }));
        running.publish_details(details).await;
        running.quiet().await;
        let mut last: HashMap<u64, u64> = HashMap::new();
        for call in target.taken() {
            let ns = ns(&call);
            let keys: HashSet<u64> = ns.iter().map(|n| n % 7).collect();
            assert_eq!(keys.len(), ns.len(), "{ns:?}");
            for n in ns {
                let before = last.insert(n % 7, n);
                assert!(order != Order::Fifo || before < Some(n), "{n} after {before:?}");
            }
        }
        running.expect_books(delivered(60)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unchanged_is_left_out_and_bytes_bound_a_call() {
    let target = Target::start().await;
    let mut world = world(&target, 10, SOON);
    world.load().skip_unchanged = true;
    // `{"sku":"P-0","n":0}` and a comma have 20 bytes.
    world.load().batch.as_mut().unwrap().max_bytes = 65;
    let running = world.open().await;
    running.publish_at_once(products(10)).await;
    running.quiet().await;
    let sizes: Vec<usize> = target.taken().iter().map(|call| ns(call).len()).collect();
    assert_eq!(sizes, [3, 3, 3, 1]);
    let mut again = products(10);
    again[4]["n"] = json!(40);
    running.publish_details(again).await;
    running.quiet().await;
    assert_eq!(ns(target.taken().last().unwrap()), [40]);
    let expected = Totals { matched: 20, delivered: 11, unchanged: 9, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_in_flight_at_the_end_is_sent_by_the_next_engine() {
    let target = Target::start().await;
    let world = world(&target, 10, SOON);
    target.close_gate();
    let running = world.open().await;
    running.publish_details(products(30)).await;
    until("calls are under way", async || target.waiting() > 0).await;
    running.stop().await;
    target.open_gate();
    let running = world.open().await;
    running.quiet().await;
    let all: HashSet<u64> = target.taken().iter().flat_map(ns).collect();
    assert_eq!(all.len(), 30);
    running.expect_books(delivered(30)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_counts_a_batch_as_one_call() {
    let target = Target::start().await;
    let mut world = world(&target, 100, SOON);
    world.declared.destinations[0].rate = Some("1/s burst 2".parse().unwrap());
    let running = world.open().await;
    let started = std::time::Instant::now();
    running.publish_at_once(products(200)).await;
    running.quiet().await;
    assert_eq!(target.taken().len(), 2);
    // A call an item would have taken minutes.
    assert!(started.elapsed() < Duration::from_secs(60));
}
