//! The embedded store: one SQLite file, one group-commit writer, read-only connections beside it.
//!
//! Acknowledged means on disk: [`Store::commit`] answers after the write-ahead log was synced.
//! Many batches share one transaction and one sync. A failed write or sync ends the store, since
//! nobody can tell any more what the disk holds; a full disk stops acceptance and nothing else.

mod check;
mod codes;
mod counters;
mod database;
mod digest;
mod group;
mod lock;
mod options;
mod queue;
mod read;
mod store;
#[cfg(test)]
mod tests;
mod write;
mod writer;

pub use options::{FreeSpace, SqliteOptions};
pub use store::SqliteStore;
