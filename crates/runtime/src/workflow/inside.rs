//! What tasks may call, and the services that are inside: what these do is a write in the
//! execution's own batch.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Failure, Input, Integration, RunTask, TaskId};
use stepbus_model::ExecutionId;
use stepbus_store::{Batch, ExecutionRow};

use super::{lambda, put_events, send_message, start_execution, tasks};
use crate::engine::Engine;
use crate::publish::Effects;

/// What a service inside did.
#[derive(Debug)]
pub(super) struct Done {
    pub output: Value,
    /// The execution whose end is the task's result.
    pub awaited: Option<ExecutionId>,
}

impl From<Value> for Done {
    fn from(output: Value) -> Self {
        Done { output, awaited: None }
    }
}

impl Done {
    /// What the execution hears of it: the result, or that the result is yet to come.
    pub(super) fn input(self, task: &RunTask) -> Input {
        answered(task.task, task.integration, Arc::new(self.output))
    }
}

/// A call's answer, which is the result unless that comes by itself.
pub(super) fn answered(task: TaskId, kind: Integration, output: Arc<Value>) -> Input {
    match kind {
        Integration::RequestResponse => Input::TaskSucceeded { task, output },
        _ => Input::TaskSubmitted { task, output },
    }
}

type Service =
    fn(&Engine, &ExecutionRow, &RunTask, &mut Batch, &mut Effects) -> Result<Done, Failure>;

/// A resource that tasks may name.
#[derive(Debug)]
pub struct Offer {
    /// The ARN without the suffix of an integration.
    pub resource: &'static str,
    /// Suffixes it may have.
    pub patterns: &'static [&'static str],
    /// Arguments it takes, and those that it cannot do without.
    pub arguments: &'static [&'static str],
    pub required: &'static [&'static str],
    inside: Option<Service>,
}

impl Offer {
    /// As in `http:invoke`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.resource.rsplit_once(":::").map_or(self.resource, |(_, name)| name)
    }
}

const PLAIN: &[&str] = &[""];
const TOKEN: &[&str] = &["", ".waitForTaskToken"];
const ALL: &[&str] = &["", ".sync", ".sync:2", ".waitForTaskToken"];

/// Task resources that this system offers, besides functions and activities by their ARNs.
pub const OFFERED: &[Offer] = &[
    Offer {
        resource: tasks::HTTP_INVOKE,
        patterns: PLAIN,
        arguments: tasks::ARGUMENTS,
        required: &["ApiEndpoint", "Method"],
        inside: None,
    },
    Offer {
        resource: lambda::RESOURCE,
        patterns: TOKEN,
        arguments: lambda::ARGUMENTS,
        required: &["FunctionName"],
        inside: None,
    },
    Offer {
        resource: put_events::RESOURCE,
        patterns: TOKEN,
        arguments: &["Entries"],
        required: &["Entries"],
        inside: Some(put_events::perform),
    },
    Offer {
        resource: send_message::RESOURCE,
        patterns: TOKEN,
        arguments: send_message::ARGUMENTS,
        required: &["QueueUrl", "MessageBody"],
        inside: Some(send_message::perform),
    },
    Offer {
        resource: start_execution::RESOURCE,
        patterns: ALL,
        arguments: start_execution::ARGUMENTS,
        required: &["StateMachineArn"],
        inside: Some(start_execution::perform),
    },
];

fn offer_of(task: &RunTask) -> Option<&'static Offer> {
    OFFERED.iter().find(|offer| offer.resource == &*task.resource)
}

/// What a Resource stands for, as it is written in a definition.
#[must_use]
pub fn offered(resource: &str) -> Option<&'static Offer> {
    OFFERED.iter().find(|offer| {
        let suffix = resource.strip_prefix(offer.resource);
        suffix.is_some_and(|suffix| offer.patterns.contains(&suffix))
    })
}

/// Every Resource that is offered, besides functions and activities.
#[must_use]
pub fn tasks_may_call() -> Vec<String> {
    OFFERED
        .iter()
        .flat_map(|offer| {
            offer.patterns.iter().map(|pattern| format!("{}{pattern}", offer.resource))
        })
        .collect()
}

/// Why a Resource, as it stands in a definition, is not offered; none when it is.
#[must_use]
pub fn not_offered(resource: &str) -> Option<String> {
    if offered(resource).is_some() || is_activity(resource) || lambda::is_function(resource) {
        return None;
    }
    let known = tasks_may_call().join(", ");
    Some(format!("The resource {resource} is not offered; there are: {known}"))
}

/// The failure of a task whose resource is not offered.
pub(super) fn refusal(task: &RunTask) -> Option<Failure> {
    let suffix = match task.integration {
        Integration::RequestResponse => "",
        Integration::Sync => ".sync",
        Integration::Sync2 => ".sync:2",
        Integration::WaitForTaskToken => ".waitForTaskToken",
    };
    if offer_of(task).is_some_and(|offer| offer.patterns.contains(&suffix)) {
        return None;
    }
    let cause = not_offered(&format!("{}{suffix}", task.resource))?;
    Some(Failure::new("States.Runtime", cause))
}

/// The ARN of the activity whose workers do the task.
pub(super) fn activity_of(task: &RunTask) -> Option<&str> {
    is_activity(&task.resource).then_some(&*task.resource)
}

fn is_activity(resource: &str) -> bool {
    // Each call of a map's child is asked: most are told apart by their end.
    let kind = resource.rsplit_once(':').map_or("", |(kind, _name)| kind);
    kind.ends_with(":activity") && kind.split(':').nth(5) == Some("activity")
}

/// Whether the task leaves the process, so that a crash leaves open what became of it.
pub(super) fn is_call(task: &RunTask) -> bool {
    activity_of(task).is_none() && offer_of(task).is_none_or(|offer| offer.inside.is_none())
}

/// The same of a Resource as it stands in a definition.
#[must_use]
pub fn leaves_the_process(resource: &str) -> bool {
    lambda::is_function(resource) || offered(resource).is_some_and(|offer| offer.inside.is_none())
}

/// Whether the task brings about events or executions.
pub(super) fn produces(task: &RunTask) -> bool {
    matches!(&*task.resource, put_events::RESOURCE | start_execution::RESOURCE)
}

/// Does what the task asks for, when its service is inside and it needs nothing but the batch.
pub(super) fn perform(
    engine: &Engine,
    row: &ExecutionRow,
    task: &RunTask,
    batch: &mut Batch,
    effects: &mut Effects,
) -> Option<Result<Done, Failure>> {
    let service = offer_of(task)?.inside?;
    if start_execution::must_look(task) {
        return None;
    }
    Some(service(engine, row, task, batch, effects))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activities_are_told_apart() {
        let check = |resource: &str, expected: bool| {
            assert_eq!(is_activity(resource), expected, "{resource}");
        };
        check("arn:aws:states:eu-central-1:111111111111:activity:weld", true);
        check("arn:aws:states:::http:invoke", false);
        check("arn:aws:lambda:eu-central-1:111111111111:function:activity", false);
        check("arn:aws:lambda:eu-central-1:111111111111:function:activity:live", false);
        check("activity", false);
    }
}
