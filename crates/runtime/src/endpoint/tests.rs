use std::collections::BTreeMap;

use serde_json::{Value, json};
use stepbus_connect::Secret;
use stepbus_model::RunId;

use stepbus_store::Priority;

use crate::testing::{Running, Target, World, until};
use crate::{Answer, EndpointRequest, EndpointSpec, InFlightAtCrash, Overlap, WorkflowSpec};

const CALL: &str = r#"
QueryLanguage: JSONata
StartAt: Get
States:
  Get:
    Type: Task
    Resource: arn:aws:states:::http:invoke
    Arguments: { ApiEndpoint: "URL/get", Method: GET }
    End: true
"#;

/// `POST /sync/{container}`, whose runs are open as long as the target's gate is closed.
async fn world(overlap: Overlap) -> (World, Target) {
    let target = Target::start().await;
    let mut world = World::empty();
    world.declared.workflows.push(WorkflowSpec {
        name: "sync".into(),
        definition: CALL.replace("URL", &target.url),
        kind: stepbus_asl::WorkflowType::Standard,
        in_flight_at_crash: InFlightAtCrash::default(),
    });
    world.starts("sync_triggered", "sync");
    world.declared.endpoints.push(EndpointSpec {
        priority: Priority::Normal,
        force: None,
        name: "sync".into(),
        method: "POST".into(),
        path: "/sync/{container}".into(),
        api_key: Secret::new("key"),
        overlap,
        params: BTreeMap::from([(
            "container".to_owned(),
            vec!["products".to_owned(), "prices".to_owned()],
        )]),
        max_body_bytes: None,
        bus: "catalog".into(),
        detail_type: "sync_triggered".into(),
        source: "test".into(),
        detail: json!("{% {'container': $request.path.container, 'only': $request.body.only} %}"),
    });
    (world, target)
}

async fn call(running: &Running, container: &str, body: Value, key: Option<&str>) -> Answer {
    let endpoint = running.engine.catalogue().endpoints[0].clone();
    let request = EndpointRequest {
        path: BTreeMap::from([("container".to_owned(), container.to_owned())]),
        query: BTreeMap::new(),
        headers: BTreeMap::new(),
        body,
        idempotency_key: key.map(str::to_owned),
    };
    running.engine.call(&endpoint, request).await.unwrap()
}

fn accepted(answer: &Answer) -> RunId {
    match answer {
        Answer::Accepted { run } => *run,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_at_a_time_where_the_endpoint_says_so() {
    let (world, target) = world(Overlap::Refuse).await;
    target.close_gate();
    let running = world.open().await;
    let calls = (0..5).map(|_| call(&running, "products", Value::Null, None));
    let answers = futures_util::future::join_all(calls).await;
    let run = answers.iter().find_map(|answer| match answer {
        Answer::Accepted { run } => Some(*run),
        _ => None,
    });
    let busy = Answer::Busy { run: run.unwrap() };
    assert_eq!(answers.iter().filter(|answer| **answer == busy).count(), 4);
    accepted(&call(&running, "prices", Value::Null, None).await);
    running.stop().await;
    let running = world.open().await;
    assert_eq!(call(&running, "products", Value::Null, None).await, busy, "over a restart");
    target.open_gate();
    running.quiet().await;
    accepted(&call(&running, "products", Value::Null, None).await);
    running.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_starts_one_run() {
    let (world, target) = world(Overlap::Allow).await;
    let running = world.open().await;
    let run = accepted(&call(&running, "products", json!({ "only": [1] }), Some("k")).await);
    until("the run calls", async || target.arrived().len() == 1).await;
    let again = call(&running, "products", json!({ "only": [1] }), Some("k")).await;
    assert_eq!(again, Answer::Again { run });
    let other = call(&running, "products", json!({ "only": [2] }), Some("k")).await;
    assert_eq!(other, Answer::KeyReused { run });
    world.clock.advance(std::time::Duration::from_secs(world.limits.idempotency_seconds + 1));
    accepted(&call(&running, "products", json!({ "only": [2] }), Some("k")).await);
    running.quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_endpoint_does_not_know_starts_nothing() {
    let (world, _target) = world(Overlap::Allow).await;
    let running = world.open().await;
    let unknown = call(&running, "orders", Value::Null, None).await;
    let expected = Answer::Unknown {
        parameter: "container".into(),
        value: "orders".into(),
        known: vec!["products".into(), "prices".into()],
    };
    assert_eq!(unknown, expected);
    assert!(running.engine.runs(false, None, 1).await.unwrap().is_empty());
}
