//! What each target should hold, worked out from the catalogue alone.
//!
//! This is written against the rules of the sync, never against what the engine sent; its twin in
//! the example's workflow and mappings was written apart from it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::mdm::schema::{CATEGORY, CULTURE, DESCRIPTION, PRICE, PRODUCT, SUBCATEGORY};
use crate::mdm::table::{Database, Row, Table};

/// A product that keeps the rules.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Product {
    pub(crate) id: String,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) version: i64,
    pub(crate) price: Option<f64>,
    /// Text by language.
    pub(crate) descriptions: BTreeMap<String, String>,
    /// Names from the root.
    pub(crate) categories: Vec<String>,
    pub(crate) finished: bool,
    pub(crate) attributes: Map<String, Value>,
}

/// The rule a product breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) id: String,
    pub(crate) field: &'static str,
    pub(crate) value: String,
    pub(crate) rule: &'static str,
}

struct Source<'a> {
    table: &'a Table,
    row: &'a Row,
}

impl<'a> Source<'a> {
    fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let field = self.table.entity.field(name).expect("the model has this field");
        self.row.value(self.table.entity, field)
    }

    /// Without blanks around it; `None` when nothing is left.
    fn tidy(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| tidied(&value)).filter(|value| !value.is_empty())
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok()
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name).as_deref() == Some("true")
    }
}

/// Blanks at the ends go, blanks inside become one.
fn tidied(text: &str) -> String {
    let words = text.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn rows<'a>(
    database: &'a Database,
    entity: usize,
    field: &str,
    value: &str,
) -> impl Iterator<Item = Source<'a>> {
    let table = database.table(entity);
    let field = table.entity.field(field).expect("the model has this field");
    table.lookup(field, value).iter().map(|at| Source { table, row: &table.rows[*at as usize] })
}

/// All products in the order of their ids.
pub(crate) fn products(database: &Database) -> impl Iterator<Item = Result<Product, Broken>> {
    let table = database.table(PRODUCT);
    table.rows.iter().map(move |row| product(database, &Source { table, row }))
}

/// The product of that id, when there is one.
pub(crate) fn product_by_id(database: &Database, id: &str) -> Option<Result<Product, Broken>> {
    rows(database, PRODUCT, "ProductID", id).next().map(|source| product(database, &source))
}

fn product(database: &Database, source: &Source<'_>) -> Result<Product, Broken> {
    let id = source.get("ProductID").unwrap_or_default().into_owned();
    let broken = |field, value: Option<Cow<'_, str>>, rule| Broken {
        id: id.clone(),
        field,
        value: value.unwrap_or_default().into_owned(),
        rule,
    };
    let number = source.get("ProductNumber");
    let Some(sku) = source.tidy("ProductNumber") else {
        return Err(broken("ProductNumber", number, "a product needs a number"));
    };
    let Some(name) = source.tidy("Name") else {
        return Err(broken("Name", source.get("Name"), "a product needs a name"));
    };
    let categories = match source.get("ProductSubcategoryID") {
        None => Vec::new(),
        Some(subcategory) => category_path(database, &subcategory).ok_or_else(|| {
            broken("ProductSubcategoryID", Some(subcategory), "a subcategory must exist")
        })?,
    };
    let price = current_price(database, &id, source);
    let finished = source.is_true("FinishedGoodsFlag");
    if finished && price.as_ref().is_none_or(|price| *price <= 0.0) {
        let shown = price.map(|price| Cow::Owned(price.to_string()));
        return Err(broken("ListPrice", shown, "a finished good needs a price above zero"));
    }
    Ok(Product {
        sku,
        name,
        version: source.row.modified,
        price,
        descriptions: descriptions(database, source),
        categories,
        finished,
        attributes: attributes(source),
        id,
    })
}

fn category_path(database: &Database, subcategory: &str) -> Option<Vec<String>> {
    let leaf = rows(database, SUBCATEGORY, "ProductSubcategoryID", subcategory).next()?;
    let root = leaf.get("ProductCategoryID")?;
    let root = rows(database, CATEGORY, "ProductCategoryID", &root).next()?;
    Some(vec![root.tidy("Name")?, leaf.tidy("Name")?])
}

/// The price that has no end, the latest when there are several; else the product's own.
fn current_price(database: &Database, id: &str, source: &Source<'_>) -> Option<f64> {
    rows(database, PRICE, "ProductID", id)
        .filter(|price| price.get("EndDate").is_none())
        .last()
        .map_or_else(|| source.number("ListPrice"), |price| price.number("ListPrice"))
}

fn descriptions(database: &Database, source: &Source<'_>) -> BTreeMap<String, String> {
    let Some(model) = source.get("ProductModelID") else { return BTreeMap::new() };
    rows(database, CULTURE, "ProductModelID", &model)
        .filter_map(|culture| {
            let id = culture.get("ProductDescriptionID")?;
            let text = rows(database, DESCRIPTION, "ProductDescriptionID", &id).next()?;
            let text = text.get("Description").filter(|text| !text.is_empty())?;
            Some((culture.tidy("CultureID")?, text.into_owned()))
        })
        .collect()
}

fn attributes(source: &Source<'_>) -> Map<String, Value> {
    const TEXTS: [(&str, &str); 7] = [
        ("color", "Color"),
        ("size", "Size"),
        ("size_unit", "SizeUnitMeasureCode"),
        ("weight_unit", "WeightUnitMeasureCode"),
        ("line", "ProductLine"),
        ("class", "Class"),
        ("style", "Style"),
    ];
    let mut attributes = Map::new();
    for (name, field) in TEXTS {
        if let Some(value) = source.tidy(field) {
            attributes.insert(name.to_owned(), value.into());
        }
    }
    if let Some(weight) = source.number("Weight") {
        attributes.insert("weight".to_owned(), weight.into());
    }
    for (name, field) in [("sold_from", "SellStartDate"), ("sold_until", "SellEndDate")] {
        if let Some(moment) = source.get(field) {
            attributes.insert(name.to_owned(), moment[..10].into());
        }
    }
    attributes.insert("made_here".to_owned(), source.is_true("MakeFlag").into());
    attributes
}

impl Product {
    fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }

    pub(crate) fn for_crm(&self) -> Value {
        json!({
            "sku": self.sku,
            "mdm_id": self.id,
            "name": self.name,
            "price": self.price,
            "category_path": self.categories.join(" > "),
            "descriptions": self.descriptions,
            "attributes": self.attributes,
            "version": self.version,
        })
    }

    /// The parameters of `product.upsert`.
    pub(crate) fn for_erp(&self) -> Value {
        let mut article = json!({
            "code": self.sku,
            "short_text": self.name.chars().take(40).collect::<String>(),
            "long_text": self.descriptions.get("en").map_or("", String::as_str),
            "group": self.categories.last().map_or("NONE", String::as_str),
            "list_price": self.price.map(|price| format!("{price:.4}")),
            "kind": if self.finished { "FINISHED" } else { "COMPONENT" },
            "discontinued": self.attributes.contains_key("sold_until"),
            "rev": self.version,
        });
        if let Some(size) = self.text("size") {
            let unit = self.text("size_unit").map_or_else(String::new, |unit| format!(" {unit}"));
            article["dimension"] = format!("{size}{unit}").into();
        }
        if let Some(weight) = self.attributes.get("weight") {
            article["weight"] = json!({
                "value": weight,
                "unit": self.text("weight_unit").unwrap_or("KG"),
            });
        }
        article
    }

    pub(crate) fn for_shop(&self) -> Value {
        let options: Vec<Value> = ["color", "size", "style"]
            .into_iter()
            .filter_map(|name| {
                self.text(name).map(|value| json!({ "name": name, "option": value }))
            })
            .collect();
        json!({
            "sku": self.sku,
            "name": self.name,
            "status": if self.finished { "publish" } else { "draft" },
            "regular_price": self.price.map_or_else(String::new, |price| price.to_string()),
            "description": self.descriptions.get("en").map_or("", String::as_str),
            "translations": self.descriptions,
            "categories": self.categories,
            "attributes": options,
            "version": self.version,
        })
    }
}
