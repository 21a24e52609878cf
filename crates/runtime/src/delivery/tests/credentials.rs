//! Answers that ask for other credentials or for patience, and none at all, to deliveries as they
//! are kept.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use stepbus_connect::{Auth, ConnectionSpec, OAuth, OAuthStyle, Params, Secret};
use stepbus_model::Totals;

use super::world::{Call, Target, World, until};

fn delivered(count: i64) -> Totals {
    Totals { matched: count, delivered: count, ..Totals::default() }
}

fn others(calls: &[Call]) -> Vec<&Call> {
    calls.iter().filter(|call| call.path != "/token").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_renewed_within_the_attempt() {
    for refusal in [401, 407] {
        let target = Target::start().await;
        let mut world = World::new(&target);
        let oauth = OAuth {
            token_url: format!("{}/token", target.url),
            client_id: "me".into(),
            client_secret: Secret::new("s3cr3t"),
            scopes: Vec::new(),
            params: Params::default(),
            style: OAuthStyle::Form,
        };
        world.declared.connections.push(ConnectionSpec {
            name: "shop".into(),
            auth: Auth::OAuth(Box::new(oauth)),
            ..ConnectionSpec::default()
        });
        world.declared.destinations[0].connection = Some("shop".into());
        // No attempt may be used up by it.
        world.load().retry.max_attempts = 0;
        let given = Arc::new(AtomicU64::new(0));
        let tokens = given.clone();
        let mut refused = false;
        target.behave(move |call| {
            if call.path == "/token" {
                let number = tokens.fetch_add(1, Ordering::SeqCst);
                let token = format!("token-{number}");
                return (200, json!({ "access_token": token, "expires_in": 3_600 }));
            }
            if std::mem::replace(&mut refused, true) {
                (200, json!({}))
            } else {
                (refusal, json!({}))
            }
        });
        let running = world.open().await;
        running.publish([("A".to_owned(), 1)]).await;
        running.quiet().await;
        let arrived = target.arrived();
        let calls = others(&arrived);
        assert_eq!(given.load(Ordering::SeqCst), 2, "{refusal}");
        assert_eq!(calls.len(), 2, "{calls:?}");
        assert_eq!(calls[0].idempotency_key, calls[1].idempotency_key);
        running.expect_books(delivered(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_got_no_answer_in_time_comes_again_under_the_same_key() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.declared.destinations[0].timeout = Some(Duration::from_millis(50));
    target.close_gate();
    let running = world.open().await;
    running.publish([("A".to_owned(), 1)]).await;
    until("it was tried three times", async || target.arrived().len() >= 3).await;
    world.declared.destinations[0].timeout = Some(Duration::from_secs(60));
    running.engine.reload(&world.declared).await.unwrap();
    target.open_gate();
    running.quiet().await;
    let arrived = target.arrived();
    let keys: HashSet<&str> = arrived.iter().map(|call| call.idempotency_key.as_str()).collect();
    assert_eq!(keys.len(), 1, "{arrived:?}");
    running.expect_books(delivered(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_and_throttled_comes_again_under_the_same_key() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().retry.max_attempts = 0;
    target.answer_with("Retry-After", "3600");
    let shop: Arc<parking_lot::Mutex<Vec<(String, Value)>>> = Arc::default();
    let applied = shop.clone();
    let apply = move |call: &Call| {
        let mut applied = applied.lock();
        if !applied.iter().any(|(key, _)| *key == call.idempotency_key) {
            applied.push((call.idempotency_key.clone(), call.body.clone()));
        }
    };
    let first = apply.clone();
    target.behave(move |call| {
        first(call);
        (429, json!({}))
    });
    let running = world.open().await;
    running.publish([("A".to_owned(), 1)]).await;
    until("it is throttled", async || running.engine.delivery_measures()[0].paused_until.is_some())
        .await;
    running.stop().await;
    target.answer_with("X-Fine", "yes");
    target.behave(move |call| {
        apply(call);
        (200, json!({}))
    });
    let running = world.open().await;
    running.quiet().await;
    let calls = target.arrived();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert_eq!(shop.lock().len(), 1, "once for a target that knows keys");
    running.expect_books(delivered(1)).await;
}
