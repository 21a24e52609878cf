//! The bare loop: recorded requests sent again by hyper, responses parsed, nothing else done.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HeaderName, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use stepbus_sandbox::Recorded;

/// Requests to one system, and how many of them may be in flight.
pub(super) struct Queue {
    pub host: String,
    pub concurrency: usize,
    pub requests: Vec<Recorded>,
}

type Http = Client<HttpConnector, Full<Bytes>>;
type Prepared = hyper::Request<Full<Bytes>>;

/// Sends all requests of all queues, each queue by as many workers as it allows.
pub(super) fn all(queues: Vec<Queue>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client: Http = Client::builder(TokioExecutor::new()).build(connector);
        let mut workers = tokio::task::JoinSet::new();
        for queue in queues {
            let token = token(&client, &queue).await?;
            let prepared: Result<VecDeque<Prepared>> = queue
                .requests
                .iter()
                .map(|request| prepare(&queue.host, request, &token))
                .collect();
            let prepared = Arc::new(Mutex::new(prepared?));
            for _ in 0..queue.concurrency {
                workers.spawn(work(client.clone(), prepared.clone()));
            }
        }
        while let Some(done) = workers.join_next().await {
            done??;
        }
        Ok(())
    })
}

async fn work(client: Http, queue: Arc<Mutex<VecDeque<Prepared>>>) -> Result<()> {
    loop {
        let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let Some(request) = next else { return Ok(()) };
        let response = client.request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let parsed: Option<Value> = serde_json::from_slice(&body).ok();
        if status.is_server_error() || status == 401 {
            bail!("{status}: {parsed:?}");
        }
    }
}

/// The recording's token opened another sandbox: this one gives its own.
async fn token(client: &Http, queue: &Queue) -> Result<Option<HeaderValue>> {
    let Some(request) = queue.requests.iter().find(|request| request.path == "/token") else {
        return Ok(None);
    };
    let response = client.request(prepare(&queue.host, request, &None)?).await?;
    let body: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    let token = body["access_token"].as_str().context("no token")?;
    Ok(Some(HeaderValue::from_str(&format!("Bearer {token}"))?))
}

fn prepare(host: &str, request: &Recorded, token: &Option<HeaderValue>) -> Result<Prepared> {
    let url = format!("http://{host}{}", request.path);
    let mut prepared = hyper::Request::builder().method(request.method.as_str()).uri(url);
    for (name, value) in &request.headers {
        if name == "host" || name == "content-length" || name == "transfer-encoding" {
            continue;
        }
        let name = HeaderName::from_bytes(name.as_bytes())?;
        let value = match token {
            Some(token) if name == "authorization" && request.path != "/token" => token.clone(),
            _ => HeaderValue::from_str(value)?,
        };
        prepared = prepared.header(name, value);
    }
    Ok(prepared.body(Full::new(Bytes::from(request.body.clone())))?)
}
