//! TestState: one state by itself, with mocks in place of what it would call.

mod mocks;

use std::sync::Arc;

use serde_json::{Map, Value};
use stepbus_document::Document;
use stepbus_model::Timestamp;

use crate::definition;
use crate::definition::model::{Kind, StateId};
use crate::execution::Execution;
use crate::interpreter::{Inspection, Run, STATE_NAME, Visited, bytes};
use crate::io::{Failure, RunTask, WorkflowType};
use crate::map::{MapCounts, exceeds_tolerance, tolerance_exceeded};
use crate::program::Program;
use crate::start::Start;
use crate::thread::Thread;
use crate::validate::{read, refusal as refusal_of};

/// What is told of the state's inner workings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InspectionLevel {
    #[default]
    Info,
    Debug,
    Trace,
}

/// What stands in for a call, a map or parallel branches.
#[derive(Debug, Clone, PartialEq)]
pub enum Mock {
    Result(Value),
    Error(Failure),
}

/// `stateConfiguration`: where the state is taken to stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Configuration {
    /// Retries that the matching retrier has made.
    pub retrier_retry_count: u32,
    /// Items of a distributed Map that failed.
    pub map_iteration_failure_count: Option<u64>,
    /// What a distributed Map's ItemReader read.
    pub map_item_reader_data: Option<Value>,
    /// The state, inside the Map or Parallel state under test, that a mocked error comes from.
    pub error_caused_by_state: Option<String>,
    /// `fieldValidationMode` of the mock.
    pub field_validation: FieldValidation,
}

/// How closely a mocked result is held against what the API would answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Fields that the API always gives must be there, and all must be of their type.
    #[default]
    Strict,
    /// Those that are there must be of their type.
    Present,
    None,
}

/// A test of one state.
#[derive(Debug, Clone)]
pub struct Request {
    /// A state, or a state machine that has the state named.
    pub definition: String,
    pub state_name: Option<String>,
    pub start: Start,
    pub at: Timestamp,
    /// Takes the place of the context object.
    pub context: Option<Value>,
    pub variables: Map<String, Value>,
    pub level: InspectionLevel,
    pub mock: Option<Mock>,
    pub configuration: Configuration,
}

/// How a test ended, in AWS's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestStatus {
    Succeeded,
    Failed,
    Retriable,
    CaughtError,
}

impl TestStatus {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TestStatus::Succeeded => "SUCCEEDED",
            TestStatus::Failed => "FAILED",
            TestStatus::Retriable => "RETRIABLE",
            TestStatus::CaughtError => "CAUGHT_ERROR",
        }
    }
}

/// What a test found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub status: TestStatus,
    pub output: Option<Arc<Value>>,
    pub next_state: Option<String>,
    pub failure: Failure,
    /// `inspectionData`; nothing at level INFO.
    pub inspection: Option<Map<String, Value>>,
}

/// How far a test came.
#[derive(Debug)]
pub enum Step {
    Done(Box<Report>),
    /// Without a mock a task is really called; give its result to [`Pending::finish`].
    Call(Box<RunTask>, Box<Pending>),
}

/// A test that waits for the result of a task.
#[derive(Debug)]
pub struct Pending {
    test: Test,
}

#[derive(Debug)]
struct Test {
    program: Arc<Program>,
    execution: Execution,
    inspection: Inspection,
    request: Request,
    state: StateId,
}

/// Runs a state up to its call, or to its end.
///
/// # Errors
/// AWS's InvalidDefinition message, when the definition cannot be used.
pub fn begin(request: Request) -> Result<Step, String> {
    let (program, state) = program(&request)?;
    let found = program.state(state);
    let mock = request.mock.as_ref();
    if let Some(refusal) = mocks::refusal(&program, found, mock, &request.configuration) {
        return Err(refusal);
    }
    Ok(Test::new(program, state, request).run())
}

/// Why a lone state's definition would be refused, without a mock.
#[must_use]
pub fn refusal(definition: &str) -> Option<String> {
    let (program, state) = match lone(definition, STATE_NAME) {
        Ok(program) => program,
        Err(message) => return Some(message),
    };
    let kind = &program.state(state).kind;
    matches!(kind, Kind::Map(_) | Kind::Parallel { .. }).then(|| UNMOCKED.to_owned())
}

const UNMOCKED: &str = "TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]";

fn program(request: &Request) -> Result<(Arc<Program>, StateId), String> {
    let Some(name) = &request.state_name else { return lone(&request.definition, STATE_NAME) };
    let document = document(&request.definition)?;
    let program = Program::parse(&document, WorkflowType::Standard)
        .map_err(|problems| refusal_of(&problems).unwrap_or_default())?;
    Arc::new(program).find(name).ok_or_else(|| format!("State not found in definition: {name}"))
}

fn lone(definition: &str, name: &str) -> Result<(Arc<Program>, StateId), String> {
    let document = document(definition)?;
    match definition::parse_state(&document, name) {
        (Some(parsed), problems) => {
            let start = parsed.start;
            Ok((Arc::new(Program::from_parsed(parsed, problems)), start))
        }
        (None, problems) => Err(refusal_of(&problems).unwrap_or_default()),
    }
}

fn document(text: &str) -> Result<Document, String> {
    read(text).map_err(|problem| refusal_of(&[problem]).unwrap_or_default())
}

impl Test {
    fn new(program: Arc<Program>, state: StateId, request: Request) -> Test {
        let mut thread = Thread::new(None, state, Arc::clone(&request.start.input), 0);
        let bytes = request.variables.values().map(bytes).sum();
        thread.assign(request.variables.clone(), bytes);
        let execution = Execution::of_thread(request.start.clone().into(), request.at, thread);
        let inspection = Inspection {
            context: request.context.clone(),
            items: request.configuration.map_item_reader_data.clone(),
            ..Inspection::default()
        };
        Test { program, execution, inspection, request, state }
    }

    fn run(mut self) -> Step {
        let retries = self.request.configuration.retrier_retry_count;
        let mock = self.request.mock.clone();
        let mut run = Run::inspecting(&self.program, &mut self.execution, &self.inspection);
        let visited = run.visit(retries);
        let visited = match (visited, mock) {
            (Visited::Calls(call), None) => {
                return Step::Call(call, Box::new(Pending { test: self }));
            }
            (Visited::Calls(_) | Visited::Forks, Some(mock)) => {
                let answer = self.mocked(mock);
                let mut run = Run::inspecting(&self.program, &mut self.execution, &self.inspection);
                run.answer(answer)
            }
            (Visited::Forks, None) if run.only_waits() => run.answer(Ok(Arc::new(Value::Null))),
            (visited, _) => visited,
        };
        Step::Done(Box::new(self.report(visited)))
    }

    /// What the mock answers, once the failures of a map's items are counted.
    fn mocked(&self, mock: Mock) -> Result<Arc<Value>, Failure> {
        let result = match mock {
            Mock::Error(failure) => return Err(failure),
            Mock::Result(result) => result,
        };
        let failed = self.request.configuration.map_iteration_failure_count.unwrap_or(0);
        let noted = self.inspection.data.borrow();
        let count = noted.get("toleratedFailureCount").and_then(Value::as_u64);
        let percentage = noted.get("toleratedFailurePercentage").and_then(Value::as_f64);
        let items = self.request.configuration.map_item_reader_data.as_ref().unwrap_or(&result);
        let total = items.as_array().map_or(0, Vec::len) as u64;
        let counts = MapCounts { total, failed };
        let limited = count.is_some() || percentage.is_some();
        if limited && exceeds_tolerance(counts, count, percentage) {
            return Err(tolerance_exceeded());
        }
        Ok(Arc::new(result))
    }

    fn report(self, visited: Visited) -> Report {
        // TestState tells a failure in its own words, without the state's place in a history.
        let own = self.inspection.failure.borrow().clone();
        let failed = own.is_some();
        let inspection = match self.request.level {
            InspectionLevel::Info => None,
            InspectionLevel::Debug | InspectionLevel::Trace => Some(self.inspected()),
        };
        let failure = own.unwrap_or_default();
        let report = |status, output, next_state, failure| Report {
            status,
            output,
            next_state,
            failure,
            inspection,
        };
        match visited {
            Visited::Succeeded { output, next } if failed => {
                report(TestStatus::CaughtError, Some(output), next, failure)
            }
            Visited::Succeeded { output, next } => {
                report(TestStatus::Succeeded, Some(output), next, failure)
            }
            Visited::Retries => report(TestStatus::Retriable, None, None, failure),
            Visited::Failed(told) => {
                let failure = if failed { failure } else { told };
                report(TestStatus::Failed, None, None, failure)
            }
            Visited::Calls(_) | Visited::Forks => report(TestStatus::Failed, None, None, failure),
        }
    }

    fn inspected(&self) -> Map<String, Value> {
        /// Numbers stay numbers; everything else is JSON text.
        const NUMBERS: [&str; 3] =
            ["maxConcurrency", "toleratedFailureCount", "toleratedFailurePercentage"];
        let mut told = Map::new();
        told.insert("input".to_owned(), Value::from(self.request.start.input.to_string()));
        for (name, value) in self.inspection.data.borrow().iter() {
            let value = match NUMBERS.contains(&name.as_str()) {
                true => value.clone(),
                false => Value::from(value.to_string()),
            };
            told.insert(name.clone(), value);
        }
        let errors = self.inspection.errors.borrow();
        if !errors.is_empty() {
            told.insert("errorDetails".to_owned(), Value::Object(errors.clone()));
        }
        if !self.request.variables.is_empty() {
            let variables = Value::Object(self.request.variables.clone());
            told.insert("variables".to_owned(), Value::from(variables.to_string()));
        }
        told
    }
}

impl Pending {
    /// Gives the task's result and runs the state to its end.
    #[must_use]
    pub fn finish(mut self, answer: Result<Arc<Value>, Failure>) -> Report {
        let test = &mut self.test;
        let mut run = Run::inspecting(&test.program, &mut test.execution, &test.inspection);
        let visited = run.answer(answer);
        self.test.report(visited)
    }

    /// The name of the state under test.
    #[must_use]
    pub fn state_name(&self) -> &str {
        &self.test.program.state(self.test.state).name
    }
}
