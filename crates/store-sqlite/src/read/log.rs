//! The log in pages, and who reads it by cursor.

use rusqlite::{Connection, Result, Row, params};
use stepbus_model::{EventId, ResourceId, RunId};
use stepbus_store::{CursorRow, EventRow, LogRange, ReplayRow, ReplayState, Usage};

use super::bus::event_row;
use super::{all, coded, id, maybe_time, one, rows, time};
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

pub(crate) fn unfinished_events(conn: &Connection, range: LogRange) -> Result<Vec<EventId>> {
    all(
        conn,
        "SELECT e.id FROM events e INDEXED BY events_bus JOIN runs r ON r.id = e.run
         WHERE e.bus = ?1 AND e.id >= ?2 AND e.id < ?3 AND r.open > 0 ORDER BY e.id LIMIT ?4",
        params![int(range.bus.0), int(range.from.0), int(range.below.0), rows(range.rows)],
        |row| Ok(EventId(id(row, 0)?)),
    )
}

const REPLAY: &str = "SELECT id, name, spec, bus, run, state, reason, position, replayed, started,
    last_replayed, ended FROM replays";

fn replay_row(row: &Row<'_>) -> Result<ReplayRow> {
    Ok(ReplayRow {
        id: ResourceId(id(row, 0)?),
        name: row.get(1)?,
        spec: row.get(2)?,
        bus: ResourceId(id(row, 3)?),
        run: RunId(id(row, 4)?),
        state: coded(row, 5, ReplayState::from_code)?,
        reason: row.get(6)?,
        position: EventId(id(row, 7)?),
        replayed: id(row, 8)?,
        started: time(row, 9)?,
        last_replayed: maybe_time(row, 10)?,
        ended: maybe_time(row, 11)?,
    })
}

pub(crate) fn replay(conn: &Connection, name: &str) -> Result<Option<ReplayRow>> {
    one(conn, &format!("{REPLAY} WHERE name = ?1"), [name], replay_row)
}

pub(crate) fn replays(conn: &Connection) -> Result<Vec<ReplayRow>> {
    all(conn, &format!("{REPLAY} ORDER BY id DESC"), [], replay_row)
}

/// What a table, or an index of it, is for.
fn group(table: &str) -> &'static str {
    match table {
        "events" => "events",
        "deliveries" | "cursors" => "deliveries",
        "ledger" => "ledger",
        "messages" => "queues and dead letters",
        "keys" | "claims" => "keys",
        "executions" | "journal" | "snapshots" => "executions",
        "map_runs" | "map_counts" | "map_pages" => "map runs",
        "runs" | "run_totals" | "subscription_totals" | "workflow_totals" => "runs and totals",
        _ => "other",
    }
}

pub(crate) fn usage(conn: &Connection, by_group: bool) -> Result<Usage> {
    let number = |pragma: &str| conn.query_row(pragma, [], |row| id(row, 0));
    let page = number("PRAGMA page_size")?;
    let mut usage = Usage {
        database: number("PRAGMA page_count")? * page,
        unused: number("PRAGMA freelist_count")? * page,
        ..Usage::default()
    };
    if by_group {
        let sizes = all(
            conn,
            "SELECT coalesce(m.tbl_name, d.name), sum(d.pgsize) FROM dbstat d
             LEFT JOIN sqlite_master m ON m.name = d.name WHERE d.aggregate = TRUE
             GROUP BY 1 ORDER BY 2 DESC",
            [],
            |row| Ok((row.get::<_, String>(0)?, id(row, 1)?)),
        )?;
        for (table, bytes) in sizes {
            let name = group(&table);
            match usage.groups.iter_mut().find(|(group, _)| group == name) {
                Some((_, sum)) => *sum += bytes,
                None => usage.groups.push((name.to_owned(), bytes)),
            }
        }
    }
    Ok(usage)
}
