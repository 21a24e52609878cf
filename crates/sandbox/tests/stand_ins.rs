//! The stand-ins over real sockets: their faces, their misbehaviour, their books.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use stepbus_sandbox::{Addresses, Options, start};

struct Sandbox {
    at: Addresses,
    client: Client<HttpConnector, Full<Bytes>>,
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

fn options() -> Options {
    Options { products: Some(20), ..Options::default() }
}

impl Sandbox {
    async fn start(options: Options) -> Sandbox {
        let at = start(&options).await.unwrap();
        Sandbox { at, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// `None` when the connection broke.
    async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<Answer> {
        let mut request = http::Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let (parts, body) = self.client.request(request).await.ok()?.into_parts();
        let bytes = body.collect().await.ok()?.to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Some(Answer { status: parts.status.as_u16(), headers: parts.headers, text })
    }

    async fn control(&self, method: &str, path: &str, body: &Value) -> Value {
        let url = format!("{}/{path}", self.at.control);
        let answer = self.send(method, &url, &[], &body.to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// What the targets should hold of the catalogue's first product.
    async fn first(&self) -> Value {
        self.control("GET", "expected/1", &json!({})).await
    }

    async fn token(&self) -> String {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            self.at.crm_id, self.at.crm_secret
        );
        let answer = self.send("POST", &format!("{}/token", self.at.crm), &[], &form).await;
        answer.unwrap().json()["access_token"].as_str().unwrap().to_owned()
    }

    async fn put(&self, token: &str, key: &str, product: &Value) -> Option<Answer> {
        let sku = product["sku"].as_str().unwrap().replace('/', "%2F").replace(' ', "%20");
        let url = format!("{}/products/{sku}", self.at.crm);
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        self.send("PUT", &url, &headers, &product.to_string()).await
    }

    async fn call(&self, key: &str, method: &str, params: &Value) -> Option<Answer> {
        let body = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let url = format!("{}/jsonrpc", self.at.erp);
        self.send("POST", &url, &[("x-api-key", key)], &body.to_string()).await
    }

    async fn shop(&self, method: &str, path: &str, body: &Value) -> Option<Answer> {
        use base64::Engine as _;
        let credentials = format!("{}:{}", self.at.shop_user, self.at.shop_password);
        let basic = base64::engine::general_purpose::STANDARD.encode(credentials);
        let url = format!("{}{path}", self.at.shop);
        let headers = [("authorization", format!("Basic {basic}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        self.send(method, &url, &headers, &body.to_string()).await
    }
}

#[tokio::test]
async fn crm_wants_a_token_and_honours_idempotency_keys() {
    let sandbox = Sandbox::start(options()).await;
    let mut product = sandbox.first().await["crm"].clone();
    let refused = sandbox.put("x", "k1", &product).await.unwrap();
    assert_eq!(refused.status, 401);
    let token = sandbox.token().await;
    assert_eq!(sandbox.put(&token, "k1", &product).await.unwrap().status, 201);
    // The same request again is answered from memory, another one under its key is refused.
    assert_eq!(sandbox.put(&token, "k1", &product).await.unwrap().status, 201);
    product["name"] = "other".into();
    assert_eq!(sandbox.put(&token, "k1", &product).await.unwrap().status, 422);
    assert_eq!(sandbox.put(&token, "k2", &product).await.unwrap().status, 200);
    product["name"] = "".into();
    assert_eq!(sandbox.put(&token, "k3", &product).await.unwrap().status, 422);
    sandbox.control("POST", "crm/rotate", &json!({})).await;
    assert_eq!(sandbox.put(&token, "k4", &product).await.unwrap().status, 401);
    let verify = sandbox.control("GET", "verify?ids=1&targets=crm", &json!({})).await;
    assert_eq!(verify["verified"], false);
    let crm = &verify["targets"]["crm"];
    assert_eq!((&crm["held"], &crm["writes"]), (&json!(1), &json!(2)));
    assert_eq!(crm["differences"][0]["field"], "/name");
    assert_eq!(crm["differences"][0]["actual"], "other");
}

#[tokio::test]
async fn erp_reports_business_errors_inside_a_200() {
    let sandbox = Sandbox::start(options()).await;
    let mut article = sandbox.first().await["erp"].clone();
    let key = sandbox.at.erp_key.clone();
    let refused = sandbox.call("x", "product.upsert", &article).await.unwrap();
    assert_eq!((refused.status, refused.text.as_str()), (401, ""));
    let stored = sandbox.call(&key, "product.upsert", &article).await.unwrap();
    assert_eq!((stored.status, &stored.json()["result"]["created"]), (200, &json!(true)));
    assert_eq!(stored.json()["id"], 7);
    let again = sandbox.call(&key, "product.upsert", &article).await.unwrap();
    assert_eq!(again.json()["result"]["created"], false);
    article["short_text"] = "".into();
    let broken = sandbox.call(&key, "product.upsert", &article).await.unwrap();
    assert_eq!((broken.status, &broken.json()["error"]["code"]), (200, &json!(1001)));
    assert_eq!(broken.json()["error"]["data"]["field"], "short_text");
    let unknown = sandbox.call(&key, "product.bake", &article).await.unwrap();
    assert_eq!(unknown.json()["error"]["code"], -32601);
    sandbox.control("POST", "erp/credentials", &json!({ "secret": "new" })).await;
    assert_eq!(sandbox.call(&key, "product.upsert", &article).await.unwrap().status, 401);
    let verify = sandbox.control("GET", "verify?ids=1&targets=erp", &json!({})).await;
    assert_eq!(verify["verified"], true, "{verify:#}");
}

#[tokio::test]
async fn shop_searches_creates_and_updates_by_its_own_ids() {
    let sandbox = Sandbox::start(options()).await;
    let product = sandbox.first().await["shop"].clone();
    let sku = product["sku"].as_str().unwrap();
    let search = format!("/products?sku={sku}");
    let found = sandbox.shop("GET", &search, &json!({})).await.unwrap().json();
    assert_eq!(found, json!({ "total": 0, "items": [] }));
    let created = sandbox.shop("POST", "/products", &product).await.unwrap();
    assert_eq!(created.status, 201);
    let id = created.json()["id"].as_u64().unwrap();
    let duplicate = sandbox.shop("POST", "/products", &product).await.unwrap();
    assert_eq!(duplicate.status, 400);
    assert_eq!(duplicate.json()["code"], "product_invalid_sku");
    assert_eq!(duplicate.json()["data"]["resource_id"], id);
    let found = sandbox.shop("GET", &search, &json!({})).await.unwrap().json();
    assert_eq!(found["items"][0]["id"], id);
    let update = format!("/products/{id}");
    assert_eq!(sandbox.shop("PUT", &update, &product).await.unwrap().status, 200);
    assert_eq!(sandbox.shop("PUT", "/products/1", &product).await.unwrap().status, 404);
    let verify = sandbox.control("GET", "verify?ids=1&targets=shop", &json!({})).await;
    assert_eq!(verify["verified"], true, "{verify:#}");
    sandbox.control("POST", "shop/unique", &json!({ "enforced": false })).await;
    assert_eq!(sandbox.shop("POST", "/products", &product).await.unwrap().status, 201);
    let verify = sandbox.control("GET", "verify?ids=1&targets=shop", &json!({})).await;
    assert_eq!(verify["verified"], false);
    assert_eq!(verify["targets"]["shop"]["duplicates"], json!([sku]));
}

#[tokio::test]
async fn faults_come_as_they_were_ordered() {
    let sandbox = Sandbox::start(options()).await;
    let article = sandbox.first().await["erp"].clone();
    let key = sandbox.at.erp_key.clone();
    let only = async |name: &str| {
        let rates = json!({ "rate": 0.0, "rates": { name: 1.0 }, "slow_ms": 1 });
        sandbox.control("POST", "erp/faults", &rates).await;
        sandbox.call(&key, "product.upsert", &article).await
    };
    let after = |answer: &Answer| {
        answer.headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned())
    };
    let held = async || {
        let verify = sandbox.control("GET", "verify?ids=1&targets=erp", &json!({})).await;
        verify["targets"]["erp"]["writes"].clone()
    };
    let answer = only("429").await.unwrap();
    assert_eq!((answer.status, after(&answer)), (429, None));
    let answer = only("429_retry_after").await.unwrap();
    assert_eq!((answer.status, after(&answer).as_deref()), (429, Some("1")));
    let answer = only("429_retry_after_0").await.unwrap();
    assert_eq!((answer.status, after(&answer).as_deref()), (429, Some("0")));
    let answer = only("500").await.unwrap();
    assert_eq!((answer.status, answer.text.contains("<html>")), (500, true));
    assert_eq!(only("503").await.unwrap().status, 503);
    assert!(only("reset").await.is_none());
    assert_eq!(only("401").await.unwrap().status, 401);
    assert_eq!(only("busy").await.unwrap().json()["error"]["code"], -32001);
    assert_eq!(held().await, 0);
    assert_eq!(only("applied_429").await.unwrap().status, 429);
    assert!(only("applied_reset").await.is_none());
    assert_eq!(held().await, 2);
    assert_eq!(only("slow").await.unwrap().status, 200);
    let stats = sandbox.control("GET", "stats", &json!({})).await;
    for kind in ["429", "reset", "applied_429", "slow", "busy"] {
        assert_eq!(stats["erp"]["faults"][kind], 1, "{kind} in {stats:#}");
    }
    sandbox.control("POST", "reset", &json!({})).await;
    assert_eq!(held().await, 0);
}

#[tokio::test]
async fn a_target_is_down_until_it_is_up() {
    let sandbox = Sandbox::start(options()).await;
    let key = sandbox.at.erp_key.clone();
    let call = async || sandbox.call(&key, "product.get", &json!({ "code": "x" })).await;
    sandbox.control("POST", "erp/down", &json!({})).await;
    assert_eq!(call().await.unwrap().status, 503);
    sandbox.control("POST", "erp/down", &json!({ "how": "reset" })).await;
    assert!(call().await.is_none());
    sandbox.control("POST", "erp/up", &json!({})).await;
    assert_eq!(call().await.unwrap().status, 200);
    let stats = sandbox.control("GET", "stats", &json!({})).await;
    assert_eq!(stats["erp"]["faults"], json!({ "down": 2 }));
}

#[tokio::test]
async fn the_books_notice_what_is_wrong() {
    let sandbox = Sandbox::start(Options { invalid: 7, ..options() }).await;
    let key = sandbox.at.erp_key.clone();
    let verify = sandbox.control("GET", "verify", &json!({})).await;
    assert_eq!(verify["catalog"]["invalid"], 7);
    assert_eq!(verify["catalog"]["valid"], 13);
    assert_eq!(verify["targets"]["erp"]["missing"], 13);
    // The first product is one of the broken ones; another product changes after it was written.
    assert!(sandbox.first().await["invalid"]["rule"].is_string());
    let stranger = json!({ "code": "STRANGE", "short_text": "?", "rev": 1 });
    sandbox.call(&key, "product.upsert", &stranger).await.unwrap();
    let older = sandbox.control("GET", "expected/2", &json!({})).await["erp"].clone();
    sandbox.call(&key, "product.upsert", &older).await.unwrap();
    let fine = sandbox.control("GET", "verify?ids=2&targets=erp", &json!({})).await;
    assert_eq!(fine["targets"]["erp"]["difference_count"], 0);
    assert_eq!(fine["targets"]["erp"]["unexpected"], json!(["STRANGE"]));
    let changed = sandbox.control("POST", "mdm/change", &json!({ "ids": ["2"] })).await;
    assert_eq!(changed["ids"], json!(["2"]));
    let newer = sandbox.control("GET", "expected/2", &json!({})).await["erp"].clone();
    assert_eq!(newer["rev"].as_i64().unwrap(), older["rev"].as_i64().unwrap() + 60_000);
    sandbox.call(&key, "product.upsert", &newer).await.unwrap();
    sandbox.call(&key, "product.upsert", &older).await.unwrap();
    let late = sandbox.control("GET", "verify?ids=2&targets=erp", &json!({})).await;
    assert_eq!(late["targets"]["erp"]["out_of_order_count"], 1);
    assert_eq!(late["targets"]["erp"]["different"], 1);
    sandbox.control("POST", "mdm/delete", &json!({ "ids": ["3"] })).await;
    assert_eq!(sandbox.control("GET", "expected/3", &json!({})).await, Value::Null);
}
