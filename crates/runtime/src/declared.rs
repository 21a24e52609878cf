//! What a project declares, as plain data without secrets: the wiring hands it over, the store
//! keeps each version of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepbus_asl::WorkflowType;
use stepbus_connect::{BucketSpec, ConnectionSpec, DestinationSpec};
use stepbus_expr::{InputTransformer, TargetInput, TargetInputError};
use stepbus_model::{Timestamp, arn};
use stepbus_store::Priority;

use crate::parameters::HttpParameters;
use crate::targets::function_destination;

/// Everything a project file declares. Endpoints' keys and connections' secrets stay out of the
/// store: only what has a `Serialize` of its own is kept, and a secret serialises as `***`.
#[derive(Debug, Clone, Default)]
pub struct Declared {
    pub buses: Vec<BusSpec>,
    pub queues: Vec<QueueSpec>,
    pub connections: Vec<ConnectionSpec>,
    pub buckets: Vec<BucketSpec>,
    pub destinations: Vec<DestinationSpec>,
    pub functions: Vec<FunctionSpec>,
    pub workflows: Vec<WorkflowSpec>,
    pub subscriptions: Vec<SubscriptionSpec>,
    pub endpoints: Vec<EndpointSpec>,
    pub schedules: Vec<ScheduleSpec>,
    pub archives: Vec<ArchiveSpec>,
    pub storage: StorageSpec,
}

impl Declared {
    /// What deliveries may call: destinations, and functions as such.
    pub(crate) fn called(&self) -> impl Iterator<Item = Cow<'_, DestinationSpec>> {
        let functions = self.functions.iter().map(|spec| Cow::Owned(function_destination(spec)));
        self.destinations.iter().map(Cow::Borrowed).chain(functions)
    }
}

/// What tasks and subscriptions call as a Lambda function: an HTTP service that is handed the
/// payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpec {
    pub name: String,
    pub url: String,
    pub connection: Option<String>,
    /// Of one call; the limits' own by default.
    pub timeout_ms: Option<u64>,
}

/// Keeps a bus's matching events beyond the retention of the bus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveSpec {
    pub name: String,
    pub bus: String,
    /// The event pattern as JSON text.
    pub pattern: String,
    /// None for ever.
    pub retention_seconds: Option<u64>,
}

/// How much disk the records may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StorageSpec {
    pub max_bytes: Option<u64>,
    pub when_full: WhenFull,
}

/// What gives way when the records reach their bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// The oldest events that nothing needs, before their retention; then as `Refuse`.
    #[default]
    DropOldest,
    /// Nothing more is accepted until there is room.
    Refuse,
}

/// From where in the log a subscription begins, when it is first declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartAt {
    Earliest,
    At(Timestamp),
    SecondsAgo(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusSpec {
    pub name: String,
    /// How long events are kept.
    pub retention_seconds: u64,
    /// An event of the same content within some minutes counts as the same.
    #[serde(default)]
    pub deduplicate_content: bool,
}

/// A queue, by the meaning of SQS's attributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSpec {
    pub name: String,
    /// How long a received message is hidden from others. SQS: 30.
    pub visibility_seconds: u64,
    /// How long a sent message is hidden at first.
    pub delay_seconds: u64,
    /// How long messages are kept; without it, until they are deleted.
    pub retention_seconds: Option<u64>,
    /// Where messages go that are received again and again.
    pub redrive: Option<RedrivePolicy>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedrivePolicy {
    /// The name of the dead-letter queue.
    pub dead_letter: String,
    pub max_receive_count: u32,
}

impl QueueSpec {
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        QueueSpec {
            name: name.into(),
            visibility_seconds: 30,
            delay_seconds: 0,
            retention_seconds: None,
            redrive: None,
        }
    }
}

impl From<&str> for QueueSpec {
    fn from(name: &str) -> Self {
        QueueSpec::new(name)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowSpec {
    pub name: String,
    /// The States Language text, JSON or YAML.
    pub definition: String,
    pub kind: WorkflowType,
    #[serde(default)]
    pub in_flight_at_crash: InFlightAtCrash,
}

/// What becomes of a task's attempt that was in flight when the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtCrash {
    /// It is sent again, under the same Idempotency-Key.
    #[default]
    Resend,
    /// It ends with [`crate::IN_FLIGHT_AT_CRASH`].
    Fail,
}

/// The same for the states of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InFlightAtCrash {
    pub default: AtCrash,
    pub states: BTreeMap<String, AtCrash>,
}

impl InFlightAtCrash {
    #[must_use]
    pub fn of(&self, state: &str) -> AtCrash {
        self.states.get(state).copied().unwrap_or(self.default)
    }

    /// Whether there is a state whose attempts are not sent again.
    #[must_use]
    pub fn fails_any(&self) -> bool {
        self.default == AtCrash::Fail || self.states.values().any(|then| *then == AtCrash::Fail)
    }
}

/// A subscription = bus + pattern + optional transform + one target + retry policy + dead-letter
/// queue + key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubscriptionSpec {
    pub name: String,
    pub bus: String,
    /// The event pattern as JSON text.
    pub pattern: String,
    /// A JSONata template over `$event`; its value is the business key.
    pub key: Option<Value>,
    /// A JSONata template over `$event`; without one the whole event is sent.
    pub transform: Option<Value>,
    /// What PutTargets has for a transform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputSpec>,
    #[serde(default, skip_serializing_if = "HttpParameters::is_empty")]
    pub parameters: HttpParameters,
    /// A JSONata template over `$event`; what orders two payloads of one key.
    pub version: Option<Value>,
    pub target: TargetSpec,
    pub order: Order,
    pub on_dead_letter: OnDeadLetter,
    pub skip_unchanged: bool,
    /// What of the payload counts for that.
    #[serde(default, skip_serializing_if = "Comparison::is_whole")]
    pub compare: Comparison,
    pub retry: RetrySpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchSpec>,
    /// The name of the dead-letter queue; without one a failed delivery is discarded and counted.
    pub dead_letter: Option<String>,
    pub enabled: bool,
    /// Only looked at when the subscription is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartAt>,
}

impl SubscriptionSpec {
    /// The simplest subscription: every match of the pattern goes as it is to the target.
    #[must_use]
    pub fn new(name: &str, bus: &str, pattern: &str, target: TargetSpec) -> Self {
        SubscriptionSpec {
            name: name.to_owned(),
            bus: bus.to_owned(),
            pattern: pattern.to_owned(),
            key: None,
            transform: None,
            input: None,
            parameters: HttpParameters::default(),
            version: None,
            target,
            order: Order::Unordered,
            on_dead_letter: OnDeadLetter::Advance,
            skip_unchanged: false,
            compare: Comparison::default(),
            retry: RetrySpec { max_age_seconds: 86_400, max_attempts: 185 },
            batch: None,
            dead_letter: None,
            enabled: true,
            start: None,
        }
    }
}

/// What of a payload counts when it is compared with the last one delivered; all by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Places that do not count: `meta.updated_at`, `prices.*.stamp`, or `/meta/updated.at`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// A JSONata template over `$payload`, without those places: its value is what is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Value>,
}

impl Comparison {
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.ignore.is_empty() && self.by.is_none()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetSpec {
    Workflow(String),
    Destination(String),
    Function(String),
    Bus(String),
    Queue(String),
    Log(LogSpec),
    Mail(Box<MailSpec>),
}

/// A mail over a connection to a mail server; its texts are JSONata templates over `$event`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailSpec {
    pub connection: String,
    pub from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// A text or a list of them.
    pub to: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cc: Option<Value>,
    pub subject: Value,
    /// What the subscription sends, when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// Where lines go, one a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// A file that lines are added to.
    pub file: Option<PathBuf>,
    /// Size at which the file is put aside, and how many of those are kept.
    pub max_bytes: u64,
    pub keep: u32,
    /// Whether the process's own log has them too.
    pub trace: bool,
}

impl TargetSpec {
    /// What it is, as the project file calls it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            TargetSpec::Workflow(_) => "workflow",
            TargetSpec::Destination(_) => "destination",
            TargetSpec::Function(_) => "function",
            TargetSpec::Bus(_) => "bus",
            TargetSpec::Queue(_) => "queue",
            TargetSpec::Log(_) => "log",
            TargetSpec::Mail(_) => "mail",
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            TargetSpec::Workflow(name)
            | TargetSpec::Destination(name)
            | TargetSpec::Function(name)
            | TargetSpec::Bus(name)
            | TargetSpec::Queue(name) => name,
            TargetSpec::Log(_) => "log",
            TargetSpec::Mail(mail) => &mail.connection,
        }
    }

    /// As dead letters name it.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            TargetSpec::Workflow(name) => arn::state_machine(name),
            TargetSpec::Destination(name) => arn::api_destination(name),
            TargetSpec::Function(name) => arn::function(name),
            TargetSpec::Bus(name) => arn::event_bus(name),
            TargetSpec::Queue(name) => arn::queue(name),
            TargetSpec::Mail(mail) => arn::mail_identity(&mail.from),
            TargetSpec::Log(log) => {
                let file =
                    log.file.as_ref().map_or("stepbus".into(), |file| file.to_string_lossy());
                arn::log_group(&file)
            }
        }
    }
}

/// `Input`, `InputPath` or `InputTransformer` of a classic target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputSpec {
    /// The same JSON text for every event.
    Constant(String),
    Path(String),
    Transformer {
        paths: Map<String, Value>,
        template: String,
    },
}

impl InputSpec {
    /// The input that can be filled in.
    ///
    /// # Errors
    /// When PutTargets refuses it.
    pub fn compile(&self) -> Result<TargetInput, TargetInputError> {
        match self {
            InputSpec::Constant(text) => TargetInput::constant(text),
            InputSpec::Path(path) => TargetInput::path(path),
            InputSpec::Transformer { paths, template } => {
                InputTransformer::parse(paths, template).map(TargetInput::Transformer)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    #[default]
    Unordered,
    /// Single flight and strict order within a key.
    Fifo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadLetter {
    /// The key goes on with its next delivery.
    #[default]
    Advance,
    /// The key waits until the dead letter is redriven or purged.
    Block,
}

/// How deliveries go together in one call, for a target that takes arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchSpec {
    /// Payloads in one call, at most.
    pub size: usize,
    /// How long the first one waits for others.
    pub window_ms: u64,
    /// Bytes of a call's body; one payload that is larger goes alone.
    pub max_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrySpec {
    pub max_age_seconds: u64,
    /// Attempts after the first. EventBridge: 0 to 185.
    pub max_attempts: u32,
}

/// A route of the public listener that publishes an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EndpointSpec {
    pub name: String,
    /// Upper case.
    pub method: String,
    /// As in `/sync/{container}`.
    pub path: String,
    #[serde(skip)]
    pub api_key: stepbus_connect::Secret,
    pub overlap: Overlap,
    /// Of the runs it starts.
    pub priority: Priority,
    /// Values a path parameter may take; one that is not named may take any.
    pub params: BTreeMap<String, Vec<String>>,
    pub max_body_bytes: Option<usize>,
    pub bus: String,
    pub detail_type: String,
    pub source: String,
    /// A JSONata template over `$request`: `path`, `query`, `headers`, `body`.
    pub detail: Value,
    /// A template over `$request`: whether the run sends what is unchanged as well. Without one,
    /// when the query says `force=true`.
    pub force: Option<Value>,
}

/// What a call meets while a run of the same endpoint and path is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    #[default]
    Allow,
    /// 409 with the open run's id.
    Refuse,
}

/// What happens at certain times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScheduleSpec {
    pub name: String,
    /// `rate(…)`, `cron(…)` or `at(…)`, as EventBridge Scheduler has them.
    pub expression: String,
    /// One of IANA's names.
    pub timezone: String,
    /// A tick is acted upon at some moment of so many seconds after it.
    pub flexible_window_seconds: u64,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub missed: Missed,
    pub target: ScheduleTarget,
    /// A JSONata template over `$schedule`: the event's detail, the execution's input or the
    /// message's body.
    pub input: Value,
    pub retry: RetrySpec,
    /// The queue for ticks that failed for good; without one they are logged.
    pub dead_letter: Option<String>,
    pub enabled: bool,
    pub after_completion: AfterCompletion,
    /// Whatever its runs deliver is sent although it is unchanged.
    #[serde(default)]
    pub force: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleTarget {
    Event { bus: String, detail_type: String, source: String },
    Workflow(String),
    Queue(String),
}

/// What becomes of ticks whose time passed while nothing could fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// The last of them fires, for all.
    #[default]
    FireOnce,
    Skip,
}

/// What becomes of a schedule that fires no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterCompletion {
    #[default]
    Keep,
    /// It is listed no more.
    Delete,
}
