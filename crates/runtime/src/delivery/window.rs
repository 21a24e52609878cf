//! What of a subscription's deliveries is in memory: the few that come next, bounded.
//!
//! Pure: it is told what happens and says what to do. Whatever does not fit stays in the store and
//! `behind` says from where to read it. Ids are given out before a commit, so a lower one can
//! appear after a higher: `behind` then goes back to it.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use stepbus_connect::{Failure, code};
use stepbus_model::{DeliveryId, Fair, Limits, Timestamp};
use stepbus_store::DeliveryRow;

use super::collect::Candidates;
use super::lanes::{Lanes, Wake};
use super::task::{Kind, Task};

#[derive(Debug)]
pub(super) struct Window {
    limit: usize,
    /// Room that a run finds although others fill the window.
    guests_limit: usize,
    bytes_limit: usize,
    expire_batch: usize,
    /// How long those of a batch that failed wait for each other.
    reunion: Duration,
    /// Each run takes its turns.
    ready: Fair<Task>,
    /// Bytes of the events that `ready` has.
    bytes: usize,
    /// Their alarms rang; they are not read yet.
    rung: VecDeque<DeliveryId>,
    /// Ready, rung or in hand.
    known: HashSet<DeliveryId>,
    lanes: Lanes,
    /// The store has ready deliveries after this one that are not in memory.
    behind: Option<DeliveryId>,
    reading: bool,
    /// Left memory while a page was being read, which may still show them as ready.
    settled: HashSet<DeliveryId>,
    pause: Option<Pause>,
    /// Some of `ready` go together with others.
    batches: bool,
    /// Since when each kind of batch is being collected.
    collecting: Vec<(Kind, Timestamp)>,
    /// An operator holds the subscription or its destination up: nothing is begun.
    held: bool,
    /// Deliveries in workers' hands.
    in_hand: usize,
}

/// The destination takes nothing until then.
#[derive(Debug, Clone)]
pub(super) struct Pause {
    pub(super) until: Timestamp,
    pub(super) error: Arc<Failure>,
}

impl Pause {
    /// It is down, where it could as well be only busy.
    pub(super) fn failing(&self) -> bool {
        self.error.code != code::THROTTLING
    }
}

/// What a worker is to do next.
#[derive(Debug)]
pub(super) enum Step {
    Deliver(Box<Task>),
    /// Send these in one call.
    Batch(Vec<Task>),
    /// Look what became of a delivery whose alarm rang.
    Wake(DeliveryId),
    /// Read the next page, of so many rows, after that delivery.
    Read(DeliveryId, usize),
    /// Too old, and the destination fails: these get no attempt any more.
    Expire(Vec<Task>, Pause),
    Wait(Option<Timestamp>),
}

/// Who is a lane's head once its last one left.
#[derive(Debug)]
pub(super) enum Passed {
    Done,
    /// It waits and its alarm must be set.
    Waits(DeliveryId, Timestamp),
    /// Another came meanwhile: look again.
    LookAgain,
}

impl Window {
    pub(super) fn new(limits: &Limits) -> Self {
        Window {
            limit: limits.delivery_window.max(1),
            guests_limit: limits.delivery_window / 10,
            bytes_limit: limits.delivery_window_bytes,
            expire_batch: limits.dead_letter_batch.max(1),
            reunion: Duration::from_millis(limits.batch_reunion_ms),
            ready: Fair::default(),
            bytes: 0,
            rung: VecDeque::new(),
            known: HashSet::new(),
            lanes: Lanes::new(limits.waiting_lanes),
            behind: Some(DeliveryId(0)),
            reading: false,
            settled: HashSet::new(),
            pause: None,
            batches: false,
            collecting: Vec::new(),
            held: false,
            in_hand: 0,
        }
    }

    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
    }

    pub(super) fn held(&self) -> bool {
        self.held
    }

    pub(super) fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// A worker put down what it had in hand.
    pub(super) fn put_down(&mut self) {
        self.in_hand = self.in_hand.saturating_sub(1);
    }

    /// Nothing is pending, in memory or in the store, as far as is known.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
            && self.behind.is_none()
            && !self.reading
            && self.lanes.is_empty()
            && !self.lanes.strangers()
    }

    pub(super) fn no_strangers(&mut self) {
        self.lanes.no_strangers();
    }

    pub(super) fn counts(&self) -> (usize, usize, bool) {
        (self.known.len(), self.lanes.waiting(), self.behind.is_some())
    }

    pub(super) fn paused(&self, now: Timestamp) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| now < pause.until)
    }

    /// A pending delivery that was just committed; `newest` when no other of its lane can be
    /// younger. Whether there is something to do now.
    pub(super) fn offer(&mut self, mut task: Task, newest: bool) -> bool {
        let id = task.row.id;
        if self.known.contains(&id) {
            return false;
        }
        let passes = self.passes_the_crowd(&task);
        if !passes && (self.behind.is_some() || self.reading || self.ready.len() >= self.limit) {
            if !task.row.lane.is_some_and(|lane| self.lanes.queues_behind(lane, id)) {
                self.fall_behind(DeliveryId(id.0.saturating_sub(1)));
            }
            return self.ready.is_empty();
        }
        if let Some(lane) = task.row.lane {
            if !self.lanes.enter(lane, id, !newest) {
                return false;
            }
            // Whoever passes others may have passed its lane's head.
            task.verified = !self.lanes.strangers() && !passes;
        }
        self.push(task);
        true
    }

    /// Whether a full window, or one that has left some in the store, takes this one all the
    /// same: a run with little here does not wait behind one with much.
    fn passes_the_crowd(&self, task: &Task) -> bool {
        let crowded = self.behind.is_some() || self.ready.len() >= self.limit;
        crowded
            && !self.reading
            && self.ready.len() < 2 * self.limit
            && self.ready.len_of(task.share.id) < self.guests_limit
            && self.ready.len_of(task.share.id) < self.ready.len()
    }

    /// The store has ready deliveries after this one.
    pub(super) fn fall_behind(&mut self, after: DeliveryId) {
        self.behind = Some(self.behind.map_or(after, |behind| behind.min(after)));
    }

    fn push(&mut self, mut task: Task) {
        self.batches |= task.batch().is_some();
        self.known.insert(task.row.id);
        let bytes = task.event_bytes();
        if self.bytes + bytes > self.bytes_limit {
            task.event = None;
        } else {
            self.bytes += bytes;
        }
        self.ready.push(task.share, task);
    }

    /// An alarm rang for a delivery. False when there is no room: ring again later.
    pub(super) fn ring(&mut self, id: DeliveryId) -> bool {
        if self.known.contains(&id) {
            return true;
        }
        // Room of their own: those that are only waiting to be sent do not keep retries out.
        if self.known.len() >= 2 * self.limit {
            return false;
        }
        self.known.insert(id);
        self.rung.push_back(id);
        true
    }

    pub(super) fn next(&mut self, now: Timestamp, started: Timestamp) -> Step {
        if let Some(id) = self.rung.pop_front() {
            return Step::Wake(id);
        }
        if self.held {
            return Step::Wait(None);
        }
        if let Some(after) = self.behind
            && !self.reading
            && self.ready.len() <= self.limit / 4
        {
            self.behind = None;
            self.reading = true;
            return Step::Read(after, self.limit - self.ready.len());
        }
        if let Some(pause) = self.paused(now).cloned() {
            return self.next_in_pause(now, started, pause);
        }
        self.pause = None;
        if self.batches {
            return self.next_batch(now);
        }
        match self.ready.pop() {
            Some(task) => {
                self.bytes = self.bytes.saturating_sub(task.event_bytes());
                self.in_hand += 1;
                Step::Deliver(Box::new(task))
            }
            None => Step::Wait(None),
        }
    }

    /// A batch that is full or has waited long enough; or one that goes alone, made for a version
    /// that does not batch.
    fn next_batch(&mut self, now: Timestamp) -> Step {
        let mut kinds: Vec<(Kind, Candidates)> = Vec::new();
        let mut single = None;
        for task in self.ready.iter() {
            let Some(spec) = task.batch() else {
                single = Some(task.row.id);
                continue;
            };
            let kind = task.kind();
            let found = kinds.iter_mut().find(|(known, _)| *known == kind);
            let candidates = match found {
                Some((_, candidates)) => candidates,
                None => {
                    let candidates = Candidates::new(spec, task.group.as_deref(), self.reunion);
                    kinds.push((kind, candidates));
                    let Some((_, candidates)) = kinds.last_mut() else { continue };
                    candidates
                }
            };
            candidates.add(task);
        }
        self.batches = !kinds.is_empty();
        self.collecting.retain(|(kind, _)| kinds.iter().any(|(known, _)| known == kind));
        let mut soonest: Option<Timestamp> = None;
        let mut wanted: Option<(Kind, HashSet<DeliveryId>)> = None;
        for (kind, candidates) in kinds {
            let since = self.collecting.iter().find(|(known, _)| *known == kind);
            let since = since.map(|(_, since)| *since).unwrap_or_else(|| {
                self.collecting.push((kind.clone(), now));
                now
            });
            let until = since.plus(candidates.patience);
            let size = candidates.size;
            let ids = candidates.first();
            if ids.len() >= size || until <= now {
                wanted = Some((kind, ids));
                break;
            }
            soonest = Some(soonest.map_or(until, |soonest| soonest.min(until)));
        }
        let together = wanted.is_some();
        let ids = match (wanted, single) {
            (Some((kind, ids)), _) => {
                self.collecting.retain(|(known, _)| *known != kind);
                ids
            }
            (None, Some(id)) => [id].into(),
            (None, None) => return Step::Wait(soonest),
        };
        let mut tasks = self.ready.extract(ids.len(), |task| ids.contains(&task.row.id));
        tasks.sort_unstable_by_key(|task| task.row.id);
        for task in &tasks {
            self.bytes = self.bytes.saturating_sub(task.event_bytes());
        }
        self.in_hand += tasks.len();
        match (together, tasks.pop()) {
            (false, Some(task)) => Step::Deliver(Box::new(task)),
            (_, last) => {
                tasks.extend(last);
                Step::Batch(tasks)
            }
        }
    }

    /// Nothing is sent, but what is too old ends now: a pause must not keep thousands alive.
    fn next_in_pause(&mut self, now: Timestamp, started: Timestamp, pause: Pause) -> Step {
        let failing = pause.failing();
        let mut soonest = pause.until;
        let expired = self.ready.extract(self.expire_batch, |task| {
            let dies_at = task.dies_at(failing, started);
            if dies_at > now {
                soonest = soonest.min(dies_at);
            }
            dies_at <= now
        });
        for task in &expired {
            self.bytes = self.bytes.saturating_sub(task.event_bytes());
        }
        if expired.is_empty() { Step::Wait(Some(soonest)) } else { Step::Expire(expired, pause) }
    }

    /// The page that [`Step::Read`] asked for; `cursor` when there is more after it.
    pub(super) fn page(&mut self, page: Vec<Task>, cursor: Option<DeliveryId>) {
        for task in page {
            let id = task.row.id;
            if self.known.contains(&id) || self.settled.contains(&id) {
                continue;
            }
            // The store gives heads only, so what it gives is a head unless memory knows better.
            if task.row.lane.is_some_and(|lane| !self.lanes.enter(lane, id, true)) {
                continue;
            }
            self.push(task);
        }
        self.settled.clear();
        self.reading = false;
        if let Some(cursor) = cursor {
            self.fall_behind(cursor);
        }
    }

    /// A rung delivery was read. None: it is not its turn.
    pub(super) fn woken(&mut self, mut task: Task) -> Option<Task> {
        let Some(lane) = task.row.lane else { return Some(task) };
        match self.lanes.wake(lane, task.row.id) {
            Wake::Go => {}
            Wake::GoIfHead => task.verified = false,
            Wake::Behind => {
                self.known.remove(&task.row.id);
                return None;
            }
        }
        Some(task)
    }

    /// A rung delivery is not in the store any more. The lane that waited for it, if one did: it
    /// must be passed on.
    pub(super) fn gone(&mut self, id: DeliveryId) -> Option<i64> {
        self.settle(id);
        let lane = self.lanes.waiting_for(id)?;
        self.lanes.take(lane, id, true);
        Some(lane)
    }

    /// The destination takes nothing for a while; this delivery is the next one after that.
    /// Gives the time that this adds to the pauses so far.
    pub(super) fn pause(&mut self, task: Task, pause: Pause, now: Timestamp) -> Duration {
        let from = self.paused(now).map_or(now, |paused| paused.until);
        let added = pause.until.since(from);
        if pause.until >= from {
            self.pause = Some(pause);
        }
        self.put_back(task);
        added
    }

    pub(super) fn put_back(&mut self, task: Task) {
        self.batches |= task.batch().is_some();
        self.bytes += task.event_bytes();
        self.ready.push_front(task.share, task);
    }

    /// A delivery left memory: it ended, or it waits, as the store says by now.
    pub(super) fn settle(&mut self, id: DeliveryId) {
        self.known.remove(&id);
        if self.reading {
            self.settled.insert(id);
        }
    }

    /// The lane's head waits. False when another may have come before it: look.
    pub(super) fn park(&mut self, lane: i64, head: DeliveryId) -> bool {
        if self.lanes.take_more(lane) {
            return false;
        }
        self.lanes.wait(lane, head);
        true
    }

    /// Whoever has the lane's head in hand looks at the store once it leaves.
    pub(super) fn look_behind(&mut self, lane: i64, id: DeliveryId) {
        self.lanes.queues_behind(lane, id);
    }

    pub(super) fn take_more(&mut self, lane: i64) -> bool {
        self.lanes.take_more(lane)
    }

    /// The lane's head left; `head` is the first one live now, as far as was looked.
    pub(super) fn pass_on(
        &mut self,
        lane: i64,
        head: Option<Task>,
        more: bool,
        now: Timestamp,
    ) -> Passed {
        let Some(task) = head else {
            if self.lanes.take_more(lane) {
                return Passed::LookAgain;
            }
            self.lanes.leave(lane);
            return Passed::Done;
        };
        let id = task.row.id;
        if let Some(due) = waits(&task.row, now) {
            if self.lanes.take_more(lane) {
                return Passed::LookAgain;
            }
            self.lanes.wait(lane, id);
            return Passed::Waits(id, due);
        }
        if self.known.contains(&id) {
            // Its alarm rang already; it goes on from there.
            self.lanes.wait(lane, id);
            return Passed::Done;
        }
        self.lanes.take(lane, id, more);
        self.push(task);
        Passed::Done
    }
}

/// Until when a delivery waits. One that waits for ever is blocked: that is looked at again
/// whenever it is met.
pub(super) fn waits(row: &DeliveryRow, now: Timestamp) -> Option<Timestamp> {
    row.due.filter(|due| *due > now && *due < Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use stepbus_model::{EventId, ResourceId, RunId, Share};

    use super::*;

    fn task(id: u64, lane: Option<i64>) -> Task {
        let row = DeliveryRow {
            id: DeliveryId(id),
            run: RunId(1),
            subscription: ResourceId(1),
            version: 1,
            event: EventId(1),
            key: None,
            lane,
            created: Timestamp(0),
            revision: 0,
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
        };
        Task::new(row, None, None, Share::default())
    }

    fn window(limit: usize) -> Window {
        Window::new(&Limits { delivery_window: limit, ..Limits::DEFAULT })
    }

    /// The next steps, shortly: `read 0`, `send 5`, `wake 5`, `wait`.
    fn step(window: &mut Window) -> String {
        match window.next(Timestamp(0), Timestamp(0)) {
            Step::Deliver(task) => format!("send {}", task.row.id.0),
            Step::Batch(tasks) => format!("batch {}", tasks.len()),
            Step::Wake(id) => format!("wake {}", id.0),
            Step::Read(after, _) => format!("read {}", after.0),
            Step::Expire(tasks, _) => format!("expire {}", tasks.len()),
            Step::Wait(_) => "wait".to_owned(),
        }
    }

    fn started(limit: usize) -> Window {
        let mut window = window(limit);
        assert_eq!(step(&mut window), "read 0");
        window.page(Vec::new(), None);
        window.no_strangers();
        window
    }

    #[test]
    fn what_does_not_fit_is_read_from_the_lowest_that_was_left_out() {
        let mut window = started(4);
        for id in [10, 11, 12, 13] {
            assert!(window.offer(task(id, None), true));
        }
        window.offer(task(15, None), true);
        window.offer(task(14, None), true);
        for id in [10, 11, 12] {
            assert_eq!(step(&mut window), format!("send {id}"));
        }
        assert_eq!(step(&mut window), "read 13");
        // Committed while the page was read: it may not be on it.
        window.offer(task(9, None), true);
        window.page(vec![task(14, None), task(15, None)], None);
        assert_eq!(step(&mut window), "send 13");
        assert_eq!(step(&mut window), "send 14");
        assert_eq!(step(&mut window), "read 8");
    }

    #[test]
    fn what_ends_while_a_page_is_read_is_not_taken_from_it() {
        let mut window = window(4);
        assert_eq!(step(&mut window), "read 0");
        window.page(vec![task(1, None), task(2, None)], Some(DeliveryId(2)));
        assert_eq!(step(&mut window), "send 1");
        assert_eq!(step(&mut window), "read 2");
        window.settle(DeliveryId(1));
        window.page(vec![task(1, None), task(2, None), task(3, None)], None);
        assert_eq!(step(&mut window), "send 2");
        assert_eq!(step(&mut window), "send 3");
        assert_eq!(step(&mut window), "wait");
    }

    #[test]
    fn a_lane_goes_on_with_what_came_meanwhile() {
        let mut window = started(4);
        window.offer(task(1, Some(7)), true);
        assert_eq!(step(&mut window), "send 1");
        window.offer(task(2, Some(7)), true);
        assert_eq!(step(&mut window), "wait");
        window.settle(DeliveryId(1));
        let now = Timestamp(0);
        assert!(matches!(window.pass_on(7, None, false, now), Passed::LookAgain));
        assert!(matches!(window.pass_on(7, Some(task(2, Some(7))), false, now), Passed::Done));
        assert_eq!(step(&mut window), "send 2");
        window.settle(DeliveryId(2));
        assert!(matches!(window.pass_on(7, None, false, now), Passed::Done));
        assert!(window.offer(task(3, Some(7)), true));
    }

    #[test]
    fn a_lane_whose_waiting_head_is_gone_is_free() {
        let mut window = started(4);
        window.offer(task(1, Some(7)), true);
        assert_eq!(step(&mut window), "send 1");
        window.settle(DeliveryId(1));
        assert!(window.park(7, DeliveryId(1)));
        window.ring(DeliveryId(1));
        assert_eq!(step(&mut window), "wake 1");
        assert_eq!(window.gone(DeliveryId(1)), Some(7));
    }

    #[test]
    fn a_run_with_little_passes_one_with_much() {
        let of = |run: u64, id: u64, lane| {
            let mut task = task(id, lane);
            task.share = Share { id: run, weight: 8 };
            task
        };
        let mut window = started(20);
        for id in 1..=30 {
            window.offer(of(1, id, None), true);
        }
        assert!(window.behind.is_some());
        window.offer(of(2, 31, None), true);
        window.offer(of(2, 32, Some(7)), true);
        window.offer(of(2, 33, None), true);
        assert_eq!(step(&mut window), "send 1");
        assert_eq!(step(&mut window), "send 31");
        assert_eq!(step(&mut window), "send 2");
        let Step::Deliver(task) = window.next(Timestamp(0), Timestamp(0)) else { panic!() };
        assert_eq!((task.row.id.0, task.verified), (32, false), "its lane is looked at first");
        assert_eq!(step(&mut window), "send 3");
        assert_eq!(step(&mut window), "send 4", "33 waits in the store: two are all the guests");
    }

    #[test]
    fn rings_have_room_of_their_own_and_no_more() {
        let mut window = started(2);
        window.offer(task(1, None), true);
        window.offer(task(2, None), true);
        assert!(window.ring(DeliveryId(2)), "known already");
        assert!(window.ring(DeliveryId(3)));
        assert!(window.ring(DeliveryId(4)));
        assert!(!window.ring(DeliveryId(5)));
        assert_eq!(step(&mut window), "wake 3");
    }
}
