//! Back from failure: executions from where they failed, map runs with what did not succeed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use stepbus_model::{ExecutionId, MapRunId};
use stepbus_store::{ExecutionStatus, MapCounts, MapRunStatus};

use super::maps::{items, map};
use super::world::{CALL, Running, Target, World, until};
use crate::workflow::{RedriveError, RedriveOptions, RerunSelection};

/// A target for which the items that `bad` names fail until it is repaired.
pub(super) async fn target(
    bad: impl Fn(u64) -> bool + Send + 'static,
) -> (Target, Arc<AtomicBool>) {
    let target = Target::start().await;
    let repaired = Arc::new(AtomicBool::new(false));
    let works = repaired.clone();
    target.behave(move |call| match bad(call.n()) && !works.load(Ordering::Relaxed) {
        true if call.n() % 2 == 0 => (422, json!({})),
        true => (409, json!({})),
        false => (200, json!(call.n())),
    });
    (target, repaired)
}

/// How often each item was asked for.
fn asked(target: &Target) -> BTreeMap<u64, usize> {
    let mut asked = BTreeMap::new();
    for call in target.arrived() {
        *asked.entry(call.n()).or_default() += 1;
    }
    asked
}

pub(super) async fn only_map_run(
    running: &Running,
    id: ExecutionId,
) -> (MapRunId, MapRunStatus, MapCounts) {
    let map_runs = running.map_runs(id).await;
    assert_eq!(map_runs.len(), 1);
    (map_runs[0].id, map_runs[0].status, map_runs[0].counts)
}

pub(super) async fn ended(running: &Running, id: MapRunId) {
    until("the map run ends", async || {
        running.engine.store.map_run(id).await.unwrap().unwrap().status != MapRunStatus::Running
    })
    .await;
}

/// 7 of 100 items fail and are tolerated; they, and no others, run again.
async fn seven_percent(kind: &str, count: u64) {
    let (target, repaired) = target(|n| n % 100 < 7).await;
    let failed = count / 100 * 7;
    let mut world = World::empty();
    world.workflow("each", &map(kind, "ToleratedFailurePercentage: 100"), &target);
    let running = world.open().await;
    let id = running.start("each", items(count)).await;
    running.output(id).await;
    let (map_run, status, counts) = only_map_run(&running, id).await;
    assert_eq!((status, counts.items.failed), (MapRunStatus::Succeeded, failed.cast_signed()));
    repaired.store(true, Ordering::Relaxed);

    let everything = RerunSelection::default();
    let redriven = running.engine.redrive_map_run(map_run, &everything, Some("t")).await.unwrap();
    assert_eq!(redriven.children, failed);
    ended(&running, map_run).await;
    let again = running.engine.redrive_map_run(map_run, &everything, Some("t")).await.unwrap();
    assert_eq!(again.redrive_date, redriven.redrive_date, "the same token redrives once");
    running.expect_sound().await;
    let detail = running.engine.map_run(map_run).await.unwrap().unwrap();
    for counts in [detail.item_counts, detail.execution_counts] {
        let all = i64::try_from(count).unwrap();
        assert_eq!((counts.total, counts.succeeded, counts.failed), (all, all, 0));
        assert_eq!((counts.pending, counts.running, counts.pending_redrive), (0, 0, 0));
    }
    assert_eq!((detail.status, detail.redrive_count), ("SUCCEEDED", 1));
    for (n, times) in asked(&target) {
        assert_eq!(times, if n % 100 < 7 { 2 } else { 1 }, "item {n}");
    }
    let nothing = running.engine.redrive_map_run(map_run, &everything, None).await;
    assert!(matches!(nothing, Err(RedriveError::NotRedrivable(_))), "{nothing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_long_ago_is_redriven_no_more() {
    let (target, _) = target(|n| n < 3).await;
    let mut world = World::empty();
    world.workflow("each", &map("EXPRESS", "ToleratedFailurePercentage: 100"), &target);
    let running = world.open().await;
    let id = running.start("each", items(10)).await;
    running.output(id).await;
    let (map_run, ..) = only_map_run(&running, id).await;
    let told = async || {
        let detail = running.engine.map_run(map_run).await.unwrap().unwrap();
        let counts = [detail.item_counts, detail.execution_counts];
        counts.map(|counts| (counts.failed, counts.failures_not_redrivable))
    };
    assert_eq!(told().await, [(3, 0); 2]);
    world.clock.advance(Duration::from_secs(15 * 86_400));
    assert_eq!(told().await, [(3, 3); 2]);
    let refused = running.engine.redrive_map_run(map_run, &RerunSelection::default(), None).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("more than 14 days"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_failed_runs_again() {
    for kind in ["EXPRESS", "STANDARD"] {
        seven_percent(kind, 1_000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "full tier: 10,000 calls of each kind"]
async fn exactly_seven_percent_of_ten_thousand_run_again() {
    for kind in ["EXPRESS", "STANDARD"] {
        seven_percent(kind, 10_000).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_runs_again_and_nothing_else() {
    let (target, repaired) = target(|n| n % 10 < 3).await;
    let mut world = World::empty();
    world.workflow("each", &map("EXPRESS", "ToleratedFailurePercentage: 100"), &target);
    let running = world.open().await;
    let id = running.start("each", items(100)).await;
    running.output(id).await;
    let (map_run, _, counts) = only_map_run(&running, id).await;
    assert_eq!(counts.items.failed, 30);
    repaired.store(true, Ordering::Relaxed);
    let run = running.row(id).await.run;
    let groups = running.engine.failure_groups(map_run).await.unwrap();
    let kinds: Vec<(&str, u64)> =
        groups.iter().map(|group| (group.error.as_str(), group.count)).collect();
    assert_eq!(kinds, [("States.Http.StatusCode.422", 20), ("States.Http.StatusCode.409", 10)]);

    let selection = RerunSelection {
        error: Some("States.Http.StatusCode.422".into()),
        item_filter: Some("$states.input.n < 50".into()),
        ..RerunSelection::default()
    };
    let done = running.engine.rerun_failed(run, &selection).await.unwrap();
    assert_eq!((done.len(), done[0].1.children), (1, 10));
    ended(&running, map_run).await;
    running.expect_sound().await;
    let (_, _, counts) = only_map_run(&running, id).await;
    assert_eq!((counts.items.succeeded, counts.items.failed), (80, 20));
    for (n, times) in asked(&target) {
        let chosen = n % 10 < 3 && n % 2 == 0 && n < 50;
        assert_eq!(times, if chosen { 2 } else { 1 }, "item {n}");
    }
    let broken = RerunSelection { item_filter: Some("$states.(".into()), ..selection };
    let refused = running.engine.rerun_failed(run, &broken).await;
    assert!(matches!(refused, Err(RedriveError::Invalid(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_execution_goes_on_with_its_map_run() {
    for kind in ["EXPRESS", "STANDARD"] {
        let (target, repaired) = target(|n| n == 20 || n == 21).await;
        let mut world = World::empty();
        world.workflow("each", &map(kind, "MaxConcurrency: 4"), &target);
        let running = world.open().await;
        let id = running.start("each", items(60)).await;
        running.failure(id, "States.ExceedToleratedFailureThreshold").await;
        let (map_run, status, counts) = only_map_run(&running, id).await;
        assert_eq!(status, MapRunStatus::Failed);
        assert!(counts.items.pending() > 0, "{counts:?}");
        let succeeded = counts.items.succeeded;
        repaired.store(true, Ordering::Relaxed);

        let view = running.engine.execution(id).await.unwrap().unwrap();
        assert_eq!(view.redrive_status, "REDRIVABLE");
        let once =
            RedriveOptions { client_token: Some("once".into()), ..RedriveOptions::default() };
        let redriven = running.engine.redrive_execution(id, &once).await.unwrap();
        assert_eq!(running.output(id).await, json!((0..60).collect::<Vec<u64>>()));
        assert_eq!(running.engine.redrive_execution(id, &once).await.unwrap(), redriven);
        running.expect_sound().await;
        let (same, status, counts) = only_map_run(&running, id).await;
        assert_eq!((same, status), (map_run, MapRunStatus::Succeeded));
        assert_eq!((counts.items.succeeded, counts.items.pending_redrive), (60, 0));
        let twice = asked(&target).values().filter(|times| **times == 2).count();
        assert!(twice as i64 <= 60 - succeeded, "what succeeded does not run again");
        let history = running.engine.history(id).await.unwrap().unwrap();
        let told = |kind: &str| history.iter().filter(|event| event.event_type == kind).count();
        assert_eq!((told("ExecutionRedriven"), told("MapRunRedriven")), (1, 1));
        assert_eq!((told("MapRunStarted"), told("ExecutionSucceeded")), (1, 1));
        let view = running.engine.execution(id).await.unwrap().unwrap();
        assert_eq!((view.redrive_count, view.redrive_status), (1, "NOT_REDRIVABLE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_goes_on_after_a_restart() {
    for kind in ["EXPRESS", "STANDARD"] {
        let (target, repaired) = target(|n| n < 30).await;
        let mut world = World::empty();
        world.workflow("each", &map(kind, "ToleratedFailurePercentage: 100"), &target);
        let running = world.open().await;
        let id = running.start("each", items(60)).await;
        running.output(id).await;
        let (map_run, ..) = only_map_run(&running, id).await;
        repaired.store(true, Ordering::Relaxed);
        let arrived = target.arrived().len();
        target.close_gate();
        running.engine.redrive_map_run(map_run, &RerunSelection::default(), None).await.unwrap();
        until("children are at work", async || target.arrived().len() > arrived).await;
        running.stop().await;
        target.open_gate();
        let running = world.open().await;
        ended(&running, map_run).await;
        running.expect_sound().await;
        let (_, status, counts) = only_map_run(&running, id).await;
        assert_eq!((status, counts.items.succeeded), (MapRunStatus::Succeeded, 60));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_goes_on_from_the_state_that_failed() {
    let (target, repaired) = target(|_| true).await;
    let mut world = World::empty();
    world.workflow("get", CALL, &target);
    let running = world.open().await;
    let id = running.start("get", json!({ "sku": "P", "n": 2 })).await;
    running.failure(id, "States.Http.StatusCode.422").await;
    running.engine.redrive_execution(id, &RedriveOptions::default()).await.unwrap();
    running.failure(id, "States.Http.StatusCode.422").await;
    repaired.store(true, Ordering::Relaxed);
    let before = target.calls().len();
    running.engine.redrive_execution(id, &RedriveOptions::default()).await.unwrap();
    assert_eq!(running.output(id).await, json!(2));
    assert_eq!(target.calls().len(), before + 1);
    running.expect_sound().await;
    assert_eq!(running.row(id).await.redrives, 2);
    let refused = running.engine.redrive_execution(id, &RedriveOptions::default()).await;
    assert!(matches!(refused, Err(RedriveError::NotRedrivable(_))), "{refused:?}");

    repaired.store(false, Ordering::Relaxed);
    let old = running.start("get", json!({ "sku": "P", "n": 4 })).await;
    running.failure(old, "States.Http.StatusCode.422").await;
    world.clock.advance(Duration::from_secs(15 * 86_400));
    let refused = running.engine.redrive_execution(old, &RedriveOptions::default()).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("more than 14 days"), "{refused}");
    assert_eq!(running.row(old).await.status, ExecutionStatus::Failed);
}
