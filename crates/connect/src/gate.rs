//! The gate of a connection or a destination: concurrency, rate and pauses, shared by all workers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use stepbus_model::{Fair, Limits, Share, Timestamp};
use tokio::sync::{MutexGuard, oneshot};
use tokio::time::Instant;

use crate::bucket::Bucket;
use crate::health::Condition;
use crate::pause::{Blocked, Pauses, Ticket};
use crate::rate::Rate;
use crate::report::Failure;

pub(crate) struct Gate {
    /// Held by the caller whose turn it is while it waits for the rate's next slot.
    turn: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    in_flight: AtomicUsize,
    waiting: AtomicUsize,
    calls: AtomicU64,
    busy_micros: AtomicU64,
}

struct State {
    bucket: Option<Bucket>,
    /// The concurrency that is set.
    full: usize,
    /// Permits there are now: fewer than `full` after a pause.
    width: usize,
    /// Permits that nobody has.
    free: usize,
    /// Callers without one: each share has its turns, however many callers another has here.
    callers: Fair<oneshot::Sender<Permit>>,
    /// Permits to withhold when they come back.
    debt: usize,
    pauses: Pauses,
    failures: u64,
    throttles: u64,
    last_error: Option<(Timestamp, String)>,
}

impl Gate {
    pub(crate) fn new(concurrency: usize, rate: Option<Rate>, limits: Limits) -> Self {
        let full = concurrency.max(1);
        let bucket = rate.map(|rate| Bucket::new(rate, Instant::now()));
        Gate {
            turn: tokio::sync::Mutex::new(()),
            state: Mutex::new(State {
                bucket,
                full,
                width: full,
                free: full,
                callers: Fair::default(),
                debt: 0,
                pauses: Pauses::new(limits),
                failures: 0,
                throttles: 0,
                last_error: None,
            }),
            in_flight: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
            busy_micros: AtomicU64::new(0),
        }
    }

    /// Sets other bounds; what is in flight or waiting stays so.
    pub(crate) fn configure(self: &Arc<Self>, concurrency: usize, rate: Option<Rate>) {
        let mut state = self.state.lock();
        let full = concurrency.max(1);
        let narrowed = state.width < state.full;
        state.full = full;
        let width = if narrowed { state.width.min(full) } else { full };
        self.set_width(&mut state, width);
        if state.bucket.as_ref().map(Bucket::rate) != rate {
            state.bucket = rate.map(|rate| Bucket::new(rate, Instant::now()));
        }
    }

    pub(crate) fn check(&self, now: Timestamp) -> Result<Ticket, Blocked> {
        self.state.lock().pauses.check(now)
    }

    pub(crate) async fn permit(self: &Arc<Self>, share: Share) -> Permit {
        let turn = {
            let mut state = self.state.lock();
            if state.free > 0 {
                state.free -= 1;
                return self.issue();
            }
            let (caller, turn) = oneshot::channel();
            state.callers.push(share, caller);
            turn
        };
        let _waits = Waits::new(&self.waiting);
        turn.await.expect("the gate keeps every caller until it has a permit")
    }

    /// All of it in one step, where there is nothing to wait for.
    fn admit_at_once(self: &Arc<Self>, now: Timestamp) -> Result<Option<Admission>, Blocked> {
        let mut state = self.state.lock();
        let ticket = state.pauses.check(now)?;
        if state.free == 0 || state.bucket.is_some() {
            return Ok(None);
        }
        state.free -= 1;
        let permit = self.issue();
        Ok(Some(Admission {
            _destination: None,
            _connection: permit,
            destination: None,
            connection: ticket,
        }))
    }

    fn issue(self: &Arc<Self>) -> Permit {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Permit { gate: Some(Arc::clone(self)) }
    }

    /// The right to take the rate's next slot, which is free when this returns. Nothing is used
    /// up before [`Turn::take`]; dropping the turn leaves the slot to the next caller.
    pub(crate) async fn turn(
        &self,
        check: impl Fn() -> Result<(), Blocked>,
    ) -> Result<Turn<'_>, Blocked> {
        if self.state.lock().bucket.is_none() {
            return Ok(Turn { gate: self, _held: None });
        }
        let _waits = Waits::new(&self.waiting);
        let held = self.turn.lock().await;
        check()?;
        loop {
            let now = Instant::now();
            let ready =
                self.state.lock().bucket.as_ref().map_or(now, |bucket| bucket.ready_at(now));
            if ready <= now {
                return Ok(Turn { gate: self, _held: Some(held) });
            }
            tokio::time::sleep_until(ready).await;
        }
    }

    pub(crate) fn answered(self: &Arc<Self>, ticket: Ticket) {
        let mut state = self.state.lock();
        if state.pauses.answered(ticket) && state.width < state.full {
            let width = state.width + 1;
            self.set_width(&mut state, width);
        }
    }

    /// An answer that meant no success, for the figures.
    pub(crate) fn note_failure(&self, now: Timestamp, error: &Failure) {
        let mut state = self.state.lock();
        state.failures += 1;
        state.last_error = Some((now, error.to_string()));
    }

    /// The call was answered with throttling: nothing goes before the time given back.
    pub(crate) fn throttled(
        self: &Arc<Self>,
        ticket: Ticket,
        now: Timestamp,
        after: Option<Duration>,
        cause: &Arc<Failure>,
    ) -> Timestamp {
        let mut state = self.state.lock();
        state.throttles += 1;
        let (until, width) = state.pauses.throttled(ticket, now, after, Arc::clone(cause));
        if let Some(width) = width {
            self.narrow(&mut state, width);
        }
        until
    }

    /// The call got no answer, or a server's failure.
    pub(crate) fn failed(self: &Arc<Self>, ticket: Ticket, now: Timestamp, cause: &Arc<Failure>) {
        let mut state = self.state.lock();
        if let Some(width) = state.pauses.failed(ticket, now, Arc::clone(cause)) {
            self.narrow(&mut state, width);
        }
    }

    pub(crate) fn count_call(&self, took: Duration) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.busy_micros.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn condition(&self, name: &str, now: Timestamp) -> Condition {
        let state = self.state.lock();
        Condition {
            name: name.to_owned(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            concurrency: state.full,
            calls: self.calls.load(Ordering::Relaxed),
            failures: state.failures,
            throttles: state.throttles,
            busy: Duration::from_micros(self.busy_micros.load(Ordering::Relaxed)),
            paused: state.pauses.total(now),
            paused_until: state.pauses.until(now),
            circuit: state.pauses.circuit(),
            last_error: state.last_error.clone(),
            token_age: None,
        }
    }

    fn narrow(self: &Arc<Self>, state: &mut State, width: usize) {
        let width = width.clamp(1, state.full);
        self.set_width(state, width);
    }

    /// Permits in use cannot be taken away: they are owed until they come back.
    fn set_width(self: &Arc<Self>, state: &mut State, width: usize) {
        if width < state.width {
            let excess = state.width - width;
            let idle = excess.min(state.free);
            state.free -= idle;
            state.debt += excess - idle;
        } else {
            let more = width - state.width;
            let owed = more.min(state.debt);
            state.debt -= owed;
            for _ in owed..more {
                self.pass_on(state);
            }
        }
        state.width = width;
    }

    /// A permit is to be had: the next caller who still waits gets it.
    fn pass_on(self: &Arc<Self>, state: &mut State) {
        while let Some(caller) = state.callers.pop() {
            match caller.send(self.issue()) {
                Ok(()) => return,
                Err(permit) => permit.void(),
            }
        }
        state.free += 1;
    }

    fn give_back(self: &Arc<Self>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.state.lock();
        if state.debt > 0 {
            state.debt -= 1;
        } else {
            self.pass_on(&mut state);
        }
    }
}

/// One call's place; it goes back when dropped, also on its way to a caller who went away.
pub(crate) struct Permit {
    gate: Option<Arc<Gate>>,
}

impl Permit {
    /// Nobody took it: it counts as never issued.
    fn void(mut self) {
        if let Some(gate) = self.gate.take() {
            gate.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.give_back();
        }
    }
}

pub(crate) struct Turn<'g> {
    gate: &'g Gate,
    _held: Option<MutexGuard<'g, ()>>,
}

impl Turn<'_> {
    pub(crate) fn take(self) {
        if let Some(bucket) = &mut self.gate.state.lock().bucket {
            bucket.take(Instant::now());
        }
    }
}

struct Waits<'c>(&'c AtomicUsize);

impl<'c> Waits<'c> {
    fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Waits(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a call holds while it is made.
pub(crate) struct Admission {
    _destination: Option<Permit>,
    _connection: Permit,
    pub(crate) destination: Option<Ticket>,
    pub(crate) connection: Ticket,
}

/// Waits for permits and slots of both gates, destination first.
///
/// A caller keeps its destination's turn while it waits at the connection, so that slots are
/// used when they are taken and one slow destination holds at most one place in the queue of
/// the connection that it shares with others.
pub(crate) async fn admit(
    destination: Option<&Arc<Gate>>,
    connection: &Arc<Gate>,
    share: Share,
    now: impl Fn() -> Timestamp,
) -> Result<Admission, Blocked> {
    if destination.is_none()
        && let Some(admission) = connection.admit_at_once(now())?
    {
        return Ok(admission);
    }
    let check = || -> Result<(), Blocked> {
        if let Some(gate) = destination {
            gate.check(now())?;
        }
        connection.check(now()).map(drop)
    };
    check()?;
    let mut held = (None, None);
    if let Some(gate) = destination {
        held.0 = Some(gate.permit(share).await);
        check()?;
        held.1 = Some(gate.turn(check).await?);
    }
    let permit = connection.permit(share).await;
    let turn = connection.turn(check).await?;
    let ticket = destination.map(|gate| gate.check(now())).transpose()?;
    let connection = connection.check(now())?;
    turn.take();
    if let Some(turn) = held.1 {
        turn.take();
    }
    Ok(Admission { _destination: held.0, _connection: permit, destination: ticket, connection })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MUCH: Share = Share { id: 1, weight: 1 };
    const LITTLE: Share = Share { id: 2, weight: 1 };

    /// Lets everybody who has a turn note it, and says who did.
    async fn settled(notes: &Arc<Mutex<Vec<u64>>>) -> Vec<u64> {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        std::mem::take(&mut notes.lock())
    }

    #[tokio::test]
    async fn who_calls_little_waits_little() {
        let gate = Arc::new(Gate::new(1, None, Limits::DEFAULT));
        let held = gate.permit(MUCH).await;
        let notes = Arc::new(Mutex::new(Vec::new()));
        let call = |share: Share| {
            let (gate, notes) = (gate.clone(), notes.clone());
            tokio::spawn(async move {
                let _permit = gate.permit(share).await;
                notes.lock().push(share.id);
            })
        };
        for _ in 0..5 {
            call(MUCH);
        }
        assert!(settled(&notes).await.is_empty());
        call(LITTLE);
        let gone = call(LITTLE);
        settled(&notes).await;
        gone.abort();
        settled(&notes).await;
        drop(held);
        assert_eq!(settled(&notes).await, [1, 2, 1, 1, 1, 1]);
        assert_eq!(gate.in_flight.load(Ordering::Relaxed), 0);
        assert_eq!(gate.state.lock().free, 1);
    }

    #[tokio::test]
    async fn permits_that_are_withheld_come_back_to_nobody() {
        let gate = Arc::new(Gate::new(3, None, Limits::DEFAULT));
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(gate.permit(MUCH).await);
        }
        gate.configure(1, None);
        held.truncate(1);
        assert_eq!(gate.state.lock().free, 0);
        held.clear();
        assert_eq!(gate.state.lock().free, 1);
        gate.configure(2, None);
        assert_eq!(gate.state.lock().free, 2);
    }
}
