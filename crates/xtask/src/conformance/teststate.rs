//! TestState: one state, mocked or with stand-ins for functions.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use stepbus_asl::test_state::{
    Configuration, FieldValidation, InspectionLevel, Mock, Report, Request, Step, begin,
};
use stepbus_asl::{Bounds, Failure, RunTask, Start, WorkflowType};
use stepbus_model::{Limits, Timestamp};

use super::execution::compare::same;

/// Runs one case.
///
/// # Errors
/// What was expected beside what came out, where they differ.
pub(crate) fn run_case(case: &Value) -> Result<(), String> {
    let report = match begin(request(&case["params"]))? {
        Step::Done(report) => *report,
        Step::Call(call, pending) => pending.finish(Ok(Arc::new(stand_in(&call)))),
    };
    let mut expected = case["expect"].clone();
    if let Some(members) = expected.as_object_mut() {
        members.remove("ResponseMetadata");
    }
    let actual = as_aws(&report);
    if same(&expected, &actual) {
        return Ok(());
    }
    Err(format!("expected: {expected}\nactual:   {actual}"))
}

fn request(params: &Value) -> Request {
    let configuration = &params["stateConfiguration"];
    let name: Arc<str> = "test".into();
    Request {
        definition: params["definition"].as_str().unwrap_or_default().to_owned(),
        state_name: params["stateName"].as_str().map(str::to_owned),
        start: Start {
            input: Arc::new(json_text(&params["input"]).unwrap_or_else(|| json!({}))),
            execution_arn: "arn:aws:states:us-east-1:111111111111:express:test:test".into(),
            execution_name: Arc::clone(&name),
            state_machine_arn: "arn:aws:states:us-east-1:111111111111:stateMachine:test".into(),
            state_machine_name: name,
            role_arn: params["roleArn"].as_str().map(Arc::from),
            seed: 7,
            workflow_type: WorkflowType::Express,
            map_item: None,
            resumption: None,
            bounds: Bounds::from(&Limits::AWS),
        },
        at: Timestamp(1_764_000_000_000),
        context: json_text(&params["context"]),
        variables: match json_text(&params["variables"]) {
            Some(Value::Object(variables)) => variables,
            _ => Map::new(),
        },
        level: match params["inspectionLevel"].as_str() {
            Some("DEBUG") => InspectionLevel::Debug,
            Some("TRACE") => InspectionLevel::Trace,
            _ => InspectionLevel::Info,
        },
        mock: mock(&params["mock"]),
        configuration: Configuration {
            retrier_retry_count: configuration["retrierRetryCount"]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0),
            map_iteration_failure_count: configuration["mapIterationFailureCount"].as_u64(),
            map_item_reader_data: json_text(&configuration["mapItemReaderData"]),
            error_caused_by_state: configuration["errorCausedByState"].as_str().map(str::to_owned),
            field_validation: match params["mock"]["fieldValidationMode"].as_str() {
                Some("NONE") => FieldValidation::None,
                Some("PRESENT") => FieldValidation::Present,
                _ => FieldValidation::Strict,
            },
        },
    }
}

fn json_text(value: &Value) -> Option<Value> {
    serde_json::from_str(value.as_str()?).ok()
}

fn mock(mock: &Value) -> Option<Mock> {
    if let Some(result) = json_text(&mock["result"]) {
        return Some(Mock::Result(result));
    }
    let output = mock.get("errorOutput")?;
    let text = |name: &str| output[name].as_str().map(str::to_owned);
    Some(Mock::Error(Failure { error: text("error"), cause: text("cause") }))
}

/// A function that answers with a greeting, or with nothing through the service integration.
fn stand_in(call: &RunTask) -> Value {
    if call.resource.contains(":function:") {
        return Value::from("HelloWorld!");
    }
    json!({
        "ExecutedVersion": "$LATEST",
        "Payload": {},
        "SdkHttpMetadata": {},
        "SdkResponseMetadata": {},
        "StatusCode": 200,
    })
}

fn as_aws(report: &Report) -> Value {
    let mut object = Map::new();
    object.insert("status".to_owned(), Value::from(report.status.name()));
    let texts = [
        ("output", report.output.as_ref().map(ToString::to_string)),
        ("nextState", report.next_state.clone()),
        ("error", report.failure.error.clone()),
        ("cause", report.failure.cause.clone()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            object.insert(name.to_owned(), Value::from(text));
        }
    }
    if let Some(inspection) = &report.inspection {
        object.insert("inspectionData".to_owned(), Value::Object(inspection.clone()));
    }
    Value::Object(object)
}
