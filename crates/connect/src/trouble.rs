//! Why a call got no usable answer.

use std::error::Error;
use std::time::Duration;

use crate::report::code;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) kind: TroubleKind,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TroubleKind {
    /// No connection, or it broke.
    Connection,
    Timeout,
    /// The answer is larger than `Limits::response_bytes`.
    TooLarge,
    /// The request cannot be made at all: a placeholder without a value, a bad header.
    Request,
    /// No token could be had.
    Token,
}

impl Trouble {
    pub(crate) fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        Trouble { kind, message: message.into() }
    }

    pub(crate) fn request(message: impl Into<String>) -> Self {
        Trouble::new(TroubleKind::Request, message)
    }

    pub(crate) fn timeout(host: &str, span: Duration) -> Self {
        Trouble::new(TroubleKind::Timeout, format!("{host} gave no answer within {span:?}"))
    }

    pub(crate) fn connection(host: &str, error: &dyn Error) -> Self {
        Trouble::new(TroubleKind::Connection, format!("the call to {host} failed: {}", root(error)))
    }

    pub(crate) fn too_large(host: &str, limit: usize) -> Self {
        let message =
            format!("{host} answered with more than {limit} bytes, the limit `response_bytes`");
        Trouble::new(TroubleKind::TooLarge, message)
    }

    pub(crate) fn code(&self) -> &'static str {
        match self.kind {
            TroubleKind::Connection => code::CONNECTION_FAILURE,
            TroubleKind::Timeout => code::TIMEOUT,
            TroubleKind::TooLarge => code::RESOURCE_LIMIT_EXCEEDED,
            TroubleKind::Request => code::INVALID_PARAMETER,
            TroubleKind::Token => code::NO_PERMISSIONS,
        }
    }

    pub(crate) fn is_permanent(&self) -> bool {
        matches!(self.kind, TroubleKind::TooLarge | TroubleKind::Request)
    }
}

/// The innermost cause says what happened; those around it say only that something did.
fn root(error: &dyn Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
