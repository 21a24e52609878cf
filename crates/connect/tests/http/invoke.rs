//! The calls of HTTP tasks.

use std::time::Duration;

use crate::host::{Host, Reply, answer, connect, connect_with, json, with};
use bytes::Bytes;
use serde_json::json;
use stepbus_connect::{CallError, Connect, ConnectionSpec, HttpTask};
use stepbus_model::{Clock as _, Limits};

fn task(host: &Host) -> HttpTask {
    HttpTask { method: "GET".to_owned(), url: host.url("/x?a=1"), ..HttpTask::default() }
}

async fn fails(connect: &Connect, task: HttpTask) -> CallError {
    connect.invoke(task).await.unwrap_err()
}

#[tokio::test]
async fn a_task_is_one_call() {
    let host = Host::start(|_, _| json(201, json!({ "ok": true }))).await;
    let (connect, _) = connect();
    let pairs = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let response = connect
        .invoke(HttpTask {
            method: "POST".to_owned(),
            headers: pairs("X-A", "b"),
            query: pairs("q", "ä&"),
            body: Some(Bytes::from_static(b"{}")),
            idempotency_key: Some("exec-3".to_owned()),
            ..task(&host)
        })
        .await
        .unwrap();
    assert_eq!((response.status, response.reason), (201, "Created"));
    assert_eq!(&response.body[..], br#"{"ok":true}"#);
    let kind = ("content-type", "application/json".into());
    assert!(response.headers().any(|header| header == kind));
    let asked = &host.asked()[0];
    assert_eq!(asked.line(), "POST /x?a=1&q=%C3%A4%26");
    assert_eq!(asked.header("idempotency-key"), "exec-3");
    assert_eq!((asked.header("x-a"), asked.header("content-type")), ("b", "application/json"));
}

#[tokio::test]
async fn errors_have_awss_names() {
    let host = Host::start(|asked, _| match asked.target.as_str() {
        "/404" => json(404, json!({ "message": "no such product" })),
        "/reset" => Reply::Reset,
        "/hang" => Reply::Hang,
        "/large" => answer(200, &"x".repeat(2_000)),
        "/image" => with(200, &[("content-type", "image/png")], "x"),
        "/cut" => with(200, &[("content-type", "application/json")], b"[\"caf\xc3"),
        _ => answer(500, ""),
    })
    .await;
    let (connect, _) = connect_with(Limits { response_bytes: 1_000, ..Limits::DEFAULT });
    let mut says = Vec::new();
    for (path, error) in [
        ("/404", "States.Http.StatusCode.404"),
        ("/500", "States.Http.StatusCode.500"),
        ("/reset", "States.Http.Socket"),
        ("/hang", "States.Http.Socket"),
        ("/large", "States.DataLimitExceeded"),
        ("/image", "States.Runtime"),
        ("/cut", "States.Http.Socket"),
    ] {
        let timeout = (path == "/hang").then_some(Duration::from_millis(50));
        let found = fails(&connect, HttpTask { url: host.url(path), timeout, ..task(&host) }).await;
        assert_eq!(found.error, error, "{found}");
        says.push(found.cause);
    }
    assert!(says[0].ends_with("answered 404 Not Found: no such product"), "{}", says[0]);
    let nowhere = HttpTask { connection: Some("mdm".to_owned()), ..task(&host) };
    let found = fails(&connect, nowhere).await;
    assert_eq!(found.error, "Events.ConnectionResource.ResourceNotFound");
    let no_url = HttpTask { url: "mdm/x".to_owned(), ..task(&host) };
    assert_eq!(fails(&connect, no_url).await.error, "States.Runtime");
}

#[tokio::test]
async fn a_retry_after_holds_back_the_whole_connection() {
    let host = Host::start(|_, number| match number {
        0 => with(429, &[("retry-after", "0")], ""),
        _ => answer(200, ""),
    })
    .await;
    let (connect, clock) = connect_with(Limits { throttle_floor_ms: 5, ..Limits::DEFAULT });
    let spec = ConnectionSpec { name: "mdm".to_owned(), ..ConnectionSpec::default() };
    connect.set_connection(spec).unwrap();
    let task = HttpTask { connection: Some("mdm".to_owned()), ..task(&host) };
    let found = fails(&connect, task.clone()).await;
    assert_eq!((found.error.as_str(), found.status), ("States.Http.StatusCode.429", Some(429)));
    let paused_until = connect.health().connections[0].paused_until.unwrap();
    assert_eq!(paused_until.since(clock.now()), Duration::from_millis(5), "throttle_floor_ms");
    let second = {
        let connect = connect.clone();
        tokio::spawn(async move { connect.invoke(task).await })
    };
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(host.asked().len(), 1);
    clock.advance(Duration::from_millis(5));
    assert_eq!(second.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn the_connections_credentials_are_renewed() {
    let host = Host::start(|asked, number| match (asked.target.as_str(), number) {
        ("/token", _) => json(200, json!({ "access_token": format!("t{number}") })),
        _ if asked.header("authorization") == "Bearer t0" => answer(401, ""),
        _ => answer(200, ""),
    })
    .await;
    let (connect, _) = connect();
    let auth = json!({ "auth": { "oauth": {
        "token_url": host.url("/token"), "client_id": "me", "client_secret": "s", "style": "json",
    } } });
    let mut spec: ConnectionSpec = serde_json::from_value(auth).unwrap();
    spec.name = "mdm".to_owned();
    connect.set_connection(spec).unwrap();
    let task = HttpTask { connection: Some("mdm".to_owned()), ..task(&host) };
    assert_eq!(connect.invoke(task).await.unwrap().status, 200);
    assert_eq!(host.lines(), ["POST /token", "GET /x?a=1", "POST /token", "GET /x?a=1"]);
    assert!(host.asked()[0].body.contains(r#""grant_type":"client_credentials""#));
}
