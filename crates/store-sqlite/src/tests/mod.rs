mod conformance;
mod damage;
mod disk;
mod durability;
mod opening;
mod room;
mod vfs;

use std::path::Path;
use std::sync::Arc;

use stepbus_model::Timestamp;
use stepbus_store::suite::Driver;
use stepbus_store::{AuditRow, Batch, Store, StoreError};
use tempfile::TempDir;

use crate::{SqliteOptions, SqliteStore};
use disk::Disk;

fn open(dir: &Path) -> Arc<dyn Store> {
    open_on(dir, SqliteOptions::default()).expect("the directory opens")
}

/// A directory of its own, gone with the test.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Directory(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Driver for Directory {
    async fn open(&self) -> Arc<dyn Store> {
        open(self.path())
    }
}

/// Options by which the records stand on `disk`; the directory holds nothing but the lock.
fn on(disk: &Disk) -> SqliteOptions {
    SqliteOptions { vfs: Some(disk.name().to_owned()), ..SqliteOptions::default() }
}

fn open_on(dir: &Path, options: SqliteOptions) -> Result<Arc<dyn Store>, StoreError> {
    SqliteStore::open(dir, options).map(|store| Arc::new(store) as Arc<dyn Store>)
}

fn audit(subject: &str) -> AuditRow {
    AuditRow {
        at: Timestamp(1),
        who: "test".into(),
        action: "note".into(),
        subject: subject.into(),
        detail: "x".repeat(2000),
    }
}

/// A batch that anybody may commit at any time.
fn note(mut batch: Batch, subject: &str) -> Batch {
    batch.audit(audit(subject));
    batch
}
