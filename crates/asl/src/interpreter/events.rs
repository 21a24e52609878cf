//! The words of history: event types and their details, as GetExecutionHistory gives them.

use serde_json::{Map, Value, json};
use stepbus_model::arn;

use crate::definition::model::{Kind, Service, Task};
use crate::history::Details;
use crate::io::Failure;
use crate::start::Start;
use crate::thread::OpenTask;

macro_rules! state_event {
    ($name:ident, $suffix:literal, [$($kind:ident $with:tt => $text:literal),* $(,)?]) => {
        pub(super) fn $name(kind: &Kind) -> &'static str {
            match kind {
                $(state_event!(@pattern $kind $with) => concat!($text, $suffix),)*
            }
        }
    };
    (@pattern $kind:ident {}) => { Kind::$kind { .. } };
    (@pattern $kind:ident ()) => { Kind::$kind(_) };
    (@pattern $kind:ident []) => { Kind::$kind };
}

macro_rules! state_events {
    ($($name:ident, $suffix:literal;)*) => {$(
        state_event!($name, $suffix, [
            Pass {} => "Pass", Task () => "Task", Choice () => "Choice", Wait () => "Wait",
            Succeed [] => "Succeed", Fail {} => "Fail", Parallel {} => "Parallel", Map () => "Map",
        ]);
    )*};
}

state_events! {
    entered, "StateEntered";
    exited, "StateExited";
    aborted, "StateAborted";
    started, "StateStarted";
    succeeded, "StateSucceeded";
    failed, "StateFailed";
}

/// A value as history carries it: JSON text, and whether it was cut.
fn put_text(details: &mut Map<String, Value>, name: &str, value: &Value) {
    details.insert(name.to_owned(), Value::from(value.to_string()));
    details.insert(format!("{name}Details"), json!({ "truncated": false }));
}

fn put_failure(details: &mut Map<String, Value>, failure: &Failure) {
    if let Some(error) = &failure.error {
        details.insert("error".to_owned(), Value::from(error.as_str()));
    }
    if let Some(cause) = &failure.cause {
        details.insert("cause".to_owned(), Value::from(cause.as_str()));
    }
}

pub(super) fn execution_started(start: &Start) -> Details {
    let mut details = Map::new();
    put_text(&mut details, "input", &start.input);
    if let Some(role) = &start.role_arn {
        details.insert("roleArn".to_owned(), Value::from(&**role));
    }
    Some(("executionStartedEventDetails", Value::Object(details)))
}

pub(super) fn execution_succeeded(output: &Value) -> Details {
    let mut details = Map::new();
    put_text(&mut details, "output", output);
    Some(("executionSucceededEventDetails", Value::Object(details)))
}

pub(super) fn workflow_failure_details(name: &'static str, failure: &Failure) -> Details {
    let mut details = Map::new();
    put_failure(&mut details, failure);
    Some((name, Value::Object(details)))
}

pub(super) fn state_entered(name: &str, input: &Value) -> Details {
    let mut details = Map::new();
    details.insert("name".to_owned(), Value::from(name));
    put_text(&mut details, "input", input);
    Some(("stateEnteredEventDetails", Value::Object(details)))
}

pub(super) fn state_exited(name: &str, output: &Value, assigned: Option<&Value>) -> Details {
    let mut details = Map::new();
    details.insert("name".to_owned(), Value::from(name));
    put_text(&mut details, "output", output);
    if let Some(Value::Object(assigned)) = assigned
        && !assigned.is_empty()
    {
        let texts: Map<String, Value> = assigned
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.to_string())))
            .collect();
        details.insert("assignedVariables".to_owned(), Value::Object(texts));
        details.insert("assignedVariablesDetails".to_owned(), json!({ "truncated": false }));
    }
    Some(("stateExitedEventDetails", Value::Object(details)))
}

pub(super) fn evaluation_failed(state: &str, failure: &Failure, location: Option<&str>) -> Details {
    let mut details = Map::new();
    put_failure(&mut details, failure);
    details.insert("state".to_owned(), Value::from(state));
    if let Some(location) = location {
        details.insert("location".to_owned(), Value::from(location));
    }
    Some(("evaluationFailedEventDetails", Value::Object(details)))
}

pub(super) fn map_started(length: usize) -> Details {
    Some(("mapStateStartedEventDetails", json!({ "length": length })))
}

pub(super) fn iteration(name: &'static str, state: &str, index: u32) -> Details {
    Some((name, json!({ "name": state, "index": index })))
}

pub(super) fn map_run_redriven(arn: &str, redrives: u32) -> Details {
    let details = json!({ "mapRunArn": arn, "redriveCount": redrives });
    Some(("mapRunRedrivenEventDetails", details))
}

pub(super) fn map_run_started(arn: &str) -> Details {
    Some(("mapRunStartedEventDetails", json!({ "mapRunArn": arn })))
}

/// The moments of a task that history tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    Scheduled,
    Started,
    Submitted,
    Succeeded,
    Failed,
    TimedOut,
}

pub(super) fn task_event(service: &Service, moment: Moment) -> &'static str {
    match (service, moment) {
        (Service::LambdaFunction, Moment::Scheduled) => "LambdaFunctionScheduled",
        (Service::LambdaFunction, Moment::Started) => "LambdaFunctionStarted",
        (Service::LambdaFunction, Moment::Succeeded) => "LambdaFunctionSucceeded",
        (Service::LambdaFunction, Moment::Failed) => "LambdaFunctionFailed",
        (Service::LambdaFunction, Moment::TimedOut) => "LambdaFunctionTimedOut",
        (Service::Activity, Moment::Scheduled) => "ActivityScheduled",
        (Service::Activity, Moment::Started) => "ActivityStarted",
        (Service::Activity, Moment::Succeeded) => "ActivitySucceeded",
        (Service::Activity, Moment::Failed) => "ActivityFailed",
        (Service::Activity, Moment::TimedOut) => "ActivityTimedOut",
        (_, Moment::Scheduled) => "TaskScheduled",
        (_, Moment::Started) => "TaskStarted",
        (_, Moment::Submitted) => "TaskSubmitted",
        (_, Moment::Succeeded) => "TaskSucceeded",
        (_, Moment::Failed) => "TaskFailed",
        (_, Moment::TimedOut) => "TaskTimedOut",
    }
}

fn details_name(service: &Service, moment: Moment) -> &'static str {
    match (service, moment) {
        (Service::LambdaFunction, Moment::Scheduled) => "lambdaFunctionScheduledEventDetails",
        (Service::LambdaFunction, Moment::Succeeded) => "lambdaFunctionSucceededEventDetails",
        (Service::LambdaFunction, Moment::Failed) => "lambdaFunctionFailedEventDetails",
        (Service::LambdaFunction, Moment::TimedOut) => "lambdaFunctionTimedOutEventDetails",
        (Service::Activity, Moment::Scheduled) => "activityScheduledEventDetails",
        (Service::Activity, Moment::Started) => "activityStartedEventDetails",
        (Service::Activity, Moment::Succeeded) => "activitySucceededEventDetails",
        (Service::Activity, Moment::Failed) => "activityFailedEventDetails",
        (Service::Activity, Moment::TimedOut) => "activityTimedOutEventDetails",
        (_, Moment::Scheduled) => "taskScheduledEventDetails",
        (_, Moment::Started) => "taskStartedEventDetails",
        (_, Moment::Submitted) => "taskSubmittedEventDetails",
        (_, Moment::Succeeded) => "taskSucceededEventDetails",
        (_, Moment::Failed) => "taskFailedEventDetails",
        (_, Moment::TimedOut) => "taskTimedOutEventDetails",
    }
}

pub(super) fn task_scheduled(task: &Task, open: &OpenTask) -> Details {
    let mut details = Map::new();
    match &task.service {
        Service::LambdaFunction | Service::Activity => {
            details.insert("resource".to_owned(), Value::from(task.resource_text.as_str()));
            put_text(&mut details, "input", &open.arguments);
        }
        Service::Integrated { resource_type, resource } => {
            details.insert("resourceType".to_owned(), Value::from(resource_type.as_str()));
            details.insert("resource".to_owned(), Value::from(resource.as_str()));
            details.insert("region".to_owned(), Value::from(arn::REGION));
            details.insert("parameters".to_owned(), Value::from(open.arguments.to_string()));
        }
    }
    if let Some(seconds) = open.timeout_seconds {
        details.insert("timeoutInSeconds".to_owned(), Value::from(seconds));
    }
    if let Some(seconds) = open.heartbeat_seconds {
        details.insert("heartbeatInSeconds".to_owned(), Value::from(seconds));
    }
    if let Some(role) = open.credentials.as_ref().and_then(|held| held.get("RoleArn")) {
        details.insert("taskCredentials".to_owned(), json!({ "roleArn": role }));
    }
    Some((details_name(&task.service, Moment::Scheduled), Value::Object(details)))
}

fn of_task(service: &Service) -> Map<String, Value> {
    let mut details = Map::new();
    if let Service::Integrated { resource_type, resource } = service {
        details.insert("resourceType".to_owned(), Value::from(resource_type.as_str()));
        details.insert("resource".to_owned(), Value::from(resource.as_str()));
    }
    details
}

pub(super) fn task_started(service: &Service, worker: Option<&str>) -> Details {
    let mut details = of_task(service);
    match service {
        Service::LambdaFunction => return None,
        Service::Activity => {
            if let Some(worker) = worker {
                details.insert("workerName".to_owned(), Value::from(worker));
            }
        }
        Service::Integrated { .. } => {}
    }
    Some((details_name(service, Moment::Started), Value::Object(details)))
}

pub(super) fn task_output(service: &Service, moment: Moment, output: &Value) -> Details {
    let mut details = of_task(service);
    put_text(&mut details, "output", output);
    Some((details_name(service, moment), Value::Object(details)))
}

pub(super) fn task_failure(service: &Service, moment: Moment, failure: &Failure) -> Details {
    let mut details = of_task(service);
    put_failure(&mut details, failure);
    Some((details_name(service, moment), Value::Object(details)))
}
