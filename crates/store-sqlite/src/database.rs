//! The file: opening it, bringing its schema up to date, taking it over from whoever had it before.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use stepbus_store::StoreError;
use uuid::Uuid;

use crate::check::HIGHEST_ID;
use crate::options::SqliteOptions;

/// Each brings the schema one version further. A released one is never changed.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001.sql"),
    include_str!("migrations/002.sql"),
    include_str!("migrations/003.sql"),
];

pub(crate) const PAGE_BYTES: i64 = 8192;
const FILE: &str = "stepbus.db";
const BUSY: std::time::Duration = std::time::Duration::from_secs(30);
const STATEMENT_CACHE: usize = 64;

pub(crate) fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(error.to_string())
}

/// The write connection, and what was read and written when it was taken over.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) installation: Uuid,
    pub(crate) epoch: i64,
    pub(crate) next_id: u64,
}

pub(crate) fn open_writer(dir: &Path, options: &SqliteOptions) -> Result<Opened, StoreError> {
    let path = dir.join(FILE);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(&path, flags, options).map_err(failed)?;
    let found = schema_version(&conn).map_err(failed)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    set_up(&conn, options).map_err(failed)?;
    migrate(&conn, found).map_err(failed)?;
    // What a crash left in the log was perhaps never synced, though the operating system shows it:
    // written to the database file and synced there, it is what later commits may build on.
    checkpoint(&conn, CheckpointMode::TRUNCATE).map_err(failed)?;
    sync_directory(dir, options)?;
    let (installation, epoch, next_id) = take_over(&conn, options).map_err(failed)?;
    Ok(Opened { conn, path, installation, epoch, next_id })
}

pub(crate) fn open_reader(path: &Path, options: &SqliteOptions) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = connect(path, flags, options).map_err(failed)?;
    set_cache(&conn, options.reader_cache_bytes).map_err(failed)?;
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    Ok(conn)
}

/// Writes the log back to the database file, as far as readers let it.
pub(crate) fn checkpoint(conn: &Connection, mode: CheckpointMode) -> rusqlite::Result<()> {
    conn.wal_checkpoint_v2(None::<&str>, mode).map(|_| ())
}

fn connect(path: &Path, flags: OpenFlags, options: &SqliteOptions) -> rusqlite::Result<Connection> {
    let conn = match &options.vfs {
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str())?,
        None => Connection::open_with_flags(path, flags)?,
    };
    conn.busy_timeout(BUSY)?;
    // Else a statement may be compiled again for the values of each use, where a column of a
    // partial index is compared with one of them.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

fn set_cache(conn: &Connection, bytes: usize) -> rusqlite::Result<()> {
    // Negative: in KiB.
    conn.pragma_update(None, "cache_size", -i64::try_from(bytes / 1024).unwrap_or(i64::MAX))
}

fn set_up(conn: &Connection, options: &SqliteOptions) -> rusqlite::Result<()> {
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN),
            Some(format!("the database cannot use a write-ahead log (journal mode {mode})")),
        ));
    }
    conn.pragma_update(None, "synchronous", if options.sync { "FULL" } else { "OFF" })?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    set_cache(conn, options.writer_cache_bytes)
}

fn schema_version(conn: &Connection) -> rusqlite::Result<u32> {
    let table = conn
        .query_row("SELECT 1 FROM sqlite_master WHERE name = 'schema_version'", [], |_| Ok(()))
        .optional()?;
    match table {
        Some(()) => conn.query_row("SELECT version FROM schema_version", [], |row| row.get(0)),
        None => Ok(0),
    }
}

fn migrate(conn: &Connection, found: u32) -> rusqlite::Result<()> {
    for (version, migration) in (1_u32..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = conn.unchecked_transaction()?;
        if version == 1 {
            transaction.execute_batch(
                "CREATE TABLE schema_version (version INTEGER NOT NULL);
                 INSERT INTO schema_version (version) VALUES (0);",
            )?;
        }
        transaction.execute_batch(migration)?;
        transaction.execute("UPDATE schema_version SET version = ?1", [version])?;
        transaction.commit()?;
    }
    Ok(())
}

/// The file's name must be as durable as what stands in it.
fn sync_directory(dir: &Path, options: &SqliteOptions) -> Result<(), StoreError> {
    if options.vfs.is_some() || cfg!(windows) {
        return Ok(());
    }
    let sync = |dir: &Path| {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        File::open(dir).and_then(|dir| dir.sync_all())
    };
    sync(dir).map_err(|error| failed(format!("cannot sync {}: {error}", dir.display())))?;
    // Where the directory itself is named may be closed to us; then somebody else made it.
    if let Some(Err(error)) = dir.parent().map(sync) {
        tracing::debug!(%error, "the parent of the data directory could not be synced");
    }
    Ok(())
}

fn take_over(conn: &Connection, options: &SqliteOptions) -> rusqlite::Result<(Uuid, i64, u64)> {
    let transaction = conn.unchecked_transaction()?;
    let installation = transaction
        .query_row("SELECT id FROM installation", [], |row| row.get::<_, String>(0))
        .optional()?
        .and_then(|text| text.parse().ok());
    let installation = match installation {
        Some(installation) => installation,
        None => {
            let made = options.installation.unwrap_or_else(Uuid::new_v4);
            transaction.execute("INSERT INTO installation (id) VALUES (?1)", [made.to_string()])?;
            made
        }
    };
    let (epoch, next_id) = transaction.query_row(
        "UPDATE nodes SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch, next_id",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
    )?;
    let next_id = above_all(&transaction, next_id)?;
    transaction.commit()?;
    Ok((installation, epoch, next_id.cast_unsigned()))
}

/// The next id: the mark's, unless the file is damaged and it stands below ids that are in use.
/// None of those is given twice.
fn above_all(conn: &Connection, mark: i64) -> rusqlite::Result<i64> {
    let highest = conn.query_row(HIGHEST_ID, [], |row| row.get::<_, Option<i64>>(0))?;
    let Some(highest) = highest.filter(|highest| mark <= *highest) else { return Ok(mark) };
    tracing::error!(mark, highest, "the mark of ids was below ids in use; they go on above those");
    conn.execute("UPDATE nodes SET next_id = ?1 WHERE id = 1", [highest + 1])?;
    Ok(highest + 1)
}
