//! Reading one state: its Type decides which fields it may have.

use std::sync::Arc;

use serde_json::Value;

use super::Builder;
use super::fields::{Fields, In, Known, kind_of};
use super::flow::Flow;
use super::model::{DataFlow, Kind, Language, State, StateId, Target, Task, WaitFor};
use super::resource;
use super::values::Scope;
use crate::diagnostic::{At, PASS_RESULT_IS_STATIC, closest};

const TYPES: &[&str] = &["Task", "Pass", "Choice", "Wait", "Succeed", "Fail", "Parallel", "Map"];

const PASS: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Next", In::Both),
    ("End", In::Both),
    ("Assign", In::Both),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
    ("Parameters", In::JsonPath),
    ("Result", In::JsonPath),
    ("ResultPath", In::JsonPath),
];
const TASK: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Next", In::Both),
    ("End", In::Both),
    ("Assign", In::Both),
    ("Retry", In::Both),
    ("Catch", In::Both),
    ("Resource", In::Both),
    ("TimeoutSeconds", In::Both),
    ("HeartbeatSeconds", In::Both),
    ("Credentials", In::Both),
    ("Arguments", In::Jsonata),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
    ("Parameters", In::JsonPath),
    ("ResultSelector", In::JsonPath),
    ("ResultPath", In::JsonPath),
    ("TimeoutSecondsPath", In::JsonPath),
    ("HeartbeatSecondsPath", In::JsonPath),
];
const CHOICE: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Choices", In::Both),
    ("Default", In::Both),
    ("Assign", In::Both),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
];
const WAIT: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Next", In::Both),
    ("End", In::Both),
    ("Assign", In::Both),
    ("Seconds", In::Both),
    ("Timestamp", In::Both),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
    ("SecondsPath", In::JsonPath),
    ("TimestampPath", In::JsonPath),
];
const SUCCEED: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
];
const FAIL: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Error", In::Both),
    ("Cause", In::Both),
    ("ErrorPath", In::JsonPath),
    ("CausePath", In::JsonPath),
];
const PARALLEL: Known = &[
    ("Type", In::Both),
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("Next", In::Both),
    ("End", In::Both),
    ("Assign", In::Both),
    ("Retry", In::Both),
    ("Catch", In::Both),
    ("Branches", In::Both),
    ("Arguments", In::Jsonata),
    ("Output", In::Jsonata),
    ("InputPath", In::JsonPath),
    ("OutputPath", In::JsonPath),
    ("Parameters", In::JsonPath),
    ("ResultSelector", In::JsonPath),
    ("ResultPath", In::JsonPath),
];

impl Builder<'_> {
    pub(super) fn read_state(
        &mut self,
        id: StateId,
        name: &str,
        value: &Value,
        at: &At,
        flow: &mut Flow,
    ) -> Option<State> {
        let state = self.read_known_state(id, name, value, at, flow);
        flow.incomplete |= state.is_none();
        state
    }

    fn read_known_state(
        &mut self,
        id: StateId,
        name: &str,
        value: &Value,
        at: &At,
        flow: &mut Flow,
    ) -> Option<State> {
        let fields = Fields::of(value, at.clone(), &mut self.problems)?;
        let language = self.state_language(&fields);
        fields.text("Comment", &mut self.problems);
        let scope = Scope::new(language);
        let state_type = self.state_type(&fields)?;
        // Whatever is wrong with the rest, all of it is read, so that all of it is told.
        let kind = self.kind(id, state_type, &fields, scope, flow);
        let data = self.data_flow(&fields, state_type, scope);
        let (retry, catch) = match state_type {
            "Task" | "Parallel" | "Map" => {
                (self.retriers(&fields, scope), self.catchers(id, &fields, scope, flow))
            }
            _ => (Vec::new(), Vec::new()),
        };
        let next = self.next(id, &fields, state_type, flow);
        Some(State {
            name: Arc::from(name),
            pointer: at.pointer.clone(),
            language,
            kind: kind?,
            next,
            data,
            retry,
            catch,
        })
    }

    fn state_language(&mut self, fields: &Fields<'_>) -> Language {
        let Some(language) = self.query_language(fields) else { return self.language };
        if language == Language::JsonPath && self.language == Language::Jsonata {
            let message =
                "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine";
            let field = fields.at("QueryLanguage");
            let at = At { pointer: field.pointer, location: fields.at.location.clone() };
            self.problems.schema(&at, message);
        }
        language
    }

    fn state_type(&mut self, fields: &Fields<'_>) -> Option<&'static str> {
        if !fields.has("Type") {
            self.problems.schema(&fields.at, "These fields are required: [Type]");
            return None;
        }
        let written = fields.text("Type", &mut self.problems)?;
        let known = TYPES.iter().copied().find(|known| *known == written);
        if known.is_none() {
            let message = format!("Value is not valid. Expected one of [{}]", TYPES.join(", "));
            let problem = self.problems.schema(&fields.at("Type"), message);
            problem.hint = closest(written, TYPES.iter().copied())
                .map(|near| format!("unknown Type `{written}`; did you mean `{near}`?"));
        }
        known
    }

    fn kind(
        &mut self,
        id: StateId,
        state_type: &str,
        fields: &Fields<'_>,
        scope: Scope,
        flow: &mut Flow,
    ) -> Option<Kind> {
        match state_type {
            "Pass" => Some(self.pass(fields, scope.language)),
            "Task" => self.task(fields, scope),
            "Choice" => {
                fields.check(CHOICE, &["Choices"], scope.language, &mut self.problems);
                self.choice(id, fields, scope, flow)
            }
            "Wait" => self.wait(fields, scope),
            "Fail" => Some(self.fail(fields, scope)),
            "Parallel" => self.parallel(fields, scope.language),
            "Map" => self.map(fields, scope),
            _ => {
                fields.check(SUCCEED, &[], scope.language, &mut self.problems);
                Some(Kind::Succeed)
            }
        }
    }

    fn pass(&mut self, fields: &Fields<'_>, language: Language) -> Kind {
        fields.check(PASS, &[], language, &mut self.problems);
        let result = fields.get("Result").map(|value| Arc::new(value.clone()));
        if let Some(Value::String(text)) = fields.get("Result")
            && text.starts_with("$.")
        {
            self.problems
                .warning(PASS_RESULT_IS_STATIC, &fields.at("Result"), "Result is a static value")
                .hint("`Result` is never evaluated; use `Parameters` or `InputPath` for a path");
        }
        Kind::Pass { result }
    }

    fn task(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Kind> {
        fields.check(TASK, &["Resource"], scope.language, &mut self.problems);
        let timeout = self.seconds("TimeoutSeconds", fields, scope);
        let heartbeat = self.seconds("HeartbeatSeconds", fields, scope);
        let credentials = self.payload("Credentials", fields, scope);
        if let (Some(Value::Number(timeout)), Some(Value::Number(heartbeat))) =
            (fields.get("TimeoutSeconds"), fields.get("HeartbeatSeconds"))
            && heartbeat.as_f64() >= timeout.as_f64()
        {
            let message = "HeartbeatSeconds must be smaller than TimeoutSeconds";
            self.problems.schema(&fields.at("HeartbeatSeconds"), message);
        }
        let text = fields.text("Resource", &mut self.problems)?;
        let at = fields.at("Resource");
        let resource = resource::parse(text, &at, self.workflow_type, &mut self.problems)?;
        Some(Kind::Task(Box::new(Task { timeout, heartbeat, credentials, ..resource })))
    }

    fn wait(&mut self, fields: &Fields<'_>, scope: Scope) -> Option<Kind> {
        fields.check(WAIT, &[], scope.language, &mut self.problems);
        const FORMS: [&str; 4] = ["Seconds", "Timestamp", "SecondsPath", "TimestampPath"];
        let given = FORMS.iter().filter(|name| fields.has(name)).count();
        if given != 1 {
            let message = "Exactly one of these fields is required: [Seconds, SecondsPath, Timestamp, TimestampPath]";
            self.problems.schema(&fields.at, message);
            return None;
        }
        if fields.has("Seconds") || fields.has("SecondsPath") {
            return self.span("Seconds", 0, fields, scope).map(|e| Kind::Wait(WaitFor::Seconds(e)));
        }
        self.timestamp(fields, scope).map(|moment| Kind::Wait(WaitFor::Timestamp(moment)))
    }

    fn fail(&mut self, fields: &Fields<'_>, scope: Scope) -> Kind {
        fields.check(FAIL, &[], scope.language, &mut self.problems);
        let error = self.text_or_path("Error", fields, scope);
        let cause = self.text_or_path("Cause", fields, scope);
        Kind::Fail { error, cause }
    }

    fn parallel(&mut self, fields: &Fields<'_>, language: Language) -> Option<Kind> {
        fields.check(PARALLEL, &["Branches"], language, &mut self.problems);
        let at = fields.at("Branches");
        let branches = fields.array("Branches", &mut self.problems)?;
        if branches.is_empty() {
            self.problems.schema(&at, "Value cannot be empty");
            return None;
        }
        let mut starts = Vec::with_capacity(branches.len());
        for (index, branch) in branches.iter().enumerate() {
            starts.push(self.branch(branch, at.item(index)));
        }
        Some(Kind::Parallel { branches: starts.into_iter().collect::<Option<Vec<_>>>()? })
    }

    fn next(
        &mut self,
        id: StateId,
        fields: &Fields<'_>,
        state_type: &str,
        flow: &mut Flow,
    ) -> Target {
        match state_type {
            "Choice" => return Target::End,
            "Succeed" | "Fail" => {
                flow.end(id);
                return Target::End;
            }
            _ => {}
        }
        let end = match fields.get("End") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(other) => {
                let message =
                    format!("Expected value of type Boolean, but found {}", kind_of(other));
                self.problems.schema(&fields.at("End"), message);
                return Target::End;
            }
        };
        match (fields.has("Next"), end) {
            (false, true) => {
                flow.end(id);
                Target::End
            }
            (true, false) => {
                self.target("Next", "Next", id, fields, flow).map_or(Target::End, Target::State)
            }
            (false, false) if self.alone => Target::End,
            (next, _) => {
                let (message, hint) = if next {
                    ("'Next' and 'End' can not both be given", "leave one of them out")
                } else {
                    (
                        "One of these fields is required: [Next, End]",
                        "name the state that comes next, or, if none does, write `End: true`",
                    )
                };
                self.problems.schema(&fields.at, message).hint(hint);
                flow.incomplete = true;
                Target::End
            }
        }
    }

    /// The state that a field names.
    pub(super) fn target(
        &mut self,
        field: &str,
        named: &str,
        from: StateId,
        fields: &Fields<'_>,
        flow: &mut Flow,
    ) -> Option<StateId> {
        let name = fields.text(field, &mut self.problems)?;
        match flow.target(name) {
            Some(to) => {
                flow.edge(from, to);
                Some(to)
            }
            None if self.alone => Some(self.stand_in(name)),
            None => {
                flow.missing(named, name, &fields.at(field), &mut self.problems);
                None
            }
        }
    }

    fn data_flow(&mut self, fields: &Fields<'_>, state_type: &str, scope: Scope) -> DataFlow {
        if state_type == "Fail" {
            return DataFlow::default();
        }
        let leaving = scope.with_result(matches!(state_type, "Task" | "Parallel" | "Map"));
        let assign = match state_type {
            "Succeed" => None,
            _ => self.assign(fields, leaving),
        };
        let arguments = match (state_type, scope.language) {
            ("Task" | "Parallel", Language::Jsonata) => self.payload("Arguments", fields, scope),
            ("Task" | "Parallel" | "Pass", Language::JsonPath) => {
                self.payload("Parameters", fields, scope)
            }
            _ => None,
        };
        match scope.language {
            Language::Jsonata => DataFlow {
                arguments,
                assign,
                output: self.payload("Output", fields, leaving),
                ..DataFlow::default()
            },
            Language::JsonPath => DataFlow {
                arguments,
                assign,
                input_path: self.path("InputPath", fields),
                result_selector: self.payload("ResultSelector", fields, scope),
                result_path: self.result_path(fields),
                output_path: self.path("OutputPath", fields),
                output: None,
            },
        }
    }
}
