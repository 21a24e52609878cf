//! Which runs go before others where they wait for the same thing.
//!
//! Every run is a share of its own, so a run of one product gets its turns beside one of thirty
//! thousand. Memory holds only the runs whose priority is not `normal`.

use std::collections::BTreeMap;

use parking_lot::RwLock;
use stepbus_model::{RunId, Share};
use stepbus_store::{Priority, Store, StoreError};

use crate::engine::Engine;
use crate::forced::Forced;

#[derive(Debug)]
pub(crate) struct Priorities {
    special: RwLock<BTreeMap<RunId, Priority>>,
    limit: usize,
}

impl Priorities {
    pub(crate) fn new(limit: usize) -> Self {
        Priorities { special: RwLock::default(), limit: limit.max(1) }
    }

    /// To be told before anything of the run can wait.
    pub(crate) fn set(&self, run: RunId, priority: Priority) {
        if priority == Priority::Normal {
            return;
        }
        let mut special = self.special.write();
        special.insert(run, priority);
        // The oldest run has had the most time to get done; what is left of it is `normal` now.
        if special.len() > self.limit {
            special.pop_first();
        }
    }

    pub(crate) fn share(&self, run: RunId) -> Share {
        let priority = self.special.read().get(&run).copied().unwrap_or(Priority::Normal);
        Share { id: run.0, weight: priority.weight() }
    }

    /// Reads the priorities of the runs that are open.
    pub(crate) async fn load(
        &self,
        store: &dyn Store,
        forced: &Forced,
        page: usize,
    ) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let runs = store.runs(true, before, page).await?;
            for run in &runs {
                self.set(run.id, run.priority);
                forced.note(run.force);
            }
            match runs.last() {
                Some(last) if runs.len() >= page => before = Some(last.id),
                _ => return Ok(()),
            }
        }
    }
}

impl Engine {
    /// Whose turn work of this run takes.
    pub(crate) fn share(&self, run: RunId) -> Share {
        self.priorities.share(run)
    }
}
