//! `stepbus workflows test-state`: one state by itself, as AWS's TestState runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use stepbus_asl::test_state::{
    self, Configuration, FieldValidation, InspectionLevel, Mock, Report, Request, Step,
};
use stepbus_asl::{Bounds, Failure, Start, WorkflowType};
use stepbus_model::{Clock, SystemClock, arn};

use crate::output;

#[derive(Debug, Args)]
pub(super) struct TestState {
    /// The definition of a state, or with --state of a state machine; JSON or YAML.
    file: PathBuf,
    /// The state of the machine that is tested.
    #[arg(long)]
    state: Option<String>,
    /// The state's input, as JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    input: String,
    /// The context object, as JSON.
    #[arg(long, value_name = "JSON")]
    context: Option<String>,
    /// Variables the state may read, as a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    variables: String,
    /// What the call, the map or the branches result in, as JSON.
    #[arg(long, value_name = "JSON", conflicts_with = "mock_error")]
    mock_result: Option<String>,
    /// The error the call, the map or the branches fail with.
    #[arg(long, value_name = "ERROR")]
    mock_error: Option<String>,
    #[arg(long, value_name = "CAUSE", requires = "mock_error")]
    mock_cause: Option<String>,
    /// Retries that the matching retrier has made.
    #[arg(long, default_value_t = 0)]
    retries: u32,
    /// Items of a distributed Map that failed.
    #[arg(long)]
    failed_items: Option<u64>,
    /// What a distributed Map's ItemReader reads, as JSON.
    #[arg(long, value_name = "JSON")]
    items: Option<String>,
    /// The state inside the Map or Parallel state that the mocked error comes from.
    #[arg(long, value_name = "NAME", requires = "mock_error")]
    failed_state: Option<String>,
    /// How closely the mocked result is held against what the API would answer.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Validation::Strict)]
    field_validation: Validation,
    /// How much is told.
    #[arg(long, value_enum, ignore_case = true, default_value_t = Level::Info)]
    level: Level,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Level {
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum Validation {
    Strict,
    Present,
    None,
}

impl TestState {
    pub(super) fn run(self, as_json: bool) -> anyhow::Result<ExitCode> {
        let request = self.request()?;
        let report = match test_state::begin(request).map_err(|message| anyhow!("{message}"))? {
            Step::Done(report) => report,
            Step::Call(call, _) => bail!(
                "the state calls {}: give its result with --mock-result or --mock-error",
                call.resource
            ),
        };
        let answer = shown(&report);
        if as_json {
            output::json(&answer);
        } else {
            output::text(&rendered(&answer));
        }
        let failed = answer["status"] == "FAILED";
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    fn request(&self) -> anyhow::Result<Request> {
        let definition = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let mock = match (&self.mock_result, &self.mock_error) {
            (Some(result), _) => Some(Mock::Result(json(result, "--mock-result")?)),
            (None, Some(error)) => Some(Mock::Error(Failure {
                error: Some(error.clone()),
                cause: self.mock_cause.clone(),
            })),
            (None, None) => None,
        };
        let variables: Map<String, Value> = match json(&self.variables, "--variables")? {
            Value::Object(variables) => variables,
            _ => bail!("--variables must be a JSON object"),
        };
        let optional =
            |text: &Option<String>, name| text.as_deref().map(|text| json(text, name)).transpose();
        Ok(Request {
            definition,
            state_name: self.state.clone(),
            start: Start {
                input: Arc::new(json(&self.input, "--input")?),
                execution_arn: arn::execution("test-state", "test").into(),
                execution_name: "test".into(),
                state_machine_arn: arn::state_machine("test-state").into(),
                state_machine_name: "test-state".into(),
                role_arn: None,
                seed: 1,
                workflow_type: WorkflowType::Standard,
                map_item: None,
                resumption: None,
                bounds: Bounds::default(),
            },
            at: SystemClock::default().now(),
            context: optional(&self.context, "--context")?,
            variables,
            level: match self.level {
                Level::Info => InspectionLevel::Info,
                Level::Debug => InspectionLevel::Debug,
                Level::Trace => InspectionLevel::Trace,
            },
            mock,
            configuration: Configuration {
                retrier_retry_count: self.retries,
                map_iteration_failure_count: self.failed_items,
                map_item_reader_data: optional(&self.items, "--items")?,
                error_caused_by_state: self.failed_state.clone(),
                field_validation: match self.field_validation {
                    Validation::Strict => FieldValidation::Strict,
                    Validation::Present => FieldValidation::Present,
                    Validation::None => FieldValidation::None,
                },
            },
        })
    }
}

fn json(text: &str, name: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("{name} is no JSON"))
}

/// As AWS's TestState answers, output as a value.
fn shown(report: &Report) -> Value {
    let mut shown = json!({ "status": report.status.name() });
    if let Some(output) = &report.output {
        shown["output"] = (**output).clone();
    }
    for (name, text) in [
        ("nextState", &report.next_state),
        ("error", &report.failure.error),
        ("cause", &report.failure.cause),
    ] {
        if let Some(text) = text {
            shown[name] = json!(text);
        }
    }
    if let Some(inspection) = &report.inspection {
        shown["inspectionData"] = Value::Object(inspection.clone());
    }
    shown
}

fn rendered(answer: &Value) -> String {
    let mut text = String::new();
    for (name, value) in answer.as_object().into_iter().flatten() {
        match value {
            Value::Object(members) if name == "inspectionData" => {
                for (name, value) in members {
                    text.push_str(&format!("  {name}: {}\n", plain(value)));
                }
            }
            value => text.push_str(&format!("{name}: {}\n", plain(value))),
        }
    }
    text
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
