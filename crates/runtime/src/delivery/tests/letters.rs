//! Dead letters: what they say, and how they come home or are given up.

use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_model::{MessageId, Totals};
use stepbus_store::{Batch, MessageFilter, OperationRow};

use super::world::{Running, Target, World, until};
use crate::TargetSpec;
use crate::delivery::operation::Work;
use crate::delivery::{EditError, GroupBy, Redrive, RedriveVersion, Selection};

fn products(count: u64) -> impl Iterator<Item = (String, u64)> {
    (0..count).map(|n| (format!("P-{n}"), n))
}

/// Answers with that status while the flag is up.
fn down(target: &Target, status: u16) -> Arc<AtomicBool> {
    let down = Arc::new(AtomicBool::new(true));
    let is_down = down.clone();
    target.behave(move |_| match is_down.load(Ordering::Relaxed) {
        true => (status, json!({ "reason": "no" })),
        false => (200, json!({})),
    });
    down
}

fn dead(count: i64) -> Totals {
    Totals { matched: count, dead_lettered: count, ..Totals::default() }
}

fn delivered(count: i64) -> Totals {
    Totals { matched: count, delivered: count, ..Totals::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_says_what_it_died_of() {
    let check = async |status: u16, retries: u32, expected: Value| {
        let target = Target::start().await;
        let mut world = World::new(&target);
        world.load().retry.max_attempts = retries;
        down(&target, status);
        let running = world.open().await;
        running.publish(products(1)).await;
        running.quiet().await;
        running.expect_books(dead(1)).await;
        let letters = running.dead().await;
        let letter = running.engine.dead_letter(letters[0].id).await.unwrap().unwrap();
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(letter.attributes.get(name).unwrap_or(&Value::Null), value, "{name}");
        }
        let ours = &letter.attributes["stepbus"];
        assert_eq!(ours["key"], "P-0");
        assert_eq!(ours["subscription"], "load");
        assert_eq!(ours["status"], status);
        assert_eq!(ours["exchange"]["status"], status);
        assert!(ours["exchange"]["request_body"].as_str().unwrap().contains("P-0"));
        assert!(ours["last_tried"].as_str() >= ours["first_tried"].as_str());
        assert!(ours["first_tried"].as_str() >= ours["created"].as_str());
        assert_eq!(target.calls().len(), usize::try_from(retries).unwrap() + 1);
        let body: Value = serde_json::from_str(letter.body.unwrap().get()).unwrap();
        assert_eq!(body["detail"], json!({ "sku": "P-0", "n": 0 }));
        assert_eq!((letter.queue.as_str(), letter.key.as_deref()), ("failures", Some("P-0")));
    };
    let rule = "arn:aws:events:local:000000000000:rule/catalog/load";
    let destination = "arn:aws:events:local:000000000000:api-destination/shop";
    check(
        503,
        3,
        json!({
            "RULE_ARN": rule,
            "TARGET_ARN": destination,
            "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
            "RETRY_ATTEMPTS": "3",
        }),
    )
    .await;
    check(422, 0, json!({ "EXHAUSTED_RETRY_CONDITION": null, "RETRY_ATTEMPTS": "0" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_that_fails_is_a_dead_letter() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().transform = Some(json!("{% $error('no price') %}"));
    let running = world.open().await;
    running.publish(products(1)).await;
    running.quiet().await;
    let letter = &running.dead().await[0];
    assert_eq!(letter.error_code.as_deref(), Some("TRANSFORM_FAILED"));
    assert!(letter.attribute("ERROR_MESSAGE").unwrap().contains("no price"));
    assert!(target.calls().is_empty());
    running.expect_books(dead(1)).await;
    // With a transform that works, the current version brings it home.
    running.stop().await;
    world.load().transform = Some(json!("{% $event.detail %}"));
    let running = world.open().await;
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 1);
    running.quiet().await;
    running.expect_books(dead(1)).await;
    assert_eq!(running.redrive_all(RedriveVersion::Current).await.done, 1);
    running.quiet().await;
    running.expect_books(delivered(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_fails_is_a_dead_letter_from_the_start() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().key = Some(json!("{% $error('no key') %}"));
    let running = world.open().await;
    running.publish(products(1)).await;
    running.expect_books(dead(1)).await;
    let refused = running.redrive_all(RedriveVersion::Original).await;
    assert_eq!((refused.done, refused.refused), (0, 1));
    assert!(refused.refusal.unwrap().contains("the key cannot be computed"));
    running.stop().await;
    world.load().key = Some(json!("{% $event.detail.sku %}"));
    let running = world.open().await;
    assert_eq!(running.redrive_all(RedriveVersion::Current).await.done, 1);
    running.quiet().await;
    running.expect_books(delivered(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_it_is_discarded_and_counted() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().dead_letter = None;
    down(&target, 400);
    let running = world.open().await;
    running.publish(products(3)).await;
    running.quiet().await;
    assert!(running.dead().await.is_empty());
    running.expect_books(Totals { matched: 3, discarded: 3, ..Totals::default() }).await;
}

async fn die_of_age(running: &Running, world: &World, count: i64) {
    until("tried", async || running.engine.delivery_measures()[0].retries > 0).await;
    world.clock.advance(Duration::from_secs(3_700));
    running.quiet().await;
    running.expect_books(dead(count)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_down_for_too_long_ends_all_that_wait_and_a_redrive_brings_them_home() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().retry.max_age_seconds = 3_600;
    let down = down(&target, 503);
    let running = world.open().await;
    running.publish(products(500)).await;
    die_of_age(&running, &world, 500).await;
    let letters = running.dead().await;
    for letter in &letters {
        let condition = letter.attribute("EXHAUSTED_RETRY_CONDITION");
        assert_eq!(condition, Some("MaximumEventAgeInSeconds"));
    }
    let calls = target.calls().len();
    assert!(calls < 450, "most ended without a call of their own, {calls} calls");
    down.store(false, Ordering::Relaxed);
    let tally = running.redrive_all(RedriveVersion::Original).await;
    assert_eq!((tally.done, tally.refused), (500, 0));
    running.quiet().await;
    running.expect_books(delivered(500)).await;
    assert!(running.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn age_alone_ends_nothing_after_a_restart() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().retry.max_age_seconds = 3_600;
    target.close_gate();
    let running = world.open().await;
    running.publish(products(20)).await;
    running.stop().await;
    world.clock.advance(Duration::from_secs(86_400));
    target.open_gate();
    let running = world.open().await;
    running.quiet().await;
    running.expect_books(delivered(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redrive_by_filter_at_a_rate_and_one_by_one() {
    let target = Target::start().await;
    let world = World::new(&target);
    let down = down(&target, 400);
    let running = world.open().await;
    running.publish(products(30)).await;
    running.quiet().await;
    down.store(false, Ordering::Relaxed);
    let redrive = async |selection: Selection, rate: Option<u32>| {
        let commits = AtomicU64::new(0);
        let wish = Redrive {
            selection,
            rate: rate.and_then(NonZeroU32::new),
            version: RedriveVersion::Original,
            who: "tester".into(),
        };
        let progress = |_: &_| {
            commits.fetch_add(1, Ordering::Relaxed);
        };
        let tally = running.engine.redrive(&wish, progress).await.unwrap();
        (tally.done, commits.into_inner())
    };
    let filter = MessageFilter { key: Some("P-7".into()), ..MessageFilter::default() };
    assert_eq!(redrive(Selection::Matching(filter.clone()), None).await, (1, 1));
    assert_eq!(redrive(Selection::Matching(filter), None).await, (0, 0));
    let first = running.dead().await[0].id;
    assert_eq!(redrive(Selection::One(first), None).await, (1, 1));
    assert_eq!(redrive(Selection::One(first), None).await, (0, 0));
    let all = Selection::Matching(MessageFilter::default());
    assert_eq!(redrive(all, Some(100)).await, (28, 3), "ten a commit, ten commits a second");
    running.quiet().await;
    running.expect_books(delivered(30)).await;
    let audit = running.engine.store.audit_rows(None, 10).await.unwrap();
    assert_eq!(audit.len(), 5, "one line a commit");
    assert!(audit.iter().all(|(_, row)| row.action == "dlq.redrive" && row.who == "tester"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_says_why() {
    let target = Target::start().await;
    let world = World::new(&target);
    down(&target, 400);
    let running = world.open().await;
    running.publish(products(250)).await;
    running.quiet().await;
    let delivery = running.dead().await[0].delivery.unwrap();
    assert_eq!(running.purge_all().await.done, 250);
    assert!(running.dead().await.is_empty());
    let ledger = running.engine.store.ledger(delivery).await.unwrap().unwrap();
    assert_eq!(ledger.note.as_deref(), Some("not wanted"));
    running.expect_books(Totals { matched: 250, discarded: 250, ..Totals::default() }).await;
    let gone = running.engine.dead_letter(MessageId(1)).await.unwrap();
    assert!(gone.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_subscription_that_is_gone() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    target.close_gate();
    let running = world.open().await;
    running.publish(products(3)).await;
    running.stop().await;
    target.abandoned().await;
    // Its destination is still used by another, so it can finish what it began.
    let gone = world.declared.subscriptions[0].clone();
    let mut other = gone.clone();
    other.name = "other".into();
    other.pattern = json!({ "detail-type": ["nothing"] }).to_string();
    world.declared.subscriptions = vec![other];
    target.open_gate();
    let running = world.open().await;
    running.quiet().await;
    assert_eq!(running.engine.store.check().await.unwrap(), vec![]);
    assert_eq!(target.taken().len(), 3);
    assert_eq!(gone.target, TargetSpec::Destination("shop".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_grouped_by_what_they_died_of() {
    let target = Target::start().await;
    let world = World::new(&target);
    target.behave(|call| match call.n() % 4 {
        0 => (422, json!({ "message": format!("product {}: price missing", call.sku()) })),
        n => (400, json!({ "message": format!("row {}: no UoM", 1_000 + n) })),
    });
    let running = world.open().await;
    running.publish(products(40)).await;
    running.quiet().await;
    let groups = async |filter: MessageFilter, by: GroupBy| {
        let groups = running.engine.dead_letter_groups(filter, by).await.unwrap();
        groups.into_iter().map(|group| (group.count, group.cause.unwrap())).collect::<Vec<_>>()
    };
    let all = MessageFilter::default;
    let by_cause = groups(all(), GroupBy::Cause).await;
    let counts: Vec<u64> = by_cause.iter().map(|(count, _)| *count).collect();
    assert_eq!(counts, [30, 10], "{by_cause:?}");
    assert!(by_cause[0].1.contains("row #: no UoM"), "{by_cause:?}");
    assert!(by_cause[1].1.contains("product {key}: price missing"), "{by_cause:?}");
    assert_eq!(groups(all(), GroupBy::Queue).await.len(), 1);
    let only = MessageFilter { cause: Some("NO UOM".into()), ..all() };
    assert_eq!(groups(only.clone(), GroupBy::Subscription).await[0].0, 30);
    assert_eq!(running.engine.dead_letters(only, MessageId(0), 99).await.unwrap().len(), 30);
    let aged = MessageFilter { sent_before: Some(stepbus_model::Timestamp(0)), ..all() };
    assert!(groups(aged, GroupBy::Cause).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_payload_takes_the_place_of_the_transforms() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().skip_unchanged = true;
    target.behave(|call| match call.body.get("uom") {
        Some(_) => (200, json!({})),
        None => (400, json!({ "message": "no UoM" })),
    });
    let running = world.open().await;
    running.publish(products(2)).await;
    running.quiet().await;
    let letters = running.dead().await;
    let (id, other) = (letters[0].id, letters[1].id);
    let before = running.engine.dead_letter_payload(id).await.unwrap();
    let sku = letters[0].key.clone().unwrap();
    let original = json!({ "sku": sku, "n": before.payload.as_ref().unwrap()["n"] });
    assert_eq!((before.payload.as_ref(), before.revision), (Some(&original), 0));
    let edited = json!({ "sku": sku, "uom": "PCE" });
    let engine = &running.engine;
    engine.edit_dead_letter(id, &json!({ "sku": sku, "uom": 1 }), "eve", "").await.unwrap();
    let view = engine.edit_dead_letter(id, &edited, "tester", "typed wrong").await.unwrap();
    assert_eq!((view.payload.as_ref(), view.revision), (Some(&edited), 2));
    let kept = view.edited.unwrap();
    assert_eq!((kept.by.as_str(), kept.original), ("tester", Some(original)));
    assert!(matches!(
        engine.edit_dead_letter(MessageId(1), &edited, "tester", "").await,
        Err(EditError::NoDeadLetter(_))
    ));
    let large = json!("x".repeat(engine.limits().event_bytes));
    assert!(matches!(
        engine.edit_dead_letter(other, &large, "tester", "").await,
        Err(EditError::TooLarge { .. })
    ));
    let refused = target.calls();
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 2);
    running.quiet().await;
    running
        .expect_books(Totals { matched: 2, delivered: 1, dead_lettered: 1, ..Totals::default() })
        .await;
    let taken = target.taken();
    assert_eq!((taken.len(), &taken[0].body), (1, &edited));
    let key = &taken[0].idempotency_key;
    assert!(refused.iter().all(|(call, _)| call.idempotency_key != *key), "another payload");
    let audit = engine.audit_log(None, 9).await.unwrap();
    let edits: Vec<_> = audit.iter().filter(|line| line.action == "dlq.edit").collect();
    assert_eq!(edits.len(), 2);
    assert_eq!(
        (edits[0].who.as_str(), &edits[0].detail["reason"]),
        ("tester", &json!("typed wrong"))
    );
}

/// Changes the rate of a redrive while no engine is at it.
async fn hurry(world: &World, id: u64, rate: u32) {
    let row = world.store.operation(id).await.unwrap().unwrap();
    let mut work: Work = serde_json::from_str(&row.body).unwrap();
    work.wish.rate = NonZeroU32::new(rate);
    let mut batch = Batch::new();
    batch.put_operation(OperationRow { body: serde_json::to_string(&work).unwrap(), ..row });
    world.store.commit(batch).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_at_a_rate_goes_on_after_a_restart() {
    let target = Target::start().await;
    let world = World::new(&target);
    let down = down(&target, 400);
    let running = world.open().await;
    running.publish(products(60)).await;
    running.quiet().await;
    down.store(false, Ordering::Relaxed);
    // It would take a minute: no machine is so slow that it ends before it is interrupted.
    let wish = Redrive {
        selection: Selection::Matching(MessageFilter::default()),
        rate: NonZeroU32::new(1),
        version: RedriveVersion::Original,
        who: "tester".into(),
    };
    let id = running.engine.start_redrive(wish.clone()).await.unwrap();
    until("one is redriven", async || running.totals("load").await.delivered >= 1).await;
    running.stop().await;
    target.abandoned().await;
    hurry(&world, id, 100).await;
    let running = world.open().await;
    let view = running.engine.await_operation(id, Duration::from_secs(60)).await.unwrap().unwrap();
    let hurried = Redrive { rate: NonZeroU32::new(100), ..wish.clone() };
    assert_eq!((view.status, view.tally.done, view.wish), ("SUCCEEDED", 60, Some(hurried)));
    running.quiet().await;
    running.expect_books(delivered(60)).await;
    // One that was under way when the engine stopped comes again, under the same key.
    let keys: HashSet<String> =
        target.taken().into_iter().map(|call| call.idempotency_key).collect();
    assert_eq!(keys.len(), 60, "each of them once");
    let audit = running.engine.audit_log(None, 99).await.unwrap();
    let counts = audit.iter().filter_map(|line| line.detail["count"].as_u64());
    assert_eq!(counts.sum::<u64>(), 60, "the audit adds up");
    assert!(audit.iter().filter(|line| line.action == "dlq.redrive").count() > 6, "at its rate");

    // One that is cancelled ends after what it is at.
    down.store(true, Ordering::Relaxed);
    running.publish((100..160).map(|n| (format!("P-{n}"), n))).await;
    running.quiet().await;
    down.store(false, Ordering::Relaxed);
    let id = running.engine.start_redrive(wish).await.unwrap();
    until("some are redriven", async || running.dead().await.len() < 60).await;
    assert!(running.engine.cancel_operation(id, "tester").await.unwrap());
    let view = running.engine.await_operation(id, Duration::from_secs(60)).await.unwrap().unwrap();
    assert_eq!(view.status, "CANCELLED");
    assert_eq!(running.dead().await.len() as u64, 60 - view.tally.done);
    assert!(!running.engine.cancel_operation(id, "tester").await.unwrap());
}
