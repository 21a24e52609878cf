//! Map runs, their pages and children.

use bytes::Bytes;
use stepbus_model::{ExecutionId, MapRunId};

use super::Driver;
use super::ground::{Ground, WORKFLOW, after, at, ended};
use crate::{
    Batch, ExecutionEnd, ExecutionKind, ExecutionRow, ExecutionStatus, JournalRow, MapCounts,
    MapPageRow, MapResultRow, MapRunEnd, MapRunRedrive, MapRunRow, MapRunStatus, MapSettings,
    StoreError, WorkflowTotals,
};

fn page(map_run: &MapRunRow, page: u64, first_index: u64, count: u32) -> MapPageRow {
    MapPageRow {
        map_run: map_run.id,
        page,
        first_index,
        count,
        item_count: count,
        items: Bytes::from_static(b"[1]"),
        next_token: (page == 0).then(|| "more".to_owned()),
    }
}

/// A parent with a map run of two pages, three items and two.
async fn map_of_five(ground: &Ground) -> (ExecutionRow, MapRunRow) {
    let parent = ground.execution();
    let map_run = ground.map_run(&parent);
    let mut batch = Batch::new();
    batch.start_execution(parent.clone());
    batch.start_map_run(map_run.clone());
    batch.add_map_page(page(&map_run, 0, 0, 3));
    batch.add_map_page(page(&map_run, 1, 3, 2));
    ground.commit(batch).await;
    (parent, map_run)
}

pub async fn map_runs_count_their_items(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (parent, map_run) = map_of_five(&ground).await;
    let counted = |counts| MapRunRow { counts, ..map_run.clone() };
    let mut counts = MapCounts::default();
    counts.items.total = 5;
    counts.executions.total = 5;
    assert_eq!(store.map_run(map_run.id).await.unwrap(), Some(counted(counts)));
    assert_eq!(store.map_page(map_run.id, 1).await.unwrap(), Some(page(&map_run, 1, 3, 2)));
    assert_eq!(store.map_page(map_run.id, 2).await.unwrap(), None);
    let mut twice = Batch::new();
    twice.add_map_page(page(&map_run, 1, 3, 2));
    assert!(matches!(ground.refused(twice).await, StoreError::Conflict { .. }));

    let runs_on = ground.child(&map_run, 0);
    let short = ExecutionRow {
        status: ExecutionStatus::Failed,
        ended: Some(at(6)),
        ..ground.child(&map_run, 1)
    };
    let mut batch = Batch::new();
    batch.start_execution(runs_on.clone());
    batch.start_execution(short.clone());
    ground.commit(batch).await;
    for counts in [&mut counts.items, &mut counts.executions] {
        (counts.running, counts.failed) = (1, 1);
        assert_eq!((counts.pending(), counts.ended()), (3, 1));
    }
    assert_eq!(store.map_run(map_run.id).await.unwrap(), Some(counted(counts)));
    assert_eq!(store.running_map_runs(MapRunId(0), 9).await.unwrap(), [counted(counts)]);
    ground.sound().await;

    let unsuccessful = store.unsuccessful_children(map_run.id, ExecutionId(0), 9).await.unwrap();
    assert_eq!(unsuccessful, std::slice::from_ref(&short));
    assert_eq!(store.unsuccessful_children(map_run.id, short.id, 9).await.unwrap(), []);
    let running = store.running_children(map_run.id).await.unwrap();
    assert_eq!(running, std::slice::from_ref(&runs_on));

    let mut batch = Batch::new();
    batch.end_execution(&runs_on, ended(ExecutionStatus::Succeeded, 10));
    batch.count_results_written(map_run.id, 2, 2);
    let end = MapRunEnd {
        id: map_run.id,
        status: MapRunStatus::Failed,
        at: at(11),
        error: Some("States.ExceedToleratedFailureThreshold".into()),
        error_cause: Some("1 of 5".into()),
    };
    batch.end_map_run(end.clone());
    batch.end_execution(&parent, ended(ExecutionStatus::Failed, 12));
    ground.commit(batch).await;
    for counts in [&mut counts.items, &mut counts.executions] {
        (counts.running, counts.succeeded, counts.results_written) = (0, 1, 2);
    }
    let over = MapRunRow {
        status: end.status,
        ended: Some(end.at),
        error: end.error.clone(),
        error_cause: end.error_cause.clone(),
        ..counted(counts)
    };
    assert_eq!(store.map_run(map_run.id).await.unwrap(), Some(over.clone()));
    let of_run = store.map_runs_of_run(ground.run).await.unwrap();
    assert_eq!(of_run, std::slice::from_ref(&over));
    assert_eq!(store.map_runs(None, 9).await.unwrap(), [over]);
    assert_eq!(store.map_runs(Some(map_run.id), 9).await.unwrap(), []);
    assert_eq!(store.running_map_runs(MapRunId(0), 9).await.unwrap(), []);
    // Children count as items, not as executions of the workflow.
    let totals = WorkflowTotals { started: 1, failed: 1, ..WorkflowTotals::default() };
    assert_eq!(store.workflow_totals().await.unwrap(), [(WORKFLOW, totals)]);
    ground.sound().await;
}

pub async fn map_children_are_found_by_index(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (_, map_run) = map_of_five(&ground).await;
    let (_, other) = map_of_five(&ground).await;
    let mut children: Vec<_> =
        [3, 0, 4].into_iter().map(|index| ground.child(&map_run, index)).collect();
    let mut batch = Batch::new();
    for child in &children {
        batch.start_execution(child.clone());
    }
    batch.start_execution(ground.child(&other, 1));
    let output = Some(Bytes::from_static(b"[1,2]"));
    let end = ExecutionEnd { output, ..ended(ExecutionStatus::Succeeded, 9) };
    batch.end_execution(&children[0], end.clone());
    ground.commit(batch).await;
    children[0] = after(&children[0], &end);
    children.sort_by_key(|child| child.item.map(|(_, index)| index));
    assert_eq!(store.map_children(map_run.id, 0, u64::MAX).await.unwrap(), children);
    assert_eq!(store.map_children(map_run.id, 1, 4).await.unwrap(), children[1..2]);
    assert_eq!(store.map_children(map_run.id, 1, 3).await.unwrap(), []);
    let results: Vec<_> = children.into_iter().map(result).collect();
    let told = |from, to, bytes| store.map_results(map_run.id, from, to, bytes);
    assert_eq!(told(0, u64::MAX, usize::MAX).await.unwrap(), results);
    assert_eq!(told(1, 4, usize::MAX).await.unwrap(), results[1..2]);
    assert_eq!(told(0, u64::MAX, 6).await.unwrap(), results);
    assert_eq!(told(0, u64::MAX, 5).await.unwrap(), results[..2]);
    assert_eq!(told(3, u64::MAX, 0).await.unwrap(), results[1..2]);
    let maps = store.running_map_runs(map_run.id, 9).await.unwrap();
    assert_eq!(maps.iter().map(|row| row.id).collect::<Vec<_>>(), [other.id]);
    ground.sound().await;
}

fn result(child: ExecutionRow) -> MapResultRow {
    MapResultRow {
        index: child.item.unwrap().1,
        items: child.items,
        name: child.name,
        redrives: child.redrives,
        status: child.status,
        started: child.started,
        ended: child.ended,
        output: child.output,
        error: child.error,
        error_cause: child.error_cause,
    }
}

pub async fn a_batch_counts_as_its_items(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let parent = ground.execution();
    let map_run = ground.map_run(&parent);
    let mut batch = Batch::new();
    batch.start_execution(parent);
    batch.start_map_run(map_run.clone());
    batch.add_map_page(MapPageRow { item_count: 7, ..page(&map_run, 0, 0, 2) });
    let children = [(0, 4), (1, 3)]
        .map(|(index, items)| ExecutionRow { items, ..ground.child(&map_run, index) });
    for child in &children {
        batch.start_execution(child.clone());
    }
    batch.end_execution(&children[0], ended(ExecutionStatus::TimedOut, 6));
    ground.commit(batch).await;
    let counts = store.map_run(map_run.id).await.unwrap().unwrap().counts;
    assert_eq!((counts.items.total, counts.items.running, counts.items.timed_out), (7, 3, 4));
    let children = counts.executions;
    assert_eq!((children.total, children.running, children.timed_out), (2, 1, 1));
    ground.sound().await;
}

pub async fn a_running_map_run_takes_other_settings(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (_, map_run) = map_of_five(&ground).await;
    let settings = MapSettings {
        max_concurrency: 7,
        tolerated_failure_count: Some(3),
        tolerated_failure_percentage: Some(2.5),
    };
    let mut batch = Batch::new();
    batch.update_map_run(map_run.id, settings);
    ground.commit(batch).await;
    assert_eq!(store.map_run(map_run.id).await.unwrap().unwrap().settings, settings);
    let mut batch = Batch::new();
    let end = MapRunEnd {
        id: map_run.id,
        status: MapRunStatus::Succeeded,
        at: at(11),
        error: None,
        error_cause: None,
    };
    batch.end_map_run(end.clone());
    ground.commit(batch).await;
    let mut batch = Batch::new();
    batch.update_map_run(map_run.id, MapSettings::default());
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
    let mut batch = Batch::new();
    batch.end_map_run(end);
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
    assert_eq!(store.map_run(map_run.id).await.unwrap().unwrap().settings, settings);
}

/// A map run that failed, with its execution and three children.
async fn failed_map(ground: &Ground) -> (ExecutionRow, MapRunRow, [ExecutionRow; 3]) {
    let (parent, map_run) = map_of_five(ground).await;
    let children = [0, 1, 2].map(|index| ExecutionRow {
        status: ExecutionStatus::Failed,
        ended: Some(at(6)),
        error: Some("E".into()),
        ..ground.child(&map_run, index)
    });
    let mut batch = Batch::new();
    for child in &children {
        batch.start_execution(child.clone());
    }
    batch.append_journal(JournalRow {
        execution: children[1].id,
        first: 0,
        count: 1,
        entries: Bytes::from_static(b"[]"),
    });
    batch.end_map_run(MapRunEnd {
        id: map_run.id,
        status: MapRunStatus::Failed,
        at: at(7),
        error: None,
        error_cause: None,
    });
    let failure = ended(ExecutionStatus::Failed, 8);
    batch.end_execution(&parent, failure.clone());
    ground.commit(batch).await;
    (after(&parent, &failure), map_run, children)
}

pub async fn children_await_a_redrive(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (_, map_run, children) = failed_map(&ground).await;
    let mut batch = Batch::new();
    for child in &children {
        batch.await_redrive(child);
    }
    ground.commit(batch).await;
    let counts = store.map_run(map_run.id).await.unwrap().unwrap().counts;
    assert_eq!((counts.items.failed, counts.items.pending_redrive), (0, 3));
    assert_eq!((counts.items.pending(), counts.executions.pending_redrive), (2, 3));
    ground.sound().await;
    let mut twice = Batch::new();
    twice.await_redrive(&children[0]);
    assert!(matches!(ground.refused(twice).await, StoreError::Gone(_)));
}

pub async fn what_failed_runs_again(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let (parent, map_run, children) = failed_map(&ground).await;
    let mut batch = Batch::new();
    for child in &children {
        batch.await_redrive(child);
    }
    ground.commit(batch).await;
    let awaiting = children.clone().map(|row| ExecutionRow { awaits_redrive: true, ..row });
    let (anew, again) = (Some(at(20)), 1);
    let restarted = ExecutionRow {
        status: ExecutionStatus::Succeeded,
        started: at(20),
        ended: Some(at(21)),
        error: None,
        redrives: again,
        redriven: anew,
        ..children[1].clone()
    };
    let redrive = MapRunRedrive {
        id: map_run.id,
        visit: 9,
        at: at(20),
        only_marked: true,
        definition: Some(5),
        from_state: Some("Get".into()),
    };
    let mut batch = Batch::new();
    batch.redrive_execution(&parent, at(20));
    batch.redrive_map_run(redrive.clone(), ground.run);
    batch.redrive_execution(&awaiting[0], at(20));
    batch.restart_execution(&awaiting[1], restarted.clone());
    ground.commit(batch).await;
    let row = store.map_run(map_run.id).await.unwrap().unwrap();
    assert_eq!((row.status, row.visit, row.redrives), (MapRunStatus::Running, 9, 1));
    assert_eq!((row.redriven, row.only_marked, row.definition), (anew, true, Some(5)));
    assert_eq!(row.from_state.as_deref(), Some("Get"));
    let counts = row.counts.items;
    assert_eq!((counts.running, counts.succeeded, counts.pending_redrive), (1, 1, 1));
    let runs = ExecutionRow {
        status: ExecutionStatus::Running,
        ended: None,
        error: None,
        redrives: again,
        redriven: anew,
        ..children[0].clone()
    };
    assert_eq!(store.execution(children[0].id).await.unwrap(), Some(runs));
    assert_eq!(store.execution(children[1].id).await.unwrap(), Some(restarted));
    assert_eq!(store.journal(children[1].id, 0).await.unwrap(), []);
    let totals = WorkflowTotals { started: 1, ..WorkflowTotals::default() };
    assert_eq!(store.workflow_totals().await.unwrap(), [(WORKFLOW, totals)]);
    assert_eq!(store.run(ground.run).await.unwrap().unwrap().open, 2);
    ground.sound().await;
    let mut batch = Batch::new();
    batch.redrive_map_run(redrive, ground.run);
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
}

pub async fn an_execution_begins_anew(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let old = ground.execution();
    let mut batch = Batch::new();
    batch.start_execution(old.clone());
    batch.append_journal(JournalRow {
        execution: old.id,
        first: 0,
        count: 1,
        entries: Bytes::from_static(b"[1]"),
    });
    batch.end_execution(&old, ended(ExecutionStatus::Failed, 6));
    ground.commit(batch).await;
    let old = store.execution(old.id).await.unwrap().unwrap();
    let anew = ExecutionRow {
        kind: ExecutionKind::Express,
        status: ExecutionStatus::Running,
        ended: None,
        error: None,
        error_cause: None,
        redrives: 1,
        redriven: Some(at(8)),
        ..old.clone()
    };
    let mut batch = Batch::new();
    batch.restart_execution(&old, anew.clone());
    ground.commit(batch).await;
    assert_eq!(store.execution(old.id).await.unwrap().as_ref(), Some(&anew));
    assert_eq!(store.journal(old.id, 0).await.unwrap(), []);
    let totals = WorkflowTotals { started: 1, ..WorkflowTotals::default() };
    assert_eq!(store.workflow_totals().await.unwrap(), [(WORKFLOW, totals)]);
    assert_eq!(store.run(ground.run).await.unwrap().unwrap().open, 1);
    ground.sound().await;
}
