//! Resources, definitions, keys, claims, the audit log.

use std::time::Duration;

use stepbus_model::ResourceId;

use super::Driver;
use super::ground::at;
use crate::{
    AuditRow, Batch, ClaimRow, DefinitionRow, KeyRow, OperationRow, OperationStatus, PauseRow,
    ResourceKind, ResourceRow, ScheduleRow, StoreError,
};

fn resource(id: u64, version: u32) -> ResourceRow {
    ResourceRow {
        id: ResourceId(id),
        kind: ResourceKind::Bus,
        name: format!("bus-{id}"),
        version,
        body: format!("{{\"version\":{version}}}"),
        at: at(i64::from(version)),
        retired: false,
    }
}

pub async fn resources_show_their_newest_version(driver: &impl Driver) {
    let store = driver.open().await;
    let mut batch = Batch::new();
    for row in [resource(11, 1), resource(10, 1), resource(10, 2)] {
        batch.put_resource(row);
    }
    store.commit(batch).await.unwrap();
    assert_eq!(store.resources().await.unwrap(), [resource(10, 2), resource(11, 1)]);

    let retired = ResourceRow { retired: true, ..resource(11, 1) };
    let mut batch = Batch::new();
    batch.put_resource(retired.clone());
    store.commit(batch).await.unwrap();
    assert_eq!(store.resources().await.unwrap(), [resource(10, 2), retired]);

    let old = store.resource_version(ResourceId(10), 1).await.unwrap();
    assert_eq!(old, Some(resource(10, 1)));
    assert_eq!(store.resource_version(ResourceId(10), 3).await.unwrap(), None);
}

pub async fn definitions_are_found_by_id_and_hash(driver: &impl Driver) {
    let store = driver.open().await;
    let row = DefinitionRow { id: 5, hash: "abc".into(), text: "{\"StartAt\":\"A\"}".into() };
    let mut batch = Batch::new();
    batch.put_definition(row.clone());
    store.commit(batch).await.unwrap();
    assert_eq!(store.definition(5).await.unwrap(), Some(row.clone()));
    assert_eq!(store.definition_by_hash("abc").await.unwrap(), Some(row.clone()));
    assert_eq!(store.definition(6).await.unwrap(), None);
    assert_eq!(store.definition_by_hash("ab").await.unwrap(), None);

    let mut again = Batch::new();
    again.put_definition(row.clone());
    store.commit(again).await.unwrap();
    let mut twin = Batch::new();
    twin.put_definition(DefinitionRow { id: 6, ..row });
    assert!(matches!(store.commit(twin).await, Err(StoreError::Conflict { .. })));
}

pub async fn keys_are_replaced(driver: &impl Driver) {
    let store = driver.open().await;
    let row = |scope, key: &str, hash: Option<&str>| KeyRow {
        scope: ResourceId(scope),
        key: key.into(),
        hash: hash.map(str::to_owned),
        version: None,
        remote_id: Some(format!("remote-{key}")),
    };
    let rows = [row(1, "ä", Some("h")), row(2, "ä", None), row(1, "", Some("x"))];
    let mut batch = Batch::new();
    for row in &rows {
        batch.put_key(row.clone());
    }
    store.commit(batch).await.unwrap();
    for row in &rows {
        assert_eq!(store.key(row.scope, &row.key).await.unwrap().as_ref(), Some(row));
    }
    let newer = KeyRow { hash: None, version: Some("7".into()), ..rows[0].clone() };
    let mut batch = Batch::new();
    batch.put_key(newer.clone());
    store.commit(batch).await.unwrap();
    assert_eq!(store.key(ResourceId(1), "ä").await.unwrap(), Some(newer));
    assert_eq!(store.key(ResourceId(2), "ä").await.unwrap().as_ref(), Some(&rows[1]));
    assert_eq!(store.key(ResourceId(3), "ä").await.unwrap(), None);
}

pub async fn claims_hold_until_they_expire(driver: &impl Driver) {
    let store = driver.open().await;
    let claim = |key: &str, value: &str, expires| ClaimRow {
        scope: "sync".into(),
        key: key.into(),
        value: value.into(),
        expires: at(expires),
    };
    let take = |row: &ClaimRow, now| {
        let mut batch = Batch::acceptance();
        batch.claim(row.clone(), at(now));
        store.commit(batch)
    };
    let first = claim("k", "run-1", 100);
    take(&first, 0).await.unwrap();
    assert_eq!(store.claim("sync", "k").await.unwrap(), Some(first.clone()));
    assert_eq!(store.claim("sync", "other").await.unwrap(), None);

    let second = claim("k", "run-2", 300);
    let taken =
        StoreError::Conflict { scope: "sync".into(), key: "k".into(), value: "run-1".into() };
    assert_eq!(take(&second, 99).await, Err(taken));
    take(&claim("other", "run-2", 300), 99).await.unwrap();
    take(&second, 100).await.unwrap();
    assert_eq!(store.claim("sync", "k").await.unwrap(), Some(second));

    let mut twice = Batch::new();
    twice.claim(claim("t", "a", 500), at(200));
    twice.claim(claim("t", "b", 500), at(200));
    assert!(matches!(store.commit(twice).await, Err(StoreError::Conflict { .. })));
    assert_eq!(store.claim("sync", "t").await.unwrap(), None);

    // However many expire, they do not pile up.
    for number in 0..20 {
        let now = at(1000).plus(Duration::from_millis(number * 10));
        let mut batch = Batch::new();
        let key = format!("n{number}");
        let row = ClaimRow { expires: now.plus(Duration::from_millis(5)), ..claim(&key, "v", 0) };
        batch.claim(row, now);
        store.commit(batch).await.unwrap();
    }
    assert_eq!(store.claim("sync", "n5").await.unwrap(), None);
}

pub async fn audit_rows_come_newest_first(driver: &impl Driver) {
    let store = driver.open().await;
    let row = |number: i64| AuditRow {
        at: at(number),
        who: "operator".into(),
        action: "redrive".into(),
        subject: format!("msg-{number}"),
        detail: "{}".into(),
    };
    for number in 0..5 {
        let mut batch = Batch::new();
        batch.audit(row(number));
        store.commit(batch).await.unwrap();
    }
    let newest = store.audit_rows(None, 2).await.unwrap();
    assert_eq!(newest.iter().map(|(_, row)| row.clone()).collect::<Vec<_>>(), [row(4), row(3)]);
    let older = store.audit_rows(Some(newest[1].0), 10).await.unwrap();
    let older: Vec<_> = older.into_iter().map(|(_, row)| row).collect();
    assert_eq!(older, [row(2), row(1), row(0)]);
}

pub async fn pauses_stand_until_they_are_lifted(driver: &impl Driver) {
    let row = |resource: u64, reason: &str| PauseRow {
        resource: ResourceId(resource),
        at: at(5),
        who: "operator".into(),
        reason: reason.into(),
    };
    let store = driver.open().await;
    assert_eq!(store.pauses().await.unwrap(), []);
    let mut batch = Batch::new();
    for row in [row(12, "ä"), row(11, ""), row(12, "again")] {
        batch.pause(row);
    }
    store.commit(batch).await.unwrap();
    drop(store);
    let store = driver.open().await;
    assert_eq!(store.pauses().await.unwrap(), [row(11, ""), row(12, "again")]);
    let mut batch = Batch::new();
    batch.unpause(ResourceId(11));
    batch.unpause(ResourceId(99));
    store.commit(batch).await.unwrap();
    assert_eq!(store.pauses().await.unwrap(), [row(12, "again")]);
}

pub async fn operations_are_replaced(driver: &impl Driver) {
    let store = driver.open().await;
    let row = |id: u64, status: OperationStatus| OperationRow {
        id,
        kind: "dlq.redrive".into(),
        status,
        started: at(1),
        ended: (status != OperationStatus::Running).then(|| at(2)),
        body: format!("{{\"id\":{id}}}"),
    };
    let running = OperationStatus::Running;
    let mut batch = Batch::new();
    for id in [3, 5, 4] {
        batch.put_operation(row(id, running));
    }
    batch.put_operation(row(4, OperationStatus::Cancelled));
    store.commit(batch).await.unwrap();
    assert_eq!(store.operations(true, 9).await.unwrap(), [row(5, running), row(3, running)]);
    let newest = store.operations(false, 2).await.unwrap();
    assert_eq!(newest, [row(5, running), row(4, OperationStatus::Cancelled)]);
    assert_eq!(store.operation(3).await.unwrap(), Some(row(3, running)));
    assert_eq!(store.operation(9).await.unwrap(), None);
}

pub async fn schedules_are_replaced(driver: &impl Driver) {
    let store = driver.open().await;
    let row = |schedule: u64, fired: u64| ScheduleRow {
        schedule: ResourceId(schedule),
        times: "rate(1 hour)".into(),
        anchor: at(1),
        next: (fired < 2).then(|| at(3)),
        due: (fired < 2).then(|| at(4)),
        attempts: 1,
        failure: (fired > 0).then(|| "no".into()),
        last: (fired > 0).then(|| at(2)),
        last_run: (fired > 0).then_some(stepbus_model::RunId(9)),
        fired,
        missed: 3,
    };
    let mut batch = Batch::new();
    for row in [row(8, 0), row(7, 1), row(8, 2)] {
        batch.put_schedule(row);
    }
    store.commit(batch).await.unwrap();
    assert_eq!(store.schedules().await.unwrap(), [row(7, 1), row(8, 2)]);
}
