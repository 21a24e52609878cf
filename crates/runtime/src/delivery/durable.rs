//! Calls of the store that must come to an end: work that was begun is not given up because a
//! disk had a bad second.

use std::time::Duration;

use stepbus_store::{Batch, Read, StoreError};

use crate::engine::Engine;

const PAUSE: Duration = Duration::from_secs(1);

/// The store takes nothing any more: this process is at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped;

/// False when a row that the batch changes is gone: somebody else gave the delivery its fate.
pub(crate) async fn commit(engine: &Engine, batch: Batch) -> Result<bool, Stopped> {
    loop {
        match engine.store.commit(batch.clone()).await {
            Ok(()) => return Ok(true),
            Err(StoreError::Gone(what)) => {
                tracing::debug!(%what, "already done by somebody else");
                return Ok(false);
            }
            Err(error) => wait_out(error).await?,
        }
    }
}

pub(crate) async fn read<'a, T>(mut read: impl FnMut() -> Read<'a, T>) -> Result<T, Stopped> {
    loop {
        match read().await {
            Ok(rows) => return Ok(rows),
            Err(error) => wait_out(error).await?,
        }
    }
}

async fn wait_out(error: StoreError) -> Result<(), Stopped> {
    match error {
        StoreError::Closed | StoreError::Fenced => Err(Stopped),
        error => {
            tracing::error!(%error, "a delivery has to wait for the store; trying again");
            tokio::time::sleep(PAUSE).await;
            Ok(())
        }
    }
}
