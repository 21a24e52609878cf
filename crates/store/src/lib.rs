//! The durable records: what is kept, the one way to change it ([`Batch`]), and what can be read.
//!
//! A batch is atomic: an input and all its consequences stand in one. When [`Store::commit`]
//! returns, the batch is on disk. The books ([`stepbus_model::Totals`], the open count of a run)
//! are no change of their own: the batch derives them from the changes, so they cannot disagree.

mod batch;
mod books;
mod error;
mod horizon;
mod query;
mod records;
pub mod suite;

use std::fmt;

use futures_util::future::BoxFuture;
use stepbus_model::{
    DeliveryId, EventId, ExecutionId, MapRunId, MessageId, ResourceId, RunId, Timestamp, Totals,
};
use uuid::Uuid;

pub use batch::{Batch, Change, Class, Finish, MapRunEnd, MapRunRedrive, Receipt, Retry};
pub use books::{Books, WorkflowTotals};
pub use error::{Problem, StoreError};
pub use horizon::{Horizon, Uncommitted};
pub use query::{
    DeadLetterGroup, ExecutionFilter, LogRange, MessageFilter, QueueCounts, Ready, Stats, Usage,
};
pub use records::{
    AuditRow, Cause, ClaimRow, CursorRow, DefinitionRow, DeliveryRow, EditRow, EventRow,
    ExecutionEnd, ExecutionKind, ExecutionRow, ExecutionStatus, ItemCounts, JournalRow, KeyRow,
    LedgerRow, MapCounts, MapPageRow, MapResultRow, MapRunRow, MapRunStatus, MapSettings,
    MessageRow, OperationRow, OperationStatus, PauseRow, Priority, Reception, ReplayRow,
    ReplayState, ResourceKind, ResourceRow, RunRow, ScheduleRow, SnapshotRow, SyncChildRow,
    SyncState, TaskRef, TaskTokenRow,
};

pub type Read<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Where the records live. Listings come in pages, in id order unless they say otherwise.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Names this body of records for ever; ids shown to the world are derived from it.
    fn installation(&self) -> Uuid;

    /// A number never given out before, not even before a restart; later ones are larger.
    fn next_id(&self) -> u64;

    /// An id for an event; the batch that carries the event takes the guard along.
    fn event_id(&self) -> (EventId, Uncommitted);

    /// No event with an id below this will still become durable: the log may be read up to here
    /// by cursor. To be asked before the page is read.
    fn horizon(&self) -> EventId;

    /// Makes the whole batch durable, or none of it. Batches become durable in the order in which
    /// they were handed over, so an empty one is a barrier. It is handed over when this is called;
    /// when there is no room, when the answer is first waited for. Once handed over it stands
    /// whether or not the answer is waited for.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    fn stats(&self) -> Stats;

    // Resources and definitions.
    fn resources(&self) -> Read<'_, Vec<ResourceRow>>;
    fn resource_version(&self, id: ResourceId, version: u32) -> Read<'_, Option<ResourceRow>>;
    fn definition(&self, id: u64) -> Read<'_, Option<DefinitionRow>>;
    fn definition_by_hash(&self, hash: &str) -> Read<'_, Option<DefinitionRow>>;
    /// All that operators hold up.
    fn pauses(&self) -> Read<'_, Vec<PauseRow>>;

    // Events, deliveries, messages.
    fn event(&self, id: EventId) -> Read<'_, Option<EventRow>>;
    /// The retained log of a bus, or of all, after `after`.
    fn events(
        &self,
        bus: Option<ResourceId>,
        after: EventId,
        limit: usize,
    ) -> Read<'_, Vec<EventRow>>;
    /// A page of a bus's log.
    fn log_page(&self, range: LogRange) -> Read<'_, Vec<EventRow>>;
    /// All cursors, by subscription and in their order.
    fn cursors(&self) -> Read<'_, Vec<CursorRow>>;
    /// The events of such a page whose runs have something open.
    fn unfinished_events(&self, range: LogRange) -> Read<'_, Vec<EventId>>;
    fn replay(&self, name: &str) -> Read<'_, Option<ReplayRow>>;
    /// Newest first.
    fn replays(&self) -> Read<'_, Vec<ReplayRow>>;
    /// Bytes that the records took after the last commit; known without looking.
    fn used_bytes(&self) -> u64;
    /// The disk that is used; by groups of records only when asked, since that looks at all.
    fn usage(&self, by_group: bool) -> Read<'_, Usage>;
    /// Pending matches of a subscription that have no delivery, by run; looks at all of its runs.
    fn behind(&self, subscription: ResourceId) -> Read<'_, Vec<(RunId, i64)>>;
    fn delivery(&self, id: DeliveryId) -> Read<'_, Option<DeliveryRow>>;
    fn ledger(&self, id: DeliveryId) -> Read<'_, Option<LedgerRow>>;
    /// Up to `limit` deliveries that wait for nothing (`due` is none); of a lane, only its first
    /// one, and that only when it does not wait. At most `scan` rows are looked at, so that one
    /// lane with very many deliveries holds up nobody for long.
    fn ready_deliveries(
        &self,
        subscription: ResourceId,
        after: DeliveryId,
        limit: usize,
        scan: usize,
    ) -> Read<'_, Ready>;
    /// Deliveries that wait for a moment up to `until`, soonest first.
    fn due_deliveries(&self, until: Timestamp, limit: usize) -> Read<'_, Vec<DeliveryRow>>;
    /// The first deliveries of one lane of a FIFO subscription, whether they wait or not.
    fn lane_deliveries(
        &self,
        subscription: ResourceId,
        lane: i64,
        limit: usize,
    ) -> Read<'_, Vec<DeliveryRow>>;
    /// When the oldest live delivery of a subscription was made.
    fn oldest_delivery(&self, subscription: ResourceId) -> Read<'_, Option<Timestamp>>;
    fn key(&self, scope: ResourceId, key: &str) -> Read<'_, Option<KeyRow>>;
    fn message(&self, id: MessageId) -> Read<'_, Option<MessageRow>>;
    fn messages(
        &self,
        filter: MessageFilter,
        after: MessageId,
        limit: usize,
    ) -> Read<'_, Vec<MessageRow>>;
    /// A dead letter of that key whose delivery is older than `before`.
    fn dead_before(
        &self,
        subscription: ResourceId,
        key: &str,
        before: DeliveryId,
    ) -> Read<'_, Option<(MessageId, DeliveryId)>>;
    /// Dead letters that the filter lets through, by queue, subscription, code and cause; those
    /// with the most first.
    fn dead_letter_groups(&self, filter: MessageFilter) -> Read<'_, Vec<DeadLetterGroup>>;
    /// The newest edit of a delivery's payload up to `revision`.
    fn edit(&self, delivery: DeliveryId, revision: u32) -> Read<'_, Option<EditRow>>;
    /// Newest first; only running ones when asked.
    fn operations(&self, running_only: bool, limit: usize) -> Read<'_, Vec<OperationRow>>;
    fn operation(&self, id: u64) -> Read<'_, Option<OperationRow>>;
    fn schedules(&self) -> Read<'_, Vec<ScheduleRow>>;
    /// Each queue that holds messages, with how many and the time of the oldest.
    fn queue_depths(&self) -> Read<'_, Vec<(ResourceId, u64, Timestamp)>>;
    /// Messages of a queue that may be received at `now`, those that were visible first first.
    fn visible_messages(
        &self,
        queue: ResourceId,
        now: Timestamp,
        limit: usize,
    ) -> Read<'_, Vec<MessageRow>>;
    /// When the next message of a queue becomes visible, after `now`.
    fn next_visible(&self, queue: ResourceId, now: Timestamp) -> Read<'_, Option<Timestamp>>;
    fn queue_counts(&self, queue: ResourceId, now: Timestamp) -> Read<'_, QueueCounts>;

    // Executions, map runs, timers.
    fn execution(&self, id: ExecutionId) -> Read<'_, Option<ExecutionRow>>;
    fn execution_by_name(&self, workflow: ResourceId, name: &str)
    -> Read<'_, Option<ExecutionRow>>;
    /// Newest first, before `before` when given.
    fn executions(
        &self,
        filter: ExecutionFilter,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Read<'_, Vec<ExecutionRow>>;
    /// Running executions that are not idle, in id order.
    fn active_executions(&self, after: ExecutionId, limit: usize) -> Read<'_, Vec<ExecutionRow>>;
    /// Journal rows that hold entries at or after `from`, in order.
    fn journal(&self, execution: ExecutionId, from: u64) -> Read<'_, Vec<JournalRow>>;
    fn snapshot(&self, execution: ExecutionId) -> Read<'_, Option<SnapshotRow>>;
    fn task_token(&self, token: &str) -> Read<'_, Option<TaskTokenRow>>;
    /// Tasks of an activity that no worker took, the longest waiting first.
    fn waiting_tasks(
        &self,
        activity: ResourceId,
        after: u64,
        limit: usize,
    ) -> Read<'_, Vec<TaskTokenRow>>;
    fn sync_child(&self, child: ExecutionId) -> Read<'_, Option<SyncChildRow>>;
    fn sync_children(&self, parent: ExecutionId) -> Read<'_, Vec<SyncChildRow>>;
    /// Those whose parent is to be told, and those that are to be stopped.
    fn unsettled_children(&self, after: ExecutionId, limit: usize) -> Read<'_, Vec<SyncChildRow>>;
    /// Idle executions to be woken up to `until`, soonest first.
    fn due_executions(
        &self,
        until: Timestamp,
        limit: usize,
    ) -> Read<'_, Vec<(ExecutionId, Timestamp)>>;
    fn map_run(&self, id: MapRunId) -> Read<'_, Option<MapRunRow>>;
    fn map_runs_of_run(&self, run: RunId) -> Read<'_, Vec<MapRunRow>>;
    fn running_map_runs(&self, after: MapRunId, limit: usize) -> Read<'_, Vec<MapRunRow>>;
    /// Newest first, before `before` when given.
    fn map_runs(&self, before: Option<MapRunId>, limit: usize) -> Read<'_, Vec<MapRunRow>>;
    /// Children that run, in id order.
    fn running_children(&self, map_run: MapRunId) -> Read<'_, Vec<ExecutionRow>>;
    /// Children that failed, timed out or were aborted, in id order.
    fn unsuccessful_children(
        &self,
        map_run: MapRunId,
        after: ExecutionId,
        limit: usize,
    ) -> Read<'_, Vec<ExecutionRow>>;
    fn map_page(&self, map_run: MapRunId, page: u64) -> Read<'_, Option<MapPageRow>>;
    /// Children with an item index in `from..to`, by index, whatever their status.
    fn map_children(&self, map_run: MapRunId, from: u64, to: u64) -> Read<'_, Vec<ExecutionRow>>;
    /// Of the same children what the results tell, up to the one with which they have that many
    /// bytes ([`MapResultRow::bytes`]).
    fn map_results(
        &self,
        map_run: MapRunId,
        from: u64,
        to: u64,
        bytes: usize,
    ) -> Read<'_, Vec<MapResultRow>>;

    // Runs and the books.
    fn run(&self, id: RunId) -> Read<'_, Option<RunRow>>;
    /// Newest first; only open ones when asked.
    fn runs(&self, open_only: bool, before: Option<RunId>, limit: usize) -> Read<'_, Vec<RunRow>>;
    fn run_totals(&self, run: RunId) -> Read<'_, Vec<(ResourceId, Totals)>>;
    /// Sums over all runs, by subscription.
    fn subscription_totals(&self) -> Read<'_, Vec<(ResourceId, Totals)>>;
    /// Sums over all runs, by workflow; a map's children do not count.
    fn workflow_totals(&self) -> Read<'_, Vec<(ResourceId, WorkflowTotals)>>;
    fn claim(&self, scope: &str, key: &str) -> Read<'_, Option<ClaimRow>>;
    fn audit_rows(&self, before: Option<u64>, limit: usize) -> Read<'_, Vec<(u64, AuditRow)>>;

    /// Checks what must hold between records: totals against rows, open counts, journals without
    /// gaps, no delivery without its event, no orphan. Empty when all is well.
    fn check(&self) -> Read<'_, Vec<Problem>>;
}
