//! A batch that the target applied and answered with 429, by the real binary, which dies then.

mod common;

use common::Server;
use common::taker::{Taken, Taker};
use serde_json::{Value, json};

const PROJECT: &str = r#"
name: bulk
buses:
  prices: {}
destinations:
  shop: { method: POST, url: "${URL}/bulk" }
subscriptions:
  load:
    bus: prices
    pattern: { detail-type: [changed] }
    key: "{% $event.detail.sku %}"
    transform: "{% $event.detail %}"
    target: { destination: shop }
    batch: { size: 5, window: 1s }
"#;

fn numbers(call: &Taken) -> Vec<u64> {
    call.body.as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()).collect()
}

fn publish(server: &Server, numbers: std::ops::Range<u64>) {
    let entries: Vec<Value> = numbers
        .map(|n| {
            let detail = json!({ "sku": format!("P-{n}"), "n": n });
            json!({ "bus": "prices", "source": "t", "detail-type": "changed", "detail": detail })
        })
        .collect();
    server.post("/admin/events", &json!({ "entries": entries }));
}

#[test]
fn comes_again_as_it_was_under_the_same_key() {
    let mut first = true;
    let taker = Taker::start(move |_| match std::mem::replace(&mut first, false) {
        true => (429, json!({})),
        false => (200, json!({})),
    });
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("stepbus.yaml");
    std::fs::write(&project, PROJECT).unwrap();
    let data = folder.path().join("data");
    let environment = [("URL", taker.url.as_str())];
    let point = Some("delivery.after_commit:1");
    let server = Server::launch(&project, &data, environment, point).unwrap();
    publish(&server, 0..3);
    server.died();
    let calls = taker.calls();
    assert_eq!(calls.iter().map(numbers).collect::<Vec<_>>(), [[0, 1, 2]]);
    let server = Server::start_with(&project, &data, environment);
    // These would have filled the batch up.
    publish(&server, 3..9);
    server.all_finished();
    let (again, others): (Vec<Taken>, Vec<Taken>) = taker.calls()[1..]
        .iter()
        .cloned()
        .partition(|call| call.idempotency_key() == calls[0].idempotency_key());
    assert_eq!(again, calls, "once more, as it was");
    let mut rest: Vec<u64> = others.iter().flat_map(numbers).collect();
    rest.sort_unstable();
    assert_eq!(rest, [3, 4, 5, 6, 7, 8]);
    server.kill();
    common::assert_audit_finds_nothing(&data);
}
