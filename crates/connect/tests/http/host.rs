//! A host on loopback that answers as it is told, and remembers what it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use stepbus_connect::{Connect, DeliveryRequest, Failure, Payload, Report};
use stepbus_model::{Limits, ManualClock, Timestamp};
use tokio::net::TcpListener;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `METHOD target`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

pub(crate) enum Reply {
    Answer(Response<Full<Bytes>>),
    /// Closes the connection instead of answering.
    Reset,
    /// Never answers.
    Hang,
}

pub(crate) fn answer(status: u16, body: &str) -> Reply {
    with(status, &[], body)
}

pub(crate) fn json(status: u16, body: Value) -> Reply {
    with(status, &[("content-type", "application/json")], body.to_string())
}

pub(crate) fn with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Reply::Answer(response.body(Full::new(Bytes::copy_from_slice(body.as_ref()))).unwrap())
}

type Handler = dyn Fn(&Asked, usize) -> Reply + Send + Sync;

pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Host {
    /// `reply` gets each request with its number, from 0.
    pub(crate) async fn start(
        reply: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static,
    ) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, reply): (_, Arc<Handler>) = (Arc::clone(&asked), Arc::new(reply));
        tokio::spawn(async move {
            loop {
                // A client that gave up while it waited here is no reason to accept no others.
                let Ok((stream, _)) = listener.accept().await else { continue };
                let (log, reply) = (Arc::clone(&log), Arc::clone(&reply));
                tokio::spawn(async move {
                    let service =
                        service_fn(move |request| respond(request, log.clone(), reply.clone()));
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Host { address, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

async fn respond(
    request: Request<Incoming>,
    log: Arc<Mutex<Vec<Asked>>>,
    reply: Arc<Handler>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| "broken request")?.to_bytes();
    let asked = Asked {
        method: parts.method.to_string(),
        target: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let number = {
        let mut log = log.lock().unwrap();
        log.push(asked.clone());
        log.len() - 1
    };
    match reply(&asked, number) {
        Reply::Answer(response) => Ok(response),
        Reply::Reset => Err("told to reset"),
        Reply::Hang => match std::future::pending::<Infallible>().await {},
    }
}

/// A connect whose clock stands still at second 1,000,000.
pub(crate) fn connect() -> (Connect, Arc<ManualClock>) {
    connect_with(Limits::DEFAULT)
}

pub(crate) fn connect_with(limits: Limits) -> (Connect, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000_000_000)));
    (Connect::new(clock.clone(), limits), clock)
}

pub(crate) fn request(payload: Value) -> DeliveryRequest {
    DeliveryRequest {
        payload: Payload::from(&payload),
        items: None,
        params: Default::default(),
        headers: Vec::new(),
        query: Vec::new(),
        idempotency_key: "delivery-7".to_owned(),
        remote_id: None,
        share: Default::default(),
    }
}

/// The report in a form that reads well in an assertion.
pub(crate) fn verdict(report: &Report) -> String {
    match report {
        Report::Delivered { receipt, .. } => format!("delivered {}", receipt.status),
        Report::Retryable { error, retry_after, .. } => match retry_after {
            Some(after) => format!("retryable {} after {after:?}", error.code),
            None => format!("retryable {}", error.code),
        },
        Report::Throttled { until, .. } => format!("throttled {}", until.0 - 1_000_000_000),
        Report::Permanent { error, .. } => format!("permanent {}", error.code),
    }
}

pub(crate) fn failure(report: &Report) -> &Failure {
    report.error().unwrap_or_else(|| panic!("{report:?} has no error"))
}
