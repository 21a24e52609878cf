//! Many events over many subscriptions, towards targets that fail, throttle, stall and reset, with
//! the process killed again and again: nothing is lost, and every key keeps its order.
//!
//! `cargo xtask soak` runs the big one.

#![allow(clippy::print_stderr, reason = "figures, shown when asked for")]

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::{Sandbox, Server};
use serde_json::{Value, json};

/// Business keys of one subscription.
const KEYS: u64 = 40;
/// Events of one call.
const ENTRIES: u64 = 500;
/// Events not delivered yet, above which nothing more is published.
const AHEAD: u64 = 50_000;

#[derive(Debug, Clone, Copy)]
struct Soak {
    events: u64,
    subscriptions: u64,
    kills: u64,
    faults: f64,
}

/// Three of five subscriptions are FIFO by key, the others take what comes.
fn is_fifo(subscription: u64) -> bool {
    subscription % 5 < 3
}

fn project(folder: &Path, subscriptions: u64) -> PathBuf {
    let mut text = String::from("name: soak\nbuses:\n  soak: { retention: 1d }\ndestinations:\n");
    for number in 0..subscriptions {
        let _ = writeln!(text, "  d{number}: {{ url: \"${{SINK_URL}}/s{number}\", timeout: 1s }}");
    }
    text.push_str("subscriptions:\n");
    for number in 0..subscriptions {
        let order = if is_fifo(number) { "fifo" } else { "unordered" };
        let _ = writeln!(
            text,
            "  s{number}:\n    bus: soak\n    pattern: {{ detail: {{ s: [{number}] }} }}\n    \
             key: \"{{% $event.detail.key %}}\"\n    \
             transform: {{ key: \"{{% $event.detail.key %}}\", n: \"{{% $event.detail.n %}}\" }}\n    \
             target: {{ destination: d{number} }}\n    order: {order}\n    \
             dead_letter: failures"
        );
    }
    let path = folder.join("stepbus.yaml");
    std::fs::write(&path, text).unwrap();
    path
}

impl Soak {
    /// The event of that number: subscriptions and keys take turns, n counts up within a key.
    fn event(&self, number: u64) -> Value {
        let (subscription, turn) = (number % self.subscriptions, number / self.subscriptions);
        json!({
            "bus": "soak", "source": "soak", "detail-type": "soak",
            "detail": { "s": subscription, "key": format!("k{}", turn % KEYS), "n": turn / KEYS + 1 },
        })
    }

    fn run(self) {
        let faults = self.faults.to_string();
        let sandbox = Sandbox::start(&["--products", "1", "--faults", &faults, "--slow-ms", "300"]);
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path(), self.subscriptions);
        let data = folder.path().join("data");
        let began = Instant::now();
        let mut server = Server::start(&project, &data, &sandbox);
        let mut memory = Vec::new();
        let (mut published, mut killed) = (0, 0);
        // The deaths come in the first half: the second is one long life, whose memory is watched.
        let half = self.events / 2;
        loop {
            let done = received(&sandbox);
            if killed < self.kills && done >= half * (killed + 1) / (self.kills + 1) {
                server.kill();
                server = Server::start(&project, &data, &sandbox);
                killed += 1;
                continue;
            }
            if done >= half && killed == self.kills {
                memory.push((done, server.resident_mib()));
            }
            if published < self.events && published < done + AHEAD {
                let until = (published + ENTRIES).min(self.events);
                let entries: Vec<Value> = (published..until).map(|n| self.event(n)).collect();
                let answer = server.post("/admin/events", &json!({ "entries": entries }));
                assert_eq!(answer["failed"], 0, "{answer:#}");
                published = until;
            } else if published == self.events && server.open_runs() == Some(0) {
                break;
            } else {
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
        }
        eprintln!(
            "{} events in {:.0} s, {killed} kills; faults met: {}",
            self.events,
            began.elapsed().as_secs_f64(),
            sandbox.ask("stats")["sink"]["faults"]
        );
        self.check(&sandbox, &server);
        self.check_memory(&memory, server.resident_mib());
        server.kill();
        common::assert_audit_finds_nothing(&data);
    }

    fn check(self, sandbox: &Sandbox, server: &Server) {
        let sink = sandbox.ask("sink");
        for number in 0..self.subscriptions {
            let name = format!("s{number}");
            let expected = (0..self.events).filter(|n| n % self.subscriptions == number).count();
            let book = &sink[&name];
            assert_eq!(book["distinct"], expected, "{name}: {book:#}");
            if is_fifo(number) {
                assert_eq!(book["disordered"], 0, "{name}: {book:#}");
            }
        }
        let totals = server.get("/admin/subscriptions");
        let column = |name: &str| -> u64 {
            let rows = totals.as_array().unwrap().iter();
            rows.map(|row| row[name].as_u64().unwrap()).sum()
        };
        assert_eq!(column("matched"), self.events);
        assert_eq!(column("delivered"), self.events, "{totals:#}");
    }

    /// Once the last life has done a fifth of its work, memory grows no more.
    fn check_memory(self, memory: &[(u64, f64)], last: f64) {
        let Some((begin, _)) = memory.first().copied() else { return };
        let fifth = begin + (self.events - begin) / 5;
        let Some((_, early)) = memory.iter().find(|(done, _)| *done >= fifth) else { return };
        eprintln!(
            "resident memory: {early:.0} MiB after a fifth of the last life, {last:.0} at its end"
        );
        if self.events >= 100_000 {
            assert!(last <= 1.2 * early, "memory grew from {early:.0} to {last:.0} MiB");
        }
    }
}

/// Distinct deliveries that arrived.
fn received(sandbox: &Sandbox) -> u64 {
    let sink = sandbox.ask("sink");
    sink.as_object().unwrap().values().map(|book| book["distinct"].as_u64().unwrap()).sum()
}

#[test]
fn a_small_soak() {
    Soak { events: 3_000, subscriptions: 10, kills: 2, faults: 0.1 }.run();
}

#[test]
#[ignore = "full tier: 200,000 events, ten kills; `cargo xtask soak` chooses other numbers"]
fn a_big_soak() {
    let number = |name: &str, default: u64| {
        std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
    };
    let soak = Soak {
        events: number("SOAK_EVENTS", 200_000),
        subscriptions: number("SOAK_SUBSCRIPTIONS", 50),
        kills: number("SOAK_KILLS", 10),
        faults: 0.1,
    };
    soak.run();
}
