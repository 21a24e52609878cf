//! Who is still at work on a map run: whoever ends it for others waits until all are gone, because
//! a task that was called off may still be handing over a commit.

use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::watch;

/// A list of those at work.
#[derive(Debug, Clone)]
pub(super) struct Roll(Arc<watch::Sender<Option<Infallible>>>);

/// Held by whoever may still commit something; also counts for whoever it works for.
#[derive(Debug)]
pub(super) struct Presence {
    _here: watch::Receiver<Option<Infallible>>,
    _above: Option<Arc<Presence>>,
}

impl Default for Roll {
    fn default() -> Self {
        Roll(Arc::new(watch::Sender::new(None)))
    }
}

impl Roll {
    pub(super) fn sign(&self, above: Option<Arc<Presence>>) -> Arc<Presence> {
        Arc::new(Presence { _here: self.0.subscribe(), _above: above })
    }

    /// Resolves when nobody is at work.
    pub(super) async fn empty(&self) {
        self.0.closed().await;
    }
}
