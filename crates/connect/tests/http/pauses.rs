//! Throttling, circuits, rates and concurrency: shared by all who deliver.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::host::{Host, Reply, answer, connect, connect_with, failure, request, verdict, with};
use serde_json::json;
use stepbus_connect::{CallSpec, Circuit, Connect, ConnectionSpec, DestinationSpec, Report};
use stepbus_model::Limits;

fn spec(host: &Host) -> DestinationSpec {
    DestinationSpec::call("target", None, CallSpec::new("POST", &host.url("/")))
}

async fn deliver(connect: &Connect) -> Report {
    connect.deliver("target", request(json!({}))).await
}

#[tokio::test]
async fn throttling_pauses_the_destination_for_everybody() {
    let host = Host::start(|_, number| match number {
        0 => with(429, &[("retry-after", "2")], "slow down"),
        2 => with(503, &[("retry-after", "0")], ""),
        _ => answer(200, ""),
    })
    .await;
    let (connect, clock) = connect();
    connect.set_destination(spec(&host)).unwrap();
    assert_eq!(verdict(&deliver(&connect).await), "throttled 2000");
    clock.advance(Duration::from_millis(1_999));
    let other = deliver(&connect.clone()).await;
    assert_eq!(verdict(&other), "throttled 2000");
    assert!(failure(&other).message.contains("slow down"), "the cause is told");
    assert_eq!(host.asked().len(), 1, "nobody calls before the time");
    let health = &connect.health().destinations[0];
    assert_eq!(health.paused, Duration::from_millis(1_999));
    assert_eq!((health.throttles, health.calls), (1, 1));
    clock.advance(Duration::from_millis(1));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_eq!(verdict(&deliver(&connect).await), "throttled 2100", "the floor holds for 0");
    assert_eq!(host.asked().len(), 3);
}

/// Ends only when as many calls are in flight at once as may be, and never sees more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_pause_few_calls_come_first() {
    let throttle = Arc::new(AtomicUsize::new(1));
    let told = Arc::clone(&throttle);
    let host = Host::start(move |_, _| match told.swap(0, Ordering::SeqCst) {
        1 => with(429, &[("retry-after", "1")], ""),
        _ => Reply::Hang,
    })
    .await;
    let (connect, clock) = connect();
    connect.set_destination(spec(&host)).unwrap();
    assert_eq!(verdict(&deliver(&connect).await), "throttled 1000");
    clock.advance(Duration::from_secs(1));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let connect = connect.clone();
            tokio::spawn(async move { deliver(&connect).await })
        })
        .collect();
    let waiting = || connect.health().destinations[0].waiting;
    while waiting() < 48 {
        tokio::task::yield_now().await;
    }
    assert_eq!(connect.health().destinations[0].in_flight, 2, "resume_calls");
    for call in calls {
        call.abort();
        let _ = call.await;
    }
    let health = &connect.health().destinations[0];
    assert_eq!((health.in_flight, health.waiting), (0, 0), "aborted calls give all back");
}

#[tokio::test]
async fn the_circuit_opens_and_one_probe_closes_it() {
    let host = Host::start(|_, number| answer(if number < 4 { 500 } else { 200 }, "")).await;
    let limits = Limits { breaker_failures: 3, ..Limits::DEFAULT };
    let (connect, clock) = connect_with(limits);
    connect.set_destination(spec(&host)).unwrap();
    for _ in 0..3 {
        assert_eq!(verdict(&deliver(&connect).await), "retryable ERROR_FROM_TARGET");
    }
    assert_eq!(verdict(&deliver(&connect).await), "throttled 500");
    assert_eq!(connect.health().destinations[0].circuit, Circuit::Open);
    clock.advance(Duration::from_millis(500));
    assert_eq!(verdict(&deliver(&connect).await), "retryable ERROR_FROM_TARGET", "the probe");
    assert_eq!(verdict(&deliver(&connect).await), "throttled 1500");
    clock.advance(Duration::from_secs(1));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_eq!(connect.health().destinations[0].circuit, Circuit::Closed);
    assert_eq!(host.asked().len(), 5, "no attempt was made while it was open");
}

#[tokio::test]
async fn concurrency_is_shared_and_connections_bound_their_destinations() {
    let in_flight = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (now, max) = (Arc::clone(&in_flight), Arc::clone(&most));
    let host = Host::start(move |_, _| {
        max.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::yield_now();
        now.fetch_sub(1, Ordering::SeqCst);
        answer(200, "")
    })
    .await;
    let (connect, _) = connect();
    let connection =
        ConnectionSpec { name: "erp".to_owned(), concurrency: Some(1), ..Default::default() };
    connect.set_connection(connection).unwrap();
    let mut calls = Vec::new();
    for name in ["a", "b"] {
        let call = CallSpec::new("POST", &host.url("/"));
        let rate = "2000/s burst 5".parse().ok();
        let spec = DestinationSpec {
            concurrency: Some(3),
            rate,
            ..DestinationSpec::call(name, Some("erp"), call)
        };
        connect.set_destination(spec).unwrap();
        for _ in 0..20 {
            let connect = connect.clone();
            let call = async move { connect.deliver(name, request(json!({}))).await };
            calls.push(tokio::spawn(call));
        }
    }
    for call in calls {
        assert_eq!(verdict(&call.await.unwrap()), "delivered 200");
    }
    assert_eq!((host.asked().len(), most.load(Ordering::SeqCst)), (40, 1));
}

#[tokio::test]
async fn a_rate_is_kept_by_all_together() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let (connect, _) = connect();
    connect.set_destination(DestinationSpec { rate: "100/s".parse().ok(), ..spec(&host) }).unwrap();
    let started = tokio::time::Instant::now();
    let calls: Vec<_> = (0..11)
        .map(|_| {
            let connect = connect.clone();
            tokio::spawn(async move { deliver(&connect).await })
        })
        .collect();
    for call in calls {
        assert_eq!(verdict(&call.await.unwrap()), "delivered 200");
    }
    assert!(started.elapsed() >= Duration::from_millis(95), "{:?}", started.elapsed());
}

#[tokio::test]
async fn replacing_a_destination_keeps_its_pause_unless_it_calls_another() {
    let host = Host::start(|_, _| with(429, &[("retry-after", "5")], "")).await;
    let (connect, _) = connect();
    connect.set_destination(spec(&host)).unwrap();
    assert_eq!(verdict(&deliver(&connect).await), "throttled 5000");
    let wider = DestinationSpec { concurrency: Some(99), ..spec(&host) };
    connect.set_destination(wider).unwrap();
    assert_eq!(verdict(&deliver(&connect).await), "throttled 5000");
    assert_eq!(connect.health().destinations[0].concurrency, 99);
    assert_eq!(host.asked().len(), 1);
    let other = CallSpec::new("POST", &host.url("/other"));
    connect.set_destination(DestinationSpec::call("target", None, other)).unwrap();
    assert_eq!(verdict(&deliver(&connect).await), "throttled 5000");
    assert_eq!(host.asked().len(), 2, "another URL is called at once");
    connect.remove_destination("target");
    assert_eq!(verdict(&deliver(&connect).await), "permanent NO_RESOURCE");
}
