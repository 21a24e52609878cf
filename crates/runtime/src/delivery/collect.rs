//! What of a window may go together in one call.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use stepbus_model::DeliveryId;

use super::policy::Group;
use super::task::Task;
use crate::declared::BatchSpec;

/// Deliveries of one kind.
pub(super) struct Candidates<'w> {
    pub(super) size: usize,
    /// How long the first one waits for others.
    pub(super) patience: Duration,
    ids: Vec<(Reverse<u32>, DeliveryId, Option<&'w str>)>,
}

impl<'w> Candidates<'w> {
    /// Those of a batch that failed wait for each other for `reunion` at least.
    pub(super) fn new(spec: &BatchSpec, group: Option<&Group>, reunion: Duration) -> Self {
        let window = Duration::from_millis(spec.window_ms);
        let (size, patience) = match group {
            // The others' alarms ring at the same time as its own.
            Some(group) => (group.size, window.max(reunion)),
            None => (spec.size, window),
        };
        Candidates { size, patience, ids: Vec::new() }
    }

    pub(super) fn add(&mut self, task: &'w Task) {
        self.ids.push((Reverse(task.share.weight), task.row.id, task.row.key.as_deref()));
    }

    /// The oldest of the heaviest runs, each key once.
    pub(super) fn first(mut self) -> HashSet<DeliveryId> {
        self.ids.sort_unstable_by_key(|(weight, id, _)| (*weight, *id));
        let mut keys: HashSet<&'w str> = HashSet::new();
        let mut fits = |key: Option<&'w str>| key.is_none_or(|key| keys.insert(key));
        let chosen = self.ids.into_iter().filter(|(_, _, key)| fits(*key));
        chosen.map(|(_, id, _)| id).take(self.size).collect()
    }
}
