//! Events, deliveries and their fates, messages.

use stepbus_model::{DeliveryId, EventId, MessageId, Outcome, ResourceId, Timestamp, Totals};

use super::Driver;
use super::ground::{BUS, Ground, QUEUE, SUBSCRIPTION, at, finish};
use crate::{
    Batch, DeliveryRow, Finish, LedgerRow, MessageFilter, MessageRow, QueueCounts, Ready,
    Reception, Retry, StoreError,
};

const NONE: DeliveryId = DeliveryId(0);

pub async fn events_are_listed_by_bus(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let other = ResourceId(77);
    let mut batch = Batch::new();
    let mut rows = vec![ground.event_row(ground.event, BUS)];
    for bus in [other, BUS, BUS] {
        let row = ground.event_row(EventId(ground.store.next_id()), bus);
        batch.append_event(row.clone());
        rows.push(row);
    }
    ground.commit(batch).await;
    let store = &ground.store;
    assert_eq!(store.event(rows[1].id).await.unwrap().as_ref(), Some(&rows[1]));
    assert_eq!(store.event(EventId(u64::MAX >> 1)).await.unwrap(), None);
    assert_eq!(store.events(None, EventId(0), 3).await.unwrap(), rows[..3]);
    assert_eq!(store.events(None, rows[2].id, 3).await.unwrap(), rows[3..]);
    assert_eq!(store.events(Some(other), EventId(0), 9).await.unwrap(), rows[1..2]);
    let of_bus = store.events(Some(BUS), rows[0].id, 1).await.unwrap();
    assert_eq!(of_bus, rows[2..3]);
    ground.sound().await;
}

fn retry(row: &DeliveryRow, due: i64) -> (Retry, DeliveryRow) {
    let retry = Retry {
        id: row.id,
        run: row.run,
        attempts: row.attempts + 1,
        first_tried: at(5),
        due: at(due),
        failure: "{\"status\":503}".into(),
    };
    let after = DeliveryRow {
        attempts: retry.attempts,
        first_tried: Some(at(5)),
        due: Some(at(due)),
        failure: Some(retry.failure.clone()),
        ..row.clone()
    };
    (retry, after)
}

pub async fn deliveries_are_listed_by_what_they_wait_for(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let rows: Vec<_> = (0..5)
        .map(|number| DeliveryRow {
            key: Some(format!("key-{number}")),
            created: at(number),
            ..ground.delivery()
        })
        .collect();
    let stranger = DeliveryRow { subscription: ResourceId(5), ..ground.delivery() };
    let mut batch = Batch::new();
    for row in rows.iter().chain([&stranger]) {
        batch.add_delivery(row.clone());
    }
    ground.commit(batch).await;
    assert_eq!(store.ready_deliveries(SUBSCRIPTION, NONE, 9, 99).await.unwrap().rows, rows);
    assert_eq!(
        store.ready_deliveries(SUBSCRIPTION, rows[1].id, 2, 99).await.unwrap().rows,
        rows[2..4]
    );
    assert_eq!(store.oldest_delivery(SUBSCRIPTION).await.unwrap(), Some(at(0)));

    let (later, late_row) = retry(&rows[0], 200);
    let (sooner, soon_row) = retry(&rows[3], 100);
    let mut batch = Batch::new();
    batch.retry_delivery(later);
    batch.retry_delivery(sooner);
    ground.commit(batch).await;
    assert_eq!(store.delivery(rows[0].id).await.unwrap(), Some(late_row.clone()));
    let ready = store.ready_deliveries(SUBSCRIPTION, NONE, 9, 99).await.unwrap().rows;
    assert_eq!(ready, [rows[1].clone(), rows[2].clone(), rows[4].clone()]);
    assert_eq!(store.due_deliveries(at(99), 9).await.unwrap(), []);
    assert_eq!(store.due_deliveries(at(100), 9).await.unwrap(), std::slice::from_ref(&soon_row));
    assert_eq!(store.due_deliveries(Timestamp::MAX, 9).await.unwrap(), [soon_row, late_row]);
    assert_eq!(store.oldest_delivery(SUBSCRIPTION).await.unwrap(), Some(at(0)));
    assert_eq!(store.oldest_delivery(ResourceId(6)).await.unwrap(), None);
    ground.sound().await;
}

pub async fn lanes_show_their_first_delivery(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let rows: Vec<_> = [Some(-5), Some(7), Some(-5), None, Some(7)]
        .into_iter()
        .map(|lane| DeliveryRow { lane, ..ground.delivery() })
        .collect();
    let mut batch = Batch::new();
    for row in &rows {
        batch.add_delivery(row.clone());
    }
    ground.commit(batch).await;
    let ready = store.ready_deliveries(SUBSCRIPTION, NONE, 9, 99).await.unwrap().rows;
    assert_eq!(ready, [rows[0].clone(), rows[1].clone(), rows[3].clone()]);
    let lane = store.lane_deliveries(SUBSCRIPTION, -5, 9).await.unwrap();
    assert_eq!(lane, [rows[0].clone(), rows[2].clone()]);
    assert_eq!(store.lane_deliveries(SUBSCRIPTION, -5, 1).await.unwrap(), rows[..1]);

    // However much stands behind one lane's head, a look at it is a short one.
    let first = store.ready_deliveries(SUBSCRIPTION, NONE, 9, 2).await.unwrap();
    assert_eq!(first, Ready { rows: rows[..2].to_vec(), next: Some(rows[1].id) });
    let second = store.ready_deliveries(SUBSCRIPTION, rows[1].id, 9, 1).await.unwrap();
    assert_eq!(second, Ready { rows: Vec::new(), next: Some(rows[2].id) });
    let last = store.ready_deliveries(SUBSCRIPTION, rows[2].id, 9, 3).await.unwrap();
    assert_eq!(last, Ready { rows: vec![rows[3].clone()], next: None });

    // While its first one waits, the lane shows none; when that is gone, the next.
    let (waits, waiting) = retry(&rows[0], 100);
    let mut batch = Batch::new();
    batch.retry_delivery(waits);
    batch.finish_delivery(&rows[1], finish(Outcome::Delivered));
    ground.commit(batch).await;
    let ready = store.ready_deliveries(SUBSCRIPTION, NONE, 9, 99).await.unwrap().rows;
    assert_eq!(ready, [rows[3].clone(), rows[4].clone()]);
    let lane = store.lane_deliveries(SUBSCRIPTION, -5, 9).await.unwrap();
    assert_eq!(lane, [waiting, rows[2].clone()]);
    ground.sound().await;
}

fn ledger(row: &DeliveryRow, finish: &Finish) -> LedgerRow {
    LedgerRow {
        id: row.id,
        run: row.run,
        subscription: row.subscription,
        version: row.version,
        event: row.event,
        key: row.key.clone(),
        outcome: finish.outcome,
        revision: row.revision,
        attempts: finish.attempts,
        created: row.created,
        finished: finish.at,
        note: finish.note.clone(),
    }
}

pub async fn deliveries_meet_their_fate(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let mut expected = Totals { matched: 6, pending: 1, ..Totals::default() };
    let fates = [
        Outcome::Delivered,
        Outcome::Unchanged,
        Outcome::Stale,
        Outcome::Discarded,
        Outcome::Delivered,
    ];
    let rows: Vec<_> = fates
        .map(|_| DeliveryRow { key: Some("k".into()), revision: 2, ..ground.delivery() })
        .into();
    let mut begin = Batch::new();
    begin.add_delivery(ground.delivery());
    for row in &rows {
        begin.add_delivery(row.clone());
    }
    ground.commit(begin).await;
    for (row, outcome) in rows.iter().zip(fates) {
        let finish = Finish { note: Some("why".into()), attempts: 3, ..finish(outcome) };
        *expected.column(outcome) += 1;
        let mut batch = Batch::new();
        batch.finish_delivery(row, finish.clone());
        ground.commit(batch).await;
        assert_eq!(store.delivery(row.id).await.unwrap(), None);
        assert_eq!(store.ledger(row.id).await.unwrap(), Some(ledger(row, &finish)));
    }
    // One that was finished when it was made, as when a workflow is the target.
    let at_once = ledger(&ground.delivery(), &finish(Outcome::Delivered));
    let mut batch = Batch::new();
    batch.add_finished_delivery(at_once.clone());
    ground.commit(batch).await;
    expected += Totals { matched: 1, delivered: 1, ..Totals::default() };
    assert_eq!(store.ledger(at_once.id).await.unwrap(), Some(at_once));
    assert_eq!(store.run_totals(ground.run).await.unwrap(), [(SUBSCRIPTION, expected)]);
    assert!(expected.balanced());

    let second = Ground::on(ground.store.clone()).await;
    let mut batch = Batch::new();
    batch.add_delivery(second.delivery());
    second.commit(batch).await;
    expected += Totals { matched: 1, pending: 1, ..Totals::default() };
    assert_eq!(store.subscription_totals().await.unwrap(), [(SUBSCRIPTION, expected)]);
    ground.sound().await;
}

pub async fn dead_letters_come_back_or_are_given_up(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let delivery = DeliveryRow {
        key: Some("sku-1".into()),
        lane: Some(3),
        attempts: 4,
        first_tried: Some(at(3)),
        due: Some(at(4)),
        failure: Some("{}".into()),
        ..ground.delivery()
    };
    let letter = ground.letter(&delivery);
    let mut batch = Batch::new();
    batch.add_delivery(delivery.clone());
    batch.dead_letter(letter.clone(), &delivery, finish(Outcome::Delivered));
    ground.commit(batch).await;
    assert_eq!(store.message(letter.id).await.unwrap(), Some(letter.clone()));
    assert_eq!(store.queue_depths().await.unwrap(), [(QUEUE, 1, at(9))]);
    let dead = store.ledger(delivery.id).await.unwrap().unwrap();
    assert_eq!(dead.outcome, Outcome::DeadLettered);
    ground.sound().await;

    let fresh = DeliveryRow { attempts: 0, first_tried: None, due: None, ..delivery.clone() };
    let mut redrive = Batch::new();
    redrive.redrive(letter.id, fresh.clone(), at(20));
    ground.commit(redrive.clone()).await;
    assert_eq!(store.delivery(delivery.id).await.unwrap(), Some(fresh.clone()));
    assert_eq!(store.message(letter.id).await.unwrap(), None);
    assert_eq!(store.ledger(delivery.id).await.unwrap(), None);
    let totals = Totals { matched: 1, pending: 1, ..Totals::default() };
    assert_eq!(store.run_totals(ground.run).await.unwrap(), [(SUBSCRIPTION, totals)]);
    ground.sound().await;
    assert!(matches!(ground.refused(redrive).await, StoreError::Gone(_)));

    let second = ground.letter(&fresh);
    let mut batch = Batch::new();
    batch.dead_letter(second.clone(), &fresh, finish(Outcome::Delivered));
    ground.commit(batch).await;
    let mut purge = Batch::new();
    let row = store.ledger(delivery.id).await.unwrap().unwrap();
    purge.purge(second.id, row.clone(), at(30), "purged by operator");
    ground.commit(purge).await;
    let given_up = LedgerRow {
        outcome: Outcome::Discarded,
        finished: at(30),
        note: Some("purged by operator".into()),
        ..row
    };
    assert_eq!(store.ledger(delivery.id).await.unwrap(), Some(given_up));
    let totals = Totals { matched: 1, discarded: 1, ..Totals::default() };
    assert_eq!(store.run_totals(ground.run).await.unwrap(), [(SUBSCRIPTION, totals)]);
    assert_eq!(store.queue_depths().await.unwrap(), []);
    ground.sound().await;
}

pub async fn messages_are_filtered(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let other_run = Ground::on(ground.store.clone()).await;
    let store = &ground.store;
    let other_queue = ResourceId(66);
    let mut letters = Vec::new();
    for (home, queue, key, code) in [
        (&ground, QUEUE, Some("a"), Some("NO_PERMISSIONS")),
        (&ground, QUEUE, Some("b"), None),
        (&other_run, QUEUE, None, Some("NO_PERMISSIONS")),
        (&ground, other_queue, Some("a"), None),
    ] {
        let delivery = DeliveryRow { key: key.map(str::to_owned), ..home.delivery() };
        let letter =
            MessageRow { queue, error_code: code.map(str::to_owned), ..home.letter(&delivery) };
        let mut batch = Batch::new();
        batch.add_delivery(delivery.clone());
        batch.dead_letter(letter.clone(), &delivery, finish(Outcome::Delivered));
        ground.commit(batch).await;
        letters.push(letter);
    }
    let plain =
        MessageRow { delivery: None, error_code: None, ..ground.letter(&ground.delivery()) };
    let mut batch = Batch::new();
    batch.send_message(plain.clone());
    ground.commit(batch).await;
    letters.push(plain);

    let filter = MessageFilter::default;
    let cases: Vec<(MessageFilter, &[usize])> = vec![
        (filter(), &[0, 1, 2, 3, 4]),
        (MessageFilter { queue: Some(QUEUE), ..filter() }, &[0, 1, 2, 4]),
        (MessageFilter { run: Some(other_run.run), ..filter() }, &[2]),
        (MessageFilter { subscription: Some(SUBSCRIPTION), ..filter() }, &[0, 1, 2, 3]),
        (MessageFilter { error_code: Some("NO_PERMISSIONS".into()), ..filter() }, &[0, 2]),
        (MessageFilter { key: Some("a".into()), ..filter() }, &[0, 3]),
        (MessageFilter { queue: Some(QUEUE), key: Some("a".into()), ..filter() }, &[0]),
        (MessageFilter { queue: Some(ResourceId(1)), ..filter() }, &[]),
        (MessageFilter { dead: true, ..filter() }, &[0, 1, 2, 3]),
        (MessageFilter { sent_before: Some(letters[0].sent), ..filter() }, &[]),
        (MessageFilter { sent_from: Some(letters[0].sent), dead: true, ..filter() }, &[0, 1, 2, 3]),
    ];
    let dead = |index: usize| {
        let letter: &MessageRow = &letters[index];
        (letter.id, letter.delivery.as_ref().map_or(NONE, |dead| dead.id))
    };
    let (first, last) = (dead(0), dead(3));
    let before =
        async |delivery: DeliveryId| store.dead_before(SUBSCRIPTION, "a", delivery).await.unwrap();
    assert_eq!(before(first.1).await, None);
    assert_eq!(before(last.1).await, Some(first));
    assert_eq!(store.dead_before(ResourceId(1), "a", last.1).await.unwrap(), None);
    assert_eq!(store.dead_before(SUBSCRIPTION, "c", last.1).await.unwrap(), None);

    for (filter, found) in cases {
        let expected: Vec<_> = found.iter().map(|&index| letters[index].clone()).collect();
        let all = store.messages(filter.clone(), MessageId(0), 9).await.unwrap();
        assert_eq!(all, expected, "{filter:?}");
        let page = store.messages(filter.clone(), letters[0].id, 1).await.unwrap();
        let rest: Vec<_> = expected.into_iter().filter(|row| row.id > letters[0].id).collect();
        assert_eq!(page, rest[..rest.len().min(1)], "{filter:?}");
    }
    let depths = store.queue_depths().await.unwrap();
    assert_eq!(depths, [(other_queue, 1, at(9)), (QUEUE, 4, at(9))]);
    ground.sound().await;

    let mut batch = Batch::new();
    batch.delete_message(letters[4].id);
    ground.commit(batch.clone()).await;
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
    assert_eq!(store.message(letters[4].id).await.unwrap(), None);
}

pub async fn messages_are_received_hidden_and_moved(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let plain = |visible| MessageRow {
        delivery: None,
        reception: Reception { visible: at(visible), ..Reception::default() },
        ..ground.letter(&ground.delivery())
    };
    let (late, soon, now) = (plain(50), plain(20), plain(0));
    let mut batch = Batch::new();
    for row in [&late, &soon, &now] {
        batch.send_message(row.clone());
    }
    ground.commit(batch).await;
    let visible = async |at| store.visible_messages(QUEUE, at, 9).await.unwrap();
    assert_eq!(visible(at(10)).await, std::slice::from_ref(&now));
    assert_eq!(visible(at(50)).await, [now.clone(), soon.clone(), late.clone()]);
    assert_eq!(store.next_visible(QUEUE, at(20)).await.unwrap(), Some(at(50)));
    assert_eq!(store.next_visible(QUEUE, at(50)).await.unwrap(), None);

    let mut receive = Batch::new();
    receive.receive_message(&now, at(10), at(40));
    ground.commit(receive.clone()).await;
    let held = MessageRow {
        reception: Reception { visible: at(40), count: 1, first: Some(at(10)) },
        ..now.clone()
    };
    assert_eq!(store.message(now.id).await.unwrap(), Some(held.clone()));
    assert!(matches!(ground.refused(receive).await, StoreError::Gone(_)), "one receives it");
    let counts = store.queue_counts(QUEUE, at(30)).await.unwrap();
    assert_eq!(counts, QueueCounts { visible: 1, in_flight: 1, delayed: 1 });
    assert_eq!(store.queue_counts(ResourceId(1), at(30)).await.unwrap(), QueueCounts::default());

    let mut batch = Batch::new();
    batch.hide_message(&held, at(11));
    batch.move_message(soon.id, ResourceId(66), "{}".into(), at(12));
    ground.commit(batch).await;
    assert_eq!(visible(at(12)).await[0].reception.count, 1);
    let moved = store.visible_messages(ResourceId(66), at(12), 9).await.unwrap();
    assert_eq!((moved[0].id, moved[0].attributes.as_str()), (soon.id, "{}"));
    assert_eq!(moved[0].reception, Reception { visible: at(12), ..Reception::default() });
    ground.sound().await;
}
