//! The retained log: read in pages by whoever asks, and by subscriptions that do not take their
//! matches as they come.

mod audit;
mod dedup;
mod filler;
mod gate;
mod reader;
mod replay;
mod retention;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use stepbus_model::ResourceId;
use stepbus_store::{CursorRow, StoreError};

use crate::catalogue::Catalogue;
use crate::delivery::durable::{self, Stopped};
use crate::engine::Engine;
pub(crate) use audit::prove;

pub(crate) use filler::bound;
use gate::Unsettled;
pub(crate) use gate::{Gate, Gates, Way};
pub(crate) use reader::exactly_since;
pub use reader::{LogPage, LogQuery};
pub use replay::{ReplayError, ReplaySpec, ReplayView};
pub use retention::{Archive, StorageView, Swept};
pub(crate) use retention::{Marks, start};

/// How a subscription takes its matches.
#[derive(Debug, Clone, serde::Serialize)]
pub struct IntakeView {
    /// Deliveries that have a row and no fate.
    pub live: i64,
    /// Where it reads the log from, while it does.
    pub cursors: Vec<CursorRow>,
}

impl Engine {
    /// How the subscription takes its matches. `behind` of its cursors is as the store has it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn intake_view(&self, subscription: ResourceId) -> Result<IntakeView, StoreError> {
        let gate = self.gates.gate(subscription);
        let mut cursors = self.store.cursors().await?;
        cursors.retain(|cursor| cursor.subscription == subscription);
        Ok(IntakeView { live: gate.pending(), cursors })
    }

    /// The subscription's matches stay in the log from now on, until it has read them.
    pub(crate) fn go_by_cursor(&self, subscription: ResourceId) {
        let Some(engine) = self.me.upgrade() else { return };
        let change = self.gates.go_over(&*self.store, || self.catalogue(), subscription);
        if let Some(change) = change {
            tracing::info!(
                subscription = self.catalogue().name(subscription),
                "the subscription leaves its matches in the log and reads them by cursor"
            );
            settle(&engine, change);
        }
    }

    /// Takes over what the store says of cursors, at the start.
    pub(crate) async fn load_gates(self: &Arc<Self>) -> Result<(), StoreError> {
        self.gates.load(self.store.cursors().await?);
        let totals: HashMap<ResourceId, i64> = self
            .store
            .subscription_totals()
            .await?
            .into_iter()
            .map(|(id, totals)| (id, totals.pending))
            .collect();
        for (id, pending) in totals {
            let gate = self.gates.gate(id);
            let behind: i64 = gate.cursors().iter().map(|cursor| cursor.behind).sum();
            gate.set_pending(pending - behind);
        }
        self.revise_gates(|| self.catalogue());
        Ok(())
    }

    /// Swaps the catalogue, with all cursors going on under it.
    pub(crate) fn revise_gates(self: &Arc<Self>, swap: impl FnOnce() -> Arc<Catalogue>) {
        for change in self.gates.revise(&*self.store, swap) {
            settle(self, change);
        }
        for gate in self.gates.all() {
            serve(self, &gate);
        }
    }
}

/// Makes a change durable by itself; what is published meanwhile carries it along.
fn settle(engine: &Arc<Engine>, change: Unsettled) {
    serve(engine, &change.gate);
    let engine = engine.clone();
    tokio::spawn(async move {
        if durable::commit(&engine, change.batch.clone()).await.is_ok() {
            change.done();
        }
    });
}

/// Has somebody read on from the subscription's cursor, if there is one.
fn serve(engine: &Arc<Engine>, gate: &Arc<Gate>) {
    if !gate.takes_reader() {
        return;
    }
    let (engine, gate) = (engine.clone(), gate.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = engine.stopped() => {}
            // Stopped: the store is closed.
            _ = filler::fill(&engine, &gate) => {}
        }
    });
}

/// Takes the number of live deliveries from the books: what was counted in memory may be off after
/// a commit that failed.
async fn recount(engine: &Engine, gate: &Gate) -> Result<(), Stopped> {
    let before = gate.pending();
    let cursors = durable::read(|| engine.store.cursors()).await?;
    let totals = durable::read(|| engine.store.subscription_totals()).await?;
    let of = |id: ResourceId| id == gate.subscription;
    let pending = totals.iter().find(|(id, _)| of(*id)).map_or(0, |(_, totals)| totals.pending);
    let behind: i64 =
        cursors.iter().filter(|cursor| of(cursor.subscription)).map(|cursor| cursor.behind).sum();
    if gate.pending() == before {
        gate.set_pending(pending - behind);
    }
    Ok(())
}
