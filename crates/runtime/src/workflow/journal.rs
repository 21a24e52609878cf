//! Journal entries as bytes: one array of `[time, input]` a row, in `MessagePack`, whose texts need
//! no escapes: most of what is written of a map's child is its journal.

use bytes::Bytes;
use stepbus_asl::Input;
use stepbus_model::Timestamp;
use stepbus_store::{ExecutionRow, JournalRow, StoreError};

/// Bytes that the entries of most children of a map take, so that their buffer need not grow.
const USUAL: usize = 1_024;

/// What JSON arrays begin with, and no array of `MessagePack`.
const JSON: u8 = b'[';

/// Entries as a row keeps them.
///
/// # Panics
/// Never: an input holds nothing but JSON and numbers.
pub(crate) fn encode(entries: &[(Timestamp, Input)]) -> Bytes {
    let mut bytes = Vec::with_capacity(USUAL);
    rmp_serde::encode::write_named(&mut bytes, entries)
        .expect("an input holds nothing but JSON and numbers");
    bytes.into()
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
        let read =
            read(&row.entries).map_err(|error| damaged(format!("entry {}: {error}", row.first)))?;
        if read.len() != row.count as usize {
            return Err(damaged(format!("entry {}: {} of {}", row.first, read.len(), row.count)));
        }
        let skip = usize::try_from(from.saturating_sub(row.first)).unwrap_or(usize::MAX);
        entries.extend(read.into_iter().skip(skip));
        next += u64::from(row.count);
    }
    Ok(entries)
}

/// They were written as JSON once.
fn read(bytes: &[u8]) -> Result<Vec<(Timestamp, Input)>, String> {
    match bytes.first() {
        Some(&JSON) => serde_json::from_slice(bytes).map_err(|error| error.to_string()),
        _ => rmp_serde::from_slice(bytes).map_err(|error| error.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stepbus_asl::{Failure, TaskId, Timer, TimerKind, Visit};
    use stepbus_model::ExecutionId;

    use super::*;

    fn entries() -> Vec<(Timestamp, Input)> {
        let task = TaskId { visit: Visit(3), attempt: 1 };
        let numbers = json!([0, -1, u64::MAX, i64::MIN, 0.1, 1.0, -0.0, 1e300]);
        let texts = json!({ "zz": "\"\u{0}ü\n", "a": null, "": [[], {}, true] });
        let inputs = [
            Input::TaskSubmitted { task, output: numbers.into() },
            Input::TaskSucceeded { task, output: texts.into() },
            Input::TaskFailed { task, failure: Failure::new("Broken", "no sku") },
            Input::TaskFailed { task, failure: Failure::default() },
            Input::TimerFired {
                timer: Timer { visit: Visit(3), kind: TimerKind::Retry, attempt: 1 },
            },
            Input::Redriven,
        ];
        (0..).map(Timestamp).zip(inputs).collect()
    }

    fn row(entries: impl Into<Bytes>, count: usize) -> JournalRow {
        let count = u32::try_from(count).unwrap();
        JournalRow { execution: ExecutionId(1), first: 0, count, entries: entries.into() }
    }

    #[test]
    fn entries_are_read_as_they_were_written() {
        let entries = entries();
        let rows = [row(encode(&entries), entries.len())];
        assert_eq!(decode(&rows, 0).unwrap(), entries);
        assert_eq!(decode(&rows, 4).unwrap(), entries[4..]);
        let json = serde_json::to_string(&entries).unwrap();
        assert_eq!(decode(&[row(json.clone(), entries.len())], 0).unwrap(), entries);
        // To the last digit and in the order of the members.
        let read = decode(&rows, 0).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), json);
    }

    #[test]
    fn deep_values_are_read_again() {
        let deep = (0..100).fold(Value::Null, |inside, _| json!([{ "a": inside }]));
        let task = TaskId { visit: Visit(1), attempt: 0 };
        let entries = [(Timestamp(1), Input::TaskSucceeded { task, output: deep.into() })];
        assert_eq!(decode(&[row(encode(&entries), 1)], 0).unwrap(), entries);
    }

    #[test]
    fn damage_is_told() {
        let entries = entries();
        let whole = encode(&entries);
        for damaged in [&whole[..whole.len() - 1], &whole[1..], b"", b"[1"] {
            let row = row(Bytes::copy_from_slice(damaged), entries.len());
            let error = decode(&[row], 0).unwrap_err().to_string();
            assert!(error.contains("journal of"), "{error}");
        }
        let error = decode(&[row(whole, 2)], 0).unwrap_err().to_string();
        assert!(error.contains("6 of 2"), "{error}");
    }
}
