//! The CRM: OAuth client credentials, `PUT /products/{sku}` creates or replaces, and an
//! `Idempotency-Key` is honoured.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use stepbus_model::{Clock, SystemClock, Timestamp};

use super::{Counts, version};
use crate::books::ledger::{Ledger, Write};
use crate::faults::{Fault, Misbehaviour};
use crate::http::{Reply, Request, Service, basic_credentials, form_value, percent_decoded};
use crate::random::mix;

/// Keys remembered; a target forgets them at some time, as real ones do after a day.
const KEYS: usize = 1_000_000;

/// Tokens valid at one time.
const TOKENS: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Crm {
    pub(crate) ledger: Ledger,
    pub(crate) misbehaviour: Misbehaviour,
    pub(crate) counts: Counts<4>,
    client_id: String,
    secret: RwLock<String>,
    token_life: Duration,
    seed: u64,
    issued: AtomicU64,
    tokens: Mutex<HashMap<String, Timestamp>>,
    keys: Mutex<HashMap<String, Applied>>,
    clock: SystemClock,
}

/// What a key was first used for.
#[derive(Debug)]
struct Applied {
    request: u64,
    created: bool,
    id: usize,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    sku: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    version: Option<f64>,
}

impl Crm {
    pub(crate) fn new(
        client_id: String,
        secret: String,
        token_life: Duration,
        seed: u64,
        misbehaviour: Misbehaviour,
    ) -> Crm {
        Crm {
            ledger: Ledger::default(),
            misbehaviour,
            counts: Counts::new(["token", "put", "get", "other"]),
            client_id,
            secret: RwLock::new(secret),
            token_life,
            seed,
            issued: AtomicU64::new(0),
            tokens: Mutex::default(),
            keys: Mutex::default(),
            clock: SystemClock::default(),
        }
    }

    pub(crate) fn set_secret(&self, secret: &str) {
        secret.clone_into(&mut self.secret.write().expect("no holder panics"));
        self.rotate();
    }

    /// All tokens given out so far are void.
    pub(crate) fn rotate(&self) {
        self.tokens.lock().expect("no holder panics").clear();
    }

    pub(crate) fn forget(&self) {
        self.ledger.forget();
        self.counts.forget();
        self.keys.lock().expect("no holder panics").clear();
    }

    /// Client id and secret come in the form or as Basic credentials.
    fn token(&self, request: &Request) -> Reply {
        let form = String::from_utf8_lossy(&request.body);
        let secret = self.secret.read().expect("no holder panics").clone();
        let given = |name: &str| form_value(&form, name);
        let basic = request.header("authorization").and_then(|value| value.strip_prefix("Basic "));
        let known = basic == Some(basic_credentials(&self.client_id, &secret).as_str())
            || (given("client_id").as_ref() == Some(&self.client_id)
                && given("client_secret").as_ref() == Some(&secret));
        if !known {
            return Reply::json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_client" }));
        }
        if given("grant_type").as_deref() != Some("client_credentials") {
            let error = json!({ "error": "unsupported_grant_type" });
            return Reply::json(StatusCode::BAD_REQUEST, &error);
        }
        let number = self.issued.fetch_add(1, Ordering::Relaxed);
        let token = format!("{:016x}{:016x}", mix(self.seed ^ number), mix(!self.seed ^ number));
        let now = self.clock.now();
        let mut tokens = self.tokens.lock().expect("no holder panics");
        if tokens.len() >= TOKENS {
            tokens.retain(|_, until| *until > now);
        }
        tokens.insert(token.clone(), now.plus(self.token_life));
        Reply::json(
            StatusCode::OK,
            &json!({
                "access_token": token,
                "token_type": "Bearer",
                "expires_in": self.token_life.as_secs(),
            }),
        )
    }

    fn is_authorized(&self, request: &Request) -> bool {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let tokens = self.tokens.lock().expect("no holder panics");
        token.and_then(|token| tokens.get(token)).is_some_and(|until| self.clock.now() < *until)
    }

    fn put(&self, request: &Request, sku: &str) -> Reply {
        let unprocessable = |problem: String| {
            Reply::json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": problem }))
        };
        let head: Head<'_> = match serde_json::from_slice(&request.body) {
            Ok(head) => head,
            Err(error) => return unprocessable(format!("not a product: {error}")),
        };
        if head.sku != sku {
            return unprocessable(format!("sku '{}' is not the address's '{sku}'", head.sku));
        }
        if head.name.is_empty() {
            return unprocessable("name must not be empty".to_owned());
        }
        let Some(version) = version(head.version) else {
            return unprocessable("version must be a whole number".to_owned());
        };
        let write = Write { sku, version, body: &request.body };
        match request.header("idempotency-key") {
            None => {
                let (id, created) = self.ledger.upsert(write);
                stored(id, created)
            }
            Some(key) => self.put_once(key, write),
        }
    }

    /// The same key with the same request gets the first one's answer and changes nothing.
    fn put_once(&self, key: &str, write: Write<'_>) -> Reply {
        let mut hasher = DefaultHasher::new();
        (write.sku, write.body).hash(&mut hasher);
        let request = hasher.finish();
        let mut keys = self.keys.lock().expect("no holder panics");
        if let Some(applied) = keys.get(key) {
            if applied.request == request {
                return stored(applied.id, applied.created);
            }
            let error = json!({ "error": "this Idempotency-Key was used for another request" });
            return Reply::json(StatusCode::UNPROCESSABLE_ENTITY, &error);
        }
        if keys.len() >= KEYS {
            keys.clear();
        }
        let (id, created) = self.ledger.upsert(write);
        keys.insert(key.to_owned(), Applied { request, created, id });
        stored(id, created)
    }

    fn get(&self, sku: &str) -> Reply {
        match self.ledger.records().of(sku).next() {
            Some(held) => Reply::of(StatusCode::OK, "application/json", held.body.to_vec()),
            None => not_found(),
        }
    }
}

fn stored(id: usize, created: bool) -> Reply {
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Reply::of(status, "application/json", format!("{{\"id\":\"{id}\"}}"))
}

fn not_found() -> Reply {
    Reply::json(StatusCode::NOT_FOUND, &json!({ "error": "not found" }))
}

impl Service for Crm {
    fn answer(&self, request: &Request) -> Reply {
        let path = request.uri.path();
        if path == "/token" && request.method == Method::POST {
            self.counts.add(0);
            return self.token(request);
        }
        let sku = path.strip_prefix("/products/").filter(|sku| !sku.is_empty());
        self.counts.add(match (&request.method, sku) {
            (&Method::PUT, Some(_)) => 1,
            (&Method::GET, Some(_)) => 2,
            _ => 3,
        });
        if !self.is_authorized(request) {
            return Reply::json(StatusCode::UNAUTHORIZED, &json!({ "error": "invalid_token" }))
                .with(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"");
        }
        match (&request.method, sku) {
            (&Method::PUT, Some(sku)) => self.put(request, &percent_decoded(sku, false)),
            (&Method::GET, Some(sku)) => self.get(&percent_decoded(sku, false)),
            _ => not_found(),
        }
    }

    fn misbehaviour(&self) -> Option<&Misbehaviour> {
        Some(&self.misbehaviour)
    }

    fn can_have(&self, request: &Request, fault: Fault) -> bool {
        let of_a_write =
            matches!(fault, Fault::AppliedThrottled | Fault::AppliedReset | Fault::TokenRotated);
        request.method == Method::PUT || !of_a_write
    }

    fn own_fault(&self, request: &Request, fault: Fault) -> Option<Reply> {
        matches!(fault, Fault::TokenRotated).then(|| {
            self.rotate();
            self.answer(request)
        })
    }
}
