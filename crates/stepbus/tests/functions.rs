//! A function as a target, by the real binary.

mod common;

use common::Server;
use common::taker::Taker;
use serde_json::{Value, json};

const PROJECT: &str = r#"
name: prices
buses:
  prices: {}
functions:
  reprice: { url: "${URL}/reprice", timeout: 30s }
subscriptions:
  changed:
    bus: prices
    pattern: { detail-type: [changed] }
    key: "{% $event.detail.sku %}"
    transform: "{% $event.detail %}"
    target: { function: reprice }
    order: fifo
    dead_letter: failures
"#;

#[test]
fn called_again_under_the_same_key_after_a_crash() {
    let mut count = 0;
    let taker = Taker::start(move |_| {
        count += 1;
        match count {
            2 => (500, json!({ "errorType": "Busy", "errorMessage": "later" })),
            _ => (200, json!({})),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    let data = folder.path().join("data");
    let environment = [("URL", taker.url.as_str())];
    let entry = json!({
        "bus": "prices", "source": "shop", "detail-type": "changed", "detail": { "sku": "A" }
    });
    let server = Server::launch(&project, &data, environment, Some("delivery.after_call")).unwrap();
    server.post("/admin/events", &json!({ "entries": [entry] }));
    server.died();
    let server = Server::start_with(&project, &data, environment);
    server.all_finished();
    let calls = taker.calls();
    assert_eq!(calls.len(), 3, "before the crash, in vain after it, and again: {calls:?}");
    assert!(calls.iter().all(|call| *call == calls[0]), "{calls:?}");
    assert_eq!(calls[0].path, "/reprice");
    assert_eq!(calls[0].body, json!({ "sku": "A" }));
    assert!(!calls[0].idempotency_key().is_empty());
    let lines = server.get("/admin/subscriptions");
    let line = &lines.as_array().unwrap()[0];
    let stands = |name: &str| line[name].as_u64();
    assert_eq!((stands("matched"), stands("delivered")), (Some(1), Some(1)), "{line}");
    let names: Vec<Value> = server
        .get("/admin/destinations")
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["destination"].clone())
        .collect();
    assert_eq!(names, ["function:reprice"]);
    server.kill();
    common::assert_audit_finds_nothing(&data);
}
