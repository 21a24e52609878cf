//! The three mappings, product by product.

use serde_json::{Value, json};
use stepbus_expr::{Env, Jsonata, Scope};
use stepbus_model::Timestamp;

use super::{database, detail, file};
use crate::books::expected::{Product, products};
use crate::books::verify::same;

fn check(mapping: &str, expected: impl Fn(&Product) -> Value) {
    let source = file(&format!("mappings/{mapping}.jsonata"));
    let mapping = Jsonata::compile(&source).unwrap();
    for product in products(&database()).filter_map(Result::ok) {
        let event = json!({ "detail-type": "product_fetched", "detail": detail(&product) });
        let mut scope = Scope::new(Env { now: Timestamp(0), seed: 1 });
        scope.bind("event", &event);
        let actual = mapping.eval(&scope).unwrap().unwrap();
        let expected = expected(&product);
        assert!(
            same(Some(&expected), Some(&actual)),
            "product {}\nexpected {expected:#}\nfound {actual:#}",
            product.id
        );
    }
}

#[test]
fn crm() {
    check("crm", Product::for_crm);
}

#[test]
fn erp() {
    check("erp", |product| {
        json!({
            "jsonrpc": "2.0",
            "id": product.id,
            "method": "product.upsert",
            "params": product.for_erp(),
        })
    });
}

#[test]
fn shop() {
    check("shop", Product::for_shop);
}
