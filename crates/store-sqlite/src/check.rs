//! What must hold between records, as queries that return what breaks it: a subject and a message.

use rusqlite::{Connection, Result};
use stepbus_store::Problem;

/// Problems listed for one rule; the first ones say enough.
const LISTED: usize = 100;

/// The highest id that a record has, as a query of one row.
macro_rules! highest_id {
    () => {
        "SELECT max(id) AS id FROM (
             SELECT max(id) AS id FROM runs UNION ALL SELECT max(id) FROM events
             UNION ALL SELECT max(id) FROM deliveries UNION ALL SELECT max(id) FROM ledger
             UNION ALL SELECT max(id) FROM messages UNION ALL SELECT max(id) FROM executions
             UNION ALL SELECT max(id) FROM map_runs)"
    };
}
pub(crate) const HIGHEST_ID: &str = highest_id!();

struct Rule {
    name: &'static str,
    sql: &'static str,
}

const fn rule(name: &'static str, sql: &'static str) -> Rule {
    Rule { name, sql }
}

/// All rules over one state of the database.
pub(crate) fn check(conn: &Connection) -> Result<Vec<Problem>> {
    let transaction = conn.unchecked_transaction()?;
    let mut problems = integrity(&transaction)?;
    for rule in BOOKS.iter().chain(FATES).chain(JOURNALS).chain(ORPHANS) {
        let mut statement = transaction.prepare(rule.sql)?;
        let mut rows = statement.query([])?;
        let mut listed = 0;
        while let Some(row) = rows.next()?
            && listed < LISTED
        {
            listed += 1;
            problems.push(Problem {
                rule: rule.name.to_owned(),
                subject: row.get(0)?,
                message: row.get(1)?,
            });
        }
    }
    Ok(problems)
}

fn integrity(conn: &Connection) -> Result<Vec<Problem>> {
    let mut statement = conn.prepare("PRAGMA quick_check(20)")?;
    let findings = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut problems = Vec::new();
    for finding in findings {
        let message = finding?;
        if message != "ok" {
            let rule = "database-intact".to_owned();
            problems.push(Problem { rule, subject: "stepbus.db".to_owned(), message });
        }
    }
    Ok(problems)
}

const BOOKS: &[Rule] = &[
    rule(
        "totals-balanced",
        "SELECT 'run-' || run, 'subscription res-' || subscription || ': matched ' || matched
             || ' is not the sum of its columns, or one of them is negative'
         FROM run_totals
         WHERE matched <> delivered + unchanged + stale + dead_lettered + discarded + pending
             OR min(delivered, unchanged, stale, dead_lettered, discarded, pending) < 0
         UNION ALL
         SELECT 'res-' || subscription, 'matched ' || matched || ' is not the sum of its columns'
         FROM subscription_totals
         WHERE matched <> delivered + unchanged + stale + dead_lettered + discarded + pending",
    ),
    // Both sides are added up, not joined: a full join of large tables has no index to use.
    rule(
        "totals-match-rows",
        "WITH columns AS (
             SELECT run, subscription, delivered, unchanged, stale, dead_lettered, discarded,
                 pending, 0 AS d, 0 AS u, 0 AS s, 0 AS l, 0 AS x, 0 AS p
             FROM run_totals
             UNION ALL SELECT run, subscription, 0, 0, 0, 0, 0, 0, outcome = 1, outcome = 2,
                 outcome = 3, outcome = 4, outcome = 5, 0
             FROM ledger
             UNION ALL SELECT run, subscription, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 FROM deliveries),
         sums AS (
             SELECT run, subscription, sum(delivered) AS delivered, sum(unchanged) AS unchanged,
                 sum(stale) AS stale, sum(dead_lettered) AS dead_lettered,
                 sum(discarded) AS discarded, sum(pending) AS pending, sum(d) AS d, sum(u) AS u,
                 sum(s) AS s, sum(l) AS l, sum(x) AS x, sum(p) AS p
             FROM columns GROUP BY run, subscription)
         SELECT 'run-' || run, 'subscription res-' || subscription
             || ': delivered, unchanged, stale, dead_lettered, discarded, pending are '
             || delivered || ', ' || unchanged || ', ' || stale || ', ' || dead_lettered || ', '
             || discarded || ', ' || pending || ' in the totals, ' || d || ', ' || u || ', ' || s
             || ', ' || l || ', ' || x || ', ' || p || ' in the rows'
         FROM sums
         WHERE (delivered, unchanged, stale, dead_lettered, discarded) <> (d, u, s, l, x)
             OR pending < p
             OR pending > p AND NOT EXISTS (SELECT 1 FROM cursors c
                 WHERE c.subscription = sums.subscription AND c.counted)",
    ),
    // What is pending and has no row stands behind a cursor; which events those are, the audit
    // finds out.
    rule(
        "cursors-hold-what-has-no-row",
        "WITH behind AS (
             SELECT subscription, sum(behind) AS count, min(behind) AS least,
                 max(NOT counted AND behind <> 0) AS uncounted
             FROM cursors GROUP BY subscription),
         live AS (SELECT subscription, count(*) AS count FROM deliveries GROUP BY subscription)
         SELECT 'res-' || b.subscription, b.count || ' matches are behind its cursors, '
             || (ifnull(t.pending, 0) - ifnull(l.count, 0)) || ' are pending without a delivery'
         FROM behind b LEFT JOIN live l ON l.subscription = b.subscription
         LEFT JOIN subscription_totals t ON t.subscription = b.subscription
         WHERE b.least < 0 OR b.uncounted OR b.count <> ifnull(t.pending, 0) - ifnull(l.count, 0)",
    ),
    rule(
        "cursors-follow-one-another",
        "SELECT 'res-' || subscription, 'its cursor at evt-' || opened || ' ends at '
             || ifnull('evt-' || until, 'no event') || ', the next one begins at '
             || ifnull('evt-' || next, 'none')
         FROM (SELECT subscription, opened, until,
                   lead(opened) OVER (PARTITION BY subscription ORDER BY opened) AS next
               FROM cursors)
         WHERE next IS NOT NULL AND (until IS NULL OR until > next)",
    ),
    rule(
        "subscription-totals-match-runs",
        "WITH found AS (
             SELECT subscription, sum(matched) AS matched, sum(delivered) AS delivered,
                 sum(unchanged) AS unchanged, sum(stale) AS stale,
                 sum(dead_lettered) AS dead_lettered, sum(discarded) AS discarded,
                 sum(pending) AS pending
             FROM run_totals GROUP BY subscription)
         SELECT 'res-' || coalesce(t.subscription, f.subscription),
             'its totals (matched ' || ifnull(t.matched, 0)
             || ') are not the sum over all runs (matched ' || ifnull(f.matched, 0) || ')'
         FROM subscription_totals t FULL JOIN found f ON f.subscription = t.subscription
         WHERE (t.matched, t.delivered, t.unchanged, t.stale, t.dead_lettered, t.discarded,
                t.pending)
             IS NOT (f.matched, f.delivered, f.unchanged, f.stale, f.dead_lettered, f.discarded,
                f.pending)",
    ),
    rule(
        "workflow-totals-match-executions",
        "WITH found AS (
             SELECT workflow, count(*) AS started, sum(status = 2) AS succeeded,
                 sum(status = 3) AS failed, sum(status = 4) AS timed_out,
                 sum(status = 5) AS aborted
             FROM executions WHERE map_run IS NULL GROUP BY workflow)
         SELECT 'res-' || coalesce(t.workflow, f.workflow),
             'its totals (started ' || ifnull(t.started, 0)
             || ') are not what its executions say (started ' || ifnull(f.started, 0) || ')'
         FROM workflow_totals t FULL JOIN found f ON f.workflow = t.workflow
         WHERE (t.started, t.succeeded, t.failed, t.timed_out, t.aborted)
             IS NOT (f.started, f.succeeded, f.failed, f.timed_out, f.aborted)",
    ),
    rule(
        "run-open-matches-rows",
        "WITH found AS (
             SELECT run, sum(open) AS open FROM (
                 SELECT run, pending AS open FROM run_totals
                 UNION ALL SELECT run, 1 FROM executions WHERE status = 1)
             GROUP BY run)
         SELECT 'run-' || r.id, 'has ' || r.open || ' open, its rows say ' || ifnull(f.open, 0)
         FROM runs r LEFT JOIN found f ON f.run = r.id WHERE r.open <> ifnull(f.open, 0)",
    ),
    rule(
        "items-match-children",
        "WITH children AS (
             SELECT map_run,
                 sum(items * (status = 1)) AS running, sum(status = 1) AS x_running,
                 sum(items * (status = 2)) AS succeeded, sum(status = 2) AS x_succeeded,
                 sum(items * (status = 3 AND NOT awaits_redrive)) AS failed, sum(status = 3 AND NOT awaits_redrive) AS x_failed,
                 sum(items * (status = 4 AND NOT awaits_redrive)) AS timed_out, sum(status = 4 AND NOT awaits_redrive) AS x_timed_out,
                 sum(items * (status = 5 AND NOT awaits_redrive)) AS aborted, sum(status = 5 AND NOT awaits_redrive) AS x_aborted,
                 sum(items * (awaits_redrive)) AS pending_redrive, sum(awaits_redrive) AS x_pending_redrive
             FROM executions WHERE map_run IS NOT NULL GROUP BY map_run),
         pages AS (
             SELECT map_run, sum(item_count) AS total, sum(count) AS x_total
             FROM map_pages GROUP BY map_run)
         SELECT 'map-' || c.map_run, 'of its items, total, running, succeeded, failed, timed out, '
             || 'aborted and awaiting a redrive are ' || c.total || ', ' || c.running || ', '
             || c.succeeded || ', ' || c.failed || ', ' || c.timed_out || ', ' || c.aborted
             || ', ' || c.pending_redrive || '; its pages and children say ' || ifnull(p.total, 0)
             || ', ' || ifnull(k.running, 0) || ', ' || ifnull(k.succeeded, 0) || ', '
             || ifnull(k.failed, 0) || ', ' || ifnull(k.timed_out, 0) || ', '
             || ifnull(k.aborted, 0) || ', ' || ifnull(k.pending_redrive, 0)
         FROM map_counts c LEFT JOIN children k ON k.map_run = c.map_run
         LEFT JOIN pages p ON p.map_run = c.map_run
         WHERE (c.total, c.x_total) <> (ifnull(p.total, 0), ifnull(p.x_total, 0)) OR
             (c.running, c.x_running) <> (ifnull(k.running, 0), ifnull(k.x_running, 0)) OR
             (c.succeeded, c.x_succeeded) <> (ifnull(k.succeeded, 0), ifnull(k.x_succeeded, 0)) OR
             (c.failed, c.x_failed) <> (ifnull(k.failed, 0), ifnull(k.x_failed, 0)) OR
             (c.timed_out, c.x_timed_out) <> (ifnull(k.timed_out, 0), ifnull(k.x_timed_out, 0)) OR
             (c.aborted, c.x_aborted) <> (ifnull(k.aborted, 0), ifnull(k.x_aborted, 0)) OR
             (c.pending_redrive, c.x_pending_redrive) <> (ifnull(k.pending_redrive, 0), ifnull(k.x_pending_redrive, 0)) OR
             c.total < c.running + c.succeeded + c.failed + c.timed_out + c.aborted
                 + c.pending_redrive",
    ),
];

const FATES: &[Rule] = &[
    rule(
        "one-fate",
        "SELECT 'dlv-' || d.id, 'is pending and has a fate in the ledger'
         FROM deliveries d JOIN ledger l ON l.id = d.id",
    ),
    rule(
        "delivery-has-event",
        "SELECT 'dlv-' || d.id, 'its event evt-' || d.event || ' is not there'
         FROM deliveries d LEFT JOIN events e ON e.id = d.event WHERE e.id IS NULL",
    ),
    rule(
        "dead-letter-has-ledger",
        "SELECT 'msg-' || m.id, 'its delivery dlv-' || m.d_id || ' is not dead-lettered'
         FROM messages m LEFT JOIN ledger l ON l.id = m.d_id
         WHERE m.d_id IS NOT NULL AND l.outcome IS NOT 4",
    ),
    rule(
        "ledger-has-dead-letter",
        "SELECT 'dlv-' || id, 'is dead-lettered, but no queue holds it'
         FROM ledger WHERE outcome = 4
             AND id NOT IN (SELECT d_id FROM messages WHERE d_id IS NOT NULL)",
    ),
    rule(
        "one-dead-letter",
        "SELECT 'dlv-' || d_id, 'is the delivery of ' || count(*) || ' dead letters'
         FROM messages WHERE d_id IS NOT NULL GROUP BY d_id HAVING count(*) > 1",
    ),
];

const JOURNALS: &[Rule] = &[
    rule(
        "journal-without-gaps",
        "SELECT 'exe-' || execution, 'its journal has entry ' || first || ' where ' || expected
             || ' should stand'
         FROM (SELECT execution, first,
                   lag(first + count, 1, 0) OVER (PARTITION BY execution ORDER BY first) AS expected
               FROM journal)
         WHERE first <> expected",
    ),
    rule(
        "snapshot-within-journal",
        "SELECT 'exe-' || s.execution, 'its snapshot holds ' || s.inputs
             || ' inputs, its journal ' || ifnull(max(j.first + j.count), 0)
         FROM snapshots s LEFT JOIN journal j ON j.execution = s.execution
         GROUP BY s.execution HAVING s.inputs > ifnull(max(j.first + j.count), 0)",
    ),
    rule(
        "ended-execution-has-end",
        "SELECT 'exe-' || id, 'its status, end and idle do not go together'
         FROM executions
         WHERE (status = 1) <> (ended IS NULL) OR (status > 1 AND idle) OR (wake IS NOT NULL AND NOT idle)",
    ),
    rule(
        "ids-below-mark",
        concat!(
            "SELECT 'nodes', 'the id mark ' || n.next_id || ' is not above ' || m.id
             FROM nodes n, (",
            highest_id!(),
            ") m WHERE n.next_id <= m.id"
        ),
    ),
];

const ORPHANS: &[Rule] = &[
    rule(
        "waiting-task-has-running-execution",
        "SELECT 'exe-' || execution, 'waits for a task token, but does not run' FROM task_tokens
         WHERE NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = execution AND e.status = 1)
         UNION ALL
         SELECT 'exe-' || parent, 'waits for exe-' || child || ', but does not run'
         FROM sync_children WHERE state <> 2
             AND NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = parent AND e.status = 1)",
    ),
    rule(
        "awaited-child-tells-its-end",
        "SELECT 'exe-' || child, CASE WHEN e.id IS NULL THEN 'is awaited, but is not there'
             WHEN e.status = 1 THEN 'runs, but exe-' || parent || ' is told that it has ended'
             ELSE 'has ended, but exe-' || parent || ' still waits for it' END
         FROM sync_children LEFT JOIN executions e ON e.id = child
         WHERE e.id IS NULL OR (state = 1) = (e.status = 1)",
    ),
    rule(
        "row-has-run",
        "SELECT what, 'its run run-' || run || ' is not there' FROM (
             SELECT 'evt-' || id AS what, run FROM events
             UNION ALL SELECT 'dlv-' || id, run FROM deliveries
             UNION ALL SELECT 'dlv-' || id, run FROM ledger
             UNION ALL SELECT 'exe-' || id, run FROM executions
             UNION ALL SELECT 'map-' || id, run FROM map_runs)
         WHERE NOT EXISTS (SELECT 1 FROM runs WHERE id = run)",
    ),
    rule(
        "execution-has-definition",
        "SELECT 'exe-' || id, 'its definition ' || definition || ' is not there' FROM executions
         WHERE NOT EXISTS (SELECT 1 FROM definitions d WHERE d.id = definition)",
    ),
    rule(
        "journal-has-execution",
        "SELECT 'exe-' || execution, 'has a journal, but is not there'
         FROM (SELECT DISTINCT execution FROM journal)
         WHERE NOT EXISTS (SELECT 1 FROM executions WHERE id = execution)",
    ),
    rule(
        "snapshot-has-execution",
        "SELECT 'exe-' || execution, 'has a snapshot, but is not there' FROM snapshots
         WHERE NOT EXISTS (SELECT 1 FROM executions WHERE id = execution)",
    ),
    rule(
        "map-run-has-execution",
        "SELECT 'map-' || id, 'its execution exe-' || execution || ' is not there' FROM map_runs
         WHERE NOT EXISTS (SELECT 1 FROM executions e WHERE e.id = execution)",
    ),
    rule(
        "map-run-has-counts",
        "SELECT 'map-' || coalesce(m.id, c.map_run), 'the map run and its counts do not go together'
         FROM map_runs m FULL JOIN map_counts c ON c.map_run = m.id
         WHERE m.id IS NULL OR c.map_run IS NULL",
    ),
    rule(
        "map-page-has-map-run",
        "SELECT 'map-' || map_run, 'page ' || page || ' has no map run' FROM map_pages
         WHERE NOT EXISTS (SELECT 1 FROM map_runs WHERE id = map_run)",
    ),
    rule(
        "map-pages-without-gaps",
        "SELECT 'map-' || map_run, 'page ' || page || ' begins at item ' || first_index || ' where '
             || expected || ' should stand'
         FROM (SELECT map_run, page, first_index,
                   lag(first_index + count, 1, 0) OVER (PARTITION BY map_run ORDER BY page)
                       AS expected
               FROM map_pages)
         WHERE first_index <> expected",
    ),
    rule(
        "child-has-map-run",
        "SELECT 'exe-' || id, 'its map run map-' || map_run || ' is not there' FROM executions e
         WHERE map_run IS NOT NULL AND NOT EXISTS (SELECT 1 FROM map_runs m WHERE m.id = e.map_run)",
    ),
    rule(
        "running-child-has-running-parent",
        "SELECT 'exe-' || e.id, 'runs, but its map run map-' || m.id || ' has ended'
         FROM executions e JOIN map_runs m ON m.id = e.map_run
         WHERE e.status = 1 AND e.map_run IS NOT NULL AND m.status <> 1
         UNION ALL
         SELECT 'map-' || m.id, 'has children that run, but its execution exe-' || e.id
             || ' has ended'
         FROM map_runs m JOIN executions e ON e.id = m.execution
         WHERE m.status = 1 AND e.status <> 1 AND (m.redriven IS NULL OR m.redriven < e.ended)
             AND EXISTS (SELECT 1 FROM executions c WHERE c.status = 1 AND c.map_run = m.id)",
    ),
    rule(
        "one-child-per-item",
        "SELECT 'map-' || map_run, 'item ' || item || ' has ' || count(*) || ' children'
         FROM executions WHERE map_run IS NOT NULL GROUP BY map_run, item HAVING count(*) > 1",
    ),
];
