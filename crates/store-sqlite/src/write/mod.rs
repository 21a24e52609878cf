//! How each change becomes SQL. One family of statements per group of tables, prepared once for the
//! writer's life.

mod books;
mod bus;
mod config;
mod log;
mod maps;
mod waits;
mod work;

use rusqlite::{Connection, ErrorCode, Statement};
use stepbus_store::{Change, ExecutionRow, JournalRow, StoreError};

pub(crate) use books::BookKeeper;

/// Why a change could not be carried out.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The batch asks for what the records do not allow; others may go on.
    Batch(StoreError),
    /// SQLite itself failed.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) => {
                Fault::Batch(StoreError::Failed(error.to_string()))
            }
            _ => Fault::Sqlite(error),
        }
    }
}

pub(crate) type Written = Result<(), Fault>;

/// Every statement that changes rows.
#[derive(Debug)]
pub(crate) struct Changes<'c> {
    config: config::Config<'c>,
    bus: bus::Bus<'c>,
    log: log::Log<'c>,
    work: work::Work<'c>,
    maps: maps::Maps<'c>,
    waits: waits::Waits<'c>,
}

impl<'c> Changes<'c> {
    pub(crate) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Changes {
            config: config::Config::prepare(conn)?,
            bus: bus::Bus::prepare(conn)?,
            log: log::Log::prepare(conn)?,
            work: work::Work::prepare(conn)?,
            maps: maps::Maps::prepare(conn)?,
            waits: waits::Waits::prepare(conn)?,
        })
    }

    /// Carries out the changes of many batches. New executions and journals do not heed each other:
    /// many of them go in together. A fault does not say which batch is to blame.
    pub(crate) fn apply_all<'b>(&mut self, changes: impl Iterator<Item = &'b Change>) -> Written {
        let (mut executions, mut journals) = (Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::InsertExecution(row) => executions.push(row),
                Change::InsertJournal(row) => journals.push(row),
                other => {
                    self.insert(&mut executions, &mut journals)?;
                    self.apply(other)?;
                }
            }
        }
        self.insert(&mut executions, &mut journals)
    }

    fn insert(
        &mut self,
        executions: &mut Vec<&ExecutionRow>,
        journals: &mut Vec<&JournalRow>,
    ) -> Written {
        // Those that end together began in another order; rows side by side share their pages.
        executions.sort_unstable_by_key(|row| row.id);
        journals.sort_unstable_by_key(|row| (row.execution, row.first));
        self.work.insert_executions(executions)?;
        self.work.insert_journals(journals)?;
        executions.clear();
        journals.clear();
        Ok(())
    }

    pub(crate) fn apply(&mut self, change: &Change) -> Written {
        match change {
            Change::PutResource(row) => self.config.put_resource(row),
            Change::PutDefinition(row) => self.config.put_definition(row),
            Change::PutKey(row) => self.config.put_key(row),
            Change::Claim { claim, now } => self.config.claim(claim, *now),
            Change::InsertAudit(row) => self.config.audit(row),
            Change::ReviseMessage { id, revision } => self.bus.revise_message(*id, *revision),
            Change::InsertEdit(row) => self.bus.insert_edit(row),
            Change::PutOperation(row) => self.config.put_operation(row),
            Change::PutSchedule(row) => self.config.put_schedule(row),
            Change::PutPause(row) => self.config.put_pause(row),
            Change::DeletePause(id) => self.config.delete_pause(*id),
            Change::InsertRun(row) => self.bus.insert_run(row),
            Change::InsertEvent(row) => self.bus.insert_event(row),
            Change::DeleteEvents(events) => self.log.delete_events(events),
            Change::PutReplay(row) => self.log.put_replay(row),
            Change::SetReplayState { id, state } => self.log.set_replay_state(*id, *state),
            Change::OpenCursor(row) => self.log.open_cursor(row),
            Change::EndCursor { subscription, opened, until } => {
                self.log.end_cursor(*subscription, *opened, *until)
            }
            Change::MoveCursor { subscription, opened, position } => {
                self.log.move_cursor(*subscription, *opened, *position)
            }
            Change::CloseCursor { subscription, opened } => {
                self.log.close_cursor(*subscription, *opened)
            }
            Change::InsertDelivery(row) => self.bus.insert_delivery(row),
            Change::RetryDelivery(retry) => self.bus.retry_delivery(retry),
            Change::DeleteDelivery(id) => self.bus.delete_delivery(*id),
            Change::PutLedger(row) => self.bus.put_ledger(row),
            Change::DeleteLedger(id) => self.bus.delete_ledger(*id),
            Change::InsertMessage(row) => self.bus.insert_message(row),
            Change::DeleteMessage(id) => self.bus.delete_message(*id),
            Change::HideMessage { receipt, reception } => {
                self.bus.hide_message(*receipt, reception)
            }
            Change::MoveMessage { id, queue, attributes, visible } => {
                self.bus.move_message(*id, *queue, attributes, *visible)
            }
            Change::InsertExecution(row) => self.work.insert_execution(row),
            Change::ParkExecution { id, wake } => self.work.park(*id, *wake),
            Change::WakeExecution { id } => self.work.wake(*id),
            Change::SetRecoveries { id, recoveries } => self.work.set_recoveries(*id, *recoveries),
            Change::EndExecution { id, end } => self.work.end_execution(*id, end),
            Change::InsertJournal(row) => self.work.insert_journal(row),
            Change::PutSnapshot(row) => self.work.put_snapshot(row),
            Change::DeleteSnapshot(id) => self.work.delete_snapshot(*id),
            Change::PutTaskToken(row) => self.waits.put_token(row),
            Change::TakeTaskToken(id) => self.waits.take_token(*id),
            Change::PutSyncChild(row) => self.waits.put_child(row),
            Change::SyncChildEnded(child) => self.waits.child_ended(*child),
            Change::CloseTask(task) => self.waits.close(*task),
            Change::CloseTasks(execution) => self.waits.close_all(*execution),
            Change::InsertMapRun(row) => self.maps.insert_map_run(row),
            Change::InsertMapPage(row) => self.maps.insert_page(row),
            Change::AwaitRedrive(id) => self.work.await_redrive(*id),
            Change::RedriveExecution { id, at } => self.work.redrive(*id, *at),
            Change::RestartExecution(row) => self.work.restart(row),
            Change::RedriveMapRun(redrive) => self.maps.redrive(redrive),
            Change::UpdateMapRun { id, settings } => self.maps.update(*id, settings),
            Change::PinMapSource { id, version } => self.maps.pin_source(*id, version),
            Change::EndMapRun(end) => self.maps.end_map_run(end),
        }
    }
}

/// An id or count as SQLite holds it. Ids come from one counter that starts at 1 and cannot reach
/// the sign bit.
pub(crate) fn int(number: u64) -> i64 {
    number.cast_signed()
}

/// Runs a statement that must hit exactly the row `subject` names.
fn hit(
    statement: &mut Statement<'_>,
    params: impl rusqlite::Params,
    subject: impl std::fmt::Display,
) -> Written {
    match statement.execute(params)? {
        0 => Err(Fault::Batch(StoreError::Gone(subject.to_string()))),
        _ => Ok(()),
    }
}

/// Runs an insert whose row may stand already; `taken` says what by.
fn insert_unique(
    statement: &mut Statement<'_>,
    params: impl rusqlite::Params,
    taken: impl FnOnce() -> StoreError,
) -> Written {
    unless_taken(statement.execute(params).map(drop), taken)
}

fn unless_taken(inserted: rusqlite::Result<()>, taken: impl FnOnce() -> StoreError) -> Written {
    match inserted {
        Ok(()) => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
            Err(Fault::Batch(taken()))
        }
        Err(error) => Err(error.into()),
    }
}
