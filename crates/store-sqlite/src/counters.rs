//! What the store says of itself.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use stepbus_store::Stats;

/// Shared by the writer and whoever asks.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) commit_micros: AtomicU64,
    pub(crate) sync_micros: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) failed_commits: AtomicU64,
    /// The last id handed out.
    pub(crate) last_id: AtomicU64,
    /// Ids up to here are behind the mark on disk.
    pub(crate) id_mark: AtomicU64,
    /// Pages in the log after the last commit.
    pub(crate) log_pages: AtomicI64,
    /// Pages that hold records after the last commit, in bytes.
    pub(crate) used_bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn committed(&self, batches: usize, changes: usize, took: Duration, sync: Duration) {
        add(&self.commits, 1);
        add(&self.batches, batches as u64);
        add(&self.changes, changes as u64);
        add(&self.commit_micros, micros(took));
        add(&self.sync_micros, micros(sync));
    }

    pub(crate) fn failed(&self) {
        add(&self.failed_commits, 1);
    }

    pub(crate) fn checkpointed(&self) {
        add(&self.checkpoints, 1);
    }

    /// The counters; sizes and the rest are for the caller to fill in.
    pub(crate) fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            commits: read(&self.commits),
            batches: read(&self.batches),
            changes: read(&self.changes),
            commit_micros: read(&self.commit_micros),
            sync_micros: read(&self.sync_micros),
            checkpoints: read(&self.checkpoints),
            failed_commits: read(&self.failed_commits),
            ..Stats::default()
        }
    }
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
