/// Why a batch was not committed or a read not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("no space left in the data directory; nothing was lost, free some space to go on")]
    Full,
    #[error("{scope} '{key}' is taken by {value}")]
    Conflict { scope: String, key: String, value: String },
    #[error("{0} is not there any more")]
    Gone(String),
    #[error("this node lost its lease: another one opened the data directory")]
    Fenced,
    #[error("the store is closed")]
    Closed,
    #[error(
        "the data directory {path} is in use by process {holder}; stop it, or choose another with --data"
    )]
    Locked { path: String, holder: String },
    #[error(
        "the data directory has schema version {found}, this binary knows up to {known}; use a newer stepbus"
    )]
    TooNew { found: u32, known: u32 },
    #[error("the store failed: {0}")]
    Failed(String),
}

/// One thing that `stepbus audit` found wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Which rule is broken, as in `totals-match-rows`.
    pub rule: String,
    /// The record it concerns, as in `run-42`.
    pub subject: String,
    pub message: String,
}
