//! What may be set about a SQLite store. The defaults are what production runs with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stepbus_model::Limits;
use uuid::Uuid;

/// Tells how many bytes are free where a path lies.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

#[derive(Clone)]
pub struct SqliteOptions {
    pub limits: Limits,
    /// The identity of a data directory that is created; made up at random when none is given.
    pub installation: Option<Uuid>,
    /// Connections that read, each with a thread of its own.
    pub readers: usize,
    pub writer_cache_bytes: usize,
    pub reader_cache_bytes: usize,
    /// The log is written back to the database file when it has grown by this much.
    pub checkpoint_bytes: u64,
    /// Payload bytes of one group commit, beyond its first batch.
    pub group_bytes: usize,
    /// How long a writer without work waits before it writes the log back.
    pub idle_checkpoint: Duration,
    /// How often a full disk is tried again.
    pub full_retry: Duration,
    /// How often the free space is looked at.
    pub space_check: Duration,
    pub free_space: FreeSpace,
    pub(crate) vfs: Option<String>,
    pub(crate) sync: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        SqliteOptions {
            limits: Limits::DEFAULT,
            installation: None,
            readers: 3,
            writer_cache_bytes: 32 << 20,
            reader_cache_bytes: 4 << 20,
            checkpoint_bytes: 32 << 20,
            group_bytes: 8 << 20,
            idle_checkpoint: Duration::from_secs(1),
            full_retry: Duration::from_millis(500),
            space_check: Duration::from_millis(500),
            free_space: Arc::new(|path| fs4::available_space(path)),
            vfs: None,
            sync: true,
        }
    }
}

impl fmt::Debug for SqliteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteOptions")
            .field("limits", &self.limits)
            .field("readers", &self.readers)
            .field("checkpoint_bytes", &self.checkpoint_bytes)
            .finish_non_exhaustive()
    }
}
