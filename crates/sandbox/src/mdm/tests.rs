//! The query language, by what the server answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::Mdm;
use super::schema::{ENTITIES, PRODUCT};
use super::table::{Database, Record};
use crate::catalog::{Catalog, column};
use crate::faults::{MDM_MIX, Misbehaviour};
use crate::http::{Reply, Request, Service, basic_credentials};

fn record(entity: usize, values: &[(&str, &str)]) -> Record {
    let mut record = vec![None; ENTITIES[entity].fields.len()];
    for (name, value) in values {
        record[column(entity, name)] = Some((*value).to_owned());
    }
    record
}

fn mdm() -> Mdm {
    let mut catalog = Catalog::empty();
    let modified = ("ModifiedDate", "2025-02-07 10:01:36.827");
    for (id, number, name, price, subcategory, model) in [
        ("9", "A-9", "Nine", "9.9900", "14", "1"),
        ("10", "A-10", "Ten \"X\"", ".5000", "14", "1"),
        ("100", "B-100", "Hundred", "0", "99", "2"),
    ] {
        catalog.records[PRODUCT].push(record(
            PRODUCT,
            &[
                ("ProductID", id),
                ("ProductNumber", number),
                ("Name", name),
                ("ListPrice", price),
                ("ProductSubcategoryID", subcategory),
                ("ProductModelID", model),
                ("FinishedGoodsFlag", "1"),
                modified,
            ],
        ));
    }
    let mut add = |name: &str, values: &[(&str, &str)]| {
        let entity = super::schema::entity(name).unwrap();
        catalog.records[entity].push(record(entity, values));
    };
    add("Product", &[("ProductID", "200"), ("Name", "")]);
    add(
        "ProductSubcategory",
        &[("ProductSubcategoryID", "14"), ("ProductCategoryID", "2"), ("Name", "Road Frames")],
    );
    add("ProductCategory", &[("ProductCategoryID", "2"), ("Name", "Components")]);
    for (start, end) in [("2022-05-30", Some("2023-05-29")), ("2023-05-30", None)] {
        let mut values = vec![("ProductID", "9"), ("StartDate", start), ("ListPrice", "8")];
        values.extend(end.map(|end| ("EndDate", end)));
        add("ProductListPriceHistory", &values);
    }
    Mdm::new(
        "products".to_owned(),
        "$ExplicitProjection$",
        "user".to_owned(),
        "secret",
        Database::new(&catalog.records).unwrap(),
        Misbehaviour::new(MDM_MIX, 1, Duration::ZERO),
    )
}

fn send(mdm: &Mdm, method: Method, path: &str, accept: &str, body: &str) -> (StatusCode, String) {
    let mut headers = HeaderMap::new();
    let credentials = format!("Basic {}", basic_credentials("user", "secret"));
    headers.insert("authorization", credentials.parse().unwrap());
    headers.insert("accept", accept.parse().unwrap());
    let uri = format!("{}{path}", super::BASE).parse().unwrap();
    let request = Request { method, uri, headers, body: Bytes::from(body.to_owned()) };
    text(mdm.answer(&request))
}

fn text(reply: Reply) -> (StatusCode, String) {
    let status = reply.status;
    (status, String::from_utf8(reply.into_bytes().to_vec()).unwrap())
}

fn query(mdm: &Mdm, select: &Value) -> (StatusCode, String) {
    let body = json!({ "select": select }).to_string();
    send(mdm, Method::PUT, "/data/products/query", "application/json", &body)
}

/// The ids found by a condition on products, in the order of the key.
fn found(condition: Value) -> Vec<String> {
    let select = json!({
        "from": ["Product"],
        "fields": [{ "alias": [{ "name": "id" }, { "field": "Product/ProductID" }] }],
        "where": condition,
        "order_bys": [{ "order_by": [{ "field": "Product/ProductID" }, { "direction": "asc" }] }],
    });
    let (status, body) = query(&mdm(), &select);
    assert_eq!(status, StatusCode::OK, "{select}: {body}");
    let rows: Vec<Value> = serde_json::from_str(&body).unwrap();
    rows.iter().map(|row| row["$explicitprojection$"]["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn conditions() {
    let check = |condition: Value, expected: &[&str]| {
        assert_eq!(found(condition.clone()), expected, "{condition}");
    };
    let id = || json!({ "field": "Product/ProductID" });
    let name = || json!({ "field": "Product/Name" });
    let value = |text: &str| json!({ "value": text });
    check(json!({ "eq": [id(), value("10")] }), &["10"]);
    check(json!({ "eq": [value("10"), id()] }), &["10"]);
    // Keys are numbers here: as texts, "9" would be the largest.
    check(json!({ "gt": [id(), value("9")] }), &["10", "100", "200"]);
    check(json!({ "gte": [id(), value("10")] }), &["10", "100", "200"]);
    check(json!({ "lt": [id(), value("10")] }), &["9"]);
    check(json!({ "lte": [id(), value("11")] }), &["9", "10"]);
    check(json!({ "in": [id(), { "value": ["100", "9", "9", "7"] }] }), &["9", "100"]);
    check(json!({ "contains": [name(), value("ten")] }), &["10"]);
    check(json!({ "startsWith": [name(), value("N")] }), &["9"]);
    check(json!({ "startsWith": [name(), value("n")] }), &[]);
    check(json!({ "isNull": { "field": "Product/ProductNumber" } }), &["200"]);
    check(json!({ "isNull": name() }), &[]);
    check(json!({ "isEmpty": name() }), &["200"]);
    check(json!({ "not": { "eq": [id(), value("9")] } }), &["10", "100", "200"]);
    check(
        json!({ "and": [{ "gt": [id(), value("9")] }, { "lt": [id(), value("200")] }] }),
        &["10", "100"],
    );
    check(json!({ "or": [{ "eq": [id(), value("9")] }, { "isEmpty": name() }] }), &["9", "200"]);
    // A foreign key is asked for without its brackets, and there is nothing in it but a number.
    check(
        json!({ "eq": [{ "field": "Product/ProductSubcategoryID" }, value("14")] }),
        &["9", "10"],
    );
    check(json!({ "eq": [{ "field": "Product/ProductNumber" }, value("B-100")] }), &["100"]);
    check(json!({ "lt": [{ "field": "Product/ListPrice" }, value("1")] }), &["10", "100"]);
    check(
        json!({ "eq": [{ "field": "Product/FinishedGoodsFlag" }, value("true")] }),
        &["9", "10", "100"],
    );
    check(
        json!({ "gt": [{ "metadata": "timestamp" }, value("1738922496826")] }),
        &["9", "10", "100"],
    );
    check(json!({ "gt": [{ "field": "metadata:timestamp" }, value("1738922496827")] }), &[]);
    check(
        json!({ "gte": [id(), { "value": { "field": "Product/ProductModelID" } }] }),
        &["9", "10", "100"],
    );
    check(json!({ "full_text": [value("HUNDRED")] }), &["100"]);
    check(json!({ "is": [id(), { "type": "Product" }] }), &["9", "10", "100", "200"]);
}

#[test]
fn refusals() {
    let check = |select: Value, status: u16, expected: &str| {
        let (found, body) = query(&mdm(), &select);
        assert_eq!((found.as_u16(), body.as_str()), (status, expected), "{select}");
    };
    let products = |condition: Value| json!({ "from": ["Product"], "where": condition });
    check(json!({ "from": ["X"] }), 400, "Malformed query (type 'X' does not exist).");
    check(
        products(json!({ "and": [{}, {}, {}] })),
        400,
        "Malformed query (and is supposed to get 2 conditions - got 3 -).",
    );
    check(products(json!({ "like": [] })), 500, "No support for '{\"like\":[]}'.");
    check(
        products(json!({ "eq": [{ "field": "Product/Name" }] })),
        400,
        "Missing expression and/or value.",
    );
    check(
        products(json!({ "eq": [{ "field": "Product/Nam" }, { "value": "" }] })),
        400,
        "Malformed query (field 'Nam' does not exist in type 'Product').",
    );
    check(
        products(
            json!({ "eq": [{ "field": "Product/ProductSubcategoryID" }, { "value": "[14]" }] }),
        ),
        400,
        "Malformed query ('[14]' is not a valid Int).",
    );
    check(
        json!({ "from": ["Product"], "order_bys": [{ "order_by": [{ "field": "Product/Name" }] }] }),
        400,
        "Missing expression and/or direction for order by.",
    );
    let send = |path: &str, body: &str| {
        let (status, text) = send(&mdm(), Method::PUT, path, "application/json", body);
        (status.as_u16(), text)
    };
    assert_eq!(
        send("/data/products/query", "{\"x\":1}"),
        (400, "Malformed query (has top level object but hasn't 'select' in it).".to_owned())
    );
    assert_eq!(send("/data/other/query", "{}"), (400, "invalid storage name 'other'".to_owned()));
    assert_eq!(send("/nowhere", "{}"), (404, String::new()));
}

#[test]
fn shapes() {
    let mdm = mdm();
    let by_id = |id: &str| json!({ "eq": [{ "field": "Product/ProductID" }, { "value": id }] });
    let whole = query(&mdm, &json!({ "from": ["Product"], "where": by_id("10") })).1;
    assert!(whole.starts_with(r#"[{"product":{"productid":"10","name":"Ten \"X\"","#), "{whole}");
    assert!(whole.contains(r#""finishedgoodsflag":"true","color":"","#), "{whole}");
    assert!(whole.contains(r#""listprice":"0.5000","#), "{whole}");
    assert!(whole.contains(r#""productsubcategoryid":"[14]","productmodelid":"1","#), "{whole}");
    assert!(whole.ends_with(r#""modifieddate":"2025-02-07 10:01:36.827"}}]"#), "{whole}");
    let select = json!({ "from": ["Product"], "fields": [{ "field": "Product/Name" }, { "metadata": "timestamp" }], "where": by_id("9") });
    let body = json!({ "select": select }).to_string();
    let send = |path: &str, accept: &str| send(&mdm, Method::PUT, path, accept, &body).1;
    assert_eq!(
        send("/data/products/query?ignoreCase=false", "application/json"),
        r#"[{"$ExplicitProjection$":{"Name":"Nine","timestamp":"1738922496827"}}]"#
    );
    assert_eq!(
        send("/data/products/query", "application/xml"),
        "<results><result><Name>Nine</Name><timestamp>1738922496827</timestamp></result></results>"
    );
    let none = query(&mdm, &json!({ "from": ["Product"], "where": by_id("11") })).1;
    assert_eq!(none, "[]");
    let aggregates = json!({ "from": ["Product"], "fields": [
        { "count": {} },
        { "alias": [{ "name": "Most" }, { "max": { "field": "Product/ListPrice" } }] },
        { "min": { "field": "Product/ProductID" } },
    ] });
    assert_eq!(
        query(&mdm, &aggregates).1,
        r#"[{"$explicitprojection$":{"count":"4","most":"9.9900","min":"9"}}]"#
    );
    let distinct = json!({ "from": ["Product"], "fields": [{ "distinct": { "field": "Product/ProductModelID" } }] });
    assert_eq!(query(&mdm, &distinct).1.matches("productmodelid").count(), 3);
}

#[test]
fn joins_are_inner_when_mandatory_and_outer_when_not() {
    let mdm = mdm();
    let select = |from: &str, field: &str, on: &str, of: &str| {
        json!({
            "from": [from, of],
            "fields": [
                { "field": format!("{from}/{from}ID") },
                { "alias": [{ "name": "other" }, { "field": format!("{of}/Name") }] },
            ],
            "joins": [{ "from": format!("{from}/{field}"), "on": format!("{of}/{on}") }],
            "order_bys": [{ "order_by": [{ "field": format!("{from}/{from}ID") }, { "direction": "DESC" }] }],
        })
    };
    let optional =
        select("Product", "ProductSubcategoryID", "ProductSubcategoryID", "ProductSubcategory");
    let rows: Vec<Value> = serde_json::from_str(&query(&mdm, &optional).1).unwrap();
    let others: Vec<&str> =
        rows.iter().map(|row| row["$explicitprojection$"]["other"].as_str().unwrap()).collect();
    assert_eq!(others, ["", "", "Road Frames", "Road Frames"]);
    let mandatory =
        select("ProductSubcategory", "ProductCategoryID", "ProductCategoryID", "ProductCategory");
    assert_eq!(
        query(&mdm, &mandatory).1,
        r#"[{"$explicitprojection$":{"productsubcategoryid":"[14]","other":"Components"}}]"#
            .replace("[14]", "14")
    );
}

#[test]
fn paging() {
    let mdm = mdm();
    let ids = |select: Value| {
        let rows: Vec<Value> = serde_json::from_str(&query(&mdm, &select).1).unwrap();
        let id =
            |row: &Value| row["$explicitprojection$"]["productid"].as_str().unwrap().to_owned();
        rows.iter().map(id).collect::<Vec<_>>()
    };
    let fields = || json!([{ "field": "Product/ProductID" }]);
    let ordered = |start: usize, limit: usize| {
        ids(json!({
            "from": ["Product"], "fields": fields(), "start": start, "limit": limit,
            "order_bys": [{ "order_by": [{ "field": "Product/ProductID" }, { "direction": "ASC" }] }],
        }))
    };
    assert_eq!(ordered(0, 2), ["9", "10"]);
    assert_eq!(ordered(1, 2), ["10", "100"]);
    assert_eq!(ordered(3, 2_147_483_647), ["200"]);
    assert!(ordered(9, 2).is_empty());
    // Without an order, one page is not the next one's neighbour.
    let unordered = || ids(json!({ "from": ["Product"], "fields": fields(), "limit": 2 }));
    assert_ne!(unordered(), unordered());
}

#[test]
fn other_routes() {
    let mdm = mdm();
    let get = |path: &str| {
        let (status, body) = send(&mdm, Method::GET, path, "application/json", "");
        (status.as_u16(), body)
    };
    assert!(get("/data/products/ProductCategory/2").1.starts_with(r#"[{"productcategory":{"#));
    assert_eq!(get("/data/products/ProductCategory/3"), (404, String::new()));
    assert_eq!(get("/data/products/ProductCategory/x"), (404, String::new()));
    let price = get("/data/products/ProductListPriceHistory/9.2022-05-30");
    assert!(
        price.1.contains(r#""productid":"[9]","startdate":"2022-05-30 00:00:00.0""#),
        "{price:?}"
    );
    let counts: Value = serde_json::from_str(&get("/system/stats/data/products").1).unwrap();
    assert_eq!(counts["products"]["Product"], 4);
    let mut request = Request {
        method: Method::PUT,
        uri: "/".parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let reply = mdm.answer(&request);
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    let realm = ("www-authenticate", "Basic realm=\"Talend MDM Services Realm\"");
    assert!(
        reply.headers.iter().any(|(name, value)| (name.as_str(), value.to_str().unwrap()) == realm)
    );
    request.headers.insert("authorization", "Basic x".parse().unwrap());
    assert_eq!(mdm.answer(&request).status, StatusCode::UNAUTHORIZED);
}
