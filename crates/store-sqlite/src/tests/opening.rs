//! Who may open a data directory, and what becomes of who had it before.

use rusqlite::Connection;
use stepbus_model::RunId;
use stepbus_store::{Batch, Priority, StoreError};

use super::{Directory, note, open, open_on};
use crate::SqliteOptions;

fn sql(directory: &Directory) -> Connection {
    Connection::open(directory.path().join("stepbus.db")).unwrap()
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_directory() {
    let directory = Directory::new();
    let store = open(directory.path());
    let second = open_on(directory.path(), SqliteOptions::default()).unwrap_err();
    let (path, holder) = (directory.path().display().to_string(), std::process::id().to_string());
    assert_eq!(second, StoreError::Locked { path, holder });
    drop(store);
    open(directory.path());
}

/// The version this binary brings a file to.
const KNOWN: u32 = 3;

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_with_what_it_holds() {
    let directory = Directory::new();
    let conn = sql(&directory);
    conn.execute_batch(
        "CREATE TABLE schema_version (version INTEGER NOT NULL);
         INSERT INTO schema_version (version) VALUES (1);",
    )
    .unwrap();
    conn.execute_batch(include_str!("../migrations/001.sql")).unwrap();
    conn.execute_batch(
        "UPDATE nodes SET next_id = 100;
         INSERT INTO installation (id) VALUES ('0198c0de-0000-7000-8000-000000000000');
         INSERT INTO runs (id, started, last, open, origin, label) VALUES (7, 1, 2, 0, 'o', 'l');",
    )
    .unwrap();
    drop(conn);
    let store = open(directory.path());
    let run = store.run(RunId(7)).await.unwrap().unwrap();
    assert_eq!((run.label.as_str(), run.priority), ("l", Priority::Normal));
    assert_eq!(store.check().await.unwrap(), []);
    drop(store);
    let version = sql(&directory)
        .query_row("SELECT version FROM schema_version", [], |row| row.get::<_, u32>(0));
    assert_eq!(version, Ok(KNOWN));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let directory = Directory::new();
    drop(open(directory.path()));
    sql(&directory).execute("UPDATE schema_version SET version = 99", []).unwrap();
    let refused = open_on(directory.path(), SqliteOptions::default()).unwrap_err();
    assert_eq!(refused, StoreError::TooNew { found: 99, known: KNOWN });
}

#[tokio::test]
async fn who_was_taken_over_commits_nothing_more() {
    let directory = Directory::new();
    let store = open(directory.path());
    store.commit(note(Batch::new(), "mine")).await.unwrap();
    // As another node would, that the lock did not stop.
    sql(&directory).execute("UPDATE nodes SET epoch = epoch + 1", []).unwrap();
    for _ in 0..2 {
        let fenced = store.commit(note(Batch::new(), "late")).await;
        assert_eq!(fenced, Err(StoreError::Fenced));
    }
    assert_eq!(store.audit_rows(None, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn ids_go_on_without_a_gap_after_a_clean_end() {
    let directory = Directory::new();
    let store = open(directory.path());
    let last = (0..100_000).fold(0, |_, _| store.next_id());
    drop(store);
    assert_eq!(open(directory.path()).next_id(), last + 1);
}

#[test]
fn start_up_scans_use_their_indexes() {
    let directory = Directory::new();
    drop(open(directory.path()));
    let conn = sql(&directory);
    for (query, index) in [
        (
            "SELECT * FROM executions WHERE status = 1 AND idle = 0 AND id > 5 ORDER BY id",
            "executions_active",
        ),
        (
            "SELECT * FROM executions WHERE wake IS NOT NULL AND wake <= 5 ORDER BY wake, id",
            "executions_due",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND map_run IS NULL ORDER BY id DESC",
            "executions_top",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND workflow = 1 AND map_run IS NULL AND status = 3 AND status > 2 ORDER BY id DESC",
            "executions_unsuccessful",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND workflow = 1 AND map_run IS NULL AND status = 1 ORDER BY id DESC",
            "executions_running",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND workflow = 1 AND map_run IS NULL ORDER BY id DESC",
            "executions_workflow",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND run = 1 AND map_run IS NULL ORDER BY id DESC",
            "executions_run",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND map_run = 1 AND status = 3 AND status > 2 ORDER BY id DESC",
            "executions_item_unsuccessful",
        ),
        (
            "SELECT * FROM executions WHERE id < 9 AND map_run = 1 ORDER BY id DESC",
            "executions_item",
        ),
        ("SELECT * FROM messages WHERE id > 1 AND queue = 2 ORDER BY id", "messages_queue"),
    ] {
        let plan: Vec<String> = conn
            .prepare(&format!("EXPLAIN QUERY PLAN {query} LIMIT 10"))
            .unwrap()
            .query_map([], |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(
            plan[0].contains(&format!("INDEX {index} ")) || plan[0].ends_with(index),
            "{query}: {plan:?}"
        );
    }
}
