//! What `http:invoke` asks for and gets.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use stepbus_model::Share;

use crate::report::Failure;

/// One call of a workflow's task.
#[derive(Debug, Clone, Default)]
pub struct HttpTask {
    pub connection: Option<String>,
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// Added to what the URL has.
    pub query: Vec<(String, String)>,
    /// Sent as `application/json` unless `headers` say otherwise.
    pub body: Option<Bytes>,
    /// Of the call itself; waiting for permits is not counted.
    pub timeout: Option<Duration>,
    /// Sent as `Idempotency-Key` when the method writes.
    pub idempotency_key: Option<String>,
    /// Whose turn it takes where several wait for the same system.
    pub share: Share,
}

/// An answer with a status in 200..=299.
#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub status: u16,
    /// The status line's text, as in `OK`.
    pub reason: &'static str,
    pub(crate) headers: HeaderMap,
    pub body: Bytes,
}

impl HttpResponse {
    /// In the order they came, names in lower case; what is no UTF-8 is replaced.
    pub fn headers(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
    }
}

/// Why a task failed, under the name that Retry and Catch know.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}: {cause}")]
pub struct CallError {
    /// `States.Http.StatusCode.NNN`, `States.Http.Socket` or another of AWS's names.
    pub error: String,
    pub cause: String,
    pub status: Option<u16>,
    pub failure: Arc<Failure>,
    /// The whole body of an answer whose status is not 2xx; the connection's secrets are masked.
    pub body: Option<Arc<str>>,
}
