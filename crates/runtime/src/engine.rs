//! The engine: what holds the rooms' parts together, and how it starts and stops.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use stepbus_connect::{Connect, SpecError};
use stepbus_model::{Clock, Limits, ResourceId, Timestamp};
use stepbus_store::{Store, StoreError};
use tokio::sync::watch;

use crate::alarms::Alarms;
use crate::catalogue::{self, Catalogue, CatalogueError};
use crate::declared::Declared;
use crate::delivery::{Deliveries, Operations};
use crate::forced::Forced;
use crate::holds::Holds;
use crate::log::{self, Gates, Marks};
use crate::pressure::{self, Pressure};
use crate::priority::Priorities;
use crate::queues::{self, Queues};
use crate::schedules::Schedules;
use crate::targets::LogFiles;
use crate::threads::Threads;
use crate::workflow::{Activities, Executions};

/// A running system over one store.
#[derive(Debug)]
pub struct Engine {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) connect: Arc<Connect>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) threads: Arc<Threads>,
    pub(crate) deliveries: Deliveries,
    pub(crate) executions: Executions,
    pub(crate) queues: Queues,
    pub(crate) activities: Activities,
    pub(crate) alarms: Alarms,
    pub(crate) holds: Holds,
    pub(crate) forced: Forced,
    pub(crate) schedules: Schedules,
    pub(crate) operations: Operations,
    pub(crate) priorities: Priorities,
    pub(crate) gates: Gates,
    pub(crate) marks: Marks,
    pub(crate) pressure: Pressure,
    /// The bound on storage is reached: nothing is accepted.
    pub(crate) refusing: AtomicBool,
    /// Replays that are to stop.
    pub(crate) cancelled: Mutex<HashSet<ResourceId>>,
    /// Itself, for what goes on beside a call.
    pub(crate) me: Weak<Engine>,
    pub(crate) log_files: LogFiles,
    pub(crate) started: Timestamp,
    catalogue: RwLock<Arc<Catalogue>>,
    stopping: watch::Sender<bool>,
}

impl Engine {
    /// Registers what is declared and takes up everything that was not finished.
    ///
    /// # Errors
    /// When something declared cannot run, or the store fails.
    pub async fn open(
        store: Arc<dyn Store>,
        connect: Arc<Connect>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        declared: &Declared,
    ) -> Result<Arc<Engine>, CatalogueError> {
        let now = clock.now();
        let catalogue = catalogue::register(&*store, &limits, declared, now).await?;
        equip(&connect, declared)?;
        let holds = Holds::load(&*store).await?;
        let activities = Activities::load(&*store).await?;
        let threads = Threads::start(limits.front_work)
            .map_err(|error| StoreError::Failed(format!("no threads to work with: {error}")))?;
        let engine = Arc::new_cyclic(|me| Engine {
            me: me.clone(),
            holds,
            gates: Gates::default(),
            marks: Marks::default(),
            pressure: Pressure::new(now),
            refusing: AtomicBool::new(false),
            cancelled: Mutex::default(),
            forced: Forced::default(),
            schedules: Schedules::default(),
            operations: Operations::default(),
            store,
            connect,
            clock,
            limits,
            threads,
            deliveries: Deliveries::default(),
            executions: Executions::default(),
            queues: Queues::default(),
            activities,
            alarms: Alarms::new(limits.timers_in_memory),
            priorities: Priorities::new(limits.prioritized_runs),
            log_files: LogFiles::default(),
            started: now,
            catalogue: RwLock::new(Arc::new(catalogue)),
            stopping: watch::Sender::new(false),
        });
        engine.resume().await?;
        Ok(engine)
    }

    /// Takes over a changed project: new versions serve from now on, what is under way finishes
    /// under the version it began with.
    ///
    /// # Errors
    /// When something declared cannot run; the old declaration then stays in force.
    pub async fn reload(self: &Arc<Self>, declared: &Declared) -> Result<(), CatalogueError> {
        let now = self.clock.now();
        let catalogue = catalogue::register(&*self.store, &self.limits, declared, now).await?;
        equip(&self.connect, declared)?;
        self.revise_gates(|| {
            let catalogue = Arc::new(catalogue);
            *self.catalogue.write() = catalogue.clone();
            catalogue
        });
        self.deliveries.serve(self);
        self.serve_schedules().await?;
        Ok(())
    }

    /// Everything declared, as it stands now.
    #[must_use]
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.read().clone()
    }

    /// Stops taking up work. What is in flight is dropped and taken up again at the next start.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Stops, and waits until the threads that bulk work runs on are gone.
    pub async fn close(&self) {
        self.stop();
        self.threads.stop().await;
    }

    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    #[must_use]
    pub fn connect(&self) -> &Arc<Connect> {
        &self.connect
    }

    /// The time everything inside goes by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Executions that are in memory, a map's children aside.
    #[must_use]
    pub fn executions_in_memory(&self) -> usize {
        self.executions.in_memory()
    }

    /// Resolves when [`Engine::stop`] was called.
    pub(crate) async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // An error means the engine itself is gone, which is a stop as well.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }

    async fn resume(self: &Arc<Self>) -> Result<(), StoreError> {
        self.find_backlogs().await?;
        self.priorities.load(&*self.store, &self.forced, self.limits.page_rows).await?;
        self.load_gates().await?;
        self.deliveries.serve(self);
        self.alarms.start(self);
        log::start(self);
        pressure::start(self);
        self.resume_replays().await?;
        queues::start_keeping(self);
        self.resume_operations().await?;
        self.serve_schedules().await?;
        self.start_schedules();
        self.executions.resume(self).await
    }
}

fn equip(connect: &Arc<Connect>, declared: &Declared) -> Result<(), CatalogueError> {
    for spec in &declared.connections {
        let set = connect.set_connection(spec.clone());
        set.map_err(|errors| unusable("connection", &spec.name, &errors))?;
    }
    for spec in &declared.buckets {
        let set = connect.set_bucket(spec.clone());
        set.map_err(|errors| unusable("bucket", &spec.name, &errors))?;
    }
    for spec in declared.called() {
        let set = connect.set_destination(spec.clone().into_owned());
        set.map_err(|errors| unusable("destination", &spec.name, &errors))?;
    }
    Ok(())
}

fn unusable(kind: &'static str, name: &str, errors: &[SpecError]) -> CatalogueError {
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    CatalogueError::Invalid { kind, name: name.to_owned(), message: messages.join("; ") }
}
