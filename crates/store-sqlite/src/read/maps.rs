use rusqlite::{Connection, Result, Row, params};
use stepbus_model::{ExecutionId, MapRunId, RunId};
use stepbus_store::{
    ExecutionRow, ExecutionStatus, ItemCounts, MapCounts, MapPageRow, MapResultRow, MapRunRow,
    MapRunStatus, MapSettings,
};

use super::work::{EXECUTION, execution_row};
use super::{all, bytes, coded, id, maybe_bytes, maybe_time, one, rows, time};
use crate::write::int;

const COLUMNS: &str = "SELECT m.id, m.run, m.execution, m.visit, m.status, m.started, m.ended,
    m.error, m.error_cause, m.spec, m.source_version, m.max_concurrency,
    m.tolerated_failure_count, m.tolerated_failure_percentage, m.redrives, m.redriven,
    m.only_marked, m.definition, m.from_state,
    c.total, c.running, c.succeeded, c.failed, c.timed_out, c.aborted, c.results_written,
    c.pending_redrive, c.x_total, c.x_running, c.x_succeeded, c.x_failed, c.x_timed_out,
    c.x_aborted, c.x_results_written,
    c.x_pending_redrive";
/// Where the counts of the items begin, and those of the children.
const ITEMS: usize = 19;
const CHILDREN: usize = 27;

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
        source_version: row.get(10)?,
        settings: MapSettings {
            max_concurrency: id(row, 11)?,
            tolerated_failure_count: row.get::<_, Option<i64>>(12)?.map(i64::cast_unsigned),
            tolerated_failure_percentage: row.get(13)?,
        },
        redrives: row.get(14)?,
        redriven: maybe_time(row, 15)?,
        only_marked: row.get(16)?,
        definition: row.get::<_, Option<i64>>(17)?.map(i64::cast_unsigned),
        from_state: row.get(18)?,
        counts: MapCounts { items: counts(row, ITEMS)?, executions: counts(row, CHILDREN)? },
    })
}

fn counts(row: &Row<'_>, from: usize) -> Result<ItemCounts> {
    Ok(ItemCounts {
        total: row.get(from)?,
        running: row.get(from + 1)?,
        succeeded: row.get(from + 2)?,
        failed: row.get(from + 3)?,
        timed_out: row.get(from + 4)?,
        aborted: row.get(from + 5)?,
        results_written: row.get(from + 6)?,
        pending_redrive: row.get(from + 7)?,
    })
}

pub(crate) fn map_runs(
    conn: &Connection,
    before: Option<MapRunId>,
    limit: usize,
) -> Result<Vec<MapRunRow>> {
    let sql = map_run_query("", "WHERE m.id < ?1 ORDER BY m.id DESC LIMIT ?2");
    let before = before.map_or(i64::MAX, |id| int(id.0));
    all(conn, &sql, params![before, rows(limit)], map_run_row)
}

pub(crate) fn running_children(conn: &Connection, map_run: MapRunId) -> Result<Vec<ExecutionRow>> {
    let sql = format!(
        "{EXECUTION} INDEXED BY executions_active
         WHERE status = 1 AND idle = 0 AND map_run = ?1 ORDER BY id"
    );
    all(conn, &sql, [int(map_run.0)], execution_row)
}

pub(crate) fn unsuccessful_children(
    conn: &Connection,
    map_run: MapRunId,
    after: ExecutionId,
    limit: usize,
) -> Result<Vec<ExecutionRow>> {
    let sql = format!(
        "{EXECUTION} INDEXED BY executions_item_unsuccessful
         WHERE status > 2 AND map_run IS NOT NULL AND map_run = ?1 AND id > ?2
         ORDER BY id LIMIT ?3"
    );
    all(conn, &sql, params![int(map_run.0), int(after.0), rows(limit)], execution_row)
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

/// Found as the index on items has them, and in its order.
const CHILDREN_OF_ITEMS: &str = "INDEXED BY executions_item
    WHERE map_run = ?1 AND map_run IS NOT NULL AND item >= ?2 AND item < ?3
    ORDER BY item, id";

pub(crate) fn map_children(
    conn: &Connection,
    map_run: MapRunId,
    from: u64,
    to: u64,
) -> Result<Vec<ExecutionRow>> {
    let sql = format!("{EXECUTION} {CHILDREN_OF_ITEMS}");
    all(conn, &sql, params![int(map_run.0), int(from), up_to(to)], execution_row)
}

pub(crate) fn map_results(
    conn: &Connection,
    map_run: MapRunId,
    from: u64,
    to: u64,
    bytes: usize,
) -> Result<Vec<MapResultRow>> {
    let mut statement = conn.prepare_cached(&format!(
        "SELECT item, items, name, redrives, status, started, ended, output, error, error_cause
         FROM executions {CHILDREN_OF_ITEMS}"
    ))?;
    let mut found = statement.query(params![int(map_run.0), int(from), up_to(to)])?;
    let (mut results, mut so_far) = (Vec::new(), 0);
    while let Some(row) = found.next()? {
        let result = map_result(row)?;
        so_far += result.bytes();
        results.push(result);
        if so_far >= bytes {
            break;
        }
    }
    Ok(results)
}

fn map_result(row: &Row<'_>) -> Result<MapResultRow> {
    Ok(MapResultRow {
        index: id(row, 0)?,
        items: row.get(1)?,
        name: row.get(2)?,
        redrives: row.get(3)?,
        status: coded(row, 4, ExecutionStatus::from_code)?,
        started: time(row, 5)?,
        ended: maybe_time(row, 6)?,
        output: maybe_bytes(row, 7)?,
        error: row.get(8)?,
        error_cause: row.get(9)?,
    })
}

fn up_to(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}
