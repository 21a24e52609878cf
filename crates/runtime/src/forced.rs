//! Runs that send what is unchanged as well: somebody wants the targets to have it all again.
//!
//! The flag stands with the run, so everything the run causes inherits it. Nobody reads it unless
//! such a run was seen, and then only before something unchanged is left out.

use std::sync::atomic::{AtomicBool, Ordering};

use stepbus_model::RunId;
use stepbus_store::StoreError;

use crate::engine::Engine;

#[derive(Debug, Default)]
pub(crate) struct Forced {
    any: AtomicBool,
}

impl Forced {
    pub(crate) fn note(&self, force: bool) {
        if force {
            self.any.store(true, Ordering::Release);
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }
}

impl Engine {
    /// Notes whether the run of a delivery that comes back was one.
    pub(crate) async fn note_force_of(&self, run: RunId) -> Result<(), StoreError> {
        if !self.forced.any() {
            let row = self.store.run(run).await?;
            self.forced.note(row.is_some_and(|row| row.force));
        }
        Ok(())
    }
}
