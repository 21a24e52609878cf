//! The compiled form of a definition: what the interpreter walks.

use std::sync::Arc;

use serde_json::Value;
use stepbus_expr::Path;

use crate::expression::Expression;
use crate::io::{Integration, WorkflowType};
use crate::program::Program;

/// Index of a state in its program. Stable for one text of a definition.
pub(crate) type StateId = u32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    JsonPath,
    Jsonata,
}

impl Language {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Language::JsonPath => "JSONPath",
            Language::Jsonata => "JSONata",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    State(StateId),
    End,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) name: Arc<str>,
    /// RFC 6901 pointer in the definition that the program was parsed from.
    pub(crate) pointer: String,
    pub(crate) language: Language,
    pub(crate) kind: Kind,
    pub(crate) next: Target,
    pub(crate) data: DataFlow,
    pub(crate) retry: Vec<Retrier>,
    pub(crate) catch: Vec<Catcher>,
}

impl State {
    pub(crate) fn is_distributed(&self) -> bool {
        let Kind::Map(map) = &self.kind else { return false };
        matches!(map.processor, Processor::Distributed(_))
    }
}

/// How data moves through a state. Each language uses its own part of it.
#[derive(Debug, Default)]
pub(crate) struct DataFlow {
    /// `Arguments`, or `Parameters`.
    pub(crate) arguments: Option<Expression>,
    /// `Output`
    pub(crate) output: Option<Expression>,
    pub(crate) assign: Option<Expression>,
    pub(crate) input_path: Option<Expression>,
    pub(crate) result_selector: Option<Expression>,
    pub(crate) result_path: ResultPath,
    pub(crate) output_path: Option<Expression>,
}

/// Where a result goes in the state's input.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) enum ResultPath {
    /// `$`: the result takes the place of the input.
    #[default]
    Replace,
    /// `null`: the result is dropped.
    Discard,
    /// A reference path.
    Into(Path),
}

#[derive(Debug)]
pub(crate) enum Kind {
    Pass { result: Option<Arc<Value>> },
    Task(Box<Task>),
    Choice(Box<Choice>),
    Wait(WaitFor),
    Succeed,
    Fail { error: Option<Expression>, cause: Option<Expression> },
    Parallel { branches: Vec<StateId> },
    Map(Box<MapState>),
}

#[derive(Debug)]
pub(crate) struct Task {
    /// As written, with the integration's suffix.
    pub(crate) resource_text: String,
    /// Without the suffix.
    pub(crate) resource: Arc<str>,
    pub(crate) integration: Integration,
    pub(crate) service: Service,
    pub(crate) timeout: Option<Expression>,
    pub(crate) heartbeat: Option<Expression>,
    pub(crate) credentials: Option<Expression>,
}

impl Task {
    /// Whether SendTaskSuccess and its kin may end it. AWS lets them end a `.sync` call too.
    pub(crate) fn has_token(&self) -> bool {
        self.integration != Integration::RequestResponse || self.service == Service::Activity
    }
}

/// Which family of history events a task writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Service {
    /// A function's ARN as the Resource.
    LambdaFunction,
    Activity,
    /// `arn:aws:states:::type:api`
    Integrated {
        resource_type: String,
        resource: String,
    },
}

#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) rules: Vec<Rule>,
    pub(crate) default: Option<StateId>,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) test: Test,
    pub(crate) next: StateId,
    pub(crate) output: Option<Expression>,
    pub(crate) assign: Option<Expression>,
}

#[derive(Debug)]
pub(crate) enum Test {
    Condition(Expression),
    Compare(crate::choice::Comparison),
}

#[derive(Debug)]
pub(crate) enum WaitFor {
    /// A number of seconds.
    Seconds(Expression),
    /// A moment in RFC 3339.
    Timestamp(Expression),
}

#[derive(Debug)]
pub(crate) struct MapState {
    pub(crate) items: Option<Expression>,
    pub(crate) item_selector: Option<Expression>,
    pub(crate) max_concurrency: Option<Expression>,
    pub(crate) processor: Processor,
}

#[derive(Debug)]
pub(crate) enum Processor {
    Inline { start: StateId },
    Distributed(Box<Distributed>),
}

#[derive(Debug)]
pub(crate) struct Distributed {
    pub(crate) program: Arc<Program>,
    pub(crate) execution_type: WorkflowType,
    pub(crate) label: Option<String>,
    pub(crate) reader: Option<Reader>,
    pub(crate) batcher: Option<Batcher>,
    pub(crate) writer: Option<Writer>,
    pub(crate) tolerated_count: Option<Expression>,
    pub(crate) tolerated_percentage: Option<Expression>,
}

#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) resource: String,
    pub(crate) arguments: Option<Expression>,
    /// Members of ReaderConfig; those that end in `Path` are evaluated to the member without it.
    pub(crate) config: Vec<(String, Expression)>,
}

#[derive(Debug)]
pub(crate) struct Batcher {
    pub(crate) max_items: Option<Expression>,
    pub(crate) max_bytes: Option<Expression>,
    pub(crate) batch_input: Option<Expression>,
}

#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) resource: Option<String>,
    pub(crate) arguments: Option<Expression>,
    pub(crate) config: Value,
}

#[derive(Debug)]
pub(crate) struct Retrier {
    pub(crate) errors: Vec<String>,
    pub(crate) interval_seconds: u64,
    pub(crate) max_attempts: u32,
    pub(crate) backoff_rate: f64,
    pub(crate) max_delay_seconds: Option<u64>,
    pub(crate) full_jitter: bool,
}

#[derive(Debug)]
pub(crate) struct Catcher {
    pub(crate) errors: Vec<String>,
    pub(crate) next: StateId,
    pub(crate) output: Option<Expression>,
    pub(crate) assign: Option<Expression>,
    pub(crate) result_path: ResultPath,
}
