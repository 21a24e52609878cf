//! Messages over receivers that fail, restarts, and the books.

use std::time::Duration;

use serde_json::{Map, json};
use stepbus_asl::WorkflowType;
use stepbus_store::Priority;

use super::{QueueError, Receive, ReceivedMessage};
use crate::testing::{Running, World};
use crate::{InFlightAtCrash, QueueSpec, RedrivePolicy, WorkflowSpec};

const ONE: Receive = Receive { max: 1, visibility: None, wait: Duration::ZERO };
const ALL: Receive = Receive { max: 10, ..ONE };
const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    let mut world = World::empty();
    world.clock.stand_still();
    world.declared.queues = vec![
        QueueSpec {
            redrive: Some(RedrivePolicy { dead_letter: "dead".into(), max_receive_count: 2 }),
            ..QueueSpec::new("work")
        },
        QueueSpec { retention_seconds: Some(120), ..QueueSpec::new("dead") },
    ];
    world
}

impl Running {
    async fn send(&self, body: &str) {
        let sent = self.engine.send_to_queue("work", body.into(), Map::new(), None).await;
        assert_eq!(sent.unwrap().queue, "work");
    }

    async fn receive(&self, queue: &str, wish: Receive) -> Vec<ReceivedMessage> {
        self.engine.receive_messages(queue, wish).await.unwrap()
    }

    async fn bodies(&self, queue: &str) -> Vec<String> {
        let received = self.receive(queue, ALL).await;
        received.into_iter().map(|message| message.body).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_received_message_is_hidden_until_its_time_is_over() {
    let world = world();
    let running = world.open().await;
    running.send("one").await;
    let received = running.receive("work", ONE).await;
    assert_eq!((received.len(), received[0].body.as_str()), (1, "one"));
    assert_eq!(received[0].attributes["ApproximateReceiveCount"], "1");
    assert!(running.receive("work", ONE).await.is_empty());

    // Its invisibility outlives the process, and so does its count.
    running.stop().await;
    let running = world.open().await;
    assert!(running.receive("work", ONE).await.is_empty());
    world.clock.advance(30 * SECOND);
    let again = running.receive("arn:aws:sqs:local:000000000000:work", ONE).await;
    assert_eq!(again[0].attributes["ApproximateReceiveCount"], "2");

    // The first receipt is good no more; the second is, once.
    let delete = |receipt: String| {
        let engine = running.engine.clone();
        async move { engine.delete_message("work", &receipt).await.unwrap() }
    };
    assert!(!delete(received[0].receipt_handle.clone()).await);
    assert!(delete(again[0].receipt_handle.clone()).await);
    assert!(!delete(again[0].receipt_handle.clone()).await);
    world.clock.advance(60 * SECOND);
    assert!(running.receive("work", ONE).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_received_too_often_becomes_a_dead_letter() {
    let world = world();
    let running = world.open().await;
    running.send("poison").await;
    for _ in 0..2 {
        assert_eq!(running.bodies("work").await, ["poison"]);
        world.clock.advance(31 * SECOND);
    }
    assert!(running.bodies("work").await.is_empty());
    let dead = running.receive("dead", ONE).await;
    assert_eq!(dead[0].body, "poison");
    assert_eq!(
        dead[0].attributes["DeadLetterQueueSourceArn"],
        "arn:aws:sqs:local:000000000000:work"
    );
    assert_eq!(dead[0].attributes["ApproximateReceiveCount"], "1");

    // A dead letter grows too old.
    let dead = async || running.engine.queues().await.unwrap()[0].messages;
    running.engine.expire_messages().await.unwrap();
    assert_eq!(dead().await, 1);
    world.clock.advance(60 * SECOND);
    running.engine.expire_messages().await.unwrap();
    assert_eq!(dead().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_gets_what_comes() {
    let world = world();
    let running = world.open().await;
    let engine = running.engine.clone();
    let wish = Receive { wait: 20 * SECOND, ..ONE };
    let waiting = tokio::spawn(async move { engine.receive_messages("work", wish).await });
    running.send("late").await;
    assert_eq!(waiting.await.unwrap().unwrap()[0].body, "late");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_goes_to_one_receiver() {
    let world = world();
    let running = world.open().await;
    for n in 0..40 {
        running.send(&n.to_string()).await;
    }
    let receive = |_| async {
        let mut bodies = Vec::new();
        loop {
            let more = running.receive("work", Receive { max: 3, ..ONE }).await;
            if more.is_empty() {
                return bodies;
            }
            bodies.extend(more.into_iter().map(|message| message.body));
        }
    };
    let all = futures_util::future::join_all((0..4).map(receive)).await.concat();
    let mut numbers: Vec<u32> = all.iter().map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..40).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn visibility_is_changed_while_in_flight() {
    let world = world();
    let running = world.open().await;
    running.send("one").await;
    let receipt = running.receive("work", ONE).await.remove(0).receipt_handle;
    let change = |span| running.engine.change_visibility("work", &receipt, span);
    change(100 * SECOND).await.unwrap();
    world.clock.advance(50 * SECOND);
    assert!(running.bodies("work").await.is_empty());
    change(Duration::ZERO).await.unwrap();
    assert_eq!(running.bodies("work").await, ["one"]);
    assert!(matches!(change(SECOND).await, Err(QueueError::NotInFlight(_))));
    let nothing = running.engine.change_visibility("work", "rubbish", SECOND).await;
    assert!(matches!(nothing, Err(QueueError::Receipt(_))));
}

const SEND: &str = r#"
QueryLanguage: JSONata
StartAt: Send
States:
  Send:
    Type: Task
    Resource: arn:aws:states:::sqs:sendMessage
    Arguments:
      QueueUrl: "{% $states.input.queue %}"
      MessageBody: { n: "{% $states.input.n %}" }
      DelaySeconds: 5
      MessageAttributes: { kind: { DataType: String, StringValue: number } }
    Output: "{% $states.result.MD5OfMessageBody %}"
    End: true
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_sends_once_over_restarts() {
    let mut world = world();
    world.declared.workflows.push(WorkflowSpec {
        name: "send".into(),
        definition: SEND.into(),
        kind: WorkflowType::Standard,
        in_flight_at_crash: InFlightAtCrash::default(),
    });
    let mut ids = Vec::new();
    for n in 0..5 {
        let running = world.open().await;
        let input = json!({ "queue": "work", "n": n });
        ids.push(
            running
                .engine
                .start_execution("send", None, input, Priority::default())
                .await
                .unwrap()
                .0,
        );
        running.stop().await;
    }
    let running = world.open().await;
    running.quiet().await;
    assert!(running.bodies("work").await.is_empty(), "they are delayed");
    world.clock.advance(6 * SECOND);
    let mut received = running.receive("work", ALL).await;
    received.sort_by(|one, other| one.body.cmp(&other.body));
    let bodies: Vec<&str> = received.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, ["{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}"]);
    assert_eq!(received[0].message_attributes["kind"]["StringValue"], "number");

    let input = json!({ "queue": "wrok", "n": 1 });
    let (id, _) =
        running.engine.start_execution("send", None, input, Priority::default()).await.unwrap();
    running.quiet().await;
    let row = running.engine.store.execution(id).await.unwrap().unwrap();
    assert_eq!(row.error.as_deref(), Some("Sqs.QueueDoesNotExistException"));
}
