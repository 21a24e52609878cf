//! The log in pages, and who reads it by cursor.

use rusqlite::{Connection, Result, params};
use stepbus_model::{EventId, ResourceId, RunId};
use stepbus_store::{CursorRow, EventRow, LogRange};

use super::bus::event_row;
use super::{all, id, rows};
use crate::write::int;

pub(crate) fn log_page(conn: &Connection, range: LogRange) -> Result<Vec<EventRow>> {
    let mut statement = conn.prepare_cached(
        "SELECT id, run, bus, cause_kind, cause, hops, at, envelope FROM events
         INDEXED BY events_bus WHERE bus = ?1 AND id >= ?2 AND id < ?3 ORDER BY id LIMIT ?4",
    )?;
    let values = params![int(range.bus.0), int(range.from.0), int(range.below.0), rows(range.rows)];
    let mut found = statement.query(values)?;
    let mut page = Vec::new();
    let mut bytes = 0;
    while bytes < range.bytes
        && let Some(row) = found.next()?
    {
        let event = event_row(row)?;
        bytes += event.envelope.len().max(1);
        page.push(event);
    }
    Ok(page)
}

pub(crate) fn cursors(conn: &Connection) -> Result<Vec<CursorRow>> {
    all(
        conn,
        "SELECT subscription, opened, bus, version, position, until, counted, behind FROM cursors
         ORDER BY subscription, opened",
        [],
        |row| {
            Ok(CursorRow {
                subscription: ResourceId(id(row, 0)?),
                opened: EventId(id(row, 1)?),
                bus: ResourceId(id(row, 2)?),
                version: row.get(3)?,
                position: EventId(id(row, 4)?),
                until: row.get::<_, Option<i64>>(5)?.map(|id| EventId(id.cast_unsigned())),
                counted: row.get(6)?,
                behind: row.get(7)?,
            })
        },
    )
}

pub(crate) fn behind(conn: &Connection, subscription: ResourceId) -> Result<Vec<(RunId, i64)>> {
    all(
        conn,
        "WITH live AS (
             SELECT run, count(*) AS count FROM deliveries WHERE subscription = ?1 GROUP BY run)
         SELECT t.run, t.pending - ifnull(l.count, 0) AS behind
         FROM run_totals t LEFT JOIN live l ON l.run = t.run
         WHERE t.subscription = ?1 AND t.pending <> ifnull(l.count, 0) ORDER BY t.run",
        [int(subscription.0)],
        |row| Ok((RunId(id(row, 0)?), row.get(1)?)),
    )
}
