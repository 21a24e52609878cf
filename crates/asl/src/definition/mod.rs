//! From a document to a program: parsing and checking are one walk, which finds every problem.

mod choices;
mod errors;
pub(crate) mod fields;
mod flow;
mod maps;
pub(crate) mod model;
mod resource;
mod states;
pub(crate) mod values;
mod variables;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use stepbus_document::Document;

use self::fields::{Fields, In, Known};
use self::flow::Flow;
use self::model::{DataFlow, Kind, Language, State, StateId, Target};
use self::variables::Assigned;
use crate::diagnostic::{At, DUPLICATE_STATE, Diagnostic, INVALID_STATE_NAME, Problems, TOO_DEEP};
use crate::io::WorkflowType;

/// Machines inside one another. Each level is a frame of a few recursive functions.
const MAX_NESTING: usize = 24;
/// AWS: characters of a state's name.
const MAX_NAME: usize = 80;
/// AWS: 99,999,999 seconds is the longest span a definition may name.
pub(crate) const MAX_SECONDS: u64 = 99_999_999;

/// Everything a definition says.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) states: Vec<State>,
    pub(crate) start: StateId,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) comment: Option<String>,
}

/// Reads a whole definition. The problems come with the program when none of them is an error.
pub(crate) fn parse(
    document: &Document,
    workflow_type: WorkflowType,
) -> (Option<Parsed>, Vec<Diagnostic>) {
    let mut builder = Builder::new(document, workflow_type);
    let parsed = builder.program(document.value());
    let ok = !builder.problems.has_errors();
    (parsed.filter(|_| ok), builder.problems.found)
}

/// Reads one state that stands alone, as TestState takes it.
pub(crate) fn parse_state(document: &Document, name: &str) -> (Option<Parsed>, Vec<Diagnostic>) {
    let mut builder = Builder::new(document, WorkflowType::Standard);
    let at = At { pointer: String::new(), location: format!("/States/{name}") };
    let parsed = builder.lone_state(name, document.value(), &at);
    let ok = !builder.problems.has_errors();
    (parsed.filter(|_| ok), builder.problems.found)
}

const MACHINE: Known = &[
    ("Comment", In::Both),
    ("QueryLanguage", In::Both),
    ("StartAt", In::Both),
    ("States", In::Both),
    ("TimeoutSeconds", In::Both),
    ("Version", In::Both),
];
const BRANCH: Known = &[("Comment", In::Both), ("StartAt", In::Both), ("States", In::Both)];
const PROCESSOR: Known = &[
    ("Comment", In::Both),
    ("StartAt", In::Both),
    ("States", In::Both),
    ("ProcessorConfig", In::Both),
];

#[derive(Debug)]
pub(crate) struct Builder<'d> {
    pub(crate) problems: Problems<'d>,
    pub(crate) workflow_type: WorkflowType,
    /// The machine's QueryLanguage.
    pub(crate) language: Language,
    states: Vec<Option<State>>,
    names: HashSet<String>,
    pub(crate) labels: HashSet<String>,
    depth: usize,
    /// The state that is being read.
    current: StateId,
    /// Variables assigned in the machine that is being read.
    assigned: Vec<Assigned>,
    /// Variables assigned in the machines inside the one that is being read.
    assigned_inside: Vec<Assigned>,
    /// A state that stands alone may name any Next.
    pub(crate) alone: bool,
}

impl<'d> Builder<'d> {
    fn new(document: &'d Document, workflow_type: WorkflowType) -> Self {
        Builder {
            problems: Problems::new(document),
            workflow_type,
            language: Language::JsonPath,
            states: Vec::new(),
            names: HashSet::new(),
            labels: HashSet::new(),
            depth: 0,
            current: 0,
            assigned: Vec::new(),
            assigned_inside: Vec::new(),
            alone: false,
        }
    }

    fn program(&mut self, value: &Value) -> Option<Parsed> {
        let at = At::root();
        let Some(fields) = value.as_object().map(|map| Fields { map, at }) else {
            let problem =
                self.problems.schema(&At::root(), "Definition must be a valid JSON object");
            problem.location = None;
            return None;
        };
        if let Some(language) = self.query_language(&fields) {
            self.language = language;
        }
        fields.check(MACHINE, &["StartAt", "States"], self.language, &mut self.problems);
        fields.text("Comment", &mut self.problems);
        if fields.text("Version", &mut self.problems).is_some_and(|version| version != "1.0") {
            self.problems.schema(&fields.at("Version"), "Value is not valid. Expected '1.0'");
        }
        let timeout_seconds = fields.whole("TimeoutSeconds", 1, MAX_SECONDS, &mut self.problems);
        let start = self.machine(&fields);
        self.unassigned(0);
        let start = start?;
        let comment = fields.get("Comment").and_then(Value::as_str).map(str::to_owned);
        Some(Parsed { states: self.finish()?, start, timeout_seconds, comment })
    }

    fn lone_state(&mut self, name: &str, value: &Value, at: &At) -> Option<Parsed> {
        self.alone = true;
        self.states.push(None);
        let mut flow = Flow::new(at.clone(), [(name, 0)]);
        self.state(0, name, value, at, &mut flow);
        Some(Parsed { states: self.finish()?, start: 0, timeout_seconds: None, comment: None })
    }

    /// A state that a lone one leads to, which only has its name.
    pub(crate) fn stand_in(&mut self, name: &str) -> StateId {
        let id = StateId::try_from(self.states.len()).expect("a definition's size is bounded");
        self.states.push(Some(State {
            name: Arc::from(name),
            pointer: String::new(),
            language: self.language,
            kind: Kind::Succeed,
            next: Target::End,
            data: DataFlow::default(),
            retry: Vec::new(),
            catch: Vec::new(),
        }));
        id
    }

    fn finish(&mut self) -> Option<Vec<State>> {
        std::mem::take(&mut self.states).into_iter().collect()
    }

    pub(crate) fn query_language(&mut self, fields: &Fields<'_>) -> Option<Language> {
        match fields.text("QueryLanguage", &mut self.problems)? {
            "JSONata" => Some(Language::Jsonata),
            "JSONPath" => Some(Language::JsonPath),
            other => {
                let message = format!(
                    "Value is not valid. Expected 'JSONPath' or 'JSONata', but found '{other}'"
                );
                self.problems.schema(&fields.at("QueryLanguage"), message);
                None
            }
        }
    }

    /// A branch of a Parallel state.
    pub(crate) fn branch(&mut self, value: &Value, at: At) -> Option<StateId> {
        let fields = Fields::of(value, at, &mut self.problems)?;
        fields.check(BRANCH, &["StartAt", "States"], self.language, &mut self.problems);
        self.machine(&fields)
    }

    /// The processor of an inline Map, in this program.
    pub(crate) fn inline_processor(&mut self, fields: &Fields<'_>) -> Option<StateId> {
        fields.check(PROCESSOR, &["StartAt", "States"], self.language, &mut self.problems);
        self.machine(fields)
    }

    /// The processor of a distributed Map, a program of its own.
    pub(crate) fn distributed_processor(
        &mut self,
        fields: &Fields<'_>,
        execution_type: WorkflowType,
    ) -> Option<Parsed> {
        fields.check(PROCESSOR, &["StartAt", "States"], self.language, &mut self.problems);
        let outer_states = std::mem::take(&mut self.states);
        let outer_type = std::mem::replace(&mut self.workflow_type, execution_type);
        let known = self.problems.variables_read.len();
        let inside = self.assigned_inside.len();
        let start = self.machine(fields);
        // Children are executions of their own, which see no variables of the map's.
        self.unassigned(known);
        self.assigned_inside.truncate(inside);
        self.workflow_type = outer_type;
        let states = std::mem::replace(&mut self.states, outer_states);
        let states = states.into_iter().collect::<Option<Vec<_>>>()?;
        Some(Parsed { states, start: start?, timeout_seconds: None, comment: None })
    }

    /// StartAt and States of the whole, a branch or a processor.
    fn machine(&mut self, fields: &Fields<'_>) -> Option<StateId> {
        if self.depth == MAX_NESTING {
            let message = format!("States are nested deeper than {MAX_NESTING} levels");
            self.problems.error(TOO_DEEP, &fields.at, message);
            return None;
        }
        let start = fields.text("StartAt", &mut self.problems);
        let states = fields.object("States", &mut self.problems)?;
        if states.map.is_empty() {
            self.problems.schema(&states.at, "Value cannot be empty");
            return None;
        }
        let ids = self.reserve(&states);
        let mut flow = Flow::new(states.at.clone(), ids.iter().map(|(name, id)| (*name, *id)));
        self.depth += 1;
        let outer = self.enter_variables();
        for (name, value) in states.map {
            let at = states.at.field(name);
            self.state(ids[name.as_str()], name, value, &at, &mut flow);
        }
        self.leave_variables(outer, &flow);
        self.depth -= 1;
        let start = start.and_then(|name| {
            let id = flow.target(name);
            if id.is_none() {
                flow.missing("StartAt", name, &fields.at("StartAt"), &mut self.problems);
            }
            id
        });
        flow.check(start, &mut self.problems);
        start
    }

    fn reserve<'v>(&mut self, states: &Fields<'v>) -> HashMap<&'v str, StateId> {
        let mut ids = HashMap::with_capacity(states.map.len());
        for name in states.map.keys() {
            let id = StateId::try_from(self.states.len()).expect("a definition's size is bounded");
            self.states.push(None);
            ids.insert(name.as_str(), id);
            let at = states.at.field(name);
            if !self.names.insert(name.clone()) {
                let message = format!("Duplicate state name: {name}");
                self.problems
                    .error(DUPLICATE_STATE, &at, message)
                    .hint("a state's name must be its own in the whole state machine");
            }
            if name.is_empty() || name.chars().count() > MAX_NAME {
                let message = format!("State name must have 1 to {MAX_NAME} characters");
                self.problems.error(INVALID_STATE_NAME, &at, message);
            }
        }
        ids
    }

    fn state(&mut self, id: StateId, name: &str, value: &Value, at: &At, flow: &mut Flow) {
        let outer = std::mem::replace(&mut self.current, id);
        let known = self.problems.variables_read.len();
        let state = self.read_state(id, name, value, at, flow);
        for read in &mut self.problems.variables_read[known..] {
            read.state = id;
        }
        self.current = outer;
        self.states[id as usize] = state;
    }
}
