//! Pause, resume and drain.

use std::time::Duration;

use serde_json::json;
use stepbus_model::Totals;
use stepbus_store::ResourceKind;

use super::world::{Running, Target, World, until};
use crate::Order;

fn products(from: u64, count: u64) -> impl Iterator<Item = (String, u64)> {
    (from..from + count).map(|n| (format!("P-{}", n % 5), n))
}

impl Running {
    fn id(&self, kind: ResourceKind, name: &str) -> stepbus_model::ResourceId {
        self.engine.resource_named(kind, name).unwrap()
    }
}

async fn paused_over_a_restart(kind: ResourceKind, name: &str, order: Order) {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().order = order;
    let running = world.open().await;
    let id = running.id(kind, name);
    running.engine.pause(id, "tester", "maintenance").await.unwrap();
    running.publish(products(0, 20)).await;
    let waits = Totals { matched: 20, pending: 20, ..Totals::default() };
    running.expect_books(waits).await;
    running.stop().await;

    let running = world.open().await;
    running.publish(products(20, 20)).await;
    let held = running.engine.held(id).unwrap();
    assert_eq!((held.by.as_str(), held.reason.as_str()), ("tester", "maintenance"));
    let view = &running.engine.subscriptions().await.unwrap()[0];
    assert_eq!((view.state, view.totals.pending), ("PAUSED", 40));
    assert!(target.arrived().is_empty(), "nothing is begun while it is paused");
    // What expects age to end it: time under a pause alone ends nothing.
    world.clock.advance(Duration::from_secs(90_000));
    assert!(running.engine.unpause(id, "tester").await.unwrap());
    assert!(!running.engine.unpause(id, "tester").await.unwrap(), "it goes on already");
    running.quiet().await;
    running.expect_books(Totals { matched: 40, delivered: 40, ..Totals::default() }).await;
    let audit = running.engine.store.audit_rows(None, 9).await.unwrap();
    let actions: Vec<&str> = audit.iter().map(|(_, row)| row.action.as_str()).collect();
    assert_eq!(actions, [format!("{}.resume", kind.name()), format!("{}.pause", kind.name())]);
    if order == Order::Fifo {
        let sent: Vec<u64> =
            target.taken().iter().filter(|c| c.sku() == "P-3").map(super::world::Call::n).collect();
        assert_eq!(sent, (3..40).step_by(5).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_subscription_keeps_what_it_matched() {
    paused_over_a_restart(ResourceKind::Subscription, "load", Order::Unordered).await;
    paused_over_a_restart(ResourceKind::Subscription, "load", Order::Fifo).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_destination_holds_up_all_that_deliver_to_it() {
    paused_over_a_restart(ResourceKind::Destination, "shop", Order::Unordered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_what_is_in_flight_and_begins_nothing() {
    let target = Target::start().await;
    let world = World::new(&target);
    target.close_gate();
    let running = world.open().await;
    running.publish(products(0, 30)).await;
    until("some are in flight", async || target.waiting() >= 8).await;
    let id = running.id(ResourceKind::Destination, "shop");
    running.engine.pause(id, "tester", "").await.unwrap();
    let begun = target.arrived().len();
    let soon = running.engine.drain(id, Duration::from_millis(20)).await;
    assert!(!soon.drained && soon.in_flight >= 8, "{soon:?}");
    target.open_gate();
    let drained = running.engine.drain(id, Duration::from_secs(30)).await;
    assert!(drained.drained, "{drained:?}");
    let taken = target.taken().len();
    assert_eq!(taken, begun, "nothing began after the pause");
    let totals = running.totals("load").await;
    assert_eq!(totals.pending, 30 - i64::try_from(taken).unwrap());
    running.engine.unpause(id, "tester").await.unwrap();
    running.quiet().await;
    running.expect_books(Totals { matched: 30, delivered: 30, ..Totals::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_tries_a_paused_destination() {
    let target = Target::start().await;
    let world = World::new(&target);
    target.behave(|call| if call.n() == 1 { (200, json!({})) } else { (422, json!({ "e": "n" })) });
    let running = world.open().await;
    let id = running.id(ResourceKind::Destination, "shop");
    running.engine.pause(id, "tester", "").await.unwrap();
    let good = running.engine.try_destination("shop", &json!({ "sku": "T", "n": 1 })).await;
    assert_eq!((good.result, good.status), ("DELIVERED", Some(200)));
    let bad = running.engine.try_destination("shop", &json!({ "sku": "T", "n": 2 })).await;
    assert_eq!((bad.result, bad.status), ("PERMANENT", Some(422)));
    assert!(bad.failure.unwrap().exchange.unwrap().request_body.contains("\"T\""));
    running.expect_books(Totals::default()).await;
}
