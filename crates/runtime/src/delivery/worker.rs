//! Workers: long-lived tasks, as many a queue as its destination takes calls at once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use stepbus_model::RunId;

use super::attempt;
use super::batch;
use super::durable::Stopped;
use super::queue::Queue;
use super::task::Task;
use super::window::Step;
use crate::engine::Engine;

/// Gives the queue as many workers as are wanted; those too many leave by themselves.
pub(super) fn staff(engine: &Arc<Engine>, queue: &Arc<Queue>, wanted: usize) {
    for _ in 0..queue.hire(wanted) {
        let (engine, queue) = (engine.clone(), queue.clone());
        engine.threads.front().clone().spawn(async move {
            tokio::select! {
                () = engine.stopped() => {}
                // The store is closed: there is nothing to keep and nobody to tell.
                Err(Stopped) | Ok(()) = work(&engine, &queue) => {}
            }
        });
    }
}

/// What a worker holds counts as in flight until it is dropped, a panic included.
struct InHand<'q>(&'q Queue);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.put_down();
    }
}

async fn work(engine: &Arc<Engine>, queue: &Arc<Queue>) -> Result<(), Stopped> {
    queue.look_around(engine).await?;
    while let Some(step) = queue.next(engine).await {
        match step {
            Step::Deliver(task) => {
                let (spare, run) = (task.again(), task.row.run);
                let _in_hand = InHand(queue);
                let deliver = |engine: Arc<Engine>, queue: Arc<Queue>| async move {
                    attempt::deliver(&engine, &queue, *task).await
                };
                if done(engine, queue, run, deliver).await?.is_err() {
                    attempt::panicked(engine, queue, spare).await?;
                }
            }
            Step::Batch(tasks) => {
                let Some(run) = tasks.first().map(|first| first.row.run) else { continue };
                let spare: Vec<_> = tasks.iter().map(Task::again).collect();
                let _in_hand: Vec<_> = spare.iter().map(|_| InHand(queue)).collect();
                let deliver = |engine: Arc<Engine>, queue: Arc<Queue>| async move {
                    batch::deliver(&engine, &queue, tasks).await
                };
                if done(engine, queue, run, deliver).await?.is_err() {
                    for task in spare {
                        attempt::panicked(engine, queue, task).await?;
                    }
                }
            }
            Step::Read(after, limit) => queue.refill(engine, after, limit).await?,
            Step::Expire(tasks, pause) => {
                attempt::expire(engine, queue, tasks, &pause).await?;
            }
            Step::Wake(id) => {
                if let Some(task) = queue.wake(engine, id).await? {
                    queue.resume(task);
                }
            }
            Step::Wait(_) => {}
        }
    }
    Ok(())
}

/// A delivery panicked.
struct Panicked;

/// Has it done by the threads of its run.
async fn done<F>(
    engine: &Arc<Engine>,
    queue: &Arc<Queue>,
    run: RunId,
    deliver: impl FnOnce(Arc<Engine>, Arc<Queue>) -> F,
) -> Result<Result<(), Panicked>, Stopped>
where
    F: Future<Output = Result<(), Stopped>> + Send + 'static,
{
    let delivered = AssertUnwindSafe(deliver(engine.clone(), queue.clone())).catch_unwind();
    match engine.threads.begin(run).done(delivered).await {
        Some(Ok(delivered)) => delivered.map(Ok),
        Some(Err(_)) => Ok(Err(Panicked)),
        // The engine stops.
        None => Err(Stopped),
    }
}
