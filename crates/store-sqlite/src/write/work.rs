//! Executions, journals, snapshots.

use rusqlite::{Connection, Statement, ToSql, params};
use stepbus_model::{ExecutionId, Timestamp};
use stepbus_store::{ExecutionEnd, ExecutionRow, JournalRow, SnapshotRow, StoreError};

use super::{Written, hit, int, unless_taken};
use crate::codes::cause_code;

/// Rows that go in by one statement: opening the table and each of its indexes costs more than
/// adding a row.
const TOGETHER: usize = 16;

type Table = (&'static str, &'static [&'static str]);

const EXECUTION: Table = (
    "executions",
    &[
        "id",
        "run",
        "workflow",
        "definition",
        "kind",
        "name",
        "cause_kind",
        "cause",
        "hops",
        "map_run",
        "item",
        "status",
        "idle",
        "wake",
        "started",
        "ended",
        "recoveries",
        "semantics",
        "error",
        "error_cause",
        "output",
        "items",
    ],
);

const JOURNAL: Table = ("journal", &["execution", "first", "count", "entries"]);

fn insert(verb: &str, (table, columns): Table, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let (columns, rows) = (columns.join(", "), vec![row; rows].join(", "));
    format!("{verb} INTO {table} ({columns}) VALUES {rows}")
}

/// The values of one row after the other.
struct Binder<'s, 'c> {
    statement: &'s mut Statement<'c>,
    bound: usize,
}

impl<'s, 'c> Binder<'s, 'c> {
    fn new(statement: &'s mut Statement<'c>) -> Self {
        Binder { statement, bound: 0 }
    }

    fn bind(&mut self, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        for value in values {
            self.bound += 1;
            self.statement.raw_bind_parameter(self.bound, value)?;
        }
        Ok(())
    }

    fn execution(&mut self, row: &ExecutionRow) -> rusqlite::Result<()> {
        let (cause_kind, cause) = cause_code(row.cause);
        self.bind(params![
            int(row.id.0),
            int(row.run.0),
            int(row.workflow.0),
            int(row.definition),
            row.kind.code(),
            row.name,
            cause_kind,
            cause,
            row.hops,
            row.item.map(|(map_run, _)| int(map_run.0)),
            row.item.map(|(_, index)| int(index)),
            row.status.code(),
            row.idle,
            row.wake.map(|at| at.0),
            row.started.0,
            row.ended.map(|at| at.0),
            row.recoveries,
            row.semantics,
            row.error,
            row.error_cause,
            row.output.as_deref(),
            row.items
        ])
    }

    fn journal(&mut self, row: &JournalRow) -> rusqlite::Result<()> {
        self.bind(params![int(row.execution.0), int(row.first), row.count, &row.entries[..]])
    }

    fn execute(&mut self) -> rusqlite::Result<()> {
        self.bound = 0;
        self.statement.raw_execute().map(drop)
    }
}

/// Inserts as many rows as fill whole statements; gives those that are left.
fn together<'s, 'c, 'r, T>(
    statement: &'s mut Statement<'c>,
    rows: &'r [&'r T],
    bind: fn(&mut Binder<'s, 'c>, &T) -> rusqlite::Result<()>,
) -> rusqlite::Result<&'r [&'r T]> {
    let mut binder = Binder::new(statement);
    let mut chunks = rows.chunks_exact(TOGETHER);
    for chunk in &mut chunks {
        chunk.iter().try_for_each(|row| bind(&mut binder, row))?;
        binder.execute()?;
    }
    Ok(chunks.remainder())
}

#[derive(Debug)]
pub(super) struct Work<'c> {
    insert_execution: Statement<'c>,
    insert_executions: Statement<'c>,
    find_name: Statement<'c>,
    park: Statement<'c>,
    wake: Statement<'c>,
    set_recoveries: Statement<'c>,
    end_execution: Statement<'c>,
    await_redrive: Statement<'c>,
    redrive: Statement<'c>,
    restart: Statement<'c>,
    delete_journal: Statement<'c>,
    insert_journal: Statement<'c>,
    insert_journals: Statement<'c>,
    put_snapshot: Statement<'c>,
    delete_snapshot: Statement<'c>,
}

impl<'c> Work<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Work {
            insert_execution: conn.prepare(
                &insert("INSERT", EXECUTION, 1),
            )?,
            insert_executions: conn.prepare(&insert("INSERT OR FAIL", EXECUTION, TOGETHER))?,
            find_name: conn.prepare(
                "SELECT id FROM executions
                 WHERE workflow = ?1 AND name = ?2 AND kind = 1 AND map_run IS NULL",
            )?,
            park: conn.prepare(
                "UPDATE executions SET idle = 1, wake = ?2 WHERE id = ?1 AND status = 1",
            )?,
            wake: conn.prepare(
                "UPDATE executions SET idle = 0, wake = NULL WHERE id = ?1 AND status = 1",
            )?,
            set_recoveries: conn
                .prepare("UPDATE executions SET recoveries = ?2 WHERE id = ?1 AND status = 1")?,
            end_execution: conn.prepare(
                "UPDATE executions SET status = ?2, ended = ?3, idle = 0, wake = NULL, error = ?4,
                 error_cause = ?5, output = ?6 WHERE id = ?1 AND status = 1",
            )?,
            await_redrive: conn.prepare(
                "UPDATE executions SET awaits_redrive = 1
                 WHERE id = ?1 AND status > 2 AND map_run IS NOT NULL AND NOT awaits_redrive",
            )?,
            redrive: conn.prepare(
                "UPDATE executions SET status = 1, ended = NULL, error = NULL, error_cause = NULL,
                 output = NULL, recoveries = 0, awaits_redrive = 0, redrives = redrives + 1,
                 redriven = ?2 WHERE id = ?1 AND status > 2",
            )?,
            restart: conn.prepare(
                "UPDATE executions SET definition = ?2, status = ?3, started = ?4, ended = ?5,
                 error = ?6, error_cause = ?7, output = ?8, recoveries = 0, awaits_redrive = 0,
                 redrives = ?9, redriven = ?10, semantics = ?11, kind = ?12 WHERE id = ?1 AND status > 2",
            )?,
            delete_journal: conn.prepare("DELETE FROM journal WHERE execution = ?1")?,
            insert_journal: conn.prepare(
                &insert("INSERT", JOURNAL, 1),
            )?,
            insert_journals: conn.prepare(&insert("INSERT OR FAIL", JOURNAL, TOGETHER))?,
            put_snapshot: conn.prepare(
                "INSERT OR REPLACE INTO snapshots (execution, inputs, value) VALUES (?1, ?2, ?3)",
            )?,
            delete_snapshot: conn.prepare("DELETE FROM snapshots WHERE execution = ?1")?,
        })
    }

    pub(super) fn insert_execution(&mut self, row: &ExecutionRow) -> Written {
        let mut binder = Binder::new(&mut self.insert_execution);
        let inserted = binder.execution(row).and_then(|()| binder.execute());
        let find_name = &mut self.find_name;
        unless_taken(inserted, || {
            let holder = find_name
                .query_row(params![int(row.workflow.0), row.name], |row| row.get::<_, i64>(0));
            let holder = holder.map_or(row.id, |id| ExecutionId(id.cast_unsigned()));
            StoreError::Conflict {
                scope: "execution".into(),
                key: row.name.clone(),
                value: holder.to_string(),
            }
        })
    }

    /// For a transaction that is given up when a row is taken: it does not say which.
    pub(super) fn insert_executions(&mut self, rows: &[&ExecutionRow]) -> Written {
        let rest = together(&mut self.insert_executions, rows, Binder::execution)?;
        rest.iter().try_for_each(|row| self.insert_execution(row))
    }

    pub(super) fn park(&mut self, id: ExecutionId, wake: Option<Timestamp>) -> Written {
        let values = params![int(id.0), wake.map(|at| at.0)];
        hit(&mut self.park, values, format_args!("the running {id}"))
    }

    pub(super) fn wake(&mut self, id: ExecutionId) -> Written {
        hit(&mut self.wake, params![int(id.0)], format_args!("the running {id}"))
    }

    pub(super) fn set_recoveries(&mut self, id: ExecutionId, recoveries: u32) -> Written {
        let values = params![int(id.0), recoveries];
        hit(&mut self.set_recoveries, values, format_args!("the running {id}"))
    }

    pub(super) fn await_redrive(&mut self, id: ExecutionId) -> Written {
        hit(&mut self.await_redrive, params![int(id.0)], format_args!("the unsuccessful {id}"))
    }

    pub(super) fn redrive(&mut self, id: ExecutionId, at: Timestamp) -> Written {
        let values = params![int(id.0), at.0];
        hit(&mut self.redrive, values, format_args!("the unsuccessful {id}"))
    }

    pub(super) fn restart(&mut self, row: &ExecutionRow) -> Written {
        let values = params![
            int(row.id.0),
            int(row.definition),
            row.status.code(),
            row.started.0,
            row.ended.map(|at| at.0),
            row.error,
            row.error_cause,
            row.output.as_deref(),
            row.redrives,
            row.redriven.map(|at| at.0),
            row.semantics,
            row.kind.code()
        ];
        hit(&mut self.restart, values, format_args!("the unsuccessful {}", row.id))?;
        self.delete_snapshot.execute([int(row.id.0)])?;
        self.delete_journal.execute([int(row.id.0)])?;
        Ok(())
    }

    pub(super) fn end_execution(&mut self, id: ExecutionId, end: &ExecutionEnd) -> Written {
        let values = params![
            int(id.0),
            end.status.code(),
            end.at.0,
            end.error,
            end.error_cause,
            end.output.as_deref()
        ];
        hit(&mut self.end_execution, values, format_args!("the running {id}"))
    }

    pub(super) fn insert_journal(&mut self, row: &JournalRow) -> Written {
        let mut binder = Binder::new(&mut self.insert_journal);
        let inserted = binder.journal(row).and_then(|()| binder.execute());
        unless_taken(inserted, || StoreError::Conflict {
            scope: "journal".into(),
            key: row.execution.to_string(),
            value: format!("entry {}", row.first),
        })
    }

    /// As with [`Work::insert_executions`].
    pub(super) fn insert_journals(&mut self, rows: &[&JournalRow]) -> Written {
        let rest = together(&mut self.insert_journals, rows, Binder::journal)?;
        rest.iter().try_for_each(|row| self.insert_journal(row))
    }

    pub(super) fn put_snapshot(&mut self, row: &SnapshotRow) -> Written {
        self.put_snapshot.execute(params![
            int(row.execution.0),
            int(row.inputs),
            &row.value[..]
        ])?;
        Ok(())
    }

    pub(super) fn delete_snapshot(&mut self, id: ExecutionId) -> Written {
        self.delete_snapshot.execute(params![int(id.0)])?;
        Ok(())
    }
}
