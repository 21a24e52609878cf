//! Journal entries as bytes: one JSON array of `[time, input]` a row.

use bytes::Bytes;
use stepbus_asl::Input;
use stepbus_model::Timestamp;
use stepbus_store::{ExecutionRow, JournalRow, StoreError};

/// Bytes that the entries of most children of a map take, so that their buffer need not grow.
const USUAL: usize = 1_024;

/// Entries as a row keeps them.
pub(crate) fn encode(entries: &[(Timestamp, Input)]) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL);
    match serde_json::to_writer(&mut bytes, entries) {
        Ok(()) => bytes.into(),
        Err(_) => Bytes::new(),
    }
}

/// The entries of journal rows, from entry `from` on.
///
/// # Errors
/// When an entry is missing or cannot be read.
pub(crate) fn decode(
    rows: &[JournalRow],
    from: u64,
) -> Result<Vec<(Timestamp, Input)>, StoreError> {
    let mut entries = Vec::new();
    let mut next = rows.first().map_or(from, |row| row.first.min(from));
    for row in rows {
        let damaged =
            |what: String| StoreError::Failed(format!("journal of {}: {what}", row.execution));
        if row.first != next {
            return Err(damaged(format!("entry {next} is missing")));
        }
        let read: Vec<(Timestamp, Input)> = serde_json::from_slice(&row.entries)
            .map_err(|error| damaged(format!("entry {}: {error}", row.first)))?;
        if read.len() != row.count as usize {
            return Err(damaged(format!("entry {}: {} of {}", row.first, read.len(), row.count)));
        }
        let skip = usize::try_from(from.saturating_sub(row.first)).unwrap_or(usize::MAX);
        entries.extend(read.into_iter().skip(skip));
        next += u64::from(row.count);
    }
    Ok(entries)
}

/// The entries of an execution that are not in the store yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// The number of the first of them.
    next: u64,
    entries: Vec<(Timestamp, Input)>,
}

impl Pending {
    pub(crate) fn after(next: u64) -> Self {
        Pending { next, entries: Vec::new() }
    }

    pub(crate) fn push(&mut self, at: Timestamp, input: Input) {
        self.entries.push((at, input));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries there will be once these are written.
    pub(crate) fn total(&self) -> u64 {
        self.next + self.entries.len() as u64
    }

    pub(crate) fn take(&mut self, row: &ExecutionRow) -> Option<JournalRow> {
        let count = u32::try_from(self.entries.len()).ok().filter(|count| *count > 0)?;
        let first = self.next;
        self.next += u64::from(count);
        let entries = encode(&self.entries);
        self.entries.clear();
        Some(JournalRow { execution: row.id, first, count, entries })
    }
}
