//! The example's JSONata against the books: two hands wrote the same rules.

mod mappings;
mod workflows;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::books::expected::Product;
use crate::catalog::{Catalog, damage, generate, read};
use crate::mdm::table::Database;

fn file(name: &str) -> String {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/product-sync");
    let path = folder.join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Enough products for each oddity of the generator and each kind of damage; or, where
/// `SANDBOX_TEST_CATALOG` names a folder, its catalogue.
fn database() -> Database {
    let mut catalog: Catalog = match std::env::var_os("SANDBOX_TEST_CATALOG") {
        Some(folder) => read(Path::new(&folder)).unwrap(),
        None => generate(42, 400),
    };
    damage(&mut catalog, 14);
    Database::new(&catalog.records).unwrap()
}

/// The nested product as `product_fetched` carries it.
fn detail(product: &Product) -> Value {
    json!({
        "id": product.id,
        "sku": product.sku,
        "name": product.name,
        "version": product.version,
        "finished": product.finished,
        "price": product.price,
        "categories": product.categories,
        "descriptions": product.descriptions,
        "attributes": product.attributes,
    })
}
