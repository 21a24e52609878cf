mod conformance;

use std::path::Path;
use std::sync::Arc;

use stepbus_store::Store;
use stepbus_store::suite::Driver;
use tempfile::TempDir;

use crate::{SqliteOptions, SqliteStore};

fn open(dir: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(dir, SqliteOptions::default()).expect("the directory opens"))
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
