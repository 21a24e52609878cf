//! Products that break a rule, spread over the ids.

use super::{Catalog, column};
use crate::mdm::schema::{MODIFIED, PRICE, PRODUCT};
use crate::mdm::table::Record;

const KINDS: usize = 7;

/// Breaks a rule in `count` products, the kinds taking turns. Products are broken that were whole:
/// the catalogue's own invalid ones stay as they are and come on top.
pub(crate) fn damage(catalog: &mut Catalog, count: usize) {
    let all = catalog.records[PRODUCT].len();
    let count = count.min(all);
    for turn in 0..count {
        let at = turn * all / count;
        break_rule(catalog, at, turn % KINDS);
    }
}

fn break_rule(catalog: &mut Catalog, at: usize, kind: usize) {
    let product = &mut catalog.records[PRODUCT][at];
    let mut set = |name: &str, value: Option<&str>| {
        product[column(PRODUCT, name)] = value.map(str::to_owned);
    };
    match kind {
        0 => return set("ProductNumber", None),
        1 => return set("Name", None),
        2 => return set("Name", Some("  ")),
        3 => set("ListPrice", Some("0.0000")),
        4 => set("ListPrice", Some("-12.5000")),
        5 => set("ListPrice", None),
        // The product's own price is good, the one that counts is not.
        _ => set("ListPrice", Some("49.9900")),
    }
    set("FinishedGoodsFlag", Some("1"));
    let (id, modified) = (product[0].clone(), product[column(PRODUCT, MODIFIED)].clone());
    let prices = &mut catalog.records[PRICE];
    prices.retain(|price| price[0] != id);
    if kind == KINDS - 1 {
        let start = Some("2024-01-01 00:00:00.000".to_owned());
        let price: Record = vec![id, start, None, Some("0.0000".to_owned()), modified];
        prices.push(price);
    }
}
