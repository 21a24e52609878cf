//! A bucket at work.

use std::collections::BinaryHeap;
use std::error::Error as _;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
};
use stepbus_model::{Limits, Timestamp};

use super::ObjectError;
use super::http::Connector;
use super::spec::{BucketPlace, BucketSpec, S3Spec, S3Style};
use super::writer::ObjectWriter;
use crate::client::HttpClient;
use crate::secret::Masker;
use crate::spec::SpecError;

/// Tries of one request to an S3-like service, and how long they may go on.
const RETRIES: usize = 8;
const RETRY_FOR: Duration = Duration::from_secs(120);
const REGION: &str = "us-east-1";

/// A named place for objects. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    inner: Arc<Inner>,
}

struct Inner {
    spec: BucketSpec,
    limits: Limits,
    place: Place,
}

enum Place {
    /// Opened at each use: the folder may come later.
    Folder(PathBuf),
    S3(Arc<AmazonS3>),
}

/// What an object was when it was first looked at; reading goes on with nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub size: u64,
    pub etag: String,
    /// Of a bucket that keeps versions, the one that was asked for.
    pub id: Option<String>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub size: u64,
    pub etag: Option<String>,
    pub modified: Timestamp,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("spec", &self.inner.spec).finish_non_exhaustive()
    }
}

impl Bucket {
    pub(crate) fn new(
        spec: BucketSpec,
        client: &HttpClient,
        limits: Limits,
    ) -> Result<Bucket, Vec<SpecError>> {
        spec.check()?;
        let place = match &spec.place {
            BucketPlace::Path(path) => Place::Folder(path.clone()),
            BucketPlace::S3(s3) => {
                let timeout = Duration::from_secs(limits.http_timeout_seconds);
                let connector = Connector { client: client.clone(), timeout };
                let store = s3_store(&spec.name, s3, connector)
                    .map_err(|error| vec![SpecError::new("/s3", error)])?;
                Place::S3(Arc::new(store))
            }
        };
        Ok(Bucket { inner: Arc::new(Inner { spec, limits, place }) })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.spec.name
    }

    pub(crate) fn spec(&self) -> &BucketSpec {
        &self.inner.spec
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Bytes that one read asks for.
    #[must_use]
    pub fn chunk_bytes(&self) -> u64 {
        self.inner.limits.object_chunk_bytes as u64
    }

    /// What the object is now.
    ///
    /// # Errors
    /// When it is not there or cannot be looked at.
    pub async fn look_at(&self, key: &str, id: Option<&str>) -> Result<Version, ObjectError> {
        let options =
            GetOptions { head: true, version: id.map(str::to_owned), ..GetOptions::default() };
        let found = self.store(false)?.get_opts(&self.path(key)?, options).await;
        let meta = found.map_err(|error| self.error(key, &error))?.meta;
        let etag = meta.e_tag.unwrap_or_else(|| meta.last_modified.timestamp_millis().to_string());
        Ok(Version { size: meta.size, etag, id: id.map(str::to_owned) })
    }

    /// The bytes from `offset` on, at most [`Bucket::chunk_bytes`] of them, none behind the end.
    ///
    /// # Errors
    /// When the object is not there, is no longer that version, or cannot be read.
    pub async fn read(
        &self,
        key: &str,
        version: &Version,
        offset: u64,
    ) -> Result<Bytes, ObjectError> {
        let end = version.size.min(offset.saturating_add(self.chunk_bytes()));
        if offset >= end {
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            range: Some(GetRange::Bounded(offset..end)),
            if_match: Some(version.etag.clone()),
            version: version.id.clone(),
            ..GetOptions::default()
        };
        let found = self.store(false)?.get_opts(&self.path(key)?, options).await;
        let found = found.map_err(|error| self.error(key, &error))?;
        // Some services pay no heed to If-Match.
        let same = found.meta.e_tag.as_ref().is_none_or(|etag| *etag == version.etag);
        if !same || found.meta.size != version.size {
            return Err(self.changed(key));
        }
        let bytes = found.bytes().await.map_err(|error| self.error(key, &error))?;
        if bytes.len() as u64 != end - offset {
            return Err(self.changed(key));
        }
        Ok(bytes)
    }

    /// A small object as a whole.
    ///
    /// # Errors
    /// When it is not there, cannot be read, or has more than `most` bytes.
    pub async fn read_whole(
        &self,
        key: &str,
        most: usize,
    ) -> Result<(Bytes, Version), ObjectError> {
        let version = self.look_at(key, None).await?;
        if version.size > most as u64 {
            return Err(ObjectError::Failed(format!(
                "{} has {} bytes, allowed are {most}",
                self.address(key),
                version.size
            )));
        }
        let mut whole = Vec::new();
        while (whole.len() as u64) < version.size {
            whole.extend_from_slice(&self.read(key, &version, whole.len() as u64).await?);
        }
        Ok((whole.into(), version))
    }

    /// The objects whose keys begin with `prefix` and come behind `after`, in the order of their
    /// keys, `most` at most; whether there are more.
    ///
    /// # Errors
    /// When the bucket cannot be looked through.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Entry>, bool), ObjectError> {
        let most = most.max(1);
        match &self.inner.place {
            Place::S3(store) => self.list_s3(store, prefix, after, most).await,
            Place::Folder(_) => self.list_folder(prefix, after, most).await,
        }
    }

    async fn list_s3(
        &self,
        store: &AmazonS3,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Entry>, bool), ObjectError> {
        let mut entries = Vec::new();
        let mut options =
            PaginatedListOptions { offset: after.map(str::to_owned), ..Default::default() };
        loop {
            options.max_keys = Some((most - entries.len()).min(1_000));
            let prefix = (!prefix.is_empty()).then_some(prefix);
            let page = store.list_paginated(prefix, options.clone()).await;
            let page = page.map_err(|error| self.error(prefix.unwrap_or_default(), &error))?;
            entries.extend(page.result.objects.into_iter().map(entry));
            options.page_token = page.page_token;
            if options.page_token.is_none() || entries.len() >= most {
                return Ok((entries, options.page_token.is_some()));
            }
        }
    }

    /// A folder gives its files in no order: those that come first are kept while it is looked
    /// through.
    async fn list_folder(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<(Vec<Entry>, bool), ObjectError> {
        let store = self.store(false)?;
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let folder = (!folder.is_empty()).then(|| self.path(folder)).transpose()?;
        let mut found = store.list(folder.as_ref());
        let (mut first, mut more) = (BinaryHeap::new(), false);
        while let Some(meta) = found.try_next().await.map_err(|error| self.error(prefix, &error))? {
            let key = meta.location.as_ref();
            if !key.starts_with(prefix) || after.is_some_and(|after| key <= after) {
                continue;
            }
            first.push(ByKey(entry(meta)));
            if first.len() > most {
                first.pop();
                more = true;
            }
        }
        Ok((first.into_sorted_vec().into_iter().map(|ByKey(entry)| entry).collect(), more))
    }

    /// Writes an object of known bytes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn put(&self, key: &str, bytes: impl Into<Bytes>) -> Result<(), ObjectError> {
        let put = self.store(true)?.put(&self.path(key)?, bytes.into().into()).await;
        put.map(|_| ()).map_err(|error| self.error(key, &error))
    }

    /// Writes an object bit by bit; it is there once the writer is finished.
    ///
    /// # Errors
    /// When the key makes no sense or the bucket cannot be opened.
    pub fn writer(&self, key: &str) -> Result<ObjectWriter, ObjectError> {
        Ok(ObjectWriter::new(self.clone(), self.store(true)?, key, self.path(key)?))
    }

    fn store(&self, writes: bool) -> Result<Arc<dyn ObjectStore>, ObjectError> {
        let folder = match &self.inner.place {
            Place::S3(store) => return Ok(store.clone()),
            Place::Folder(folder) => folder,
        };
        let opened = if writes { std::fs::create_dir_all(folder) } else { Ok(()) };
        let failed = |error: &dyn fmt::Display| {
            ObjectError::Failed(format!(
                "the folder {} of the bucket `{}` cannot be opened: {error}",
                folder.display(),
                self.name()
            ))
        };
        opened.map_err(|error| failed(&error))?;
        if !folder.is_dir() {
            return Err(ObjectError::NotFound(missing_folder(folder, self.name())));
        }
        match LocalFileSystem::new_with_prefix(folder) {
            Ok(store) => Ok(Arc::new(store)),
            Err(error) => Err(failed(&error)),
        }
    }

    fn path(&self, key: &str) -> Result<Path, ObjectError> {
        Path::parse(key).ok().filter(|path| path.as_ref() == key).ok_or_else(|| {
            ObjectError::Failed(format!(
                "`{key}` cannot be a key of the bucket `{}`: no empty parts, no `.` or `..`, no `/` \
                 at either end",
                self.name()
            ))
        })
    }

    #[must_use]
    pub fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name())
    }

    fn changed(&self, key: &str) -> ObjectError {
        ObjectError::Changed(format!(
            "{} is not what it was when reading it began",
            self.address(key)
        ))
    }

    pub(super) fn error(&self, key: &str, error: &Error) -> ObjectError {
        match error {
            Error::NotFound { .. } => {
                ObjectError::NotFound(format!("{} is not there", self.address(key)))
            }
            Error::Precondition { .. } => self.changed(key),
            error => {
                // Innermost, it says what happened.
                let mut text = error.to_string();
                let mut at = error.source();
                while let Some(source) = at {
                    text = source.to_string();
                    at = source.source();
                }
                let text = self.masker().mask(&text).into_owned();
                let limit = self.inner.limits.error_chars;
                let text: String = text.chars().take(limit).collect();
                ObjectError::Failed(format!("{}: {text}", self.address(key)))
            }
        }
    }

    fn masker(&self) -> Masker {
        match &self.inner.spec.place {
            BucketPlace::Path(_) => Masker::default(),
            BucketPlace::S3(s3) => {
                let secrets = [&s3.access_key, &s3.secret_key, &s3.session_token];
                Masker::new(secrets.into_iter().flatten().map(crate::secret::Secret::expose))
            }
        }
    }
}

fn missing_folder(folder: &FilePath, bucket: &str) -> String {
    format!("the folder {} of the bucket `{bucket}` is not there", folder.display())
}

fn entry(meta: ObjectMeta) -> Entry {
    Entry {
        size: meta.size,
        etag: meta.e_tag,
        modified: Timestamp(meta.last_modified.timestamp_millis()),
        key: meta.location.into(),
    }
}

struct ByKey(Entry);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

fn s3_store(name: &str, s3: &S3Spec, connector: Connector) -> object_store::Result<AmazonS3> {
    let own = s3.endpoint.is_some();
    let virtual_style = s3.style.map_or(!own, |style| style == S3Style::Virtual);
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(s3.bucket.as_deref().unwrap_or(name))
        .with_region(s3.region.as_deref().unwrap_or(REGION))
        .with_virtual_hosted_style_request(virtual_style)
        .with_allow_http(s3.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")))
        .with_retry(RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
            ..RetryConfig::default()
        })
        .with_http_connector(connector);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = match (&s3.access_key, &s3.secret_key) {
        (Some(access), Some(secret)) => {
            builder.with_access_key_id(access.expose()).with_secret_access_key(secret.expose())
        }
        _ => builder.with_skip_signature(true),
    };
    if let Some(token) = &s3.session_token {
        builder = builder.with_token(token.expose());
    }
    builder.build()
}
