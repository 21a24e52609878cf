//! Object storage: buckets, which are folders of this machine or buckets of an S3-like service.
//!
//! Reading is by ranges, each of which names the version it is to come from; writing is whole or
//! in parts, never more than one part in memory.

mod bucket;
mod http;
mod spec;
mod writer;

#[cfg(test)]
mod tests;

pub use bucket::{Bucket, Entry, Version};
pub use spec::{BucketPlace, BucketSpec, S3Spec, S3Style};
pub use writer::ObjectWriter;

/// Why an object cannot be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    #[error("{0}")]
    NotFound(String),
    /// It is no longer the version that was asked for.
    #[error("{0}")]
    Changed(String),
    #[error("{0}")]
    Failed(String),
}
