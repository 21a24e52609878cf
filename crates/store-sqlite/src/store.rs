//! The store's outside: what it is made of, and each read as a question to a reading connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use stepbus_model::{
    DeliveryId, EventId, ExecutionId, MapRunId, MessageId, ResourceId, RunId, Timestamp, Totals,
};
use stepbus_store::{
    AuditRow, Batch, ClaimRow, CursorRow, DeadLetterGroup, DefinitionRow, DeliveryRow, EditRow,
    EventRow, ExecutionFilter, ExecutionRow, Horizon, JournalRow, KeyRow, LedgerRow, LogRange,
    MapPageRow, MapResultRow, MapRunRow, MessageFilter, MessageRow, OperationRow, PauseRow,
    Problem, QueueCounts, Read, Ready, ReplayRow, ResourceRow, RunRow, ScheduleRow, SnapshotRow,
    Stats, Store, StoreError, SyncChildRow, TaskTokenRow, Uncommitted, Usage, WorkflowTotals,
};
use uuid::Uuid;

use crate::check;
use crate::counters::Counters;
use crate::database::{failed, open_reader, open_writer};
use crate::group::ID_BLOCK;
use crate::lock::DirectoryLock;
use crate::options::SqliteOptions;
use crate::queue::{Handed, Queue};
use crate::read::{self, Readers};
use crate::writer;

/// A data directory that this process holds.
///
/// Dropping it works off what was handed in, closes the file and lets go of the directory.
#[derive(Debug)]
pub struct SqliteStore {
    installation: Uuid,
    path: PathBuf,
    options: SqliteOptions,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    horizon: Horizon,
    readers: Readers,
    writer: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the data directory, or makes it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another process holds it, [`StoreError::TooNew`] when a newer
    /// binary wrote it.
    pub fn open(dir: &Path, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| failed(format!("cannot make {}: {error}", dir.display())))?;
        let lock = DirectoryLock::take(dir)?;
        let opened = open_writer(dir, &options)?;
        let connections = (0..options.readers.max(1))
            .map(|_| open_reader(&opened.path, &options))
            .collect::<Result<Vec<_>, _>>()?;
        let readers = Readers::start(connections, options.limits.reader_queue).map_err(failed)?;

        let counters = Arc::new(Counters::default());
        counters.last_id.store(opened.next_id - 1, Ordering::Relaxed);
        counters.id_mark.store(opened.next_id, Ordering::Relaxed);
        let queue = Arc::new(Queue::new(options.limits.writer_queue));
        // The first group moves the mark of ids ahead.
        queue.nudge();
        let (installation, path) = (opened.installation, opened.path.clone());
        let writer = {
            let (queue, counters) = (Arc::clone(&queue), Arc::clone(&counters));
            let options = options.clone();
            std::thread::Builder::new()
                .name("stepbus-write".to_owned())
                .spawn(move || writer::run(opened, lock, &options, queue, &counters))
                .map_err(failed)?
        };
        let writer = Some(writer);
        let horizon = Horizon::default();
        Ok(SqliteStore { installation, path, options, queue, counters, horizon, readers, writer })
    }

    /// Takes nothing more in; what was handed over is still worked off.
    pub fn close(&self) {
        self.queue.close(StoreError::Closed);
    }

    fn file_bytes(&self, suffix: &str) -> u64 {
        let mut path = self.path.clone().into_os_string();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |file| file.len())
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
        // A reader at work would keep the writer from emptying the log.
        self.readers.stop();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Store for SqliteStore {
    fn installation(&self) -> Uuid {
        self.installation
    }

    fn next_id(&self) -> u64 {
        let id = self.counters.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        if id + ID_BLOCK / 4 >= self.counters.id_mark.load(Ordering::Relaxed) {
            self.queue.nudge();
        }
        id
    }

    fn event_id(&self) -> (EventId, Uncommitted) {
        let (id, uncommitted) = self.horizon.hand_out(|| self.next_id());
        (EventId(id), uncommitted)
    }

    fn horizon(&self) -> EventId {
        EventId(self.horizon.settled_below(|| self.next_id()))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        // Handed over at once where there is room: the order of calls is the order of commits.
        let handed = self.queue.try_push(batch);
        Box::pin(async move {
            let answer = match handed {
                Handed::Over(pushed) => pushed?,
                Handed::NoRoom(batch) => self.queue.push(batch).await?,
            };
            answer.await.unwrap_or(Err(StoreError::Closed))
        })
    }

    fn stats(&self) -> Stats {
        let directory = self.path.parent().unwrap_or(&self.path);
        Stats {
            queued_batches: self.queue.len() as u64,
            database_bytes: self.file_bytes(""),
            log_bytes: self.file_bytes("-wal"),
            free_bytes: (self.options.free_space)(directory).unwrap_or(0),
            full: self.queue.is_full(),
            ..self.counters.stats()
        }
    }

    fn resources(&self) -> Read<'_, Vec<ResourceRow>> {
        self.readers.ask(read::config::resources)
    }

    fn resource_version(&self, id: ResourceId, version: u32) -> Read<'_, Option<ResourceRow>> {
        self.readers.ask(move |conn| read::config::resource_version(conn, id, version))
    }

    fn definition(&self, id: u64) -> Read<'_, Option<DefinitionRow>> {
        self.readers.ask(move |conn| read::config::definition(conn, id))
    }

    fn definition_by_hash(&self, hash: &str) -> Read<'_, Option<DefinitionRow>> {
        let hash = hash.to_owned();
        self.readers.ask(move |conn| read::config::definition_by_hash(conn, &hash))
    }

    fn pauses(&self) -> Read<'_, Vec<PauseRow>> {
        self.readers.ask(read::config::pauses)
    }

    fn event(&self, id: EventId) -> Read<'_, Option<EventRow>> {
        self.readers.ask(move |conn| read::bus::event(conn, id))
    }

    fn events(
        &self,
        bus: Option<ResourceId>,
        after: EventId,
        limit: usize,
    ) -> Read<'_, Vec<EventRow>> {
        self.readers.ask(move |conn| read::bus::events(conn, bus, after, limit))
    }

    fn log_page(&self, range: LogRange) -> Read<'_, Vec<EventRow>> {
        self.readers.ask(move |conn| read::log::log_page(conn, range))
    }

    fn cursors(&self) -> Read<'_, Vec<CursorRow>> {
        self.readers.ask(read::log::cursors)
    }

    fn unfinished_events(&self, range: LogRange) -> Read<'_, Vec<EventId>> {
        self.readers.ask(move |conn| read::log::unfinished_events(conn, range))
    }

    fn replay(&self, name: &str) -> Read<'_, Option<ReplayRow>> {
        let name = name.to_owned();
        self.readers.ask(move |conn| read::log::replay(conn, &name))
    }

    fn replays(&self) -> Read<'_, Vec<ReplayRow>> {
        self.readers.ask(read::log::replays)
    }

    fn used_bytes(&self) -> u64 {
        self.counters.used_bytes.load(Ordering::Relaxed)
    }

    fn usage(&self, by_group: bool) -> Read<'_, Usage> {
        Box::pin(async move {
            let usage = self.readers.ask(move |conn| read::log::usage(conn, by_group)).await?;
            let stats = self.stats();
            Ok(Usage { write_ahead_log: stats.log_bytes, disk_free: stats.free_bytes, ..usage })
        })
    }

    fn behind(&self, subscription: ResourceId) -> Read<'_, Vec<(RunId, i64)>> {
        self.readers.ask(move |conn| read::log::behind(conn, subscription))
    }

    fn delivery(&self, id: DeliveryId) -> Read<'_, Option<DeliveryRow>> {
        self.readers.ask(move |conn| read::bus::delivery(conn, id))
    }

    fn ledger(&self, id: DeliveryId) -> Read<'_, Option<LedgerRow>> {
        self.readers.ask(move |conn| read::bus::ledger(conn, id))
    }

    fn ready_deliveries(
        &self,
        subscription: ResourceId,
        after: DeliveryId,
        limit: usize,
        scan: usize,
    ) -> Read<'_, Ready> {
        self.readers
            .ask(move |conn| read::bus::ready_deliveries(conn, subscription, after, limit, scan))
    }

    fn due_deliveries(&self, until: Timestamp, limit: usize) -> Read<'_, Vec<DeliveryRow>> {
        self.readers.ask(move |conn| read::bus::due_deliveries(conn, until, limit))
    }

    fn lane_deliveries(
        &self,
        subscription: ResourceId,
        lane: i64,
        limit: usize,
    ) -> Read<'_, Vec<DeliveryRow>> {
        self.readers.ask(move |conn| read::bus::lane_deliveries(conn, subscription, lane, limit))
    }

    fn oldest_delivery(&self, subscription: ResourceId) -> Read<'_, Option<Timestamp>> {
        self.readers.ask(move |conn| read::bus::oldest_delivery(conn, subscription))
    }

    fn key(&self, scope: ResourceId, key: &str) -> Read<'_, Option<KeyRow>> {
        let key = key.to_owned();
        self.readers.ask(move |conn| read::config::key(conn, scope, &key))
    }

    fn message(&self, id: MessageId) -> Read<'_, Option<MessageRow>> {
        self.readers.ask(move |conn| read::bus::message(conn, id))
    }

    fn messages(
        &self,
        filter: MessageFilter,
        after: MessageId,
        limit: usize,
    ) -> Read<'_, Vec<MessageRow>> {
        self.readers.ask(move |conn| read::bus::messages(conn, filter, after, limit))
    }

    fn dead_before(
        &self,
        subscription: ResourceId,
        key: &str,
        before: DeliveryId,
    ) -> Read<'_, Option<(MessageId, DeliveryId)>> {
        let key = key.to_owned();
        self.readers.ask(move |conn| read::bus::dead_before(conn, subscription, &key, before))
    }

    fn dead_letter_groups(&self, filter: MessageFilter) -> Read<'_, Vec<DeadLetterGroup>> {
        self.readers.ask(move |conn| read::bus::dead_letter_groups(conn, filter))
    }

    fn edit(&self, delivery: DeliveryId, revision: u32) -> Read<'_, Option<EditRow>> {
        self.readers.ask(move |conn| read::bus::edit(conn, delivery, revision))
    }

    fn operations(&self, running_only: bool, limit: usize) -> Read<'_, Vec<OperationRow>> {
        self.readers.ask(move |conn| read::config::operations(conn, running_only, limit))
    }

    fn operation(&self, id: u64) -> Read<'_, Option<OperationRow>> {
        self.readers.ask(move |conn| read::config::operation(conn, id))
    }

    fn schedules(&self) -> Read<'_, Vec<ScheduleRow>> {
        self.readers.ask(read::config::schedules)
    }

    fn queue_depths(&self) -> Read<'_, Vec<(ResourceId, u64, Timestamp)>> {
        self.readers.ask(read::bus::queue_depths)
    }

    fn visible_messages(
        &self,
        queue: ResourceId,
        now: Timestamp,
        limit: usize,
    ) -> Read<'_, Vec<MessageRow>> {
        self.readers.ask(move |conn| read::bus::visible_messages(conn, queue, now, limit))
    }

    fn next_visible(&self, queue: ResourceId, now: Timestamp) -> Read<'_, Option<Timestamp>> {
        self.readers.ask(move |conn| read::bus::next_visible(conn, queue, now))
    }

    fn queue_counts(&self, queue: ResourceId, now: Timestamp) -> Read<'_, QueueCounts> {
        self.readers.ask(move |conn| read::bus::queue_counts(conn, queue, now))
    }

    fn execution(&self, id: ExecutionId) -> Read<'_, Option<ExecutionRow>> {
        self.readers.ask(move |conn| read::work::execution(conn, id))
    }

    fn execution_by_name(
        &self,
        workflow: ResourceId,
        name: &str,
    ) -> Read<'_, Option<ExecutionRow>> {
        let name = name.to_owned();
        self.readers.ask(move |conn| read::work::execution_by_name(conn, workflow, &name))
    }

    fn executions(
        &self,
        filter: ExecutionFilter,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Read<'_, Vec<ExecutionRow>> {
        self.readers.ask(move |conn| read::work::executions(conn, filter, before, limit))
    }

    fn active_executions(&self, after: ExecutionId, limit: usize) -> Read<'_, Vec<ExecutionRow>> {
        self.readers.ask(move |conn| read::work::active_executions(conn, after, limit))
    }

    fn journal(&self, execution: ExecutionId, from: u64) -> Read<'_, Vec<JournalRow>> {
        self.readers.ask(move |conn| read::work::journal(conn, execution, from))
    }

    fn snapshot(&self, execution: ExecutionId) -> Read<'_, Option<SnapshotRow>> {
        self.readers.ask(move |conn| read::work::snapshot(conn, execution))
    }

    fn task_token(&self, token: &str) -> Read<'_, Option<TaskTokenRow>> {
        let token = token.to_owned();
        self.readers.ask(move |conn| read::waits::task_token(conn, &token))
    }

    fn waiting_tasks(
        &self,
        activity: ResourceId,
        after: u64,
        limit: usize,
    ) -> Read<'_, Vec<TaskTokenRow>> {
        self.readers.ask(move |conn| read::waits::waiting_tasks(conn, activity, after, limit))
    }

    fn sync_child(&self, child: ExecutionId) -> Read<'_, Option<SyncChildRow>> {
        self.readers.ask(move |conn| read::waits::sync_child(conn, child))
    }

    fn sync_children(&self, parent: ExecutionId) -> Read<'_, Vec<SyncChildRow>> {
        self.readers.ask(move |conn| read::waits::sync_children(conn, parent))
    }

    fn unsettled_children(&self, after: ExecutionId, limit: usize) -> Read<'_, Vec<SyncChildRow>> {
        self.readers.ask(move |conn| read::waits::unsettled_children(conn, after, limit))
    }

    fn due_executions(
        &self,
        until: Timestamp,
        limit: usize,
    ) -> Read<'_, Vec<(ExecutionId, Timestamp)>> {
        self.readers.ask(move |conn| read::work::due_executions(conn, until, limit))
    }

    fn map_run(&self, id: MapRunId) -> Read<'_, Option<MapRunRow>> {
        self.readers.ask(move |conn| read::maps::map_run(conn, id))
    }

    fn map_runs_of_run(&self, run: RunId) -> Read<'_, Vec<MapRunRow>> {
        self.readers.ask(move |conn| read::maps::map_runs_of_run(conn, run))
    }

    fn running_map_runs(&self, after: MapRunId, limit: usize) -> Read<'_, Vec<MapRunRow>> {
        self.readers.ask(move |conn| read::maps::running_map_runs(conn, after, limit))
    }

    fn map_runs(&self, before: Option<MapRunId>, limit: usize) -> Read<'_, Vec<MapRunRow>> {
        self.readers.ask(move |conn| read::maps::map_runs(conn, before, limit))
    }

    fn running_children(&self, map_run: MapRunId) -> Read<'_, Vec<ExecutionRow>> {
        self.readers.ask(move |conn| read::maps::running_children(conn, map_run))
    }

    fn unsuccessful_children(
        &self,
        map_run: MapRunId,
        after: ExecutionId,
        limit: usize,
    ) -> Read<'_, Vec<ExecutionRow>> {
        self.readers.ask(move |conn| read::maps::unsuccessful_children(conn, map_run, after, limit))
    }

    fn map_page(&self, map_run: MapRunId, page: u64) -> Read<'_, Option<MapPageRow>> {
        self.readers.ask(move |conn| read::maps::map_page(conn, map_run, page))
    }

    fn map_children(&self, map_run: MapRunId, from: u64, to: u64) -> Read<'_, Vec<ExecutionRow>> {
        self.readers.ask(move |conn| read::maps::map_children(conn, map_run, from, to))
    }

    fn map_results(
        &self,
        map_run: MapRunId,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Read<'_, Vec<MapResultRow>> {
        self.readers.ask(move |conn| read::maps::map_results(conn, map_run, from, to, bytes))
    }

    fn run(&self, id: RunId) -> Read<'_, Option<RunRow>> {
        self.readers.ask(move |conn| read::books::run(conn, id))
    }

    fn runs(&self, open_only: bool, before: Option<RunId>, limit: usize) -> Read<'_, Vec<RunRow>> {
        self.readers.ask(move |conn| read::books::runs(conn, open_only, before, limit))
    }

    fn run_totals(&self, run: RunId) -> Read<'_, Vec<(ResourceId, Totals)>> {
        self.readers.ask(move |conn| read::books::run_totals(conn, run))
    }

    fn subscription_totals(&self) -> Read<'_, Vec<(ResourceId, Totals)>> {
        self.readers.ask(read::books::subscription_totals)
    }

    fn workflow_totals(&self) -> Read<'_, Vec<(ResourceId, WorkflowTotals)>> {
        self.readers.ask(read::books::workflow_totals)
    }

    fn claim(&self, scope: &str, key: &str) -> Read<'_, Option<ClaimRow>> {
        let (scope, key) = (scope.to_owned(), key.to_owned());
        self.readers.ask(move |conn| read::config::claim(conn, &scope, &key))
    }

    fn audit_rows(&self, before: Option<u64>, limit: usize) -> Read<'_, Vec<(u64, AuditRow)>> {
        self.readers.ask(move |conn| read::config::audit_rows(conn, before, limit))
    }

    fn check(&self) -> Read<'_, Vec<Problem>> {
        self.readers.ask(check::check)
    }
}
