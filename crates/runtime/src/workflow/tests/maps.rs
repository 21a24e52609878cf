//! The distributed map.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use stepbus_model::{ExecutionId, Limits};
use stepbus_store::{ExecutionStatus, ItemCounts, MapRunStatus};

use super::world::{Running, Target, World, until};

const MAP: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Label: each
    Items: "{% $states.input.items %}"
    EXTRA
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: KIND }
      StartAt: Get
      States:
        Get:
          Type: Task
          Resource: arn:aws:states:::http:invoke
          Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
          Output: "{% $states.result.ResponseBody %}"
          End: true
    End: true
"#;

const KINDS: [&str; 2] = ["EXPRESS", "STANDARD"];

/// A map that calls the target for each item.
pub(super) fn map(kind: &str, extra: &str) -> String {
    MAP.replace("KIND", kind).replace("EXTRA", extra)
}

/// Items that all name the same product, numbered.
pub(super) fn items(count: u64) -> Value {
    let items: Vec<Value> = (0..count).map(|n| json!({ "sku": "P", "n": n })).collect();
    json!({ "items": items })
}

/// A target that answers with the number, or 422 for those in the list.
async fn numbering(bad: &'static [u64]) -> Target {
    let target = Target::start().await;
    target.behave(|call| match bad.contains(&call.n()) {
        true => (422, json!({ "reason": "bad" })),
        false => (200, json!(call.n())),
    });
    target
}

async fn expect_map_run(
    running: &Running,
    id: ExecutionId,
    status: MapRunStatus,
    counts: impl Fn(ItemCounts) -> bool,
) {
    running.expect_sound().await;
    let map_run = &running.map_runs(id).await[0];
    assert_eq!(map_run.status, status);
    assert!(counts(map_run.counts.items), "{:?}", map_run.counts);
    let counted = map_run.counts.items;
    assert_eq!(counted.total, counted.ended() + counted.pending());
    assert_eq!((counted.running, counted.pending_redrive), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_in_the_order_of_the_items() {
    for kind in KINDS {
        let target = numbering(&[]).await;
        let mut world = World::empty();
        // Many pages of items and of rows.
        world.limits = Limits { map_page_items: 7, page_rows: 5, ..world.limits };
        world.workflow("each", &map(kind, "MaxConcurrency: 3"), &target);
        let running = world.open().await;
        let id = running.start("each", items(40)).await;
        assert_eq!(running.output(id).await, json!((0..40).collect::<Vec<u64>>()));
        assert!(target.most_at_once_of_one_product() <= 3, "MaxConcurrency");
        assert_eq!(target.arrived().len(), 40);
        expect_map_run(&running, id, MapRunStatus::Succeeded, |counts| counts.succeeded == 40)
            .await;
        let none = running.start("each", items(0)).await;
        assert_eq!(running.output(none).await, json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn some_failures_are_tolerated() {
    for kind in KINDS {
        let target = numbering(&[4, 7]).await;
        let mut world = World::empty();
        world.workflow("each", &map(kind, "ToleratedFailureCount: 2"), &target);
        let running = world.open().await;
        let id = running.start("each", items(10)).await;
        assert_eq!(running.output(id).await, json!([0, 1, 2, 3, 5, 6, 8, 9]));
        let counts = |counts: ItemCounts| (counts.succeeded, counts.failed) == (8, 2);
        expect_map_run(&running, id, MapRunStatus::Succeeded, counts).await;
        let children = running.children(running.map_runs(id).await[0].id).await;
        let failed = children.iter().find(|child| child.item.unwrap().1 == 4).unwrap();
        assert_eq!(failed.status, ExecutionStatus::Failed);
        assert_eq!(failed.error.as_deref(), Some("States.Http.StatusCode.422"));
        let history = running.engine.history(failed.id).await.unwrap().unwrap();
        assert_eq!(history.last().unwrap().event_type, "ExecutionFailed");
        let view = running.engine.execution(failed.id).await.unwrap().unwrap();
        assert_eq!(view.input, Some(json!({ "sku": "P", "n": 4 })), "it keeps its input");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_failures_end_the_map_run() {
    for kind in KINDS {
        let target = numbering(&[3, 5, 6]).await;
        let mut world = World::empty();
        let extra = "ToleratedFailureCount: 1\n    MaxConcurrency: 4";
        world.workflow("each", &map(kind, extra), &target);
        let running = world.open().await;
        let id = running.start("each", items(100)).await;
        running.failure(id, "States.ExceedToleratedFailureThreshold").await;
        let counts =
            |counts: ItemCounts| counts.failed >= 2 && counts.pending() > 0 && counts.total == 100;
        expect_map_run(&running, id, MapRunStatus::Failed, counts).await;
        assert!(target.arrived().len() < 100);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle_every_item_ends_once() {
    for kind in KINDS {
        let target = numbering(&[]).await;
        let mut world = World::empty();
        world.limits = Limits { map_page_items: 16, ..world.limits };
        world.workflow("each", &map(kind, "MaxConcurrency: 4"), &target);
        let mut running = world.open().await;
        let id = running.start("each", items(80)).await;
        for goal in [10, 25, 50] {
            until("some are done", async || target.taken().len() >= goal).await;
            running.stop().await;
            running = world.open().await;
        }
        assert_eq!(running.output(id).await, json!((0..80).collect::<Vec<u64>>()));
        expect_map_run(&running, id, MapRunStatus::Succeeded, |counts| counts.succeeded == 80)
            .await;
        let children = running.children(running.map_runs(id).await[0].id).await;
        let items: HashSet<u64> = children.iter().map(|child| child.item.unwrap().1).collect();
        assert_eq!((children.len(), items.len()), (80, 80), "a child an item");
        let mut keys: HashMap<u64, HashSet<String>> = HashMap::new();
        for call in target.arrived() {
            keys.entry(call.n()).or_default().insert(call.idempotency_key);
        }
        assert!(keys.values().all(|keys| keys.len() == 1), "sent again under the same key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn items_come_in_batches() {
    const BATCHES: &str = r#"
QueryLanguage: JSONata
StartAt: Each
States:
  Each:
    Type: Map
    Items: "{% $states.input.items %}"
    ItemSelector: "{% $states.context.Map.Item.Value.n + $states.context.Map.Item.Index %}"
    ItemBatcher: { MaxItemsPerBatch: 4, BatchInput: { unit: kg } }
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: EXPRESS }
      StartAt: Sum
      States:
        Sum: { Type: Pass, Output: "{% $sum($states.input.Items) & $states.input.BatchInput.unit %}", End: true }
    End: true
"#;
    let target = Target::start().await;
    let mut world = World::empty();
    world.workflow("each", BATCHES, &target);
    let running = world.open().await;
    let id = running.start("each", items(10)).await;
    // 2 × (0+1+2+3), 2 × (4+5+6+7), 2 × (8+9)
    assert_eq!(running.output(id).await, json!(["12kg", "44kg", "34kg"]));
    expect_map_run(&running, id, MapRunStatus::Succeeded, |_| true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_that_do_not_fit_are_an_error() {
    let target = Target::start().await;
    target.behave(|_| (200, json!("x".repeat(200))));
    let mut world = World::empty();
    world.limits.payload_bytes = 2_000;
    world.workflow("each", &map("EXPRESS", "MaxConcurrency: 5"), &target);
    let running = world.open().await;
    let id = running.start("each", items(20)).await;
    let cause = running.failure(id, "States.DataLimitExceeded").await;
    assert!(cause.contains("2000 bytes"), "{cause}");
    expect_map_run(&running, id, MapRunStatus::Failed, |counts| counts.succeeded == 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_cannot_be_selected_ends_the_map_run() {
    let target = numbering(&[]).await;
    let mut world = World::empty();
    let extra = "ItemSelector: \"{% $states.context.Map.Item.Index = 6 ? $error('six') : $states.context.Map.Item.Value %}\"\n    MaxConcurrency: 2";
    world.workflow("each", &map("STANDARD", extra), &target);
    let running = world.open().await;
    let id = running.start("each", items(20)).await;
    running.failure(id, "States.QueryEvaluationError").await;
    expect_map_run(&running, id, MapRunStatus::Failed, |counts| counts.pending() >= 13).await;
}
