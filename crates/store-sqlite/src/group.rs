//! One group commit: many batches, one transaction, one sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::{Connection, ErrorCode, Statement};
use stepbus_model::crash;
use stepbus_store::{Batch, Books, StoreError};

use crate::counters::Counters;
use crate::database::PAGE_BYTES;
use crate::queue::{Answer, Request};
use crate::write::{BookKeeper, Changes, Fault, int};

/// How far ahead of the ids handed out the mark on disk is set.
pub(crate) const ID_BLOCK: u64 = 1 << 16;

/// Why a whole group did not become durable. It was rolled back.
#[derive(Debug)]
pub(crate) enum GroupFault {
    /// There is no room on the disk.
    Full,
    /// Another node took the data directory over.
    Fenced,
    /// Nothing may be trusted any more.
    Broken(rusqlite::Error),
}

impl From<rusqlite::Error> for GroupFault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => GroupFault::Full,
            _ => GroupFault::Broken(error),
        }
    }
}

/// The statements of the writer, prepared once.
#[derive(Debug)]
pub(crate) struct GroupCommit<'c> {
    conn: &'c Connection,
    epoch: i64,
    counters: Arc<Counters>,
    changes: Changes<'c>,
    books: BookKeeper<'c>,
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    savepoint: Statement<'c>,
    release: Statement<'c>,
    roll_back_to: Statement<'c>,
    fence: Statement<'c>,
    mark_ids: Statement<'c>,
    used: Used<'c>,
}

/// What the records take: all pages but those that are free to be used again.
#[derive(Debug)]
struct Used<'c> {
    pages: Statement<'c>,
    unused: Statement<'c>,
}

impl<'c> Used<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        let pages = conn.prepare("PRAGMA page_count")?;
        Ok(Used { pages, unused: conn.prepare("PRAGMA freelist_count")? })
    }

    fn bytes(&mut self) -> rusqlite::Result<u64> {
        let count = |statement: &mut Statement<'_>| statement.query_row([], |row| row.get(0));
        let (pages, unused): (i64, i64) = (count(&mut self.pages)?, count(&mut self.unused)?);
        Ok(u64::try_from((pages - unused) * PAGE_BYTES).unwrap_or(0))
    }
}

impl<'c> GroupCommit<'c> {
    pub(crate) fn prepare(
        conn: &'c Connection,
        epoch: i64,
        counters: Arc<Counters>,
    ) -> rusqlite::Result<Self> {
        let mut used = Used::prepare(conn)?;
        counters.used_bytes.store(used.bytes()?, Ordering::Relaxed);
        Ok(GroupCommit {
            conn,
            epoch,
            counters,
            changes: Changes::prepare(conn)?,
            books: BookKeeper::prepare(conn)?,
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            rollback: conn.prepare("ROLLBACK")?,
            savepoint: conn.prepare("SAVEPOINT batch")?,
            release: conn.prepare("RELEASE batch")?,
            roll_back_to: conn.prepare("ROLLBACK TO batch")?,
            fence: conn.prepare("SELECT epoch FROM nodes WHERE id = 1")?,
            used,
            mark_ids: conn.prepare("UPDATE nodes SET next_id = ?1 WHERE id = 1")?,
        })
    }

    /// Makes the group durable. Each batch's answer stands in the result: a batch that could not
    /// be carried out took no other with it.
    pub(crate) fn run(&mut self, group: &[Request]) -> Result<Vec<Answer>, GroupFault> {
        let started = Instant::now();
        let done = match self.all(group) {
            Ok(()) => Ok(vec![Ok(()); group.len()]),
            Err(Fault::Batch(StoreError::Fenced)) => Err(GroupFault::Fenced),
            Err(Fault::Batch(_)) => {
                self.abort();
                self.one_by_one(group)
            }
            Err(Fault::Sqlite(error)) => Err(error.into()),
        };
        let done = done.and_then(|answers| {
            let synced = self.commit()?;
            let good = || group.iter().zip(&answers).filter(|(_, answer)| answer.is_ok());
            let changes = good().map(|(request, _)| request.batch.changes().len()).sum();
            self.counters.committed(good().count(), changes, started.elapsed(), synced);
            Ok(answers)
        });
        if done.is_err() {
            self.abort();
            self.counters.failed();
        }
        done
    }

    /// The usual case: every batch can be carried out, and the books of all are written once.
    fn all(&mut self, group: &[Request]) -> Result<(), Fault> {
        self.begin()?;
        let mut books = Books::default();
        self.changes.apply_all(group.iter().flat_map(|request| request.batch.changes()))?;
        for request in group {
            books.merge(request.batch.books());
        }
        self.books.write(&books)
    }

    /// After a failure: each batch behind a savepoint of its own, so that those that fail are told
    /// apart from those that stand.
    fn one_by_one(&mut self, group: &[Request]) -> Result<Vec<Answer>, GroupFault> {
        self.begin().map_err(|fault| match fault {
            Fault::Sqlite(error) => error.into(),
            Fault::Batch(_) => GroupFault::Fenced,
        })?;
        let mut answers = Vec::with_capacity(group.len());
        for request in group {
            self.savepoint.execute([])?;
            let answer = match self.one(&request.batch) {
                Ok(()) => Ok(()),
                Err(Fault::Batch(error)) => {
                    self.roll_back_to.execute([])?;
                    Err(error)
                }
                Err(Fault::Sqlite(error)) => return Err(error.into()),
            };
            self.release.execute([])?;
            answers.push(answer);
        }
        Ok(answers)
    }

    fn one(&mut self, batch: &Batch) -> Result<(), Fault> {
        for change in batch.changes() {
            self.changes.apply(change)?;
        }
        self.books.write(batch.books())
    }

    fn begin(&mut self) -> Result<(), Fault> {
        self.begin.execute([])?;
        let epoch: i64 = self.fence.query_row([], |row| row.get(0))?;
        if epoch == self.epoch { Ok(()) } else { Err(Fault::Batch(StoreError::Fenced)) }
    }

    /// Returns how long the sync took.
    fn commit(&mut self) -> Result<std::time::Duration, rusqlite::Error> {
        let last_id = self.counters.last_id.load(Ordering::Relaxed);
        let mark = self.counters.id_mark.load(Ordering::Relaxed);
        let moved = (last_id + ID_BLOCK / 2 >= mark).then_some(last_id + ID_BLOCK);
        if let Some(mark) = moved {
            self.mark_ids.execute([int(mark)])?;
        }
        // Written before the clock runs, so that what is measured is the sync.
        self.conn.cache_flush()?;
        let used = self.used.bytes()?;
        crash::point("commit.before");
        let began = Instant::now();
        self.commit.execute([])?;
        let took = began.elapsed();
        crash::point("commit.after");
        self.counters.used_bytes.store(used, Ordering::Relaxed);
        if let Some(mark) = moved {
            self.counters.id_mark.store(mark, Ordering::Relaxed);
        }
        Ok(took)
    }

    fn abort(&mut self) {
        if !self.conn.is_autocommit()
            && let Err(error) = self.rollback.execute([])
        {
            tracing::error!(%error, "a group commit could not be rolled back");
        }
    }

    /// At a clean end the next start goes on with the next id.
    pub(crate) fn settle_ids(&mut self) -> rusqlite::Result<()> {
        let last_id = self.counters.last_id.load(Ordering::Relaxed);
        self.begin.execute([])?;
        if self.fence.query_row([], |row| row.get::<_, i64>(0))? == self.epoch {
            self.mark_ids.execute([int(last_id + 1)])?;
        }
        self.commit.execute([])?;
        Ok(())
    }
}
