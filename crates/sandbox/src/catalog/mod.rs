//! The catalogue behind the master-data system: read from files or made from a seed.

mod damage;
mod generate;
mod read;

pub(crate) use damage::damage;
pub(crate) use generate::generate;
pub(crate) use read::read;

use crate::mdm::schema::{ENTITIES, PRICE, PRODUCT};
use crate::mdm::table::Record;

/// One list of records for each entity of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Catalog {
    pub(crate) records: Vec<Vec<Record>>,
}

impl Catalog {
    pub(crate) fn empty() -> Catalog {
        Catalog { records: ENTITIES.iter().map(|_| Vec::new()).collect() }
    }

    /// Keeps the first `count` products and, of their prices, those that are theirs.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.records[PRODUCT].truncate(count);
        let ids: std::collections::HashSet<&Option<String>> =
            self.records[PRODUCT].iter().map(|product| &product[0]).collect();
        let kept: Vec<Record> =
            self.records[PRICE].iter().filter(|price| ids.contains(&price[0])).cloned().collect();
        self.records[PRICE] = kept;
    }
}

/// The place of a field, which must exist, in its entity.
pub(crate) fn column(entity: usize, name: &str) -> usize {
    ENTITIES[entity].field(name).expect("the model has this field")
}
