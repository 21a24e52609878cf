//! The rows. Ids are numbers of one counter, bodies are bytes that only their writer reads.

use std::ops::AddAssign;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stepbus_model::{
    DeliveryId, EventId, ExecutionId, MapRunId, MessageId, Outcome, ResourceId, RunId, Timestamp,
};

macro_rules! coded {
    ($(#[$doc:meta])* $name:ident {
        $($(#[$about:meta])* $variant:ident = $code:literal $text:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$about])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The number that stands for it in a row; never reused.
            #[must_use]
            pub fn code(self) -> u8 {
                match self { $($name::$variant => $code,)* }
            }

            #[must_use]
            pub fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some($name::$variant),)* _ => None }
            }

            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some($name::$variant),)* _ => None }
            }
        }
    };
}

coded! {
    /// What a named thing of the project file is.
    ResourceKind {
        Bus = 1 "bus",
        Subscription = 2 "subscription",
        Connection = 3 "connection",
        Destination = 4 "destination",
        Workflow = 5 "workflow",
        Endpoint = 6 "endpoint",
        Queue = 7 "queue",
        Activity = 12 "activity",
        Schedule = 13 "schedule",
    }
}

coded! {
    /// Statuses of an execution, by AWS's names.
    ExecutionStatus {
        Running = 1 "RUNNING",
        Succeeded = 2 "SUCCEEDED",
        Failed = 3 "FAILED",
        TimedOut = 4 "TIMED_OUT",
        Aborted = 5 "ABORTED",
    }
}

coded! {
    ExecutionKind {
        Standard = 1 "STANDARD",
        Express = 2 "EXPRESS",
    }
}

coded! {
    /// Statuses of a map run, by AWS's names.
    MapRunStatus {
        Running = 1 "RUNNING",
        Succeeded = 2 "SUCCEEDED",
        Failed = 3 "FAILED",
        Aborted = 4 "ABORTED",
    }
}

coded! {
    /// How much of what is shared (places at a connection, turns in a queue) a run gets beside
    /// other runs.
    #[derive(Default)]
    Priority {
        Low = 1 "low",
        #[default]
        Normal = 2 "normal",
        High = 3 "high",
    }
}

impl Priority {
    /// Turns a run gets while others of weight 1 get one each.
    #[must_use]
    pub fn weight(self) -> u32 {
        match self {
            Priority::Low => 1,
            Priority::Normal => 8,
            Priority::High => 64,
        }
    }
}

coded! {
    /// Where an execution stands that another one started and waits for.
    SyncState {
        Awaited = 0 "awaited",
        /// It ended; the one that waits is to be told.
        Ended = 1 "ended",
        /// Nobody waits any more; it is to be stopped.
        Unwanted = 2 "unwanted",
    }
}

/// One attempt of a task of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TaskRef {
    pub execution: ExecutionId,
    pub visit: u64,
    pub attempt: u32,
}

/// An open task whose result comes by its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskTokenRow {
    /// Of the counter of all ids: the order of an activity's waiting list.
    pub id: u64,
    pub token: String,
    pub task: TaskRef,
    /// The activity whose workers take it.
    pub activity: Option<ResourceId>,
    /// What a worker is given, JSON.
    pub input: Option<Bytes>,
    /// A worker has it.
    pub taken: bool,
}

/// An execution that a task of another one started and waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyncChildRow {
    pub child: ExecutionId,
    pub parent: TaskRef,
    /// The task wants input and output as JSON, not as text.
    pub json: bool,
    pub state: SyncState,
}

/// What directly brought an event, execution or run about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// Somebody outside: a publisher, an operator, a schedule.
    Outside,
    Event(EventId),
    Execution(ExecutionId),
    MapRun(MapRunId),
}

/// A named thing, one row a version; the newest version is the current one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResourceRow {
    pub id: ResourceId,
    pub kind: ResourceKind,
    pub name: String,
    pub version: u32,
    /// JSON without secrets.
    pub body: String,
    pub at: Timestamp,
    /// Gone from the project file; kept because records point at it.
    pub retired: bool,
}

/// A workflow definition by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefinitionRow {
    pub id: u64,
    pub hash: String,
    pub text: String,
}

/// Everything caused by one root event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRow {
    pub id: RunId,
    /// Who asked: `endpoint:sync`, `operator`, …
    pub origin: String,
    /// A short text by which people know the run, as in `container=products`.
    pub label: String,
    pub priority: Priority,
    /// What it delivers is sent although it is unchanged.
    pub force: bool,
    pub started: Timestamp,
    /// When something of it was last committed; its end, when nothing is open.
    pub last: Timestamp,
    /// Deliveries pending and executions running.
    pub open: i64,
}

/// An event of the retained log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub id: EventId,
    pub run: RunId,
    pub bus: ResourceId,
    pub cause: Cause,
    pub hops: u16,
    pub at: Timestamp,
    pub envelope: Bytes,
}

/// A live delivery: one match of a subscription that has no fate yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRow {
    pub id: DeliveryId,
    pub run: RunId,
    pub subscription: ResourceId,
    /// The subscription's version by which it is transformed.
    pub version: u32,
    pub event: EventId,
    pub key: Option<String>,
    /// For a FIFO subscription, the hash of its key.
    pub lane: Option<i64>,
    pub created: Timestamp,
    /// Raised when the payload is edited, so that targets see another Idempotency-Key.
    pub revision: u32,
    pub attempts: u32,
    pub first_tried: Option<Timestamp>,
    /// Not to be tried before.
    pub due: Option<Timestamp>,
    /// The last failure as JSON, secrets masked.
    pub failure: Option<String>,
}

/// Where a subscription reads the log from: matches of the events from `position` on have no
/// delivery yet. A subscription whose version changes meanwhile has several, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CursorRow {
    pub subscription: ResourceId,
    /// The first event it was opened for; names it among those of its subscription.
    pub opened: EventId,
    pub bus: ResourceId,
    /// The subscription's version whose pattern was in force.
    pub version: u32,
    /// The next event to read.
    pub position: EventId,
    /// Events from here on are another's.
    pub until: Option<EventId>,
    /// Its matches were counted when their events were published; those of a subscription that
    /// starts in the past are counted as they are read.
    pub counted: bool,
    /// Counted matches that are not read yet.
    pub behind: i64,
}

coded! {
    /// States of a replay, by AWS's names.
    ReplayState {
        Starting = 1 "STARTING",
        Running = 2 "RUNNING",
        Cancelling = 3 "CANCELLING",
        Cancelled = 4 "CANCELLED",
        Completed = 5 "COMPLETED",
        Failed = 6 "FAILED",
    }
}

impl ReplayState {
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, ReplayState::Cancelled | ReplayState::Completed | ReplayState::Failed)
    }
}

/// Events of a bus's log that are published once more, to chosen subscriptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRow {
    /// The copies of the events stand in a log of this name.
    pub id: ResourceId,
    pub name: String,
    /// What is replayed, as JSON.
    pub spec: String,
    pub bus: ResourceId,
    pub run: RunId,
    pub state: ReplayState,
    /// Why it failed.
    pub reason: Option<String>,
    /// The next event of the bus to look at.
    pub position: EventId,
    pub replayed: u64,
    pub started: Timestamp,
    /// When the last event that was replayed had been accepted.
    pub last_replayed: Option<Timestamp>,
    pub ended: Option<Timestamp>,
}

/// A delivery that met its fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerRow {
    pub id: DeliveryId,
    pub run: RunId,
    pub subscription: ResourceId,
    pub version: u32,
    pub event: EventId,
    pub key: Option<String>,
    pub outcome: Outcome,
    pub revision: u32,
    pub attempts: u32,
    pub created: Timestamp,
    pub finished: Timestamp,
    /// The execution it started, the message it became, or why it was discarded.
    pub note: Option<String>,
}

/// What was last delivered for a key, and what the target calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyRow {
    /// The destination.
    pub scope: ResourceId,
    pub key: String,
    pub hash: Option<String>,
    pub version: Option<String>,
    pub remote_id: Option<String>,
}

/// A message in a queue. A dead letter carries its delivery and its own copy of the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRow {
    pub id: MessageId,
    pub queue: ResourceId,
    /// [`RunId::NONE`] when somebody outside sent it.
    pub run: RunId,
    pub sent: Timestamp,
    pub body: Bytes,
    /// EventBridge's attributes and ours, a JSON object. In a dead letter `stepbus.cause` is the
    /// error without what differs from one to the next; they are grouped by it.
    pub attributes: String,
    pub error_code: Option<String>,
    /// The delivery as it was when it failed.
    pub delivery: Option<DeliveryRow>,
    pub reception: Reception,
}

/// How a message stands towards those who receive from its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Reception {
    /// Nobody receives it before.
    pub visible: Timestamp,
    /// How often it was received; a receipt is good for the last time only.
    pub count: u32,
    pub first: Option<Timestamp>,
}

/// An execution of a workflow, a map's child included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionRow {
    pub id: ExecutionId,
    pub run: RunId,
    pub workflow: ResourceId,
    pub definition: u64,
    pub kind: ExecutionKind,
    pub name: String,
    pub cause: Cause,
    pub hops: u16,
    /// The map run and item index it is a child of.
    pub item: Option<(MapRunId, u64)>,
    /// How many items a map's child takes: more than one when they come in batches.
    pub items: u32,
    pub redrives: u32,
    pub redriven: Option<Timestamp>,
    /// A map's child that did not succeed and is to run again.
    pub awaits_redrive: bool,
    pub status: ExecutionStatus,
    /// Put out of memory: it waits, and there is nothing to do for it at start-up.
    pub idle: bool,
    /// When an idle one is to be woken; none while only a signal from outside can.
    pub wake: Option<Timestamp>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub output: Option<Bytes>,
    pub error: Option<String>,
    pub error_cause: Option<String>,
    /// Crashes that found one of its tasks in flight, since it last moved on.
    pub recoveries: u32,
    /// The interpreter's semantics it began under.
    pub semantics: u32,
}

/// A map's child as the results of its map run tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapResultRow {
    /// Its index in the map run.
    pub index: u64,
    /// How many items it takes.
    pub items: u32,
    pub name: String,
    pub redrives: u32,
    pub status: ExecutionStatus,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub output: Option<Bytes>,
    pub error: Option<String>,
    pub error_cause: Option<String>,
}

impl MapResultRow {
    /// Bytes of what the child gave: its output, or its error.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.output.as_ref().map_or(0, Bytes::len) + text(&self.error) + text(&self.error_cause)
    }
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionEnd {
    pub status: ExecutionStatus,
    pub at: Timestamp,
    pub output: Option<Bytes>,
    pub error: Option<String>,
    pub error_cause: Option<String>,
}

/// One or several consecutive journal entries of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    pub execution: ExecutionId,
    /// Number of its first entry, from 0.
    pub first: u64,
    pub count: u32,
    pub entries: Bytes,
}

/// The value of an execution after `inputs` journal entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    pub execution: ExecutionId,
    pub inputs: u64,
    pub value: Bytes,
}

/// Counts of a map run's items, or of its children, in AWS's words; or a change of them. What is not
/// counted here is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ItemCounts {
    pub total: i64,
    pub running: i64,
    pub succeeded: i64,
    pub failed: i64,
    pub timed_out: i64,
    pub aborted: i64,
    /// Told to the ResultWriter.
    pub results_written: i64,
    /// Unsuccessful ones that a redrive is to run again.
    pub pending_redrive: i64,
}

impl ItemCounts {
    #[must_use]
    pub fn ended(&self) -> i64 {
        self.succeeded + self.unsuccessful()
    }

    #[must_use]
    pub fn unsuccessful(&self) -> i64 {
        self.failed + self.timed_out + self.aborted
    }

    /// So many times these.
    #[must_use]
    pub fn times(self, items: i64) -> ItemCounts {
        ItemCounts {
            total: self.total * items,
            running: self.running * items,
            succeeded: self.succeeded * items,
            failed: self.failed * items,
            timed_out: self.timed_out * items,
            aborted: self.aborted * items,
            results_written: self.results_written * items,
            pending_redrive: self.pending_redrive * items,
        }
    }

    /// Not begun.
    #[must_use]
    pub fn pending(&self) -> i64 {
        self.total - self.running - self.ended() - self.pending_redrive
    }

    /// Those that stand so.
    pub fn column(&mut self, status: ExecutionStatus) -> &mut i64 {
        match status {
            ExecutionStatus::Running => &mut self.running,
            ExecutionStatus::Succeeded => &mut self.succeeded,
            ExecutionStatus::Failed => &mut self.failed,
            ExecutionStatus::TimedOut => &mut self.timed_out,
            ExecutionStatus::Aborted => &mut self.aborted,
        }
    }
}

impl AddAssign for ItemCounts {
    fn add_assign(&mut self, delta: ItemCounts) {
        self.total += delta.total;
        self.running += delta.running;
        self.succeeded += delta.succeeded;
        self.failed += delta.failed;
        self.timed_out += delta.timed_out;
        self.aborted += delta.aborted;
        self.results_written += delta.results_written;
        self.pending_redrive += delta.pending_redrive;
    }
}

/// The counts of a map run twice: of its items, and of the children that take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MapCounts {
    pub items: ItemCounts,
    pub executions: ItemCounts,
}

impl AddAssign for MapCounts {
    fn add_assign(&mut self, delta: MapCounts) {
        self.items += delta.items;
        self.executions += delta.executions;
    }
}

/// What UpdateMapRun may change of a map run under way.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MapSettings {
    /// 0: as many as the runtime allows.
    pub max_concurrency: u64,
    pub tolerated_failure_count: Option<u64>,
    pub tolerated_failure_percentage: Option<f64>,
}

/// A distributed map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapRunRow {
    pub id: MapRunId,
    pub run: RunId,
    pub execution: ExecutionId,
    /// The visit of the Map state in its execution.
    pub visit: u64,
    pub status: MapRunStatus,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub counts: MapCounts,
    pub settings: MapSettings,
    pub redrives: u32,
    pub redriven: Option<Timestamp>,
    /// Of a redrive: only children that await it run, none that never began.
    pub only_marked: bool,
    /// Of a redrive: the definition its children begin anew by, instead of the one they had.
    pub definition: Option<u64>,
    /// Of a redrive: the state that its children begin at, instead of where they stood.
    pub from_state: Option<String>,
    /// Everything that is needed to start children, as JSON.
    pub spec: Bytes,
    /// The version of the items' source, where it has one: every page comes from it.
    pub source_version: Option<String>,
    pub error: Option<String>,
    pub error_cause: Option<String>,
}

/// A page of a map run's items, committed before any child starts from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapPageRow {
    pub map_run: MapRunId,
    pub page: u64,
    /// The first of its children, and how many there are.
    pub first_index: u64,
    pub count: u32,
    /// Items of all of them: more than children when they come in batches.
    pub item_count: u32,
    /// JSON; the runtime knows its form.
    pub items: Bytes,
    /// Where reading goes on; none on the last page.
    pub next_token: Option<String>,
}

/// A key that can be taken once until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRow {
    pub scope: String,
    pub key: String,
    pub value: String,
    pub expires: Timestamp,
}

/// A dead letter's payload as an operator wrote it: it takes the transform's place from that
/// revision on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditRow {
    pub delivery: DeliveryId,
    /// The delivery's revision that it makes.
    pub revision: u32,
    pub at: Timestamp,
    pub who: String,
    pub payload: Bytes,
    /// What would have been sent without it; none when that could not be computed.
    pub original: Option<Bytes>,
}

coded! {
    /// How a long piece of an operator's work stands.
    OperationStatus {
        Running = 1 "RUNNING",
        Succeeded = 2 "SUCCEEDED",
        Cancelled = 3 "CANCELLED",
        Failed = 4 "FAILED",
    }
}

/// A long piece of an operator's work, taken up again after a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRow {
    pub id: u64,
    /// What is done, as in `dlq.redrive`.
    pub kind: String,
    pub status: OperationStatus,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// The wish and how far it is, as JSON.
    pub body: String,
}

/// How a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    pub schedule: ResourceId,
    /// What says when it fires, as text: a change of it begins it anew.
    pub times: String,
    /// When it was first seen; a rate counts from here.
    pub anchor: Timestamp,
    /// The next tick; none when it is over.
    pub next: Option<Timestamp>,
    /// When that one is acted upon.
    pub due: Option<Timestamp>,
    /// Attempts at it that failed.
    pub attempts: u32,
    pub failure: Option<String>,
    pub last: Option<Timestamp>,
    pub last_run: Option<RunId>,
    pub fired: u64,
    pub missed: u64,
}

/// An operator holds up a subscription, a destination or a schedule: nothing new begins there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PauseRow {
    pub resource: ResourceId,
    pub at: Timestamp,
    pub who: String,
    pub reason: String,
}

/// Who did what to the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    pub at: Timestamp,
    pub who: String,
    pub action: String,
    pub subject: String,
    pub detail: String,
}
