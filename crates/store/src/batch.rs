//! The one way to change the records. Each method is a whole step of the system's life: it adds the
//! change of rows and the change of the books that belongs to it, so neither can be forgotten.

use std::sync::Arc;

use bytes::Bytes;
use stepbus_model::{
    DeliveryId, EventId, ExecutionId, MapRunId, MessageId, Outcome, ResourceId, RunId, Timestamp,
    Totals,
};

use crate::books::Books;
use crate::horizon::Uncommitted;
use crate::records::{
    AuditRow, ClaimRow, CursorRow, DefinitionRow, DeliveryRow, EditRow, EventRow, ExecutionEnd,
    ExecutionRow, ExecutionStatus, ItemCounts, JournalRow, KeyRow, LedgerRow, MapPageRow,
    MapRunRow, MapRunStatus, MapSettings, MessageRow, OperationRow, PauseRow, Reception, ReplayRow,
    ReplayState, ResourceRow, RunRow, ScheduleRow, SnapshotRow, SyncChildRow, SyncState, TaskRef,
    TaskTokenRow,
};

/// What happens to a batch when the disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Class {
    /// Refused at once with [`crate::StoreError::Full`]: whoever asks is told and may come again.
    Acceptance,
    /// Held until there is room: it is the consequence of what was accepted.
    #[default]
    Work,
}

/// A delivery's failure that is not the end.
#[derive(Debug, Clone)]
pub struct Retry {
    pub id: DeliveryId,
    pub run: RunId,
    pub attempts: u32,
    pub first_tried: Timestamp,
    pub due: Timestamp,
    pub failure: String,
}

/// A delivery's fate.
#[derive(Debug, Clone)]
pub struct Finish {
    pub outcome: Outcome,
    pub at: Timestamp,
    pub attempts: u32,
    pub note: Option<String>,
}

/// One time that a message was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    pub message: MessageId,
    /// The message's count of receptions then.
    pub count: u32,
}

/// A map run's end.
#[derive(Debug, Clone)]
pub struct MapRunEnd {
    pub id: MapRunId,
    pub status: MapRunStatus,
    pub at: Timestamp,
    pub error: Option<String>,
    pub error_cause: Option<String>,
}

/// A map run that has ended runs again.
#[derive(Debug, Clone)]
pub struct MapRunRedrive {
    pub id: MapRunId,
    /// The visit of the Map state that now waits for it.
    pub visit: u64,
    pub at: Timestamp,
    pub only_marked: bool,
    pub definition: Option<u64>,
    pub from_state: Option<String>,
}

/// A change of rows, as a driver carries it out.
#[derive(Debug, Clone)]
pub enum Change {
    PutResource(ResourceRow),
    PutDefinition(DefinitionRow),
    InsertRun(RunRow),
    InsertEvent(EventRow),
    /// Nothing happens when it is there already.
    OpenCursor(CursorRow),
    /// Nothing happens when it is gone.
    EndCursor {
        subscription: ResourceId,
        opened: EventId,
        until: EventId,
    },
    MoveCursor {
        subscription: ResourceId,
        opened: EventId,
        position: EventId,
    },
    /// Nothing happens when it is gone.
    CloseCursor {
        subscription: ResourceId,
        opened: EventId,
    },
    /// Those whose runs have something open stay.
    DeleteEvents(Vec<EventId>),
    /// A replay that is being cancelled stays so until it has ended.
    PutReplay(ReplayRow),
    SetReplayState {
        id: ResourceId,
        state: ReplayState,
    },
    InsertDelivery(DeliveryRow),
    RetryDelivery(Retry),
    DeleteDelivery(DeliveryId),
    /// Replaces the row of an earlier fate, when a redriven delivery meets its next.
    PutLedger(LedgerRow),
    DeleteLedger(DeliveryId),
    PutKey(KeyRow),
    InsertMessage(MessageRow),
    DeleteMessage(MessageId),
    /// Gone when the message was received again since.
    HideMessage {
        receipt: Receipt,
        reception: Reception,
    },
    MoveMessage {
        id: MessageId,
        queue: ResourceId,
        attributes: String,
        visible: Timestamp,
    },
    InsertExecution(ExecutionRow),
    /// It leaves memory: idle, to be woken at `wake`.
    ParkExecution {
        id: ExecutionId,
        wake: Option<Timestamp>,
    },
    WakeExecution {
        id: ExecutionId,
    },
    SetRecoveries {
        id: ExecutionId,
        recoveries: u32,
    },
    EndExecution {
        id: ExecutionId,
        end: ExecutionEnd,
    },
    InsertJournal(JournalRow),
    PutSnapshot(SnapshotRow),
    DeleteSnapshot(ExecutionId),
    /// Left as it is when the task has one already.
    PutTaskToken(TaskTokenRow),
    TakeTaskToken(u64),
    PutSyncChild(SyncChildRow),
    SyncChildEnded(ExecutionId),
    CloseTask(TaskRef),
    CloseTasks(ExecutionId),
    InsertMapRun(MapRunRow),
    InsertMapPage(MapPageRow),
    /// The child that did not succeed awaits a redrive.
    AwaitRedrive(ExecutionId),
    /// What ended without success runs again, from where it stood.
    RedriveExecution {
        id: ExecutionId,
        at: Timestamp,
    },
    /// Takes the place of an earlier row of the same id and of its journal.
    RestartExecution(ExecutionRow),
    RedriveMapRun(MapRunRedrive),
    UpdateMapRun {
        id: MapRunId,
        settings: MapSettings,
    },
    PinMapSource {
        id: MapRunId,
        version: String,
    },
    EndMapRun(MapRunEnd),
    /// Fails the whole batch with `Conflict` while an unexpired claim holds the key.
    Claim {
        claim: ClaimRow,
        now: Timestamp,
    },
    InsertAudit(AuditRow),
    PutPause(PauseRow),
    /// A dead letter's delivery gets its next revision; fails when it has another one by now.
    ReviseMessage {
        id: MessageId,
        revision: u32,
    },
    InsertEdit(EditRow),
    PutOperation(OperationRow),
    PutSchedule(ScheduleRow),
    DeletePause(ResourceId),
}

impl Change {
    /// About how many bytes of payload it carries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Change::PutResource(row) => row.body.len(),
            Change::PutDefinition(row) => row.text.len(),
            Change::InsertEvent(row) => row.envelope.len(),
            Change::InsertDelivery(row) => row.failure.as_ref().map_or(0, String::len),
            Change::RetryDelivery(retry) => retry.failure.len(),
            Change::InsertMessage(row) => row.body.len() + row.attributes.len(),
            Change::MoveMessage { attributes, .. } => attributes.len(),
            Change::InsertExecution(row) => row.output.as_ref().map_or(0, Bytes::len),
            Change::RestartExecution(row) => row.output.as_ref().map_or(0, Bytes::len),
            Change::EndExecution { end, .. } => end.output.as_ref().map_or(0, Bytes::len),
            Change::InsertJournal(row) => row.entries.len(),
            Change::PutSnapshot(row) => row.value.len(),
            Change::PutTaskToken(row) => row.input.as_ref().map_or(0, Bytes::len),
            Change::InsertMapRun(row) => row.spec.len(),
            Change::InsertMapPage(row) => row.items.len(),
            Change::InsertEdit(row) => row.payload.len(),
            _ => 0,
        }
    }
}

/// Changes that become durable together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    class: Class,
    changes: Vec<Change>,
    books: Books,
    /// Matches of this event were counted when it was published.
    from_log: Option<Behind>,
    uncommitted: Vec<Arc<Uncommitted>>,
}

/// A counted match that stands behind a cursor.
#[derive(Debug, Clone, Copy)]
struct Behind {
    subscription: ResourceId,
    opened: EventId,
    event: EventId,
}

impl Batch {
    #[must_use]
    pub fn new() -> Self {
        Batch::default()
    }

    /// One that is about to get so many changes.
    #[must_use]
    pub fn with_room(changes: usize) -> Self {
        Batch { changes: Vec::with_capacity(changes), ..Batch::default() }
    }

    /// A batch that is refused when the disk is full.
    #[must_use]
    pub fn acceptance() -> Self {
        Batch { class: Class::Acceptance, ..Batch::default() }
    }

    /// A batch in which the subscription's match of `event` comes from behind its cursor: it was
    /// counted when the event was published.
    #[must_use]
    pub fn from_log(cursor: &CursorRow, event: EventId) -> Self {
        let CursorRow { subscription, opened, .. } = *cursor;
        let from_log = cursor.counted.then_some(Behind { subscription, opened, event });
        Batch { from_log, ..Batch::default() }
    }

    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    #[must_use]
    pub fn books(&self) -> &Books {
        &self.books
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.books.is_empty()
    }

    /// Takes over all of `other`, after what is here.
    pub fn append(&mut self, other: Batch) {
        self.changes.extend(other.changes);
        self.books.merge(&other.books);
        self.uncommitted.extend(other.uncommitted);
    }

    /// Keeps the log's horizon below an event's id until the batch is durable or dropped.
    pub fn hold(&mut self, uncommitted: Uncommitted) {
        self.uncommitted.push(Arc::new(uncommitted));
    }

    /// Whether an id that was handed out earlier holds the horizon already.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.uncommitted.is_empty()
    }

    /// The batch is durable: the log is settled beyond its events.
    pub fn release(&mut self) {
        self.uncommitted.clear();
    }

    /// About how many bytes of payload it carries.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(Change::bytes).sum()
    }

    pub fn put_resource(&mut self, row: ResourceRow) {
        self.changes.push(Change::PutResource(row));
    }

    pub fn put_definition(&mut self, row: DefinitionRow) {
        self.changes.push(Change::PutDefinition(row));
    }

    pub fn start_run(&mut self, row: RunRow) {
        self.changes.push(Change::InsertRun(row));
    }

    pub fn append_event(&mut self, row: EventRow) {
        self.touch(row.run, 0, row.at);
        self.changes.push(Change::InsertEvent(row));
    }

    /// Takes events from the log; those whose runs have something open stay.
    pub fn delete_events(&mut self, events: Vec<EventId>) {
        self.changes.push(Change::DeleteEvents(events));
    }

    pub fn put_replay(&mut self, row: ReplayRow) {
        self.changes.push(Change::PutReplay(row));
    }

    pub fn set_replay_state(&mut self, id: ResourceId, state: ReplayState) {
        self.changes.push(Change::SetReplayState { id, state });
    }

    /// A subscription matched: the delivery is pending.
    pub fn add_delivery(&mut self, row: DeliveryRow) {
        if self.comes_from_log(row.subscription, row.event) {
            self.touch(row.run, 0, row.created);
        } else {
            self.count_pending(row.run, row.subscription, row.created);
        }
        self.changes.push(Change::InsertDelivery(row));
    }

    /// A subscription matched and will read the event from the log: the match is pending.
    pub fn leave_behind(&mut self, cursor: (ResourceId, EventId), event: &EventRow) {
        self.count_pending(event.run, cursor.0, event.at);
        *self.books.cursors.entry(cursor).or_default() += 1;
    }

    pub fn open_cursor(&mut self, row: CursorRow) {
        self.changes.push(Change::OpenCursor(row));
    }

    /// Events from `until` on are another cursor's.
    pub fn end_cursor(&mut self, (subscription, opened): (ResourceId, EventId), until: EventId) {
        self.changes.push(Change::EndCursor { subscription, opened, until });
    }

    /// Events before `position` have been read.
    pub fn move_cursor(
        &mut self,
        (subscription, opened): (ResourceId, EventId),
        position: EventId,
    ) {
        self.changes.push(Change::MoveCursor { subscription, opened, position });
    }

    /// All has been read.
    pub fn close_cursor(&mut self, (subscription, opened): (ResourceId, EventId)) {
        self.changes.push(Change::CloseCursor { subscription, opened });
    }

    /// A subscription matched and its fate came in the same commit: a workflow started, say.
    pub fn add_finished_delivery(&mut self, row: LedgerRow) {
        let from_log = self.comes_from_log(row.subscription, row.event);
        let mut delta = if from_log {
            Totals { pending: -1, ..Totals::default() }
        } else {
            Totals { matched: 1, ..Totals::default() }
        };
        *delta.column(row.outcome) += 1;
        self.touch(row.run, -i64::from(from_log), row.finished);
        self.count(row.run, row.subscription, delta);
        self.changes.push(Change::PutLedger(row));
    }

    pub fn retry_delivery(&mut self, retry: Retry) {
        self.touch(retry.run, 0, retry.first_tried);
        self.changes.push(Change::RetryDelivery(retry));
    }

    pub fn finish_delivery(&mut self, delivery: &DeliveryRow, finish: Finish) {
        let mut delta = Totals { pending: -1, ..Totals::default() };
        *delta.column(finish.outcome) += 1;
        self.touch(delivery.run, -1, finish.at);
        self.count(delivery.run, delivery.subscription, delta);
        self.changes.push(Change::DeleteDelivery(delivery.id));
        self.changes.push(Change::PutLedger(LedgerRow {
            id: delivery.id,
            run: delivery.run,
            subscription: delivery.subscription,
            version: delivery.version,
            event: delivery.event,
            key: delivery.key.clone(),
            outcome: finish.outcome,
            revision: delivery.revision,
            attempts: finish.attempts,
            created: delivery.created,
            finished: finish.at,
            note: finish.note,
        }));
    }

    /// The delivery failed for good and becomes a message of its dead-letter queue.
    pub fn dead_letter(&mut self, message: MessageRow, delivery: &DeliveryRow, finish: Finish) {
        self.finish_delivery(delivery, Finish { outcome: Outcome::DeadLettered, ..finish });
        self.changes.push(Change::InsertMessage(message));
    }

    /// A message of its own, no dead letter.
    pub fn send_message(&mut self, row: MessageRow) {
        debug_assert!(row.delivery.is_none(), "a dead letter comes by dead_letter");
        self.changes.push(Change::InsertMessage(row));
    }

    /// Takes away a message that is no dead letter; those end by [`Batch::redrive`] and
    /// [`Batch::purge`], which keep the books.
    pub fn delete_message(&mut self, id: MessageId) {
        self.changes.push(Change::DeleteMessage(id));
    }

    /// Somebody received the message, as `row` has it: it is hidden from others until `until`.
    pub fn receive_message(&mut self, row: &MessageRow, at: Timestamp, until: Timestamp) {
        let Reception { count, first, .. } = row.reception;
        self.changes.push(Change::HideMessage {
            receipt: Receipt { message: row.id, count },
            reception: Reception {
                visible: until,
                count: count.saturating_add(1),
                first: first.or(Some(at)),
            },
        });
    }

    /// Whoever received the message wants it hidden until another moment.
    pub fn hide_message(&mut self, row: &MessageRow, until: Timestamp) {
        self.changes.push(Change::HideMessage {
            receipt: Receipt { message: row.id, count: row.reception.count },
            reception: Reception { visible: until, ..row.reception },
        });
    }

    /// The message goes over into another queue, as one that was never received. A dead letter
    /// stays one.
    pub fn move_message(
        &mut self,
        id: MessageId,
        queue: ResourceId,
        attributes: String,
        visible: Timestamp,
    ) {
        self.changes.push(Change::MoveMessage { id, queue, attributes, visible });
    }

    /// A dead letter goes back to pending; `delivery` is how it starts anew.
    pub fn redrive(&mut self, message: MessageId, delivery: DeliveryRow, at: Timestamp) {
        let delta = Totals { dead_lettered: -1, pending: 1, ..Totals::default() };
        self.touch(delivery.run, 1, at);
        self.count(delivery.run, delivery.subscription, delta);
        self.changes.push(Change::DeleteMessage(message));
        self.changes.push(Change::DeleteLedger(delivery.id));
        self.changes.push(Change::InsertDelivery(delivery));
    }

    /// A dead letter is given up; `ledger` is its dead-lettered row.
    pub fn purge(&mut self, message: MessageId, ledger: LedgerRow, at: Timestamp, why: &str) {
        let delta = Totals { dead_lettered: -1, discarded: 1, ..Totals::default() };
        self.touch(ledger.run, 0, at);
        self.count(ledger.run, ledger.subscription, delta);
        self.changes.push(Change::DeleteMessage(message));
        self.changes.push(Change::PutLedger(LedgerRow {
            outcome: Outcome::Discarded,
            finished: at,
            note: Some(why.to_owned()),
            ..ledger
        }));
    }

    /// A dead letter is to be sent with another payload, as its next revision.
    pub fn edit_dead_letter(&mut self, message: MessageId, edit: EditRow) {
        self.changes.push(Change::ReviseMessage { id: message, revision: edit.revision });
        self.changes.push(Change::InsertEdit(edit));
    }

    /// Notes how a schedule stands, in the commit of what its tick brings about.
    pub fn put_schedule(&mut self, row: ScheduleRow) {
        self.changes.push(Change::PutSchedule(row));
    }

    /// Notes how far an operator's work is.
    pub fn put_operation(&mut self, row: OperationRow) {
        self.changes.push(Change::PutOperation(row));
    }

    pub fn put_key(&mut self, row: KeyRow) {
        self.changes.push(Change::PutKey(row));
    }

    /// An execution begins; one that ended in the same step comes with its final status.
    pub fn start_execution(&mut self, row: ExecutionRow) {
        let open = i64::from(row.status == ExecutionStatus::Running);
        self.touch(row.run, open, row.ended.unwrap_or(row.started));
        if row.item.is_none() {
            let totals = self.books.workflows.entry(row.workflow).or_default();
            totals.started += 1;
            if row.status != ExecutionStatus::Running {
                *totals.column(row.status) += 1;
            }
        } else {
            self.count_child(&row, |counts| *counts.column(row.status) += 1);
        }
        self.changes.push(Change::InsertExecution(row));
    }

    pub fn end_execution(&mut self, row: &ExecutionRow, end: ExecutionEnd) {
        self.touch(row.run, -1, end.at);
        if row.item.is_none() {
            *self.books.workflows.entry(row.workflow).or_default().column(end.status) += 1;
        } else {
            self.count_child(row, |counts| {
                counts.running -= 1;
                *counts.column(end.status) += 1;
            });
        }
        self.changes.push(Change::EndExecution { id: row.id, end });
    }

    /// A map's child that did not succeed is to run again, by the next redrive of its map run.
    pub fn await_redrive(&mut self, row: &ExecutionRow) {
        self.count_child(row, |counts| {
            *counts.column(row.status) -= 1;
            counts.pending_redrive += 1;
        });
        self.changes.push(Change::AwaitRedrive(row.id));
    }

    /// What ended without success runs again from where it stood; its journal goes on.
    pub fn redrive_execution(&mut self, row: &ExecutionRow, at: Timestamp) {
        self.touch(row.run, 1, at);
        if row.item.is_none() {
            *self.books.workflows.entry(row.workflow).or_default().column(row.status) -= 1;
        } else {
            self.count_child(row, |counts| {
                leave_unsuccessful(row, counts);
                counts.running += 1;
            });
        }
        self.changes.push(Change::RedriveExecution { id: row.id, at });
    }

    /// What ended without success begins anew: `row`, of the same id, takes the place of `old`, and
    /// a new journal that of the old one. One that ended in the same step comes with its final
    /// status.
    pub fn restart_execution(&mut self, old: &ExecutionRow, row: ExecutionRow) {
        let open = i64::from(row.status == ExecutionStatus::Running);
        self.touch(row.run, open, row.ended.unwrap_or(row.started));
        if row.item.is_none() {
            let totals = self.books.workflows.entry(row.workflow).or_default();
            *totals.column(old.status) -= 1;
            if row.status != ExecutionStatus::Running {
                *totals.column(row.status) += 1;
            }
        } else {
            self.count_child(old, |counts| leave_unsuccessful(old, counts));
            self.count_child(&row, |counts| *counts.column(row.status) += 1);
        }
        self.changes.push(Change::RestartExecution(row));
    }

    /// A map run that has ended runs again.
    pub fn redrive_map_run(&mut self, redrive: MapRunRedrive, run: RunId) {
        self.touch(run, 0, redrive.at);
        self.changes.push(Change::RedriveMapRun(redrive));
    }

    /// The execution leaves memory until `wake`, or until somebody sends it something.
    pub fn park_execution(&mut self, id: ExecutionId, wake: Option<Timestamp>) {
        self.changes.push(Change::ParkExecution { id, wake });
    }

    pub fn wake_execution(&mut self, id: ExecutionId) {
        self.changes.push(Change::WakeExecution { id });
    }

    pub fn set_recoveries(&mut self, id: ExecutionId, recoveries: u32) {
        self.changes.push(Change::SetRecoveries { id, recoveries });
    }

    pub fn append_journal(&mut self, row: JournalRow) {
        self.changes.push(Change::InsertJournal(row));
    }

    /// Replaces the execution's earlier snapshot.
    pub fn put_snapshot(&mut self, row: SnapshotRow) {
        self.changes.push(Change::PutSnapshot(row));
    }

    pub fn delete_snapshot(&mut self, execution: ExecutionId) {
        self.changes.push(Change::DeleteSnapshot(execution));
    }

    /// The task waits for a result by its token; with an activity, for one of its workers first.
    pub fn put_task_token(&mut self, row: TaskTokenRow) {
        self.changes.push(Change::PutTaskToken(row));
    }

    /// A worker of the activity takes the task; `Gone` when another one has it.
    pub fn take_task(&mut self, id: u64) {
        self.changes.push(Change::TakeTaskToken(id));
    }

    /// A task of `parent` waits for the end of `child`, which it started.
    pub fn await_child(&mut self, child: ExecutionId, parent: TaskRef, json: bool) {
        let state = SyncState::Awaited;
        self.changes.push(Change::PutSyncChild(SyncChildRow { child, parent, json, state }));
    }

    /// An execution that another one may wait for has ended.
    pub fn child_ended(&mut self, child: ExecutionId) {
        self.changes.push(Change::SyncChildEnded(child));
    }

    /// The task has its result or is given up: its token is good no more, and a child that still
    /// runs for it is to be stopped.
    pub fn close_task(&mut self, task: TaskRef) {
        self.changes.push(Change::CloseTask(task));
    }

    /// As [`Batch::close_task`], for all tasks of an execution.
    pub fn close_tasks(&mut self, execution: ExecutionId) {
        self.changes.push(Change::CloseTasks(execution));
    }

    pub fn start_map_run(&mut self, row: MapRunRow) {
        self.touch(row.run, 0, row.started);
        self.changes.push(Change::InsertMapRun(row));
    }

    /// Adds a page and counts its items and children to the map run's totals.
    pub fn add_map_page(&mut self, row: MapPageRow) {
        let counts = self.books.maps.entry(row.map_run).or_default();
        counts.items.total += i64::from(row.item_count);
        counts.executions.total += i64::from(row.count);
        self.changes.push(Change::InsertMapPage(row));
    }

    /// Changes the settings of a map run under way.
    pub fn update_map_run(&mut self, id: MapRunId, settings: MapSettings) {
        self.changes.push(Change::UpdateMapRun { id, settings });
    }

    /// The ResultWriter has written of so many items, and children.
    pub fn count_results_written(&mut self, map_run: MapRunId, items: i64, executions: i64) {
        let counts = self.books.maps.entry(map_run).or_default();
        counts.items.results_written += items;
        counts.executions.results_written += executions;
    }

    /// From now on the items come from this version of their source.
    pub fn pin_map_source(&mut self, id: MapRunId, version: String) {
        self.changes.push(Change::PinMapSource { id, version });
    }

    pub fn end_map_run(&mut self, end: MapRunEnd) {
        self.changes.push(Change::EndMapRun(end));
    }

    /// Takes a key, or fails the whole batch with `Conflict` when it is taken.
    pub fn claim(&mut self, claim: ClaimRow, now: Timestamp) {
        self.changes.push(Change::Claim { claim, now });
    }

    /// Holds a subscription, destination or schedule up; a pause that stands is replaced.
    pub fn pause(&mut self, row: PauseRow) {
        self.changes.push(Change::PutPause(row));
    }

    /// Lets it go on; nothing happens when it was not held up.
    pub fn unpause(&mut self, resource: ResourceId) {
        self.changes.push(Change::DeletePause(resource));
    }

    pub fn audit(&mut self, row: AuditRow) {
        self.changes.push(Change::InsertAudit(row));
    }

    /// Counts a change of a map's child: once, and as often as it has items.
    fn count_child(&mut self, row: &ExecutionRow, change: impl Fn(&mut ItemCounts)) {
        let Some((map_run, _)) = row.item else { return };
        let mut one = ItemCounts::default();
        change(&mut one);
        let items = i64::from(row.items);
        let counts = self.books.maps.entry(map_run).or_default();
        counts.executions += one;
        counts.items += one.times(items);
    }

    fn count_pending(&mut self, run: RunId, subscription: ResourceId, at: Timestamp) {
        self.touch(run, 1, at);
        self.count(run, subscription, Totals { matched: 1, pending: 1, ..Totals::default() });
    }

    /// Whether the match was counted already; it stands behind its cursor no more then.
    fn comes_from_log(&mut self, subscription: ResourceId, event: EventId) -> bool {
        let Some(behind) = self.from_log else { return false };
        let comes = behind.subscription == subscription && behind.event == event;
        if comes {
            *self.books.cursors.entry((subscription, behind.opened)).or_default() -= 1;
        }
        comes
    }

    fn count(&mut self, run: RunId, subscription: ResourceId, delta: Totals) {
        *self.books.subscriptions.entry((run, subscription)).or_default() += delta;
    }

    fn touch(&mut self, run: RunId, open: i64, at: Timestamp) {
        self.books.touch(run, open, at);
    }
}

/// A child is no longer among those that ended without success, or await a redrive.
fn leave_unsuccessful(row: &ExecutionRow, counts: &mut ItemCounts) {
    if row.awaits_redrive {
        counts.pending_redrive -= 1;
    } else {
        *counts.column(row.status) -= 1;
    }
}
