//! Whether a subscription's matches become deliveries at once, or stay in the log until it reads
//! them by its cursor.
//!
//! What an event's id says decides it, once and for all: a subscription changes over at an id that
//! is handed out while no event stands between its id and its decision. So every match is either
//! a delivery or behind the cursor, never both, and the order of the log is kept over each change.
//!
//! A change is durable with the first match that it concerns: until it is known to be on disk,
//! each publishing commit carries it along.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use stepbus_model::{EventId, ResourceId};
use stepbus_store::{Batch, CursorRow, EventRow, Store, Uncommitted};
use tokio::sync::Notify;

use crate::catalogue::{Catalogue, Subscription};

/// The gates of all subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    /// Read from an event's id to the decision about its matches; written for a change.
    turn: RwLock<HashMap<ResourceId, Arc<Gate>>>,
}

/// Where the matches of one subscription go.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(super) subscription: ResourceId,
    /// Deliveries that have a row and no fate, about to be committed included.
    pending: AtomicI64,
    by_cursor: AtomicBool,
    /// Names the cursor that matches stand behind.
    opened: AtomicU64,
    /// No event with a higher id stands behind the cursor so far.
    last: AtomicU64,
    /// There are news.
    unsettled: AtomicBool,
    state: Mutex<State>,
    /// Room was made.
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In order; the last one takes new matches while the gate goes by cursor.
    cursors: VecDeque<CursorRow>,
    /// Not known to be durable.
    news: Vec<News>,
    generation: u64,
    /// Somebody reads on.
    served: bool,
}

#[derive(Debug, Clone)]
enum News {
    Open(CursorRow),
    End { opened: EventId, until: EventId },
    Close { opened: EventId },
}

/// What becomes of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Deliver,
    /// It stays in the log, behind the cursor of that name.
    Behind(EventId),
    /// The subscription must go over to its cursor first.
    Full,
}

/// A change that is to be made durable.
#[derive(Debug)]
pub(super) struct Unsettled {
    pub(super) gate: Arc<Gate>,
    pub(super) batch: Batch,
    generation: u64,
}

impl Gates {
    /// While it is held, no subscription changes over.
    pub(crate) fn enter(&self) -> RwLockReadGuard<'_, HashMap<ResourceId, Arc<Gate>>> {
        self.turn.read()
    }

    /// A subscription's gate; one that nothing is known of takes everything.
    pub(crate) fn gate(&self, subscription: ResourceId) -> Arc<Gate> {
        if let Some(gate) = self.turn.read().get(&subscription) {
            return gate.clone();
        }
        let mut turn = self.turn.write();
        turn.entry(subscription).or_insert_with(|| Arc::new(Gate::new(subscription))).clone()
    }

    /// Deliveries that have a row and no fate.
    pub(crate) fn live(&self) -> u64 {
        let pending = self.turn.read().values().map(|gate| gate.pending()).sum::<i64>();
        u64::try_from(pending).unwrap_or(0)
    }

    pub(super) fn all(&self) -> Vec<Arc<Gate>> {
        self.turn.read().values().cloned().collect()
    }

    /// What the store says, before anything is published.
    pub(super) fn load(&self, cursors: Vec<CursorRow>) {
        for row in cursors {
            let gate = self.gate(row.subscription);
            gate.opened.store(row.opened.0, Ordering::Relaxed);
            gate.by_cursor.store(true, Ordering::Relaxed);
            gate.state.lock().cursors.push_back(row);
        }
    }

    /// The subscription's matches stay in the log from now on.
    pub(super) fn go_over(
        &self,
        store: &dyn Store,
        catalogue: impl FnOnce() -> Arc<Catalogue>,
        id: ResourceId,
    ) -> Option<Unsettled> {
        let mut turn = self.turn.write();
        let gate = turn.entry(id).or_insert_with(|| Arc::new(Gate::new(id))).clone();
        if gate.by_cursor.load(Ordering::Relaxed) {
            return None;
        }
        let catalogue = catalogue();
        let subscription = catalogue.subscriptions.get(&id)?;
        let (from, held) = store.event_id();
        let mut state = gate.state.lock();
        gate.open(&mut state, &catalogue, subscription, from)?;
        Some(gate.unsettled(&mut state, Some(held)))
    }

    /// Swaps the catalogue by `swap`, which gives the new one. Cursors go on under the new
    /// versions from here, and read what came before under the old ones.
    pub(super) fn revise(
        &self,
        store: &dyn Store,
        swap: impl FnOnce() -> Arc<Catalogue>,
    ) -> Vec<Unsettled> {
        let mut turn = self.turn.write();
        let catalogue = swap();
        for &id in catalogue.subscriptions.keys() {
            turn.entry(id).or_insert_with(|| Arc::new(Gate::new(id)));
        }
        for row in &catalogue.begun {
            let gate = turn.entry(row.subscription);
            let gate = gate.or_insert_with(|| Arc::new(Gate::new(row.subscription)));
            let mut state = gate.state.lock();
            if !state.cursors.iter().any(|known| known.opened == row.opened) {
                gate.by_cursor.store(true, Ordering::Relaxed);
                state.cursors.push_back(row.clone());
            }
        }
        let mut changed = Vec::new();
        for gate in turn.values() {
            let mut state = gate.state.lock();
            let current = catalogue.subscriptions.get(&gate.subscription);
            let current = current.filter(|subscription| subscription.spec.enabled);
            if !gate.by_cursor.load(Ordering::Relaxed) {
                continue;
            }
            let last = state.cursors.back().filter(|last| last.until.is_none()).cloned();
            let goes_on = last.as_ref().zip(current).is_some_and(|(last, current)| {
                let bus = catalogue.buses.get(&current.spec.bus).map(|bus| bus.id);
                last.counted && last.version == current.version && bus == Some(last.bus)
            });
            if goes_on || (last.is_none() && current.is_none()) {
                continue;
            }
            let (from, held) = store.event_id();
            if let Some(last) = last {
                state.news.push(News::End { opened: last.opened, until: from });
                if let Some(last) = state.cursors.back_mut() {
                    last.until = Some(from);
                }
            }
            if let Some(current) = current {
                gate.open(&mut state, &catalogue, current, from);
            }
            changed.push(gate.unsettled(&mut state, Some(held)));
        }
        changed
    }

    /// Has matches become deliveries again, if all that stood behind the cursor was read: the log
    /// was read up to `horizon`.
    pub(super) fn come_back(&self, gate: &Arc<Gate>, horizon: EventId) -> Option<Unsettled> {
        let _turn = self.turn.write();
        let mut state = gate.state.lock();
        let only = state.cursors.len() == 1 && state.cursors[0].until.is_none();
        let behind = gate.last.load(Ordering::Relaxed) >= horizon.0;
        if !only || behind {
            return None;
        }
        let opened = state.cursors[0].opened;
        state.cursors.clear();
        state.news.retain(|news| !matches!(news, News::Open(row) if row.opened == opened));
        state.news.push(News::Close { opened });
        state.served = false;
        gate.by_cursor.store(false, Ordering::Relaxed);
        Some(gate.unsettled(&mut state, None))
    }

    /// The first cursor was read to its end and its row is gone. Whether there is another.
    pub(super) fn drop_first(&self, gate: &Gate) -> bool {
        let _turn = self.turn.write();
        let mut state = gate.state.lock();
        state.cursors.pop_front();
        if state.cursors.is_empty() {
            state.served = false;
            gate.by_cursor.store(false, Ordering::Relaxed);
        }
        !state.cursors.is_empty()
    }
}

impl Gate {
    fn new(subscription: ResourceId) -> Gate {
        Gate {
            subscription,
            pending: AtomicI64::new(0),
            by_cursor: AtomicBool::new(false),
            opened: AtomicU64::new(0),
            last: AtomicU64::new(0),
            unsettled: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// What becomes of a match, within [`Gates::enter`]. `row` when it is to be a delivery that
    /// waits: those are counted, and must not be more than `bound`.
    pub(crate) fn decide(&self, event: EventId, row: bool, surplus: bool, bound: i64) -> Way {
        if self.by_cursor.load(Ordering::Relaxed) {
            self.last.fetch_max(event.0, Ordering::Relaxed);
            return Way::Behind(EventId(self.opened.load(Ordering::Relaxed)));
        }
        if surplus {
            return Way::Full;
        }
        if row && self.pending.fetch_add(1, Ordering::Relaxed) >= bound {
            self.pending.fetch_sub(1, Ordering::Relaxed);
            return Way::Full;
        }
        Way::Deliver
    }

    /// What was counted is no delivery, or has met its fate. Whether somebody waits for room.
    pub(crate) fn less(&self, count: i64, bound: i64) {
        let before = self.pending.fetch_sub(count, Ordering::Relaxed);
        if self.by_cursor.load(Ordering::Relaxed) && before - count <= bound / 2 {
            self.changed.notify_one();
        }
    }

    pub(crate) fn more(&self, count: i64) {
        self.pending.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn pending(&self) -> i64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn set_pending(&self, count: i64) {
        self.pending.store(count, Ordering::Relaxed);
    }

    /// Adds what is not known to be durable of the way that the batch's match goes.
    pub(crate) fn tell(&self, batch: &mut Batch) {
        if self.unsettled.load(Ordering::Acquire) {
            self.write(&self.state.lock().news, batch);
        }
    }

    pub(crate) fn leave_behind(&self, batch: &mut Batch, opened: EventId, event: &EventRow) {
        self.tell(batch);
        batch.leave_behind((self.subscription, opened), event);
    }

    pub(super) fn cursors(&self) -> Vec<CursorRow> {
        self.state.lock().cursors.iter().cloned().collect()
    }

    pub(super) fn first(&self) -> Option<CursorRow> {
        self.state.lock().cursors.front().cloned()
    }

    /// The first cursor was read up to there.
    pub(super) fn read_to(&self, position: EventId) {
        if let Some(first) = self.state.lock().cursors.front_mut() {
            first.position = position;
        }
    }

    /// Whether there is a cursor that nobody reads on from; the caller does from now on.
    pub(super) fn takes_reader(&self) -> bool {
        let mut state = self.state.lock();
        let wanted = !state.served && !state.cursors.is_empty();
        state.served |= wanted;
        wanted
    }

    pub(super) fn settled(&self, generation: u64) {
        let mut state = self.state.lock();
        if state.generation == generation {
            state.news.clear();
            self.unsettled.store(false, Ordering::Release);
        }
    }

    fn open(
        &self,
        state: &mut State,
        catalogue: &Catalogue,
        subscription: &Subscription,
        from: EventId,
    ) -> Option<()> {
        let row = CursorRow {
            subscription: self.subscription,
            opened: from,
            bus: catalogue.buses.get(&subscription.spec.bus)?.id,
            version: subscription.version,
            position: from,
            until: None,
            counted: true,
            behind: 0,
        };
        state.cursors.push_back(row.clone());
        state.news.push(News::Open(row));
        self.opened.store(from.0, Ordering::Relaxed);
        self.last.fetch_max(from.0, Ordering::Relaxed);
        self.by_cursor.store(true, Ordering::Relaxed);
        Some(())
    }

    fn unsettled(self: &Arc<Self>, state: &mut State, held: Option<Uncommitted>) -> Unsettled {
        state.generation += 1;
        self.unsettled.store(true, Ordering::Release);
        let mut batch = Batch::new();
        if let Some(held) = held {
            // The cursor cannot close before its opening is on disk or given up.
            batch.hold(held);
        }
        self.write(&state.news, &mut batch);
        Unsettled { gate: self.clone(), batch, generation: state.generation }
    }

    fn write(&self, news: &[News], batch: &mut Batch) {
        for news in news {
            match news {
                News::Open(row) => batch.open_cursor(row.clone()),
                News::End { opened, until } => {
                    batch.end_cursor((self.subscription, *opened), *until);
                }
                News::Close { opened } => batch.close_cursor((self.subscription, *opened)),
            }
        }
    }
}

impl Unsettled {
    pub(super) fn done(&self) {
        self.gate.settled(self.generation);
    }
}
