//! What a recording tells of the world outside: which calls were made, and what was answered to
//! each, in which order. A call that differs from the recorded one gets no answer from here.

use std::sync::Arc;

use serde_json::Value;
use stepbus_asl::{Failure, Integration, RunTask, TaskId};

use super::compare::same;

/// One thing that was answered.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Started(Option<String>),
    Submitted(Arc<Value>),
    Succeeded(Arc<Value>),
    Failed(Failure),
    TimedOut,
}

#[derive(Default)]
pub(super) struct Recording {
    /// The events in which something was scheduled, and the task that each became.
    calls: Vec<(Value, Option<TaskId>)>,
    /// Answers not yet given, each with the place of its call.
    answers: Vec<(usize, Answer)>,
}

impl Recording {
    pub(super) fn of(history: &[Value]) -> Recording {
        let mut events: Vec<&Value> = history.iter().collect();
        let numbered = events.iter().all(|event| event["id"].is_u64());
        if numbered {
            events.sort_by_key(|event| event["id"].as_u64());
        }
        let mut recording = Recording::default();
        let mut places = Vec::with_capacity(events.len());
        for event in &events {
            // The call that the event follows, directly or through others.
            let before = match (numbered, event["previousEventId"].as_u64()) {
                (true, Some(id @ 1..)) => usize::try_from(id - 1).ok(),
                (true, _) => None,
                (false, _) => places.len().checked_sub(1),
            };
            let mut place = before.and_then(|before| places.get(before).copied().flatten());
            let kind = event["type"].as_str().unwrap_or_default();
            if kind.ends_with("Scheduled") {
                place = Some(recording.calls.len());
                recording.calls.push(((*event).clone(), None));
            } else if kind.ends_with("StateEntered") {
                place = None;
            } else if let (Some(place), Some(answer)) = (place, answer(kind, event)) {
                recording.answers.push((place, answer));
            }
            places.push(place);
        }
        recording
    }

    /// Finds the recorded call that `run` is, the earliest of equal ones.
    pub(super) fn take(&mut self, run: &RunTask) -> bool {
        let found = self.calls.iter_mut().find(|(event, taken)| taken.is_none() && is(event, run));
        match found {
            Some((_, taken)) => {
                *taken = Some(run.task);
                true
            }
            None => false,
        }
    }

    /// The earliest answer to a call that has been made.
    pub(super) fn next(&mut self) -> Option<(TaskId, Answer)> {
        let made = |place: usize| self.calls[place].1;
        let index = self.answers.iter().position(|(place, _)| made(*place).is_some())?;
        let (place, answer) = self.answers.remove(index);
        Some((self.calls[place].1?, answer))
    }
}

/// Whether the recorded event schedules this call with these arguments.
fn is(event: &Value, run: &RunTask) -> bool {
    let details = details(event);
    let resource = Value::from(&*run.resource);
    let (named, input) = match details.get("resourceType").and_then(Value::as_str) {
        None => (same(&details["resource"], &resource), &details["input"]),
        Some(kind) => {
            let suffix = match run.integration {
                Integration::RequestResponse => "",
                Integration::Sync => ".sync",
                Integration::Sync2 => ".sync:2",
                Integration::WaitForTaskToken => ".waitForTaskToken",
            };
            let api = details["resource"].as_str().unwrap_or_default();
            let whole = format!(":::{kind}:{api}");
            let stem = whole.strip_suffix(suffix);
            (stem.is_some_and(|stem| run.resource.ends_with(stem)), &details["parameters"])
        }
    };
    named && same(input, &run.arguments)
}

fn answer(kind: &str, event: &Value) -> Option<Answer> {
    let details = details(event);
    let text = |name: &str| match &details[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let output = || Arc::new(parsed(&details["output"]));
    let moment = ["Task", "Activity", "LambdaFunction"]
        .iter()
        .find_map(|family| kind.strip_prefix(family))?;
    match moment {
        // What else starts is told without being asked.
        "Started" if kind == "ActivityStarted" => Some(Answer::Started(text("workerName"))),
        "Submitted" => Some(Answer::Submitted(output())),
        "Succeeded" => Some(Answer::Succeeded(output())),
        "Failed" | "ScheduleFailed" | "StartFailed" | "SubmitFailed" => {
            Some(Answer::Failed(Failure { error: text("error"), cause: text("cause") }))
        }
        "TimedOut" => Some(Answer::TimedOut),
        _ => None,
    }
}

fn details(event: &Value) -> Value {
    let members = event.as_object().into_iter().flatten();
    let details = members.filter(|(name, _)| name.ends_with("EventDetails"));
    details.map(|(_, details)| details.clone()).next().unwrap_or_default()
}

/// JSON text, or what the recording shows parsed.
pub(super) fn parsed(value: &Value) -> Value {
    value.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| value.clone())
}
