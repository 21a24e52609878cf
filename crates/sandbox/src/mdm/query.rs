//! The query language: JSON to shapes and conditions, with the server's own complaints.

use http::StatusCode;
use serde_json::{Map, Value};

use super::scalar::Scalar;
use super::schema::{self, ENTITIES, Entity, Kind};
use super::shape::Shape;

/// A refusal, as the server words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueryError {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
}

pub(crate) fn malformed(text: impl Into<String>) -> QueryError {
    QueryError { status: StatusCode::BAD_REQUEST, text: text.into() }
}

/// What the real parser throws NotImplementedException for, which its error mapper makes a 500.
fn unsupported(what: &Value) -> QueryError {
    QueryError {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        text: format!("No support for '{what}'."),
    }
}

/// A field of one of the selected types: the type's place in `from`, the field's in the entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldRef {
    pub(crate) slot: usize,
    pub(crate) field: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Field(FieldRef),
    /// Last modification in epoch milliseconds.
    Timestamp,
    /// The staging metadata, empty in master data.
    EmptyMetadata,
    Constant(String),
    Count(Option<FieldRef>),
    Max(Box<Expr>),
    Min(Box<Expr>),
    Distinct(Box<Expr>),
    /// An item of a repeating field; this model has none, so only item 0 exists.
    Index(FieldRef, usize),
}

impl Expr {
    pub(crate) fn is_aggregate(&self) -> bool {
        matches!(self, Expr::Count(_) | Expr::Max(_) | Expr::Min(_))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) expr: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Eq,
    Gt,
    Gte,
    Lt,
    Lte,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Compare(Comparison, Expr, Scalar),
    CompareFields(Comparison, Expr, FieldRef),
    In(Expr, Vec<Scalar>, Vec<String>),
    Contains(Expr, String),
    StartsWith(Expr, String),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    IsNull(Expr),
    IsEmpty(Expr),
    /// `is`: this model has no subtypes, so the answer does not depend on the record.
    Always(bool),
    FullText(Option<FieldRef>, String),
}

/// Joins the type at `slot` to an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Join {
    pub(crate) from: FieldRef,
    pub(crate) slot: usize,
    pub(crate) on: usize,
    /// Mandatory foreign key: inner; optional: left outer. A query cannot choose.
    pub(crate) inner: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Order {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
}

/// The limit that means none, as does an absent one.
const NO_LIMIT: i64 = 2_147_483_647;

type Parsed<T> = Result<T, QueryError>;

/// Reads everything of a query but its condition.
pub(crate) fn shape(select: &Map<String, Value>) -> Parsed<Shape> {
    for (name, value) in select {
        if !matches!(
            name.as_str(),
            "from" | "fields" | "joins" | "order_bys" | "start" | "limit" | "cache"
        ) {
            return Err(unsupported(&Value::Object(
                [(name.clone(), value.clone())].into_iter().collect(),
            )));
        }
    }
    let names = Names { from: from(select)? };
    let joins = names.joins(select.get("joins"))?;
    if joins.len() + 1 < names.from.len() {
        return Err(malformed("Malformed query (several types but no join between them)."));
    }
    Ok(Shape {
        columns: names.columns(select.get("fields"))?,
        joins,
        orders: names.orders(select.get("order_bys"))?,
        start: non_negative(select, "start")?.unwrap_or(0),
        limit: non_negative(select, "limit")?
            .filter(|limit| *limit as i64 != NO_LIMIT)
            .unwrap_or(usize::MAX),
        from: names.from,
        ..Shape::default()
    })
}

fn non_negative(select: &Map<String, Value>, name: &str) -> Parsed<Option<usize>> {
    match select.get(name) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(number) => Ok(Some(number as usize)),
            None => Err(malformed(format!("Malformed query ('{name}' is not a valid integer)."))),
        },
    }
}

fn from(select: &Map<String, Value>) -> Parsed<Vec<usize>> {
    let types = select
        .get("from")
        .and_then(Value::as_array)
        .filter(|types| !types.is_empty())
        .ok_or_else(|| malformed("Malformed query ('from' is missing or empty)."))?;
    types
        .iter()
        .map(|name| {
            let name = name.as_str().unwrap_or_default();
            schema::entity(name).ok_or_else(|| {
                malformed(format!("Malformed query (type '{name}' does not exist)."))
            })
        })
        .collect()
}

/// The one member of an expression or condition.
fn single(value: &Value) -> Parsed<(&str, &Value)> {
    match value.as_object() {
        Some(object) if object.len() == 1 => {
            let (name, inner) = object.iter().next().expect("has one member");
            Ok((name, inner))
        }
        _ => Err(malformed(format!(
            "Malformed query (expected an object with one member: {value})."
        ))),
    }
}

enum Operand {
    Expr(Expr),
    Text(String),
    List(Vec<String>),
    Field(FieldRef),
}

pub(crate) struct Names {
    pub(crate) from: Vec<usize>,
}

impl Names {
    fn entity(&self, slot: usize) -> &'static Entity {
        &ENTITIES[self.from[slot]]
    }

    fn field(&self, path: &Value) -> Parsed<FieldRef> {
        let path = path.as_str().unwrap_or_default();
        let (type_name, field_name) = path.split_once('/').ok_or_else(|| {
            malformed(format!("Malformed query (field '{path}' must be MyEntity/myField)."))
        })?;
        let Some(slot) = self.from.iter().position(|entity| ENTITIES[*entity].name == type_name)
        else {
            return Err(malformed(if schema::entity(type_name).is_some() {
                format!("Malformed query (type '{type_name}' is not selected).")
            } else {
                format!("Malformed query (type '{type_name}' does not exist).")
            }));
        };
        match self.entity(slot).field(field_name) {
            Some(field) => Ok(FieldRef { slot, field }),
            None => Err(malformed(format!(
                "Malformed query (field '{field_name}' does not exist in type '{type_name}')."
            ))),
        }
    }

    fn expr(&self, value: &Value) -> Parsed<Expr> {
        let (name, inner) = single(value)?;
        Ok(match name {
            "field" if inner.as_str().is_some_and(is_timestamp) => Expr::Timestamp,
            "field" => Expr::Field(self.field(inner)?),
            "value" => Expr::Constant(text_of(inner)),
            "count" => match inner.get("field") {
                None => Expr::Count(None),
                Some(path) => Expr::Count(Some(self.field(path)?)),
            },
            "max" => Expr::Max(Box::new(self.expr(inner)?)),
            "min" => Expr::Min(Box::new(self.expr(inner)?)),
            "distinct" => Expr::Distinct(Box::new(self.expr(inner)?)),
            "metadata" => metadata(inner)?,
            "index" => match inner.as_array().map(Vec::as_slice) {
                Some([field, item]) => {
                    let field = self.field(field.get("field").unwrap_or(&Value::Null))?;
                    Expr::Index(field, item.as_u64().unwrap_or(0) as usize)
                }
                _ => {
                    return Err(malformed("Malformed query ('index' needs a field and a number)."));
                }
            },
            _ => return Err(unsupported(value)),
        })
    }

    fn columns(&self, fields: Option<&Value>) -> Parsed<Option<Vec<Column>>> {
        let Some(fields) = fields else { return Ok(None) };
        let fields = fields
            .as_array()
            .ok_or_else(|| malformed("Malformed query ('fields' is not an array)."))?;
        fields.iter().map(|field| self.column(field)).collect::<Parsed<Vec<_>>>().map(Some)
    }

    fn column(&self, value: &Value) -> Parsed<Column> {
        let (name, inner) = single(value)?;
        if name != "alias" {
            let expr = self.expr(value)?;
            return Ok(Column { name: self.natural_name(&expr), expr });
        }
        let parts = inner.as_array().map(Vec::as_slice).unwrap_or_default();
        let alias = parts.iter().find_map(|part| part.get("name")?.as_str());
        let expr = parts.iter().find(|part| part.get("name").is_none());
        match (alias, expr) {
            (Some(alias), Some(expr)) => {
                Ok(Column { name: alias.to_owned(), expr: self.expr(expr)? })
            }
            _ => Err(malformed("Malformed query (alias needs a name and an expression).")),
        }
    }

    fn natural_name(&self, expr: &Expr) -> String {
        match expr {
            Expr::Field(at) | Expr::Index(at, _) => {
                self.entity(at.slot).fields[at.field].name.to_owned()
            }
            Expr::Timestamp => "timestamp".to_owned(),
            Expr::EmptyMetadata => "metadata".to_owned(),
            Expr::Constant(_) => "value".to_owned(),
            Expr::Count(_) => "count".to_owned(),
            Expr::Max(_) => "max".to_owned(),
            Expr::Min(_) => "min".to_owned(),
            Expr::Distinct(inner) => self.natural_name(inner),
        }
    }

    fn kind(&self, expr: &Expr) -> Kind {
        match expr {
            Expr::Field(at) | Expr::Index(at, _) => self.entity(at.slot).fields[at.field].kind,
            Expr::Timestamp | Expr::Count(_) => Kind::Int,
            Expr::EmptyMetadata | Expr::Constant(_) => Kind::Text,
            Expr::Max(inner) | Expr::Min(inner) | Expr::Distinct(inner) => self.kind(inner),
        }
    }

    /// Reads a value, which queries always write as text, as the type of what it meets.
    fn scalar(&self, expr: &Expr, text: &str) -> Parsed<Scalar> {
        let kind = self.kind(expr);
        Scalar::read(kind, text).ok_or_else(|| {
            malformed(format!("Malformed query ('{text}' is not a valid {kind:?})."))
        })
    }

    fn joins(&self, joins: Option<&Value>) -> Parsed<Vec<Join>> {
        let Some(joins) = joins else { return Ok(Vec::new()) };
        let joins = joins
            .as_array()
            .ok_or_else(|| malformed("Malformed query ('joins' is not an array)."))?;
        let mut joined = vec![0];
        joins
            .iter()
            .map(|join| {
                let from = self.field(join.get("from").unwrap_or(&Value::Null))?;
                let on = self.field(join.get("on").unwrap_or(&Value::Null))?;
                if !joined.contains(&from.slot) || joined.contains(&on.slot) {
                    return Err(malformed(
                        "Malformed query (a join must lead from a joined type to one that is not).",
                    ));
                }
                joined.push(on.slot);
                let inner = self.entity(from.slot).fields[from.field].mandatory;
                Ok(Join { from, slot: on.slot, on: on.field, inner })
            })
            .collect()
    }

    fn orders(&self, orders: Option<&Value>) -> Parsed<Vec<Order>> {
        let missing = || malformed("Missing expression and/or direction for order by.");
        let Some(orders) = orders else { return Ok(Vec::new()) };
        let orders = orders
            .as_array()
            .ok_or_else(|| malformed("Malformed query ('order_bys' is not an array)."))?;
        orders
            .iter()
            .map(|order| {
                let parts = order.get("order_by").and_then(Value::as_array).ok_or_else(missing)?;
                let direction = parts.iter().find_map(|part| part.get("direction"));
                let expr = parts.iter().find(|part| part.get("direction").is_none());
                let (Some(direction), Some(expr)) = (direction, expr) else {
                    return Err(missing());
                };
                let direction = direction.as_str().unwrap_or_default();
                let descending = match direction.to_ascii_lowercase().as_str() {
                    "asc" => false,
                    "desc" => true,
                    _ => {
                        return Err(malformed(format!(
                            "Malformed query (direction '{direction}' is neither ASC nor DESC)."
                        )));
                    }
                };
                Ok(Order { expr: self.expr(expr)?, descending })
            })
            .collect()
    }

    pub(crate) fn condition(&self, value: &Value) -> Parsed<Condition> {
        let (name, inner) = single(value)?;
        Ok(match name {
            "eq" => self.comparison(Comparison::Eq, inner)?,
            "gt" => self.comparison(Comparison::Gt, inner)?,
            "gte" => self.comparison(Comparison::Gte, inner)?,
            "lt" => self.comparison(Comparison::Lt, inner)?,
            "lte" => self.comparison(Comparison::Lte, inner)?,
            "and" | "or" => {
                let (left, right) = self.pair(name, inner)?;
                match name {
                    "and" => Condition::And(left, right),
                    _ => Condition::Or(left, right),
                }
            }
            "not" => Condition::Not(Box::new(self.condition(inner)?)),
            "isNull" => Condition::IsNull(self.expr(inner)?),
            "isEmpty" => Condition::IsEmpty(self.expr(inner)?),
            "contains" | "startsWith" => match self.operands(inner)? {
                (expr, Operand::Text(text)) if name == "contains" => {
                    Condition::Contains(expr, text)
                }
                (expr, Operand::Text(text)) => Condition::StartsWith(expr, text),
                _ => return Err(unsupported(value)),
            },
            "in" => match self.operands(inner)? {
                (expr, Operand::List(texts)) => {
                    let scalars =
                        texts.iter().map(|text| self.scalar(&expr, text)).collect::<Parsed<_>>()?;
                    Condition::In(expr, scalars, texts)
                }
                _ => return Err(malformed("Malformed query ('in' needs an array of values).")),
            },
            "is" => {
                let parts = inner.as_array().map(Vec::as_slice).unwrap_or_default();
                let wanted = parts.iter().find_map(|part| part.get("type")?.as_str());
                let wanted = wanted.ok_or_else(|| malformed("Missing expression and/or value."))?;
                Condition::Always(ENTITIES[self.from[0]].name == wanted)
            }
            "full_text" => self.full_text(inner)?,
            _ => return Err(unsupported(value)),
        })
    }

    fn pair(&self, name: &str, value: &Value) -> Parsed<(Box<Condition>, Box<Condition>)> {
        match value.as_array().map(Vec::as_slice).unwrap_or_default() {
            [left, right] => {
                Ok((Box::new(self.condition(left)?), Box::new(self.condition(right)?)))
            }
            other => Err(malformed(format!(
                "Malformed query ({name} is supposed to get 2 conditions - got {} -).",
                other.len()
            ))),
        }
    }

    fn comparison(&self, operator: Comparison, value: &Value) -> Parsed<Condition> {
        Ok(match self.operands(value)? {
            (expr, Operand::Text(text)) => {
                let scalar = self.scalar(&expr, &text)?;
                Condition::Compare(operator, expr, scalar)
            }
            (expr, Operand::Field(other)) => Condition::CompareFields(operator, expr, other),
            _ => return Err(malformed("Missing expression and/or value.")),
        })
    }

    /// Expression and value, which may come in either order.
    fn operands(&self, value: &Value) -> Parsed<(Expr, Operand)> {
        let missing = || malformed("Missing expression and/or value.");
        let parts = value.as_array().ok_or_else(missing)?;
        let mut expr = None;
        let mut operand = None;
        for part in parts {
            match self.operand(part)? {
                Operand::Expr(found) => expr = Some(found),
                other => operand = Some(other),
            }
        }
        expr.zip(operand).ok_or_else(missing)
    }

    fn operand(&self, part: &Value) -> Parsed<Operand> {
        let (name, inner) = single(part)?;
        if name != "value" {
            return self.expr(part).map(Operand::Expr);
        }
        Ok(match inner {
            Value::Array(items) => Operand::List(items.iter().map(text_of).collect()),
            Value::Object(object) => {
                Operand::Field(self.field(object.get("field").unwrap_or(&Value::Null))?)
            }
            other => Operand::Text(text_of(other)),
        })
    }

    fn full_text(&self, value: &Value) -> Parsed<Condition> {
        let parts = value.as_array().map(Vec::as_slice).unwrap_or_default();
        let word = parts.iter().find_map(|part| part.get("value"));
        let field = parts.iter().find_map(|part| part.get("field"));
        let word = word.ok_or_else(|| malformed("Missing expression and/or value."))?;
        let field = field.map(|path| self.field(path)).transpose()?;
        Ok(Condition::FullText(field, text_of(word)))
    }
}

fn is_timestamp(name: &str) -> bool {
    matches!(name, "metadata:timestamp" | "../../t")
}

fn metadata(value: &Value) -> Parsed<Expr> {
    let name = value.as_str().unwrap_or_default();
    match name {
        "timestamp" => Ok(Expr::Timestamp),
        name if is_timestamp(name) => Ok(Expr::Timestamp),
        "task_id" | "group_size" | "staging_status" | "staging_error" | "staging_source"
        | "staging_blockkey" | "staging_hastask" => Ok(Expr::EmptyMetadata),
        _ => Err(malformed(format!("Malformed query (metadata '{name}' does not exist)."))),
    }
}

/// A value is always read as text.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
