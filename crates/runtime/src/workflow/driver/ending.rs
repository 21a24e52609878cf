//! The end of an execution, as it is committed: by its driver, or along with the ends of others by
//! the map run whose child it is.

use stepbus_store::{Batch, ExecutionEnd, ExecutionRow, ExecutionStatus, JournalRow};

use super::{Driver, Step, end};

/// An end that is not on disk yet.
pub(in crate::workflow) struct Ending {
    row: ExecutionRow,
    place: Place,
    end: ExecutionEnd,
    journal: Option<JournalRow>,
}

/// What the store has of the execution.
pub(in crate::workflow) enum Place {
    /// Its row, and perhaps a snapshot.
    Stored { snapshot: bool },
    /// Nothing, or the child whose place it takes.
    New { replaces: Option<Box<ExecutionRow>> },
}

impl Ending {
    pub(in crate::workflow) fn new(
        row: ExecutionRow,
        place: Place,
        end: ExecutionEnd,
        journal: Option<JournalRow>,
    ) -> Ending {
        Ending { row, place, end, journal }
    }

    pub(in crate::workflow) fn status(&self) -> ExecutionStatus {
        self.end.status
    }

    /// Adds the row, or what changed of it, and the journal's new entries.
    pub(in crate::workflow) fn record(self, batch: &mut Batch) {
        let Ending { mut row, place, end, journal } = self;
        match place {
            Place::Stored { snapshot } => {
                batch.end_execution(&row, end);
                if snapshot {
                    batch.delete_snapshot(row.id);
                }
            }
            Place::New { replaces } => {
                row.status = end.status;
                row.ended = Some(end.at);
                row.output = end.output;
                row.error = end.error;
                row.error_cause = end.error_cause;
                match replaces {
                    Some(old) => batch.restart_execution(&old, row),
                    None => batch.start_execution(row),
                }
            }
        }
        if let Some(journal) = journal {
            batch.append_journal(journal);
        }
    }
}

impl Driver {
    /// Whether the step is nothing but the end of a map's child. Its map run commits that; nobody
    /// else waits for it, since it has no mailbox.
    pub(super) fn only_ends(&self, step: &Step) -> bool {
        self.ended.is_some()
            && self.row.item.is_some()
            && self.mailbox.is_none()
            && step.batch.is_empty()
            && step.abandoned.is_empty()
            && step.left.is_empty()
            && !step.map_run_ended
    }

    /// The end, once there is one.
    pub(super) fn ending(&mut self) -> Option<Ending> {
        let end = end(self.ended.as_ref()?, self.execution.latest());
        let place = if self.stored {
            Place::Stored { snapshot: self.snapshot_at.is_some() }
        } else {
            Place::New { replaces: self.replaces.take() }
        };
        let journal = self.pending.take(&self.row);
        Some(Ending::new(self.row.clone(), place, end, journal))
    }

    /// Of a map's child that has ended: its end, unless the driver has committed it.
    pub(in crate::workflow) fn take_ending(&mut self) -> Option<Box<Ending>> {
        self.uncommitted.take()
    }
}
