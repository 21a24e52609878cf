//! Single calls: what is sent, and what an answer means.

use std::time::Duration;

use crate::host::{
    Host, Reply, answer, connect, connect_with, failure, json, request, verdict, with,
};
use serde_json::{Value, json};
use stepbus_connect::{CallSpec, Connect, DestinationSpec, Report};
use stepbus_model::Limits;

fn register(connect: &Connect, spec: Value) {
    let mut spec: DestinationSpec = serde_json::from_value(spec).unwrap();
    spec.name = "target".to_owned();
    connect.set_destination(spec).unwrap();
}

async fn deliver(connect: &Connect, payload: Value) -> Report {
    connect.deliver("target", request(payload)).await
}

#[tokio::test]
async fn a_delivery_is_one_call() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let (connect, _) = connect();
    register(
        &connect,
        json!({
            "method": "put", "url": host.url("/products/{sku}?in={store}"),
            "headers": { "X-Sku": "sku {sku}" }, "query": { "n": "{n}", "shop": 1 },
        }),
    );
    let mut request = request(json!({ "sku": "a/b ü", "n": 7, "store": "from payload" }));
    request.params.insert("store".to_owned(), "from params".to_owned());
    request.payload = stepbus_connect::Payload::from(&json!({ "sku": "a/b &", "n": 7 }));
    let report = connect.deliver("target", request).await;
    assert_eq!(verdict(&report), "delivered 200");
    let asked = &host.asked()[0];
    assert_eq!(asked.line(), "PUT /products/a%2Fb%20%26?in=from%20params&n=7&shop=1");
    assert_eq!(asked.header("x-sku"), "sku a/b &");
    assert_eq!(asked.header("content-type"), "application/json");
    assert_eq!(asked.header("idempotency-key"), "delivery-7");
    assert!(asked.header("user-agent").starts_with("stepbus/"));
    assert_eq!(asked.body, r#"{"sku":"a/b &","n":7}"#);
}

#[tokio::test]
async fn a_body_may_be_made_from_the_payload() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let (connect, _) = connect();
    let body = json!({ "jsonrpc": "2.0", "params": ["{% $payload.sku %}"] });
    register(&connect, json!({ "url": host.url("/rpc"), "body": body }));
    assert_eq!(verdict(&deliver(&connect, json!({ "sku": "A" })).await), "delivered 200");
    assert_eq!(host.asked()[0].body, r#"{"jsonrpc":"2.0","params":["A"]}"#);
}

#[tokio::test]
async fn a_placeholder_without_a_value_calls_nobody() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let (connect, _) = connect();
    register(&connect, json!({ "url": host.url("/p/{sku}") }));
    for (payload, says) in [
        (json!({}), "neither a parameter nor a field of the payload has that name"),
        (json!({ "sku": null }), "is no text, number or boolean"),
        (json!({ "sku": "" }), "which addresses something else"),
        (json!({ "sku": ".." }), "which addresses something else"),
        (json!([1]), "the payload is no object"),
    ] {
        let report = deliver(&connect, payload).await;
        assert_eq!(verdict(&report), "permanent INVALID_PARAMETER");
        assert!(failure(&report).message.contains("{sku}"), "{report:?}");
        assert!(failure(&report).message.contains(says), "{report:?}");
    }
    assert_eq!(host.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn statuses_fall_into_classes() {
    for (status, expected) in [
        (201, "delivered 201"),
        (400, "permanent ERROR_FROM_TARGET"),
        (401, "retryable NO_PERMISSIONS"),
        (403, "permanent NO_PERMISSIONS"),
        (404, "permanent ERROR_FROM_TARGET"),
        (407, "retryable NO_PERMISSIONS"),
        (409, "retryable ERROR_FROM_TARGET"),
        (429, "throttled 250"),
        (500, "retryable ERROR_FROM_TARGET"),
        (503, "retryable ERROR_FROM_TARGET"),
    ] {
        let host = Host::start(move |_, _| answer(status, "")).await;
        let (connect, _) = connect();
        register(&connect, json!({ "url": host.url("/") }));
        assert_eq!(verdict(&deliver(&connect, json!({})).await), expected, "{status}");
    }
}

#[tokio::test]
async fn no_answer_is_retryable() {
    let (connect, _) = connect();
    let host = Host::start(|_, number| if number == 0 { Reply::Reset } else { Reply::Hang }).await;
    register(&connect, json!({ "url": host.url("/") }));
    let report = deliver(&connect, json!({})).await;
    assert_eq!(verdict(&report), "retryable CONNECTION_FAILURE");
    register(&connect, json!({ "url": host.url("/"), "timeout": "30ms" }));
    let report = deliver(&connect, json!({})).await;
    assert_eq!(verdict(&report), "retryable TIMEOUT");
    assert!(failure(&report).message.contains("within 30ms"), "{report:?}");

    register(&connect, json!({ "url": "http://127.0.0.1:1/" }));
    let report = deliver(&connect, json!({})).await;
    assert_eq!(verdict(&report), "retryable CONNECTION_FAILURE");
    assert!(failure(&report).message.contains("refused"), "{report:?}");
}

#[tokio::test]
async fn an_answer_over_the_limit_names_it() {
    let host = Host::start(|_, _| answer(200, &"x".repeat(2_000))).await;
    let (connect, _) = connect_with(Limits { response_bytes: 1_000, ..Limits::DEFAULT });
    register(&connect, json!({ "url": host.url("/") }));
    let report = deliver(&connect, json!({})).await;
    assert_eq!(verdict(&report), "permanent RESOURCE_LIMIT_EXCEEDED");
    assert!(failure(&report).message.contains("`response_bytes`"), "{report:?}");
}

#[tokio::test]
async fn redirects_are_followed_for_get_only() {
    let host = Host::start(|asked, _| match asked.target.as_str() {
        "/end" => answer(200, ""),
        "/loop" => with(302, &[("location", "/loop")], ""),
        _ => with(308, &[("location", "/end")], ""),
    })
    .await;
    let (connect, _) = connect();
    register(&connect, json!({ "method": "GET", "url": host.url("/start") }));
    assert_eq!(verdict(&deliver(&connect, json!({})).await), "delivered 200");
    register(&connect, json!({ "method": "GET", "url": host.url("/loop") }));
    assert_eq!(verdict(&deliver(&connect, json!({})).await), "permanent ERROR_FROM_TARGET");
    register(&connect, json!({ "method": "POST", "url": host.url("/start") }));
    let report = deliver(&connect, json!({})).await;
    assert_eq!(verdict(&report), "permanent ERROR_FROM_TARGET");
    assert!(failure(&report).message.contains("it redirects to /end"), "{report:?}");
}

#[tokio::test]
async fn rules_read_the_body() {
    let host = Host::start(|asked, _| {
        json(200, serde_json::from_str::<Value>(&asked.body).unwrap()["answer"].clone())
    })
    .await;
    let (connect, _) = connect();
    register(
        &connect,
        json!({ "url": host.url("/"), "outcome": {
            "success": "{% $not($exists($response.body.error)) %}",
            "retryable": "{% $response.body.error.code = 'LOCKED' %}",
        } }),
    );
    let mut answers = Vec::new();
    for body in [
        json!({ "result": 1 }),
        json!({ "error": { "code": "LOCKED", "message": "try later" } }),
        json!({ "error": { "code": "BAD", "message": "no UoM" } }),
    ] {
        answers.push(deliver(&connect, json!({ "answer": body })).await);
    }
    let verdicts: Vec<String> = answers.iter().map(verdict).collect();
    let expected = ["delivered 200", "retryable ERROR_FROM_TARGET", "permanent ERROR_FROM_TARGET"];
    assert_eq!(verdicts, expected);
    assert!(failure(&answers[2]).message.ends_with("answered 200 OK: no UoM"));
}

#[tokio::test]
async fn what_is_unknown_is_permanent() {
    let (connect, _) = connect();
    assert_eq!(verdict(&deliver(&connect, json!({})).await), "permanent NO_RESOURCE");
    let call = CallSpec::new("POST", "http://127.0.0.1/");
    connect.set_destination(DestinationSpec::call("target", Some("crm"), call)).unwrap();
    let report = deliver(&connect, json!({})).await;
    assert!(failure(&report).message.contains("the connection `crm`, which does not exist"));
}

#[tokio::test]
async fn specs_say_what_is_wrong_with_them() {
    let check = |spec: Value, expected: &[(&str, &str)]| {
        let spec: DestinationSpec = serde_json::from_value(spec).unwrap();
        let found = spec.check().err().unwrap_or_default();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (error, (pointer, message)) in found.iter().zip(expected) {
            assert_eq!(error.pointer, *pointer);
            assert!(error.message.contains(message), "{error:?}");
        }
    };
    check(json!({ "url": "http://x/{a}" }), &[]);
    check(json!({ "url": "http://{a}/" }), &[("/url", "a host without placeholders")]);
    check(json!({ "url": "http://x{a}/" }), &[("/url", "a host without placeholders")]);
    check(json!({ "url": "ftp://x/" }), &[("/url", "must begin with http:// or https://")]);
    check(json!({ "url": "http://me:secret@x/" }), &[("/url", "put them into the connection")]);
    check(json!({ "url": "http://x/{a" }), &[("/url", "belongs to no placeholder")]);
    check(json!({ "url": "http://x/", "method": "P T" }), &[("/method", "no HTTP method")]);
    check(json!({ "url": "http://x/", "concurrency": 0 }), &[("/concurrency", "above 0")]);
    check(
        json!({ "url": "http://x/", "headers": { "a b": "c" }, "body": { "a": "{% ( %}" } }),
        &[("/headers/a b", "cannot be the name"), ("/body/a", "")],
    );
    check(
        json!({ "url": "http://x/", "outcome": { "success": "{% a +" } }),
        &[("/outcome/success", "does not end with")],
    );
}

#[tokio::test]
async fn specs_keep_the_project_files_shape() {
    let file = json!({
        "name": "shop", "connection": "shop", "rate": "300/s", "timeout": "5000ms",
        "upsert": {
            "find": { "method": "GET", "url": "http://x/?sku={sku}" },
            "create": { "method": "POST", "url": "http://x/" },
            "update": { "method": "PUT", "url": "http://x/{id}" },
            "id": "{% $response.body.items[0].id %}",
        },
        "outcome": {},
    });
    let mut spec: DestinationSpec = serde_json::from_value(file.clone()).unwrap();
    assert_eq!(spec.timeout, Some(Duration::from_secs(5)));
    spec.name = "shop".to_owned();
    assert_eq!(serde_json::to_value(&spec).unwrap(), file);
    for (wrong, says) in [
        (json!({ "method": "GET" }), "needs `url`"),
        (json!({ "url": "x", "upsert": file["upsert"] }), "has its own calls"),
        (json!({ "url": "x", "retries": 3 }), "unknown field `retries`"),
        (json!({ "url": "x", "timeout": "soon" }), "no length of time"),
        (json!({ "url": "x", "rate": "often" }), "is no rate"),
    ] {
        let error = serde_json::from_value::<DestinationSpec>(wrong).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn text_goes_as_text() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let (connect, _) = connect();
    let mut request = request(json!({}));
    request.payload = stepbus_connect::Payload::Text("Grüße\n\"x\"".into());
    for (spec, kind, body) in [
        (json!({ "url": host.url("/") }), "text/plain; charset=utf-8", "Grüße\n\"x\""),
        (
            json!({ "url": host.url("/"), "body": { "text": "{% $payload %}" } }),
            "application/json",
            { r#"{"text":"Grüße\n\"x\""}"# },
        ),
        (json!({ "url": host.url("/"), "headers": { "Content-Type": "text/csv" } }), "text/csv", {
            "Grüße\n\"x\""
        }),
    ] {
        register(&connect, spec);
        assert_eq!(verdict(&connect.deliver("target", request.clone()).await), "delivered 200");
        let asked = host.asked().pop().unwrap();
        assert_eq!((asked.header("content-type"), asked.body.as_str()), (kind, body));
    }
}

#[tokio::test]
async fn a_delivery_brings_headers_and_query() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let (connect, _) = connect();
    let spec = json!({
        "url": host.url("/p?a=1"), "headers": { "X-A": "own" }, "query": { "b": 1, "c": 2 },
    });
    register(&connect, spec);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut request = request(json!({}));
    request.headers = vec![pair("x-a", "given"), pair("X-B", "b")];
    request.query = vec![pair("c", "3&x=ü"), pair("d e", "/")];
    assert_eq!(verdict(&connect.deliver("target", request.clone()).await), "delivered 200");
    let asked = &host.asked()[0];
    assert_eq!(asked.line(), "POST /p?a=1&b=1&c=3%26x%3D%C3%BC&d%20e=%2F");
    assert_eq!((asked.header("x-a"), asked.header("x-b")), ("given", "b"));
    for (name, value) in [("x-a", "a\r\nx-evil: 1"), ("x-a", "a\nb"), ("x a", "b"), ("", "b")] {
        request.headers = vec![pair(name, value)];
        let report = connect.deliver("target", request.clone()).await;
        assert_eq!(verdict(&report), "permanent INVALID_PARAMETER", "{name}: {value:?}");
    }
    assert_eq!(host.asked().len(), 1);
}
