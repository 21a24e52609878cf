//! The log as it is read.

use std::sync::Arc;

use serde_json::json;
use stepbus_model::{EventId, Timestamp};
use stepbus_pattern::Pattern;

use crate::LogQuery;
use crate::testing::{LOOK, World};

fn query(world: &crate::testing::Running) -> LogQuery {
    let bus = world.engine.catalogue().buses["catalog"].id;
    LogQuery { bus, from: EventId(0), since: None, until: None, pattern: None, limit: 1_000 }
}

/// Whoever reads by cursor while others publish misses nothing and sees nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_appears_behind_a_reader() {
    let world = World::empty();
    let running = Arc::new(world.open().await);
    let publishers: Vec<_> = (0..8_u64)
        .map(|publisher| {
            let running = running.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    let details = (0..=n % 3).map(|_| json!({ "publisher": publisher, "n": n }));
                    running.publish_details(details).await;
                }
            })
        })
        .collect();
    let mut seen = Vec::new();
    let mut at = query(&running);
    let mut quiet = 0;
    while quiet < 2 {
        quiet =
            if publishers.iter().all(tokio::task::JoinHandle::is_finished) { quiet + 1 } else { 0 };
        let horizon = running.engine.store.horizon();
        let page = running.engine.log(&at).await.unwrap();
        at.from = page.next.unwrap_or(horizon.max(at.from));
        if let Some(last) = page.events.last() {
            at.from = at.from.max(EventId(last.id.0 + 1));
        }
        seen.extend(page.events.iter().map(|event| event.id));
        tokio::time::sleep(LOOK).await;
    }
    let all = running.engine.log(&query(&running)).await.unwrap().events;
    let all: Vec<EventId> = all.iter().map(|event| event.id).collect();
    assert_eq!(all.len(), 8 * 99);
    assert_eq!(seen, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_time_and_pattern() {
    let mut world = World::empty();
    world.limits.log_page_events = 7;
    let running = world.open().await;
    running.publish_products(0, 10).await;
    world.clock.advance(std::time::Duration::from_secs(600));
    let since = running.engine.now();
    running.publish_products(10, 10).await;
    world.clock.advance(std::time::Duration::from_secs(600));
    let until = running.engine.now();
    running.publish_products(20, 10).await;
    let numbers = async |query: LogQuery| {
        let page = running.engine.log(&query).await.unwrap();
        let number = |event: &stepbus_store::EventRow| {
            let value: serde_json::Value = serde_json::from_slice(&event.envelope).unwrap();
            value["detail"]["n"].as_u64().unwrap()
        };
        (page.events.iter().map(number).collect::<Vec<_>>(), page.next)
    };
    let all = query(&running);
    let (found, next) = numbers(LogQuery { since: Some(since), ..all.clone() }).await;
    assert_eq!((found, next), ((10..30).collect(), None));
    let (found, _) =
        numbers(LogQuery { since: Some(since), until: Some(until), ..all.clone() }).await;
    assert_eq!(found, (10..20).collect::<Vec<_>>());
    let pattern = Pattern::parse(br#"{"detail":{"n":[{"numeric":[">=",15]}]}}"#).unwrap();
    let few = LogQuery { pattern: Some(pattern), limit: 4, ..all.clone() };
    let (found, next) = numbers(few.clone()).await;
    assert_eq!(found, [15, 16, 17, 18]);
    let (found, _) = numbers(LogQuery { from: next.unwrap(), ..few }).await;
    assert_eq!(found, [19, 20, 21, 22]);
    let (found, _) = numbers(LogQuery { since: Some(Timestamp(i64::MAX / 2)), ..all }).await;
    assert_eq!(found, Vec::<u64>::new());
}
