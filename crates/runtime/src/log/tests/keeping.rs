//! What is kept and for how long, what is replayed, what counts as the same.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use stepbus_model::{Event, EventId, Timestamp, Totals};
use stepbus_store::{EventRow, Priority, StoreError};

use super::cursors::{subscription, world};
use crate::testing::{Call, Running, Target, World, until};
use crate::{ArchiveSpec, Entry, LogQuery, Order, ReplaySpec, StartAt, StorageSpec, WhenFull};

impl Running {
    async fn kept(&self) -> Vec<u64> {
        let bus = self.engine.catalogue().buses["catalog"].id;
        let query = LogQuery {
            bus,
            from: EventId(0),
            since: None,
            until: None,
            pattern: None,
            limit: 1_000,
        };
        self.engine.log(&query).await.unwrap().events.iter().map(number).collect()
    }

    /// A pass after the first one of the engine's own, which it makes as it starts.
    async fn sweep(&self) -> u64 {
        until("it has made its first pass", async || self.engine.marks.passes() > 0).await;
        self.engine.sweep().await.unwrap().events
    }

    fn replay_of_all(&self, name: &str) -> ReplaySpec {
        ReplaySpec {
            name: name.into(),
            bus: "catalog".into(),
            archive: None,
            from: Timestamp(0),
            to: self.engine.now().plus(Duration::from_secs(1)),
            pattern: None,
            subscriptions: Vec::new(),
            rate: None,
            force: false,
        }
    }

    async fn replayed(&self, name: &str, state: &str) -> u64 {
        until("the replay is there", async || {
            self.engine.replay(name).await.unwrap().unwrap().state == state
        })
        .await;
        self.engine.replay(name).await.unwrap().unwrap().replayed
    }
}

fn number(event: &EventRow) -> u64 {
    let value: Value = serde_json::from_slice(&event.envelope).unwrap();
    value["detail"]["n"].as_u64().unwrap()
}

fn numbers(target: &Target) -> Vec<u64> {
    let mut all: Vec<u64> = target.taken().iter().map(Call::n).collect();
    all.sort_unstable();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn events_go_after_their_retention_unless_needed() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Unordered);
    world.declared.archives.push(ArchiveSpec {
        name: "few".into(),
        bus: "catalog".into(),
        pattern: json!({ "detail": { "n": [3, 4] } }).to_string(),
        retention_seconds: Some(3 * 3_600),
    });
    let running = world.open().await;
    running.publish_products(0, 10).await;
    running.quiet().await;
    assert_eq!((running.sweep().await, running.kept().await.len()), (0, 10));
    world.clock.advance(Duration::from_secs(2 * 3_600));
    target.close_gate();
    running.publish_products(10, 5).await;
    assert_eq!(running.sweep().await, 8);
    assert_eq!(running.kept().await, [3, 4, 10, 11, 12, 13, 14]);
    world.clock.advance(Duration::from_secs(2 * 3_600));
    // The archive's time is over; what is pending stays however old it is.
    assert_eq!(running.sweep().await, 2);
    assert_eq!(running.kept().await, [10, 11, 12, 13, 14]);
    target.open_gate();
    running.quiet().await;
    running.stop().await;
    let running = world.open().await;
    running.sweep().await;
    assert_eq!(running.kept().await, Vec::<u64>::new());
    running.expect_proven().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_on_storage_drops_early_or_refuses() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Unordered);
    let running = world.open().await;
    running.publish_products(0, 10).await;
    running.quiet().await;
    running.sweep().await;
    assert_eq!(running.kept().await.len(), 10);
    world.declared.storage = StorageSpec { max_bytes: Some(1), when_full: WhenFull::DropOldest };
    running.engine.reload(&world.declared).await.unwrap();
    running.sweep().await;
    assert_eq!(running.kept().await, Vec::<u64>::new());
    // More than that cannot go, so nothing comes in.
    let refused = running.engine.publish("test", vec![entry(11, None)]).await;
    assert_eq!(refused.unwrap_err(), StoreError::Full);
    assert!(running.engine.storage().await.unwrap().refusing);
    world.declared.storage.max_bytes = Some(1 << 40);
    running.engine.reload(&world.declared).await.unwrap();
    running.sweep().await;
    running.publish_products(10, 1).await;
    running.quiet().await;
    running.expect_proven().await;
}

/// Within one minute, so that no pass of the service helps.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_does_not_pass_the_bound_on_storage() {
    const ROOM: u64 = 2 << 20;
    const CALL: usize = 10;
    for when_full in [WhenFull::Refuse, WhenFull::DropOldest] {
        let mut world = World::empty();
        world.limits.sweep_seconds = 1_000_000;
        let running = world.open().await;
        running.sweep().await;
        let most = running.engine.store.used_bytes() + ROOM;
        world.declared.storage = StorageSpec { max_bytes: Some(most), when_full };
        running.engine.reload(&world.declared).await.unwrap();
        let passes = running.engine.marks.passes();
        // Ten times what there is room for, by calls of 100 KB, eight at a time.
        let filler = "x".repeat(10_000);
        let (mut accepted, mut refused, mut highest) = (0, 0, 0);
        for _ in 0..25 {
            let calls = (0..8).map(|_| {
                let mut entries: Vec<Entry> = (0..CALL).map(|_| entry(1, None)).collect();
                for entry in &mut entries {
                    entry.event.detail =
                        RawValue::from_string(format!(r#"{{"n":1,"x":"{filler}"}}"#)).unwrap();
                }
                running.engine.publish("test", entries)
            });
            for answer in futures_util::future::join_all(calls).await {
                match answer {
                    Ok(_) => accepted += 1,
                    Err(StoreError::Full) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            highest = highest.max(running.engine.store.used_bytes());
        }
        assert_eq!(running.engine.marks.passes(), passes, "no pass in between");
        // At most what was under way when the bound was passed.
        assert!(highest <= most + 2 * 8 * CALL as u64 * 11_000, "{highest} for {most}");
        match when_full {
            WhenFull::Refuse => assert!(refused > 100 && accepted > 8, "{refused} {accepted}"),
            WhenFull::DropOldest => {
                assert_eq!(refused, 0);
                assert!(running.kept().await.len() < 300);
            }
        }
        running.expect_proven().await;
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_brings_chosen_events_to_chosen_subscriptions() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Fifo);
    world.declared.subscriptions.push(subscription("other", Order::Unordered));
    let whole = "{% $merge([$event.detail, {'replay': $event.`replay-name`, 'id': $event.id}]) %}";
    world.declared.subscriptions[0].transform = Some(json!(whole));
    let running = world.open().await;
    running.publish_products(0, 30).await;
    running.quiet().await;
    let before = target.taken().len();
    assert_eq!(before, 60);
    let spec = ReplaySpec {
        pattern: Some(json!({ "detail": { "n": [{ "numeric": [">=", 10] }] } }).to_string()),
        subscriptions: vec!["load".into()],
        ..running.replay_of_all("again")
    };
    let view = running.engine.start_replay(spec.clone(), "tester").await.unwrap();
    assert_eq!(running.replayed("again", "COMPLETED").await, 20);
    running.quiet().await;
    let taken = target.taken();
    assert_eq!(taken.len(), 80);
    for call in &taken[60..] {
        assert_eq!(call.body["replay"], "again");
        assert!(call.n() >= 10);
    }
    let ids: HashSet<String> =
        taken.iter().map(|call| call.body["id"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!(ids.len(), 31, "a replayed event is known by its id (and `other` sends none)");
    assert_eq!(running.kept().await.len(), 30, "the bus's log has nothing twice");
    let run = running.engine.run(view.run).await.unwrap().unwrap();
    assert_eq!(run.row.origin, "replay:again");
    assert_eq!(run.subscriptions[0].totals.delivered, 20);
    assert!(running.engine.start_replay(spec, "tester").await.is_err(), "the name is taken");
    let wrong =
        ReplaySpec { subscriptions: vec!["nobody".into()], ..running.replay_of_all("wrong") };
    assert!(running.engine.start_replay(wrong, "tester").await.is_err());
    running.expect_proven().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_on_after_a_restart_and_is_cancelled() {
    let target = Target::start().await;
    let world = world(&target, Order::Unordered);
    let running = world.open().await;
    running.publish_products(0, 60).await;
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    target.close_gate();
    let spec = running.replay_of_all("again");
    running.engine.start_replay(spec, "tester").await.unwrap();
    // It waits for room: the subscription has twenty deliveries at most.
    until("it has begun", async || {
        running.engine.replay("again").await.unwrap().unwrap().replayed > 0
    })
    .await;
    running.stop().await;
    target.open_gate();
    let running = world.open().await;
    assert_eq!(running.replayed("again", "COMPLETED").await, 60);
    running.quiet().await;
    let distinct: HashSet<String> =
        target.taken().iter().map(|call| call.idempotency_key.clone()).collect();
    assert_eq!(distinct.len(), 120, "each once more");

    let rate = NonZeroU32::new(1);
    let slow = ReplaySpec { rate, ..running.replay_of_all("slow") };
    running.engine.start_replay(slow, "tester").await.unwrap();
    running.engine.cancel_replay("slow", "tester").await.unwrap();
    assert!(running.replayed("slow", "CANCELLED").await < 60);
    assert!(running.engine.cancel_replay("slow", "tester").await.is_err(), "it has ended");
    running.quiet().await;
    running.expect_proven().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_subscription_may_start_in_the_past() {
    let target = Target::start().await;
    let mut world = World::empty();
    world.limits.log_page_events = 7;
    let running = world.open().await;
    running.publish_products(0, 20).await;
    world.clock.advance(Duration::from_secs(600));
    let since = running.engine.now();
    running.publish_products(20, 20).await;
    let with = super::cursors::world(&target, Order::Fifo).declared;
    world.declared.destinations = with.destinations;
    let mut early = subscription("load", Order::Fifo);
    early.start = Some(StartAt::Earliest);
    let mut late = subscription("late", Order::Unordered);
    late.start = Some(StartAt::At(since));
    let never = subscription("never", Order::Unordered);
    world.declared.subscriptions = vec![early, late, never];
    running.engine.reload(&world.declared).await.unwrap();
    running.publish_products(40, 5).await;
    running.quiet().await;
    running.at_the_end_of_the_log().await;
    let totals = async |name: &str| {
        let id = running.engine.catalogue().subscription_named(name).unwrap().id;
        let all = running.engine.store.subscription_totals().await.unwrap();
        all.into_iter().find(|(of, _)| *of == id).map(|(_, totals)| totals).unwrap_or_default()
    };
    let delivered = |count| Totals { matched: count, delivered: count, ..Totals::default() };
    assert_eq!(totals("load").await, delivered(45));
    assert_eq!(totals("late").await, delivered(25));
    assert_eq!(totals("never").await, delivered(5));
    running.expect_proven().await;
    running.stop().await;
    // It is not new any more.
    let running = world.open().await;
    running.publish_products(45, 1).await;
    running.quiet().await;
    assert_eq!(target.taken().len(), 78);
    running.expect_proven().await;
}

fn entry(n: u64, dedup_id: Option<&str>) -> Entry {
    let detail = json!({ "sku": format!("P-{n}"), "n": n });
    let event = Event {
        source: "test".into(),
        detail_type: "product".into(),
        detail: RawValue::from_string(detail.to_string()).unwrap(),
        resources: Vec::new(),
        time: None,
    };
    let dedup_id = dedup_id.map(str::to_owned);
    Entry { bus: "catalog".into(), event, priority: Priority::Normal, dedup_id, force: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_published_again_is_the_first_one() {
    let target = Target::start().await;
    let mut world = world(&target, Order::Unordered);
    let running = world.open().await;
    let publish = async |running: &Running, entries: Vec<Entry>| {
        let results = running.engine.publish("test", entries).await.unwrap();
        results.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let first = publish(&running, vec![entry(1, Some("a")), entry(2, Some("a"))]).await;
    assert_eq!(first[0], first[1], "within a call");
    let at_once: Vec<_> = (0..8)
        .map(|n| {
            running.engine.publish("test", vec![entry(20 + n, Some("b")), entry(50 + n, None)])
        })
        .collect();
    let mut ids = HashSet::new();
    for results in futures_util::future::join_all(at_once).await {
        ids.insert(results.unwrap()[0].clone().unwrap().id);
    }
    assert_eq!(ids.len(), 1, "at the same moment");
    running.stop().await;
    let running = world.open().await;
    assert_eq!(publish(&running, vec![entry(3, Some("a"))]).await[0], first[0]);
    world.clock.advance(Duration::from_secs(301));
    let later = publish(&running, vec![entry(4, Some("a"))]).await;
    assert_ne!(later[0], first[0]);
    // Content counts only where the bus asks for it.
    let two = publish(&running, vec![entry(5, None), entry(5, None)]).await;
    assert_ne!(two[0], two[1]);
    world.declared.buses[0].deduplicate_content = true;
    running.engine.reload(&world.declared).await.unwrap();
    let two = publish(&running, vec![entry(6, None), entry(6, None), entry(7, None)]).await;
    assert_eq!(two[0], two[1]);
    assert_ne!(two[0], two[2]);
    running.quiet().await;
    let mut numbers = numbers(&target);
    numbers.retain(|n| *n < 50 && !(1..8).contains(n) || [1, 4, 5, 6, 7].contains(n));
    assert_eq!(numbers.iter().filter(|n| **n == 5).count(), 2);
    assert_eq!(numbers.iter().filter(|n| **n == 6).count(), 1);
    let long = "x".repeat(1_000);
    let results = running.engine.publish("test", vec![entry(8, Some(&long)), entry(9, None)]).await;
    let results = results.unwrap();
    assert!(results[0].is_err() && results[1].is_ok());
    running.quiet().await;
    running.expect_proven().await;
}
