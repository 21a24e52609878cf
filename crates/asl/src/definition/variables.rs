//! Variables: who assigns them, who reads them, and whether one comes before the other.

use std::collections::{HashMap, HashSet};

use super::Builder;
use super::flow::Flow;
use super::model::StateId;
use crate::diagnostic::{At, Read, SCHEMA, UNASSIGNED, closest};

/// States of a machine beyond which it is not asked who comes before whom.
const MOST_ORDERED: usize = 2_000;

#[derive(Debug)]
pub(super) struct Assigned {
    pub(super) name: String,
    pub(super) state: StateId,
    pub(super) at: At,
}

/// What was known of the outer machine when an inner one began.
pub(super) struct Outer {
    assigned: Vec<Assigned>,
    inside: Vec<Assigned>,
    read: usize,
}

impl Builder<'_> {
    pub(super) fn enter_variables(&mut self) -> Outer {
        Outer {
            assigned: std::mem::take(&mut self.assigned),
            inside: std::mem::take(&mut self.assigned_inside),
            read: self.problems.variables_read.len(),
        }
    }

    /// Settles what the machine that was read assigns and reads; what it reads and does not assign
    /// is left to the outer one.
    pub(super) fn leave_variables(&mut self, outer: Outer, flow: &Flow) {
        let assigned = std::mem::replace(&mut self.assigned, outer.assigned);
        let inside = std::mem::replace(&mut self.assigned_inside, outer.inside);
        self.refuse_shadows(&assigned, &inside);
        let mut places: HashMap<&str, Vec<StateId>> = HashMap::new();
        for variable in &assigned {
            places.entry(&variable.name).or_default().push(variable.state);
        }
        let ordered = !flow.incomplete && self.states.len() <= MOST_ORDERED;
        let mut follow: HashMap<StateId, HashSet<StateId>> = HashMap::new();
        for read in self.problems.variables_read.split_off(outer.read) {
            let Some(states) = places.get(read.name.as_str()) else {
                self.problems.variables_read.push(read);
                continue;
            };
            let comes_before = |state: &StateId| {
                follow.entry(*state).or_insert_with(|| flow.follow(*state)).contains(&read.state)
            };
            if ordered && !self.alone && !states.iter().any(comes_before) {
                self.assigned_too_late(&read);
            }
        }
        self.assigned_inside.extend(assigned);
        self.assigned_inside.extend(inside);
    }

    /// AWS: a machine inside another may read the outer one's variables, but not assign them.
    fn refuse_shadows(&mut self, assigned: &[Assigned], inside: &[Assigned]) {
        let names: HashSet<&str> = assigned.iter().map(|variable| &*variable.name).collect();
        for variable in inside.iter().filter(|variable| names.contains(&*variable.name)) {
            let name = &variable.name;
            let message = format!("Variable '{name}' is already assigned in an outer scope");
            self.problems
                .error(SCHEMA, &variable.at, message)
                .hint("give it a name of its own, and hand its value out with the state's output");
        }
    }

    fn assigned_too_late(&mut self, read: &Read) {
        let name = &read.name;
        let message =
            format!("Variable '{name}' is assigned by no state that comes before this one");
        self.problems
            .warning(UNASSIGNED, &read.at, message)
            .hint("a state's own Assign takes effect when the state is left");
    }

    /// Warns of variables that are read where nothing assigns them.
    pub(super) fn unassigned(&mut self, known: usize) {
        let names: Vec<String> = self.assigned_inside.iter().map(|v| v.name.clone()).collect();
        for Read { name, at, .. } in self.problems.variables_read.split_off(known) {
            let message = format!("Variable '{name}' is not assigned in this scope");
            let hint = match closest(&name, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `${near}`?"),
                None => format!("assign it before, as `Assign: {{ {name}: … }}`"),
            };
            self.problems.warning(UNASSIGNED, &at, message).hint(hint);
        }
    }
}
