use std::sync::Arc;

use serde_json::{Map, Value, json};
use stepbus_asl::Failure;
use stepbus_asl::test_state::{
    Configuration, InspectionLevel, Mock, Report, Request, Step, TestStatus, begin,
};

use crate::support::{BEGIN, start};

fn request(definition: &str, mock: Option<Mock>) -> Request {
    Request {
        definition: definition.to_owned(),
        state_name: None,
        start: start(json!({"id": 1})),
        at: BEGIN,
        context: None,
        variables: Map::new(),
        level: InspectionLevel::Debug,
        mock,
        configuration: Configuration::default(),
    }
}

fn report(request: Request) -> Report {
    match begin(request).unwrap() {
        Step::Done(report) => *report,
        Step::Call(call, _) => panic!("calls {}", call.resource),
    }
}

const TASK: &str = r#"
Type: Task
QueryLanguage: JSONata
Resource: arn:aws:states:::http:invoke
Arguments: { id: "{% $states.input.id %}" }
Output: "{% $states.result.name %}"
Retry: [{ ErrorEquals: [Busy], IntervalSeconds: 2 }]
Catch: [{ ErrorEquals: [States.ALL], Next: Handle }]
Next: After
"#;

#[test]
fn a_mock_takes_the_place_of_the_call() {
    let report = report(request(TASK, Some(Mock::Result(json!({"name": "Bike"})))));
    assert_eq!(report.status, TestStatus::Succeeded);
    assert_eq!(report.output.as_deref(), Some(&json!("Bike")));
    assert_eq!(report.next_state.as_deref(), Some("After"));
    assert_eq!(report.inspection.unwrap()["afterArguments"], Value::from(r#"{"id":1}"#));
}

#[test]
fn mocked_errors_are_retried_or_caught() {
    let failure = |error: &str| Some(Mock::Error(Failure::new(error, "why")));
    let again = report(request(TASK, failure("Busy")));
    assert_eq!(again.status, TestStatus::Retriable);
    let details = &again.inspection.unwrap()["errorDetails"];
    assert_eq!(*details, json!({"retryIndex": 0, "retryBackoffIntervalSeconds": 2}));
    let caught = report(request(TASK, failure("Down")));
    assert_eq!(caught.status, TestStatus::CaughtError);
    assert_eq!(caught.next_state.as_deref(), Some("Handle"));
}

#[test]
fn without_a_mock_the_call_is_asked_for() {
    let Step::Call(call, pending) = begin(request(TASK, None)).unwrap() else { panic!("no call") };
    assert_eq!(*call.arguments, json!({"id": 1}));
    let report = pending.finish(Ok(Arc::new(json!({"name": "Helmet"}))));
    assert_eq!(report.output.as_deref(), Some(&json!("Helmet")));
}
