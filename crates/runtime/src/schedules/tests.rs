//! Schedules over restarts and clocks that jump.

use std::time::Duration;

use serde_json::json;
use stepbus_model::{EventId, MessageId, Timestamp};
use stepbus_store::{MessageFilter, ResourceKind};

use crate::delivery::{GroupBy, Purge, Redrive, RedriveVersion, Selection};
use crate::testing::{Running, World, until};
use crate::{AfterCompletion, Missed, QueueSpec, RetrySpec, ScheduleSpec, ScheduleTarget};

fn spec(name: &str, expression: &str) -> ScheduleSpec {
    ScheduleSpec {
        name: name.into(),
        expression: expression.into(),
        timezone: "UTC".into(),
        flexible_window_seconds: 0,
        start: None,
        end: None,
        missed: Missed::FireOnce,
        target: ScheduleTarget::Event {
            bus: "catalog".into(),
            detail_type: "tick".into(),
            source: "test".into(),
        },
        input: json!({ "at": "{% $schedule.scheduled_time %}", "missed": "{% $schedule.missed %}" }),
        retry: RetrySpec { max_age_seconds: 86_400, max_attempts: 185 },
        dead_letter: None,
        enabled: true,
        after_completion: AfterCompletion::Keep,
        force: false,
    }
}

/// Whose log keeps what the tests count.
fn empty() -> World {
    let mut world = World::empty();
    world.declared.buses[0].retention_seconds = 365 * 86_400;
    world
}

fn world(expression: &str) -> World {
    let mut world = empty();
    world.declared.schedules.push(spec("nightly", expression));
    world
}

impl Running {
    /// The details of all ticks.
    async fn ticks(&self) -> Vec<serde_json::Value> {
        let events = self.engine.store().events(None, EventId(0), 1_000).await.unwrap();
        let details = events.iter().map(|row| {
            serde_json::from_slice::<serde_json::Value>(&row.envelope).unwrap()["detail"].clone()
        });
        details.collect()
    }

    async fn ticked(&self, count: usize) {
        until("it fires", async || {
            self.engine.schedules.look();
            self.ticks().await.len() >= count
        })
        .await;
        no_more(self, count).await;
    }

    fn next(&self) -> Option<Timestamp> {
        self.engine.schedules(true)[0].next
    }
}

/// Nothing more fires: the schedule was looked at after all that was due, and memory says so too.
async fn no_more(running: &Running, count: usize) {
    running.engine.schedules.look();
    until("what is due was acted upon", async || {
        running.next().is_none_or(|next| next > running.engine.now())
    })
    .await;
    assert_eq!(running.ticks().await.len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_fires_at_once_and_then_in_its_time() {
    let world = world("rate(10 minutes)");
    let running = world.open().await;
    running.ticked(1).await;
    let next = running.next().unwrap();
    world.clock.advance(Duration::from_secs(601));
    running.ticked(2).await;
    assert_eq!(running.next().unwrap().0, next.0 + 600_000);
    let details = running.ticks().await;
    assert_eq!(details[1], json!({ "at": next.to_rfc3339_seconds(), "missed": 0 }));
    // A restart changes nothing.
    running.stop().await;
    let running = world.open().await;
    no_more(&running, 2).await;
    world.clock.advance(Duration::from_secs(600));
    running.ticked(3).await;
    let view = &running.engine.schedules(true)[0];
    assert_eq!((view.fired, view.missed, view.state), (3, 0, "ENABLED"));
    assert_eq!(running.engine.store().check().await.unwrap(), []);
}

async fn after_downtime(missed: Missed, fired: usize, counted: u64) {
    let mut world = world("rate(1 hour)");
    world.declared.schedules[0].missed = missed;
    let running = world.open().await;
    running.ticked(1).await;
    running.stop().await;
    // The machine was off, or its clock jumped: ten ticks and a half.
    world.clock.advance(Duration::from_secs(10 * 3_600 + 1_800));
    let running = world.open().await;
    no_more(&running, fired).await;
    assert_eq!(running.engine.schedules(true)[0].missed, counted);
    if fired == 2 {
        assert_eq!(running.ticks().await[1]["missed"], 9);
    }
    // The next one, half an hour ahead, is in time again.
    world.clock.advance(Duration::from_secs(1_805));
    running.ticked(fired + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_fires_once_or_not_at_all() {
    after_downtime(Missed::FireOnce, 2, 9).await;
    after_downtime(Missed::Skip, 1, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn once_and_over() {
    let mut world = empty();
    let now = stepbus_model::Clock::now(&*world.clock);
    let text = |span: i64| Timestamp(now.0 + span).to_rfc3339_seconds().replace('Z', "");
    let mut once = spec("once", &format!("at({})", text(600_000)));
    once.after_completion = AfterCompletion::Delete;
    world.declared.schedules = vec![once, spec("past", &format!("at({})", text(-600_000)))];
    let running = world.open().await;
    world.clock.advance(Duration::from_secs(700));
    running.ticked(1).await;
    let names = |all: bool| {
        let views = running.engine.schedules(all);
        views.into_iter().map(|view| (view.schedule, view.state, view.fired)).collect::<Vec<_>>()
    };
    let past = ("past".to_owned(), "COMPLETED", 0);
    until("it is over", async || names(false) == std::slice::from_ref(&past)).await;
    assert_eq!(names(true), [("once".to_owned(), "COMPLETED", 1), past]);
    running.stop().await;
    let running = world.open().await;
    world.clock.advance(Duration::from_secs(86_400));
    no_more(&running, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_lets_ticks_pass() {
    let world = world("rate(1 hour)");
    let running = world.open().await;
    running.ticked(1).await;
    let id = running.engine.resource_named(ResourceKind::Schedule, "nightly").unwrap();
    running.engine.pause(id, "tester", "holidays").await.unwrap();
    running.stop().await;
    world.clock.advance(Duration::from_secs(5 * 3_600));
    let running = world.open().await;
    assert_eq!(running.engine.schedules(true)[0].state, "PAUSED");
    let run = running.engine.run_schedule_now("nightly", "tester").await.unwrap();
    assert!(running.engine.run(run).await.unwrap().is_some(), "by hand it fires");
    running.engine.unpause(id, "tester").await.unwrap();
    no_more(&running, 2).await;
    // A restart does not bring back what passed.
    running.stop().await;
    let running = world.open().await;
    no_more(&running, 2).await;
    assert_eq!(running.engine.schedules(true)[0].missed, 0);
    world.clock.advance(Duration::from_secs(3_600));
    running.ticked(3).await;
    assert_eq!(running.engine.next_times("nightly", 3).unwrap().len(), 3);
    assert!(running.engine.next_times("absent", 3).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_that_is_not_enabled_lets_its_times_pass() {
    let mut world = world("rate(1 hour)");
    let running = world.open().await;
    running.ticked(1).await;
    running.stop().await;
    world.declared.schedules[0].enabled = false;
    let running = world.open().await;
    world.clock.advance(Duration::from_secs(5 * 3_600));
    assert_eq!(running.engine.schedules(true)[0].state, "DISABLED");
    running.stop().await;
    world.declared.schedules[0].enabled = true;
    let running = world.open().await;
    no_more(&running, 1).await;
    // By a change of the project file while the server runs as well.
    world.declared.schedules[0].enabled = false;
    running.engine.reload(&world.declared).await.unwrap();
    world.clock.advance(Duration::from_secs(5 * 3_600));
    world.declared.schedules[0].enabled = true;
    running.engine.reload(&world.declared).await.unwrap();
    no_more(&running, 1).await;
    world.clock.advance(Duration::from_secs(3_600));
    running.ticked(2).await;
    let view = &running.engine.schedules(true)[0];
    assert_eq!((view.fired, view.missed, view.state), (2, 0, "ENABLED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tick_slips_through_as_a_pause_ends() {
    let world = world("rate(1 hour)");
    let running = world.open().await;
    running.ticked(1).await;
    let id = running.engine.resource_named(ResourceKind::Schedule, "nightly").unwrap();
    // As if other schedules were due all the time.
    let engine = running.engine.clone();
    let busy = tokio::spawn(async move {
        loop {
            engine.schedules.look();
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..20 {
        running.engine.pause(id, "tester", "").await.unwrap();
        world.clock.advance(Duration::from_secs(5_400));
        running.engine.unpause(id, "tester").await.unwrap();
    }
    busy.abort();
    no_more(&running, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_fails_for_good_is_a_message_of_its_queue() {
    let mut world = world("rate(1 hour)");
    world.declared.queues.push(QueueSpec::new("failures"));
    let schedule = &mut world.declared.schedules[0];
    schedule.input = json!("{% $error('no') %}");
    schedule.retry.max_attempts = 0;
    schedule.dead_letter = Some("failures".into());
    let running = world.open().await;
    let store = running.engine.store();
    let messages = async || {
        store.messages(MessageFilter::default(), stepbus_model::MessageId(0), 9).await.unwrap()
    };
    until("it failed", async || messages().await.len() == 1).await;
    let failure = || running.engine.schedules(true)[0].failure.clone();
    until("it is said", async || failure().is_some()).await;
    let message = &messages().await[0];
    let attributes: serde_json::Value = serde_json::from_str(&message.attributes).unwrap();
    assert_eq!(attributes["ERROR_CODE"], "TRANSFORM_FAILED");
    assert_eq!(attributes["EXHAUSTED_RETRY_CONDITION"], "MaximumRetryAttempts");
    assert!(failure().unwrap().contains("no"));
    assert!(running.ticks().await.is_empty());
    assert_eq!(store.check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_failed_fires_again_by_redrive() {
    let mut world = world("rate(1 hour)");
    world.declared.queues.push(QueueSpec::new("failures"));
    let good = world.declared.schedules[0].input.clone();
    let schedule = &mut world.declared.schedules[0];
    schedule.input = json!("{% $error('no 17') %}");
    schedule.retry.max_attempts = 0;
    schedule.dead_letter = Some("failures".into());
    let running = world.open().await;
    let letters = async |running: &Running| {
        running.engine.dead_letters(MessageFilter::default(), MessageId(0), 9).await.unwrap()
    };
    until("it failed", async || letters(&running).await.len() == 1).await;
    let dead = letters(&running).await.remove(0);
    assert_eq!((dead.schedule.as_deref(), dead.delivery), (Some("nightly"), None));
    let body: serde_json::Value = serde_json::from_str(dead.body.unwrap().get()).unwrap();
    let group = running
        .engine
        .dead_letter_groups(MessageFilter::default(), GroupBy::Cause)
        .await
        .unwrap()
        .remove(0);
    assert_eq!((group.count, group.schedules.len()), (1, 1));
    assert!(group.cause.unwrap().contains("no #"));
    let redrive = async |running: &Running| {
        let wish = Redrive {
            selection: Selection::Matching(MessageFilter::default()),
            rate: None,
            version: RedriveVersion::Original,
            who: "tester".into(),
        };
        running.engine.redrive(&wish, |_| {}).await.unwrap()
    };
    let tally = redrive(&running).await;
    assert_eq!((tally.done, tally.refused), (0, 1), "its input fails still");
    assert!(tally.refusal.unwrap().contains("no 17"));
    assert!(running.engine.dead_letter_payload(dead.id).await.is_err());
    running.stop().await;
    world.declared.schedules[0].input = good;
    let running = world.open().await;
    assert_eq!(redrive(&running).await.done, 1);
    assert_eq!(running.ticks().await, [json!({ "at": body["scheduled_time"], "missed": 0 })]);
    assert!(letters(&running).await.is_empty());
    assert_eq!(redrive(&running).await.done, 0);
    let audit = running.engine.audit_log(None, 9).await.unwrap();
    let line = audit.iter().find(|line| line.action == "dlq.redrive").unwrap();
    assert_eq!((&line.detail["schedule"], &line.detail["count"]), (&json!("nightly"), &json!(1)));
    assert_eq!(running.engine.store().check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_failed_is_given_up_with_a_reason() {
    let mut world = world("rate(1 hour)");
    world.declared.queues.push(QueueSpec::new("failures"));
    let schedule = &mut world.declared.schedules[0];
    schedule.input = json!("{% $error('no') %}");
    schedule.retry.max_attempts = 0;
    schedule.dead_letter = Some("failures".into());
    let running = world.open().await;
    let count = async || {
        let all = running.engine.dead_letters(MessageFilter::default(), MessageId(0), 9).await;
        all.unwrap().len()
    };
    until("it failed", async || count().await == 1).await;
    let wish = Purge {
        selection: Selection::Matching(MessageFilter::default()),
        reason: "not needed".into(),
        who: "tester".into(),
    };
    assert_eq!(running.engine.purge(&wish, |_| {}).await.unwrap().done, 1);
    assert_eq!(count().await, 0);
    let purged = async || {
        let audit = running.engine.audit_log(None, 9).await.unwrap().into_iter();
        let lines = audit.filter(|line| line.action == "dlq.purge");
        lines.map(|line| line.detail["reason"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(purged().await, ["not needed"]);
    // With its queue as well.
    world.clock.advance(Duration::from_secs(3_600));
    until("the next one failed", async || {
        running.engine.schedules.look();
        count().await == 1
    })
    .await;
    assert_eq!(running.engine.purge_queue("failures").await.unwrap(), 1);
    assert_eq!(purged().await, ["the queue was purged", "not needed"]);
    assert_eq!(running.engine.store().check().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_is_waited_for() {
    let world = world("rate(10 minutes)");
    let running = world.open().await;
    running.ticked(1).await;
    world.clock.advance(Duration::from_secs(601));
    running.ticked(2).await;
    let next = running.next();
    world.clock.set_back(Duration::from_secs(3_600));
    no_more(&running, 2).await;
    assert_eq!(running.next(), next);
    // The times that come a second time do not fire again, over a restart neither.
    running.stop().await;
    let running = world.open().await;
    world.clock.advance(Duration::from_secs(3_590));
    no_more(&running, 2).await;
    world.clock.advance(Duration::from_secs(611));
    running.ticked(3).await;
    let view = &running.engine.schedules(true)[0];
    assert_eq!((view.fired, view.missed), (3, 0));
}
