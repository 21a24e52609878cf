use std::sync::Arc;

use serde_json::{Map, Value, json};
use stepbus_asl::Failure;
use stepbus_asl::test_state::{
    Configuration, FieldValidation, InspectionLevel, Mock, Report, Request, Step, TestStatus, begin,
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

/// What a test is refused for.
#[track_caller]
fn refused(definition: &str, mock: Option<Mock>, change: impl Fn(&mut Request), expected: &str) {
    let mut request = request(definition, mock);
    change(&mut request);
    assert_eq!(begin(request).err().as_deref(), Some(expected));
}

const MAP: &str = r#"
Type: Map
QueryLanguage: JSONata
Items: [1, 2, 3]
MaxConcurrency: 2
ToleratedFailureCount: 1
ItemSelector: { v: "{% $states.context.Map.Item.Value * 10 %}" }
ItemBatcher: { MaxItemsPerBatch: 2, BatchInput: { by: test } }
ItemProcessor:
  ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
  StartAt: Inner
  States: { Inner: { Type: Pass, End: true } }
Retry: [{ ErrorEquals: [Busy], MaxAttempts: 1 }]
Catch: [{ ErrorEquals: [States.ExceedToleratedFailureThreshold], Next: Many }]
Output: "{% $count($states.result) %}"
Next: After
"#;

#[test]
fn a_mocked_map_tells_what_its_children_would_get() {
    let report = report(request(MAP, Some(Mock::Result(json!([1, 2, 3])))));
    assert_eq!(report.output.as_deref(), Some(&json!(3)));
    let told = report.inspection.unwrap();
    let text = |name: &str| serde_json::from_str::<Value>(told[name].as_str().unwrap()).unwrap();
    assert_eq!(text("afterItemSelector"), json!([{"v": 10}, {"v": 20}, {"v": 30}]));
    assert_eq!(
        text("afterItemBatcher"),
        json!([
            {"BatchInput": {"by": "test"}, "Items": [{"v": 10}, {"v": 20}]},
            {"BatchInput": {"by": "test"}, "Items": [{"v": 30}]},
        ])
    );
    assert_eq!((&told["maxConcurrency"], &told["toleratedFailureCount"]), (&json!(2), &json!(1)));
}

#[test]
fn failures_of_a_mocked_map_are_held_against_its_tolerance() {
    let outcome = |failures: u64| {
        let mut request = request(MAP, Some(Mock::Result(json!([1, 2, 3]))));
        request.configuration.map_iteration_failure_count = Some(failures);
        let report = report(request);
        (report.status, report.next_state)
    };
    assert_eq!(outcome(1), (TestStatus::Succeeded, Some("After".to_owned())));
    assert_eq!(outcome(2), (TestStatus::CaughtError, Some("Many".to_owned())));
}

#[test]
fn a_retrier_that_is_used_up_retries_no_more() {
    let outcome = |retries: u32| {
        let mut request = request(MAP, Some(Mock::Error(Failure::new("Busy", "why"))));
        request.configuration.retrier_retry_count = retries;
        request.configuration.error_caused_by_state = Some("Inner".to_owned());
        report(request).status
    };
    assert_eq!(outcome(0), TestStatus::Retriable);
    assert_eq!(outcome(1), TestStatus::Failed);
}

#[test]
fn a_state_that_cannot_begin_counts_its_retries_too() {
    let definition = r#"
Type: Task
QueryLanguage: JSONata
Resource: arn:aws:states:::http:invoke
Arguments: "{% $states.input.none %}"
Retry: [{ ErrorEquals: [States.QueryEvaluationError], MaxAttempts: 2, IntervalSeconds: 3 }]
End: true
"#;
    let outcome = |retries: u32| {
        let mut request = request(definition, None);
        request.configuration.retrier_retry_count = retries;
        let report = report(request);
        let told = report.inspection.unwrap();
        (report.status, told["errorDetails"]["retryBackoffIntervalSeconds"].clone())
    };
    assert_eq!(outcome(0), (TestStatus::Retriable, json!(3)));
    assert_eq!(outcome(1), (TestStatus::Retriable, json!(6)));
    assert_eq!(outcome(2), (TestStatus::Failed, json!(null)));
}

const PARALLEL: &str = r#"
Type: Parallel
Parameters: { "id.$": $.id }
Branches:
  - { StartAt: A, States: { A: { Type: Pass, Next: B }, B: { Type: Pass, End: true } } }
  - { StartAt: C, States: { C: { Type: Pass, End: true } } }
ResultSelector: { "first.$": "$[0]" }
ResultPath: $.both
OutputPath: $.both.first
Catch: [{ ErrorEquals: [Down], ResultPath: $.error, Next: Lost }]
End: true
"#;

#[test]
fn a_mocked_parallel_state_tells_each_step_of_its_data() {
    let report = report(request(PARALLEL, Some(Mock::Result(json!([7, 8])))));
    assert_eq!(report.output.as_deref(), Some(&json!(7)));
    let told = report.inspection.unwrap();
    let text = |name: &str| serde_json::from_str::<Value>(told[name].as_str().unwrap()).unwrap();
    assert_eq!(text("afterResultSelector"), json!({"first": 7}));
    assert_eq!(text("afterResultPath"), json!({"id": 1, "both": {"first": 7}}));
}

#[test]
fn the_error_of_a_branch_is_caught() {
    let mut request = request(PARALLEL, Some(Mock::Error(Failure::new("Down", "why"))));
    request.configuration.error_caused_by_state = Some("B".to_owned());
    request.level = InspectionLevel::Info;
    let report = report(request);
    assert_eq!(report.status, TestStatus::CaughtError);
    let output = json!({"id": 1, "error": {"Error": "Down", "Cause": "why"}});
    assert_eq!(report.output.as_deref(), Some(&output));
    assert_eq!(report.inspection, None);
}

#[test]
fn requests_that_make_no_sense() {
    let result = |value: Value| Some(Mock::Result(value));
    let same = |_: &mut Request| {};
    refused(
        PARALLEL,
        result(json!([1])),
        same,
        "The mock's result must be an array of 2 values, one for each branch of 'StateName'",
    );
    refused(
        MAP,
        result(json!({})),
        same,
        "The mock's result must be an array, as the Map state 'StateName' gives",
    );
    refused(
        "Type: Pass\nEnd: true",
        result(json!(1)),
        same,
        "State 'StateName' calls nothing: a mock can only be given for Task, Map and Parallel states",
    );
    refused(
        "Type: Task\nResource: arn:aws:states:::states:startExecution.sync\nEnd: true",
        None,
        same,
        "State 'StateName' waits for something outside (arn:aws:states:::states:startExecution.sync): a mock must be given for it",
    );
    refused(
        PARALLEL,
        Some(Mock::Error(Failure::new("Down", "why"))),
        |request| request.configuration.error_caused_by_state = Some("Z".to_owned()),
        "errorCausedByState names 'Z', which is no state of 'StateName'",
    );
    refused(
        TASK,
        result(json!({})),
        |request| request.configuration.map_iteration_failure_count = Some(1),
        "mapIterationFailureCount is given, but 'StateName' is no Map state",
    );
    refused(
        MAP,
        result(json!([])),
        |request| request.configuration.map_item_reader_data = Some(json!([])),
        "mapItemReaderData is given, but 'StateName' has no ItemReader",
    );
}

#[test]
fn mocked_answers_are_held_against_the_api() {
    let start = "Type: Task\nResource: arn:aws:states:::states:startExecution\nEnd: true";
    let mode = |mode: FieldValidation| {
        move |request: &mut Request| request.configuration.field_validation = mode
    };
    let missing = "The mock's result is not valid: field 'ExecutionArn' is required in the answer of states:startExecution";
    let empty = || Some(Mock::Result(json!({})));
    refused(start, empty(), mode(FieldValidation::Strict), missing);
    let wrong = || Some(Mock::Result(json!({"ExecutionArn": "arn", "StartDate": true})));
    refused(
        start,
        wrong(),
        mode(FieldValidation::Present),
        "The mock's result is not valid: field 'StartDate' of states:startExecution can not be true",
    );
    for (mock, validation) in
        [(empty(), FieldValidation::Present), (wrong(), FieldValidation::None)]
    {
        let mut request = request(start, mock);
        request.configuration.field_validation = validation;
        assert_eq!(report(request).status, TestStatus::Succeeded);
    }
}

#[test]
fn context_and_variables_are_those_given() {
    let definition = r#"
Type: Choice
QueryLanguage: JSONata
Choices: [{ Condition: "{% $limit > $states.context.Execution.Input.n %}", Next: Low }]
Default: High
"#;
    let mut request = request(definition, None);
    request.context = Some(json!({"Execution": {"Input": {"n": 4}}}));
    request.variables = json!({"limit": 5}).as_object().unwrap().clone();
    let report = report(request);
    assert_eq!(report.next_state.as_deref(), Some("Low"));
    assert_eq!(report.inspection.unwrap()["variables"], Value::from(r#"{"limit":5}"#));
}

#[test]
fn a_state_of_a_machine_and_of_a_map_in_it() {
    let machine = r#"
QueryLanguage: JSONata
StartAt: M
States:
  M:
    Type: Map
    Items: [1]
    ItemProcessor:
      ProcessorConfig: { Mode: DISTRIBUTED, ExecutionType: STANDARD }
      StartAt: In
      States: { In: { Type: Pass, Output: "{% $states.input.id + 1 %}", End: true } }
    End: true
"#;
    let mut inner = request(machine, None);
    inner.state_name = Some("In".to_owned());
    assert_eq!(report(inner).output.as_deref(), Some(&json!(2)));
    refused(
        machine,
        None,
        |request| request.state_name = Some("Out".to_owned()),
        "State not found in definition: Out",
    );
}
