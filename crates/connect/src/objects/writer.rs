//! Writes an object part by part.

use std::fmt;
use std::sync::Arc;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use tokio::task::JoinSet;

use super::ObjectError;
use super::bucket::Bucket;

/// An object that is being written. Nothing of it can be seen before [`ObjectWriter::finish`];
/// what it replaces can be read until then.
pub struct ObjectWriter {
    bucket: Bucket,
    store: Arc<dyn ObjectStore>,
    key: String,
    path: Path,
    upload: Option<Box<dyn MultipartUpload>>,
    part: Vec<u8>,
    /// The part before, on its way while this one is being filled.
    sending: JoinSet<object_store::Result<()>>,
    /// Bytes in the parts before this one.
    written: u64,
}

impl fmt::Debug for ObjectWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter")
            .field("key", &self.key)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}

impl ObjectWriter {
    pub(super) fn new(bucket: Bucket, store: Arc<dyn ObjectStore>, key: &str, path: Path) -> Self {
        let key = key.to_owned();
        ObjectWriter {
            bucket,
            store,
            key,
            path,
            upload: None,
            part: Vec::new(),
            sending: JoinSet::new(),
            written: 0,
        }
    }

    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.written + self.part.len() as u64
    }

    /// One part is sent while the next is being filled.
    ///
    /// # Errors
    /// When a part cannot be written; the object is given up then.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        let most = self.bucket.limits().object_part_bytes;
        let mut rest = bytes;
        // Parts of one size: some services insist on it.
        while self.part.len() + rest.len() >= most {
            let (fits, left) = rest.split_at(most - self.part.len());
            self.part.extend_from_slice(fits);
            rest = left;
            // The next one will be full as well, most likely.
            let part = std::mem::replace(&mut self.part, Vec::with_capacity(most));
            self.send(part).await?;
        }
        self.part.extend_from_slice(rest);
        Ok(())
    }

    /// Makes the object be there; gives its size.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn finish(mut self) -> Result<u64, ObjectError> {
        let part = std::mem::take(&mut self.part);
        if self.upload.is_none() {
            let size = part.len() as u64;
            let put = self.store.put(&self.path, part.into()).await;
            return put.map(|_| size).map_err(|error| self.bucket.error(&self.key, &error));
        }
        if !part.is_empty() {
            self.send(part).await?;
        }
        self.sent().await?;
        let Some(upload) = &mut self.upload else { return Ok(self.written) };
        if let Err(error) = upload.complete().await {
            return Err(self.failed(error).await);
        }
        Ok(self.written)
    }

    /// Has the part sent once the one before has been.
    async fn send(&mut self, part: Vec<u8>) -> Result<(), ObjectError> {
        self.sent().await?;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            None => {
                let begun = self.store.put_multipart(&self.path).await;
                let begun = begun.map_err(|error| self.bucket.error(&self.key, &error))?;
                self.upload.insert(begun)
            }
        };
        self.written += part.len() as u64;
        self.sending.spawn(upload.put_part(part.into()));
        Ok(())
    }

    async fn sent(&mut self) -> Result<(), ObjectError> {
        let Some(sent) = self.sending.join_next().await else { return Ok(()) };
        match sent.unwrap_or_else(|error| Err(error.into())) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(error).await),
        }
    }

    /// Gives the object up: the service forgets the parts.
    async fn failed(&mut self, error: object_store::Error) -> ObjectError {
        self.sending.shutdown().await;
        if let Some(mut upload) = self.upload.take() {
            // Nothing hangs on it: the service's own rules clear away what is left.
            let _ = upload.abort().await;
        }
        self.bucket.error(&self.key, &error)
    }
}
