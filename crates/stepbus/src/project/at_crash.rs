//! `in_flight_at_crash` of a workflow: which of its calls are not sent again after a crash.

use std::collections::BTreeMap;

use serde_json::Value;
use stepbus_asl::WorkflowType;
use stepbus_document::{Document, join};
use stepbus_runtime::{AtCrash, InFlightAtCrash, leaves_the_process};

use super::Reader;
use super::problem::{Severity, suggest};

const FIELD: &str = "in_flight_at_crash";
const NOT_RECORDED: &str = "what an EXPRESS execution had in flight at a crash is not recorded";
const ANEW: &str =
    "it begins anew and calls again under the same Idempotency-Key; make it STANDARD";

/// A Task state of a definition.
struct Task<'d> {
    resource: &'d str,
    /// It runs in an EXPRESS execution.
    express: bool,
}

impl Reader<'_> {
    /// `text` is the workflow's definition.
    pub(super) fn in_flight_at_crash(
        &mut self,
        workflow: &Value,
        at: &str,
        (text, kind): (&str, WorkflowType),
    ) -> InFlightAtCrash {
        let mut spec = InFlightAtCrash::default();
        let Some((value, at)) = self.field(workflow, at, FIELD) else { return spec };
        let Ok(definition) = Document::parse(text) else { return spec };
        let mut tasks = BTreeMap::new();
        find(definition.value(), kind == WorkflowType::Express, &mut tasks);
        if value.get("default").and_then(Value::as_str) == Some("fail") {
            spec.default = AtCrash::Fail;
        }
        for (field, then) in [("fail", AtCrash::Fail), ("resend", AtCrash::Resend)] {
            let names = value.get(field).and_then(Value::as_array).into_iter().flatten();
            for (index, name) in names.enumerate() {
                let (Some(name), at) = (name.as_str(), join(&join(&at, field), index)) else {
                    continue;
                };
                self.state_holds(&tasks, name, then, &at);
                if spec.states.insert(name.to_owned(), then).is_some_and(|other| other != then) {
                    self.wrong(&at, format!("`{name}` stands in both `fail` and `resend`"));
                }
            }
        }
        if spec.default == AtCrash::Fail {
            tasks.retain(|name, _| !spec.states.contains_key(*name));
            self.default_holds(&tasks, kind, &join(&at, "default"));
        }
        spec
    }

    fn default_holds(&mut self, tasks: &BTreeMap<&str, Task<'_>>, kind: WorkflowType, at: &str) {
        if kind == WorkflowType::Express {
            self.wrong(at, NOT_RECORDED).hint(ANEW);
            return;
        }
        let mut calls = tasks.iter().filter(|(_, task)| leaves_the_process(task.resource));
        if let Some((name, _)) = calls.find(|(_, task)| task.express) {
            let message = format!(
                "it does not hold for `{name}`, which EXPRESS children run: {NOT_RECORDED}"
            );
            self.wrong(at, message).hint(ANEW).severity = Severity::Warning;
        }
    }

    fn state_holds(
        &mut self,
        tasks: &BTreeMap<&str, Task<'_>>,
        name: &str,
        then: AtCrash,
        at: &str,
    ) {
        let Some(task) = tasks.get(name) else {
            let hint = suggest(name, tasks.keys().copied());
            self.wrong(at, format!("no Task state is named `{name}`")).hint(hint);
            return;
        };
        if !leaves_the_process(task.resource) {
            let message = format!("`{name}` makes no call: {} is never in flight", task.resource);
            self.wrong(at, message).hint("leave it out; it happens exactly once");
        } else if task.express && then == AtCrash::Fail {
            self.wrong(at, format!("`{name}`: {NOT_RECORDED}")).hint(ANEW);
        }
    }
}

fn find<'d>(machine: &'d Value, express: bool, tasks: &mut BTreeMap<&'d str, Task<'d>>) {
    let states = machine.get("States").and_then(Value::as_object);
    for (name, state) in states.into_iter().flatten() {
        if let Some(resource) = state.get("Resource").and_then(Value::as_str) {
            tasks.insert(name, Task { resource, express });
        }
        let branches = state.get("Branches").and_then(Value::as_array);
        for branch in branches.into_iter().flatten() {
            find(branch, express, tasks);
        }
        for processor in ["ItemProcessor", "Iterator"].iter().filter_map(|name| state.get(name)) {
            let config = |name: &str| processor.pointer(&format!("/ProcessorConfig/{name}"));
            let distributed = config("Mode").is_some_and(|mode| mode == "DISTRIBUTED");
            let children = config("ExecutionType").is_some_and(|kind| kind == "EXPRESS");
            find(processor, if distributed { children } else { express }, tasks);
        }
    }
}
