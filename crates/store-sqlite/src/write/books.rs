//! The books: totals that change in the same commits as the work.

use std::collections::BTreeMap;

use rusqlite::{Connection, Statement, params, params_from_iter};
use stepbus_model::{ResourceId, Totals};
use stepbus_store::{Books, StoreError};

use super::maps::counts;
use super::{Fault, Written, hit, int};

#[derive(Debug)]
pub(crate) struct BookKeeper<'c> {
    run_totals: Statement<'c>,
    subscription_totals: Statement<'c>,
    workflow_totals: Statement<'c>,
    maps: Statement<'c>,
    cursor: Statement<'c>,
    run: Statement<'c>,
}

impl<'c> BookKeeper<'c> {
    pub(crate) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(BookKeeper {
            run_totals: conn.prepare(
                "INSERT INTO run_totals (run, subscription, matched, delivered, unchanged, stale,
                 dead_lettered, discarded, pending) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                 ON CONFLICT (run, subscription) DO UPDATE SET matched = matched + ?3,
                 delivered = delivered + ?4, unchanged = unchanged + ?5, stale = stale + ?6,
                 dead_lettered = dead_lettered + ?7, discarded = discarded + ?8,
                 pending = pending + ?9",
            )?,
            subscription_totals: conn.prepare(
                "INSERT INTO subscription_totals (subscription, matched, delivered, unchanged,
                 stale, dead_lettered, discarded, pending)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (subscription) DO UPDATE SET matched = matched + ?2,
                 delivered = delivered + ?3, unchanged = unchanged + ?4, stale = stale + ?5,
                 dead_lettered = dead_lettered + ?6, discarded = discarded + ?7,
                 pending = pending + ?8",
            )?,
            workflow_totals: conn.prepare(
                "INSERT INTO workflow_totals (workflow, started, succeeded, failed, timed_out,
                 aborted) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (workflow) DO UPDATE SET started = started + ?2,
                 succeeded = succeeded + ?3, failed = failed + ?4, timed_out = timed_out + ?5,
                 aborted = aborted + ?6",
            )?,
            maps: conn.prepare(
                "UPDATE map_counts SET total = total + ?2, running = running + ?3,
                 succeeded = succeeded + ?4,
                 failed = failed + ?5, timed_out = timed_out + ?6, aborted = aborted + ?7,
                 results_written = results_written + ?8,
                 pending_redrive = pending_redrive + ?9, x_total = x_total + ?10,
                 x_running = x_running + ?11, x_succeeded = x_succeeded + ?12,
                 x_failed = x_failed + ?13, x_timed_out = x_timed_out + ?14,
                 x_aborted = x_aborted + ?15, x_results_written = x_results_written + ?16,
                 x_pending_redrive = x_pending_redrive + ?17
                 WHERE map_run = ?1",
            )?,
            cursor: conn.prepare(
                "UPDATE cursors SET behind = behind + ?3 WHERE subscription = ?1 AND opened = ?2",
            )?,
            run: conn
                .prepare("UPDATE runs SET open = open + ?2, last = max(last, ?3) WHERE id = ?1")?,
        })
    }

    /// Writes what `books` adds up to: one row a run and subscription, however many batches it
    /// was gathered from.
    pub(crate) fn write(&mut self, books: &Books) -> Written {
        let mut sums: BTreeMap<ResourceId, Totals> = BTreeMap::new();
        for (&(run, subscription), delta) in &books.subscriptions {
            *sums.entry(subscription).or_default() += *delta;
            self.run_totals.execute(params![
                int(run.0),
                int(subscription.0),
                delta.matched,
                delta.delivered,
                delta.unchanged,
                delta.stale,
                delta.dead_lettered,
                delta.discarded,
                delta.pending
            ])?;
        }
        for (subscription, delta) in sums {
            self.subscription_totals.execute(params![
                int(subscription.0),
                delta.matched,
                delta.delivered,
                delta.unchanged,
                delta.stale,
                delta.dead_lettered,
                delta.discarded,
                delta.pending
            ])?;
        }
        for (workflow, delta) in &books.workflows {
            self.workflow_totals.execute(params![
                int(workflow.0),
                delta.started,
                delta.succeeded,
                delta.failed,
                delta.timed_out,
                delta.aborted
            ])?;
        }
        for (&map_run, delta) in &books.maps {
            hit(&mut self.maps, params_from_iter(counts(map_run, delta)), map_run)?;
        }
        for (&(subscription, opened), &delta) in &books.cursors {
            let values = params![int(subscription.0), int(opened.0), delta];
            // One that closes with its last matches is gone already; new ones need it.
            if self.cursor.execute(values)? == 0 && delta > 0 {
                let what = format!("the cursor of {subscription} at {opened}");
                return Err(Fault::Batch(StoreError::Gone(what)));
            }
        }
        for (&run, &(open, last)) in &books.runs {
            hit(&mut self.run, params![int(run.0), open, last.0], run)?;
        }
        Ok(())
    }
}
