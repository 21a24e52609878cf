//! Subscriptions that leave matches in the log and read them later.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde_json::json;
use stepbus_connect::{CallSpec, DestinationSpec};
use stepbus_model::{Limits, Totals};
use stepbus_store::CursorRow;

use crate::testing::{LOOK, Running, Target, World, until};
use crate::{Order, SubscriptionSpec, TargetSpec, audit};

pub(super) fn world(target: &Target, order: Order) -> World {
    let mut world = World::empty();
    let call = CallSpec::new("PUT", &format!("{}/products/{{sku}}", target.url));
    world.declared.destinations.push(DestinationSpec::call("shop", None, call));
    world.declared.subscriptions.push(subscription("load", order));
    world.limits = Limits {
        subscription_pending: 20,
        log_page_events: 7,
        delivery_window: 10,
        ..world.limits
    };
    world
}

pub(super) fn subscription(name: &str, order: Order) -> SubscriptionSpec {
    let pattern = json!({ "detail-type": ["product"] }).to_string();
    let target = TargetSpec::Destination("shop".into());
    SubscriptionSpec {
        key: Some(json!("{% $event.detail.sku %}")),
        transform: Some(json!("{% $event.detail %}")),
        order,
        ..SubscriptionSpec::new(name, "catalog", &pattern, target)
    }
}

impl Running {
    pub(super) async fn publish_products(&self, from: u64, count: u64) {
        let details =
            (from..from + count).map(|n| json!({ "sku": format!("P-{}", n % 7), "n": n }));
        self.publish_details(details).await;
    }

    async fn totals_of(&self, name: &str) -> Totals {
        let id = self.engine.catalogue().subscription_named(name).unwrap().id;
        let totals = self.engine.store.subscription_totals().await.unwrap();
        totals.into_iter().find(|(of, _)| *of == id).map(|(_, totals)| totals).unwrap_or_default()
    }

    pub(super) async fn expect_proven(&self) {
        let report = audit(&*self.engine.store).await.unwrap();
        assert_eq!(report.problems, vec![]);
    }

    async fn cursors(&self) -> Vec<CursorRow> {
        self.engine.store.cursors().await.unwrap()
    }

    /// Until subscriptions take their matches as they come again.
    pub(super) async fn at_the_end_of_the_log(&self) {
        until("no cursor is open", async || self.cursors().await.is_empty()).await;
    }

    /// Rows of deliveries without a fate, by the books.
    async fn live(&self) -> i64 {
        let behind: i64 = self.cursors().await.iter().map(|cursor| cursor.behind).sum();
        self.totals_of("load").await.pending - behind
    }

    async fn pause(&self) {
        let id = self.engine.catalogue().subscription_named("load").unwrap().id;
        self.engine.pause(id, "tester", "a test").await.unwrap();
    }

    async fn unpause(&self) {
        let id = self.engine.catalogue().subscription_named("load").unwrap().id;
        self.engine.unpause(id, "tester").await.unwrap();
    }
}

fn delivered(count: i64) -> Totals {
    Totals { matched: count, delivered: count, ..Totals::default() }
}

fn distinct(target: &Target) -> usize {
    let taken = target.taken();
    let all: HashSet<u64> = taken.iter().map(crate::testing::Call::n).collect();
    assert_eq!(all.len(), taken.len(), "each once");
    all.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overfull_subscription_reads_the_rest_from_the_log() {
    let target = Target::start().await;
    let world = world(&target, Order::Unordered);
    target.close_gate();
    let running = world.open().await;
    for page in 0..20 {
        running.publish_products(page * 10, 10).await;
        assert_eq!(running.live().await, 20.min((page as i64 + 1) * 10));
    }
    let totals = Totals { matched: 200, pending: 200, ..Totals::default() };
    assert_eq!(running.totals_of("load").await, totals);
    assert_eq!(running.cursors().await[0].behind, 180);
    running.expect_proven().await;
    target.open_gate();
    let (most, done) = (AtomicI64::new(0), AtomicBool::new(false));
    let watch = async {
        while !done.load(Ordering::Relaxed) {
            most.fetch_max(running.live().await, Ordering::Relaxed);
            tokio::time::sleep(LOOK).await;
        }
    };
    let work = async {
        running.quiet().await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(watch, work);
    // The two reads of `live` are not of one moment: a page may come in between.
    assert!(most.load(Ordering::Relaxed) <= 27, "{most:?} rows at once");
    running.at_the_end_of_the_log().await;
    assert_eq!(distinct(&target), 200);
    assert_eq!(running.totals_of("load").await, delivered(200));
    running.publish_products(200, 5).await;
    assert!(running.cursors().await.is_empty(), "matches are deliveries again");
    running.quiet().await;
    assert_eq!(distinct(&target), 205);
    running.expect_proven().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_outlives_a_restart() {
    let target = Target::start().await;
    let world = world(&target, Order::Fifo);
    target.close_gate();
    let running = world.open().await;
    running.publish_products(0, 100).await;
    running.stop().await;
    let running = world.open().await;
    running.publish_products(100, 50).await;
    running.expect_proven().await;
    running.stop().await;
    target.open_gate();
    let running = world.open().await;
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    assert_eq!(running.totals_of("load").await, delivered(150));
    running.expect_proven().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_subscription_leaves_its_matches_in_the_log() {
    let target = Target::start().await;
    let world = world(&target, Order::Unordered);
    let running = world.open().await;
    running.pause().await;
    running.publish_products(0, 30).await;
    assert_eq!(running.live().await, 20);
    running.expect_proven().await;
    running.stop().await;
    let running = world.open().await;
    running.publish_products(30, 30).await;
    let totals = Totals { matched: 60, pending: 60, ..Totals::default() };
    assert_eq!((running.live().await, running.totals_of("load").await), (20, totals));
    running.unpause().await;
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    assert_eq!((distinct(&target), running.totals_of("load").await), (60, delivered(60)));
    running.expect_proven().await;
}

/// Each event is matched by the version that was in force when it was published.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_version_reads_on_where_the_old_one_ends() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Fifo);
    world.limits.subscription_pending = 1;
    let running = world.open().await;
    running.pause().await;
    running.publish_products(0, 20).await;
    let few = json!({ "detail": { "n": [{ "numeric": [">=", 30] }] } }).to_string();
    world.declared.subscriptions[0].pattern = few;
    running.engine.reload(&world.declared).await.unwrap();
    running.publish_products(20, 20).await;
    world.declared.subscriptions[0].enabled = false;
    running.engine.reload(&world.declared).await.unwrap();
    running.publish_products(40, 20).await;
    running.stop().await;
    world.declared.subscriptions[0].enabled = true;
    let running = world.open().await;
    running.publish_products(60, 5).await;
    assert_eq!(running.totals_of("load").await.pending, 20 + 10 + 5);
    running.expect_proven().await;
    running.unpause().await;
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    let numbers: HashSet<u64> = target.taken().iter().map(crate::testing::Call::n).collect();
    let expected: HashSet<u64> = (0..20).chain(30..40).chain(60..65).collect();
    assert_eq!(numbers, expected);
    running.expect_proven().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_fan_out_is_read_from_the_log() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Unordered);
    world.limits.fan_out = 2;
    for number in 0..4 {
        let more = subscription(&format!("more-{number}"), Order::Unordered);
        world.declared.subscriptions.push(more);
    }
    let running = world.open().await;
    running.publish_products(0, 10).await;
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    assert_eq!(target.taken().len(), 50);
    for number in 0..4 {
        assert_eq!(running.totals_of(&format!("more-{number}")).await, delivered(10));
    }
    running.expect_proven().await;
}

/// Rows that cannot be sent by their version end as others do.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_whose_target_is_gone_gives_its_matches_up() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Unordered);
    world.limits.subscription_pending = 1;
    let running = world.open().await;
    running.pause().await;
    running.publish_products(0, 3).await;
    let mut other = world.declared.destinations[0].clone();
    other.name = "other".into();
    world.declared.destinations = vec![other];
    world.declared.subscriptions[0].target = TargetSpec::Destination("other".into());
    running.engine.reload(&world.declared).await.unwrap();
    running.publish_products(3, 2).await;
    running.unpause().await;
    running.quiet().await;
    let totals = running.totals_of("load").await;
    assert_eq!((totals.matched, totals.pending), (5, 0));
    // The first was a delivery before the change.
    assert!(totals.discarded >= 2 && totals.delivered >= 2, "{totals:?}");
    running.expect_proven().await;
}

/// Several publish, each its own keys in order, while the subscription goes over and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_keep_their_order_over_each_change() {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 80;
    let target = Target::start().await;
    let mut world = world(&target, Order::Fifo);
    world.limits.subscription_pending = 6;
    let (mut changes, mut rounds) = (0, 0);
    let mut running = world.open().await;
    // As many as it takes: how often it goes over is the machine's business.
    while rounds < 3 || changes <= 3 {
        let engine = Arc::new(running);
        let tasks: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let (engine, from) = (engine.clone(), rounds * EACH);
                tokio::spawn(async move {
                    for n in from..from + EACH {
                        let detail = json!({ "sku": format!("P-{publisher}"), "n": n });
                        engine.publish_details([detail]).await;
                        if n % 40 == 39 {
                            // Lets it catch up now and then.
                            let store = &engine.engine.store;
                            while !store.runs(true, None, 1).await.unwrap().is_empty() {
                                tokio::time::sleep(LOOK).await;
                            }
                        }
                    }
                })
            })
            .collect();
        let mut open = false;
        while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
            let now = !engine.cursors().await.is_empty();
            changes += usize::from(now != open);
            open = now;
            tokio::time::sleep(LOOK).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        running = Arc::into_inner(engine).unwrap();
        running.stop().await;
        target.abandoned().await;
        running = world.open().await;
        rounds += 1;
    }
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    for publisher in 0..PUBLISHERS {
        let sku = format!("P-{publisher}");
        let mut order: Vec<u64> = target
            .taken()
            .iter()
            .filter(|call| call.sku() == sku)
            .map(crate::testing::Call::n)
            .collect();
        // One that was under way when the engine stopped comes again.
        order.dedup();
        assert_eq!(order, (0..rounds * EACH).collect::<Vec<_>>(), "{sku}");
    }
    let all = i64::try_from(PUBLISHERS * EACH * rounds).unwrap();
    assert_eq!(running.totals_of("load").await, delivered(all));
    running.expect_proven().await;
}
