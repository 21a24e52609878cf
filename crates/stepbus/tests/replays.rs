//! A replay by the real binary, which dies in the middle of it.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::taker::Taker;
use common::{Server, totals, wait_for};
use serde_json::{Value, json};

const PROJECT: &str = r#"
name: again
buses:
  prices: {}
destinations:
  shop: { method: PUT, url: "${URL}/products/{sku}" }
subscriptions:
  load:
    bus: prices
    pattern: { detail-type: [changed] }
    key: "{% $event.detail.sku %}"
    transform: "{% $merge([$event.detail, { 'replay': $event.`replay-name` }]) %}"
    target: { destination: shop }
    order: fifo
  count:
    bus: prices
    pattern: { detail-type: [changed] }
    target: { queue: counted }
"#;

const EVENTS: usize = 60;
const KEYS: usize = 7;
/// The replay has ten events a commit, so that it passes each point six times.
const RATE: usize = 100;

struct Ground {
    folder: tempfile::TempDir,
    taker: Taker,
}

impl Ground {
    /// With all events delivered once.
    fn prepare() -> Ground {
        let ground = Ground {
            folder: tempfile::tempdir().unwrap(),
            taker: Taker::start(|_| (200, json!({}))),
        };
        std::fs::write(ground.project(), PROJECT).unwrap();
        let server = ground.serve(None).unwrap();
        let entries: Vec<Value> = (0..EVENTS)
            .map(|n| {
                let detail = json!({ "sku": format!("P-{}", n % KEYS), "n": n });
                json!({ "bus": "prices", "source": "t", "detail-type": "changed", "detail": detail })
            })
            .collect();
        server.post("/admin/events", &json!({ "entries": entries }));
        server.all_finished();
        server.kill();
        ground
    }

    fn project(&self) -> PathBuf {
        self.folder.path().join("stepbus.yaml")
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn serve(&self, crash_at: Option<&str>) -> Option<Server> {
        self.taker.abandoned();
        let environment = [("URL", self.taker.url.as_str())];
        Server::launch(&self.project(), &self.data(), environment, crash_at)
    }

    /// Nothing twice and nothing left out, in the order of each key.
    fn expect_whole(&self, server: Server, replay: &str) {
        wait_for("the end of the replay", || {
            let view = server.get(&format!("/admin/replays/{replay}"));
            assert_ne!(view["state"], "FAILED", "{view}");
            (view["state"] == "COMPLETED").then_some(())
        });
        server.all_finished();
        let view = server.get(&format!("/admin/replays/{replay}"));
        assert_eq!(view["replayed"], EVENTS);
        let run = server.get(&format!("/admin/runs/{}", view["run"].as_str().unwrap()));
        for subscription in ["load", "count"] {
            let line = totals(&run, subscription);
            let told = (&line["matched"], &line["delivered"], &line["pending"]);
            assert_eq!(told, (&json!(EVENTS), &json!(EVENTS), &json!(0)), "{line}");
        }
        self.expect_calls(replay);
        // What stays inside is exactly once: each event, and each copy of it.
        let queues = server.get("/admin/queues");
        let counted = queues.as_array().unwrap().iter().find(|line| line["queue"] == "counted");
        assert_eq!(counted.unwrap()["messages"], 2 * EVENTS);
        server.kill();
        common::assert_audit_finds_nothing(&self.data());
    }

    /// The target may have got one twice, under the same key; but none out of order.
    fn expect_calls(&self, replay: &str) {
        let calls = self.taker.calls();
        let replayed = calls.iter().filter(|call| call.body["replay"] == replay);
        let mut keys: HashMap<u64, String> = HashMap::new();
        let mut last: HashMap<String, u64> = HashMap::new();
        for call in replayed {
            let n = call.body["n"].as_u64().unwrap();
            let key = keys.entry(n).or_insert_with(|| call.idempotency_key().to_owned());
            assert_eq!(*key, call.idempotency_key(), "one delivery for event {n}");
            let before = last.insert(call.path.clone(), n);
            assert!(before <= Some(n), "{n} after {before:?}");
        }
        assert_eq!(keys.len(), EVENTS);
    }
}

fn begin(server: &Server, name: &str) {
    let spec = json!({
        "name": name, "bus": "prices", "from": "2020-01-01T00:00:00Z",
        "to": "2099-01-01T00:00:00Z", "rate": RATE,
    });
    server.post("/admin/replays", &spec);
}

#[test]
fn dies_at_the_points_of_a_replay_and_goes_on() {
    for points in [
        &["replay.before_commit:1"] as &[_],
        &["replay.after_commit:1"],
        &["replay.before_commit:6"],
        // Again and again in one replay.
        &["replay.after_commit:3", "replay.before_commit:1", "replay.after_commit:1"],
    ] {
        let ground = Ground::prepare();
        let (first, later) = points.split_first().unwrap();
        let server = ground.serve(Some(first)).unwrap();
        begin(&server, "again");
        server.died();
        for point in later {
            if let Some(server) = ground.serve(Some(point)) {
                server.died();
            }
        }
        ground.expect_whole(ground.serve(None).unwrap(), "again");
    }
}

#[test]
fn killed_in_the_middle_of_a_replay() {
    let ground = Ground::prepare();
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let before = ground.taker.calls().len();
        let server = ground.serve(None).unwrap();
        if number == 0 {
            begin(&server, "one");
        }
        // On a machine that stalls it may be over sooner than the kill comes.
        let over = || server.get("/admin/replays/one")["state"] == "COMPLETED";
        wait_for("some of it", || {
            (ground.taker.calls().len() >= before + 15 || over()).then_some(())
        });
        server.kill();
        assert!(Path::new(&ground.data()).exists(), "{name}");
    }
    ground.expect_whole(ground.serve(None).unwrap(), "one");
}
