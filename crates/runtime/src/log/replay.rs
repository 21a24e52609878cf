//! Replays: events of the log once more, to chosen subscriptions, at a rate.
//!
//! A replayed event is a copy with the replay's name in its envelope; it stands in the replay's own
//! log, not in that of the bus, so no other subscription meets it. The copies, what they match and
//! the replay's position are one commit: it goes on exactly where it stopped.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stepbus_model::{EventId, ResourceId, RunId, Timestamp, crash};
use stepbus_pattern::{Matcher, Pattern, Scratch};
use stepbus_store::{
    AuditRow, Batch, Cause, EventRow, LogRange, Priority, ReplayRow, ReplayState, RunRow,
    StoreError,
};

use super::{bound, reader::SLACK_MS};
use crate::catalogue::{Catalogue, Subscription};
use crate::delivery::durable::{Stopped, commit, read};
use crate::engine::Engine;
use crate::event::EventBody;
use crate::publish::Effects;

/// Between two looks for room, while a subscription has as many deliveries as it may have.
const NO_ROOM: Duration = Duration::from_millis(50);

/// What is to be replayed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplaySpec {
    pub name: String,
    /// The bus whose log is read.
    pub bus: String,
    /// An archive of the bus: only what it keeps.
    #[serde(default)]
    pub archive: Option<String>,
    /// Events accepted at that time or later.
    pub from: Timestamp,
    /// Events accepted before.
    pub to: Timestamp,
    /// The event pattern as JSON text; all events without one.
    pub pattern: Option<String>,
    /// Names of subscriptions of the bus; all of it when empty.
    pub subscriptions: Vec<String>,
    /// Events a second at most.
    pub rate: Option<NonZeroU32>,
    /// Whatever it delivers is sent although it is unchanged.
    #[serde(default)]
    pub force: bool,
}

/// Why a replay was not started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no {0}")]
    Missing(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A replay as people are shown it.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayView {
    #[serde(flatten)]
    pub spec: ReplaySpec,
    pub id: ResourceId,
    pub run: RunId,
    pub state: &'static str,
    pub reason: Option<String>,
    /// Events replayed so far.
    pub replayed: u64,
    pub started: Timestamp,
    /// When the last event that was replayed had been accepted.
    pub last_replayed: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

impl ReplayView {
    fn of(row: ReplayRow) -> Option<ReplayView> {
        Some(ReplayView {
            spec: serde_json::from_str(&row.spec).ok()?,
            id: row.id,
            run: row.run,
            state: row.state.name(),
            reason: row.reason,
            replayed: row.replayed,
            started: row.started,
            last_replayed: row.last_replayed,
            ended: row.ended,
        })
    }
}

impl Engine {
    /// Starts a replay; it survives restarts. What it brings about is a run of its own.
    ///
    /// # Errors
    /// When what is asked for cannot be, or the store fails; nothing is replayed then.
    pub async fn start_replay(
        self: &Arc<Self>,
        spec: ReplaySpec,
        who: &str,
    ) -> Result<ReplayView, ReplayError> {
        let plan = Plan::new(self, &spec).map_err(ReplayError::Invalid)?;
        if self.store.replay(&spec.name).await?.is_some() {
            return Err(ReplayError::Invalid(format!("there is a replay '{}' already", spec.name)));
        }
        let now = self.clock.now();
        let row = ReplayRow {
            id: ResourceId(self.store.next_id()),
            name: spec.name.clone(),
            spec: serde_json::to_string(&spec).unwrap_or_default(),
            bus: plan.bus,
            run: RunId(self.store.next_id()),
            state: ReplayState::Starting,
            reason: None,
            position: self.first_event_since(plan.bus, spec.from).await?,
            replayed: 0,
            started: now,
            last_replayed: None,
            ended: None,
        };
        let mut batch = Batch::acceptance();
        batch.start_run(RunRow {
            id: row.run,
            origin: format!("replay:{}", spec.name),
            label: format!("{} from {}", spec.bus, spec.from.to_rfc3339()),
            priority: Priority::default(),
            force: spec.force,
            started: now,
            last: now,
            open: 0,
        });
        batch.put_replay(row.clone());
        batch.audit(self.replay_line(who, "replay.start", &spec.name, &row.spec));
        self.forced.note(spec.force);
        self.store.commit(batch).await?;
        replay(self, row.clone());
        ReplayView::of(row).ok_or_else(|| ReplayError::Invalid("unreadable".to_owned()))
    }

    /// Has a replay stop after the commit that it is at; what it published stays.
    ///
    /// # Errors
    /// When there is none of that name, it has ended, or the store fails.
    pub async fn cancel_replay(
        self: &Arc<Self>,
        name: &str,
        who: &str,
    ) -> Result<ReplayView, ReplayError> {
        let missing = || ReplayError::Missing(format!("replay '{name}'"));
        let row = self.store.replay(name).await?.ok_or_else(missing)?;
        if row.state.ended() {
            let message = format!("the replay is {} already", row.state.name());
            return Err(ReplayError::Invalid(message));
        }
        let mut batch = Batch::new();
        batch.set_replay_state(row.id, ReplayState::Cancelling);
        batch.audit(self.replay_line(who, "replay.cancel", name, "{}"));
        self.store.commit(batch).await?;
        self.cancelled.lock().insert(row.id);
        let row = self.store.replay(name).await?.ok_or_else(missing)?;
        ReplayView::of(row).ok_or_else(missing)
    }

    /// Newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn replays(&self) -> Result<Vec<ReplayView>, StoreError> {
        Ok(self.store.replays().await?.into_iter().filter_map(ReplayView::of).collect())
    }

    /// # Errors
    /// When the store fails.
    pub async fn replay(&self, name: &str) -> Result<Option<ReplayView>, StoreError> {
        Ok(self.store.replay(name).await?.and_then(ReplayView::of))
    }

    /// Takes up the replays that had not ended.
    pub(crate) async fn resume_replays(self: &Arc<Self>) -> Result<(), StoreError> {
        for row in self.store.replays().await? {
            if row.state == ReplayState::Cancelling {
                self.cancelled.lock().insert(row.id);
            }
            if !row.state.ended() {
                replay(self, row);
            }
        }
        Ok(())
    }

    fn replay_line(&self, who: &str, action: &str, name: &str, detail: &str) -> AuditRow {
        AuditRow {
            at: self.clock.now(),
            who: who.to_owned(),
            action: action.to_owned(),
            subject: name.to_owned(),
            detail: detail.to_owned(),
        }
    }
}

/// What a replay's specification means at present.
struct Plan {
    bus: ResourceId,
    /// What is replayed: events that match all of them.
    events: Vec<Matcher<()>>,
    /// Who gets it.
    targets: Matcher<ResourceId>,
    subscriptions: Vec<Arc<Subscription>>,
}

impl Plan {
    fn new(engine: &Engine, spec: &ReplaySpec) -> Result<Plan, String> {
        if spec.name.is_empty() || spec.name.len() > 64 {
            return Err("a replay's name has 1 to 64 characters".to_owned());
        }
        if spec.from >= spec.to {
            return Err("the end of the time range is not after its beginning".to_owned());
        }
        let catalogue: Arc<Catalogue> = engine.catalogue();
        let bus = catalogue.buses.get(&spec.bus);
        let bus = bus.ok_or_else(|| format!("there is no bus '{}'", spec.bus))?.id;
        let pattern = |text: &str| Pattern::parse(text.as_bytes()).map_err(|e| e.to_string());
        let archive = match &spec.archive {
            None => None,
            Some(name) => {
                let found = catalogue.archives.iter().find(|archive| archive.name == *name);
                let found = found.filter(|archive| archive.bus == bus);
                Some(found.ok_or_else(|| format!("bus '{}' has no archive '{name}'", spec.bus))?)
            }
        };
        let mut events = Vec::new();
        for text in spec.pattern.iter().chain(archive.map(|archive| &archive.pattern)) {
            let matcher = Matcher::within(&engine.limits);
            matcher.add((), &pattern(text)?);
            events.push(matcher);
        }
        let chosen = |subscription: &Subscription| {
            subscription.spec.bus == spec.bus
                && subscription.spec.enabled
                && (spec.subscriptions.is_empty()
                    || spec.subscriptions.contains(&subscription.spec.name))
        };
        let subscriptions: Vec<_> =
            catalogue.subscriptions.values().filter(|found| chosen(found)).cloned().collect();
        for name in &spec.subscriptions {
            if !subscriptions.iter().any(|found| found.spec.name == *name) {
                return Err(format!("bus '{}' has no enabled subscription '{name}'", spec.bus));
            }
        }
        let targets = Matcher::within(&engine.limits);
        for subscription in &subscriptions {
            targets.add(subscription.id, &pattern(&subscription.spec.pattern)?);
        }
        Ok(Plan { bus, events, targets, subscriptions })
    }

    /// Whether all have room for more deliveries.
    fn has_room(&self, engine: &Engine) -> bool {
        let most = bound(&engine.limits);
        self.subscriptions.iter().all(|subscription| {
            let gate = engine.gates.gate(subscription.id);
            gate.pending() < most && gate.first().is_none()
        })
    }
}

fn replay(engine: &Arc<Engine>, row: ReplayRow) {
    let engine = engine.clone();
    tokio::spawn(async move {
        tokio::select! {
            () = engine.stopped() => {}
            // Stopped: the store is closed.
            _ = work(&engine, row) => {}
        }
    });
}

async fn work(engine: &Arc<Engine>, mut row: ReplayRow) -> Result<(), Stopped> {
    let spec: Option<ReplaySpec> = serde_json::from_str(&row.spec).ok();
    // The subscriptions as they are when it begins, or goes on after a restart.
    let plan = spec.ok_or_else(|| "unreadable".to_owned()).and_then(|spec| {
        let plan = Plan::new(engine, &spec)?;
        Ok((spec, plan))
    });
    let (spec, plan) = match plan {
        Ok(plan) => plan,
        Err(reason) => {
            row.reason = Some(reason);
            return end(engine, row, ReplayState::Failed).await;
        }
    };
    row.state = ReplayState::Running;
    let most = engine.limits.log_page_events.max(1);
    // With a rate, about ten commits a second, so that the pace is even.
    let rows = spec.rate.map_or(most, |rate| most.min(rate.get().div_ceil(10) as usize));
    loop {
        if engine.cancelled.lock().contains(&row.id) {
            return end(engine, row, ReplayState::Cancelled).await;
        }
        if !plan.has_room(engine) {
            tokio::time::sleep(NO_ROOM).await;
            continue;
        }
        let below = engine.store.horizon();
        let bytes = engine.limits.log_page_bytes;
        let range = LogRange { bus: row.bus, from: row.position, below, rows, bytes };
        let page = read(|| engine.store.log_page(range)).await?;
        let Some(last) = page.last() else {
            return end(engine, row, ReplayState::Completed).await;
        };
        if last.at.0 >= spec.to.0.saturating_add(SLACK_MS) {
            // Nothing that is wanted comes after this page.
            step(engine, &mut row, &spec, &plan, page).await?;
            return end(engine, row, ReplayState::Completed).await;
        }
        let count = step(engine, &mut row, &spec, &plan, page).await?;
        if let Some(rate) = spec.rate {
            tokio::time::sleep(Duration::from_secs(count) / rate.get()).await;
        }
    }
}

/// Replays a page and commits that; how many events it were.
async fn step(
    engine: &Arc<Engine>,
    row: &mut ReplayRow,
    spec: &ReplaySpec,
    plan: &Plan,
    page: Vec<EventRow>,
) -> Result<u64, Stopped> {
    let (mut batch, mut effects) = (Batch::new(), Effects::default());
    let mut scratch = (Scratch::default(), Scratch::default());
    let mut count = 0;
    for event in page {
        row.position = EventId(event.id.0 + 1);
        let wanted = event.at >= spec.from
            && event.at < spec.to
            && plan.events.iter().all(|matcher| {
                let found = matcher.matches(&event.envelope, &mut scratch.0);
                found.is_ok_and(|found| !found.is_empty())
            });
        if !wanted {
            continue;
        }
        count += 1;
        row.last_replayed = Some(event.at);
        let copy = EventBody::new(copy(engine, row, event));
        let found = plan.targets.matches(&copy.row.envelope, &mut scratch.1);
        let mut found: Vec<ResourceId> = found.map(<[_]>::to_vec).unwrap_or_default();
        found.sort_unstable();
        batch.append_event(copy.row.clone());
        for id in found {
            let subscription = plan.subscriptions.iter().find(|subscription| subscription.id == id);
            let Some(subscription) = subscription else { continue };
            let before = effects.jobs.len();
            let now = engine.clock.now();
            engine.add_match(&mut batch, &mut effects, subscription, &copy, now);
            if effects.jobs.len() > before {
                engine.gates.gate(id).more(1);
            }
        }
    }
    row.replayed += count;
    batch.put_replay(row.clone());
    crash::point("replay.before_commit");
    commit(engine, batch).await?;
    crash::point("replay.after_commit");
    engine.act(effects);
    Ok(count)
}

async fn end(engine: &Engine, row: ReplayRow, state: ReplayState) -> Result<(), Stopped> {
    let ended = Some(engine.clock.now());
    engine.cancelled.lock().remove(&row.id);
    let mut batch = Batch::new();
    batch.put_replay(ReplayRow { state, ended, ..row });
    commit(engine, batch).await?;
    Ok(())
}

/// The event once more, as it is known to the world, with the replay's name.
fn copy(engine: &Engine, replay: &ReplayRow, event: EventRow) -> EventRow {
    let mut envelope = Vec::with_capacity(event.envelope.len() + replay.name.len() + 20);
    envelope.extend_from_slice(b"{\"replay-name\":");
    envelope.extend_from_slice(json!(replay.name).to_string().as_bytes());
    envelope.push(b',');
    envelope.extend_from_slice(event.envelope.get(1..).unwrap_or_default());
    EventRow {
        id: EventId(engine.store.next_id()),
        run: replay.run,
        bus: replay.id,
        cause: Cause::Event(event.id),
        hops: event.hops,
        at: engine.clock.now(),
        envelope: Bytes::from(envelope),
    }
}
