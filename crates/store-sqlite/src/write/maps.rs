//! Map runs and their pages.

use rusqlite::{Connection, Statement, params, params_from_iter};
use stepbus_model::MapRunId;
use stepbus_store::{
    MapCounts, MapPageRow, MapRunEnd, MapRunRedrive, MapRunRow, MapSettings, StoreError,
};

use super::{Written, hit, insert_unique, int};

#[derive(Debug)]
pub(super) struct Maps<'c> {
    insert_map_run: Statement<'c>,
    insert_counts: Statement<'c>,
    insert_page: Statement<'c>,
    redrive: Statement<'c>,
    update: Statement<'c>,
    pin_source: Statement<'c>,
    end_map_run: Statement<'c>,
}

impl<'c> Maps<'c> {
    pub(super) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Maps {
            insert_map_run: conn.prepare(
                "INSERT INTO map_runs (id, run, execution, visit, status, started, ended, error,
                 error_cause, spec, source_version, max_concurrency, tolerated_failure_count,
                 tolerated_failure_percentage, redrives, redriven, only_marked,
                 definition, from_state) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,
                 ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
            )?,
            insert_counts: conn.prepare(
                "INSERT INTO map_counts (map_run, total, running, succeeded, failed, timed_out, aborted,
                 results_written, pending_redrive, x_total, x_running, x_succeeded, x_failed,
                 x_timed_out, x_aborted, x_results_written, x_pending_redrive)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
            )?,
            insert_page: conn.prepare(
                "INSERT INTO map_pages (map_run, page, first_index, count, next_token, items,
                 item_count) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
            redrive: conn.prepare(
                "UPDATE map_runs SET status = 1, ended = NULL, error = NULL, error_cause = NULL,
                 visit = ?2, redrives = redrives + 1, redriven = ?3, only_marked = ?4,
                 definition = ?5, from_state = ?6 WHERE id = ?1 AND status > 1",
            )?,
            update: conn.prepare(
                "UPDATE map_runs SET max_concurrency = ?2, tolerated_failure_count = ?3,
                 tolerated_failure_percentage = ?4 WHERE id = ?1 AND status = 1",
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
            row.source_version,
            int(row.settings.max_concurrency),
            row.settings.tolerated_failure_count.map(int),
            row.settings.tolerated_failure_percentage,
            row.redrives,
            row.redriven.map(|at| at.0),
            row.only_marked,
            row.definition.map(int),
            row.from_state
        ])?;
        self.insert_counts.execute(params_from_iter(counts(row.id, &row.counts)))?;
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

    pub(super) fn redrive(&mut self, redrive: &MapRunRedrive) -> Written {
        let values = params![
            int(redrive.id.0),
            int(redrive.visit),
            redrive.at.0,
            redrive.only_marked,
            redrive.definition.map(int),
            redrive.from_state
        ];
        hit(&mut self.redrive, values, format_args!("the ended {}", redrive.id))
    }

    pub(super) fn update(&mut self, id: MapRunId, settings: &MapSettings) -> Written {
        let values = params![
            int(id.0),
            int(settings.max_concurrency),
            settings.tolerated_failure_count.map(int),
            settings.tolerated_failure_percentage
        ];
        hit(&mut self.update, values, format_args!("the running {id}"))
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

/// A map run's number and its counts, in the order of their columns.
pub(super) fn counts(map_run: MapRunId, counts: &MapCounts) -> [i64; 17] {
    let (items, children) = (&counts.items, &counts.executions);
    [
        int(map_run.0),
        items.total,
        items.running,
        items.succeeded,
        items.failed,
        items.timed_out,
        items.aborted,
        items.results_written,
        items.pending_redrive,
        children.total,
        children.running,
        children.succeeded,
        children.failed,
        children.timed_out,
        children.aborted,
        children.results_written,
        children.pending_redrive,
    ]
}
