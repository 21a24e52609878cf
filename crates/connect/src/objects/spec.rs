//! What a bucket is made of, as plain data in the project file's shape.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::spec::SpecError;

/// A named place for objects. Workflows say its name as `Bucket`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BucketSpec {
    /// Not in the project file, where it is the key.
    #[serde(default)]
    pub name: String,
    #[serde(flatten)]
    pub place: BucketPlace,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BucketPlace {
    /// A folder; keys are paths below it.
    Path(PathBuf),
    S3(Box<S3Spec>),
}

/// A bucket of a service that speaks S3's protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Spec {
    /// Where the service is; AWS's own when not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Its name there, when it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// Without keys, requests are not signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_key: Option<Secret>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
    /// Where the bucket's name goes: `path` by default at an `endpoint`, else `virtual`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<S3Style>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum S3Style {
    /// `https://HOST/BUCKET/KEY`
    Path,
    /// `https://BUCKET.HOST/KEY`
    Virtual,
}

impl BucketSpec {
    /// # Errors
    /// When a field makes no sense.
    pub fn check(&self) -> Result<(), Vec<SpecError>> {
        let mut errors = Vec::new();
        match &self.place {
            BucketPlace::Path(path) if path.as_os_str().is_empty() => {
                errors.push(SpecError::new("/path", "the path of a folder is needed"));
            }
            BucketPlace::Path(_) => {}
            BucketPlace::S3(s3) => s3.check(&mut errors),
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl S3Spec {
    fn check(&self, errors: &mut Vec<SpecError>) {
        if let Some(endpoint) = &self.endpoint
            && !["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme))
        {
            let message = "the endpoint must begin with http:// or https://";
            errors.push(SpecError::new("/s3/endpoint", message));
        }
        if self.access_key.is_some() != self.secret_key.is_some() {
            let message = "`access_key` and `secret_key` go together";
            errors.push(SpecError::new("/s3", message));
        }
    }
}
