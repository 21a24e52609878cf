//! The window of a map run: as many children at once as it may have, started from the pages in
//! order. A child that waits for nothing is over as soon as it has begun. The others are driven, each
//! in a task of its own. The ends of many share a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use stepbus_asl::map::{self, exceeds_tolerance, tolerance_exceeded};
use stepbus_asl::{Failure, MapRunOutcome, MapRunSpec, MapSource};
use stepbus_model::{Limits, MapRunId, crash};
use stepbus_store::{
    Batch, ExecutionKind, ExecutionRow, ExecutionStatus, ItemCounts, MapRunEnd, MapRunRow,
    MapRunStatus, MapSettings, StoreError,
};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::care::{Care, Watch};
use super::child::{self, Ended as ChildEnded, Family};
use super::map_run::{Ended, Parent, give_up};
use super::pages::{Loaded, Pump, Trouble, Unit, max_items};
use super::results;
use super::roll::{Presence, Roll};
use crate::engine::Engine;
use crate::pressure::Standing;
use crate::threads::{give_way, giving_way};

/// Commits of children that are over which one map run waits for at a time.
const COMMITS: usize = 4;

/// What others may know and change of a map run at work.
#[derive(Debug)]
pub(super) struct Live {
    settings: watch::Sender<MapSettings>,
    /// Items and children in flight, whether or not the store knows of them.
    items: AtomicU64,
    children: AtomicU64,
}

impl Live {
    pub(super) fn change(&self, settings: MapSettings) {
        self.settings.send_replace(settings);
    }

    pub(super) fn in_flight(&self) -> (u64, u64) {
        (self.items.load(Ordering::Relaxed), self.children.load(Ordering::Relaxed))
    }
}

/// Takes the map run off the list of those at work, however it ends.
struct Listed<'a> {
    engine: &'a Engine,
    id: MapRunId,
    live: Arc<Live>,
}

impl<'a> Listed<'a> {
    fn new(engine: &'a Engine, row: &MapRunRow) -> Listed<'a> {
        let live = Arc::new(Live {
            settings: watch::Sender::new(row.settings),
            items: AtomicU64::new(0),
            children: AtomicU64::new(0),
        });
        engine.executions.map_runs.lock().insert(row.id, live.clone());
        Listed { engine, id: row.id, live }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.engine.executions.map_runs.lock().remove(&self.id);
    }
}

pub(super) struct MapRun<'a> {
    engine: &'a Arc<Engine>,
    row: MapRunRow,
    family: Arc<Family>,
    spec: &'a Arc<MapRunSpec>,
    settings: watch::Receiver<MapSettings>,
    pressure: watch::Receiver<Standing>,
    listed: Listed<'a>,
    /// An execution waits for the outcome.
    waited_for: bool,
    counts: ItemCounts,
    /// Items of the pages that came.
    total: u64,
    pages: mpsc::Receiver<Result<Loaded, Trouble>>,
    /// What came of the pages and is not started yet.
    waiting: Loaded,
    /// All pages have come.
    all_here: bool,
    children: JoinSet<Result<Tally, Trouble>>,
    /// Items of the children in flight.
    flying: u64,
    /// Children that are over and not handed over for commit yet.
    over: Over,
    commits: FuturesUnordered<BoxFuture<'a, Result<Driven, StoreError>>>,
    /// Children that were driven and are over, but not on disk.
    ending: usize,
    /// The children at work, with all that works for them.
    roll: Roll,
    /// Theirs, until no more of them begin.
    presence: Option<Arc<Presence>>,
    /// After a crash, until what may have been at work then has its end.
    care: Option<Care>,
}

/// Ends that become one commit.
#[derive(Default)]
struct Over {
    batch: Batch,
    children: usize,
    driven: Driven,
}

/// Those of them that were driven: they count as at work until they are on disk.
#[derive(Default)]
struct Driven {
    children: usize,
    items: u64,
    watched: usize,
}

/// What became of a child, and of how many items.
struct Tally {
    ended: ChildEnded,
    items: u32,
    watched: bool,
}

impl<'a> MapRun<'a> {
    pub(super) async fn open(
        engine: &'a Arc<Engine>,
        id: MapRunId,
        parent: &Parent,
        spec: &'a Arc<MapRunSpec>,
        fresh: bool,
        presence: &'a Arc<Presence>,
        care: Option<Care>,
    ) -> Result<MapRun<'a>, StoreError> {
        let row = engine.store.map_run(id).await?;
        let row = row.ok_or_else(|| StoreError::Gone(id.to_string()))?;
        let processor = parent.program.processor(&spec.state_path);
        let processor = processor.ok_or_else(|| StoreError::Gone(spec.state_path.clone()))?;
        let family = Family::new(engine, id, parent, spec, processor);
        let roll = Roll::default();
        let pinned = row.source_version.clone();
        let waited_for = parent.row.status == ExecutionStatus::Running;
        let in_state = matches!(&spec.source, MapSource::Items(_));
        let pump = Pump {
            engine: engine.clone(),
            id,
            spec: spec.clone(),
            pinned,
            fresh,
            only_known: row.only_marked,
            // The array went with the execution's end.
            only_stored: in_state && !waited_for,
        };
        let presence = roll.sign(Some(presence.clone()));
        let pages = start_pump(pump, presence.clone());
        let listed = Listed::new(engine, &row);
        Ok(MapRun {
            engine,
            family: Arc::new(family),
            spec,
            settings: listed.live.settings.subscribe(),
            pressure: engine.pressure.subscribe(),
            listed,
            counts: row.counts.items,
            total: 0,
            waited_for,
            row,
            pages,
            waiting: Loaded::default(),
            all_here: false,
            children: JoinSet::new(),
            flying: 0,
            over: Over::default(),
            commits: FuturesUnordered::new(),
            ending: 0,
            roll,
            presence: Some(presence),
            care,
        })
    }

    fn window(&self) -> usize {
        let wanted = self.settings.borrow().max_concurrency;
        let room = self.engine.pressure.room(window(&self.engine.limits, wanted));
        self.care.as_ref().map_or(room, |care| care.window().min(room))
    }

    /// Runs the children until all have ended, or too many failed.
    pub(super) async fn finish(&mut self) -> Result<Ended, StoreError> {
        loop {
            let filled = self.fill();
            self.hand_over();
            if let Err(failure) = filled {
                return self.give_up(failure).await;
            }
            if self.waited_for && self.too_many_failed() {
                return self.give_up(tolerance_exceeded()).await;
            }
            let idle = self.at_work() == 0 && self.commits.is_empty();
            let hungry = !self.all_here && self.waiting.units.is_empty();
            if self.all_here && idle && self.waiting.units.is_empty() {
                return self.succeed().await;
            }
            let more = !self.waiting.units.is_empty() && self.has_room();
            tokio::select! {
                Some(done) = self.commits.next(), if !self.commits.is_empty() => {
                    self.on_disk(&done?);
                    crash::point("map.child_after_commit");
                }
                Some(ended) = self.children.join_next(), if self.may_join() => {
                    let mut next = Some(ended);
                    while let Some(ended) = next {
                        match self.joined(ended) {
                            Ok(()) => {}
                            Err(Trouble::Store(error)) => return Err(error),
                            Err(Trouble::Failed(failure)) => return self.give_up(failure).await,
                        }
                        next = self.may_join().then(|| self.children.try_join_next()).flatten();
                    }
                }
                page = self.pages.recv(), if hungry => match page {
                    Some(Ok(loaded)) => {
                        self.total += loaded.items;
                        self.waiting = loaded;
                    }
                    Some(Err(Trouble::Store(error))) => return Err(error),
                    Some(Err(Trouble::Failed(failure))) => return self.give_up(failure).await,
                    None => self.all_here = true,
                },
                // It lives as long as the map run is listed.
                _ = self.settings.changed() => {}
                _ = self.pressure.changed() => {}
                () = tokio::task::yield_now(), if more => {}
            }
        }
    }

    /// Children at work: also those whose ends are not on disk.
    fn at_work(&self) -> usize {
        self.children.len() + self.ending
    }

    fn has_room(&self) -> bool {
        self.at_work() < self.window() && self.over.children < self.most_over()
    }

    /// Ends that may share a commit.
    fn most_over(&self) -> usize {
        self.engine.limits.map_children_per_commit.max(1)
    }

    fn may_join(&self) -> bool {
        !self.children.is_empty() && self.over.children < self.most_over()
    }

    fn joined(
        &mut self,
        ended: Result<Result<Tally, Trouble>, tokio::task::JoinError>,
    ) -> Result<(), Trouble> {
        match ended {
            Ok(tally) => self.count(tally?),
            Err(panic) => {
                return Err(Trouble::Failed(Failure::new("States.Runtime", panic.to_string())));
            }
        }
        Ok(())
    }

    /// Starts children while there is room; not too many at a stretch, others work here too.
    fn fill(&mut self) -> Result<(), Failure> {
        let (window, most) = (self.window(), self.most_over());
        while self.at_work() < window && self.over.children < most {
            if self.waited_for && self.too_many_failed() {
                break;
            }
            let Some(unit) = self.waiting.units.pop_front() else { break };
            give_way();
            self.start(unit)?;
        }
        self.show();
        Ok(())
    }

    /// Lets others know what is in flight.
    fn show(&self) {
        let live = &self.listed.live;
        live.items.store(self.flying, Ordering::Relaxed);
        live.children.store(self.at_work() as u64, Ordering::Relaxed);
    }

    /// A child that was driven is over; it is at work until its end is on disk.
    fn count(&mut self, tally: Tally) {
        let Tally { ended, items, watched } = tally;
        *self.counts.column(ended.status) += i64::from(items);
        let driven = Driven { children: 1, items: u64::from(items), watched: usize::from(watched) };
        self.ending += 1;
        match ended.ending {
            None => self.on_disk(&driven),
            Some(ending) => {
                ending.record(&mut self.over.batch);
                self.over.children += 1;
                self.over.driven.add(&driven);
            }
        }
    }

    fn on_disk(&mut self, driven: &Driven) {
        self.ending -= driven.children;
        self.flying = self.flying.saturating_sub(driven.items);
        for _ in 0..driven.watched {
            self.watched_ended();
        }
    }

    /// Nothing that may have been at work at a crash is left: crashes count anew.
    fn watched_ended(&mut self) {
        if !self.care.as_mut().is_some_and(Care::ended) {
            return;
        }
        self.care = None;
        let (engine, execution) = (self.engine.clone(), self.row.execution);
        tokio::spawn(async move {
            let mut batch = Batch::new();
            batch.set_recoveries(execution, 0);
            if let Err(error) = engine.store.commit(batch).await {
                // It may have ended meanwhile.
                tracing::debug!(%execution, %error, "the crashes before go on counting");
            }
        });
    }

    fn too_many_failed(&self) -> bool {
        let failed = u64::try_from(self.counts.unsuccessful()).unwrap_or(0);
        let counts = map::MapCounts { total: self.total(), failed };
        let settings = self.settings.borrow();
        exceeds_tolerance(
            counts,
            settings.tolerated_failure_count,
            settings.tolerated_failure_percentage,
        )
    }

    /// How many items there are; while the source is still being read, how many there can be.
    fn total(&self) -> u64 {
        match &self.spec.source {
            MapSource::Items(_) if !self.waited_for => self.total,
            MapSource::Items(items) => items.as_array().map_or(0, |items| items.len() as u64),
            MapSource::Reader(_) if self.all_here => self.total,
            // No more than may be read.
            MapSource::Reader(_) => max_items(self.spec, &self.engine.limits),
        }
    }

    fn start(&mut self, unit: Unit) -> Result<(), Failure> {
        let Some(presence) = self.presence.clone() else { return Ok(()) };
        let watch = self.care.as_mut().map_or(Watch::No, Care::start);
        let watched = watch != Watch::No;
        let items = u32::try_from(unit.members.len()).unwrap_or(u32::MAX);
        if let Some(row) = self.waiting.running.remove(&unit.index) {
            let (engine, family) = (self.engine.clone(), self.family.clone());
            self.flying += u64::from(items);
            self.children.spawn(giving_way(async move {
                let ended = child::resume(engine, &family, row, presence).await?;
                Ok(Tally { ended, items, watched })
            }));
            return Ok(());
        }
        let old = self.waiting.again.remove(&unit.index);
        if let Some(row) = old.as_ref().filter(|row| self.goes_on(row)) {
            let (engine, family) = (self.engine.clone(), self.family.clone());
            let (old, state) = ((row.clone(), unit), self.row.from_state.clone());
            self.flying += u64::from(items);
            self.children.spawn(giving_way(async move {
                let state = state.as_deref();
                let ended = child::redrive(engine, &family, old, state, presence).await?;
                Ok(Tally { ended, items, watched })
            }));
            return Ok(());
        }
        let begun = self.family.begin(self.engine, unit, old, None)?;
        if begun.is_over() {
            if let Some(ending) = begun.ending() {
                *self.counts.column(ending.status()) += i64::from(items);
                ending.record(&mut self.over.batch);
                self.over.children += 1;
                self.over.driven.watched += usize::from(watched);
            }
            return Ok(());
        }
        self.flying += u64::from(items);
        let end = child::run(self.engine.clone(), &self.family, begun, presence, watch);
        let end = end.map(move |ended| Ok(Tally { ended: ended?, items, watched }));
        self.children.spawn(giving_way(end));
        Ok(())
    }

    /// Whether a child that did not succeed goes on from where it failed, or begins anew.
    fn goes_on(&self, row: &ExecutionRow) -> bool {
        let same = self.row.definition.is_none() && self.family.has_definition_of(row);
        self.row.from_state.is_some() || row.kind == ExecutionKind::Standard && same
    }

    /// Hands over for commit the children that are over. While others are on their way, only when
    /// there are many: a commit costs about the same for few. Those that wait take up the window,
    /// so of a small one fewer do.
    fn hand_over(&mut self) {
        let most = self.most_over();
        let many = (self.window() / 4).clamp(most / 4, most / 2);
        let worth = if self.commits.is_empty() { 1 } else { many };
        if self.over.children >= worth.max(1) && self.commits.len() < COMMITS {
            self.commit_over();
        }
    }

    fn commit_over(&mut self) {
        // The next one may be twice as large; a row and a journal are what most children have.
        let room = (2 * self.over.batch.changes().len()).min(2 * self.most_over());
        let next = Over { batch: Batch::with_room(room), ..Over::default() };
        let Over { batch, driven, .. } = std::mem::replace(&mut self.over, next);
        crash::point("map.child_before_commit");
        let commit = self.engine.store.commit(batch);
        self.commits.push(Box::pin(async move { commit.await.map(|()| driven) }));
    }

    /// The results go where they are to go; their output is the state's.
    async fn succeed(&mut self) -> Result<Ended, StoreError> {
        let end = MapRunEnd {
            id: self.row.id,
            status: MapRunStatus::Succeeded,
            at: self.engine.clock.now(),
            error: None,
            error_cause: None,
        };
        if !self.waited_for && !results::writes(self.spec) {
            return Ok(self.ended_alone(end));
        }
        match results::conclude(self.engine, self.spec, &self.row, &self.family).await {
            Ok((results, written)) => {
                let outcome = MapRunOutcome::Succeeded(Arc::new(results));
                Ok(Ended { outcome, end, batch: written })
            }
            Err(Trouble::Failed(failure)) => Ok(Ended {
                end: MapRunEnd {
                    status: MapRunStatus::Failed,
                    error: failure.error.clone(),
                    error_cause: failure.cause.clone(),
                    ..end
                },
                outcome: MapRunOutcome::Failed(failure),
                batch: Batch::new(),
            }),
            Err(Trouble::Store(error)) => Err(error),
        }
    }

    /// The end of a map run whose output nobody waits for.
    fn ended_alone(&self, end: MapRunEnd) -> Ended {
        let outcome = MapRunOutcome::Succeeded(Arc::new(Value::Null));
        let failure = tolerance_exceeded();
        let end = if self.too_many_failed() {
            MapRunEnd {
                status: MapRunStatus::Failed,
                error: failure.error,
                error_cause: failure.cause,
                ..end
            }
        } else {
            end
        };
        Ended { outcome, end, batch: Batch::new() }
    }

    /// Stops the children and waits until nothing of them is left; those that are over are kept.
    pub(super) async fn halt(&mut self) {
        self.pages.close();
        self.children.abort_all();
        while let Some(ended) = self.children.join_next().await {
            if let Ok(Ok(tally)) = ended {
                self.count(tally);
            }
        }
        self.presence = None;
        self.roll.empty().await;
        if self.over.children > 0 {
            self.commit_over();
        }
        while self.commits.next().await.is_some() {}
        // What they had handed over for commit comes before whatever is read next.
        let _ = self.engine.store.commit(Batch::new()).await;
    }

    async fn give_up(&mut self, failure: Failure) -> Result<Ended, StoreError> {
        self.halt().await;
        let ended = give_up(self.engine, self.row.id, &failure).await?;
        if !results::writes(self.spec) {
            return Ok(ended);
        }
        // The writer tells of the children as they are recorded.
        self.engine.store.commit(ended.batch).await?;
        let batch = match results::conclude(self.engine, self.spec, &self.row, &self.family).await {
            Ok((_, written)) => written,
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::Failed(failure)) => {
                let id = self.row.id;
                tracing::warn!(map_run = %id, ?failure, "the results of a failed map run could not be written");
                Batch::new()
            }
        };
        Ok(Ended { batch, ..ended })
    }
}

impl Driven {
    fn add(&mut self, other: &Driven) {
        self.children += other.children;
        self.items += other.items;
        self.watched += other.watched;
    }
}

impl Drop for MapRun<'_> {
    /// The ends of children that are over are not lost when the Map state is left.
    fn drop(&mut self) {
        while let Some(ended) = self.children.try_join_next() {
            if let Ok(Ok(tally)) = ended {
                self.count(tally);
            }
        }
        if self.over.children > 0 {
            self.commit_over();
        }
    }
}

/// Children at once, by what MaxConcurrency wants.
pub(crate) fn window(limits: &Limits, wanted: u64) -> usize {
    match usize::try_from(wanted) {
        Ok(0) | Err(_) => limits.map_concurrency,
        Ok(wanted) => wanted.min(limits.map_concurrency),
    }
}

/// Has the pages made ahead of the children, by a task that somebody waits for.
fn start_pump(pump: Pump, here: Arc<Presence>) -> mpsc::Receiver<Result<Loaded, Trouble>> {
    let (to, pages) = mpsc::channel(pump.engine.limits.map_pages_ahead.max(1));
    tokio::spawn(async move {
        let _here = here;
        tokio::select! {
            () = to.closed() => {}
            () = pump.run(&to) => {}
        }
    });
    pages
}
