//! Upserts against a shop that keeps its own ids.

use std::sync::{Arc, Mutex};

use crate::host::{Asked, Host, Reply, answer, connect, failure, json, request, verdict, with};
use serde_json::{Value, json};
use stepbus_connect::{Connect, DestinationSpec, Report};

/// What the shop holds: its id for `sku` A, if it has it.
type Held = Arc<Mutex<Option<u32>>>;

/// A shop that may answer otherwise than it should: `odd` is asked first.
async fn shop(
    held: Option<u32>,
    odd: impl Fn(&str, &mut Option<u32>) -> Option<Reply> + Send + Sync + 'static,
) -> (Host, Held) {
    let held = Arc::new(Mutex::new(held));
    let kept = Arc::clone(&held);
    let host = Host::start(move |asked, _| {
        let mut held = kept.lock().unwrap();
        odd(&asked.line(), &mut held).unwrap_or_else(|| behave(asked, &mut held))
    })
    .await;
    (host, held)
}

fn behave(asked: &Asked, held: &mut Option<u32>) -> Reply {
    match (asked.method.as_str(), *held) {
        ("GET", held) => {
            let items: Vec<Value> = held.iter().map(|id| json!({ "id": id })).collect();
            json(200, json!({ "items": items }))
        }
        ("POST", None) => {
            *held = Some(41);
            json(201, json!({ "id": 41 }))
        }
        ("POST", Some(_)) => json(400, json!({ "error": "duplicate sku" })),
        (_, Some(id)) if asked.target == format!("/products/{id}") => json(200, json!({})),
        _ => answer(404, ""),
    }
}

fn register(connect: &Connect, host: &Host, more: Value) {
    let mut upsert = json!({
        "find": { "method": "GET", "url": host.url("/products?sku={sku}") },
        "create": { "method": "POST", "url": host.url("/products") },
        "update": { "method": "PUT", "url": host.url("/products/{id}") },
        "id": "{% $response.body.items[0].id %}",
    });
    upsert.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut spec: DestinationSpec = serde_json::from_value(json!({ "upsert": upsert })).unwrap();
    spec.name = "shop".to_owned();
    connect.set_destination(spec).unwrap();
}

async fn deliver(connect: &Connect, remote_id: Option<&str>) -> Report {
    let mut request = request(json!({ "sku": "A", "id": "not this" }));
    request.remote_id = remote_id.map(str::to_owned);
    connect.deliver("shop", request).await
}

async fn check(host: &Host, known: Option<&str>, expected: &str, id: Option<&str>, calls: &[&str]) {
    let (connect, _) = connect();
    register(&connect, host, json!({}));
    let report = deliver(&connect, known).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), (expected, id));
    assert_eq!(host.lines(), calls);
}

const FIND: &str = "GET /products?sku=A";
const CREATE: &str = "POST /products";
const UPDATE: &str = "PUT /products/41";

#[tokio::test]
async fn what_is_not_there_is_created() {
    let (host, _) = shop(None, |_, _| None).await;
    check(&host, None, "delivered 201", Some("41"), &[FIND, CREATE]).await;
    assert_eq!(host.asked()[0].header("idempotency-key"), "");
    assert_eq!(host.asked()[1].header("idempotency-key"), "delivery-7-create");
}

#[tokio::test]
async fn what_is_found_is_updated() {
    let (host, _) = shop(Some(41), |_, _| None).await;
    check(&host, None, "delivered 200", Some("41"), &[FIND, UPDATE]).await;
    assert_eq!(host.asked()[1].header("idempotency-key"), "delivery-7-update-41");
}

#[tokio::test]
async fn a_known_id_saves_the_lookup() {
    let (host, _) = shop(Some(41), |_, _| None).await;
    check(&host, Some("41"), "delivered 200", Some("41"), &[UPDATE]).await;
}

#[tokio::test]
async fn a_known_id_that_is_gone_is_looked_up_again() {
    let (host, _) = shop(Some(41), |_, _| None).await;
    let calls = ["PUT /products/7", FIND, UPDATE];
    check(&host, Some("7"), "delivered 200", Some("41"), &calls).await;
    let (host, _) = shop(None, |_, _| None).await;
    let calls = ["PUT /products/7", FIND, CREATE];
    check(&host, Some("7"), "delivered 201", Some("41"), &calls).await;
}

#[tokio::test]
async fn a_failed_lookup_never_creates() {
    for (status, body, expected) in [
        (500, "", "retryable ERROR_FROM_TARGET"),
        (404, "", "permanent ERROR_FROM_TARGET"),
        (403, "", "permanent NO_PERMISSIONS"),
        (200, "<h1>Welcome</h1>", "retryable ERROR_FROM_TARGET"),
        (200, "", "retryable ERROR_FROM_TARGET"),
        (200, r#"{"items":[{"id":{}}]}"#, "permanent ERROR_FROM_TARGET"),
        (200, r#"{"items":[{"id":[1,2]}]}"#, "permanent ERROR_FROM_TARGET"),
    ] {
        let (host, _) =
            shop(None, move |line, _| (line == FIND).then(|| answer(status, body))).await;
        check(&host, None, expected, None, &[FIND]).await;
    }
}

#[tokio::test]
async fn a_rule_may_say_that_it_is_missing() {
    let (host, _) = shop(None, |line, _| (line == FIND).then(|| answer(404, ""))).await;
    let (connect, _) = connect();
    register(&connect, &host, json!({}));
    let report = deliver(&connect, None).await;
    assert!(failure(&report).message.contains("add `missing:"), "{report:?}");
    register(&connect, &host, json!({ "missing": "{% $response.status = 404 %}" }));
    let report = deliver(&connect, None).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), ("delivered 201", Some("41")));

    let (host, _) = shop(Some(41), |line, _| {
        (line == "PUT /products/7").then(|| json(403, json!({ "code": "gone" })))
    })
    .await;
    register(&connect, &host, json!({ "missing": "{% $response.body.code = 'gone' %}" }));
    let report = deliver(&connect, Some("7")).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), ("delivered 200", Some("41")));
}

#[tokio::test]
async fn a_create_that_was_applied_but_refused_is_found() {
    let (host, _) = shop(None, |line, held| {
        (line == CREATE).then(|| {
            *held = Some(41);
            json(400, json!({ "error": "duplicate sku" }))
        })
    })
    .await;
    check(&host, None, "delivered 200", Some("41"), &[FIND, CREATE, FIND, UPDATE]).await;
    let (host, _) =
        shop(None, |line, _| (line == CREATE).then(|| json(400, json!({ "error": "no name" }))))
            .await;
    check(&host, None, "permanent ERROR_FROM_TARGET", None, &[FIND, CREATE, FIND]).await;
}

#[tokio::test]
async fn an_applied_create_answered_with_429_makes_no_second_one() {
    let (host, held) = shop(None, |line, held| {
        (line == CREATE && held.is_none()).then(|| {
            *held = Some(41);
            with(429, &[("retry-after", "1")], "")
        })
    })
    .await;
    let (connect, clock) = connect();
    register(&connect, &host, json!({}));
    let report = deliver(&connect, None).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), ("throttled 1000", None));
    clock.advance(std::time::Duration::from_secs(1));
    let report = deliver(&connect, None).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), ("delivered 200", Some("41")));
    assert_eq!(host.lines(), [FIND, CREATE, FIND, UPDATE]);
    assert_eq!(*held.lock().unwrap(), Some(41));
}

#[tokio::test]
async fn the_id_is_told_also_when_a_later_call_failed() {
    let (host, _) = shop(Some(41), |line, _| (line == UPDATE).then(|| answer(500, ""))).await;
    check(&host, None, "retryable ERROR_FROM_TARGET", Some("41"), &[FIND, UPDATE]).await;
    let (host, _) = shop(Some(41), |line, _| (line == UPDATE).then(|| answer(404, ""))).await;
    check(&host, None, "retryable ERROR_FROM_TARGET", None, &[FIND, UPDATE]).await;
}

#[tokio::test]
async fn a_create_without_an_id_is_found_the_next_time() {
    let (host, _) = shop(None, |line, held| {
        (line == CREATE).then(|| {
            *held = Some(41);
            answer(201, "")
        })
    })
    .await;
    let (connect, _) = connect();
    register(&connect, &host, json!({}));
    let report = deliver(&connect, None).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), ("delivered 201", None));
    let report = deliver(&connect, None).await;
    assert_eq!((verdict(&report).as_str(), report.remote_id()), ("delivered 200", Some("41")));
}

#[tokio::test]
async fn the_created_id_may_stand_elsewhere() {
    let (host, _) = shop(None, |line, _| {
        (line == CREATE).then(|| json(201, json!({ "product": { "key": "K-1" } })))
    })
    .await;
    let (connect, _) = connect();
    register(&connect, &host, json!({ "create_id": "{% $response.body.product.key %}" }));
    assert_eq!(deliver(&connect, None).await.remote_id(), Some("K-1"));
}
