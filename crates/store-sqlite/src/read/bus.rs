use rusqlite::{Connection, Result, Row, params, params_from_iter, types::Value};
use stepbus_model::{DeliveryId, EventId, MessageId, ResourceId, RunId, Timestamp};
use stepbus_store::{
    DeadLetterGroup, DeliveryRow, EditRow, EventRow, LedgerRow, MessageFilter, MessageRow,
    QueueCounts, Ready, Reception,
};

use super::{all, bytes, coded, id, maybe_bytes, maybe_time, one, rows, time};
use crate::codes::{cause_from, outcome_from};
use crate::write::int;

pub(super) fn event_row(row: &Row<'_>) -> Result<EventRow> {
    let cause = id(row, 4)?;
    Ok(EventRow {
        id: EventId(id(row, 0)?),
        run: RunId(id(row, 1)?),
        bus: ResourceId(id(row, 2)?),
        cause: coded(row, 3, |code| cause_from(code, cause))?,
        hops: row.get(5)?,
        at: time(row, 6)?,
        envelope: bytes(row, 7)?,
    })
}

pub(crate) fn event(conn: &Connection, event: EventId) -> Result<Option<EventRow>> {
    one(
        conn,
        "SELECT id, run, bus, cause_kind, cause, hops, at, envelope FROM events WHERE id = ?1",
        [int(event.0)],
        event_row,
    )
}

pub(crate) fn events(
    conn: &Connection,
    bus: Option<ResourceId>,
    after: EventId,
    limit: usize,
) -> Result<Vec<EventRow>> {
    match bus {
        Some(bus) => all(
            conn,
            "SELECT id, run, bus, cause_kind, cause, hops, at, envelope FROM events
             WHERE bus = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
            params![int(bus.0), int(after.0), rows(limit)],
            event_row,
        ),
        None => all(
            conn,
            "SELECT id, run, bus, cause_kind, cause, hops, at, envelope FROM events
             WHERE id > ?1 ORDER BY id LIMIT ?2",
            params![int(after.0), rows(limit)],
            event_row,
        ),
    }
}

/// A delivery whose columns begin at `from`.
fn delivery_at(row: &Row<'_>, from: usize) -> Result<DeliveryRow> {
    Ok(DeliveryRow {
        id: DeliveryId(id(row, from)?),
        run: RunId(id(row, from + 1)?),
        subscription: ResourceId(id(row, from + 2)?),
        version: row.get(from + 3)?,
        event: EventId(id(row, from + 4)?),
        key: row.get(from + 5)?,
        lane: row.get(from + 6)?,
        created: time(row, from + 7)?,
        revision: row.get(from + 8)?,
        attempts: row.get(from + 9)?,
        first_tried: maybe_time(row, from + 10)?,
        due: maybe_time(row, from + 11)?,
        failure: row.get(from + 12)?,
    })
}

fn delivery_row(row: &Row<'_>) -> Result<DeliveryRow> {
    delivery_at(row, 0)
}

pub(crate) fn delivery(conn: &Connection, delivery: DeliveryId) -> Result<Option<DeliveryRow>> {
    one(
        conn,
        "SELECT id, run, subscription, version, event, key, lane, created, revision, attempts,
         first_tried, due, failure FROM deliveries WHERE id = ?1",
        [int(delivery.0)],
        delivery_row,
    )
}

pub(crate) fn ready_deliveries(
    conn: &Connection,
    subscription: ResourceId,
    after: DeliveryId,
    limit: usize,
    scan: usize,
) -> Result<Ready> {
    // Both statements must see the same rows, or the second could pass over some.
    let transaction = conn.unchecked_transaction()?;
    let found = all(
        &transaction,
        "SELECT id, run, subscription, version, event, key, lane, created, revision, attempts,
         first_tried, due, failure FROM
             (SELECT * FROM deliveries INDEXED BY deliveries_ready
              WHERE subscription = ?1 AND due IS NULL AND id > ?2 ORDER BY id LIMIT ?4) d
         WHERE lane IS NULL OR NOT EXISTS
             (SELECT 1 FROM deliveries INDEXED BY deliveries_lane
              WHERE subscription = ?1 AND lane IS NOT NULL AND lane = d.lane AND id < d.id)
         ORDER BY id LIMIT ?3",
        params![int(subscription.0), int(after.0), rows(limit), rows(scan)],
        delivery_row,
    )?;
    if found.len() >= limit {
        let next = found.last().map(|row| row.id);
        return Ok(Ready { rows: found, next });
    }
    let next = one(
        &transaction,
        "SELECT id FROM deliveries INDEXED BY deliveries_ready
         WHERE subscription = ?1 AND due IS NULL AND id > ?2 ORDER BY id LIMIT 1 OFFSET ?3",
        params![int(subscription.0), int(after.0), rows(scan.saturating_sub(1))],
        |row| Ok(DeliveryId(id(row, 0)?)),
    )?;
    Ok(Ready { rows: found, next })
}

pub(crate) fn due_deliveries(
    conn: &Connection,
    until: Timestamp,
    limit: usize,
) -> Result<Vec<DeliveryRow>> {
    all(
        conn,
        "SELECT id, run, subscription, version, event, key, lane, created, revision, attempts,
         first_tried, due, failure FROM deliveries INDEXED BY deliveries_due
         WHERE due IS NOT NULL AND due <= ?1 ORDER BY due, id LIMIT ?2",
        params![until.0, rows(limit)],
        delivery_row,
    )
}

pub(crate) fn lane_deliveries(
    conn: &Connection,
    subscription: ResourceId,
    lane: i64,
    limit: usize,
) -> Result<Vec<DeliveryRow>> {
    all(
        conn,
        "SELECT id, run, subscription, version, event, key, lane, created, revision, attempts,
         first_tried, due, failure FROM deliveries INDEXED BY deliveries_lane
         WHERE subscription = ?1 AND lane IS NOT NULL AND lane = ?2 ORDER BY id LIMIT ?3",
        params![int(subscription.0), lane, rows(limit)],
        delivery_row,
    )
}

pub(crate) fn oldest_delivery(
    conn: &Connection,
    subscription: ResourceId,
) -> Result<Option<Timestamp>> {
    one(
        conn,
        "SELECT created FROM deliveries WHERE id = (SELECT min(id) FROM (
             SELECT min(id) AS id FROM deliveries INDEXED BY deliveries_ready
             WHERE subscription = ?1 AND due IS NULL
             UNION ALL
             SELECT min(id) AS id FROM deliveries INDEXED BY deliveries_waiting
             WHERE subscription = ?1 AND due IS NOT NULL))",
        [int(subscription.0)],
        |row| time(row, 0),
    )
}

pub(crate) fn ledger(conn: &Connection, delivery: DeliveryId) -> Result<Option<LedgerRow>> {
    one(
        conn,
        "SELECT id, run, subscription, version, event, key, outcome, revision, attempts, created,
         finished, note FROM ledger WHERE id = ?1",
        [int(delivery.0)],
        |row| {
            Ok(LedgerRow {
                id: delivery,
                run: RunId(id(row, 1)?),
                subscription: ResourceId(id(row, 2)?),
                version: row.get(3)?,
                event: EventId(id(row, 4)?),
                key: row.get(5)?,
                outcome: coded(row, 6, outcome_from)?,
                revision: row.get(7)?,
                attempts: row.get(8)?,
                created: time(row, 9)?,
                finished: time(row, 10)?,
                note: row.get(11)?,
            })
        },
    )
}

const MESSAGE: &str = "SELECT id, queue, run, sent, error_code, attributes, body, d_id, d_run,
    d_subscription, d_version, d_event, d_key, d_lane, d_created, d_revision, d_attempts,
    d_first_tried, d_due, d_failure, visible, received, first_received FROM messages";

fn message_row(row: &Row<'_>) -> Result<MessageRow> {
    let dead: Option<i64> = row.get(7)?;
    Ok(MessageRow {
        id: MessageId(id(row, 0)?),
        queue: ResourceId(id(row, 1)?),
        run: RunId(id(row, 2)?),
        sent: time(row, 3)?,
        error_code: row.get(4)?,
        attributes: row.get(5)?,
        body: bytes(row, 6)?,
        delivery: dead.map(|_| delivery_at(row, 7)).transpose()?,
        reception: Reception {
            visible: time(row, 20)?,
            count: row.get(21)?,
            first: maybe_time(row, 22)?,
        },
    })
}

pub(crate) fn message(conn: &Connection, message: MessageId) -> Result<Option<MessageRow>> {
    one(conn, &format!("{MESSAGE} WHERE id = ?1"), [int(message.0)], message_row)
}

/// The same text as in the index.
const CAUSE: &str = "json_extract(attributes, '$.stepbus.cause')";

const SCHEDULE: &str =
    "NULL AS subscription, json_extract(attributes, '$.stepbus.schedule') AS schedule";

/// What a filter adds to a `WHERE`.
fn narrowed(filter: MessageFilter, sql: &mut String, values: &mut Vec<Value>) {
    let number = |id: ResourceId| Value::Integer(int(id.0));
    let cause = format!("instr(lower({CAUSE}), lower(?)) > 0");
    let wanted = [
        ("queue = ?", filter.queue.map(number)),
        ("run = ?", filter.run.map(|id| Value::Integer(int(id.0)))),
        ("d_subscription = ?", filter.subscription.map(number)),
        ("error_code = ?", filter.error_code.map(Value::Text)),
        ("d_key = ?", filter.key.map(Value::Text)),
        (cause.as_str(), filter.cause.map(Value::Text)),
        ("sent < ?", filter.sent_before.map(|at| Value::Integer(at.0))),
        ("sent >= ?", filter.sent_from.map(|at| Value::Integer(at.0))),
    ];
    if filter.dead {
        sql.push_str(" AND (d_id IS NOT NULL OR error_code IS NOT NULL)");
    }
    for (condition, value) in wanted {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        }
    }
}

pub(crate) fn messages(
    conn: &Connection,
    filter: MessageFilter,
    after: MessageId,
    limit: usize,
) -> Result<Vec<MessageRow>> {
    let mut sql = format!("{MESSAGE} WHERE id > ?");
    let mut values = vec![Value::Integer(int(after.0))];
    narrowed(filter, &mut sql, &mut values);
    sql.push_str(" ORDER BY id LIMIT ?");
    values.push(Value::Integer(rows(limit)));
    all(conn, &sql, params_from_iter(values), message_row)
}

pub(crate) fn dead_letter_groups(
    conn: &Connection,
    filter: MessageFilter,
) -> Result<Vec<DeadLetterGroup>> {
    // What is asked for already, and would keep the planner from the indexes of these.
    let filter = MessageFilter { dead: false, ..filter };
    let mut values = Vec::new();
    let mut sql = String::new();
    for (by, which, whose) in [
        ("d_subscription AS subscription, NULL AS schedule", "d_id IS NOT NULL", "subscription"),
        (SCHEDULE, "d_id IS NULL AND error_code IS NOT NULL", "schedule"),
    ] {
        if !sql.is_empty() {
            sql.push_str(" UNION ALL ");
        }
        sql.push_str(&format!(
            "SELECT queue, {by}, error_code, {CAUSE} AS cause, count(*) AS found, min(sent),
             max(sent), min(id) FROM messages WHERE {which}"
        ));
        narrowed(filter.clone(), &mut sql, &mut values);
        sql.push_str(&format!(" GROUP BY queue, {whose}, error_code, cause"));
    }
    sql.push_str(" ORDER BY found DESC, queue, subscription, schedule, error_code, cause");
    all(conn, &sql, params_from_iter(values), |row| {
        Ok(DeadLetterGroup {
            queue: ResourceId(id(row, 0)?),
            subscription: row
                .get::<_, Option<i64>>(1)?
                .map(|_| id(row, 1))
                .transpose()?
                .map(ResourceId),
            schedule: row.get(2)?,
            error_code: row.get(3)?,
            cause: row.get(4)?,
            count: id(row, 5)?,
            oldest: time(row, 6)?,
            newest: time(row, 7)?,
            sample: MessageId(id(row, 8)?),
        })
    })
}

pub(crate) fn edit(
    conn: &Connection,
    delivery: DeliveryId,
    revision: u32,
) -> Result<Option<EditRow>> {
    one(
        conn,
        "SELECT revision, at, who, payload, original FROM edits
         WHERE delivery = ?1 AND revision <= ?2 ORDER BY revision DESC LIMIT 1",
        params![int(delivery.0), revision],
        |row| {
            Ok(EditRow {
                delivery,
                revision: row.get(0)?,
                at: time(row, 1)?,
                who: row.get(2)?,
                payload: bytes(row, 3)?,
                original: maybe_bytes(row, 4)?,
            })
        },
    )
}

pub(crate) fn dead_before(
    conn: &Connection,
    subscription: ResourceId,
    key: &str,
    before: DeliveryId,
) -> Result<Option<(MessageId, DeliveryId)>> {
    one(
        conn,
        "SELECT id, d_id FROM messages INDEXED BY messages_key
         WHERE d_key = ?1 AND d_subscription = ?2 AND d_id < ?3 LIMIT 1",
        params![key, int(subscription.0), int(before.0)],
        |row| Ok((MessageId(id(row, 0)?), DeliveryId(id(row, 1)?))),
    )
}

pub(crate) fn queue_depths(conn: &Connection) -> Result<Vec<(ResourceId, u64, Timestamp)>> {
    all(
        conn,
        "SELECT q.queue, q.depth, m.sent FROM
         (SELECT queue, count(*) AS depth, min(id) AS oldest FROM messages GROUP BY queue) q
         JOIN messages m ON m.id = q.oldest ORDER BY q.queue",
        [],
        |row| Ok((ResourceId(id(row, 0)?), id(row, 1)?, time(row, 2)?)),
    )
}

pub(crate) fn visible_messages(
    conn: &Connection,
    queue: ResourceId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<MessageRow>> {
    let sql = format!(
        "{MESSAGE} INDEXED BY messages_visible WHERE queue = ?1 AND visible <= ?2
         ORDER BY visible, id LIMIT ?3"
    );
    all(conn, &sql, params![int(queue.0), now.0, rows(limit)], message_row)
}

pub(crate) fn next_visible(
    conn: &Connection,
    queue: ResourceId,
    now: Timestamp,
) -> Result<Option<Timestamp>> {
    let sql = "SELECT min(visible) FROM messages INDEXED BY messages_visible
         WHERE queue = ?1 AND visible > ?2";
    one(conn, sql, params![int(queue.0), now.0], |row| maybe_time(row, 0)).map(Option::flatten)
}

pub(crate) fn queue_counts(
    conn: &Connection,
    queue: ResourceId,
    now: Timestamp,
) -> Result<QueueCounts> {
    let sql =
        "SELECT coalesce(sum(visible <= ?2), 0), coalesce(sum(visible > ?2 AND received > 0), 0),
         coalesce(sum(visible > ?2 AND received = 0), 0) FROM messages WHERE queue = ?1";
    let counts = one(conn, sql, params![int(queue.0), now.0], |row| {
        Ok(QueueCounts { visible: id(row, 0)?, in_flight: id(row, 1)?, delayed: id(row, 2)? })
    });
    counts.map(Option::unwrap_or_default)
}
