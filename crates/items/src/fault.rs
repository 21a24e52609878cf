//! What is wrong with a source of items, and where.

/// The cause of a `States.ItemReaderFailed`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ItemFault(pub String);

impl ItemFault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        ItemFault(message.into())
    }

    /// Says which object it was.
    #[must_use]
    pub fn of(self, object: &str) -> Self {
        ItemFault(format!("{object}: {}", self.0))
    }
}
