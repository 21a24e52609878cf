//! What goes into an execution and what comes out: inputs (the journal) and commands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stepbus_model::Timestamp;

use crate::entry::Entry;
use crate::start::Start;

/// One visit of one state in one execution. Visits are counted from 1; 0 is the execution itself.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Visit(pub u64);

/// One attempt of a task: attempts are counted from 0, a retry makes the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    pub visit: Visit,
    pub attempt: u32,
}

/// A moment the interpreter waits for; at most one of each is set at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timer {
    pub visit: Visit,
    pub kind: TimerKind,
    /// The attempt it was set in, so that a late one is told from the one now set.
    pub attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimerKind {
    /// A Wait state's end.
    Wait,
    /// The pause before a retry.
    Retry,
    /// TimeoutSeconds of a task.
    Timeout,
    /// HeartbeatSeconds of a task.
    Heartbeat,
    /// TimeoutSeconds of the whole state machine.
    Execution,
}

/// STANDARD or EXPRESS, for workflows and for the children of a distributed map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WorkflowType {
    #[default]
    Standard,
    Express,
}

/// An error name with its cause, as `Catch` and `Retry` see it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Failure {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl Failure {
    #[must_use]
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Failure { error: Some(error.into()), cause: Some(cause.into()) }
    }
}

/// How a map run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MapRunOutcome {
    /// The output array, or what the ResultWriter put in its place.
    Succeeded(Arc<Value>),
    Failed(Failure),
}

/// What happened to an execution. With its time, this is a journal entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Input {
    Started(Arc<Start>),
    /// A worker took the activity.
    TaskStarted {
        task: TaskId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<String>,
    },
    /// A `.sync` or `.waitForTaskToken` call was accepted; its result is yet to come.
    TaskSubmitted {
        task: TaskId,
        output: Arc<Value>,
    },
    TaskSucceeded {
        task: TaskId,
        output: Arc<Value>,
    },
    TaskFailed {
        task: TaskId,
        #[serde(flatten)]
        failure: Failure,
    },
    /// SendTaskHeartbeat.
    Heartbeat {
        task: TaskId,
    },
    TimerFired {
        timer: Timer,
    },
    MapRunEnded {
        visit: Visit,
        outcome: MapRunOutcome,
    },
    /// StopExecution.
    Stopped(Failure),
    /// RedriveExecution: what failed, was aborted or timed out runs again from where it stood.
    Redriven,
    /// The same, from a state it had been in.
    RedrivenFrom(Box<Entry>),
}

/// How a task waits for its result, from the suffix of its Resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Integration {
    RequestResponse,
    /// `.sync`
    Sync,
    /// `.sync:2`: the output is JSON, not text.
    Sync2,
    WaitForTaskToken,
}

/// A call that the runtime makes for a Task state.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTask {
    pub task: TaskId,
    /// The Resource without the integration's suffix.
    pub resource: Arc<str>,
    pub integration: Integration,
    pub arguments: Arc<Value>,
    pub credentials: Option<Arc<Value>>,
    /// Names this attempt towards SendTaskSuccess and its kin; only where a result comes that way.
    pub token: Option<String>,
    pub state_name: Arc<str>,
    pub timeout_seconds: Option<u64>,
    pub heartbeat_seconds: Option<u64>,
}

/// The items of a distributed map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum MapSource {
    /// A JSON array from the state's data.
    Items(Arc<Value>),
    Reader(ItemReader),
}

/// An evaluated ItemReader.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemReader {
    pub resource: String,
    /// `Arguments` or `Parameters`.
    pub arguments: Value,
    /// `ReaderConfig` with its expressions and paths evaluated.
    pub config: Value,
}

/// An evaluated ItemBatcher; 0 means no bound of that kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemBatcher {
    pub max_items_per_batch: u64,
    pub max_input_bytes_per_batch: u64,
    pub batch_input: Option<Value>,
}

/// An evaluated ResultWriter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultWriter {
    pub resource: Option<String>,
    pub arguments: Value,
    pub config: Value,
}

/// What the inputs of a map run's children are computed from; kept in the map run's row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapScope {
    /// The map state's input (after InputPath).
    pub input: Arc<Value>,
    pub variables: Arc<Value>,
    pub context: Arc<Value>,
    pub seed: u64,
    pub at: Timestamp,
}

/// A distributed map to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MapRunSpec {
    pub visit: Visit,
    pub attempt: u32,
    /// Names the map state towards [`Program::processor`](crate::Program::processor).
    pub state_path: String,
    pub state_name: String,
    /// As in history and in `Execution.Id` of the children.
    pub map_run_arn: String,
    /// How often the map run was redriven; a redrive goes on with it under the same ARN.
    #[serde(default)]
    pub redrives: u32,
    pub label: String,
    pub source: MapSource,
    pub scope: MapScope,
    /// 0: as many as the runtime allows.
    pub max_concurrency: u64,
    pub tolerated_failure_count: Option<u64>,
    pub tolerated_failure_percentage: Option<f64>,
    pub execution_type: WorkflowType,
    pub batcher: Option<ItemBatcher>,
    pub result_writer: Option<ResultWriter>,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded(Arc<Value>),
    Failed(Failure),
    TimedOut(Failure),
    Aborted(Failure),
}

/// Where an execution stands, in AWS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    #[default]
    Running,
    Succeeded,
    Failed,
    TimedOut,
    Aborted,
}

impl Outcome {
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Outcome::Succeeded(_) => Status::Succeeded,
            Outcome::Failed(_) => Status::Failed,
            Outcome::TimedOut(_) => Status::TimedOut,
            Outcome::Aborted(_) => Status::Aborted,
        }
    }
}

/// What the runtime does for an execution once the input is committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    RunTask(RunTask),
    /// The result is no longer wanted: the state was left or the execution ended.
    CancelTask {
        task: TaskId,
    },
    SetTimer {
        timer: Timer,
        at: Timestamp,
    },
    ClearTimer {
        timer: Timer,
    },
    StartMapRun(Box<MapRunSpec>),
    StopMapRun {
        visit: Visit,
    },
    /// The last command; nothing of the execution is open any more.
    End(Outcome),
}
