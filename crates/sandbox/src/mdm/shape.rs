//! What queries of one kind have in common: everything but their condition. It is read once.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::query::{self, Column, Condition, Join, Names, Order, QueryError, malformed};
use super::write::Labels;

/// Shapes remembered; a client that makes new ones all the time makes them be forgotten.
const SHAPES: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// Entities, by their place in the model.
    pub(crate) from: Vec<usize>,
    /// `None`: whole records.
    pub(crate) columns: Option<Vec<Column>>,
    pub(crate) joins: Vec<Join>,
    pub(crate) orders: Vec<Order>,
    pub(crate) start: usize,
    pub(crate) limit: usize,
    /// Of an answer in JSON with names in lower case, which is what nearly all ask for.
    pub(crate) labels: OnceLock<Arc<Labels>>,
}

#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) shape: Arc<Shape>,
    pub(crate) condition: Option<Condition>,
}

impl Deref for Query {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

#[derive(Debug, Default)]
pub(crate) struct Shapes(Mutex<HashMap<String, Arc<Shape>>>);

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    select: Option<&'a RawValue>,
}

impl Shapes {
    pub(crate) fn parse(&self, body: &[u8]) -> Result<Query, QueryError> {
        let body: Body<'_> = serde_json::from_slice(body)
            .map_err(|error| malformed(format!("Malformed query (not a JSON object: {error}).")))?;
        let members: BTreeMap<String, &RawValue> =
            body.select.and_then(|select| serde_json::from_str(select.get()).ok()).ok_or_else(
                || malformed("Malformed query (has top level object but hasn't 'select' in it)."),
            )?;
        let shape = self.shape(&members)?;
        let condition = members
            .get("where")
            .map(|condition| Names { from: shape.from.clone() }.condition(&value(condition)));
        Ok(Query { condition: condition.transpose()?, shape })
    }

    fn shape(&self, members: &BTreeMap<String, &RawValue>) -> Result<Arc<Shape>, QueryError> {
        let mut key = String::new();
        for (name, text) in members.iter().filter(|(name, _)| *name != "where") {
            key.push_str(name);
            key.push('\n');
            key.push_str(text.get());
        }
        let mut shapes = self.0.lock().expect("no holder panics");
        if let Some(shape) = shapes.get(&key) {
            return Ok(Arc::clone(shape));
        }
        let values = members
            .iter()
            .filter(|(name, _)| *name != "where")
            .map(|(name, text)| (name.clone(), value(text)))
            .collect();
        let shape = Arc::new(query::shape(&values)?);
        if shapes.len() >= SHAPES {
            shapes.clear();
        }
        shapes.insert(key, Arc::clone(&shape));
        Ok(shape)
    }
}

fn value(text: &RawValue) -> Value {
    serde_json::from_str(text.get()).unwrap_or(Value::Null)
}
