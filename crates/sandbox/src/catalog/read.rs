//! A catalogue from files: one JSON array an entity, every value a text or null.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::Catalog;
use crate::mdm::schema::{ENTITIES, Entity};
use crate::mdm::table::Record;

/// Reads `Product.json` and its five companions from `folder`.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Catalog> {
    let mut catalog = Catalog::empty();
    for (entity, records) in ENTITIES.iter().zip(&mut catalog.records) {
        let path = folder.join(format!("{}.json", entity.name));
        let text = std::fs::read(&path).with_context(|| {
            format!("cannot read {}: --catalog needs one JSON file for each entity", path.display())
        })?;
        let rows: Vec<Map<String, Value>> = serde_json::from_slice(&text)
            .with_context(|| format!("{}: not a JSON array of objects", path.display()))?;
        for (number, row) in rows.iter().enumerate() {
            let record = record(entity, row)
                .with_context(|| format!("{}: record {}", path.display(), number + 1))?;
            records.push(record);
        }
    }
    Ok(catalog)
}

fn record(entity: &Entity, row: &Map<String, Value>) -> anyhow::Result<Record> {
    entity
        .fields
        .iter()
        .enumerate()
        .map(|(index, field)| match row.get(field.name) {
            None | Some(Value::Null) if entity.key.contains(&index) => {
                bail!("the key field {} has no value", field.name)
            }
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Bool(_) | Value::Number(_)) => Ok(Some(row[field.name].to_string())),
            Some(other) => bail!("{} is neither a text nor null: {other}", field.name),
        })
        .collect()
}
