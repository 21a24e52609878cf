//! A parsed, checked and compiled definition.

use std::sync::Arc;

use serde_json::Value;
use stepbus_document::Document;

use crate::definition::model::{Kind, Processor, State, StateId};
use crate::definition::{self, Parsed};
use crate::diagnostic::Diagnostic;
use crate::io::{Failure, MapScope, WorkflowType};
use crate::map;
use crate::start::MapItem;

/// A definition ready to run. Put it in an [`Arc`] and share it.
#[derive(Debug)]
pub struct Program {
    states: Vec<State>,
    start: StateId,
    timeout_seconds: Option<u64>,
    comment: Option<String>,
    warnings: Vec<Diagnostic>,
}

impl Program {
    /// Parses a definition for a workflow of the given type.
    ///
    /// # Errors
    /// Every problem of the definition, warnings among them, when one is an error.
    pub fn parse(
        document: &Document,
        workflow_type: WorkflowType,
    ) -> Result<Program, Vec<Diagnostic>> {
        match definition::parse(document, workflow_type) {
            (Some(parsed), warnings) => Ok(Program::from_parsed(parsed, warnings)),
            (None, problems) => Err(problems),
        }
    }

    pub(crate) fn from_parsed(parsed: Parsed, warnings: Vec<Diagnostic>) -> Program {
        let Parsed { states, start, timeout_seconds, comment } = parsed;
        Program { states, start, timeout_seconds, comment, warnings }
    }

    /// What does not stop the definition from running but is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }

    /// The program that the children of a distributed map run. `state_path` is the one in
    /// [`MapRunSpec`](crate::MapRunSpec).
    #[must_use]
    pub fn processor(&self, state_path: &str) -> Option<Arc<Program>> {
        self.states.iter().find_map(|state| match &state.kind {
            Kind::Map(map) => match &map.processor {
                Processor::Distributed(map) if state.pointer == state_path => {
                    Some(Arc::clone(&map.program))
                }
                _ => None,
            },
            _ => None,
        })
    }

    /// The input of a map run's child (ItemSelector applied).
    ///
    /// # Errors
    /// The failure of the map state, when the selector cannot be evaluated.
    pub fn map_item_input(
        &self,
        state_path: &str,
        scope: &MapScope,
        item: &MapItem,
    ) -> Result<Arc<Value>, Failure> {
        match self.states.iter().find(|state| state.pointer == state_path) {
            Some(state) => map::distributed_item_input(state, scope, item),
            None => Ok(Arc::clone(&item.value)),
        }
    }

    /// The state of that name, with the program it is in: this one or that of a distributed map.
    pub(crate) fn find(self: &Arc<Self>, name: &str) -> Option<(Arc<Program>, StateId)> {
        if let Some(found) = self.states.iter().position(|state| &*state.name == name) {
            return Some((Arc::clone(self), StateId::try_from(found).ok()?));
        }
        self.states.iter().find_map(|state| match &state.kind {
            Kind::Map(map) => match &map.processor {
                Processor::Distributed(map) => map.program.find(name),
                Processor::Inline { .. } => None,
            },
            _ => None,
        })
    }

    /// Whether it has a state of that name, or a distributed map inside it has.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.states.iter().any(|state| {
            *state.name == *name
                || matches!(&state.kind, Kind::Map(map)
                    if matches!(&map.processor, Processor::Distributed(map) if map.program.has(name)))
        })
    }

    /// The state of that name that is inside no other state.
    pub(crate) fn position(&self, name: &str) -> Option<StateId> {
        let found = self.states.iter().position(|s| *s.name == *name && self.is_own(s));
        found.and_then(|found| StateId::try_from(found).ok())
    }

    /// Names of the states that are inside no other.
    pub(crate) fn own_states(&self) -> impl Iterator<Item = &str> {
        self.states.iter().filter(|state| self.is_own(state)).map(|state| &*state.name)
    }

    /// The outermost state that the one of that name is inside of.
    pub(crate) fn around(&self, name: &str) -> Option<&str> {
        let inside = self.states.iter().find(|state| *state.name == *name);
        let around = |state: &&State| match inside {
            Some(inside) => {
                let rest = inside.pointer.strip_prefix(state.pointer.as_str());
                rest.is_some_and(|rest| rest.starts_with('/'))
            }
            None => match &state.kind {
                Kind::Map(map) => match &map.processor {
                    Processor::Distributed(map) => map.program.has(name),
                    Processor::Inline { .. } => false,
                },
                _ => false,
            },
        };
        let found = self.states.iter().filter(around).min_by_key(|state| state.pointer.len())?;
        Some(&found.name)
    }

    fn is_own(&self, state: &State) -> bool {
        let level = |state: &State| state.pointer.rfind('/');
        let start = self.state(self.start);
        let (own, other) = (level(start), level(state));
        own == other && start.pointer[..own.unwrap_or(0)] == state.pointer[..other.unwrap_or(0)]
    }

    pub(crate) fn state(&self, id: StateId) -> &State {
        &self.states[id as usize]
    }

    pub(crate) fn start(&self) -> StateId {
        self.start
    }

    pub(crate) fn timeout_seconds(&self) -> Option<u64> {
        self.timeout_seconds
    }
}
