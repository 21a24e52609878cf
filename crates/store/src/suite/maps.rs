//! Map runs, their pages and children.

use bytes::Bytes;
use stepbus_model::MapRunId;

use super::Driver;
use super::ground::{Ground, WORKFLOW, after, at, ended};
use crate::{
    Batch, ExecutionRow, ExecutionStatus, ItemCounts, MapPageRow, MapRunEnd, MapRunRow,
    MapRunStatus, StoreError, WorkflowTotals,
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
    let mut counts = ItemCounts { total: 5, ..ItemCounts::default() };
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
    batch.start_execution(short);
    ground.commit(batch).await;
    counts.failed = 1;
    assert_eq!(store.map_run(map_run.id).await.unwrap(), Some(counted(counts)));
    assert_eq!(store.running_map_runs(MapRunId(0), 9).await.unwrap(), [counted(counts)]);
    ground.sound().await;

    let mut batch = Batch::new();
    batch.end_execution(&runs_on, ended(ExecutionStatus::Succeeded, 10));
    batch.count_items(map_run.id, ItemCounts { aborted: 3, ..ItemCounts::default() });
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
    let over = MapRunRow {
        status: end.status,
        ended: Some(end.at),
        error: end.error.clone(),
        error_cause: end.error_cause.clone(),
        ..counted(ItemCounts { succeeded: 1, aborted: 3, ..counts })
    };
    assert_eq!(over.counts.ended(), 5);
    assert_eq!(store.map_run(map_run.id).await.unwrap(), Some(over.clone()));
    assert_eq!(store.map_runs_of_run(ground.run).await.unwrap(), [over]);
    assert_eq!(store.running_map_runs(MapRunId(0), 9).await.unwrap(), []);
    let mut batch = Batch::new();
    batch.end_map_run(end);
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
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
        [4, 0, 3].into_iter().map(|index| ground.child(&map_run, index)).collect();
    let mut batch = Batch::new();
    for child in &children {
        batch.start_execution(child.clone());
    }
    batch.start_execution(ground.child(&other, 1));
    let end = ended(ExecutionStatus::Succeeded, 9);
    batch.end_execution(&children[0], end.clone());
    ground.commit(batch).await;
    children[0] = after(&children[0], &end);
    children.sort_by_key(|child| child.item.map(|(_, index)| index));
    assert_eq!(store.map_children(map_run.id, 0, u64::MAX).await.unwrap(), children);
    assert_eq!(store.map_children(map_run.id, 1, 4).await.unwrap(), children[1..2]);
    assert_eq!(store.map_children(map_run.id, 1, 3).await.unwrap(), []);
    let maps = store.running_map_runs(map_run.id, 9).await.unwrap();
    assert_eq!(maps.iter().map(|row| row.id).collect::<Vec<_>>(), [other.id]);
    ground.sound().await;
}
