//! One Parquet object, read row by row in a thread that may wait for the object's pieces.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use stepbus_connect::{Bucket, Version};
use stepbus_items::{Compression, Item, ItemFault, ParquetRows, Pieces, Position, RowPlace};
use stepbus_model::Limits;
use tokio::runtime::Handle;

use super::object::{Start, fault};

pub(super) struct RowObject {
    address: String,
    version: Version,
    /// Lent to the thread while it reads. Only a mutex lets what may move between threads, and not
    /// be shared, be part of what is; nobody waits for it.
    rows: Mutex<Option<ParquetRows>>,
    ready: VecDeque<(RowPlace, Item)>,
    /// Where what comes after those that are ready begins.
    at: RowPlace,
    /// Bytes of rows read at a time.
    bytes: usize,
}

struct ObjectPieces {
    bucket: Bucket,
    key: String,
    version: Version,
    runtime: Handle,
}

impl Pieces for ObjectPieces {
    fn size(&self) -> u64 {
        self.version.size
    }

    fn piece_bytes(&self) -> u64 {
        self.bucket.chunk_bytes()
    }

    fn piece(&self, number: u64) -> Result<Bytes, ItemFault> {
        let from = number.saturating_mul(self.piece_bytes());
        let read = self.bucket.read(&self.key, &self.version, from);
        self.runtime.block_on(read).map_err(fault)
    }
}

impl RowObject {
    /// The rows of an object that stays what it is: one that changes meanwhile cannot be gone on
    /// with, its footer says where everything is.
    pub(super) async fn open(
        bucket: Bucket,
        key: &str,
        start: Start,
        limits: &Limits,
    ) -> Result<RowObject, ItemFault> {
        let address = bucket.address(key);
        if Compression::of_key(key) != Compression::None {
            let what = "a Parquet file is compressed within, not as a whole".to_owned();
            return Err(ItemFault(what).of(&address));
        }
        let version = match start.version {
            Some(version) => version,
            None => bucket.look_at(key, None).await.map_err(fault)?,
        };
        let pieces = ObjectPieces {
            bucket,
            key: key.to_owned(),
            version: version.clone(),
            runtime: Handle::current(),
        };
        let (at, limits) = (start.position.row(), *limits);
        let opened =
            tokio::task::spawn_blocking(move || ParquetRows::open(pieces, at, &limits)).await;
        let rows = opened.map_err(|error| ItemFault(error.to_string()))?;
        let rows = Mutex::new(Some(rows.map_err(|fault| fault.of(&address))?));
        let bytes = limits.map_page_bytes;
        Ok(RowObject { address, version, rows, ready: VecDeque::new(), at, bytes })
    }

    pub(super) fn version(&self) -> &Version {
        &self.version
    }

    pub(super) fn position(&self) -> Position {
        Position::of_row(self.ready.front().map_or(self.at, |(place, _)| *place))
    }

    pub(super) async fn next(&mut self) -> Result<Option<Item>, ItemFault> {
        if self.ready.is_empty()
            && let Some(mut rows) = self.rows.get_mut().take()
        {
            let bytes = self.bytes;
            let read = tokio::task::spawn_blocking(move || {
                let read = rows.next_rows(bytes);
                (rows, read)
            });
            let (rows, read) = read.await.map_err(|error| ItemFault(error.to_string()))?;
            self.ready.extend(read.map_err(|fault| fault.of(&self.address))?);
            self.at = rows.place();
            *self.rows.get_mut() = Some(rows);
        }
        Ok(self.ready.pop_front().map(|(_, item)| item))
    }
}
