//! What waits for the writer: bounded, taken in groups.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use stepbus_store::{Batch, Class, StoreError};
use tokio::sync::{Semaphore, TryAcquireError, oneshot, watch};

pub(crate) type Answer = Result<(), StoreError>;
/// Where the answer will come, or why there will be none.
pub(crate) type Pushed = Result<oneshot::Receiver<Answer>, StoreError>;

/// What became of a batch that was handed over.
pub(crate) enum Handed {
    Over(Pushed),
    NoRoom(Batch),
}

/// A batch and whoever waits for it to be on disk.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) batch: Batch,
    answer: oneshot::Sender<Answer>,
}

impl Request {
    pub(crate) fn answer(mut self, answer: Answer) {
        // Before the answer: who was told of an event finds it in the log.
        self.batch.release();
        // Nobody listens when the caller gave up waiting; the batch stands all the same.
        let _ = self.answer.send(answer);
    }
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Request>,
    closed: Option<StoreError>,
    nudged: bool,
    /// Those that wait for room.
    in_line: usize,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    bell: Condvar,
    room: Semaphore,
    turn: tokio::sync::Mutex<()>,
    full: watch::Sender<bool>,
}

/// Why the writer was woken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Work,
    /// The wait is over and nothing came.
    Idle,
    Closed,
}

impl Queue {
    pub(crate) fn new(limit: usize) -> Self {
        Queue {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                closed: None,
                nudged: false,
                in_line: 0,
            }),
            bell: Condvar::new(),
            room: Semaphore::new(limit),
            turn: tokio::sync::Mutex::new(()),
            full: watch::Sender::new(false),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    pub(crate) fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// Hands the batch over if there is room and nobody waits for it.
    pub(crate) fn try_push(&self, batch: Batch) -> Handed {
        let mut state = self.state.lock();
        if state.in_line > 0 {
            return Handed::NoRoom(batch);
        }
        match self.room.try_acquire() {
            Ok(permit) => permit.forget(),
            Err(TryAcquireError::NoPermits) => return Handed::NoRoom(batch),
            // Closed: the state says why.
            Err(TryAcquireError::Closed) => {}
        }
        Handed::Over(self.place(&mut state, batch))
    }

    /// Waits for room, behind those that came before; what may be refused is refused as soon as
    /// the disk is full.
    pub(crate) async fn push(&self, batch: Batch) -> Pushed {
        let _in_line = InLine::join(self);
        let room = async {
            // First come, first served, also between getting room and using it.
            let turn = self.turn.lock().await;
            if let Ok(permit) = self.room.acquire().await {
                permit.forget();
            }
            turn
        };
        let _turn = if batch.class() == Class::Acceptance {
            let mut full = self.full.subscribe();
            tokio::select! {
                turn = room => turn,
                _ = full.wait_for(|full| *full) => return Err(StoreError::Full),
            }
        } else {
            room.await
        };
        self.place(&mut self.state.lock(), batch)
    }

    /// Puts the batch at the end; its room is taken already.
    fn place(&self, state: &mut State, batch: Batch) -> Pushed {
        if let Some(why) = &state.closed {
            return Err(why.clone());
        }
        if batch.class() == Class::Acceptance && self.is_full() {
            self.room.add_permits(1);
            return Err(StoreError::Full);
        }
        let (answer, receiver) = oneshot::channel();
        state.waiting.push_back(Request { batch, answer });
        if state.waiting.len() == 1 {
            self.bell.notify_one();
        }
        Ok(receiver)
    }

    /// Adds what waits to `group`, up to `limit` batches and `bytes`; blocks until there is
    /// something, the queue is closed, or `patience` is over.
    pub(crate) fn take(
        &self,
        group: &mut Vec<Request>,
        limit: usize,
        bytes: usize,
        patience: Option<Duration>,
    ) -> Woken {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && !state.nudged {
            if state.closed.is_some() {
                return Woken::Closed;
            }
            match patience {
                None => self.bell.wait(&mut state),
                Some(patience) => {
                    if self.bell.wait_for(&mut state, patience).timed_out() {
                        break;
                    }
                }
            }
        }
        if state.waiting.is_empty() && !state.nudged {
            return Woken::Idle;
        }
        state.nudged = false;
        let mut weight = 0;
        let mut taken = 0;
        while group.len() < limit && (group.is_empty() || weight < bytes) {
            let Some(request) = state.waiting.pop_front() else { break };
            weight += request.batch.bytes();
            group.push(request);
            taken += 1;
        }
        drop(state);
        self.room.add_permits(taken);
        Woken::Work
    }

    /// Has the writer commit although no batch waits.
    pub(crate) fn nudge(&self) {
        let mut state = self.state.lock();
        if !state.nudged {
            state.nudged = true;
            self.bell.notify_one();
        }
    }

    /// Sleeps until `patience` is over; false when the queue was closed.
    pub(crate) fn rest(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        let _ = self.bell.wait_while_for(&mut state, |state| state.closed.is_none(), patience);
        state.closed.is_none()
    }

    /// Refuses what may be refused, waiting or to come, until room is back.
    pub(crate) fn set_full(&self, full: bool) {
        let mut refused = Vec::new();
        {
            let mut state = self.state.lock();
            self.full.send_if_modified(|before| std::mem::replace(before, full) != full);
            if full {
                let waiting = std::mem::take(&mut state.waiting);
                for request in waiting {
                    match request.batch.class() {
                        Class::Acceptance => refused.push(request),
                        Class::Work => state.waiting.push_back(request),
                    }
                }
            }
        }
        self.room.add_permits(refused.len());
        for request in refused {
            request.answer(Err(StoreError::Full));
        }
    }

    /// Nothing more is taken in. What waits is still worked off by a writer that runs.
    pub(crate) fn close(&self, why: StoreError) {
        let mut state = self.state.lock();
        state.closed.get_or_insert(why);
        self.room.close();
        drop(state);
        self.bell.notify_one();
    }

    /// Answers everything that waits, when no writer will.
    pub(crate) fn abandon(&self, why: &StoreError) {
        self.close(why.clone());
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for request in waiting {
            request.answer(Err(why.clone()));
        }
    }
}

/// Counts one that waits for room, however it stops waiting.
struct InLine<'q>(&'q Queue);

impl<'q> InLine<'q> {
    fn join(queue: &'q Queue) -> Self {
        queue.state.lock().in_line += 1;
        InLine(queue)
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.state.lock().in_line -= 1;
    }
}
