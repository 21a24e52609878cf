use rusqlite::{Connection, Result, Row, params};
use stepbus_model::{ResourceId, RunId, Timestamp};
use stepbus_store::{
    AuditRow, ClaimRow, DefinitionRow, KeyRow, OperationRow, OperationStatus, PauseRow,
    ResourceKind, ResourceRow, ScheduleRow,
};

use super::{all, coded, id, maybe_time, one, rows, time};
use crate::digest::{claim_digest, key_digest};
use crate::write::int;

fn resource(row: &Row<'_>) -> Result<ResourceRow> {
    Ok(ResourceRow {
        id: ResourceId(id(row, 0)?),
        kind: coded(row, 1, ResourceKind::from_code)?,
        name: row.get(2)?,
        version: row.get(3)?,
        body: row.get(4)?,
        at: time(row, 5)?,
        retired: row.get(6)?,
    })
}

pub(crate) fn resources(conn: &Connection) -> Result<Vec<ResourceRow>> {
    all(
        conn,
        "SELECT id, kind, name, version, body, at, retired FROM resources r
         WHERE version = (SELECT max(version) FROM resources WHERE id = r.id) ORDER BY id",
        [],
        resource,
    )
}

pub(crate) fn resource_version(
    conn: &Connection,
    resource_id: ResourceId,
    version: u32,
) -> Result<Option<ResourceRow>> {
    one(
        conn,
        "SELECT id, kind, name, version, body, at, retired FROM resources
         WHERE id = ?1 AND version = ?2",
        params![int(resource_id.0), version],
        resource,
    )
}

fn definition_row(row: &Row<'_>) -> Result<DefinitionRow> {
    Ok(DefinitionRow { id: id(row, 0)?, hash: row.get(1)?, text: row.get(2)? })
}

pub(crate) fn definition(conn: &Connection, id: u64) -> Result<Option<DefinitionRow>> {
    let sql = "SELECT id, hash, text FROM definitions WHERE id = ?1";
    one(conn, sql, [int(id)], definition_row)
}

pub(crate) fn definition_by_hash(conn: &Connection, hash: &str) -> Result<Option<DefinitionRow>> {
    let sql = "SELECT id, hash, text FROM definitions WHERE hash = ?1";
    one(conn, sql, [hash], definition_row)
}

pub(crate) fn key(conn: &Connection, scope: ResourceId, key: &str) -> Result<Option<KeyRow>> {
    one(
        conn,
        "SELECT hash, version, remote_id FROM keys WHERE digest = ?1 AND scope = ?2 AND key = ?3",
        params![key_digest(scope, key), int(scope.0), key],
        |row| {
            Ok(KeyRow {
                scope,
                key: key.to_owned(),
                hash: row.get(0)?,
                version: row.get(1)?,
                remote_id: row.get(2)?,
            })
        },
    )
}

pub(crate) fn claim(conn: &Connection, scope: &str, key: &str) -> Result<Option<ClaimRow>> {
    one(
        conn,
        "SELECT value, expires FROM claims WHERE digest = ?1 AND scope = ?2 AND key = ?3",
        params![claim_digest(scope, key), scope, key],
        |row| {
            Ok(ClaimRow {
                scope: scope.to_owned(),
                key: key.to_owned(),
                value: row.get(0)?,
                expires: Timestamp(row.get(1)?),
            })
        },
    )
}

pub(crate) fn audit_rows(
    conn: &Connection,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<(u64, AuditRow)>> {
    all(
        conn,
        "SELECT id, at, who, action, subject, detail FROM audit WHERE id < ?1
         ORDER BY id DESC LIMIT ?2",
        params![before.map_or(i64::MAX, int), rows(limit)],
        |row| {
            let audit = AuditRow {
                at: time(row, 1)?,
                who: row.get(2)?,
                action: row.get(3)?,
                subject: row.get(4)?,
                detail: row.get(5)?,
            };
            Ok((id(row, 0)?, audit))
        },
    )
}

pub(crate) fn pauses(conn: &Connection) -> Result<Vec<PauseRow>> {
    all(conn, "SELECT resource, at, who, reason FROM pauses ORDER BY resource", [], |row| {
        Ok(PauseRow {
            resource: ResourceId(id(row, 0)?),
            at: time(row, 1)?,
            who: row.get(2)?,
            reason: row.get(3)?,
        })
    })
}

fn operation_row(row: &Row<'_>) -> Result<OperationRow> {
    Ok(OperationRow {
        id: id(row, 0)?,
        kind: row.get(1)?,
        status: coded(row, 2, OperationStatus::from_code)?,
        started: time(row, 3)?,
        ended: maybe_time(row, 4)?,
        body: row.get(5)?,
    })
}

pub(crate) fn operations(
    conn: &Connection,
    running_only: bool,
    limit: usize,
) -> Result<Vec<OperationRow>> {
    let sql = if running_only {
        "SELECT id, kind, status, started, ended, body FROM operations INDEXED BY operations_running
         WHERE status = 1 ORDER BY id DESC LIMIT ?1"
    } else {
        "SELECT id, kind, status, started, ended, body FROM operations ORDER BY id DESC LIMIT ?1"
    };
    all(conn, sql, [rows(limit)], operation_row)
}

pub(crate) fn operation(conn: &Connection, operation: u64) -> Result<Option<OperationRow>> {
    let sql = "SELECT id, kind, status, started, ended, body FROM operations WHERE id = ?1";
    one(conn, sql, [int(operation)], operation_row)
}

pub(crate) fn schedules(conn: &Connection) -> Result<Vec<ScheduleRow>> {
    all(
        conn,
        "SELECT schedule, times, anchor, next, due, attempts, failure, last, last_run, fired, missed
         FROM schedules ORDER BY schedule",
        [],
        |row| {
            let run: Option<i64> = row.get(8)?;
            Ok(ScheduleRow {
                schedule: ResourceId(id(row, 0)?),
                times: row.get(1)?,
                anchor: time(row, 2)?,
                next: maybe_time(row, 3)?,
                due: maybe_time(row, 4)?,
                attempts: row.get(5)?,
                failure: row.get(6)?,
                last: maybe_time(row, 7)?,
                last_run: run.map(|run| RunId(run.cast_unsigned())),
                fired: id(row, 9)?,
                missed: id(row, 10)?,
            })
        },
    )
}
