//! Rows with their indexes. A row keeps its values as the JSON that answers will carry.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::scalar::{Scalar, canonical, milliseconds};
use super::schema::{ENTITIES, Entity, MODIFIED};

/// The values of one record in schema order; `None` is null.
pub(crate) type Record = Vec<Option<String>>;

#[derive(Debug)]
pub(crate) struct Row {
    /// The JSON texts of all values one after the other, quotes and brackets included.
    text: Box<str>,
    ends: Box<[u32]>,
    nulls: u64,
    /// Last modification, milliseconds since 1970.
    pub(crate) modified: i64,
}

impl Row {
    fn new(entity: &Entity, record: &Record) -> anyhow::Result<Row> {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(entity.fields.len());
        let mut nulls = 0;
        let mut modified = 0;
        for (index, field) in entity.fields.iter().enumerate() {
            match record.get(index).and_then(Option::as_deref) {
                None => {
                    nulls |= 1 << index;
                    text.push_str("\"\"");
                }
                Some(value) => {
                    let Some(shown) = canonical(field.kind, value) else {
                        anyhow::bail!(
                            "{}.{}: '{value}' is no {:?}",
                            entity.name,
                            field.name,
                            field.kind
                        );
                    };
                    if field.name == MODIFIED {
                        modified = milliseconds(value).unwrap_or(0);
                    }
                    let shown = if field.foreign { format!("[{shown}]") } else { shown };
                    text.push_str(&serde_json::Value::String(shown).to_string());
                }
            }
            ends.push(u32::try_from(text.len())?);
        }
        Ok(Row { text: text.into(), ends: ends.into(), nulls, modified })
    }

    /// The value as JSON text; null is `""`.
    pub(crate) fn json(&self, field: usize) -> &str {
        let start = if field == 0 { 0 } else { self.ends[field - 1] as usize };
        &self.text[start..self.ends[field] as usize]
    }

    pub(crate) fn is_null(&self, field: usize) -> bool {
        self.nulls & (1 << field) != 0
    }

    /// The value without quotes and brackets; `None` when null.
    pub(crate) fn value(&self, entity: &Entity, field: usize) -> Option<Cow<'_, str>> {
        if self.is_null(field) {
            return None;
        }
        let json = self.json(field);
        let inner = &json[1..json.len() - 1];
        if entity.fields[field].foreign {
            return Some(Cow::Borrowed(&inner[1..inner.len() - 1]));
        }
        if inner.contains('\\') {
            return serde_json::from_str(json).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inner))
    }

    pub(crate) fn scalar(&self, entity: &Entity, field: usize) -> Option<Scalar> {
        Scalar::read(entity.fields[field].kind, &self.value(entity, field)?)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) entity: &'static Entity,
    /// In the order of the primary key.
    pub(crate) rows: Vec<Arc<Row>>,
    indexes: Vec<Option<HashMap<Box<str>, Vec<u32>>>>,
}

impl Table {
    pub(crate) fn new(entity: &'static Entity, records: &[Record]) -> anyhow::Result<Table> {
        let rows = records
            .iter()
            .map(|record| Row::new(entity, record).map(Arc::new))
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Table::of(entity, rows))
    }

    fn of(entity: &'static Entity, mut rows: Vec<Arc<Row>>) -> Table {
        rows.sort_by(|a, b| compare_keys(entity, a, b));
        let indexes = entity
            .fields
            .iter()
            .enumerate()
            .map(|(index, field)| field.indexed.then(|| index_of(entity, &rows, index)))
            .collect();
        Table { entity, rows, indexes }
    }

    /// The same table with some rows changed or, where `edit` gives `None`, gone.
    pub(crate) fn edited(&self, edit: impl Fn(&Record) -> Option<Record>) -> anyhow::Result<Table> {
        let mut rows = Vec::with_capacity(self.rows.len());
        for row in &self.rows {
            let before = self.record(row);
            match edit(&before) {
                Some(after) if after == before => rows.push(Arc::clone(row)),
                Some(after) => rows.push(Arc::new(Row::new(self.entity, &after)?)),
                None => {}
            }
        }
        Ok(Table::of(self.entity, rows))
    }

    pub(crate) fn record(&self, row: &Row) -> Record {
        (0..self.entity.fields.len())
            .map(|field| row.value(self.entity, field).map(Cow::into_owned))
            .collect()
    }

    pub(crate) fn is_indexed(&self, field: usize) -> bool {
        self.indexes[field].is_some()
    }

    /// The rows, in key order, whose `field` is `value`; the field must be indexed.
    pub(crate) fn lookup(&self, field: usize, value: &str) -> &[u32] {
        let Some(index) = &self.indexes[field] else { return &[] };
        let kind = self.entity.fields[field].kind;
        canonical(kind, value)
            .and_then(|value| index.get(value.as_str()))
            .map_or(&[], Vec::as_slice)
    }

    /// The rows whose primary key, of one field, lies in that half of the order.
    pub(crate) fn range(&self, bound: &Scalar, wanted: impl Fn(Ordering) -> bool) -> Range<usize> {
        let key = self.entity.key[0];
        let ordering =
            |row: &Arc<Row>| row.scalar(self.entity, key).and_then(|value| value.compare(bound));
        let below = self.rows.partition_point(|row| ordering(row) == Some(Ordering::Less));
        let upto = below
            + self.rows[below..].partition_point(|row| ordering(row) == Some(Ordering::Equal));
        let start = if wanted(Ordering::Less) {
            0
        } else if wanted(Ordering::Equal) {
            below
        } else {
            upto
        };
        let end = if wanted(Ordering::Greater) {
            self.rows.len()
        } else if wanted(Ordering::Equal) {
            upto
        } else {
            below
        };
        start..end
    }
}

fn compare_keys(entity: &Entity, a: &Row, b: &Row) -> Ordering {
    entity
        .key
        .iter()
        .map(|field| compare_values(entity, *field, a, b))
        .find(|ordering| ordering.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Null comes first.
pub(crate) fn compare_values(entity: &Entity, field: usize, a: &Row, b: &Row) -> Ordering {
    match (a.scalar(entity, field), b.scalar(entity, field)) {
        (Some(a), Some(b)) => a.compare(&b).unwrap_or(Ordering::Equal),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

fn index_of(entity: &Entity, rows: &[Arc<Row>], field: usize) -> HashMap<Box<str>, Vec<u32>> {
    let mut index: HashMap<Box<str>, Vec<u32>> = HashMap::new();
    for (number, row) in rows.iter().enumerate() {
        if let Some(value) = row.value(entity, field) {
            index.entry(value.into()).or_default().push(number as u32);
        }
    }
    index
}

/// All entities at one moment; a change makes a new one, so that a streamed answer keeps its own.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) tables: Vec<Arc<Table>>,
}

impl Database {
    /// `records` holds one list for each of [`ENTITIES`].
    pub(crate) fn new(records: &[Vec<Record>]) -> anyhow::Result<Database> {
        let tables = ENTITIES
            .iter()
            .zip(records)
            .map(|(entity, records)| Table::new(entity, records).map(Arc::new))
            .collect::<anyhow::Result<_>>()?;
        Ok(Database { tables })
    }

    pub(crate) fn table(&self, entity: usize) -> &Table {
        &self.tables[entity]
    }
}
