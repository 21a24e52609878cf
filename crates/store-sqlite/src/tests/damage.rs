//! Each kind of damage is found, and named.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::Connection;
use stepbus_store::suite::assert_sound;
use stepbus_store::suite::script::Script;
use stepbus_store::{Batch, Store};

use super::{Directory, open};

/// Moves that leave some of everything: see [`Script::play`].
const MOVES: &[(u8, u8)] = &[
    (0, 0),
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 4),
    (1, 5),
    (1, 6),
    (5, 1),
    (6, 0),
    (6, 1),
    (6, 2),
    (8, 0),
    (8, 1),
    (10, 0),
    (11, 0),
    (11, 0),
    (12, 0),
    (12, 1),
    (12, 3),
    (14, 3),
    (15, 0),
    (15, 1),
    (11, 0),
    (13, 0),
    (16, 0),
    (16, 3),
];

/// Some of everything, and sound.
async fn sound(directory: &Directory) -> Arc<dyn Store> {
    let store = open(directory.path());
    let (mut script, batch) = Script::begin(&*store);
    store.commit(batch).await.unwrap();
    let batch = script.play(&*store, MOVES);
    store.commit(batch).await.unwrap();
    assert_sound(&*store).await;
    store
}

fn spoil(directory: &Directory, damage: &str) {
    let conn = Connection::open(directory.path().join("stepbus.db")).unwrap();
    conn.execute_batch(damage).unwrap();
    assert!(conn.changes() > 0, "{damage}: no row to damage");
}

async fn expect(store: &dyn Store, damage: &str, expected: &[&str]) {
    let problems = store.check().await.unwrap();
    let found: BTreeSet<_> = problems.iter().map(|problem| problem.rule.as_str()).collect();
    assert_eq!(found, expected.iter().copied().collect(), "{damage}: {problems:#?}");
}

/// What the rules say after `damage` was done to sound records.
async fn check(damage: &str, expected: &[&str]) {
    let directory = Directory::new();
    drop(sound(&directory).await);
    spoil(&directory, damage);
    expect(&*open(directory.path()), damage, expected).await;
}

/// The mark moves ahead as the store opens, so it is damaged after that.
#[tokio::test]
async fn ids_beyond_the_mark() {
    const DAMAGE: &str = "UPDATE nodes SET next_id = 2";
    let directory = Directory::new();
    let store = sound(&directory).await;
    spoil(&directory, DAMAGE);
    expect(&*store, DAMAGE, &["ids-below-mark"]).await;
    let used = store.next_id();
    drop(store);
    spoil(&directory, DAMAGE);
    let store = open(directory.path());
    let next = store.next_id();
    assert!((3..=used).contains(&next), "{next}: the next start goes on above what is there");
    store.commit(Batch::new()).await.unwrap();
    expect(&*store, "", &[]).await;
}

macro_rules! damage {
    ($($name:ident: $sql:literal => $($rule:literal),+;)+) => {
        $(
            #[tokio::test]
            async fn $name() {
                check($sql, &[$($rule),+]).await;
            }
        )+
    };
}

damage! {
    unbalanced_totals:
        "UPDATE run_totals SET matched = matched + 1"
        => "totals-balanced", "subscription-totals-match-runs";
    a_delivery_vanished:
        "DELETE FROM deliveries WHERE id = (SELECT min(id) FROM deliveries)"
        => "totals-match-rows";
    a_fate_changed:
        "UPDATE ledger SET outcome = 3 WHERE outcome = 1"
        => "totals-match-rows";
    subscription_sums_differ:
        "UPDATE subscription_totals SET pending = pending + 1, matched = matched + 1"
        => "subscription-totals-match-runs", "cursors-hold-what-has-no-row";
    workflow_sums_differ:
        "UPDATE workflow_totals SET started = started + 1"
        => "workflow-totals-match-executions";
    run_counts_differ:
        "UPDATE runs SET open = open - 1"
        => "run-open-matches-rows";
    a_match_behind_a_cursor_vanished:
        "UPDATE cursors SET behind = behind - 1"
        => "cursors-hold-what-has-no-row";
    a_cursor_vanished:
        "DELETE FROM cursors"
        => "totals-match-rows";
    two_cursors_overlap:
        "INSERT INTO cursors SELECT subscription, opened + 1, bus, version, position, NULL, counted,
             0 FROM cursors"
        => "cursors-follow-one-another";
    item_counts_differ:
        "UPDATE map_counts SET succeeded = succeeded + 1"
        => "items-match-children";
    two_fates:
        "INSERT INTO ledger SELECT id, run, subscription, version, event, key, 1, 0, 0, 0, 0, NULL
             FROM deliveries LIMIT 1"
        => "one-fate", "totals-match-rows";
    an_event_vanished:
        "DELETE FROM events WHERE id IN (SELECT event FROM deliveries)"
        => "delivery-has-event";
    a_dead_letter_without_its_fate:
        "UPDATE messages SET d_id = 900001"
        => "dead-letter-has-ledger", "ledger-has-dead-letter";
    a_dead_letter_vanished:
        "DELETE FROM messages"
        => "ledger-has-dead-letter";
    a_dead_letter_twice:
        "INSERT INTO messages SELECT id + 30000, queue, run, sent, error_code, attributes, d_id,
             d_run, d_subscription, d_version, d_event, d_key, d_lane, d_created, d_revision,
             d_attempts, d_first_tried, d_due, d_failure, body, visible, received, first_received FROM messages;
         UPDATE nodes SET next_id = 1000000"
        => "one-dead-letter";
    a_journal_has_a_gap:
        "UPDATE journal SET first = first + 1 WHERE first > 0"
        => "journal-without-gaps";
    a_journal_does_not_begin:
        "DELETE FROM journal WHERE first = 0 AND execution = (SELECT min(execution) FROM journal)"
        => "journal-without-gaps";
    a_snapshot_is_ahead:
        "INSERT INTO snapshots SELECT min(execution), 99, x'00' FROM journal"
        => "snapshot-within-journal";
    an_end_without_its_time:
        "UPDATE executions SET ended = NULL WHERE status > 1"
        => "ended-execution-has-end";
    the_run_vanished:
        "DELETE FROM runs"
        => "row-has-run";
    the_definition_vanished:
        "DELETE FROM definitions"
        => "execution-has-definition";
    a_journal_without_execution:
        "INSERT INTO journal VALUES (800001, 0, 1, x'00')"
        => "journal-has-execution";
    a_snapshot_without_execution:
        "INSERT INTO snapshots VALUES (800001, 0, x'00')"
        => "snapshot-has-execution";
    a_map_run_without_execution:
        "UPDATE map_runs SET execution = 800001"
        => "map-run-has-execution";
    a_map_run_without_counts:
        "DELETE FROM map_counts"
        => "map-run-has-counts";
    a_page_without_map_run:
        "INSERT INTO map_pages VALUES (800001, 0, 0, 5, NULL, x'00', 5)"
        => "map-page-has-map-run";
    a_page_is_missing:
        "UPDATE map_pages SET first_index = 1"
        => "map-pages-without-gaps";
    a_child_without_map_run:
        "INSERT INTO executions SELECT id + 20000, run, workflow, definition, kind, 'x', cause_kind,
             cause, hops, 800001, 0, 2, 0, NULL, started, started, 0, 1, NULL, NULL, NULL, 1,
             0, NULL, 0 FROM executions WHERE map_run IS NOT NULL LIMIT 1;
         UPDATE nodes SET next_id = 1000000"
        => "child-has-map-run";
    a_child_outlives_its_parent:
        "UPDATE map_runs SET status = 2"
        => "running-child-has-running-parent";
    an_item_has_two_children:
        "UPDATE executions SET item = 0 WHERE map_run IS NOT NULL"
        => "one-child-per-item";
}
