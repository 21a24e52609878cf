//! What a commit promises.

use futures_util::future::join_all;
use stepbus_model::{DeliveryId, ExecutionId, Outcome, RunId, Totals};

use super::Driver;
use super::ground::{Ground, SUBSCRIPTION, at, ended, finish};
use crate::{AuditRow, Batch, ClaimRow, DeliveryRow, ExecutionStatus, RunRow, StoreError};

pub async fn runs_are_open_while_something_is(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let second = Ground::on(ground.store.clone()).await;
    let store = &ground.store;
    let row = |ground: &Ground, open, last| RunRow { open, last: at(last), ..ground.run_row() };
    assert_eq!(store.run(ground.run).await.unwrap(), Some(row(&ground, 0, 1)));

    let (delivery, execution) = (ground.delivery(), ground.execution());
    let mut batch = Batch::new();
    batch.add_delivery(delivery.clone());
    batch.start_execution(execution.clone());
    ground.commit(batch).await;
    assert_eq!(store.runs(true, None, 9).await.unwrap(), [row(&ground, 2, 3)]);
    let all = [row(&second, 0, 1), row(&ground, 2, 3)];
    assert_eq!(store.runs(false, None, 9).await.unwrap(), all);
    assert_eq!(store.runs(false, None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.runs(false, Some(second.run), 9).await.unwrap(), all[1..]);

    let mut batch = Batch::new();
    batch.end_execution(&execution, ended(ExecutionStatus::Succeeded, 40));
    batch.finish_delivery(&delivery, finish(Outcome::Delivered));
    ground.commit(batch).await;
    assert_eq!(store.run(ground.run).await.unwrap(), Some(row(&ground, 0, 40)));
    assert_eq!(store.runs(true, None, 9).await.unwrap(), []);
    assert_eq!(store.run(RunId(1 << 40)).await.unwrap(), None);
    ground.sound().await;
}

pub async fn a_batch_stands_or_falls_whole(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let delivery = ground.delivery();
    let mut batch = Batch::new();
    batch.add_delivery(delivery.clone());
    batch.audit(AuditRow {
        at: at(1),
        who: "a".into(),
        action: "b".into(),
        subject: "c".into(),
        detail: "d".into(),
    });
    batch.start_execution(ground.execution());
    batch.finish_delivery(&ground.delivery(), finish(Outcome::Delivered));
    assert!(matches!(ground.refused(batch).await, StoreError::Gone(_)));
    assert_eq!(store.delivery(delivery.id).await.unwrap(), None);
    assert_eq!(store.audit_rows(None, 9).await.unwrap(), []);
    assert_eq!(store.active_executions(ExecutionId(0), 9).await.unwrap(), []);
    assert_eq!(store.run_totals(ground.run).await.unwrap(), []);
    assert_eq!(store.subscription_totals().await.unwrap(), []);
    assert_eq!(store.workflow_totals().await.unwrap(), []);
    assert_eq!(store.run(ground.run).await.unwrap().unwrap().open, 0);
    ground.commit(Batch::new()).await;
    ground.sound().await;
}

type Add<'a> = Box<dyn Fn(&mut Batch) + Send + Sync + 'a>;

pub async fn what_is_gone_is_told(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let (delivery, execution) = (ground.delivery(), ground.execution());
    let map_run = ground.map_run(&execution);
    let changes: Vec<Add<'_>> = vec![
        Box::new(|batch| batch.finish_delivery(&delivery, finish(Outcome::Stale))),
        Box::new(|batch| {
            batch.retry_delivery(crate::Retry {
                id: delivery.id,
                run: delivery.run,
                attempts: 1,
                first_tried: at(1),
                due: at(2),
                failure: String::new(),
            });
        }),
        Box::new(|batch| {
            batch.redrive(stepbus_model::MessageId(5), delivery.clone(), at(1));
        }),
        Box::new(|batch| batch.delete_message(stepbus_model::MessageId(5))),
        Box::new(|batch| batch.park_execution(execution.id, None)),
        Box::new(|batch| batch.wake_execution(execution.id)),
        Box::new(|batch| batch.set_recoveries(execution.id, 1)),
        Box::new(|batch| batch.end_execution(&execution, ended(ExecutionStatus::Failed, 1))),
        Box::new(|batch| batch.count_results_written(map_run.id, 1, 1)),
        // A run that nobody started.
        Box::new(|batch| {
            batch.add_delivery(DeliveryRow { run: RunId(1 << 40), ..delivery.clone() });
        }),
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut batch = Batch::new();
        change(&mut batch);
        let error = ground.refused(batch).await;
        assert!(matches!(error, StoreError::Gone(_)), "change {number}: {error}");
    }
    ground.sound().await;
}

pub async fn a_failed_batch_takes_no_other_with_it(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let store = &ground.store;
    let mut batches = Vec::new();
    let mut rows = Vec::new();
    for number in 0..60 {
        let row = ground.delivery();
        let mut batch = Batch::new();
        batch.add_delivery(row.clone());
        match number % 6 {
            1 => batch.finish_delivery(&ground.delivery(), finish(Outcome::Delivered)),
            3 => batch.claim(
                ClaimRow {
                    scope: "s".into(),
                    key: "k".into(),
                    value: row.id.to_string(),
                    expires: at(100),
                },
                at(0),
            ),
            _ => {}
        }
        batches.push(batch);
        rows.push(row);
    }
    let answers = join_all(batches.into_iter().map(|batch| store.commit(batch))).await;
    let holder = store.claim("s", "k").await.unwrap().expect("one of them took it").value;
    let mut stand = 0;
    for (number, (row, answer)) in rows.iter().zip(&answers).enumerate() {
        match number % 6 {
            1 => assert!(matches!(answer, Err(StoreError::Gone(_))), "{number}: {answer:?}"),
            3 if row.id.to_string() != holder => {
                let value = holder.clone();
                let taken = StoreError::Conflict { scope: "s".into(), key: "k".into(), value };
                assert_eq!(answer, &Err(taken), "{number}");
            }
            _ => assert_eq!(answer, &Ok(()), "{number}"),
        }
        let found = store.delivery(row.id).await.unwrap();
        assert_eq!(found.is_some(), answer.is_ok(), "{number}");
        stand += i64::from(answer.is_ok());
    }
    assert_eq!(stand, 41);
    let totals = Totals { matched: stand, pending: stand, ..Totals::default() };
    assert_eq!(store.run_totals(ground.run).await.unwrap(), [(SUBSCRIPTION, totals)]);
    let stats = store.stats();
    assert!(stats.commits > 0 && stats.batches >= 42, "{stats:?}");
    ground.sound().await;
}

pub async fn appended_batches_keep_their_books(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let mut all = Batch::new();
    for number in 0..3 {
        let row = ground.delivery();
        let mut batch = Batch::new();
        batch.add_delivery(row.clone());
        batch.start_execution(ground.execution());
        if number == 1 {
            batch.finish_delivery(&row, finish(Outcome::Unchanged));
        }
        all.append(batch);
    }
    ground.commit(all).await;
    let totals = Totals { matched: 3, unchanged: 1, pending: 2, ..Totals::default() };
    let found = ground.store.run_totals(ground.run).await.unwrap();
    assert_eq!(found, [(SUBSCRIPTION, totals)]);
    assert_eq!(ground.store.run(ground.run).await.unwrap().unwrap().open, 5);
    ground.sound().await;
}

pub async fn an_empty_batch_is_a_barrier(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let rows: Vec<_> = (0..50).map(|_| ground.delivery()).collect();
    let mut commits = Vec::new();
    for row in &rows {
        let mut batch = Batch::new();
        batch.add_delivery(row.clone());
        commits.push(ground.store.commit(batch));
    }
    // Of all that was handed over, in order, though nobody has waited for it yet.
    ground.commit(Batch::new()).await;
    let found =
        ground.store.ready_deliveries(SUBSCRIPTION, DeliveryId(0), 99, 99).await.unwrap().rows;
    assert_eq!(found, rows);
    for answer in join_all(commits).await {
        answer.unwrap();
    }
    ground.sound().await;
}

pub async fn ids_never_come_twice(driver: &impl Driver) {
    let mut last = 0;
    let mut installation = None;
    for round in 0..4 {
        let store = driver.open().await;
        assert_eq!(*installation.get_or_insert(store.installation()), store.installation());
        // Ids of which no batch was ever committed count as well.
        for _ in 0..300 {
            let id = store.next_id();
            assert!(id > last, "round {round}: {id} after {last}");
            last = id;
        }
        if round % 2 == 0 {
            Ground::on(store).await;
        }
    }
}

pub async fn records_outlive_a_restart(driver: &impl Driver) {
    let ground = Ground::on(driver.open().await).await;
    let row = ground.delivery();
    let mut batch = Batch::new();
    batch.add_delivery(row.clone());
    ground.commit(batch).await;
    let run = ground.run;
    drop(ground);
    let store = driver.open().await;
    assert_eq!(store.delivery(row.id).await.unwrap(), Some(row));
    assert_eq!(store.run(run).await.unwrap().unwrap().open, 1);
    let ready = store.ready_deliveries(SUBSCRIPTION, DeliveryId(0), 9, 99).await.unwrap().rows;
    assert_eq!(ready.len(), 1);
    super::assert_sound(&*store).await;
}
