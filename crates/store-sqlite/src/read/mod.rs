//! Reads: a few read-only connections, each with a thread of its own that keeps its statements
//! prepared.

pub(crate) mod books;
pub(crate) mod bus;
pub(crate) mod config;
pub(crate) mod log;
pub(crate) mod maps;
pub(crate) mod waits;
pub(crate) mod work;

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, InterruptHandle, Params, Row};
use stepbus_model::Timestamp;
use stepbus_store::{Read, StoreError};
use tokio::sync::{Semaphore, oneshot};

use crate::database::failed;

type Job = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    closed: bool,
}

struct Shared {
    state: Mutex<State>,
    bell: Condvar,
}

/// The reading threads. They end when this is dropped.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    room: Semaphore,
    threads: Vec<JoinHandle<()>>,
    interrupts: Vec<InterruptHandle>,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readers").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Readers {
    pub(crate) fn start(connections: Vec<Connection>, limit: usize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { state: Mutex::default(), bell: Condvar::new() });
        let mut readers = Readers {
            shared,
            room: Semaphore::new(limit),
            threads: Vec::new(),
            interrupts: Vec::new(),
        };
        for conn in connections {
            let shared = Arc::clone(&readers.shared);
            readers.interrupts.push(conn.get_interrupt_handle());
            let thread = std::thread::Builder::new()
                .name("stepbus-read".to_owned())
                .spawn(move || work(&conn, &shared))?;
            readers.threads.push(thread);
        }
        Ok(readers)
    }

    /// Has one of the connections answer `question`.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Read<'_, T> {
        Box::pin(async move {
            let _permit = self.room.acquire().await.map_err(|_| StoreError::Closed)?;
            let (answer, receiver) = oneshot::channel();
            let job: Job = Box::new(move |conn| {
                if !answer.is_closed() {
                    let _ = answer.send(question(conn));
                }
            });
            self.shared.state.lock().waiting.push_back(job);
            self.shared.bell.notify_one();
            receiver.await.map_err(|_| failed("a read did not come to its end"))?.map_err(failed)
        })
    }
}

impl Readers {
    /// Breaks off what is being read, since nobody waits for it any more, and ends the threads.
    pub(crate) fn stop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.bell.notify_all();
        for interrupt in self.interrupts.drain(..) {
            interrupt.interrupt();
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
    }
}

fn work(conn: &Connection, shared: &Shared) {
    loop {
        let mut state = shared.state.lock();
        let job = loop {
            if state.closed {
                state.waiting.clear();
                return;
            }
            if let Some(job) = state.waiting.pop_front() {
                break job;
            }
            shared.bell.wait(&mut state);
        };
        drop(state);
        if catch_unwind(AssertUnwindSafe(|| job(conn))).is_err() {
            tracing::error!("a read panicked");
        }
    }
}

/// All rows of a query, with its statement kept prepared.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, row)?.collect()
}

pub(super) fn one<T>(
    conn: &Connection,
    sql: &str,
    params: impl Params,
    row: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    use rusqlite::OptionalExtension;
    conn.prepare_cached(sql)?.query_row(params, row).optional()
}

pub(super) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp)
}

pub(super) fn maybe_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp))
}

pub(super) fn bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<bytes::Bytes> {
    row.get::<_, Vec<u8>>(column).map(bytes::Bytes::from)
}

pub(super) fn maybe_bytes(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<bytes::Bytes>> {
    row.get::<_, Option<Vec<u8>>>(column).map(|blob| blob.map(bytes::Bytes::from))
}

/// A number that stands for a word.
pub(super) fn coded<T>(
    row: &Row<'_>,
    column: usize,
    meaning: impl FnOnce(u8) -> Option<T>,
) -> rusqlite::Result<T> {
    let code: u8 = row.get(column)?;
    meaning(code).ok_or(rusqlite::Error::IntegralValueOutOfRange(column, i64::from(code)))
}

/// A limit as SQLite takes it.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
