//! What was acknowledged survives: the process dies at every named point and at any moment.

#![allow(clippy::print_stderr, reason = "shown when a test fails")]

mod common;

use std::path::{Path, PathBuf};

use common::{SYNC_KEY, Sandbox, Server, wait_for, wait_long};
use stepbus_model::crash::POINTS;

/// Calls the sync until a run is acknowledged; the same key makes it one run however often.
fn accepted(server: &Server) -> Option<String> {
    let headers = [("x-api-key", SYNC_KEY), ("idempotency-key", "once")];
    let (status, answer) = server.call("products", &headers)?;
    assert_eq!(status, 202, "{answer}");
    Some(answer["run"].as_str()?.to_owned())
}

/// The project whose subscriptions soon have too many deliveries and read the log by cursor.
fn overfull(folder: &Path) -> PathBuf {
    let bound = "name: product-sync\nlimits: { subscription_pending: 5 }";
    common::changed_example(folder, &[("name: product-sync", bound)])
}

/// After the last restart everything comes to its end and the books say so.
fn comes_home(project: &Path, data: &Path, sandbox: &Sandbox) {
    let server = Server::start(project, data, sandbox);
    accepted(&server).unwrap();
    server.all_finished();
    assert_eq!(server.get("/admin/runs").as_array().unwrap().len(), 1, "one key, one run");
    let running = server.get("/admin/executions?status=RUNNING");
    assert!(running.as_array().unwrap().is_empty(), "stuck: {running:#}");
    sandbox.assert_verified();
    server.kill();
    common::assert_audit_finds_nothing(data);
}

fn dies_at(point: &str, nth: u32) {
    let sandbox = Sandbox::start(&["--products", "30"]);
    let data = tempfile::tempdir().unwrap();
    let at = format!("{point}:{nth}");
    let folder = tempfile::tempdir().unwrap();
    let by_cursor = point.starts_with("cursor.");
    let project = if by_cursor { overfull(folder.path()) } else { common::example() };
    let server = Server::try_start(&project, data.path(), &sandbox, Some(&at));
    if let Some(mut server) = server {
        accepted(&server);
        // A sync that passes the point fewer times ends, and the server is killed after it.
        wait_for(&format!("the death at {at}"), || {
            server.open_runs().is_none_or(|open| open == 0).then_some(())
        });
        server.kill();
    }
    comes_home(&project, data.path(), &sandbox);
}

#[test]
fn dies_once_at_every_named_point() {
    for point in POINTS {
        eprintln!("{point}");
        dies_at(point, 1);
    }
}

#[test]
#[ignore = "full tier: later passes of every point"]
fn dies_later_at_every_named_point() {
    for point in POINTS {
        for nth in [2, 9, 25] {
            eprintln!("{point}:{nth}");
            dies_at(point, nth);
        }
    }
}

/// Kills the server again and again while products are under way.
fn killed(project: &Path, products: &str, kills: u32) {
    let sandbox = Sandbox::start(&["--products", products, "--faults", "0.02"]);
    let data = tempfile::tempdir().unwrap();
    for number in 0..kills {
        let mut server = Server::start(project, data.path(), &sandbox);
        accepted(&server);
        // Somewhere else each time: after so many more requests to the stand-ins.
        let seen = || sandbox.ask("stats")["requests"].as_u64().unwrap();
        let until = seen() + 50 + u64::from(number) * 37 % 400;
        wait_for("some requests", || {
            (server.open_runs() == Some(0) || seen() >= until).then_some(())
        });
        server.kill();
    }
    comes_home(project, data.path(), &sandbox);
}

#[test]
fn killed_three_times() {
    killed(&common::example(), "300", 3);
}

#[test]
fn killed_while_subscriptions_read_the_log() {
    let folder = tempfile::tempdir().unwrap();
    killed(&overfull(folder.path()), "200", 3);
}

#[test]
#[ignore = "full tier: twenty kills in a sync of 2,000"]
fn killed_twenty_times() {
    killed(&common::example(), "2000", 20);
}

#[test]
#[ignore = "full tier: 100,000 products, some minutes"]
fn a_hundred_thousand_products_killed_three_times() {
    let sandbox = Sandbox::start(&["--products", "100000", "--faults", "0.02"]);
    let data = tempfile::tempdir().unwrap();
    let project = common::example();
    let requests = || sandbox.ask("stats")["requests"].as_u64().unwrap();
    for part in 1..=3 {
        let server = Server::start(&project, data.path(), &sandbox);
        accepted(&server);
        // A sync of these makes about 750,000 requests.
        let until = part * 150_000;
        wait_long("a quarter of the requests", || (requests() >= until).then_some(()));
        server.kill();
    }
    let mut server = Server::start(&project, data.path(), &sandbox);
    let run = accepted(&server).unwrap();
    wait_long("the end of the run", || (server.open_runs() == Some(0)).then_some(()));
    let run = server.get(&format!("/admin/runs/{run}"));
    for line in run["subscriptions"].as_array().unwrap() {
        let count = |name: &str| line[name].as_u64().unwrap();
        let columns = ["delivered", "unchanged", "stale", "dead_lettered", "discarded", "pending"];
        assert_eq!(count("matched"), columns.map(count).iter().sum::<u64>(), "{line}");
        if line["subscription"].as_str().unwrap().starts_with("load-") {
            assert_eq!(count("matched"), 100_000, "{line}");
        }
    }
    sandbox.assert_verified();
    server.kill();
    common::assert_audit_finds_nothing(data.path());
}
