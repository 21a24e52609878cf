//! Compares, product by product and field by field.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::expected::{self, Broken, Product};
use super::ledger::Ledger;
use crate::mdm::table::Database;

/// Numbers as near as this are the same: both sides read them from the same decimal text.
const TOLERANCE: f64 = 1e-9;

/// What should be anywhere.
pub(crate) struct Expectation {
    products: Vec<Product>,
    broken: Vec<Broken>,
    /// The SKUs of all good products, also of those out of scope.
    known: HashSet<String>,
}

impl Expectation {
    /// Of these products of the MDM only, or of all when there are none.
    pub(crate) fn new(database: &Database, ids: &[String]) -> Expectation {
        let mut all =
            Expectation { products: Vec::new(), broken: Vec::new(), known: HashSet::new() };
        let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
        for product in expected::products(database) {
            let id = match &product {
                Ok(product) => &product.id,
                Err(broken) => &broken.id,
            };
            let in_scope = wanted.is_empty() || wanted.contains(id.as_str());
            match product {
                Ok(product) => {
                    all.known.insert(product.sku.clone());
                    if in_scope {
                        all.products.push(product);
                    }
                }
                Err(broken) if in_scope => all.broken.push(broken),
                Err(_) => {}
            }
        }
        all
    }

    pub(crate) fn summary(&self, particulars: usize) -> Value {
        let broken: Vec<Value> = self.broken.iter().take(particulars).map(Broken::report).collect();
        json!({
            "products": self.products.len() + self.broken.len(),
            "valid": self.products.len(),
            "invalid": self.broken.len(),
            "invalid_products": broken,
        })
    }

    /// The comparison with one target. `should` is what the target should hold of a product.
    pub(crate) fn compare(
        &self,
        ledger: &Ledger,
        should: impl Fn(&Product) -> Value,
        particulars: usize,
    ) -> Value {
        let records = ledger.records();
        let mut found = Findings { particulars, ..Findings::default() };
        let mut held = 0u64;
        for product in &self.products {
            let Some(record) = records.of(&product.sku).next() else {
                found.missing(product);
                continue;
            };
            held += 1;
            let actual = serde_json::from_slice(&record.body).unwrap_or(Value::Null);
            found.compare(product, "", Some(&should(product)), Some(&actual));
        }
        let mut duplicates = Vec::new();
        let mut unexpected = Vec::new();
        for sku in records.skus() {
            if records.of(sku).count() > 1 {
                duplicates.push(sku.to_owned());
            }
            if !self.known.contains(sku) {
                unexpected.push(sku.to_owned());
            }
        }
        duplicates.sort_unstable();
        unexpected.sort_unstable();
        let verified = found.count == 0
            && duplicates.is_empty()
            && unexpected.is_empty()
            && records.out_of_order == 0;
        json!({
            "verified": verified,
            "expected": self.products.len(),
            "held": held,
            "missing": found.missing,
            "different": found.different.len(),
            "difference_count": found.count,
            "differences": found.differences,
            "duplicate_count": duplicates.len(),
            "duplicates": first(&duplicates, particulars),
            "refused_duplicates": records.refused_duplicates,
            "unexpected_count": unexpected.len(),
            "unexpected": first(&unexpected, particulars),
            "out_of_order_count": records.out_of_order,
            "out_of_order": records.out_of_order_samples,
            "writes": records.writes,
            "most_writes_of_one": records.held.iter().map(|held| held.writes).max().unwrap_or(0),
        })
    }
}

impl Broken {
    pub(crate) fn report(&self) -> Value {
        json!({
            "id": self.id,
            "field": self.field,
            "value": self.value,
            "rule": self.rule,
        })
    }
}

fn first(of: &[String], count: usize) -> &[String] {
    &of[..of.len().min(count)]
}

#[derive(Default)]
struct Findings {
    particulars: usize,
    missing: u64,
    count: u64,
    different: HashSet<String>,
    differences: Vec<Value>,
}

impl Findings {
    fn missing(&mut self, product: &Product) {
        self.missing += 1;
        self.note(product, json!({ "field": "", "expected": "a record", "actual": null }));
    }

    fn note(&mut self, product: &Product, mut difference: Value) {
        self.count += 1;
        if self.differences.len() < self.particulars {
            difference["id"] = product.id.clone().into();
            difference["sku"] = product.sku.clone().into();
            self.differences.push(difference);
        }
    }

    fn compare(
        &mut self,
        product: &Product,
        field: &str,
        expected: Option<&Value>,
        actual: Option<&Value>,
    ) {
        if let (Some(Value::Object(expected)), Some(Value::Object(actual))) = (expected, actual) {
            for name in names(expected, actual) {
                let inner = format!("{field}/{name}");
                self.compare(product, &inner, expected.get(name), actual.get(name));
            }
            return;
        }
        if !same(expected, actual) {
            self.different.insert(product.id.clone());
            self.note(product, json!({ "field": field, "expected": expected, "actual": actual }));
        }
    }
}

fn names<'a>(
    a: &'a Map<String, Value>,
    b: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a str> {
    a.keys().chain(b.keys()).map(|name| (name.as_str(), ())).collect::<BTreeMap<_, _>>().into_keys()
}

pub(crate) fn same(expected: Option<&Value>, actual: Option<&Value>) -> bool {
    match (expected, actual) {
        (Some(Value::Number(a)), Some(Value::Number(b))) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= TOLERANCE * a.abs().max(1.0),
            _ => a == b,
        },
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            names(a, b).all(|name| same(a.get(name), b.get(name)))
        }
        _ => expected == actual,
    }
}
