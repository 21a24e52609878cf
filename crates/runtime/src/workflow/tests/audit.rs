//! What an audit finds.

use bytes::Bytes;
use serde_json::json;
use stepbus_model::Timestamp;
use stepbus_store::{Batch, ExecutionEnd, ExecutionRow, ExecutionStatus, JournalRow};

use super::world::{CALL, Target, World, until};
use crate::audit;

fn succeeded(at: Timestamp) -> ExecutionEnd {
    ExecutionEnd {
        status: ExecutionStatus::Succeeded,
        at,
        output: Some(Bytes::from_static(b"1")),
        error: None,
        error_cause: None,
    }
}

/// The rules that a data directory breaks after somebody wrote into it what never happened.
async fn check(damage: impl Fn(&mut Batch, &ExecutionRow), expected: &[&str]) {
    let target = Target::start().await;
    target.close_gate();
    let mut world = World::empty();
    world.workflow("call", CALL, &target);
    let running = world.open().await;
    let id = running.start("call", json!({})).await;
    until("the call is under way", async || target.arrived().len() == 1).await;
    let row = running.row(id).await;
    running.stop().await;
    let sound = audit(&*world.store).await.unwrap();
    assert_eq!((sound.problems, sound.executions, sound.journal_entries), (vec![], 1, 1));
    let mut batch = Batch::new();
    damage(&mut batch, &row);
    world.store.commit(batch).await.unwrap();
    let report = audit(&*world.store).await.unwrap();
    for rule in expected {
        let found = report
            .problems
            .iter()
            .any(|problem| problem.rule == *rule && problem.subject == id.to_string());
        assert!(found, "{rule}: {:?}", report.problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_a_journal_that_does_not_replay_to_its_status() {
    check(
        |batch, row| batch.end_execution(row, succeeded(row.started)),
        &["journal-replays-to-status"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_a_gap_in_a_journal() {
    let gap = |batch: &mut Batch, row: &ExecutionRow| {
        let entries = Bytes::from_static(b"[]");
        batch.append_journal(JournalRow { execution: row.id, first: 4, count: 0, entries });
    };
    check(gap, &["journal-is-whole"]).await;
    let unreadable = |batch: &mut Batch, row: &ExecutionRow| {
        let entries = Bytes::from_static(b"[7]");
        batch.append_journal(JournalRow { execution: row.id, first: 1, count: 1, entries });
    };
    check(unreadable, &["journal-is-whole"]).await;
}
