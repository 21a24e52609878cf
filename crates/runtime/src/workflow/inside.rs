//! What tasks may call, and the services that are inside: what these do is a write in the
//! execution's own batch.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Failure, Input, Integration, RunTask};
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
        answered(task, Arc::new(self.output))
    }
}

/// A call's answer, which is the result unless that comes by itself.
pub(super) fn answered(task: &RunTask, output: Arc<Value>) -> Input {
    match task.integration {
        Integration::RequestResponse => Input::TaskSucceeded { task: task.task, output },
        _ => Input::TaskSubmitted { task: task.task, output },
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
    inside: Option<Service>,
}

const PLAIN: &[&str] = &[""];
const TOKEN: &[&str] = &["", ".waitForTaskToken"];
const ALL: &[&str] = &["", ".sync", ".sync:2", ".waitForTaskToken"];

const fn offer(
    resource: &'static str,
    patterns: &'static [&'static str],
    inside: Option<Service>,
) -> Offer {
    Offer { resource, patterns, inside }
}

/// Task resources that this system offers, besides functions and activities by their ARNs.
pub const OFFERED: &[Offer] = &[
    offer(tasks::HTTP_INVOKE, PLAIN, None),
    offer(lambda::RESOURCE, TOKEN, None),
    offer(put_events::RESOURCE, TOKEN, Some(put_events::perform)),
    offer(send_message::RESOURCE, TOKEN, Some(send_message::perform)),
    offer(start_execution::RESOURCE, ALL, Some(start_execution::perform)),
];

fn offered(task: &RunTask) -> Option<&'static Offer> {
    OFFERED.iter().find(|offer| offer.resource == &*task.resource)
}

/// Why a Resource, as it stands in a definition, is not offered; none when it is.
#[must_use]
pub fn not_offered(resource: &str) -> Option<String> {
    let whole = |offer: &Offer, pattern: &&str| format!("{}{pattern}", offer.resource) == resource;
    if OFFERED.iter().any(|offer| offer.patterns.iter().any(|pattern| whole(offer, pattern)))
        || resource.split(':').nth(5) == Some("activity")
        || lambda::is_function(resource)
    {
        return None;
    }
    let known: Vec<String> = OFFERED
        .iter()
        .flat_map(|offer| {
            offer.patterns.iter().map(|pattern| format!("{}{pattern}", offer.resource))
        })
        .collect();
    Some(format!("The resource {resource} is not offered; there are: {}", known.join(", ")))
}

/// The failure of a task whose resource is not offered.
pub(super) fn refusal(task: &RunTask) -> Option<Failure> {
    let suffix = match task.integration {
        Integration::RequestResponse => "",
        Integration::Sync => ".sync",
        Integration::Sync2 => ".sync:2",
        Integration::WaitForTaskToken => ".waitForTaskToken",
    };
    if offered(task).is_some_and(|offer| offer.patterns.contains(&suffix)) {
        return None;
    }
    let cause = not_offered(&format!("{}{suffix}", task.resource))?;
    Some(Failure::new("States.Runtime", cause))
}

/// The ARN of the activity whose workers do the task.
pub(super) fn activity_of(task: &RunTask) -> Option<&str> {
    (task.resource.split(':').nth(5) == Some("activity")).then_some(&*task.resource)
}

/// Whether the task leaves the process, so that a crash leaves open what became of it.
pub(super) fn is_call(task: &RunTask) -> bool {
    activity_of(task).is_none() && offered(task).is_none_or(|offer| offer.inside.is_none())
}

/// The same of a Resource as it stands in a definition.
#[must_use]
pub fn leaves_the_process(resource: &str) -> bool {
    let calls = |offer: &Offer| {
        let suffix = resource.strip_prefix(offer.resource);
        offer.inside.is_none() && suffix.is_some_and(|suffix| offer.patterns.contains(&suffix))
    };
    lambda::is_function(resource) || OFFERED.iter().any(calls)
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
    let service = offered(task)?.inside?;
    if start_execution::must_look(task) {
        return None;
    }
    Some(service(engine, row, task, batch, effects))
}
