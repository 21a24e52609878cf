//! Tasks that would bring about new work, while extraction is stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stepbus_asl::{RunTask, TaskId};
use tokio::sync::watch;

use crate::engine::Engine;
use crate::pressure::Standing;

pub(super) struct HeldTasks {
    engine: Arc<Engine>,
    tasks: Vec<RunTask>,
    /// Opened with the first of them.
    pressure: Option<watch::Receiver<Standing>>,
}

impl HeldTasks {
    pub(super) fn new(engine: Arc<Engine>) -> HeldTasks {
        HeldTasks { engine, tasks: Vec::new(), pressure: None }
    }

    pub(super) fn push(&mut self, task: RunTask) {
        if self.tasks.is_empty() {
            self.engine.pressure.waiting.fetch_add(1, Ordering::Relaxed);
            self.pressure.get_or_insert_with(|| self.engine.pressure.subscribe());
        }
        self.tasks.push(task);
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        let before = self.tasks.len();
        self.tasks.retain(|held| held.task != task);
        if before > 0 && self.tasks.is_empty() {
            self.engine.pressure.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn take(&mut self) -> Vec<RunTask> {
        if !self.tasks.is_empty() {
            self.engine.pressure.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        std::mem::take(&mut self.tasks)
    }

    pub(super) fn may_go_on(&self) -> bool {
        !self.tasks.is_empty() && self.engine.pressure.would_pass()
    }

    /// Resolves when what is held may go on; never while nothing is.
    pub(super) async fn changed(&mut self) {
        match &mut self.pressure {
            Some(pressure) if !self.tasks.is_empty() => {
                if pressure.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            _ => std::future::pending().await,
        }
    }
}

impl Drop for HeldTasks {
    fn drop(&mut self) {
        self.take();
    }
}
