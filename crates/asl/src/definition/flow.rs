//! Where states lead: targets that are missing, states nothing reaches, machines without an end.

use std::collections::{HashMap, HashSet};

use crate::definition::model::StateId;
use crate::diagnostic::{At, ENDLESS_LOOP, MISSING_END, MISSING_TARGET, Problems, closest};

/// The transitions of one machine.
#[derive(Debug)]
pub(crate) struct Flow {
    at: At,
    ids: HashMap<String, StateId>,
    edges: Vec<(StateId, StateId)>,
    ends: Vec<StateId>,
    /// Some state could not be read, so what it leads to is unknown.
    pub(crate) incomplete: bool,
}

impl Flow {
    pub(crate) fn new<'v>(at: At, ids: impl IntoIterator<Item = (&'v str, StateId)>) -> Flow {
        let ids = ids.into_iter().map(|(name, id)| (name.to_owned(), id)).collect();
        Flow { at, ids, edges: Vec::new(), ends: Vec::new(), incomplete: false }
    }

    pub(crate) fn target(&self, name: &str) -> Option<StateId> {
        self.ids.get(name).copied()
    }

    pub(crate) fn edge(&mut self, from: StateId, to: StateId) {
        self.edges.push((from, to));
    }

    pub(crate) fn end(&mut self, id: StateId) {
        self.ends.push(id);
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
        if self.ends.is_empty() {
            let problem = problems.error(MISSING_END, &self.at, "Workflow has no terminal state");
            problem.location = None;
            problem.hint("let a state have `End: true`, or add a Succeed or Fail state");
            return;
        }
        let Some(start) = start else { return };
        let reached = self.after([start]);
        for name in self.names(|id| !reached.contains(&id)) {
            let message = format!("State \"{name}\" is not reachable.");
            problems.error(MISSING_TARGET, &self.at.field(name), message);
        }
        self.check_loops(&reached, problems);
    }

    /// Warns of states that lead to nothing but each other.
    fn check_loops(&self, reached: &HashSet<StateId>, problems: &mut Problems<'_>) {
        let back = self.edges.iter().map(|(from, to)| (*to, *from));
        let ending = closure(back, self.ends.iter().copied());
        for name in self.names(|id| reached.contains(&id) && !ending.contains(&id)) {
            let message = format!("From state \"{name}\" no state that ends can be reached");
            problems
                .warning(ENDLESS_LOOP, &self.at.field(name), message)
                .hint("let one of the states of the loop lead out of it");
        }
    }

    /// The names of the states of which `belongs` holds, in the order they stand in the text.
    fn names(&self, belongs: impl Fn(StateId) -> bool) -> impl Iterator<Item = &str> {
        let mut names: Vec<_> = self.ids.iter().filter(|(_, id)| belongs(**id)).collect();
        names.sort_by_key(|(_, id)| **id);
        names.into_iter().map(|(name, _)| name.as_str())
    }

    /// The states given and all that they lead to.
    fn after(&self, start: impl IntoIterator<Item = StateId>) -> HashSet<StateId> {
        closure(self.edges.iter().copied(), start)
    }

    /// The states that `state` leads to; itself only where a loop leads back to it.
    pub(crate) fn follow(&self, state: StateId) -> HashSet<StateId> {
        let next = self.edges.iter().filter(|(from, _)| *from == state).map(|(_, to)| *to);
        self.after(next)
    }
}

fn closure(
    edges: impl Iterator<Item = (StateId, StateId)>,
    start: impl IntoIterator<Item = StateId>,
) -> HashSet<StateId> {
    let mut next: HashMap<StateId, Vec<StateId>> = HashMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().push(to);
    }
    let mut open: Vec<StateId> = start.into_iter().collect();
    let mut reached: HashSet<StateId> = open.iter().copied().collect();
    while let Some(id) = open.pop() {
        for to in next.get(&id).into_iter().flatten() {
            if reached.insert(*to) {
                open.push(*to);
            }
        }
    }
    reached
}
