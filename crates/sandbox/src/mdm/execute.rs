//! Answers a query: rows found through indexes where the condition names a key, joined, filtered,
//! ordered and paged.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::query::{Comparison, Condition, Expr, FieldRef, Order};
use super::scalar::Scalar;
use super::schema::{Entity, Kind};
use super::shape::Query;
use super::table::{Database, Row, Table};

/// A left outer join found nothing here.
const NOTHING: u32 = u32::MAX;

/// Row numbers, one for each type of the query.
pub(crate) type Found = Vec<u32>;

pub(crate) struct Execution<'a> {
    pub(crate) query: &'a Query,
    pub(crate) database: &'a Database,
}

impl Execution<'_> {
    fn table(&self, slot: usize) -> &Table {
        self.database.table(self.query.from[slot])
    }

    /// The rows of the answer. Without an order they begin anywhere, which `rotation` decides.
    pub(crate) fn rows(&self, rotation: usize) -> Vec<Found> {
        let table = self.table(0);
        let natural = self.in_key_order();
        let wanted = self.query.start.saturating_add(self.query.limit);
        let enough = if natural { wanted } else { usize::MAX };
        let mut found = Vec::new();
        let candidates = self
            .query
            .condition
            .as_ref()
            .map_or(Candidates::All, |condition| candidates(table, condition));
        candidates.for_each(table.rows.len(), |number| {
            self.expand(&vec![number], 0, &mut found);
            found.len() < enough
        });
        if self.query.orders.is_empty() {
            if !found.is_empty() {
                let middle = rotation % found.len();
                found.rotate_left(middle);
            }
        } else if !natural {
            found.sort_by(|a, b| self.compare(&self.query.orders, a, b));
        }
        found.truncate(wanted);
        found.drain(..self.query.start.min(found.len()));
        found
    }

    /// Whether the rows come in the order asked for as they lie.
    fn in_key_order(&self) -> bool {
        let [first] = self.table(0).entity.key else { return false };
        matches!(
            self.query.orders.as_slice(),
            [Order { expr: Expr::Field(FieldRef { slot: 0, field }), descending: false }]
                if field == first
        )
    }

    fn expand(&self, rows: &Found, join: usize, found: &mut Vec<Found>) {
        let Some(next) = self.query.joins.get(join) else {
            if self.query.condition.as_ref().is_none_or(|cond| self.holds(cond, rows)) {
                found.push(self.in_slot_order(rows));
            }
            return;
        };
        let value = self.text(&next.from, rows);
        let right = self.table(next.slot);
        let matches: Cow<'_, [u32]> = match &value {
            None => Cow::Borrowed(&[]),
            Some(value) if right.is_indexed(next.on) => Cow::Borrowed(right.lookup(next.on, value)),
            Some(value) => Cow::Owned(scan(right, next.on, value)),
        };
        if matches.is_empty() && !next.inner {
            self.expand(&joined(rows, NOTHING), join + 1, found);
        }
        for row in matches.iter() {
            self.expand(&joined(rows, *row), join + 1, found);
        }
    }

    /// While joining, rows lie in the order of the joins; answers want that of `from`.
    fn in_slot_order(&self, rows: &Found) -> Found {
        (0..self.query.from.len()).map(|slot| self.number(slot, rows)).collect()
    }

    fn number(&self, slot: usize, rows: &Found) -> u32 {
        let place = match slot {
            0 => Some(0),
            slot => self.query.joins.iter().position(|join| join.slot == slot).map(|at| at + 1),
        };
        place.and_then(|place| rows.get(place)).copied().unwrap_or(NOTHING)
    }

    fn row(&self, slot: usize, rows: &Found) -> Option<&Row> {
        self.table(slot).rows.get(self.number(slot, rows) as usize).map(|row| &**row)
    }

    fn text<'a>(&'a self, at: &FieldRef, rows: &Found) -> Option<Cow<'a, str>> {
        self.row(at.slot, rows)?.value(self.table(at.slot).entity, at.field)
    }

    fn scalar(&self, expr: &Expr, rows: &Found) -> Option<Scalar> {
        match expr {
            Expr::Field(at) | Expr::Index(at, 0) => {
                self.row(at.slot, rows)?.scalar(self.table(at.slot).entity, at.field)
            }
            Expr::Timestamp => Some(Scalar::Int(self.row(0, rows)?.modified)),
            Expr::Constant(text) => Some(Scalar::Text(text.clone())),
            Expr::Distinct(inner) | Expr::Max(inner) | Expr::Min(inner) => self.scalar(inner, rows),
            Expr::Index(..) | Expr::EmptyMetadata | Expr::Count(_) => None,
        }
    }

    fn holds(&self, condition: &Condition, rows: &Found) -> bool {
        match condition {
            Condition::Compare(operator, expr, value) => self
                .scalar(expr, rows)
                .and_then(|found| found.compare(value))
                .is_some_and(|ordering| operator.accepts(ordering)),
            Condition::CompareFields(operator, expr, other) => self
                .scalar(expr, rows)
                .zip(self.scalar(&Expr::Field(*other), rows))
                .and_then(|(left, right)| left.compare(&right))
                .is_some_and(|ordering| operator.accepts(ordering)),
            Condition::In(expr, values, _) => self.scalar(expr, rows).is_some_and(|found| {
                values.iter().any(|value| found.compare(value) == Some(Ordering::Equal))
            }),
            Condition::Contains(expr, text) => {
                self.plain(expr, rows).is_some_and(|found| contains(&found, text))
            }
            Condition::StartsWith(expr, text) => {
                self.plain(expr, rows).is_some_and(|found| found.starts_with(text.as_str()))
            }
            Condition::And(left, right) => self.holds(left, rows) && self.holds(right, rows),
            Condition::Or(left, right) => self.holds(left, rows) || self.holds(right, rows),
            Condition::Not(inner) => !self.holds(inner, rows),
            Condition::IsNull(expr) => self.plain(expr, rows).is_none(),
            Condition::IsEmpty(expr) => {
                self.plain(expr, rows).is_some_and(|found| found.is_empty())
            }
            Condition::Always(answer) => *answer,
            Condition::FullText(field, word) => self.full_text(*field, word, rows),
        }
    }

    fn plain<'a>(&'a self, expr: &'a Expr, rows: &Found) -> Option<Cow<'a, str>> {
        match expr {
            Expr::Field(at) | Expr::Index(at, 0) => self.text(at, rows),
            Expr::Constant(text) => Some(Cow::Borrowed(text)),
            Expr::Timestamp => Some(Cow::Owned(self.row(0, rows)?.modified.to_string())),
            _ => None,
        }
    }

    fn full_text(&self, field: Option<FieldRef>, word: &str, rows: &Found) -> bool {
        match field {
            Some(at) => self.text(&at, rows).is_some_and(|found| contains(&found, word)),
            None => (0..self.query.from.len()).any(|slot| {
                let entity = self.table(slot).entity;
                text_fields(entity).any(|field| {
                    self.text(&FieldRef { slot, field }, rows)
                        .is_some_and(|found| contains(&found, word))
                })
            }),
        }
    }

    fn compare(&self, orders: &[Order], a: &Found, b: &Found) -> Ordering {
        orders
            .iter()
            .map(|order| {
                let ordering = match (self.scalar(&order.expr, a), self.scalar(&order.expr, b)) {
                    (Some(a), Some(b)) => a.compare(&b).unwrap_or(Ordering::Equal),
                    (a, b) => a.is_some().cmp(&b.is_some()),
                };
                if order.descending { ordering.reverse() } else { ordering }
            })
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// The JSON text of a column for a row of the answer.
    pub(crate) fn json<'a>(&'a self, expr: &'a Expr, rows: &[u32]) -> Cow<'a, str> {
        const EMPTY: Cow<'static, str> = Cow::Borrowed("\"\"");
        match expr {
            Expr::Field(at) | Expr::Index(at, 0) => match self.answer_row(at.slot, rows) {
                Some(row) => Cow::Borrowed(row.json(at.field)),
                None => EMPTY,
            },
            Expr::Timestamp => match self.answer_row(0, rows) {
                Some(row) => Cow::Owned(format!("\"{}\"", row.modified)),
                None => EMPTY,
            },
            Expr::Constant(text) => Cow::Owned(serde_json::Value::String(text.clone()).to_string()),
            Expr::Distinct(inner) => self.json(inner, rows),
            _ => EMPTY,
        }
    }

    pub(crate) fn answer_row(&self, slot: usize, rows: &[u32]) -> Option<&Row> {
        self.table(slot).rows.get(*rows.get(slot)? as usize).map(|row| &**row)
    }

    /// The JSON text of count, max or min over all rows of the answer.
    pub(crate) fn aggregate(&self, expr: &Expr, found: &[Found]) -> String {
        match expr {
            Expr::Count(None) => format!("\"{}\"", found.len()),
            Expr::Count(Some(at)) => {
                let with_value = found.iter().filter(|rows| {
                    self.answer_row(at.slot, rows).is_some_and(|row| !row.is_null(at.field))
                });
                format!("\"{}\"", with_value.count())
            }
            Expr::Max(inner) => self.extreme(inner, found, Ordering::Greater),
            Expr::Min(inner) => self.extreme(inner, found, Ordering::Less),
            other => found
                .first()
                .map_or_else(|| "\"\"".to_owned(), |rows| self.json(other, rows).into_owned()),
        }
    }

    fn extreme(&self, expr: &Expr, found: &[Found], wanted: Ordering) -> String {
        let mut best: Option<(Scalar, &Found)> = None;
        for rows in found {
            let Some(value) = self.answer_scalar(expr, rows) else { continue };
            if best.as_ref().is_none_or(|(held, _)| value.compare(held) == Some(wanted)) {
                best = Some((value, rows));
            }
        }
        best.map_or_else(|| "\"\"".to_owned(), |(_, rows)| self.json(expr, rows).into_owned())
    }

    fn answer_scalar(&self, expr: &Expr, rows: &Found) -> Option<Scalar> {
        match expr {
            Expr::Field(at) => {
                self.answer_row(at.slot, rows)?.scalar(self.table(at.slot).entity, at.field)
            }
            Expr::Timestamp => Some(Scalar::Int(self.answer_row(0, rows)?.modified)),
            _ => None,
        }
    }
}

impl Comparison {
    fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Eq => ordering.is_eq(),
            Comparison::Gt => ordering.is_gt(),
            Comparison::Gte => ordering.is_ge(),
            Comparison::Lt => ordering.is_lt(),
            Comparison::Lte => ordering.is_le(),
        }
    }
}

/// `contains` and `full_text` go through the full-text index, which knows no case.
fn contains(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}

fn text_fields(entity: &Entity) -> impl Iterator<Item = usize> + '_ {
    entity
        .fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.kind == Kind::Text)
        .map(|(index, _)| index)
}

fn joined(rows: &Found, next: u32) -> Found {
    let mut rows = rows.clone();
    rows.push(next);
    rows
}

fn scan(table: &Table, field: usize, value: &str) -> Vec<u32> {
    (0..table.rows.len() as u32)
        .filter(|number| {
            table.rows[*number as usize].value(table.entity, field).as_deref() == Some(value)
        })
        .collect()
}

enum Candidates {
    All,
    Range(std::ops::Range<usize>),
    /// In key order.
    List(Vec<u32>),
}

impl Candidates {
    fn size(&self, all: usize) -> usize {
        match self {
            Candidates::All => all,
            Candidates::Range(range) => range.len(),
            Candidates::List(list) => list.len(),
        }
    }

    /// Calls until told that it is enough.
    fn for_each(self, all: usize, mut more: impl FnMut(u32) -> bool) {
        match self {
            Candidates::All => {
                let _ = (0..all as u32).all(more);
            }
            Candidates::Range(range) => {
                let _ = (range.start as u32..range.end as u32).all(more);
            }
            Candidates::List(list) => {
                let _ = list.into_iter().all(&mut more);
            }
        }
    }
}

/// Rows of the first type among which all that meet the condition are.
fn candidates(table: &Table, condition: &Condition) -> Candidates {
    match condition {
        Condition::And(left, right) => {
            let (left, right) = (candidates(table, left), candidates(table, right));
            let all = table.rows.len();
            if right.size(all) < left.size(all) { right } else { left }
        }
        Condition::In(Expr::Field(at), _, texts) if indexed(table, at) => {
            let mut list: Vec<u32> =
                texts.iter().flat_map(|text| table.lookup(at.field, text)).copied().collect();
            list.sort_unstable();
            list.dedup();
            Candidates::List(list)
        }
        Condition::Compare(Comparison::Eq, Expr::Field(at), value) if indexed(table, at) => {
            let list = match value {
                Scalar::Int(number) => table.lookup(at.field, &number.to_string()),
                Scalar::Text(text) => table.lookup(at.field, text),
                _ => return Candidates::All,
            };
            Candidates::List(list.to_vec())
        }
        Condition::Compare(operator, Expr::Field(at), value)
            if at.slot == 0 && table.entity.key == [at.field] =>
        {
            Candidates::Range(table.range(value, |ordering| operator.accepts(ordering)))
        }
        _ => Candidates::All,
    }
}

fn indexed(table: &Table, at: &FieldRef) -> bool {
    at.slot == 0 && table.is_indexed(at.field)
}
