use rusqlite::{Connection, Result, Row, params};
use stepbus_model::{ResourceId, RunId, Totals};
use stepbus_store::{Priority, RunRow, WorkflowTotals};

use super::{all, coded, id, one, rows, time};
use crate::write::int;

fn run_row(row: &Row<'_>) -> Result<RunRow> {
    Ok(RunRow {
        id: RunId(id(row, 0)?),
        started: time(row, 1)?,
        last: time(row, 2)?,
        open: row.get(3)?,
        origin: row.get(4)?,
        label: row.get(5)?,
        priority: coded(row, 6, Priority::from_code)?,
        force: row.get(7)?,
    })
}

pub(crate) fn run(conn: &Connection, run: RunId) -> Result<Option<RunRow>> {
    let sql =
        "SELECT id, started, last, open, origin, label, priority, force FROM runs WHERE id = ?1";
    one(conn, sql, [int(run.0)], run_row)
}

pub(crate) fn runs(
    conn: &Connection,
    open_only: bool,
    before: Option<RunId>,
    limit: usize,
) -> Result<Vec<RunRow>> {
    let sql = if open_only {
        "SELECT id, started, last, open, origin, label, priority, force FROM runs INDEXED BY runs_open
         WHERE open > 0 AND id < ?1 ORDER BY id DESC LIMIT ?2"
    } else {
        "SELECT id, started, last, open, origin, label, priority, force FROM runs
         WHERE id < ?1 ORDER BY id DESC LIMIT ?2"
    };
    let before = before.map_or(i64::MAX, |id| int(id.0));
    all(conn, sql, params![before, rows(limit)], run_row)
}

fn totals_row(row: &Row<'_>) -> Result<(ResourceId, Totals)> {
    let totals = Totals {
        matched: row.get(1)?,
        delivered: row.get(2)?,
        unchanged: row.get(3)?,
        stale: row.get(4)?,
        dead_lettered: row.get(5)?,
        discarded: row.get(6)?,
        pending: row.get(7)?,
    };
    Ok((ResourceId(id(row, 0)?), totals))
}

pub(crate) fn run_totals(conn: &Connection, run: RunId) -> Result<Vec<(ResourceId, Totals)>> {
    all(
        conn,
        "SELECT subscription, matched, delivered, unchanged, stale, dead_lettered, discarded,
         pending FROM run_totals WHERE run = ?1 ORDER BY subscription",
        [int(run.0)],
        totals_row,
    )
}

pub(crate) fn subscription_totals(conn: &Connection) -> Result<Vec<(ResourceId, Totals)>> {
    all(
        conn,
        "SELECT subscription, matched, delivered, unchanged, stale, dead_lettered, discarded,
         pending FROM subscription_totals ORDER BY subscription",
        [],
        totals_row,
    )
}

pub(crate) fn workflow_totals(conn: &Connection) -> Result<Vec<(ResourceId, WorkflowTotals)>> {
    all(
        conn,
        "SELECT workflow, started, succeeded, failed, timed_out, aborted FROM workflow_totals
         ORDER BY workflow",
        [],
        |row| {
            let totals = WorkflowTotals {
                started: row.get(1)?,
                succeeded: row.get(2)?,
                failed: row.get(3)?,
                timed_out: row.get(4)?,
                aborted: row.get(5)?,
            };
            Ok((ResourceId(id(row, 0)?), totals))
        },
    )
}
