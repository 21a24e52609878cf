//! What an execution is made of: threads of states, each with what it waits for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use stepbus_model::Timestamp;

use crate::definition::model::StateId;
use crate::expression::Variable;
use crate::interpreter::bytes;
use crate::io::{MapRunSpec, Visit};

/// Index of a thread in its execution.
pub(crate) type ThreadId = u32;

/// One state after another: the execution itself, a branch of a Parallel state, or an iteration
/// of an inline Map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) parent: Option<Parent>,
    pub(crate) state: StateId,
    pub(crate) visit: Visit,
    /// Retries of this visit so far; the attempt that now runs.
    pub(crate) attempt: u32,
    /// Retries of this visit by retrier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retries: Vec<u32>,
    pub(crate) entered_at: Timestamp,
    /// Event in which the state was entered, and the one before.
    pub(crate) entered: u64,
    pub(crate) before: u64,
    /// The event that the next one follows.
    pub(crate) last: u64,
    /// The state's input as it was entered with.
    pub(crate) input: Arc<Value>,
    /// Variables assigned in this thread; those of its parents are read through them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) variables: Vec<Variable>,
    /// Bytes of the values of `variables`.
    #[serde(default)]
    pub(crate) variable_bytes: u64,
    /// The map run of the latest visit that had one: a redrive goes on with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) map_run: Option<Box<LastMapRun>>,
    pub(crate) activity: Activity,
}

/// A map run that a state had begun.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LastMapRun {
    pub(crate) visit: Visit,
    pub(crate) arn: String,
    pub(crate) redrives: u32,
    /// The state is about to be entered again by a redrive.
    pub(crate) redriven: bool,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Parent {
    pub(crate) thread: ThreadId,
    /// Number of the branch or iteration.
    pub(crate) index: u32,
}

/// What a thread does now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Activity {
    /// The state is about to be entered.
    Ready,
    /// A Wait state.
    Waiting {
        until: Timestamp,
    },
    /// The pause before the next attempt.
    Retrying {
        until: Timestamp,
    },
    Task(Box<OpenTask>),
    /// A Parallel state or an inline Map with its children.
    Fork(Box<Fork>),
    /// A distributed Map.
    MapRun(Box<MapRunSpec>),
    /// Failed or aborted; what is left of it serves a redrive.
    Stopped,
}

/// A task whose result is awaited.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct OpenTask {
    pub(crate) arguments: Arc<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credentials: Option<Arc<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heartbeat_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) heartbeat_at: Option<Timestamp>,
    /// History has told of its start.
    pub(crate) started: bool,
    /// The call was accepted; its result comes by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) submitted: bool,
}

/// The children of a Parallel state or an inline Map.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Fork {
    /// The items of a Map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Arc<Value>>,
    /// The state's input after InputPath, which ItemSelector sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Arc<Value>>,
    pub(crate) results: Vec<Option<Arc<Value>>>,
    /// The next iteration to start.
    pub(crate) next: usize,
    /// Children that have no result yet, started or not.
    pub(crate) remaining: usize,
}

impl Thread {
    pub(crate) fn new(
        parent: Option<Parent>,
        state: StateId,
        input: Arc<Value>,
        last: u64,
    ) -> Thread {
        Thread {
            parent,
            state,
            visit: Visit(0),
            attempt: 0,
            retries: Vec::new(),
            entered_at: Timestamp::default(),
            entered: 0,
            before: 0,
            last,
            input,
            variables: Vec::new(),
            variable_bytes: 0,
            map_run: None,
            activity: Activity::Ready,
        }
    }

    /// The bytes of the variables that `values` would take the place of.
    pub(crate) fn bytes_of(&self, values: &Map<String, Value>) -> u64 {
        let replaced = self.variables.iter().filter(|(name, _)| values.contains_key(&**name));
        replaced.map(|(_, value)| bytes(value)).sum()
    }

    /// Assigns `values`, with which all variables have so many bytes.
    pub(crate) fn assign(&mut self, values: Map<String, Value>, all_bytes: u64) {
        for (name, value) in values {
            let value = Arc::new(value);
            match self.variables.iter_mut().find(|(known, _)| **known == *name) {
                Some((_, old)) => *old = value,
                None => self.variables.push((Arc::from(name), value)),
            }
        }
        self.variable_bytes = all_bytes;
    }
}
