//! What operators do with dead letters: send them again, or give them up with a reason.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use stepbus_model::{MessageId, Timestamp};
use stepbus_store::{
    AuditRow, Batch, Cause, DeliveryRow, EventRow, MessageFilter, MessageRow, StoreError,
};

use super::operation::{Noted, Work};
use super::task::Task;
use super::{lane, queue};
use crate::catalogue::{Subscription, compile_version};
use crate::declared::Order;
use crate::engine::Engine;
use crate::event::EventBody;
use crate::schedules::letters;

/// Which dead letters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    One(MessageId),
    /// Those that are there now and pass the filter; the default filter lets all pass.
    Matching(MessageFilter),
}

/// By which version of its subscription a delivery is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedriveVersion {
    #[default]
    Original,
    /// Key, transform, retry policy and target as they are now; the payload counts as another
    /// one, so its Idempotency-Key is new.
    Current,
}

/// A wish to send dead letters again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Redrive {
    pub selection: Selection,
    /// Deliveries a second at most.
    pub rate: Option<NonZeroU32>,
    pub version: RedriveVersion,
    /// Who asks, for the audit.
    pub who: String,
}

/// A wish to give dead letters up.
#[derive(Debug, Clone)]
pub struct Purge {
    pub selection: Selection,
    pub reason: String,
    pub who: String,
}

/// What became of a wish, so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Redriven, or purged.
    pub done: u64,
    /// Still dead letters, since they cannot be redriven.
    pub refused: u64,
    /// Why the last refused one was.
    pub refusal: Option<String>,
}

/// A dead letter that is about to be pending again.
struct Revived {
    message: MessageId,
    row: DeliveryRow,
    event: Arc<EventBody>,
    subscription: Arc<Subscription>,
    /// To be written again, since the log does not keep it any more.
    lost_event: bool,
}

impl Engine {
    /// Sends dead letters again, each with attempts and age anew. `progress` is told after each
    /// commit; dropping the future stops after the last one.
    ///
    /// # Errors
    /// When the store fails or has no room; what was redriven until then stays so.
    pub async fn redrive(
        self: &Arc<Self>,
        wish: &Redrive,
        mut progress: impl FnMut(&Tally) + Send,
    ) -> Result<Tally, StoreError> {
        let mut work = Work::new(self, wish.clone());
        self.redrive_work(&mut work, None, &mut progress).await?;
        Ok(work.tally)
    }

    /// Goes on with a redrive where it is.
    pub(super) async fn redrive_work(
        self: &Arc<Self>,
        work: &mut Work,
        noted: Option<&Noted>,
        mut progress: impl FnMut(&Tally) + Send,
    ) -> Result<(), StoreError> {
        let rate = work.wish.rate;
        let most = self.limits.dead_letter_batch.max(1);
        // With a rate, about ten commits a second, so that the pace is even.
        let chunk = rate.map_or(most, |rate| most.min(rate.get().div_ceil(10) as usize));
        let selection = work.wish.selection.clone();
        let mut pages = Pages::new(&selection, work.after, work.until, chunk);
        while let Some(page) = pages.next(self).await? {
            if noted.is_some_and(Noted::is_stopped) {
                break;
            }
            let mut revived = Vec::with_capacity(page.len());
            let mut ticks = 0;
            for message in page {
                // First, since what is noted of the others is noted of all before them.
                if let Some(schedule) = letters::schedule_of(&message) {
                    ticks += self.fire_again(work, noted, &message, &schedule).await?;
                    continue;
                }
                match self.revive(message, work.wish.version).await? {
                    Ok(one) => revived.push(one),
                    Err(why) => {
                        work.tally.refused += 1;
                        work.tally.refusal = Some(why);
                    }
                }
            }
            let count = revived.len() + ticks;
            self.put_back(work, noted, revived).await?;
            work.after = pages.after;
            progress(&work.tally);
            if let Some(rate) = rate {
                tokio::time::sleep(Duration::from_secs(count as u64) / rate.get()).await;
            }
        }
        Ok(())
    }

    /// Gives dead letters up: they count as discarded, with the reason.
    ///
    /// # Errors
    /// When the store fails; what was purged until then stays so.
    pub async fn purge(
        self: &Arc<Self>,
        wish: &Purge,
        mut progress: impl FnMut(&Tally) + Send,
    ) -> Result<Tally, StoreError> {
        let mut tally = Tally::default();
        let until = MessageId(self.store.next_id());
        let limit = self.limits.dead_letter_batch.max(1);
        let mut pages = Pages::new(&wish.selection, MessageId(0), until, limit);
        while let Some(page) = pages.next(self).await? {
            let (mut plain, mut ordered) = (Vec::new(), Vec::new());
            for message in page {
                if let Some(schedule) = letters::schedule_of(&message) {
                    let audit = self.purged_tick(wish, message.id, &schedule);
                    tally.done += u64::from(letters::discard(self, &message, audit).await?);
                    continue;
                }
                let Some(row) = message.delivery else { continue };
                let kind = if row.lane.is_some() { &mut ordered } else { &mut plain };
                kind.push((message.id, row));
            }
            tally.done += self.discard(wish, plain).await?;
            for (message, row) in ordered {
                tally.done += self.discard_and_unblock(wish, message, row).await?;
            }
            progress(&tally);
        }
        Ok(tally)
    }

    /// Fires a schedule's tick that failed for good; how many that were.
    async fn fire_again(
        self: &Arc<Self>,
        work: &mut Work,
        noted: Option<&Noted>,
        message: &MessageRow,
        schedule: &str,
    ) -> Result<usize, StoreError> {
        let (mut batch, effects) = match letters::refire(self, message, schedule) {
            Ok(fired) => fired,
            Err(why) => {
                work.tally.refused += 1;
                work.tally.refusal = Some(why);
                return Ok(0);
            }
        };
        let mut done = work.clone();
        done.tally.done += 1;
        batch.audit(AuditRow {
            at: self.clock.now(),
            who: work.wish.who.clone(),
            action: "dlq.redrive".to_owned(),
            subject: message.id.to_string(),
            detail: json!({
                "schedule": schedule,
                "filter": work.wish.selection,
                "operation": noted.map(Noted::id),
                "count": 1,
            })
            .to_string(),
        });
        if let Some(noted) = noted {
            batch.put_operation(noted.after(&done));
        }
        match self.accept(batch, effects).await {
            Ok(()) => *work = done,
            // Somebody else was faster.
            Err(StoreError::Gone(_)) => return Ok(0),
            Err(error) => return Err(error),
        }
        Ok(1)
    }

    fn purged_tick(&self, wish: &Purge, message: MessageId, schedule: &str) -> AuditRow {
        AuditRow {
            at: self.clock.now(),
            who: wish.who.clone(),
            action: "dlq.purge".to_owned(),
            subject: message.to_string(),
            detail: json!({
                "reason": wish.reason,
                "schedule": schedule,
                "filter": wish.selection,
                "count": 1,
            })
            .to_string(),
        }
    }

    async fn revive(
        &self,
        message: MessageRow,
        version: RedriveVersion,
    ) -> Result<Result<Revived, String>, StoreError> {
        let Some(dead) = message.delivery.clone() else {
            return Ok(Err(format!("{} carries no delivery", message.id)));
        };
        let subscription = match self.subscription_for(&dead, version).await? {
            Ok(subscription) => subscription,
            Err(why) => return Ok(Err(format!("{}: {why}", message.id))),
        };
        self.note_force_of(dead.run).await?;
        let (event, lost_event) = self.event_of(&message, &dead, &subscription).await?;
        let mut row = DeliveryRow {
            version: subscription.version,
            created: self.clock.now(),
            attempts: 0,
            first_tried: None,
            due: None,
            failure: None,
            ..dead
        };
        if version == RedriveVersion::Current {
            row.revision += 1;
        }
        if version == RedriveVersion::Current || row.key.is_none() {
            match subscription.key(&event) {
                Ok(key) => row.key = key,
                Err(error) => {
                    let why = format!("{}: the key cannot be computed: {error}", message.id);
                    return Ok(Err(why));
                }
            }
            let fifo = subscription.spec.order == Order::Fifo;
            row.lane = row.key.as_deref().filter(|_| fifo).map(lane);
        }
        Ok(Ok(Revived { message: message.id, row, event, subscription, lost_event }))
    }

    /// The dead letter's event, and whether the log does not keep it any more.
    pub(super) async fn event_of(
        &self,
        message: &MessageRow,
        dead: &DeliveryRow,
        subscription: &Subscription,
    ) -> Result<(Arc<EventBody>, bool), StoreError> {
        let kept = self.store.event(dead.event).await?;
        let lost = kept.is_none();
        let row = kept.unwrap_or_else(|| self.restored(message, dead, subscription));
        Ok((EventBody::new(row), lost))
    }

    pub(super) async fn subscription_for(
        &self,
        dead: &DeliveryRow,
        version: RedriveVersion,
    ) -> Result<Result<Arc<Subscription>, String>, StoreError> {
        let catalogue = self.catalogue();
        let current = catalogue.subscriptions.get(&dead.subscription);
        let name = catalogue.name(dead.subscription);
        match (version, current) {
            (RedriveVersion::Current, Some(current)) => return Ok(Ok(current.clone())),
            (RedriveVersion::Current, None) => {
                let why =
                    format!("subscription '{name}' is gone; redrive with the original version");
                return Ok(Err(why));
            }
            (RedriveVersion::Original, Some(current)) if current.version == dead.version => {
                return Ok(Ok(current.clone()));
            }
            (RedriveVersion::Original, _) => {}
        }
        let row = self.store.resource_version(dead.subscription, dead.version).await?;
        let Some(row) = row else {
            let why = format!("version {} of subscription '{name}' is gone", dead.version);
            return Ok(Err(format!("{why}; redrive with the current one")));
        };
        Ok(compile_version(&catalogue, &row)
            .map(Arc::new)
            .map_err(|error| format!("{error}; redrive with the current version")))
    }

    /// The event as the dead letter kept it, for a log that does not have it any more.
    fn restored(
        &self,
        message: &MessageRow,
        dead: &DeliveryRow,
        subscription: &Subscription,
    ) -> EventRow {
        let catalogue = self.catalogue();
        let bus = catalogue.buses.get(&subscription.spec.bus).map(|bus| bus.id);
        EventRow {
            id: dead.event,
            run: dead.run,
            bus: bus.unwrap_or(stepbus_model::ResourceId(0)),
            cause: Cause::Outside,
            hops: 0,
            at: dead.created,
            envelope: message.body.clone(),
        }
    }

    /// Commits and offers. When somebody else was faster with one of them, each is tried by
    /// itself.
    async fn put_back(
        self: &Arc<Self>,
        work: &mut Work,
        noted: Option<&Noted>,
        revived: Vec<Revived>,
    ) -> Result<(), StoreError> {
        if revived.is_empty() {
            return Ok(());
        }
        match self.commit_revived(work, noted, &revived).await {
            Ok(()) => {
                self.offer_again(revived);
                return Ok(());
            }
            Err(StoreError::Gone(_)) => {}
            Err(error) => return Err(error),
        }
        for one in revived {
            let one = vec![one];
            match self.commit_revived(work, noted, &one).await {
                Ok(()) => self.offer_again(one),
                Err(StoreError::Gone(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn commit_revived(
        &self,
        work: &mut Work,
        noted: Option<&Noted>,
        revived: &[Revived],
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let mut batch = Batch::acceptance();
        let mut lost = Vec::new();
        for one in revived {
            if one.lost_event && !lost.contains(&one.row.event) {
                lost.push(one.row.event);
                batch.append_event(one.event.row.clone());
            }
            batch.redrive(one.message, one.row.clone(), now);
        }
        let pairs: Vec<_> = revived.iter().map(|one| (one.message, one.row.id)).collect();
        let wish = &work.wish;
        let detail = json!({
            "version": wish.version,
            "filter": wish.selection,
            "operation": noted.map(Noted::id),
            "count": pairs.len(),
            "dead_letters": pairs,
        });
        batch.audit(AuditRow {
            at: now,
            who: wish.who.clone(),
            action: "dlq.redrive".to_owned(),
            subject: subject(&pairs),
            detail: detail.to_string(),
        });
        let mut done = work.clone();
        done.tally.done += pairs.len() as u64;
        done.after = revived.last().map_or(work.after, |one| one.message);
        if let Some(noted) = noted {
            batch.put_operation(noted.after(&done));
        }
        self.store.commit(batch).await?;
        *work = done;
        Ok(())
    }

    fn offer_again(self: &Arc<Self>, revived: Vec<Revived>) {
        for Revived { row, event, subscription, .. } in revived {
            self.gates.gate(row.subscription).more(1);
            let queue = self.deliveries.queue(self, row.subscription);
            let share = self.share(row.run);
            queue.offer(Task::new(row, Some(event), Some(subscription), share), false);
        }
    }

    async fn discard(
        &self,
        wish: &Purge,
        dead: Vec<(MessageId, DeliveryRow)>,
    ) -> Result<u64, StoreError> {
        if dead.is_empty() {
            return Ok(0);
        }
        let (batch, count) = self.discarding(wish, &dead).await?;
        match self.store.commit(batch).await {
            Ok(()) => return Ok(count),
            Err(StoreError::Gone(_)) => {}
            Err(error) => return Err(error),
        }
        let mut done = 0;
        for one in dead {
            let (batch, count) = self.discarding(wish, &[one]).await?;
            match self.store.commit(batch).await {
                Ok(()) => done += count,
                Err(StoreError::Gone(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    async fn discarding(
        &self,
        wish: &Purge,
        dead: &[(MessageId, DeliveryRow)],
    ) -> Result<(Batch, u64), StoreError> {
        let now = self.clock.now();
        let mut batch = Batch::new();
        let mut pairs = Vec::with_capacity(dead.len());
        for (message, row) in dead {
            let Some(ledger) = self.store.ledger(row.id).await? else { continue };
            batch.purge(*message, ledger, now, &wish.reason);
            pairs.push((*message, row.id));
        }
        if !pairs.is_empty() {
            batch.audit(AuditRow {
                at: now,
                who: wish.who.clone(),
                action: "dlq.purge".to_owned(),
                subject: subject(&pairs),
                detail: json!({
                    "reason": wish.reason,
                    "filter": wish.selection,
                    "count": pairs.len(),
                    "dead_letters": pairs,
                })
                .to_string(),
            });
        }
        Ok((batch, pairs.len() as u64))
    }

    /// The one that this dead letter blocked, if it did, is woken in the same commit. Under the
    /// key's lock, so that none is blocked by it at the same time.
    async fn discard_and_unblock(
        self: &Arc<Self>,
        wish: &Purge,
        message: MessageId,
        row: DeliveryRow,
    ) -> Result<u64, StoreError> {
        let (subscription, lane) = (row.subscription, row.lane.unwrap_or_default());
        let key = row.key.clone().unwrap_or_default();
        let lock = self.deliveries.locks.hold(subscription, &key).await;
        let (mut batch, count) = self.discarding(wish, &[(message, row)]).await?;
        let head = self.store.lane_deliveries(subscription, lane, 1).await?.into_iter().next();
        let blocked = head.filter(|head| head.due == Some(Timestamp::MAX));
        if let Some(blocked) = &blocked {
            batch.retry_delivery(queue::woken(blocked, self.clock.now()));
        }
        let committed = self.store.commit(batch).await;
        drop(lock);
        match committed {
            Ok(()) => {}
            Err(StoreError::Gone(_)) => return Ok(0),
            Err(error) => return Err(error),
        }
        if let Some(blocked) = blocked {
            self.deliveries.queue(self, subscription).unblock(self, lane, blocked.id);
        }
        Ok(count)
    }
}

/// The dead letters of a selection, page by page; what dies again meanwhile is not among them.
struct Pages<'s> {
    selection: &'s Selection,
    after: MessageId,
    until: MessageId,
    limit: usize,
    done: bool,
}

impl<'s> Pages<'s> {
    fn new(selection: &'s Selection, after: MessageId, until: MessageId, limit: usize) -> Self {
        Pages { selection, after, until, limit: limit.max(1), done: false }
    }

    async fn next(&mut self, engine: &Engine) -> Result<Option<Vec<MessageRow>>, StoreError> {
        if self.done {
            return Ok(None);
        }
        let page = match self.selection {
            Selection::One(id) => {
                self.done = true;
                let found = engine.store.message(*id).await?;
                found.into_iter().filter(|message| message.id > self.after).collect()
            }
            Selection::Matching(filter) => {
                let filter = MessageFilter { dead: true, ..filter.clone() };
                let mut page = engine.store.messages(filter, self.after, self.limit).await?;
                self.done = page.len() < self.limit;
                page.retain(|message| message.id < self.until);
                page
            }
        };
        let Some(last) = page.last() else {
            self.done = true;
            return Ok(None);
        };
        self.after = last.id;
        Ok(Some(page))
    }
}

/// The one it is about, or how many.
fn subject(pairs: &[(MessageId, stepbus_model::DeliveryId)]) -> String {
    match pairs {
        [(message, _)] => message.to_string(),
        many => format!("{} dead letters", many.len()),
    }
}
