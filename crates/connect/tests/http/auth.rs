//! Credentials: sent where they belong, renewed when refused, shown nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::host::{Asked, Host, Reply, answer, connect, failure, json, request, verdict, with};
use serde_json::{Value, json};
use stepbus_connect::{
    CallSpec, Connect, ConnectionSpec, DestinationSpec, ParamValue, Params, Report, Secret,
};

fn register(connect: &Connect, connection: Value, destination: Value) {
    let mut spec: ConnectionSpec = serde_json::from_value(connection).unwrap();
    spec.name = "system".to_owned();
    connect.set_connection(spec).unwrap();
    let mut spec: DestinationSpec = serde_json::from_value(destination).unwrap();
    (spec.name, spec.connection) = ("target".to_owned(), Some("system".to_owned()));
    connect.set_destination(spec).unwrap();
}

async fn deliver(connect: &Connect) -> Report {
    connect.deliver("target", request(json!({ "sku": "A" }))).await
}

fn oauth(host: &Host) -> Value {
    json!({ "auth": { "oauth": {
        "token_url": host.url("/token"), "client_id": "me", "client_secret": "s3cr3t&",
        "scopes": ["a", "b"],
    } } })
}

/// Hands out `token-1`, `token-2`, … and takes only the last.
fn tokens(asked: &Asked, given: &AtomicUsize, lives: u64) -> Option<Reply> {
    if asked.target == "/token" {
        let number = given.fetch_add(1, Ordering::SeqCst) + 1;
        let token = json!({ "access_token": format!("token-{number}"), "expires_in": lives });
        return Some(json(200, token));
    }
    let last = format!("Bearer token-{}", given.load(Ordering::SeqCst));
    (asked.header("authorization") != last).then(|| answer(401, ""))
}

#[tokio::test]
async fn basic_and_api_keys_are_sent() {
    let host = Host::start(|_, _| answer(200, "")).await;
    let call = json!({ "url": host.url("/x?y=1") });
    for (auth, header, expected, target) in [
        (
            json!({ "basic": { "username": "me", "password": "pw" } }),
            "authorization",
            "Basic bWU6cHc=",
            "/x?y=1",
        ),
        (json!({ "api_key": { "header": "X-Key", "value": "k" } }), "x-key", "k", "/x?y=1"),
        (json!({ "api_key": { "query": "key", "value": "k/" } }), "x-key", "", "/x?y=1&key=k%2F"),
    ] {
        let (connect, _) = connect();
        register(&connect, json!({ "auth": auth, "headers": { "X-Shop": 4 } }), call.clone());
        assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
        let asked = host.asked().pop().unwrap();
        assert_eq!((asked.header(header), asked.target.as_str()), (expected, target));
        assert_eq!(asked.header("x-shop"), "4");
    }
}

#[tokio::test]
async fn one_token_serves_all_and_is_renewed_before_it_expires() {
    let given = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&given);
    let host =
        Host::start(move |asked, _| tokens(asked, &told, 600).unwrap_or_else(|| answer(200, "")))
            .await;
    let (connect, clock) = connect();
    register(&connect, oauth(&host), json!({ "url": host.url("/") }));
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let connect = connect.clone();
            tokio::spawn(async move { deliver(&connect).await })
        })
        .collect();
    for call in calls {
        assert_eq!(verdict(&call.await.unwrap()), "delivered 200");
    }
    assert_eq!(given.load(Ordering::SeqCst), 1);
    let form = host.asked().into_iter().find(|asked| asked.target == "/token").unwrap();
    let expected = "grant_type=client_credentials&client_id=me&client_secret=s3cr3t%26&scope=a%20b";
    assert_eq!(form.body, expected);
    clock.advance(Duration::from_secs(539));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_eq!(given.load(Ordering::SeqCst), 1);
    assert_eq!(connect.health().connections[0].token_age, Some(Duration::from_secs(539)));
    clock.advance(Duration::from_secs(1));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_eq!(given.load(Ordering::SeqCst), 2, "60 s before its end");
    // An equal spec, and one that differs elsewhere, keep the token.
    register(&connect, oauth(&host), json!({ "url": host.url("/") }));
    let mut wider = oauth(&host);
    wider["concurrency"] = json!(5);
    register(&connect, wider, json!({ "url": host.url("/") }));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_eq!(given.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_for_all() {
    let given = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&given);
    let host =
        Host::start(move |asked, _| tokens(asked, &told, 600).unwrap_or_else(|| answer(200, "")))
            .await;
    let (connect, _) = connect();
    register(&connect, oauth(&host), json!({ "url": host.url("/") }));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    given.fetch_add(1, Ordering::SeqCst); // The token was rotated behind our back.
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let connect = connect.clone();
            tokio::spawn(async move { deliver(&connect).await })
        })
        .collect();
    for call in calls {
        assert_eq!(verdict(&call.await.unwrap()), "delivered 200");
    }
    assert_eq!(given.load(Ordering::SeqCst), 3, "one more fetch");
    let keys: Vec<_> = host.asked();
    let keys = keys.iter().filter(|asked| asked.target == "/");
    assert!(keys.clone().all(|asked| asked.header("idempotency-key") == "delivery-7"));
}

#[tokio::test]
async fn a_second_refusal_ends_the_attempt() {
    let host = Host::start(|asked, _| match asked.target.as_str() {
        "/token" => json(200, json!({ "access_token": "t0k3n" })),
        _ => answer(401, "who are you, t0k3n?"),
    })
    .await;
    let (connect, _) = connect();
    register(&connect, oauth(&host), json!({ "url": host.url("/") }));
    let report = deliver(&connect).await;
    assert_eq!(verdict(&report), "retryable NO_PERMISSIONS");
    assert_eq!(host.lines(), ["POST /token", "POST /", "POST /token", "POST /"]);
}

#[tokio::test]
async fn a_login_rule_reads_it_from_the_body() {
    let given = Arc::new(AtomicUsize::new(0));
    let told = Arc::clone(&given);
    let host = Host::start(move |asked, _| match tokens(asked, &told, 600) {
        Some(Reply::Answer(refused)) if refused.status() == 401 => {
            json(200, json!({ "errors": [{ "code": "FORBIDDEN" }] }))
        }
        Some(token) => token,
        None => json(200, json!({ "data": {} })),
    })
    .await;
    let (connect, _) = connect();
    let outcome = json!({ "login": "{% $response.body.errors[0].code = 'FORBIDDEN' %}" });
    register(&connect, oauth(&host), json!({ "url": host.url("/"), "outcome": outcome }));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    given.fetch_add(1, Ordering::SeqCst);
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_eq!(host.lines(), ["POST /token", "POST /", "POST /", "POST /token", "POST /"]);
}

#[tokio::test]
async fn a_token_endpoint_that_fails_is_named_and_asked_once() {
    let host = Host::start(|_, _| {
        json(401, json!({ "error": "invalid_client", "error_description": "bad s3cr3t&" }))
    })
    .await;
    let (connect, _) = connect();
    register(&connect, oauth(&host), json!({ "url": host.url("/") }));
    let report = deliver(&connect).await;
    assert_eq!(verdict(&report), "retryable NO_PERMISSIONS");
    let message = &failure(&report).message;
    let says = format!(
        "no token from {}: it answered 401: invalid_client: bad *** \
         (check client_id, client_secret and style)",
        host.url("/token")
    );
    assert!(message.contains(&says), "{message}");
}

#[tokio::test]
async fn secrets_show_in_no_report() {
    let host = Host::start(|asked, _| match asked.target.as_str() {
        "/token" => json(200, json!({ "access_token": "t0k3n" })),
        _ => with(
            400,
            &[("x-echo", "Bearer t0k3n"), ("x-auth-token", "n3w"), ("x-plain", "seen")],
            r#"{"message":"no t0k3n p4ss q%2F1 here","refresh_token":"n3w"}"#,
        ),
    })
    .await;
    let (connect, _) = connect();
    let mut spec: ConnectionSpec = serde_json::from_value(oauth(&host)).unwrap();
    spec.name = "system".to_owned();
    spec.headers.0.push(("X-Pass".to_owned(), Secret::from("p4ss").into()));
    spec.query.0.push(("q".to_owned(), Secret::from("q/1").into()));
    let shown = format!("{spec:?} {}", serde_json::to_string(&spec).unwrap());
    connect.set_connection(spec).unwrap();
    let headers = Params(vec![("X-Own".to_owned(), ParamValue::Secret("0wn".into()))]);
    let call = CallSpec { headers, ..CallSpec::new("POST", &host.url("/?own=0wn")) };
    connect.set_destination(DestinationSpec::call("target", Some("system"), call)).unwrap();
    let report = deliver(&connect).await;
    assert_eq!(verdict(&report), "permanent ERROR_FROM_TARGET");
    let error = failure(&report);
    let stored = serde_json::to_string(error).unwrap();
    let health = format!("{:?}", connect.health());
    for secret in ["t0k3n", "s3cr3t", "p4ss", "q/1", "q%2F1", "0wn", "n3w"] {
        for text in [&shown, &stored, &health, &format!("{report:?}"), &format!("{connect:?}")] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(error.message.ends_with("400 Bad Request: no *** *** *** here"), "{error:?}");
    let exchange = error.exchange.as_ref().unwrap();
    assert!(exchange.response_headers.contains(&("x-plain".to_owned(), "seen".to_owned())));
    assert!(exchange.request_headers.contains(&("authorization".to_owned(), "***".to_owned())));
    assert_eq!(exchange.request_body, r#"{"sku":"A"}"#);
    let kept: stepbus_connect::Failure = serde_json::from_str(&stored).unwrap();
    assert_eq!(&kept, error);
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let other = Host::start(|_, _| answer(200, "")).await;
    let target = other.url("/there");
    let host = Host::start(move |_, _| with(302, &[("location", &target)], "")).await;
    let (connect, _) = connect();
    let auth = json!({ "auth": { "basic": { "username": "me", "password": "pw" } },
                       "headers": { "X-Shop": "4" } });
    register(&connect, auth, json!({ "method": "GET", "url": host.url("/") }));
    assert_eq!(verdict(&deliver(&connect).await), "delivered 200");
    assert_ne!(host.asked()[0].header("authorization"), "");
    let asked = &other.asked()[0];
    assert_eq!((asked.header("authorization"), asked.header("x-shop")), ("", ""));
}
