//! One object, read bit by bit into items.

use bytes::Bytes;
use stepbus_connect::{Bucket, ObjectError, Version};
use stepbus_items::{Compression, Decoder, Expander, Format, Item, ItemFault, Next, Position};
use stepbus_model::Limits;

use super::rows::RowObject;

/// Compressed bytes expanded at once; they may grow a thousandfold.
const PIECE: usize = 16 * 1024;

/// What becomes of a source that is no longer what it was when reading began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnChange {
    Fail,
    /// Reading goes on at the same place of what it is now, as with a file that grows.
    Continue,
}

/// An object that is being read.
pub(super) enum OpenObject {
    Bytes(Box<ByteObject>),
    Rows(Box<RowObject>),
}

impl OpenObject {
    pub(super) async fn open(
        bucket: Bucket,
        key: &str,
        format: &Format,
        start: Start,
        limits: &Limits,
    ) -> Result<OpenObject, ItemFault> {
        if *format == Format::Parquet {
            let object = RowObject::open(bucket, key, start, limits).await?;
            return Ok(OpenObject::Rows(Box::new(object)));
        }
        let object = ByteObject::open(bucket, key, format, start, limits).await?;
        Ok(OpenObject::Bytes(Box::new(object)))
    }

    pub(super) fn version(&self) -> &Version {
        match self {
            OpenObject::Bytes(object) => &object.version,
            OpenObject::Rows(object) => object.version(),
        }
    }

    pub(super) fn position(&self) -> Position {
        match self {
            OpenObject::Bytes(object) => object.decoder.position(),
            OpenObject::Rows(object) => object.position(),
        }
    }

    /// The next item; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, ItemFault> {
        match self {
            OpenObject::Bytes(object) => object.next().await,
            OpenObject::Rows(object) => object.next().await,
        }
    }
}

/// An object that is read from one end to the other.
pub(super) struct ByteObject {
    bucket: Bucket,
    key: String,
    version: Version,
    on_change: OnChange,
    decoder: Decoder,
    expander: Expander,
    compressed: bool,
    /// Bytes of the object that were read.
    read: u64,
    /// Bytes read that are not expanded yet.
    pending: Bytes,
    /// Expanded bytes that were used before.
    skip: u64,
    scratch: Vec<u8>,
}

/// Where to begin, and with which version.
pub(super) struct Start {
    pub(super) position: Position,
    pub(super) version: Option<Version>,
    pub(super) on_change: OnChange,
}

impl ByteObject {
    async fn open(
        bucket: Bucket,
        key: &str,
        format: &Format,
        start: Start,
        limits: &Limits,
    ) -> Result<ByteObject, ItemFault> {
        let Start { position, version, on_change } = start;
        let version = match version.filter(|_| on_change == OnChange::Fail) {
            Some(version) => version,
            None => bucket.look_at(key, None).await.map_err(fault)?,
        };
        let compression = Compression::of_key(key);
        let compressed = compression != Compression::None;
        Ok(ByteObject {
            // Nobody can jump into compressed bytes: they are read again from the start.
            read: if compressed { 0 } else { position.offset },
            skip: if compressed { position.offset } else { 0 },
            decoder: Decoder::at(format, position, limits),
            expander: Expander::new(compression),
            pending: Bytes::new(),
            scratch: Vec::new(),
            key: key.to_owned(),
            bucket,
            version,
            on_change,
            compressed,
        })
    }

    async fn next(&mut self) -> Result<Option<Item>, ItemFault> {
        loop {
            let next = self.decoder.next_item();
            match next.map_err(|fault| fault.of(&self.bucket.address(&self.key)))? {
                Next::Item(item) => return Ok(Some(item)),
                Next::End => return Ok(None),
                Next::More => self.fill().await?,
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ItemFault> {
        if self.pending.is_empty() {
            self.pending = self.fetch().await?;
            self.read += self.pending.len() as u64;
        }
        if self.pending.is_empty() {
            let ended = self.expander.finish(&mut self.scratch);
            ended.map_err(|fault| fault.of(&self.bucket.address(&self.key)))?;
            self.feed();
            self.decoder.finish();
            return Ok(());
        }
        if !self.compressed {
            let bytes = std::mem::take(&mut self.pending);
            self.decoder.feed(&bytes);
            return Ok(());
        }
        let piece = self.pending.split_to(self.pending.len().min(PIECE));
        let expanded = self.expander.push(&piece, &mut self.scratch);
        expanded.map_err(|fault| fault.of(&self.bucket.address(&self.key)))?;
        self.feed();
        Ok(())
    }

    async fn fetch(&mut self) -> Result<Bytes, ItemFault> {
        match self.bucket.read(&self.key, &self.version, self.read).await {
            Err(ObjectError::Changed(_)) if self.on_change == OnChange::Continue => {
                self.version = self.bucket.look_at(&self.key, None).await.map_err(fault)?;
                self.bucket.read(&self.key, &self.version, self.read).await.map_err(fault)
            }
            read => read.map_err(fault),
        }
    }

    /// Hands on what was expanded, but for what was used before.
    fn feed(&mut self) {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(self.scratch.len());
        self.skip -= known as u64;
        self.decoder.feed(&self.scratch[known..]);
        self.scratch.clear();
    }
}

pub(super) fn fault(error: ObjectError) -> ItemFault {
    let hint = match &error {
        ObjectError::Changed(_) => {
            ". Write changes to another object, or set OnSourceChange to CONTINUE to go on at the \
             same place"
        }
        ObjectError::NotFound(_) | ObjectError::Failed(_) => "",
    };
    ItemFault(format!("{error}{hint}"))
}
