//! Where an execution can be taken up again: a state as it was entered, found by replay.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepbus_model::Timestamp;

use crate::diagnostic::closest;
use crate::execution::Execution;
use crate::interpreter::{ROOT, Recorder};
use crate::io::{Input, Visit};
use crate::program::Program;
use crate::thread::{LastMapRun, Thread};

/// A state of an execution's own thread as it was entered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub state: String,
    pub input: Arc<Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// The map run that the state began then, and its redrives: the state goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_run: Option<(String, u32)>,
}

/// How an execution that begins anew, by another definition, goes on with what it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumption {
    pub entry: Entry,
    /// Visits there were: what is numbered by them is numbered on.
    pub visits: u64,
    pub redrives: u32,
}

/// Why an execution cannot be taken up at a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoEntry {
    #[error("its definition has no state '{state}'{}", hint(.near.as_deref()))]
    Unknown { state: String, near: Option<String> },
    #[error("it never entered the state '{0}'")]
    NeverEntered(String),
    #[error("the state '{state}' lies inside '{within}'; an execution is taken up at '{within}'")]
    Inside { state: String, within: String },
    #[error("its journal does not begin with a start")]
    NoStart,
}

fn hint(near: Option<&str>) -> String {
    near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default()
}

/// Looks out for a state while a journal is replayed.
#[derive(Debug)]
pub(crate) struct Watch {
    state: String,
    latest: Option<(Visit, Entry)>,
}

impl Watch {
    pub(crate) fn enters(&mut self, state: &str, thread: &Thread) {
        if thread.parent.is_none() && *self.state == *state {
            self.latest = Some((thread.visit, entry(state, thread)));
        }
    }

    pub(crate) fn starts_map_run(&mut self, visit: Visit, arn: &str, redrives: u32) {
        if let Some((entered, entry)) = &mut self.latest
            && *entered == visit
        {
            entry.map_run = Some((arn.to_owned(), redrives));
        }
    }
}

fn entry(state: &str, thread: &Thread) -> Entry {
    let variables = thread.variables.iter();
    Entry {
        state: state.to_owned(),
        input: Arc::clone(&thread.input),
        variables: variables.map(|(name, value)| (name.to_string(), (**value).clone())).collect(),
        map_run: None,
    }
}

/// How the execution of this journal entered a state last; with no state named, the one in which
/// it stands.
///
/// # Errors
/// When it never entered the state, or the state is not one of its own thread.
pub fn find_entry(
    program: &Program,
    journal: impl IntoIterator<Item = (Timestamp, Input)>,
    state: Option<&str>,
) -> Result<Resumption, NoEntry> {
    if let Some(state) = state {
        program.check_own_state(state)?;
    }
    let mut watch = Watch { state: state.unwrap_or_default().to_owned(), latest: None };
    let mut journal = journal.into_iter();
    let Some((at, Input::Started(start))) = journal.next() else { return Err(NoEntry::NoStart) };
    let mut events = Vec::new();
    let recorder = Recorder { events: &mut events, until: u64::MAX, watch: Some(&mut watch) };
    let (mut execution, _) = Execution::begin_recorded(program, at, start, Some(recorder));
    for (at, input) in journal {
        events.clear();
        let recorder = Recorder { events: &mut events, until: u64::MAX, watch: Some(&mut watch) };
        execution.apply_recorded(program, at, input, Some(recorder));
    }
    let entry = match state {
        None => stands(program, &execution).ok_or(NoEntry::NoStart)?,
        Some(state) => {
            let never = || NoEntry::NeverEntered(state.to_owned());
            watch.latest.map(|(_, entry)| entry).ok_or_else(never)?
        }
    };
    Ok(Resumption { entry, visits: execution.visits, redrives: execution.redrives })
}

/// The state in which the execution's own thread stands.
fn stands(program: &Program, execution: &Execution) -> Option<Entry> {
    let thread = execution.threads.get(ROOT as usize)?.as_ref()?;
    let mut entry = entry(&program.state(thread.state).name, thread);
    let own = |last: &&LastMapRun| last.visit == thread.visit;
    let last = thread.map_run.as_deref().filter(own);
    entry.map_run = last.map(|last| (last.arn.clone(), last.redrives));
    Some(entry)
}

impl Entry {
    /// A thread that is about to enter the state; `follows` is the event it follows.
    pub(crate) fn thread(&self, program: &Program, follows: u64) -> Option<Thread> {
        let state = program.position(&self.state)?;
        let mut thread = Thread::new(None, state, Arc::clone(&self.input), follows);
        let bytes = self.variables.values().map(crate::interpreter::bytes).sum();
        thread.assign(self.variables.clone(), bytes);
        let begun = self.map_run.as_ref().filter(|_| program.state(state).is_distributed());
        thread.map_run = begun.map(|(arn, redrives)| {
            let (visit, arn, redrives) = (thread.visit, arn.clone(), *redrives);
            Box::new(LastMapRun { visit, arn, redrives, redriven: true })
        });
        Some(thread)
    }
}

impl Program {
    /// # Errors
    /// When an execution of this program does not stand in that state itself, ever.
    pub fn check_own_state(&self, name: &str) -> Result<(), NoEntry> {
        if self.position(name).is_some() {
            return Ok(());
        }
        let state = name.to_owned();
        Err(match self.around(name) {
            Some(within) => NoEntry::Inside { state, within: within.to_owned() },
            None => {
                let near = closest(name, self.own_states()).map(str::to_owned);
                NoEntry::Unknown { state, near }
            }
        })
    }
}
