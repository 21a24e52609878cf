//! What a target holds, and what about its writes was odd.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use serde_json::{Value, json};

/// Oddities of which the books keep the particulars; beyond it they are only counted.
const SAMPLES: usize = 20;

#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) sku: String,
    pub(crate) version: i64,
    /// As it was sent.
    pub(crate) body: Box<[u8]>,
    pub(crate) writes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) held: Vec<Held>,
    by_sku: HashMap<String, Vec<usize>>,
    pub(crate) writes: u64,
    /// Creations refused because the SKU existed.
    pub(crate) refused_duplicates: u64,
    /// Writes that carried an older version than the one they replaced.
    pub(crate) out_of_order: u64,
    pub(crate) out_of_order_samples: Vec<Value>,
}

/// Ids given out begin here, so that they resemble neither SKUs nor the MDM's ids.
const FIRST_ID: usize = 900_001;

#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Records>);

/// What one write carries.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) sku: &'a str,
    pub(crate) version: i64,
    pub(crate) body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UpdateError {
    Missing,
    /// The record is another SKU's.
    Other(String),
}

impl Ledger {
    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.0.lock().expect("no holder panics")
    }

    /// Whether it was created.
    pub(crate) fn upsert(&self, write: Write<'_>) -> (usize, bool) {
        let mut records = self.records();
        match records.first(write.sku) {
            Some(at) => {
                records.replace(at, write);
                (FIRST_ID + at, false)
            }
            None => (FIRST_ID + records.insert(write), true),
        }
    }

    /// # Errors
    /// With the id that has the SKU, when it is to be unique.
    pub(crate) fn create(&self, write: Write<'_>, unique: bool) -> Result<usize, usize> {
        let mut records = self.records();
        match records.first(write.sku) {
            Some(at) if unique => {
                records.refused_duplicates += 1;
                Err(FIRST_ID + at)
            }
            _ => Ok(FIRST_ID + records.insert(write)),
        }
    }

    pub(crate) fn update(&self, id: usize, write: Write<'_>) -> Result<(), UpdateError> {
        let mut records = self.records();
        let at = id.wrapping_sub(FIRST_ID);
        match records.held.get(at) {
            None => Err(UpdateError::Missing),
            Some(held) if held.sku != write.sku => Err(UpdateError::Other(held.sku.clone())),
            Some(_) => {
                records.replace(at, write);
                Ok(())
            }
        }
    }

    pub(crate) fn find(&self, sku: &str) -> Vec<usize> {
        let records = self.records();
        records.by_sku.get(sku).into_iter().flatten().map(|at| FIRST_ID + at).collect()
    }

    pub(crate) fn forget(&self) {
        *self.records() = Records::default();
    }
}

impl Records {
    fn first(&self, sku: &str) -> Option<usize> {
        self.by_sku.get(sku)?.first().copied()
    }

    pub(crate) fn of(&self, sku: &str) -> impl Iterator<Item = &Held> {
        self.by_sku.get(sku).into_iter().flatten().map(|at| &self.held[*at])
    }

    pub(crate) fn by_id(&self, id: usize) -> Option<&Held> {
        self.held.get(id.wrapping_sub(FIRST_ID))
    }

    pub(crate) fn skus(&self) -> impl Iterator<Item = &str> {
        self.by_sku.keys().map(String::as_str)
    }

    fn insert(&mut self, write: Write<'_>) -> usize {
        let at = self.held.len();
        self.writes += 1;
        self.by_sku.entry(write.sku.to_owned()).or_default().push(at);
        self.held.push(Held {
            sku: write.sku.to_owned(),
            version: write.version,
            body: write.body.into(),
            writes: 1,
        });
        at
    }

    fn replace(&mut self, at: usize, write: Write<'_>) {
        self.writes += 1;
        let held = &mut self.held[at];
        held.writes += 1;
        if write.version < held.version {
            self.out_of_order += 1;
            if self.out_of_order_samples.len() < SAMPLES {
                self.out_of_order_samples.push(json!({
                    "sku": write.sku,
                    "held_version": held.version,
                    "written_version": write.version,
                }));
            }
        }
        held.version = write.version;
        held.body = write.body.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(sku: &str, version: i64) -> Write<'_> {
        Write { sku, version, body: b"{}" }
    }

    #[test]
    fn a_sku_is_created_once_unless_uniqueness_is_off() {
        let ledger = Ledger::default();
        let id = ledger.create(write("A", 1), true).unwrap();
        assert_eq!(ledger.create(write("A", 1), true), Err(id));
        assert!(ledger.create(write("A", 1), false).is_ok());
        assert_eq!(ledger.find("A").len(), 2);
        assert_eq!(ledger.records().refused_duplicates, 1);
    }

    #[test]
    fn older_data_after_newer_is_out_of_order() {
        let ledger = Ledger::default();
        let (id, created) = ledger.upsert(write("A", 5));
        assert!(created);
        assert_eq!(ledger.update(id, write("A", 5)), Ok(()));
        assert_eq!(ledger.records().out_of_order, 0);
        assert_eq!(ledger.upsert(write("A", 4)), (id, false));
        assert_eq!(ledger.records().out_of_order, 1);
        assert_eq!(ledger.update(id, write("B", 6)), Err(UpdateError::Other("A".into())));
        assert_eq!(ledger.update(id + 1, write("A", 6)), Err(UpdateError::Missing));
    }
}
