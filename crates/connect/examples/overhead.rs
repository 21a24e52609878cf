//! What a call costs: CPU of the calling thread per request, for a bare hyper client and for
//! `deliver` and `invoke`, against the same host on loopback.
//!
//! `cargo run --release -p stepbus-connect --example overhead [requests] [concurrency]`
#![allow(clippy::print_stdout)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use stepbus_connect::{Connect, DeliveryRequest, DestinationSpec, HttpTask, Payload, Report};
use stepbus_model::{Limits, SystemClock};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &str = r#"{"result":{"id":41,"name":"a product","state":"done"}}"#;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<usize>().ok());
    let requests = numbers.next().unwrap_or(40_000);
    let concurrency = numbers.next().unwrap_or(16);
    let address = serve();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let each = requests / concurrency;
        for round in 0..2 {
            let bare = measure(concurrency, |_| bare(address, each)).await;
            report("bare hyper", round, requests, bare);
            for (name, rule) in [
                ("deliver", None),
                ("deliver, with a rule", Some("{% $not($exists($response.body.error)) %}")),
            ] {
                let connect = connect(address, rule);
                let took = measure(concurrency, |_| deliver(connect.clone(), each)).await;
                report(name, round, requests, took);
            }
            let connect = connect(address, None);
            let took = measure(concurrency, |_| invoke(connect.clone(), address, each)).await;
            report("invoke", round, requests, took);
        }
    });
}

fn report(name: &str, round: usize, requests: usize, (cpu_ns, seconds): (u64, f64)) {
    let micros = cpu_ns as f64 / 1_000.0 / requests as f64;
    let rate = requests as f64 / seconds;
    println!("round {round} {name:22} {micros:6.1} µs CPU a request, {rate:7.0} requests/s");
}

/// CPU of this thread and time passed, while `concurrency` tasks run on it.
async fn measure<F>(concurrency: usize, work: impl Fn(usize) -> F) -> (u64, f64)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (cpu, started) = (thread_cpu(), Instant::now());
    let tasks: Vec<_> = (0..concurrency).map(|number| tokio::spawn(work(number))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    (thread_cpu() - cpu, started.elapsed().as_secs_f64())
}

fn thread_cpu() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

fn payload() -> Bytes {
    Bytes::from(json!({ "sku": "FR-R92B-58", "name": "x".repeat(600) }).to_string())
}

async fn bare(address: SocketAddr, requests: usize) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let body = payload();
    for _ in 0..requests {
        let request = Request::put("/products/FR-R92B-58")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", "Basic bWU6cHc=")
            .body(Full::new(body.clone()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert!(response.status().is_success());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let _: serde_json::Value = serde_json::from_slice(&body).unwrap();
    }
}

fn connect(address: SocketAddr, rule: Option<&str>) -> Connect {
    let connect = Connect::new(Arc::new(SystemClock::default()), Limits::DEFAULT);
    let mut spec: stepbus_connect::ConnectionSpec = serde_json::from_value(
        json!({ "auth": { "basic": { "username": "me", "password": "pw" } } }),
    )
    .unwrap();
    spec.name = "system".to_owned();
    connect.set_connection(spec).unwrap();
    let url = format!("http://{address}/products/{{sku}}");
    let mut spec: DestinationSpec = serde_json::from_value(
        json!({ "connection": "system", "method": "PUT", "url": url, "outcome": { "success": rule } }),
    )
    .unwrap();
    spec.name = "target".to_owned();
    connect.set_destination(spec).unwrap();
    connect
}

async fn deliver(connect: Connect, requests: usize) {
    let payload = Payload::Json(payload());
    for _ in 0..requests {
        let request = DeliveryRequest {
            payload: payload.clone(),
            items: None,
            params: Default::default(),
            headers: Vec::new(),
            query: Vec::new(),
            idempotency_key: "0198c0de-0000-7000-8000-000000000000".to_owned(),
            remote_id: None,
            share: Default::default(),
        };
        let report = connect.deliver("target", request).await;
        assert!(matches!(report, Report::Delivered { .. }), "{report:?}");
    }
}

async fn invoke(connect: Connect, address: SocketAddr, requests: usize) {
    for _ in 0..requests {
        let task = HttpTask {
            connection: Some("system".to_owned()),
            method: "PUT".to_owned(),
            url: format!("http://{address}/products/FR-R92B-58"),
            body: Some(payload()),
            ..HttpTask::default()
        };
        let response = connect.invoke(task).await.unwrap();
        let _: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
    }
}

/// A host on a thread of its own, so that its CPU is not counted.
fn serve() -> SocketAddr {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            send.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let service = service_fn(|request: Request<hyper::body::Incoming>| async {
                    request.into_body().collect().await?;
                    let answer = Response::builder().header("content-type", "application/json");
                    let answer = answer.body(Full::new(Bytes::from_static(ANSWER.as_bytes())));
                    Ok::<_, hyper::Error>(answer.expect("a valid answer"))
                });
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    receive.recv().unwrap()
}
