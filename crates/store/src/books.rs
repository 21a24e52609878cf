//! The books: what a batch's changes of rows amount to.

use std::collections::BTreeMap;

use serde::Serialize;
use stepbus_model::{EventId, MapRunId, ResourceId, RunId, Timestamp, Totals};

use crate::records::{ExecutionStatus, MapCounts};

/// Executions of a workflow by how they stand, or a change of those counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct WorkflowTotals {
    pub started: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub timed_out: i64,
    pub aborted: i64,
}

impl WorkflowTotals {
    #[must_use]
    pub fn running(&self) -> i64 {
        self.started - self.succeeded - self.failed - self.timed_out - self.aborted
    }

    pub(crate) fn column(&mut self, status: ExecutionStatus) -> &mut i64 {
        match status {
            ExecutionStatus::Running => &mut self.started,
            ExecutionStatus::Succeeded => &mut self.succeeded,
            ExecutionStatus::Failed => &mut self.failed,
            ExecutionStatus::TimedOut => &mut self.timed_out,
            ExecutionStatus::Aborted => &mut self.aborted,
        }
    }
}

/// The changes of the books that a batch's other changes amount to.
#[derive(Debug, Clone, Default)]
pub struct Books {
    pub subscriptions: BTreeMap<(RunId, ResourceId), Totals>,
    pub workflows: BTreeMap<ResourceId, WorkflowTotals>,
    pub maps: BTreeMap<MapRunId, MapCounts>,
    /// Change of what is behind a cursor, named by its subscription and first event.
    pub cursors: BTreeMap<(ResourceId, EventId), i64>,
    /// Change of what a run has open, and when it was last touched.
    pub runs: BTreeMap<RunId, (i64, Timestamp)>,
}

impl Books {
    /// Adds the changes of `other`, as when several batches become one commit.
    pub fn merge(&mut self, other: &Books) {
        for (&key, &totals) in &other.subscriptions {
            *self.subscriptions.entry(key).or_default() += totals;
        }
        for (&id, delta) in &other.workflows {
            let totals = self.workflows.entry(id).or_default();
            totals.started += delta.started;
            totals.succeeded += delta.succeeded;
            totals.failed += delta.failed;
            totals.timed_out += delta.timed_out;
            totals.aborted += delta.aborted;
        }
        for (&id, delta) in &other.maps {
            *self.maps.entry(id).or_default() += *delta;
        }
        for (&cursor, &delta) in &other.cursors {
            *self.cursors.entry(cursor).or_default() += delta;
        }
        for (&id, &(open, at)) in &other.runs {
            self.touch(id, open, at);
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.subscriptions.is_empty()
            && self.workflows.is_empty()
            && self.maps.is_empty()
            && self.cursors.is_empty()
            && self.runs.is_empty()
    }

    pub(crate) fn touch(&mut self, run: RunId, open: i64, at: Timestamp) {
        let entry = self.runs.entry(run).or_insert((0, at));
        entry.0 += open;
        entry.1 = entry.1.max(at);
    }
}
