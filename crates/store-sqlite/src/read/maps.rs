use rusqlite::{Connection, Result, Row, params};
use stepbus_model::{ExecutionId, MapRunId, RunId};
use stepbus_store::{ExecutionRow, ItemCounts, MapPageRow, MapRunRow, MapRunStatus};

use super::work::{EXECUTION, execution_row};
use super::{all, bytes, coded, id, maybe_time, one, rows, time};
use crate::write::int;

const COLUMNS: &str = "SELECT m.id, m.run, m.execution, m.visit, m.status, m.started, m.ended,
    m.error, m.error_cause, m.spec, c.total, c.succeeded, c.failed, c.timed_out, c.aborted,
    m.source_version";

/// Map runs that meet a condition, found as `hint` says.
fn map_run_query(hint: &str, condition: &str) -> String {
    format!("{COLUMNS} FROM map_runs m {hint} JOIN map_counts c ON c.map_run = m.id {condition}")
}

fn map_run_row(row: &Row<'_>) -> Result<MapRunRow> {
    Ok(MapRunRow {
        id: MapRunId(id(row, 0)?),
        run: RunId(id(row, 1)?),
        execution: ExecutionId(id(row, 2)?),
        visit: id(row, 3)?,
        status: coded(row, 4, MapRunStatus::from_code)?,
        started: time(row, 5)?,
        ended: maybe_time(row, 6)?,
        error: row.get(7)?,
        error_cause: row.get(8)?,
        spec: bytes(row, 9)?,
        counts: ItemCounts {
            total: row.get(10)?,
            succeeded: row.get(11)?,
            failed: row.get(12)?,
            timed_out: row.get(13)?,
            aborted: row.get(14)?,
        },
        source_version: row.get(15)?,
    })
}

pub(crate) fn map_run(conn: &Connection, map_run: MapRunId) -> Result<Option<MapRunRow>> {
    one(conn, &map_run_query("", "WHERE m.id = ?1"), [int(map_run.0)], map_run_row)
}

pub(crate) fn map_runs_of_run(conn: &Connection, run: RunId) -> Result<Vec<MapRunRow>> {
    let sql = map_run_query("", "WHERE m.run = ?1 ORDER BY m.id");
    all(conn, &sql, [int(run.0)], map_run_row)
}

pub(crate) fn running_map_runs(
    conn: &Connection,
    after: MapRunId,
    limit: usize,
) -> Result<Vec<MapRunRow>> {
    let sql = map_run_query(
        "INDEXED BY map_runs_running",
        "WHERE m.status = 1 AND m.id > ?1 ORDER BY m.id LIMIT ?2",
    );
    all(conn, &sql, params![int(after.0), rows(limit)], map_run_row)
}

pub(crate) fn map_page(
    conn: &Connection,
    map_run: MapRunId,
    page: u64,
) -> Result<Option<MapPageRow>> {
    one(
        conn,
        "SELECT first_index, count, next_token, items, item_count FROM map_pages
         WHERE map_run = ?1 AND page = ?2",
        params![int(map_run.0), int(page)],
        |row| {
            Ok(MapPageRow {
                map_run,
                page,
                first_index: id(row, 0)?,
                count: row.get(1)?,
                next_token: row.get(2)?,
                items: bytes(row, 3)?,
                item_count: row.get(4)?,
            })
        },
    )
}

pub(crate) fn map_children(
    conn: &Connection,
    map_run: MapRunId,
    from: u64,
    to: u64,
) -> Result<Vec<ExecutionRow>> {
    let sql = format!(
        "{EXECUTION} INDEXED BY executions_item
         WHERE map_run = ?1 AND map_run IS NOT NULL AND item >= ?2 AND item < ?3
         ORDER BY item, id"
    );
    let to = i64::try_from(to).unwrap_or(i64::MAX);
    all(conn, &sql, params![int(map_run.0), int(from), to], execution_row)
}
