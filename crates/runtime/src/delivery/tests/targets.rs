//! Each kind of target, and what of an event it gets.

use serde_json::{Value, json};
use stepbus_connect::{ConnectionSpec, Smtp, SmtpTls};
use stepbus_model::{MessageId, Totals};
use stepbus_store::MessageFilter;

use super::world::{Running, Target, World, until};
use crate::delivery::RedriveVersion;
use crate::{BusSpec, HttpParameters, InputSpec, LogSpec, MailSpec, SubscriptionSpec, TargetSpec};

const PRODUCT: &str = r#"{ "detail-type": ["product"] }"#;

fn bus(name: &str) -> BusSpec {
    BusSpec { name: name.into(), retention_seconds: 3_600, deduplicate_content: false }
}

fn to_bus(name: &str, from: &str, to: &str) -> SubscriptionSpec {
    SubscriptionSpec {
        dead_letter: Some("failures".into()),
        ..SubscriptionSpec::new(name, from, PRODUCT, TargetSpec::Bus(to.into()))
    }
}

/// Bodies of the messages that are no dead letters.
async fn messages(running: &Running) -> Vec<Value> {
    let all = running.engine.store.messages(MessageFilter::default(), MessageId(0), 100);
    let all = all.await.unwrap().into_iter().filter(|message| message.delivery.is_none());
    all.map(|message| serde_json::from_slice(&message.body).unwrap()).collect()
}

const DELIVERED: Totals = Totals {
    matched: 1,
    delivered: 1,
    unchanged: 0,
    stale: 0,
    dead_lettered: 0,
    discarded: 0,
    pending: 0,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_template_makes_the_body_and_parameters_the_call() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    let load = world.load();
    load.transform = None;
    load.skip_unchanged = true;
    let paths = json!({ "n": "$.detail.n" }).as_object().unwrap().clone();
    let template = r#"{"count": <n>, "rule": "<aws.events.rule-name>"}"#.to_owned();
    load.input = Some(InputSpec::Transformer { paths, template });
    load.parameters = HttpParameters {
        path: [("sku".into(), "$.detail.sku".into())].into(),
        query: [("in".into(), "{% $uppercase($event.source) %}".into())].into(),
        ..HttpParameters::default()
    };
    let running = world.open().await;
    for (sku, n) in [("a/b", 1), ("a/b", 1), ("c?d", 1)] {
        running.publish([(sku.to_owned(), n)]).await;
        running.quiet().await;
    }
    let taken: Vec<(String, Value)> =
        target.taken().into_iter().map(|call| (call.path, call.body)).collect();
    let body = json!({ "count": 1, "rule": "load" });
    let path = |sku: &str| format!("/products/{sku}?in=TEST");
    assert_eq!(taken, [(path("a%2Fb"), body.clone()), (path("c%3Fd"), body)]);
    let expected = Totals { matched: 3, delivered: 2, unchanged: 1, ..Totals::default() };
    running.expect_books(expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_nothing_is_a_dead_letter() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.load().transform = None;
    world.load().input = Some(InputSpec::Path("$.detail.none".into()));
    let running = world.open().await;
    running.publish([("A".to_owned(), 1)]).await;
    running.quiet().await;
    let dead = running.dead().await;
    assert_eq!(dead[0].attribute("ERROR_CODE"), Some("TRANSFORM_FAILED"));
    assert_eq!(target.arrived(), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_on_to_another_bus_in_the_same_run() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.declared.buses.push(bus("archive"));
    world.load().bus = "archive".into();
    world.load().transform = None;
    world.load().parameters.path = [("sku".into(), "$.detail.sku".into())].into();
    world.declared.subscriptions.push(to_bus("forward", "catalog", "archive"));
    let running = world.open().await;
    let runs = running.publish_details([json!({ "sku": "A", "n": 1.50 })]).await;
    running.quiet().await;
    let taken = target.taken();
    let [call] = taken.as_slice() else { panic!("{taken:?}") };
    assert_eq!(call.body["detail"], json!({ "sku": "A", "n": 1.50 }));
    assert_eq!(call.body["source"], "test");
    assert_eq!(running.totals("forward").await, DELIVERED);
    running.expect_books(DELIVERED).await;
    let events = running.engine.store.events(None, stepbus_model::EventId(0), 10);
    let mut events = events.await.unwrap();
    events.retain(|event| event.run == runs[0]);
    assert_eq!(events.iter().map(|event| event.hops).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(events[1].cause, stepbus_store::Cause::Event(events[0].id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_gets_no_event_back() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.declared.subscriptions.clear();
    world.declared.buses.extend([bus("b"), bus("c")]);
    world.declared.subscriptions.extend([
        to_bus("load", "catalog", "b"),
        to_bus("onward", "b", "c"),
        to_bus("back", "c", "catalog"),
        to_bus("itself", "c", "c"),
    ]);
    let running = world.open().await;
    running.publish([("A".to_owned(), 1)]).await;
    let dead = running.dead().await;
    let mut messages: Vec<_> =
        dead.iter().filter_map(|letter| letter.attribute("ERROR_MESSAGE")).collect();
    messages.sort_unstable();
    let round = "the event would go round in a loop: catalog → b → c";
    assert_eq!(messages, [format!("{round} → c"), format!("{round} → catalog")]);
    assert_eq!(dead[0].attribute("ERROR_CODE"), Some("LoopDetected"));
    running.expect_books(DELIVERED).await;
    assert_eq!(running.redrive_all(RedriveVersion::Original).await.done, 2);
    running.quiet().await;
    // Its own way is not known any more, but where it stands is.
    assert!(!running.dead().await.is_empty());
    assert_eq!(running.engine.store.check().await.unwrap(), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_does_not_become_a_flood_of_others() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.limits.fan_out = 8;
    world.declared.subscriptions.clear();
    world.declared.buses.extend([bus("b"), bus("c")]);
    for n in 0..3 {
        world.declared.subscriptions.push(to_bus(&format!("one-{n}"), "catalog", "b"));
        world.declared.subscriptions.push(to_bus(&format!("two-{n}"), "b", "c"));
    }
    let running = world.open().await;
    running.publish([("A".to_owned(), 1)]).await;
    let dead = running.dead().await;
    let codes: Vec<_> = dead.iter().filter_map(|letter| letter.attribute("ERROR_CODE")).collect();
    // The ninth would be the third to `b`.
    assert_eq!(codes, ["FanOutLimitExceeded"]);
    assert_eq!(running.engine.store.check().await.unwrap(), vec![]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_gets_a_message_in_the_commit_that_publishes() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    world.declared.queues.push("changes".into());
    world.load().target = TargetSpec::Queue("changes".into());
    let running = world.open().await;
    running.publish_details([json!({ "sku": "A" })]).await;
    assert_eq!(messages(&running).await, [json!({ "sku": "A" })]);
    running.expect_books(DELIVERED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_receiver_cannot_be_told_is_a_dead_letter() {
    let target = Target::start().await;
    let mut world = World::new(&target);
    let smtp = Smtp { host: "127.0.0.1".into(), port: Some(1), tls: SmtpTls::None, ca: None };
    world.declared.connections.push(ConnectionSpec {
        name: "office".into(),
        smtp: Some(smtp),
        ..ConnectionSpec::default()
    });
    world.load().retry.max_attempts = 1;
    world.load().target = TargetSpec::Mail(Box::new(MailSpec {
        connection: "office".into(),
        from: "sync@example.com".into(),
        reply_to: None,
        to: json!("{% $event.detail.to %}"),
        cc: None,
        subject: json!("{% 'Product ' & $event.detail.sku %}"),
        body: None,
    }));
    let running = world.open().await;
    running
        .publish_details([
            json!({ "sku": "A" }),
            json!({ "to": 5 }),
            json!({ "to": "a@b.example" }),
        ])
        .await;
    running.quiet().await;
    let mut said: Vec<(String, String)> = running
        .dead()
        .await
        .iter()
        .map(|dead| {
            let attribute = |name: &str| dead.attribute(name).unwrap_or_default().to_owned();
            (attribute("ERROR_CODE"), attribute("TARGET_ARN"))
        })
        .collect();
    said.sort();
    let arn = "arn:aws:ses:local:000000000000:identity/sync@example.com".to_owned();
    let codes = ["CONNECTION_FAILURE", "TRANSFORM_FAILED", "TRANSFORM_FAILED"];
    assert_eq!(said, codes.map(|code| (code.to_owned(), arn.clone())));
    running.expect_books(Totals { matched: 3, dead_lettered: 3, ..Totals::default() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_has_a_line_for_each_event_once_it_can_be_written() {
    let target = Target::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("missing/events.jsonl");
    let mut world = World::new(&target);
    let file = Some(path.clone());
    let log = LogSpec { file, max_bytes: 1_000_000, keep: 1, trace: false };
    world.load().target = TargetSpec::Log(log);
    let running = world.open().await;
    let skus = ["A", "B\n", "C"];
    running.publish_details(skus.map(|sku| json!({ "sku": sku }))).await;
    let waits = async || running.engine.delivery_measures().iter().any(|line| line.retries > 2);
    until("the missing folder was met", waits).await;
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    running.quiet().await;
    let text = std::fs::read_to_string(&path).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.sort_by_key(|line| line["key"].to_string());
    let payloads: Vec<&Value> = lines.iter().map(|line| &line["payload"]["sku"]).collect();
    assert_eq!(payloads, skus.iter().collect::<Vec<_>>());
    for name in ["time", "subscription", "delivery", "event", "run", "key"] {
        assert!(lines[0][name].is_string(), "{}", lines[0]);
    }
    running.expect_books(Totals { matched: 3, delivered: 3, ..Totals::default() }).await;
}
