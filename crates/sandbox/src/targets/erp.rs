//! The ERP: an API key, JSON-RPC, business errors inside a 200, and no idempotency keys.

use std::borrow::Cow;
use std::sync::RwLock;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Counts, version};
use crate::books::ledger::{Ledger, Write};
use crate::faults::{Fault, Misbehaviour};
use crate::http::{Reply, Request, Service};

pub(crate) const KEY_HEADER: &str = "x-api-key";

/// The article is locked by another transaction; it passes.
pub(crate) const LOCKED: i64 = -32_001;
/// The article breaks a rule of the ERP.
const RULE: i64 = 1_001;

#[derive(Debug)]
pub(crate) struct Erp {
    pub(crate) ledger: Ledger,
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) counts: Counts<3>,
    key: RwLock<String>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Article<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow)]
    short_text: Cow<'a, str>,
    rev: Option<f64>,
}

impl Erp {
    pub(crate) fn new(key: String, misbehaviour: Misbehaviour) -> Erp {
        Erp {
            ledger: Ledger::default(),
            misbehaviour,
            counts: Counts::new(["product.upsert", "product.get", "other"]),
            key: RwLock::new(key),
        }
    }

    pub(crate) fn set_secret(&self, key: &str) {
        key.clone_into(&mut self.key.write().expect("no holder panics"));
    }

    pub(crate) fn forget(&self) {
        self.ledger.forget();
        self.counts.forget();
    }

    fn call(&self, body: &[u8]) -> Reply {
        let call: Call<'_> = match serde_json::from_slice(body) {
            Ok(call) => call,
            Err(error) => {
                self.counts.add(2);
                return failed("null", -32_700, &format!("parse error: {error}"), None);
            }
        };
        let id = call.id.map_or("null", RawValue::get);
        match (&*call.method, call.params) {
            ("product.upsert", Some(params)) => {
                self.counts.add(0);
                self.upsert(id, params.get())
            }
            ("product.get", Some(params)) => {
                self.counts.add(1);
                self.get(id, params.get())
            }
            (method, _) => {
                self.counts.add(2);
                failed(id, -32_601, &format!("method '{method}' not found"), None)
            }
        }
    }

    fn upsert(&self, id: &str, params: &str) -> Reply {
        let article: Article<'_> = match serde_json::from_str(params) {
            Ok(article) => article,
            Err(error) => return failed(id, -32_602, &format!("invalid params: {error}"), None),
        };
        let rule = |field: &str, message: &str| failed(id, RULE, message, Some(field));
        if article.code.is_empty() {
            return rule("code", "UserError: the code is required");
        }
        if article.short_text.is_empty() || article.short_text.chars().count() > 40 {
            return rule("short_text", "UserError: the short text has 1 to 40 characters");
        }
        let Some(version) = version(article.rev) else {
            return rule("rev", "UserError: the revision is a whole number");
        };
        let write = Write { sku: &article.code, version, body: params.as_bytes() };
        let (number, created) = self.ledger.upsert(write);
        succeeded(id, &json!({ "number": number, "created": created }))
    }

    fn get(&self, id: &str, params: &str) -> Reply {
        let params: Value = serde_json::from_str(params).unwrap_or(Value::Null);
        let records = self.ledger.records();
        match params["code"].as_str().and_then(|code| records.of(code).next()) {
            Some(held) => succeeded(id, &serde_json::from_slice(&held.body).unwrap_or(Value::Null)),
            None => failed(id, RULE, "UserError: no such article", Some("code")),
        }
    }
}

fn succeeded(id: &str, result: &Value) -> Reply {
    let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}");
    Reply::of(StatusCode::OK, "application/json", body)
}

fn failed(id: &str, code: i64, message: &str, field: Option<&str>) -> Reply {
    let mut error = json!({ "code": code, "message": message });
    if let Some(field) = field {
        error["data"] = json!({ "field": field });
    }
    let body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{error}}}");
    Reply::of(StatusCode::OK, "application/json", body)
}

impl Service for Erp {
    fn answer(&self, request: &Request) -> Reply {
        if request.header(KEY_HEADER) != Some(self.key.read().expect("no holder panics").as_str()) {
            self.counts.add(2);
            return Reply::empty(StatusCode::UNAUTHORIZED);
        }
        if request.method != Method::POST || request.uri.path() != "/jsonrpc" {
            self.counts.add(2);
            return Reply::empty(StatusCode::NOT_FOUND);
        }
        self.call(&request.body)
    }

    fn misbehaviour(&self) -> Option<&Misbehaviour> {
        Some(&self.misbehaviour)
    }

    fn own_fault(&self, _: &Request, fault: Fault) -> Option<Reply> {
        match fault {
            Fault::Unauthorized => Some(Reply::empty(StatusCode::UNAUTHORIZED)),
            Fault::Busy => Some(failed("null", LOCKED, "the article is locked, try again", None)),
            _ => None,
        }
    }
}
