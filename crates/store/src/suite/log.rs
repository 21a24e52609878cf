//! The log and who reads it by cursor.

use stepbus_model::{EventId, Outcome, ResourceId, Totals};

use super::Driver;
use super::ground::{BUS, Ground, SUBSCRIPTION, at, finish};
use crate::{
    Batch, CursorRow, DeliveryRow, LedgerRow, LogRange, ReplayRow, ReplayState, StoreError,
};

pub async fn the_log_is_read_up_to_the_horizon(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (early, held) = store.event_id();
    assert_eq!(store.horizon(), early);
    let mut late = Batch::new();
    late.append_event(ground.event_row(EventId(store.next_id()), BUS));
    ground.commit(late).await;
    assert_eq!(store.horizon(), early, "what was committed meanwhile is beyond it");
    let mut batch = Batch::new();
    assert!(!batch.holds());
    batch.hold(held);
    assert!(batch.holds());
    batch.append_event(ground.event_row(early, BUS));
    let committed = store.commit(batch);
    committed.await.unwrap();
    assert!(store.horizon() > early, "the answer comes after the horizon moved");
    let range =
        LogRange { bus: BUS, from: EventId(0), below: store.horizon(), rows: 9, bytes: 1 << 20 };
    let ids = async |range| {
        let page = store.log_page(range).await.unwrap();
        page.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let all = ids(range).await;
    assert_eq!((all.len(), all[0], all[1]), (3, ground.event, early));
    assert_eq!(ids(LogRange { rows: 2, ..range }).await, all[..2]);
    assert_eq!(ids(LogRange { bytes: 1, ..range }).await, all[..1]);
    assert_eq!(ids(LogRange { from: all[1], ..range }).await, all[1..]);
    assert_eq!(ids(LogRange { below: all[2], ..range }).await, all[..2]);
    assert_eq!(ids(LogRange { bus: ResourceId(1), ..range }).await, []);

    let (dropped, held) = store.event_id();
    let mut batch = Batch::new();
    batch.hold(held);
    assert_eq!(store.horizon(), dropped);
    drop(batch);
    assert!(store.horizon() > dropped);
    ground.sound().await;
}

fn cursor(opened: EventId) -> CursorRow {
    CursorRow {
        subscription: SUBSCRIPTION,
        opened,
        bus: BUS,
        version: 1,
        position: opened,
        until: None,
        counted: true,
        behind: 0,
    }
}

pub async fn matches_stand_behind_a_cursor(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let row = cursor(ground.event);
    let name = (row.subscription, row.opened);
    let (other, third) = (EventId(store.next_id()), EventId(store.next_id()));
    let mut batch = Batch::new();
    batch.open_cursor(row.clone());
    batch.leave_behind(name, &ground.event_row(ground.event, BUS));
    for id in [other, third] {
        let event = ground.event_row(id, BUS);
        batch.append_event(event.clone());
        batch.leave_behind(name, &event);
    }
    ground.commit(batch).await;
    let mut again = Batch::new();
    again.open_cursor(row.clone());
    ground.commit(again).await;
    assert_eq!(store.cursors().await.unwrap(), [CursorRow { behind: 3, ..row.clone() }]);
    assert_eq!(store.behind(SUBSCRIPTION).await.unwrap(), [(ground.run, 3)]);
    let totals = async || store.run_totals(ground.run).await.unwrap()[0].1;
    let open = async || store.run(ground.run).await.unwrap().unwrap().open;
    assert_eq!(totals().await, Totals { matched: 3, pending: 3, ..Totals::default() });
    assert_eq!(open().await, 3);
    ground.sound().await;

    // The first becomes a delivery, the second ends at once, and in the same batch another
    // subscription matches for the first time.
    let first = ground.delivery();
    let mut batch = Batch::from_log(&row, ground.event);
    batch.add_delivery(first.clone());
    let mut ended = Batch::from_log(&row, other);
    ended.add_finished_delivery(LedgerRow {
        outcome: Outcome::Discarded,
        ..ledger(&DeliveryRow { event: other, ..ground.delivery() })
    });
    ended.add_delivery(DeliveryRow { subscription: ResourceId(5), ..ground.delivery() });
    batch.append(ended);
    batch.move_cursor(name, third);
    ground.commit(batch).await;
    let moved = CursorRow { behind: 1, position: third, ..row.clone() };
    assert_eq!(store.cursors().await.unwrap(), std::slice::from_ref(&moved));
    let expected = Totals { matched: 3, pending: 2, discarded: 1, ..Totals::default() };
    let all = store.run_totals(ground.run).await.unwrap();
    assert!(all.contains(&(SUBSCRIPTION, expected)), "{all:?}");
    assert_eq!(open().await, 3);
    ground.sound().await;

    let mut batch = Batch::from_log(&row, third);
    let last = DeliveryRow { event: third, ..ground.delivery() };
    batch.add_delivery(last.clone());
    batch.finish_delivery(&last, finish(Outcome::Delivered));
    batch.end_cursor(name, EventId(third.0 + 1));
    ground.commit(batch).await;
    let ended = CursorRow { behind: 0, until: Some(EventId(third.0 + 1)), ..moved };
    assert_eq!(store.cursors().await.unwrap(), [ended]);
    let mut batch = Batch::new();
    batch.close_cursor(name);
    batch.close_cursor(name);
    ground.commit(batch).await;
    assert_eq!(store.cursors().await.unwrap(), []);
    let mut lost = Batch::new();
    lost.move_cursor(name, third);
    assert!(matches!(ground.refused(lost).await, StoreError::Gone(_)));
    ground.sound().await;
}

fn ledger(row: &DeliveryRow) -> LedgerRow {
    LedgerRow {
        id: row.id,
        run: row.run,
        subscription: row.subscription,
        version: row.version,
        event: row.event,
        key: None,
        outcome: Outcome::Delivered,
        revision: 0,
        attempts: 0,
        created: row.created,
        finished: at(9),
        note: None,
    }
}

pub async fn a_past_start_counts_as_it_reads(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let row = CursorRow { counted: false, ..cursor(ground.event) };
    let mut batch = Batch::from_log(&row, ground.event);
    batch.open_cursor(row.clone());
    batch.add_delivery(ground.delivery());
    ground.commit(batch).await;
    assert_eq!(ground.store.cursors().await.unwrap(), [row]);
    let totals = ground.store.run_totals(ground.run).await.unwrap();
    let expected = Totals { matched: 1, pending: 1, ..Totals::default() };
    assert_eq!(totals, [(SUBSCRIPTION, expected)]);
    ground.sound().await;
}

pub async fn events_go_when_their_run_is_over(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let busy = Ground::on(store.clone()).await;
    let delivery = busy.delivery();
    let mut batch = Batch::new();
    batch.add_delivery(delivery.clone());
    busy.commit(batch).await;
    let below = store.horizon();
    let range = LogRange { bus: BUS, from: EventId(0), below, rows: 9, bytes: 1 << 20 };
    assert_eq!(store.unfinished_events(range).await.unwrap(), [busy.event]);
    let delete = async || {
        let mut batch = Batch::new();
        batch.delete_events(vec![ground.event, busy.event, below]);
        ground.commit(batch).await;
        store.log_page(range).await.unwrap().iter().map(|event| event.id).collect::<Vec<_>>()
    };
    assert_eq!(delete().await, [busy.event]);
    ground.sound().await;
    let mut batch = Batch::new();
    batch.finish_delivery(&delivery, finish(Outcome::Delivered));
    busy.commit(batch).await;
    assert_eq!(delete().await, []);
    ground.sound().await;
    let usage = store.usage(true).await.unwrap();
    assert!(usage.database >= usage.used() && usage.used() > 0, "{usage:?}");
    assert_eq!(store.used_bytes(), usage.used());
    assert!(usage.groups.iter().any(|(name, bytes)| name == "ledger" && *bytes > 0), "{usage:?}");
    assert_eq!(store.usage(false).await.unwrap().groups, []);
}

pub async fn replays_are_kept_and_cancelled(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let row = |name: &str| ReplayRow {
        id: ResourceId(store.next_id()),
        name: name.into(),
        spec: "{}".into(),
        bus: BUS,
        run: ground.run,
        state: ReplayState::Running,
        reason: None,
        position: ground.event,
        replayed: 3,
        started: at(1),
        last_replayed: None,
        ended: None,
    };
    let put = |row: &ReplayRow| {
        let mut batch = Batch::new();
        batch.put_replay(row.clone());
        batch
    };
    let (first, second) = (row("first"), row("second"));
    ground.commit(put(&first)).await;
    ground.commit(put(&second)).await;
    let all = [second.clone(), first.clone()];
    assert_eq!(store.replays().await.unwrap(), all);
    let again = ReplayRow { id: ResourceId(store.next_id()), ..first.clone() };
    assert!(matches!(ground.refused(put(&again)).await, StoreError::Conflict { .. }));

    let mut batch = Batch::new();
    batch.set_replay_state(first.id, ReplayState::Cancelling);
    ground.commit(batch).await;
    // It has not heard of that yet.
    let moved = ReplayRow { replayed: 4, last_replayed: Some(at(2)), ..first.clone() };
    ground.commit(put(&moved)).await;
    let cancelling = ReplayRow { state: ReplayState::Cancelling, ..moved.clone() };
    assert_eq!(store.replay("first").await.unwrap(), Some(cancelling));
    let ended = ReplayRow { state: ReplayState::Cancelled, ended: Some(at(9)), ..moved };
    ground.commit(put(&ended)).await;
    assert_eq!(store.replay("first").await.unwrap(), Some(ended.clone()));
    let mut late = Batch::new();
    late.set_replay_state(first.id, ReplayState::Cancelling);
    assert!(matches!(ground.refused(late).await, StoreError::Gone(_)));
    assert_eq!(store.replay("third").await.unwrap(), None);
}
