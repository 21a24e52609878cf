//! A function as a target.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_connect::{ApiKey, Auth, ConnectionSpec, Secret};
use stepbus_model::{MessageId, Totals};
use stepbus_store::ResourceKind;

use super::world::{Call, Target, World};
use crate::delivery::RedriveVersion;
use crate::{BatchSpec, FunctionSpec, Order, TargetSpec};

const SECRET: &str = "a-key-that-nobody-sees";

fn world(target: &Target) -> World {
    let mut world = World::new(target);
    let value = Secret::new(SECRET.to_owned());
    let key = ApiKey { header: Some("X-Key".into()), query: None, value };
    world.declared.connections.push(ConnectionSpec {
        name: "prices".into(),
        auth: Auth::ApiKey(key),
        ..ConnectionSpec::default()
    });
    world.declared.functions.push(FunctionSpec {
        name: "price".into(),
        url: format!("{}/price?as={{json}}", target.url),
        connection: Some("prices".into()),
        timeout_ms: None,
    });
    world.load().target = TargetSpec::Function("price".into());
    world
}

fn delivered(count: i64) -> Totals {
    Totals { matched: count, delivered: count, ..Totals::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_function_throws_is_tried_again_under_the_same_key() {
    let target = Target::start().await;
    let mut world = world(&target);
    world.load().order = Order::Fifo;
    let thrown = json!({ "errorType": "NoPrice", "errorMessage": "none" });
    let mut answers = [(500, thrown.clone()), (422, thrown), (429, json!({})), (503, json!({}))]
        .into_iter()
        .chain(std::iter::repeat((200, json!("done"))));
    target.behave(move |_| answers.next().unwrap());
    let running = world.open().await;
    running.publish([("A".to_owned(), 1), ("A".to_owned(), 2)]).await;
    running.quiet().await;
    let calls = target.arrived();
    let ns: Vec<u64> = calls.iter().map(Call::n).collect();
    assert_eq!(ns, [1, 1, 1, 1, 1, 2]);
    assert!(calls.iter().all(|call| call.method == "POST" && call.path == "/price?as={json}"));
    let keys: HashSet<&str> = calls.iter().map(|call| call.idempotency_key.as_str()).collect();
    assert_eq!(keys.len(), 2, "one a delivery: {keys:?}");
    running.expect_books(delivered(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_throws_to_the_end_leaves_a_dead_letter_without_secrets() {
    let target = Target::start().await;
    let mut world = world(&target);
    world.load().retry.max_attempts = 1;
    // With a good status it is the header that says so.
    target.answer_with("X-Amz-Function-Error", "Unhandled");
    let thrown = json!({ "errorType": "Refused", "errorMessage": format!("not with {SECRET}") });
    target.behave(move |_| (200, thrown.clone()));
    let running = world.open().await;
    running.publish([("A".to_owned(), 1)]).await;
    running.quiet().await;
    assert_eq!(target.arrived().len(), 2);
    let dead = running.dead().await;
    let attribute = |name: &str| dead[0].attribute(name).unwrap_or_default().to_owned();
    assert_eq!(attribute("TARGET_ARN"), "arn:aws:lambda:local:000000000000:function:price");
    assert_eq!(attribute("ERROR_CODE"), "ERROR_FROM_TARGET");
    assert_eq!(attribute("EXHAUSTED_RETRY_CONDITION"), "MaximumRetryAttempts");
    assert!(attribute("ERROR_MESSAGE").contains("not with"), "{}", attribute("ERROR_MESSAGE"));
    let rows = running.engine.store.messages(Default::default(), MessageId(0), 10).await.unwrap();
    let written = format!("{rows:?}");
    assert!(written.contains("Refused") && !written.contains(SECRET), "{written}");
    target.answer_with("X-Fine", "yes");
    target.behave(|_| (200, json!({})));
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 1);
    running.quiet().await;
    running.expect_books(delivered(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_says_which_items_of_a_batch_failed() {
    let target = Target::start().await;
    let mut world = world(&target);
    world.load().batch = Some(BatchSpec { size: 4, window_ms: 500, max_bytes: 1_000_000 });
    let mut first = true;
    target.behave(move |call| {
        let items = call.body.as_array().unwrap().len();
        if !std::mem::replace(&mut first, false) {
            return (200, json!({ "batchItemFailures": [] }));
        }
        assert_eq!(items, 4);
        let failed = json!([{ "itemIdentifier": "1" }, { "itemIdentifier": 3 }]);
        (200, json!({ "batchItemFailures": failed }))
    });
    let running = world.open().await;
    let products = (0..4).map(|n| json!({ "sku": format!("P-{n}"), "n": n }));
    running.publish_at_once(products).await;
    running.quiet().await;
    let calls = target.arrived();
    let ns = |body: &Value| -> Vec<u64> {
        body.as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()).collect()
    };
    assert_eq!(ns(&calls[0].body), [0, 1, 2, 3]);
    let mut again: Vec<u64> = calls[1..].iter().flat_map(|call| ns(&call.body)).collect();
    again.sort_unstable();
    assert_eq!(again, [1, 3]);
    running.expect_books(delivered(4)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_can_be_paused_and_its_payload_skipped_when_unchanged() {
    let target = Target::start().await;
    let mut world = world(&target);
    world.load().skip_unchanged = true;
    let running = world.open().await;
    let engine = &running.engine;
    let id = engine.resource_named(ResourceKind::Destination, "function:price").unwrap();
    engine.pause(id, "tester", "not now").await.unwrap();
    running.publish([("A".to_owned(), 1)]).await;
    assert!(engine.drain(id, Duration::from_secs(60)).await.drained);
    assert_eq!((running.totals("load").await.pending, target.arrived()), (1, vec![]));
    engine.unpause(id, "tester").await.unwrap();
    running.quiet().await;
    running.publish([("A".to_owned(), 1)]).await;
    running.quiet().await;
    assert_eq!(target.arrived().len(), 1);
    let expected = Totals { matched: 2, delivered: 1, unchanged: 1, ..Totals::default() };
    running.expect_books(expected).await;
}
