//! Where states lead: targets that are missing, states nothing reaches, machines without an end.

use std::collections::HashMap;

use crate::definition::model::StateId;
use crate::diagnostic::{At, MISSING_END, MISSING_TARGET, Problems, closest};

/// The transitions of one machine.
#[derive(Debug)]
pub(crate) struct Flow {
    at: At,
    ids: HashMap<String, StateId>,
    edges: Vec<(StateId, StateId)>,
    has_end: bool,
    /// Some state could not be read, so what it leads to is unknown.
    pub(crate) incomplete: bool,
}

impl Flow {
    pub(crate) fn new<'v>(at: At, ids: impl IntoIterator<Item = (&'v str, StateId)>) -> Flow {
        let ids = ids.into_iter().map(|(name, id)| (name.to_owned(), id)).collect();
        Flow { at, ids, edges: Vec::new(), has_end: false, incomplete: false }
    }

    pub(crate) fn target(&self, name: &str) -> Option<StateId> {
        self.ids.get(name).copied()
    }

    pub(crate) fn edge(&mut self, from: StateId, to: StateId) {
        self.edges.push((from, to));
    }

    pub(crate) fn end(&mut self) {
        self.has_end = true;
    }

    pub(crate) fn missing(&self, field: &str, name: &str, at: &At, problems: &mut Problems<'_>) {
        let problem =
            problems.error(MISSING_TARGET, at, format!("Missing '{field}' target: {name}"));
        problem.hint = closest(name, self.ids.keys().map(String::as_str))
            .map(|near| format!("did you mean `{near}`?"));
    }

    /// Reports what nothing reaches. A machine without an end is reported as such alone.
    pub(crate) fn check(&self, start: Option<StateId>, problems: &mut Problems<'_>) {
        if self.incomplete {
            return;
        }
        if !self.has_end {
            let problem = problems.error(MISSING_END, &self.at, "Workflow has no terminal state");
            problem.location = None;
            problem.hint("let a state have `End: true`, or add a Succeed or Fail state");
            return;
        }
        let Some(start) = start else { return };
        let reached = self.reached(start);
        let mut names: Vec<_> = self.ids.iter().filter(|(_, id)| !reached.contains(id)).collect();
        names.sort_by_key(|(_, id)| **id);
        for (name, _) in names {
            let message = format!("State \"{name}\" is not reachable.");
            problems.error(MISSING_TARGET, &self.at.field(name), message);
        }
    }

    fn reached(&self, start: StateId) -> std::collections::HashSet<StateId> {
        let mut next: HashMap<StateId, Vec<StateId>> = HashMap::new();
        for (from, to) in &self.edges {
            next.entry(*from).or_default().push(*to);
        }
        let mut reached = std::collections::HashSet::from([start]);
        let mut open = vec![start];
        while let Some(id) = open.pop() {
            for to in next.get(&id).into_iter().flatten() {
                if reached.insert(*to) {
                    open.push(*to);
                }
            }
        }
        reached
    }
}
