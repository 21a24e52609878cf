//! Tasks that would bring about new work, while extraction is stopped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use stepbus_asl::{RunTask, TaskId};
use tokio::sync::watch;

use crate::engine::Engine;
use crate::pressure::Standing;

#[derive(Default)]
pub(super) struct HeldTasks {
    tasks: Vec<RunTask>,
    /// What they wait for: opened with the first of them.
    opened: Option<Opened>,
}

struct Opened {
    engine: Arc<Engine>,
    pressure: watch::Receiver<Standing>,
}

impl HeldTasks {
    pub(super) fn push(&mut self, engine: &Arc<Engine>, task: RunTask) {
        if self.tasks.is_empty() {
            engine.pressure.waiting.fetch_add(1, Ordering::Relaxed);
            self.opened.get_or_insert_with(|| Opened {
                engine: engine.clone(),
                pressure: engine.pressure.subscribe(),
            });
        }
        self.tasks.push(task);
    }

    pub(super) fn forget(&mut self, task: TaskId) {
        let before = self.tasks.len();
        self.tasks.retain(|held| held.task != task);
        if before > 0 && self.tasks.is_empty() {
            self.waits_no_more();
        }
    }

    pub(super) fn take(&mut self) -> Vec<RunTask> {
        if !self.tasks.is_empty() {
            self.waits_no_more();
        }
        std::mem::take(&mut self.tasks)
    }

    fn waits_no_more(&self) {
        if let Some(opened) = &self.opened {
            opened.engine.pressure.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn may_go_on(&self) -> bool {
        let passes = |opened: &Opened| opened.engine.pressure.would_pass();
        !self.tasks.is_empty() && self.opened.as_ref().is_some_and(passes)
    }

    /// Resolves when what is held may go on; never while nothing is.
    pub(super) async fn changed(&mut self) {
        match &mut self.opened {
            Some(opened) if !self.tasks.is_empty() => {
                if opened.pressure.changed().await.is_err() {
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
