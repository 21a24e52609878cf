//! What is not sent: what the target holds already, and what came too late. And upserts.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use stepbus_connect::{CallSpec, DestinationSpec, Upsert};
use stepbus_model::Totals;

use super::world::{Dice, Running, Target, World, until};
use crate::delivery::RedriveVersion;
use crate::{BatchSpec, Order};

/// One after the other, each to its end.
async fn in_turn(running: &Running, details: &[Value]) {
    for detail in details {
        running.publish_details([detail.clone()]).await;
        running.quiet().await;
    }
}

fn bodies(target: &Target) -> Vec<Value> {
    target.taken().into_iter().map(|call| call.body).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_means_equal_to_what_was_last_delivered() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    let running = world.open().await;
    let (a, b) = (json!({ "sku": "P", "n": 1 }), json!({ "sku": "P", "n": 2 }));
    let a_in_other_order = json!({ "n": 1, "sku": "P" });
    in_turn(&running, &[a.clone(), a_in_other_order, b.clone(), a.clone(), a.clone()]).await;
    assert_eq!(bodies(&target), [a.clone(), b, a]);
    let expected = Totals { matched: 5, delivered: 3, unchanged: 2, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_change_is_no_longer_what_the_target_holds() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    // It may have been applied although it was answered with an error.
    target.behave(|call| if call.n() == 2 { (400, json!({})) } else { (200, json!({})) });
    let running = world.open().await;
    let (a, b) = (json!({ "sku": "P", "n": 1 }), json!({ "sku": "P", "n": 2 }));
    in_turn(&running, &[a.clone(), b, a.clone()]).await;
    assert_eq!(bodies(&target), [a.clone(), a]);
    let expected = Totals { matched: 3, delivered: 2, dead_lettered: 1, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_b_a_at_once_ends_with_what_was_published_last() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    world.load().order = Order::Fifo;
    let mut failed = false;
    target.behave(move |call| {
        if call.n() == 2 && !std::mem::replace(&mut failed, true) {
            return (503, json!({}));
        }
        (200, json!({}))
    });
    let running = world.open().await;
    let (a, b) = (json!({ "sku": "P", "n": 1 }), json!({ "sku": "P", "n": 2 }));
    running.publish_details([a.clone(), b.clone(), a.clone()]).await;
    running.quiet().await;
    assert_eq!(bodies(&target), [a.clone(), b, a]);
    running.expect_books(Totals { matched: 3, delivered: 3, ..Totals::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_b_a_while_b_is_slow_and_fails_sends_a_again() {
    for (order, batched) in [(Order::Fifo, false), (Order::Unordered, false), (Order::Fifo, true)] {
        let target = Target::start().await;
        let mut world = World::new(&target);
        world.load().skip_unchanged = true;
        world.load().order = order;
        if batched {
            let call = CallSpec::new("POST", &format!("{}/bulk", target.url));
            world.declared.destinations = vec![DestinationSpec::call("shop", None, call)];
            let batch = BatchSpec { size: 4, window_ms: 1, max_bytes: 1_000_000 };
            world.load().batch = Some(batch);
        }
        let only = |body: &Value| body.as_array().map_or(body.clone(), |items| items[0].clone());
        let mut failed = false;
        target.behave(move |call| {
            let b = only(&call.body)["n"] == 2;
            if b && !std::mem::replace(&mut failed, true) {
                (503, json!({}))
            } else {
                (200, json!({}))
            }
        });
        let running = world.open().await;
        let (a, b) = (json!({ "sku": "P", "n": 1 }), json!({ "sku": "P", "n": 2 }));
        in_turn(&running, std::slice::from_ref(&a)).await;
        target.close_gate();
        running.publish_details([b.clone()]).await;
        until("b is under way", async || target.arrived().len() == 2).await;
        // While nobody knows what the target holds, an `a` like the last delivered one comes.
        running.publish_details([a.clone()]).await;
        target.open_gate();
        running.quiet().await;
        let sent: Vec<Value> = bodies(&target).iter().map(only).collect();
        match order {
            Order::Fifo => assert_eq!(sent, [a.clone(), b, a]),
            Order::Unordered => {
                assert_eq!(sent.iter().filter(|body| **body == a).count(), 2, "{sent:?}");
                assert!(sent.contains(&b));
            }
        }
        running.expect_books(Totals { matched: 3, delivered: 3, ..Totals::default() }).await;
    }
}

/// Two payloads a key in any order, to a target that applies or not and answers as it likes: in the
/// end it holds what was published last, and what was left out it held already.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_answers_the_target_ends_with_the_last() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    world.load().order = Order::Fifo;
    let held: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let (holds, mut chance) = (held.clone(), Dice::new(7));
    target.behave(move |call| {
        let status = [200, 200, 200, 503, 429, 409][usize::try_from(chance.below(6)).unwrap()];
        if status == 200 || chance.below(2) == 0 {
            holds.lock().insert(call.sku().to_owned(), call.n());
        }
        (status, json!({}))
    });
    let running = world.open().await;
    let (mut dice, mut last) = (Dice::new(11), HashMap::new());
    for _ in 0..12 {
        let details: Vec<Value> = (0..20)
            .map(|_| {
                let (sku, n) = (format!("P-{}", dice.below(9)), dice.below(2));
                last.insert(sku.clone(), n);
                json!({ "sku": sku, "n": n })
            })
            .collect();
        running.publish_details(details).await;
        if dice.below(2) == 0 {
            running.quiet().await;
        }
    }
    running.quiet().await;
    assert_eq!(*held.lock(), last);
    let totals = running.totals("load").await;
    assert_eq!(totals.delivered + totals.unchanged, 240, "{totals:?}");
    assert!(totals.unchanged > 0 && totals.delivered > 9, "{totals:?}");
    running.expect_books(totals).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_subscription_overwrote_is_sent_again() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    let mut other = super::world::subscription("other", "shop");
    other.pattern = json!({ "detail": { "other": [true] } }).to_string();
    world.load().pattern = json!({ "detail": { "other": [false] } }).to_string();
    world.declared.subscriptions.push(other);
    let running = world.open().await;
    let a = json!({ "sku": "P", "other": false });
    let foreign = json!({ "sku": "P", "other": true });
    in_turn(&running, &[a.clone(), a.clone(), foreign.clone(), a.clone()]).await;
    assert_eq!(bodies(&target), [a.clone(), foreign, a]);
    let expected = Totals { matched: 3, delivered: 2, unchanged: 1, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_last_delivered_is_stale() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().version = Some(json!("{% $event.detail.n %}"));
    target
        .behave(|call| if call.body["bad"] == true { (400, json!({})) } else { (200, json!({})) });
    let running = world.open().await;
    let product = |n: u64| json!({ "sku": "P", "n": n });
    let refused = json!({ "sku": "P", "n": 9, "bad": true });
    in_turn(&running, &[refused, product(10), product(9), product(10), product(11)]).await;
    assert_eq!(bodies(&target), [product(10), product(10), product(11)]);
    // Redriven, the refused one is late.
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 1);
    running.quiet().await;
    let expected = Totals { matched: 5, delivered: 3, stale: 2, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_remembers_the_remote_id_by_key() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    let at = |path: &str| format!("{}{path}", target.url);
    let upsert = Upsert {
        find: CallSpec::new("GET", &at("/find?sku={sku}")),
        create: CallSpec::new("POST", &at("/products")),
        update: CallSpec::new("PUT", &at("/products/{id}")),
        id: "{% $response.body.items[0].id %}".into(),
        create_id: Some("{% $response.body.id %}".into()),
        missing: None,
    };
    world.declared.destinations = vec![DestinationSpec::upsert("shop", None, upsert)];
    let mut shop: HashMap<String, u64> = HashMap::new();
    target.behave(move |call| match call.method.as_str() {
        "GET" => (200, json!({ "items": [] })),
        "POST" => {
            let id = 100 + shop.len() as u64;
            assert!(shop.insert(call.sku().to_owned(), id).is_none(), "created twice");
            (201, json!({ "id": id }))
        }
        _ => (200, json!({})),
    });
    let running = world.open().await;
    // The same product many times at once: only the first one creates it.
    running.publish((0..20).map(|n| (format!("P-{}", n % 2), n))).await;
    running.quiet().await;
    let calls = target.calls();
    let count = |method: &str| calls.iter().filter(|(call, _)| call.method == method).count();
    assert_eq!((count("GET"), count("POST"), count("PUT")), (2, 2, 18));
    running.expect_books(Totals { matched: 20, delivered: 20, ..Totals::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_count_makes_no_change() {
    let check = async |compare: crate::Comparison, details: &[Value], sent: usize| {
        let target = Target::start().await;
        let mut world = World::new(&target);
        world.load().skip_unchanged = true;
        world.load().compare = compare;
        let running = world.open().await;
        in_turn(&running, details).await;
        assert_eq!(bodies(&target).len(), sent);
    };
    let detail = |n: u64, at: u64| json!({ "sku": "P", "n": n, "meta": { "at": at } });
    let details = [detail(1, 1), detail(1, 2), detail(2, 3), detail(2, 4), detail(1, 5)];
    check(crate::Comparison::default(), &details, 5).await;
    let ignore = crate::Comparison { ignore: vec!["meta.at".into()], by: None };
    check(ignore, &details, 3).await;
    let by = Some(json!("{% $payload.n > 0 %}"));
    check(crate::Comparison { ignore: Vec::new(), by }, &details, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forced_run_sends_what_is_unchanged() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    let running = world.open().await;
    let detail = json!({ "sku": "P", "n": 1 });
    in_turn(&running, &[detail.clone(), detail.clone()]).await;
    running.publish_forced(detail.clone()).await;
    running.quiet().await;
    assert_eq!(bodies(&target).len(), 2, "the forced one as well");
    in_turn(&running, std::slice::from_ref(&detail)).await;
    assert_eq!(bodies(&target).len(), 2, "the one after it is unchanged again");
    // The flag stands with the run: a delivery of it that waited over a restart has it too.
    let id = running.engine.catalogue().subscription_named("load").unwrap().id;
    running.engine.pause(id, "tester", "").await.unwrap();
    running.publish_forced(detail).await;
    running.stop().await;
    let running = world.open().await;
    running.engine.unpause(id, "tester").await.unwrap();
    running.quiet().await;
    assert_eq!(bodies(&target).len(), 3);
    let expected = Totals { matched: 5, delivered: 3, unchanged: 2, ..Totals::default() };
    running.expect_books(expected).await;
}
