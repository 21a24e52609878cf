//! Map runs and their pages.

use rusqlite::{Connection, Statement, params};
use stepbus_model::MapRunId;
use stepbus_store::{MapPageRow, MapRunEnd, MapRunRow, StoreError};

use super::{Written, hit, insert_unique, int};

#[derive(Debug)]
pub(super) struct Maps<'c> {
    insert_map_run: Statement<'c>,
    insert_counts: Statement<'c>,
    insert_page: Statement<'c>,
    pin_source: Statement<'c>,
    end_map_run: Statement<'c>,
}

impl<'c> Maps<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Maps {
            insert_map_run: conn.prepare(
                "INSERT INTO map_runs (id, run, execution, visit, status, started, ended, error,
                 error_cause, spec, source_version)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
            )?,
            insert_counts: conn.prepare(
                "INSERT INTO map_counts (map_run, total, succeeded, failed, timed_out, aborted)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?,
            insert_page: conn.prepare(
                "INSERT INTO map_pages (map_run, page, first_index, count, next_token, items,
                 item_count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            pin_source: conn
                .prepare("UPDATE map_runs SET source_version = ?2 WHERE id = ?1 AND status = 1")?,
            end_map_run: conn.prepare(
                "UPDATE map_runs SET status = ?2, ended = ?3, error = ?4, error_cause = ?5
                 WHERE id = ?1 AND status = 1",
            )?,
        })
    }

    pub(super) fn insert_map_run(&mut self, row: &MapRunRow) -> Written {
        self.insert_map_run.execute(params![
            int(row.id.0),
            int(row.run.0),
            int(row.execution.0),
            int(row.visit),
            row.status.code(),
            row.started.0,
            row.ended.map(|at| at.0),
            row.error,
            row.error_cause,
            &row.spec[..],
            row.source_version
        ])?;
        self.insert_counts.execute(params![
            int(row.id.0),
            row.counts.total,
            row.counts.succeeded,
            row.counts.failed,
            row.counts.timed_out,
            row.counts.aborted
        ])?;
        Ok(())
    }

    pub(super) fn insert_page(&mut self, row: &MapPageRow) -> Written {
        let values = params![
            int(row.map_run.0),
            int(row.page),
            int(row.first_index),
            row.count,
            row.next_token,
            &row.items[..],
            row.item_count
        ];
        insert_unique(&mut self.insert_page, values, || StoreError::Conflict {
            scope: "map page".into(),
            key: row.map_run.to_string(),
            value: format!("page {}", row.page),
        })
    }

    pub(super) fn pin_source(&mut self, id: MapRunId, version: &str) -> Written {
        hit(&mut self.pin_source, params![int(id.0), version], format_args!("the running {id}"))
    }

    pub(super) fn end_map_run(&mut self, end: &MapRunEnd) -> Written {
        let values =
            params![int(end.id.0), end.status.code(), end.at.0, end.error, end.error_cause];
        hit(&mut self.end_map_run, values, format_args!("the running {}", end.id))
    }
}
