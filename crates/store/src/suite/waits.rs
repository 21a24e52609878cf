//! What open tasks wait for.

use bytes::Bytes;
use stepbus_model::{ExecutionId, ResourceId};

use super::Driver;
use super::ground::{Ground, ended};
use crate::{
    Batch, ExecutionRow, ExecutionStatus, StoreError, SyncChildRow, SyncState, TaskRef,
    TaskTokenRow,
};

const ACTIVITY: ResourceId = ResourceId(900_010);

async fn running(ground: &Ground, count: usize) -> Vec<ExecutionRow> {
    let rows: Vec<_> = (0..count).map(|_| ground.execution()).collect();
    let mut batch = Batch::new();
    for row in &rows {
        batch.start_execution(row.clone());
    }
    ground.commit(batch).await;
    rows
}

fn task(row: &ExecutionRow, visit: u64) -> TaskRef {
    TaskRef { execution: row.id, visit, attempt: 0 }
}

pub async fn task_tokens_are_good_until_their_task_is_closed(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let row = running(&ground, 1).await.remove(0);
    let token = |text: &str, visit, activity: Option<ResourceId>| TaskTokenRow {
        id: store.next_id(),
        token: format!("{text}-{}", row.id),
        task: task(&row, visit),
        activity,
        input: activity.map(|_| Bytes::from_static(b"{}")),
        taken: false,
    };
    let plain = token("plain", 1, None);
    let (first, second) = (token("a", 2, Some(ACTIVITY)), token("b", 3, Some(ACTIVITY)));
    let mut batch = Batch::new();
    for each in [&plain, &first, &second] {
        batch.put_task_token(each.clone());
    }
    // One that the task has already.
    batch.put_task_token(TaskTokenRow { id: store.next_id(), ..first.clone() });
    ground.commit(batch).await;
    assert_eq!(store.task_token(&plain.token).await.unwrap(), Some(plain.clone()));
    assert_eq!(store.task_token("none").await.unwrap(), None);
    let waiting = async |after| store.waiting_tasks(ACTIVITY, after, 9).await.unwrap();
    assert_eq!(waiting(0).await, [first.clone(), second.clone()]);
    assert_eq!(waiting(first.id).await, std::slice::from_ref(&second));

    let mut take = Batch::new();
    take.take_task(first.id);
    ground.commit(take.clone()).await;
    assert_eq!(waiting(0).await, std::slice::from_ref(&second));
    assert!(store.task_token(&first.token).await.unwrap().unwrap().taken);
    assert!(matches!(ground.refused(take).await, StoreError::Gone(_)), "one worker has it");
    ground.sound().await;

    let mut close = Batch::new();
    close.close_task(plain.task);
    close.close_task(task(&row, 77));
    ground.commit(close).await;
    assert_eq!(store.task_token(&plain.token).await.unwrap(), None);
    let mut end = Batch::new();
    end.end_execution(&row, ended(ExecutionStatus::Aborted, 9));
    end.close_tasks(row.id);
    ground.commit(end).await;
    assert_eq!(store.task_token(&first.token).await.unwrap(), None);
    assert_eq!(waiting(0).await, []);
    ground.sound().await;
}

pub async fn children_are_awaited_told_of_and_stopped(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let rows = running(&ground, 5).await;
    let [parent, done, dropped, left, stranger] = rows.as_slice() else { unreachable!() };
    let mut batch = Batch::new();
    for (child, visit) in [(done, 1), (dropped, 2), (left, 3)] {
        batch.await_child(child.id, task(parent, visit), visit == 1);
    }
    ground.commit(batch).await;
    let state = async |row: &ExecutionRow| store.sync_child(row.id).await.unwrap();
    let unsettled = async || store.unsettled_children(ExecutionId(0), 9).await.unwrap();
    assert_eq!(store.sync_children(parent.id).await.unwrap().len(), 3);
    assert_eq!((state(stranger).await, unsettled().await), (None, vec![]));

    let mut batch = Batch::new();
    for row in [done, stranger] {
        batch.end_execution(row, ended(ExecutionStatus::Succeeded, 5));
        batch.child_ended(row.id);
    }
    batch.close_task(task(parent, 2));
    ground.commit(batch).await;
    let row = |child: &ExecutionRow, visit, state| SyncChildRow {
        child: child.id,
        parent: task(parent, visit),
        json: visit == 1,
        state,
    };
    let (told, stopped) = (row(done, 1, SyncState::Ended), row(dropped, 2, SyncState::Unwanted));
    assert_eq!(unsettled().await, [told, stopped]);
    assert_eq!(store.unsettled_children(done.id, 9).await.unwrap(), [stopped]);
    ground.sound().await;

    // The parent has heard of the one, the other is stopped, and then the parent ends.
    let mut batch = Batch::new();
    batch.close_task(task(parent, 1));
    batch.end_execution(dropped, ended(ExecutionStatus::Aborted, 6));
    batch.child_ended(dropped.id);
    batch.end_execution(parent, ended(ExecutionStatus::Failed, 6));
    batch.close_tasks(parent.id);
    ground.commit(batch).await;
    assert_eq!((state(done).await, state(dropped).await), (None, None));
    assert_eq!(unsettled().await, [row(left, 3, SyncState::Unwanted)]);
    ground.sound().await;
}
