//! The one thread that writes: it commits groups, writes the log back, and knows what to do when
//! the disk is full or broken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, ErrorCode};
use stepbus_store::{Class, StoreError};

use crate::counters::Counters;
use crate::database::{Opened, PAGE_BYTES, checkpoint};
use crate::group::{GroupCommit, GroupFault};
use crate::lock::DirectoryLock;
use crate::options::SqliteOptions;
use crate::queue::{Queue, Request, Woken};

/// Closes the queue however the thread ends, so that nobody waits for a writer that is gone.
struct Guard(Arc<Queue>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abandon(&StoreError::Closed);
    }
}

/// The writer's thread. It owns the write connection and the lock on the directory.
pub(crate) fn run(
    opened: Opened,
    lock: DirectoryLock,
    options: &SqliteOptions,
    queue: Arc<Queue>,
    counters: &Arc<Counters>,
) {
    let guard = Guard(Arc::clone(&queue));
    let Opened { mut conn, path, epoch, .. } = opened;
    let log_pages = {
        let counters = Arc::clone(counters);
        move |_: &mut _, pages| {
            counters.log_pages.store(i64::from(pages), Ordering::Relaxed);
            Ok(())
        }
    };
    let hooked = conn.wal_hook(Some(log_pages));
    match hooked.and_then(|()| GroupCommit::prepare(&conn, epoch, Arc::clone(counters))) {
        Ok(commits) => {
            let mut writer = Writer {
                conn: &conn,
                path,
                options,
                queue: &queue,
                counters,
                commits,
                held: Vec::new(),
                log: Log::default(),
                space_looked_at: None,
            };
            writer.work();
        }
        Err(error) => queue.abandon(&StoreError::Failed(error.to_string())),
    }
    if let Err((_, error)) = conn.close() {
        tracing::error!(%error, "the database could not be closed");
    }
    drop(lock);
    drop(guard);
}

/// When the log is to be written back.
#[derive(Debug, Default)]
struct Log {
    pages: i64,
    written_back_at: i64,
}

struct Writer<'c, 'o> {
    conn: &'c Connection,
    path: PathBuf,
    options: &'o SqliteOptions,
    queue: &'o Queue,
    counters: &'o Counters,
    commits: GroupCommit<'c>,
    /// Work that found the disk full; it comes before everything else once there is room.
    held: Vec<Request>,
    log: Log,
    space_looked_at: Option<Instant>,
}

impl Writer<'_, '_> {
    fn work(&mut self) {
        loop {
            let mut group = std::mem::take(&mut self.held);
            let woken = if group.is_empty() {
                let limit = self.options.limits.group_commit_batches;
                self.queue.take(&mut group, limit, self.options.group_bytes, self.patience())
            } else if self.queue.rest(self.options.full_retry) {
                Woken::Work
            } else {
                // Closing: one last try.
                Woken::Closed
            };
            self.look_at_space();
            let turn = self.turn(group, woken == Woken::Idle);
            if let Err(why) = turn {
                self.give_up_held(&why);
                self.queue.abandon(&why);
                return;
            }
            if woken == Woken::Closed {
                if self.held.is_empty() && self.queue.len() == 0 {
                    break;
                }
                self.give_up_held(&StoreError::Full);
            }
        }
        self.settle();
    }

    /// An error means that the store cannot go on.
    fn turn(&mut self, group: Vec<Request>, idle: bool) -> Result<(), StoreError> {
        if !idle {
            self.commit(group)?;
        }
        self.write_back(idle)
    }

    /// Commits a group and answers it.
    fn commit(&mut self, group: Vec<Request>) -> Result<(), StoreError> {
        let (group, refused): (Vec<_>, Vec<_>) = if self.queue.is_full() {
            group.into_iter().partition(|request| request.batch.class() == Class::Work)
        } else {
            (group, Vec::new())
        };
        for request in refused {
            request.answer(Err(StoreError::Full));
        }
        let why = match self.commits.run(&group) {
            Ok(answers) => {
                for (request, answer) in group.into_iter().zip(answers) {
                    request.answer(answer);
                }
                return Ok(());
            }
            Err(GroupFault::Full) => {
                return self.out_of_room(group);
            }
            Err(GroupFault::Fenced) => StoreError::Fenced,
            Err(GroupFault::Broken(error)) => broken(&error),
        };
        for request in group {
            request.answer(Err(why.clone()));
        }
        Err(why)
    }

    fn out_of_room(&mut self, group: Vec<Request>) -> Result<(), StoreError> {
        tracing::warn!("the disk is full: nothing new is accepted until there is room");
        self.queue.set_full(true);
        self.space_looked_at = Some(Instant::now());
        for request in group {
            match request.batch.class() {
                Class::Acceptance => request.answer(Err(StoreError::Full)),
                Class::Work => self.held.push(request),
            }
        }
        // A log that has been written back is used again from its start and needs no new room.
        self.write_back(true)
    }

    fn give_up_held(&mut self, why: &StoreError) {
        for request in self.held.drain(..) {
            request.answer(Err(why.clone()));
        }
    }

    /// Stops acceptance while there is still some room for the work that was accepted.
    fn look_at_space(&mut self) {
        let now = Instant::now();
        let interval = self.options.space_check;
        if self.space_looked_at.is_some_and(|last| now.duration_since(last) < interval) {
            return;
        }
        self.space_looked_at = Some(now);
        let directory = self.path.parent().unwrap_or(&self.path);
        let Ok(free) = (self.options.free_space)(directory) else { return };
        let low = free < self.options.limits.disk_reserve_bytes;
        if low != self.queue.is_full() && (low || self.held.is_empty()) {
            if low {
                tracing::warn!(free, "little disk space left: nothing new is accepted");
            } else {
                tracing::info!(free, "there is disk space again");
            }
            self.queue.set_full(low);
        }
    }

    /// How long the writer may wait for work; none is for ever.
    fn patience(&self) -> Option<Duration> {
        if self.queue.is_full() {
            Some(self.options.full_retry)
        } else if self.log.pages > self.log.written_back_at {
            Some(self.options.idle_checkpoint)
        } else {
            None
        }
    }

    /// Writes the log back when it has grown enough, or when there is nothing else to do.
    fn write_back(&mut self, idle: bool) -> Result<(), StoreError> {
        let pages = self.counters.log_pages.load(Ordering::Relaxed);
        if pages < self.log.pages {
            // It started over.
            self.log.written_back_at = 0;
        }
        self.log.pages = pages;
        let grown = pages - self.log.written_back_at;
        let enough = i64::try_from(self.options.checkpoint_bytes).unwrap_or(i64::MAX) / PAGE_BYTES;
        if grown < enough && !(idle && grown > 0) {
            return Ok(());
        }
        match checkpoint(self.conn, CheckpointMode::PASSIVE) {
            Ok(()) => self.counters.checkpointed(),
            Err(error) if may_pass(&error) => {
                tracing::warn!(%error, "the log could not be written back yet");
            }
            Err(error) => return Err(broken(&error)),
        }
        // Also when a reader stood in the way: the next try comes after as much again.
        self.log.written_back_at = pages;
        Ok(())
    }

    fn settle(&mut self) {
        if let Err(error) = self.commits.settle_ids() {
            tracing::warn!(%error, "the next start will skip some ids");
        }
        if let Err(error) = checkpoint(self.conn, CheckpointMode::TRUNCATE) {
            tracing::warn!(%error, "the log could not be written back");
        }
    }
}

/// Nothing is lost when the log stays as it is.
fn may_pass(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}

/// After a failed write or sync nobody knows what the disk holds: the operating system may have
/// dropped the pages and call the next sync a success. Only a start from the files can tell.
fn broken(error: &rusqlite::Error) -> StoreError {
    tracing::error!(%error, "the store stops");
    StoreError::Failed(format!("writing failed, restart to go on: {error}"))
}
