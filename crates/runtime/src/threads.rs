//! Which threads work runs on.
//!
//! The threads of a runtime take what is ready in turn, so beside a run that has thousands of
//! things ready everything else would wait for all of them at each of its steps. A run that has
//! much in hand is therefore worked on by threads of its own, the back ones. Those give the
//! processor away between two pieces of work while the front ones have something to do: those that
//! answer callers, hand deliveries out and work on the runs that have little in hand.

mod way;

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use stepbus_model::RunId;
use tokio::runtime::{Handle, Runtime};
use tokio::task::AbortHandle;

pub(crate) use self::way::{give_way, giving_way};

const NAME: &str = "stepbus-back";
/// How long what runs on the back threads may take to its next pause when the engine stops.
const GRACE: Duration = Duration::from_secs(5);
#[derive(Debug)]
pub(crate) struct Threads {
    front: Handle,
    back: Handle,
    /// The back threads themselves, until they are stopped.
    runtime: Mutex<Option<Runtime>>,
    loads: Mutex<HashMap<RunId, Arc<Load>>>,
    /// Pieces of work of one run up to which it stays on the front threads.
    little: u32,
}

/// What a run has in hand.
#[derive(Debug, Default)]
struct Load {
    pieces: AtomicU32,
    /// It had too much at once, and has not been without work since.
    much: AtomicBool,
}

/// A piece of work of a run in memory: an execution, or a delivery that is ready or in hand.
#[derive(Debug)]
pub(crate) struct Work {
    threads: Arc<Threads>,
    run: RunId,
    load: Arc<Load>,
}

impl Threads {
    /// The front threads are those of the present runtime.
    pub(crate) fn start(little: usize) -> std::io::Result<Arc<Threads>> {
        let front = Handle::current();
        let watched = way::Front::of(&front);
        let gives_way = move || way::give_way_to(&watched);
        let mut back = tokio::runtime::Builder::new_multi_thread();
        let back = back.enable_all().thread_name(NAME).on_thread_start(gives_way).build()?;
        Ok(Arc::new(Threads {
            front,
            back: back.handle().clone(),
            runtime: Mutex::new(Some(back)),
            loads: Mutex::default(),
            little: u32::try_from(little).unwrap_or(u32::MAX),
        }))
    }

    pub(crate) fn front(&self) -> &Handle {
        &self.front
    }

    pub(crate) fn back(&self) -> &Handle {
        &self.back
    }

    /// Drops what the back threads have and waits until it is gone.
    pub(crate) async fn stop(&self) {
        let runtime = self.runtime.lock().take();
        if let Some(runtime) = runtime {
            let stopped = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(GRACE));
            // It fails only with the front threads at their end as well.
            let _ = stopped.await;
        }
    }

    /// For so many things that can go on at the same time, all by themselves.
    pub(crate) fn for_many(&self, things: usize) -> Handle {
        if things > self.little as usize { self.back().clone() } else { Handle::current() }
    }

    pub(crate) fn begin(self: &Arc<Self>, run: RunId) -> Work {
        let load = {
            let mut loads = self.loads.lock();
            let load = loads.entry(run).or_default();
            if load.pieces.fetch_add(1, Ordering::Relaxed) >= self.little {
                load.much.store(true, Ordering::Relaxed);
            }
            load.clone()
        };
        Work { threads: self.clone(), run, load }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // It may be dropped by one of its own tasks, which cannot wait for itself.
        if let Some(runtime) = self.runtime.get_mut().take() {
            runtime.shutdown_background();
        }
    }
}

impl Work {
    pub(crate) fn threads(&self) -> &Handle {
        if self.is_of_many() { self.threads.back() } else { self.threads.front() }
    }

    fn is_of_many(&self) -> bool {
        self.load.much.load(Ordering::Relaxed)
    }

    /// Has the future done by the run's threads: here, by the front ones, or by the back ones,
    /// where it ends when this is dropped. None: those are gone.
    pub(crate) async fn done<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        if !self.is_of_many() {
            return Some(future.await);
        }
        let done = self.threads.back().spawn(giving_way(future));
        let _called_off = CalledOff(done.abort_handle());
        done.await.ok()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.load.pieces.fetch_sub(1, Ordering::Relaxed) > 1 {
            return;
        }
        let mut loads = self.threads.loads.lock();
        // Another piece may have come meanwhile.
        if self.load.pieces.load(Ordering::Relaxed) == 0
            && loads.get(&self.run).is_some_and(|load| Arc::ptr_eq(load, &self.load))
        {
            loads.remove(&self.run);
        }
    }
}

struct CalledOff(AbortHandle);

impl Drop for CalledOff {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    const BACKFILL: RunId = RunId(1);
    const CHANGE: RunId = RunId(2);

    async fn by(work: &Work) -> String {
        let name = || std::thread::current().name().unwrap_or_default().to_owned();
        work.done(async move { name() }).await.unwrap()
    }

    #[tokio::test]
    async fn a_run_with_much_in_hand_gets_threads_of_its_own() {
        let threads = Threads::start(2).unwrap();
        let here = std::thread::current().name().unwrap().to_owned();
        let first = threads.begin(BACKFILL);
        let second = threads.begin(BACKFILL);
        assert_eq!(by(&second).await, here);
        let third = threads.begin(BACKFILL);
        assert_eq!((by(&first).await, by(&third).await), (NAME.to_owned(), NAME.to_owned()));
        assert_eq!(by(&threads.begin(CHANGE)).await, here);
        // It stays there until it has nothing in hand any more.
        drop((first, second));
        assert_eq!(by(&third).await, NAME);
        drop(third);
        assert!(threads.loads.lock().is_empty());
        assert_eq!(by(&threads.begin(BACKFILL)).await, here);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends() {
        let threads = Threads::start(0).unwrap();
        let work = threads.begin(BACKFILL);
        let (here, gone) = oneshot::channel::<()>();
        let (begin, began) = oneshot::channel();
        let endless = async move {
            let _here = here;
            begin.send(()).unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            _ = work.done(endless) => unreachable!("it never ends by itself"),
            began = began => began.unwrap(),
        }
        assert!(gone.await.is_err());
        threads.stop().await;
        assert_eq!(work.done(async { 1 }).await, None);
    }
}
