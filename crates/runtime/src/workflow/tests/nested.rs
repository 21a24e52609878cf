//! Map runs that are left: beside a branch that fails, and within other map runs.

use serde_json::json;
use stepbus_model::ExecutionId;
use stepbus_store::{ExecutionStatus, MapRunStatus};

use super::maps::items;
use super::world::{Running, Target, World, until};

const RACE: &str = r#"
QueryLanguage: JSONata
StartAt: Both
States:
  Both:
    Type: Parallel
    Branches:
      - StartAt: Each
        States:
          Each:
            Type: Map
            Items: "{% $states.input.items %}"
            MaxConcurrency: 3
            ItemProcessor:
PROCESSOR
            End: true
      - StartAt: Other
        States:
          Other:
            Type: Task
            Resource: arn:aws:states:::http:invoke
            Arguments: { ApiEndpoint: "OTHER/get", Method: GET }
            End: true
    End: true
CATCH"#;

const CALLING: &str = r#"
              ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: KIND }
              StartAt: Get
              States:
                Get:
                  Type: Task
                  Resource: arn:aws:states:::http:invoke
                  Arguments: { ApiEndpoint: "URL/get", Method: POST, RequestBody: "{% $states.input %}" }
                  Output: "{% $states.result.ResponseBody %}"
                  End: true
"#;

const WITHIN: &str = r#"
              ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
              StartAt: Inner
              States:
                Inner:
                  Type: Map
                  Items: "{% [1, 2].{ 'sku': 'P', 'n': $ } %}"
                  ItemProcessor:
                    ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
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

struct Race {
    target: Target,
    other: Target,
    world: World,
}

async fn race(processor: &str, catch: &str) -> Race {
    let (target, other) = (Target::start().await, Target::start().await);
    target.behave(|call| (200, json!(call.n())));
    let text = RACE
        .replace("PROCESSOR", processor.trim_matches('\n'))
        .replace("CATCH", catch)
        .replace("OTHER", &other.url);
    let mut world = World::empty();
    world.workflow("race", &text, &target);
    target.close_gate();
    other.close_gate();
    Race { target, other, world }
}

/// Lets the other branch fail while calls of the map's children are under way.
async fn lose(race: &Race, running: &Running, calls: usize) -> ExecutionId {
    let id = running.start("race", items(10)).await;
    until("children are at work", async || race.target.arrived().len() == calls).await;
    race.other.behave(|_| (422, json!({})));
    race.other.open_gate();
    id
}

async fn expect_aborted(running: &Running, id: ExecutionId) {
    running.expect_sound().await;
    for map_run in running.map_runs(id).await {
        assert_eq!(map_run.status, MapRunStatus::Aborted);
        let counts = map_run.counts.items;
        assert_eq!((counts.aborted, counts.running), (counts.ended(), 0));
        for child in running.children(map_run.id).await {
            assert_eq!(child.status, ExecutionStatus::Aborted);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_run_beside_a_branch_that_fails_is_aborted() {
    for kind in ["EXPRESS", "STANDARD"] {
        let race = race(&CALLING.replace("KIND", kind), "").await;
        let running = race.world.open().await;
        let id = lose(&race, &running, 3).await;
        running.failure(id, "States.Http.StatusCode.422").await;
        expect_aborted(&running, id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_execution_goes_on_without_the_map_run_it_left() {
    let catch = "    Catch: [{ ErrorEquals: [States.ALL], Next: Late }]\n  \
        Late: { Type: Pass, Output: caught, End: true }";
    let race = race(&CALLING.replace("KIND", "STANDARD"), catch).await;
    let running = race.world.open().await;
    let id = lose(&race, &running, 3).await;
    assert_eq!(running.output(id).await, json!("caught"));
    expect_aborted(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn map_runs_within_an_aborted_one_are_aborted() {
    let race = race(WITHIN, "").await;
    let running = race.world.open().await;
    let id = lose(&race, &running, 6).await;
    running.failure(id, "States.Http.StatusCode.422").await;
    assert_eq!(running.map_runs(id).await.len(), 4);
    expect_aborted(&running, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn map_runs_within_map_runs_go_on_after_a_restart() {
    let race = race(WITHIN, "").await;
    let running = race.world.open().await;
    let id = running.start("race", items(4)).await;
    until("children are at work", async || race.target.arrived().len() == 6).await;
    running.stop().await;
    race.target.open_gate();
    race.other.open_gate();
    let running = race.world.open().await;
    let output = running.output(id).await;
    assert_eq!(output[0], json!([[1, 2], [1, 2], [1, 2], [1, 2]]));
    running.expect_sound().await;
    let map_runs = running.map_runs(id).await;
    assert_eq!(map_runs.len(), 5);
    let grandchild = &running.children(map_runs[4].id).await[0];
    let history = running.engine.history(grandchild.id).await.unwrap().unwrap();
    assert_eq!(history.last().unwrap().event_type, "ExecutionSucceeded");
}
