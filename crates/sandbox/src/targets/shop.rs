//! The webshop: Basic auth, search, create and update as separate calls, its own ids, a SKU that
//! exists is a 400, and no idempotency keys.

use std::borrow::Cow;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{LOCATION, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Counts, version};
use crate::books::ledger::{Ledger, UpdateError, Write};
use crate::faults::{Fault, Misbehaviour};
use crate::http::{Reply, Request, Service, basic_credentials};

#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) ledger: Ledger,
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) counts: Counts<5>,
    user: String,
    credentials: RwLock<String>,
    unique: AtomicBool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    version: Option<f64>,
}

impl Shop {
    pub(crate) fn new(user: String, password: &str, misbehaviour: Misbehaviour) -> Shop {
        Shop {
            ledger: Ledger::default(),
            misbehaviour,
            counts: Counts::new(["search", "create", "update", "get", "other"]),
            credentials: RwLock::new(basic_credentials(&user, password)),
            user,
            unique: AtomicBool::new(true),
        }
    }

    pub(crate) fn set_secret(&self, password: &str) {
        *self.credentials.write().expect("no holder panics") =
            basic_credentials(&self.user, password);
    }

    /// Real shops check a SKU and store it in two steps, and let two records of one SKU in when
    /// two requests meet between them. With uniqueness off this one always does.
    pub(crate) fn set_unique(&self, unique: bool) {
        self.unique.store(unique, Ordering::Relaxed);
    }

    pub(crate) fn forget(&self) {
        self.ledger.forget();
        self.counts.forget();
    }

    fn search(&self, request: &Request) -> Reply {
        let Some(sku) = request.parameter("sku") else {
            return invalid("sku", "a search needs ?sku=");
        };
        let items: Vec<Value> =
            self.ledger.find(&sku).into_iter().map(|id| json!({ "id": id, "sku": sku })).collect();
        Reply::json(StatusCode::OK, &json!({ "total": items.len(), "items": items }))
    }

    fn create(&self, request: &Request) -> Reply {
        let (sku, version) = match checked(&request.body) {
            Ok(head) => head,
            Err(reply) => return reply,
        };
        let write = Write { sku: &sku, version, body: &request.body };
        match self.ledger.create(write, self.unique.load(Ordering::Relaxed)) {
            Ok(id) => Reply::json(StatusCode::CREATED, &json!({ "id": id, "sku": sku }))
                .with(LOCATION, &format!("/products/{id}")),
            Err(existing) => Reply::json(
                StatusCode::BAD_REQUEST,
                &json!({
                    "code": "product_invalid_sku",
                    "message": format!("The SKU '{sku}' is already in the catalogue."),
                    "data": { "resource_id": existing },
                }),
            ),
        }
    }

    fn update(&self, request: &Request, id: &str) -> Reply {
        let Ok(id) = id.parse::<usize>() else { return not_found() };
        let (sku, version) = match checked(&request.body) {
            Ok(head) => head,
            Err(reply) => return reply,
        };
        let write = Write { sku: &sku, version, body: &request.body };
        match self.ledger.update(id, write) {
            Ok(()) => Reply::json(StatusCode::OK, &json!({ "id": id, "sku": sku })),
            Err(UpdateError::Missing) => not_found(),
            Err(UpdateError::Other(held)) => {
                invalid("sku", &format!("product {id} has the SKU '{held}', which stays"))
            }
        }
    }

    fn get(&self, id: &str) -> Reply {
        let id = id.parse().ok();
        match id.and_then(|id| self.ledger.records().by_id(id).map(|held| held.body.to_vec())) {
            Some(body) => Reply::of(StatusCode::OK, "application/json", body),
            None => not_found(),
        }
    }
}

fn checked(body: &[u8]) -> Result<(String, i64), Reply> {
    let head: Head<'_> = serde_json::from_slice(body)
        .map_err(|error| invalid("body", &format!("not a product: {error}")))?;
    if head.sku.is_empty() {
        return Err(invalid("sku", "a product needs a SKU"));
    }
    if head.name.is_empty() {
        return Err(invalid("name", "a product needs a name"));
    }
    match version(head.version) {
        Some(version) => Ok((head.sku.into_owned(), version)),
        None => Err(invalid("version", "a version is a whole number")),
    }
}

fn invalid(field: &str, message: &str) -> Reply {
    Reply::json(
        StatusCode::BAD_REQUEST,
        &json!({ "code": format!("invalid_{field}"), "message": message }),
    )
}

fn not_found() -> Reply {
    let error = json!({ "code": "product_invalid_id", "message": "no such product" });
    Reply::json(StatusCode::NOT_FOUND, &error)
}

impl Service for Shop {
    fn answer(&self, request: &Request) -> Reply {
        let given = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        if given != Some(self.credentials.read().expect("no holder panics").as_str()) {
            self.counts.add(4);
            return Reply::json(StatusCode::UNAUTHORIZED, &json!({ "code": "unauthorized" }))
                .with(WWW_AUTHENTICATE, "Basic realm=\"shop\"");
        }
        let path = request.uri.path();
        let id = path.strip_prefix("/products/").filter(|id| !id.is_empty());
        let (kind, reply) = match (&request.method, id) {
            (&Method::GET, None) if path == "/products" => (0, self.search(request)),
            (&Method::POST, None) if path == "/products" => (1, self.create(request)),
            (&Method::PUT, Some(id)) => (2, self.update(request, id)),
            (&Method::GET, Some(id)) => (3, self.get(id)),
            _ => (4, not_found()),
        };
        self.counts.add(kind);
        reply
    }

    fn misbehaviour(&self) -> Option<&Misbehaviour> {
        Some(&self.misbehaviour)
    }

    fn can_have(&self, request: &Request, fault: Fault) -> bool {
        let of_a_write = matches!(fault, Fault::AppliedThrottled | Fault::AppliedReset);
        request.method != Method::GET || !of_a_write
    }

    fn own_fault(&self, _: &Request, fault: Fault) -> Option<Reply> {
        (fault == Fault::Unauthorized)
            .then(|| Reply::json(StatusCode::UNAUTHORIZED, &json!({ "code": "unauthorized" })))
    }
}
