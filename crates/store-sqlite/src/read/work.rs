use rusqlite::{Connection, Result, Row, params, params_from_iter, types::Value};
use stepbus_model::{ExecutionId, MapRunId, ResourceId, RunId, Timestamp};
use stepbus_store::{
    ExecutionFilter, ExecutionKind, ExecutionRow, ExecutionStatus, JournalRow, SnapshotRow,
};

use super::{all, bytes, coded, id, maybe_bytes, maybe_time, one, rows, time};
use crate::codes::cause_from;
use crate::write::int;

pub(super) const EXECUTION: &str = "SELECT id, run, workflow, definition, kind, name, cause_kind,
    cause, hops, map_run, item, status, idle, wake, started, ended, recoveries, semantics, error,
    error_cause, output, items, redrives, redriven, awaits_redrive FROM executions";

pub(super) fn execution_row(row: &Row<'_>) -> Result<ExecutionRow> {
    let cause = id(row, 7)?;
    let map_run: Option<i64> = row.get(9)?;
    let item: Option<i64> = row.get(10)?;
    Ok(ExecutionRow {
        id: ExecutionId(id(row, 0)?),
        run: RunId(id(row, 1)?),
        workflow: ResourceId(id(row, 2)?),
        definition: id(row, 3)?,
        kind: coded(row, 4, ExecutionKind::from_code)?,
        name: row.get(5)?,
        cause: coded(row, 6, |code| cause_from(code, cause))?,
        hops: row.get(8)?,
        item: map_run
            .zip(item)
            .map(|(map_run, item)| (MapRunId(map_run.cast_unsigned()), item.cast_unsigned())),
        status: coded(row, 11, ExecutionStatus::from_code)?,
        idle: row.get(12)?,
        wake: maybe_time(row, 13)?,
        started: time(row, 14)?,
        ended: maybe_time(row, 15)?,
        recoveries: row.get(16)?,
        semantics: row.get(17)?,
        error: row.get(18)?,
        error_cause: row.get(19)?,
        output: maybe_bytes(row, 20)?,
        items: row.get(21)?,
        redrives: row.get(22)?,
        redriven: maybe_time(row, 23)?,
        awaits_redrive: row.get(24)?,
    })
}

pub(crate) fn execution(conn: &Connection, execution: ExecutionId) -> Result<Option<ExecutionRow>> {
    one(conn, &format!("{EXECUTION} WHERE id = ?1"), [int(execution.0)], execution_row)
}

pub(crate) fn execution_by_name(
    conn: &Connection,
    workflow: ResourceId,
    name: &str,
) -> Result<Option<ExecutionRow>> {
    for kind in ExecutionKind::ALL {
        let sql = format!(
            "{EXECUTION} WHERE workflow = ?1 AND name = ?2 AND kind = {} AND map_run IS NULL
             ORDER BY id DESC LIMIT 1",
            kind.code()
        );
        let found = one(conn, &sql, params![int(workflow.0), name], execution_row)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// The conditions and the index of a listing. Statuses stand as literals, which is how SQLite
/// knows that a partial index will do.
fn listing(filter: &ExecutionFilter) -> (String, Vec<Value>) {
    let mut sql = String::new();
    let mut values = Vec::new();
    let ids = [
        ("map_run", filter.map_run.map(|id| id.0)),
        ("workflow", filter.workflow.map(|id| id.0)),
        ("run", filter.run.map(|id| id.0)),
    ];
    for (column, value) in ids {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {column} = ?"));
            values.push(Value::Integer(int(value)));
        }
    }
    if filter.map_run.is_none() {
        sql.push_str(" AND map_run IS NULL");
    }
    if let Some(status) = filter.status {
        sql.push_str(&format!(" AND status = {}", status.code()));
        if status.code() > ExecutionStatus::Succeeded.code() {
            sql.push_str(" AND status > 2");
        }
    }
    (sql, values)
}

pub(crate) fn executions(
    conn: &Connection,
    filter: ExecutionFilter,
    before: Option<ExecutionId>,
    limit: usize,
) -> Result<Vec<ExecutionRow>> {
    let (conditions, mut values) = listing(&filter);
    let sql = format!("{EXECUTION} WHERE id < ?{conditions} ORDER BY id DESC LIMIT ?");
    values.insert(0, Value::Integer(before.map_or(i64::MAX, |id| int(id.0))));
    values.push(Value::Integer(rows(limit)));
    all(conn, &sql, params_from_iter(values), execution_row)
}

pub(crate) fn active_executions(
    conn: &Connection,
    after: ExecutionId,
    limit: usize,
) -> Result<Vec<ExecutionRow>> {
    let sql = format!(
        "{EXECUTION} INDEXED BY executions_active
         WHERE status = 1 AND idle = 0 AND id > ?1 ORDER BY id LIMIT ?2"
    );
    all(conn, &sql, params![int(after.0), rows(limit)], execution_row)
}

pub(crate) fn due_executions(
    conn: &Connection,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<(ExecutionId, Timestamp)>> {
    all(
        conn,
        "SELECT id, wake FROM executions INDEXED BY executions_due
         WHERE wake IS NOT NULL AND wake <= ?1 ORDER BY wake, id LIMIT ?2",
        params![until.0, rows(limit)],
        |row| Ok((ExecutionId(id(row, 0)?), time(row, 1)?)),
    )
}

pub(crate) fn journal(
    conn: &Connection,
    execution: ExecutionId,
    from: u64,
) -> Result<Vec<JournalRow>> {
    // The row that `from` falls into is the last one that begins at or before it.
    all(
        conn,
        "SELECT first, count, entries FROM journal
         WHERE execution = ?1 AND first >= coalesce(
             (SELECT max(first) FROM journal WHERE execution = ?1 AND first <= ?2), 0)
         AND first + count > ?2 ORDER BY first",
        params![int(execution.0), int(from)],
        |row| {
            Ok(JournalRow {
                execution,
                first: id(row, 0)?,
                count: row.get(1)?,
                entries: bytes(row, 2)?,
            })
        },
    )
}

pub(crate) fn snapshot(conn: &Connection, execution: ExecutionId) -> Result<Option<SnapshotRow>> {
    one(
        conn,
        "SELECT inputs, value FROM snapshots WHERE execution = ?1",
        [int(execution.0)],
        |row| Ok(SnapshotRow { execution, inputs: id(row, 0)?, value: bytes(row, 1)? }),
    )
}
