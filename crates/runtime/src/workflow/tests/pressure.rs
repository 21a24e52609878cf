//! Extraction slows down and stops near the bounds of the whole, says so, and goes on by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;
use stepbus_connect::{CallSpec, DestinationSpec};
use stepbus_store_sqlite::{SqliteOptions, SqliteStore};

use super::events::EACH;
use super::maps::{items, map};
use super::world::{Running, Target, World, until};
use crate::{Extraction, Shared, StorageSpec, SubscriptionSpec, TargetSpec, WhenFull};

const TELL: &str = r#"
QueryLanguage: JSONata
StartAt: Tell
States:
  Tell:
    Type: Task
    Resource: arn:aws:states:::events:putEvents
    Arguments:
      Entries: [{ Source: test, DetailType: made, Detail: { n: 1 }, EventBusName: catalog }]
    Output: "{% $states.result.FailedEntryCount %}"
    End: true
"#;

impl World {
    fn looks_often(&mut self) {
        self.limits.pressure_check_ms = 1;
    }

    /// Sends what is made, and products, to the target.
    fn loads(&mut self, target: &Target) {
        let call = CallSpec::new("PUT", &format!("{}/products", target.url));
        self.declared.destinations.push(DestinationSpec::call("shop", None, call));
        let pattern = json!({ "detail-type": ["made", "product"] }).to_string();
        let shop = TargetSpec::Destination("shop".into());
        self.declared.subscriptions.push(SubscriptionSpec::new("load", "catalog", &pattern, shop));
    }
}

impl Running {
    async fn stands(&self, extraction: Extraction) {
        let stands = async || self.engine.pressure().standing.extraction == extraction;
        until("extraction stands so", stands).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn near_the_bound_of_live_deliveries_nothing_new_begins_until_they_drain() {
    for kind in ["EXPRESS", "STANDARD"] {
        let (mdm, shop) = (Target::start().await, Target::start().await);
        let mut world = World::empty();
        world.looks_often();
        world.limits.live_deliveries = 40;
        world.loads(&shop);
        world.workflow("each", &EACH.replace("KIND", kind), &mdm);
        world.workflow("tell", TELL, &mdm);
        let running = world.open().await;
        shop.close_gate();
        running.publish_details((0..40).map(|n| json!({ "n": n }))).await;
        running.stands(Extraction::Stopped).await;
        let id = running.start("each", items(120)).await;
        let told = running.start("tell", json!({})).await;
        until("the map run is there", async || !running.map_runs(id).await.is_empty()).await;
        let held = async |running: &Running| {
            until("an execution waits", async || running.engine.pressure().waiting_executions == 1)
                .await;
            let map_run = running.map_runs(id).await[0].id;
            let detail = running.engine.map_run(map_run).await.unwrap().unwrap();
            let held = detail.held_back.unwrap();
            let nearest = held.standing.nearest.unwrap();
            assert_eq!((held.children_at_once, detail.item_counts.running), (0, 0));
            assert_eq!((nearest.bound, nearest.percent), (Shared::LiveDeliveries, 100));
        };
        held(&running).await;
        running.stop().await;

        let running = world.open().await;
        running.stands(Extraction::Stopped).await;
        held(&running).await;
        assert_eq!((mdm.arrived().len(), running.events_of("made").await), (0, 0));
        shop.open_gate();
        assert_eq!(running.output(told).await, json!(0));
        assert_eq!(running.output(id).await, json!((0..120).collect::<Vec<u64>>()), "{kind}");
        running.expect_sound().await;
        running.stands(Extraction::Free).await;
        assert_eq!(running.engine.pressure().waiting_executions, 0);
        assert_eq!((running.events_of("made").await, shop.taken().len()), (121, 161));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_that_waits_can_be_stopped() {
    let shop = Target::start().await;
    let mut world = World::empty();
    world.looks_often();
    world.limits.live_deliveries = 1;
    world.loads(&shop);
    world.workflow("tell", TELL, &shop);
    let running = world.open().await;
    shop.close_gate();
    running.publish_details([json!({ "n": 0 })]).await;
    running.stands(Extraction::Stopped).await;
    let id = running.start("tell", json!({})).await;
    until("it waits", async || running.engine.pressure().waiting_executions == 1).await;
    assert!(running.engine.stop_execution(id, None, None).await.unwrap());
    until("nobody waits", async || running.engine.pressure().waiting_executions == 0).await;
    shop.open_gate();
    running.expect_sound().await;
    assert_eq!(running.events_of("made").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn near_the_bound_of_what_is_stored_a_map_run_still_comes_to_its_end() {
    let target = Target::start().await;
    target.behave(|call| (200, json!(call.n())));
    let mut world = World::empty();
    world.looks_often();
    world.workflow("each", &map("EXPRESS", "MaxConcurrency: 4"), &target);
    let running = world.open().await;
    target.close_gate();
    let id = running.start("each", items(40)).await;
    until("children are at work", async || target.arrived().len() == 4).await;
    world.declared.storage = StorageSpec { max_bytes: Some(1), when_full: WhenFull::Refuse };
    running.engine.reload(&world.declared).await.unwrap();
    running.stands(Extraction::Stopped).await;
    let nearest = running.engine.pressure().standing.nearest.unwrap();
    assert_eq!(nearest.bound, Shared::MaxBytes);
    target.open_gate();
    assert_eq!(running.output(id).await, json!((0..40).collect::<Vec<u64>>()));
    running.expect_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn little_room_on_the_disk_slows_extraction_down() {
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let told = free.clone();
    let directory = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::default();
    options.free_space = Arc::new(move |_| Ok(told.load(Ordering::Relaxed)));
    let mut world = World::empty();
    world.looks_often();
    world.store = Arc::new(SqliteStore::open(directory.path(), options).unwrap());
    let target = Target::start().await;
    target.behave(|call| (200, json!(call.n())));
    world.workflow("each", &map("EXPRESS", "MaxConcurrency: 30"), &target);
    let running = world.open().await;
    running.stands(Extraction::Free).await;
    target.close_gate();
    let reserve = world.limits.extraction_reserve_bytes;
    free.store(reserve * 100 / 85, Ordering::Relaxed);
    running.stands(Extraction::Slowed).await;
    let id = running.start("each", items(60)).await;
    until("the map run is there", async || !running.map_runs(id).await.is_empty()).await;
    let map_run = running.map_runs(id).await[0].id;
    let held = async || running.engine.map_run(map_run).await.unwrap().unwrap().held_back;
    // Freed pages of the database count as free, so the percentage may be a little lower.
    let at_once = held().await.unwrap().children_at_once;
    assert!((15..30).contains(&at_once), "{at_once}");
    free.store(reserve / 2, Ordering::Relaxed);
    running.stands(Extraction::Stopped).await;
    assert_eq!(held().await.unwrap().children_at_once, 0);
    target.open_gate();
    free.store(u64::MAX, Ordering::Relaxed);
    assert_eq!(running.output(id).await, json!((0..60).collect::<Vec<u64>>()));
    assert!(held().await.is_none());
    running.expect_sound().await;
}
