//! Executions, journals, snapshots.

use bytes::Bytes;
use stepbus_model::{ExecutionId, ResourceId, Timestamp};

use super::Driver;
use super::ground::{Ground, WORKFLOW, after, at, ended};
use crate::{
    Batch, Cause, ExecutionEnd, ExecutionFilter, ExecutionKind, ExecutionRow, ExecutionStatus,
    JournalRow, SnapshotRow, StoreError, WorkflowTotals,
};

pub async fn executions_are_kept_whole(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let row = ground.execution();
    let parent = ExecutionRow { cause: Cause::Execution(row.id), ..ground.execution() };
    let at_once = ExecutionRow {
        kind: ExecutionKind::Express,
        status: ExecutionStatus::Succeeded,
        ended: Some(at(6)),
        output: Some(Bytes::from_static(b"[1]")),
        ..ground.execution()
    };
    let mut batch = Batch::new();
    for row in [&row, &parent, &at_once] {
        batch.start_execution(row.clone());
    }
    batch.set_recoveries(parent.id, 3);
    ground.commit(batch).await;
    assert_eq!(store.execution(row.id).await.unwrap().as_ref(), Some(&row));
    let recovered = ExecutionRow { recoveries: 3, ..parent.clone() };
    assert_eq!(store.execution(parent.id).await.unwrap(), Some(recovered));
    assert_eq!(store.execution(at_once.id).await.unwrap().as_ref(), Some(&at_once));
    assert_eq!(store.execution(ExecutionId(1 << 40)).await.unwrap(), None);

    let end = ExecutionEnd {
        output: Some(Bytes::from_static(b"{}")),
        error: Some("States.Timeout".into()),
        error_cause: Some("too slow".into()),
        ..ended(ExecutionStatus::TimedOut, 50)
    };
    let mut batch = Batch::new();
    batch.end_execution(&row, end.clone());
    ground.commit(batch.clone()).await;
    assert_eq!(store.execution(row.id).await.unwrap(), Some(after(&row, &end)));
    // An end comes once.
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
    let totals =
        WorkflowTotals { started: 3, succeeded: 1, timed_out: 1, ..WorkflowTotals::default() };
    assert_eq!(store.workflow_totals().await.unwrap(), [(WORKFLOW, totals)]);
    assert_eq!(totals.running(), 1);
    ground.sound().await;
}

pub async fn executions_are_listed_newest_first(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let other = Ground::on(ground.store.clone()).await;
    let store = &ground.store;
    let failed = ExecutionStatus::Failed;
    let done = |row: ExecutionRow, status| ExecutionRow { status, ended: Some(at(5)), ..row };
    let parent = ground.execution();
    let map_run = ground.map_run(&parent);
    let rows = [
        parent.clone(),
        done(other.execution(), failed),
        ExecutionRow { workflow: ResourceId(2), ..ground.execution() },
        done(ground.child(&map_run, 0), ExecutionStatus::Succeeded),
        done(ground.child(&map_run, 1), failed),
        done(ground.execution(), ExecutionStatus::Succeeded),
    ];
    let mut batch = Batch::new();
    for row in &rows {
        batch.start_execution(row.clone());
    }
    batch.start_map_run(map_run.clone());
    batch.add_map_page(crate::MapPageRow {
        map_run: map_run.id,
        page: 0,
        first_index: 0,
        count: 2,
        item_count: 2,
        items: Bytes::from_static(b"[1,2]"),
        next_token: None,
    });
    ground.commit(batch).await;
    let filter = ExecutionFilter::default;
    let cases: Vec<(ExecutionFilter, &[usize])> = vec![
        (filter(), &[5, 2, 1, 0]),
        (ExecutionFilter { workflow: Some(WORKFLOW), ..filter() }, &[5, 1, 0]),
        (ExecutionFilter { run: Some(other.run), ..filter() }, &[1]),
        (ExecutionFilter { status: Some(failed), ..filter() }, &[1]),
        (ExecutionFilter { status: Some(ExecutionStatus::Running), ..filter() }, &[2, 0]),
        (
            ExecutionFilter {
                workflow: Some(WORKFLOW),
                status: Some(ExecutionStatus::Succeeded),
                ..filter()
            },
            &[5],
        ),
        (ExecutionFilter { map_run: Some(map_run.id), ..filter() }, &[4, 3]),
        (ExecutionFilter { map_run: Some(map_run.id), status: Some(failed), ..filter() }, &[4]),
    ];
    for (filter, found) in cases {
        let expected: Vec<_> = found.iter().map(|&index| rows[index].clone()).collect();
        assert_eq!(store.executions(filter, None, 9).await.unwrap(), expected, "{filter:?}");
        let page = store.executions(filter, Some(rows[5].id), 1).await.unwrap();
        let rest: Vec<_> = expected.into_iter().filter(|row| row.id < rows[5].id).collect();
        assert_eq!(page, rest[..rest.len().min(1)], "{filter:?}");
    }
    ground.sound().await;
}

pub async fn executions_are_parked_and_woken(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let none = ExecutionId(0);
    let rows: Vec<_> = (0..4).map(|_| ground.execution()).collect();
    let mut batch = Batch::new();
    for row in &rows {
        batch.start_execution(row.clone());
    }
    ground.commit(batch).await;
    assert_eq!(store.active_executions(none, 9).await.unwrap(), rows);

    let mut batch = Batch::new();
    batch.park_execution(rows[0].id, Some(at(200)));
    batch.park_execution(rows[1].id, Some(at(100)));
    batch.park_execution(rows[2].id, None);
    ground.commit(batch).await;
    assert_eq!(store.active_executions(none, 9).await.unwrap(), rows[3..]);
    let parked = ExecutionRow { idle: true, wake: Some(at(200)), ..rows[0].clone() };
    assert_eq!(store.execution(rows[0].id).await.unwrap(), Some(parked));
    let (late, soon) = ((rows[0].id, at(200)), (rows[1].id, at(100)));
    assert_eq!(store.due_executions(at(99), 9).await.unwrap(), []);
    assert_eq!(store.due_executions(at(100), 9).await.unwrap(), [soon]);
    assert_eq!(store.due_executions(Timestamp::MAX, 9).await.unwrap(), [soon, late]);
    assert_eq!(store.due_executions(Timestamp::MAX, 1).await.unwrap(), [soon]);
    ground.sound().await;

    let mut batch = Batch::new();
    batch.wake_execution(rows[0].id);
    batch.end_execution(&rows[1], ended(ExecutionStatus::Aborted, 70));
    ground.commit(batch).await;
    assert_eq!(store.due_executions(Timestamp::MAX, 9).await.unwrap(), []);
    let active = store.active_executions(none, 9).await.unwrap();
    assert_eq!(active, [rows[0].clone(), rows[3].clone()]);
    assert_eq!(store.active_executions(rows[0].id, 9).await.unwrap(), rows[3..]);
    assert_eq!(store.active_executions(none, 1).await.unwrap(), rows[..1]);

    let mut batch = Batch::new();
    batch.park_execution(rows[1].id, None);
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
    ground.sound().await;
}

pub async fn standard_names_are_taken_once(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let named = |kind| ExecutionRow { name: "nightly".into(), kind, ..ground.execution() };
    let start = |row: &ExecutionRow| {
        let mut batch = Batch::new();
        batch.start_execution(row.clone());
        batch
    };
    let first = named(ExecutionKind::Standard);
    ground.commit(start(&first)).await;
    assert_eq!(store.execution_by_name(WORKFLOW, "nightly").await.unwrap(), Some(first.clone()));
    let taken = StoreError::Conflict {
        scope: "execution".into(),
        key: "nightly".into(),
        value: first.id.to_string(),
    };
    assert_eq!(ground.refused(start(&named(ExecutionKind::Standard))).await, taken);

    let elsewhere = ExecutionRow { workflow: ResourceId(4), ..named(ExecutionKind::Standard) };
    ground.commit(start(&elsewhere)).await;
    let express: Vec<_> = (0..2)
        .map(|_| ExecutionRow { workflow: ResourceId(5), ..named(ExecutionKind::Express) })
        .collect();
    for row in &express {
        ground.commit(start(row)).await;
    }
    let newest = store.execution_by_name(ResourceId(5), "nightly").await.unwrap();
    assert_eq!(newest.as_ref(), Some(&express[1]));
    assert_eq!(store.execution_by_name(WORKFLOW, "night").await.unwrap(), None);
    ground.sound().await;
}

fn entries(execution: ExecutionId, first: u64, count: u32) -> JournalRow {
    let entries = Bytes::from(format!("{first}+{count}"));
    JournalRow { execution, first, count, entries }
}

pub async fn journals_are_read_from_anywhere(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (one, two) = (ground.execution(), ground.execution());
    let rows = [entries(one.id, 0, 1), entries(one.id, 1, 3), entries(one.id, 4, 1)];
    let mut batch = Batch::new();
    batch.start_execution(one.clone());
    batch.start_execution(two.clone());
    batch.append_journal(rows[0].clone());
    batch.append_journal(entries(two.id, 0, 2));
    batch.append_journal(rows[1].clone());
    ground.commit(batch).await;
    let mut batch = Batch::new();
    batch.append_journal(rows[2].clone());
    ground.commit(batch).await;
    for (from, found) in [(0, &rows[..]), (1, &rows[1..]), (3, &rows[1..]), (4, &rows[2..])] {
        assert_eq!(store.journal(one.id, from).await.unwrap(), found, "from {from}");
    }
    assert_eq!(store.journal(one.id, 5).await.unwrap(), []);
    assert_eq!(store.journal(ExecutionId(1), 0).await.unwrap(), []);

    // Two owners cannot both write an entry.
    let mut batch = Batch::new();
    batch.append_journal(entries(one.id, 4, 1));
    assert!(matches!(ground.refused(batch).await, StoreError::Conflict { .. }));
    ground.sound().await;
}

pub async fn many_executions_begin_in_one_batch(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let started = |count: u16| -> Vec<ExecutionRow> {
        let row = |number: u16| ExecutionRow {
            name: format!("name {number}"),
            hops: number,
            started: at(i64::from(number)),
            ..ground.execution()
        };
        (0..count).map(row).collect()
    };
    let batch_of = |rows: &[ExecutionRow]| {
        let mut batch = Batch::new();
        for row in rows {
            batch.start_execution(row.clone());
            batch.append_journal(entries(row.id, 0, u32::from(row.hops) + 1));
        }
        batch
    };
    // More than any driver puts together, and not a multiple of it.
    let rows = started(101);
    ground.commit(batch_of(&rows)).await;
    for row in &rows {
        assert_eq!(store.execution(row.id).await.unwrap().as_ref(), Some(row));
        let journal = store.journal(row.id, 0).await.unwrap();
        assert_eq!(journal, [entries(row.id, 0, u32::from(row.hops) + 1)]);
    }
    ground.sound().await;

    // One among many that is taken is named, and nothing of its batch stands.
    let mut again = started(50);
    for (number, row) in again.iter_mut().enumerate() {
        row.name = format!("other {number}");
    }
    again[20].name = rows[7].name.clone();
    let taken = StoreError::Conflict {
        scope: "execution".into(),
        key: rows[7].name.clone(),
        value: rows[7].id.to_string(),
    };
    assert_eq!(ground.refused(batch_of(&again)).await, taken);
    for row in &again {
        assert_eq!(store.execution(row.id).await.unwrap(), None);
        assert_eq!(store.journal(row.id, 0).await.unwrap(), []);
    }
    ground.sound().await;
}

pub async fn snapshots_are_replaced(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let row = ground.execution();
    let snapshot = |inputs, value: &'static [u8]| SnapshotRow {
        execution: row.id,
        inputs,
        value: Bytes::from_static(value),
    };
    let mut batch = Batch::new();
    batch.start_execution(row.clone());
    batch.append_journal(entries(row.id, 0, 5));
    batch.put_snapshot(snapshot(2, b"two"));
    ground.commit(batch).await;
    assert_eq!(store.snapshot(row.id).await.unwrap(), Some(snapshot(2, b"two")));
    let mut batch = Batch::new();
    batch.put_snapshot(snapshot(5, b"five"));
    ground.commit(batch).await;
    assert_eq!(store.snapshot(row.id).await.unwrap(), Some(snapshot(5, b"five")));
    let mut batch = Batch::new();
    batch.delete_snapshot(row.id);
    ground.commit(batch.clone()).await;
    assert_eq!(store.snapshot(row.id).await.unwrap(), None);
    // None need be there: an execution that ends does not know whether one was written.
    ground.commit(batch).await;
    ground.sound().await;
}
