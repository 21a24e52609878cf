//! Several deliveries in one call, for a target that takes arrays.
//!
//! A batch has one key per member at most. Where it fails for good, it is halved until what is
//! wrong stands alone; where the target says which members failed, only those do. Members whose
//! batch is to be tried again wait for each other, so that the target sees the same batch under
//! the same Idempotency-Key.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use stepbus_connect::{Failure, Payload, Report, code};
use stepbus_model::crash;
use stepbus_store::{Batch, Retry};

use super::attempt::{Attempt, Packed};
use super::durable::{Stopped, commit};
use super::guard::Held;
use super::policy::{Group, LastFailure};
use super::queue::Queue;
use super::task::Task;
use crate::engine::Engine;
use crate::parameters::Filled;
use crate::targets::{Parcel, Target};

/// A delivery that is to be sent with others.
struct Member<'a> {
    attempt: Attempt<'a>,
    packed: Packed,
    held: Option<Held>,
}

/// Sends deliveries of one version of a subscription together and commits what became of each.
pub(super) async fn deliver(
    engine: &Arc<Engine>,
    queue: &Queue,
    tasks: Vec<Task>,
) -> Result<(), Stopped> {
    if queue.held() {
        tasks.into_iter().rev().for_each(|task| queue.resume(task));
        return Ok(());
    }
    let mut attempts = Vec::with_capacity(tasks.len());
    for task in tasks {
        attempts.extend(Attempt::open(engine, queue, task).await?);
    }
    let Some(target) = attempts.first().map(|first| first.subscription.target.clone()) else {
        return Ok(());
    };
    let paused = target.destination().is_some_and(|id| engine.holds.is_paused(id));
    let Target::Outside(target) = target else { return each(attempts).await };
    if paused {
        return each(attempts).await;
    }
    // All locks at once and in one order, so that no two batches wait for each other.
    let _locks = match attempts.first() {
        Some(first) => first.lock_all(&*target, &attempts).await,
        None => Vec::new(),
    };
    let mut members = Vec::with_capacity(attempts.len());
    for attempt in attempts {
        let held = attempt.known(&*target).await?;
        let packed = match attempt.pack() {
            Ok(packed) => packed,
            Err(message) => {
                attempt.transform_failed(&message).await?;
                continue;
            }
        };
        let spared = match &held {
            Some(held) => attempt.spared(&packed, held).await?,
            None => None,
        };
        match spared {
            Some(outcome) => attempt.needless(outcome).await?,
            None => members.push(Member { attempt, packed, held }),
        }
    }
    forget(engine, &mut members).await?;
    let limit = members.first().and_then(|first| first.attempt.subscription.spec.batch.as_ref());
    let limit = limit.map_or(usize::MAX, |batch| batch.max_bytes);
    // Those still to be sent, the next one last.
    let mut parts = within(members, limit);
    parts.reverse();
    while let Some(mut part) = parts.pop() {
        let group = group(engine, &part);
        crash::point("delivery.before_call");
        let report = target.send(engine, parcel(&part, &group)).await;
        crash::point("delivery.after_call");
        if let Report::Permanent { error, .. } = &report
            && part.len() > 1
            && may_be_one(error)
        {
            let other = part.split_off(part.len() / 2);
            parts.extend([other, part]);
            continue;
        }
        conclude(part, report, &group).await?;
    }
    Ok(())
}

/// One by one, where they are not sent.
async fn each(attempts: Vec<Attempt<'_>>) -> Result<(), Stopped> {
    for attempt in attempts {
        attempt.deliver().await?;
    }
    Ok(())
}

/// From here on nobody knows what the target holds of them, until it says so.
async fn forget(engine: &Arc<Engine>, members: &mut [Member<'_>]) -> Result<(), Stopped> {
    let mut batch = Batch::new();
    for held in members.iter_mut().filter_map(|member| member.held.as_mut()) {
        let was_known = held.stored.as_ref().is_some_and(|stored| stored.hash.is_some());
        held.known.hash = None;
        if let Some(change) = held.change().filter(|_| was_known) {
            batch.put_key(change.clone());
            held.stored = Some(change);
        }
    }
    if !batch.is_empty() {
        commit(engine, batch).await?;
    }
    Ok(())
}

/// In parts of at most so many bytes; one that is larger goes alone.
fn within(members: Vec<Member<'_>>, limit: usize) -> Vec<Vec<Member<'_>>> {
    let mut parts: Vec<Vec<Member<'_>>> = Vec::new();
    let mut held = 0;
    for member in members {
        let bytes = member.packed.payload.bytes().len() + 1;
        match parts.last_mut() {
            Some(part) if held + bytes < limit => {
                held += bytes;
                part.push(member);
            }
            _ => {
                held = 1 + bytes;
                parts.push(vec![member]);
            }
        }
    }
    parts
}

/// What keeps these together: the same for the same payloads of the same deliveries.
fn group(engine: &Engine, members: &[Member<'_>]) -> Group {
    let mut text = String::from("batch");
    for Member { attempt, .. } in members {
        text.push_str(&format!("/{}/{}", attempt.row.id, attempt.row.revision));
    }
    let attempts = members.iter().map(|member| member.attempt.row.attempts).max();
    Group {
        id: engine.derived_name(&text).to_string(),
        size: members.len(),
        attempts: attempts.unwrap_or(0),
    }
}

fn parcel(members: &[Member<'_>], group: &Group) -> Parcel {
    let first = &members[0].attempt;
    Parcel {
        delivery: first.row.id,
        run: first.row.run,
        key: None,
        subscription: first.subscription.clone(),
        event: first.event.clone(),
        payload: Payload::Json(array(members)),
        items: Some(members.len()),
        parameters: Filled::default(),
        idempotency_key: group.id.clone(),
        remote_id: None,
    }
}

fn array(members: &[Member<'_>]) -> Bytes {
    let bytes = members.iter().map(|member| member.packed.payload.bytes().len() + 1).sum::<usize>();
    let mut array = BytesMut::with_capacity(bytes + 1);
    for (index, member) in members.iter().enumerate() {
        array.put_u8(if index == 0 { b'[' } else { b',' });
        array.put(member.packed.payload.json());
    }
    array.put_u8(b']');
    array.freeze()
}

/// Whether a single member may be to blame: not when there is nobody to send to.
fn may_be_one(error: &Failure) -> bool {
    !matches!(error.code.as_str(), code::NO_RESOURCE | code::NO_PERMISSIONS)
}

/// Each member's own end, all of them at once.
async fn conclude(part: Vec<Member<'_>>, report: Report, group: &Group) -> Result<(), Stopped> {
    if let Report::Throttled { until, error, .. } = report {
        let part = keep_together(part, &error, group).await?;
        // The last one first, since each becomes the next one to be sent.
        for member in part.into_iter().rev() {
            let report = Report::Throttled { until, error: error.clone(), remote_id: None };
            let Member { attempt, held, .. } = member;
            attempt.conclude(report, held.as_ref(), Some(group)).await?;
        }
        return Ok(());
    }
    let ends = part.into_iter().enumerate().map(|(index, member)| {
        let (report, group) = own(&report, index, group);
        async move {
            let Member { attempt, packed, mut held } = member;
            if let Some(held) = &mut held
                && matches!(report, Report::Delivered { .. })
            {
                held.known.hash = packed.hash;
                held.known.version = packed.version.or(held.known.version.take());
            }
            attempt.conclude(report, held.as_ref(), group).await
        }
    });
    join_all(ends).await.into_iter().collect()
}

/// Notes with whom each is to be sent again: what was answered with 429 may have been applied all
/// the same, and after a crash the target knows it by the batch's Idempotency-Key only.
async fn keep_together<'a>(
    mut part: Vec<Member<'a>>,
    throttled: &Failure,
    group: &Group,
) -> Result<Vec<Member<'a>>, Stopped> {
    let Some(engine) = part.first().map(|first| first.attempt.engine.clone()) else {
        return Ok(part);
    };
    let now = engine.clock.now();
    let mut batch = Batch::new();
    for Member { attempt, .. } in &mut part {
        let row = &mut attempt.row;
        let noted = LastFailure::together(row.failure.as_deref(), throttled, group);
        let Some(failure) = noted else { continue };
        (row.failure, row.due) = (Some(failure.clone()), Some(now));
        batch.retry_delivery(Retry {
            id: row.id,
            run: row.run,
            attempts: row.attempts,
            first_tried: row.first_tried.unwrap_or(now),
            due: now,
            failure,
        });
    }
    if !batch.is_empty() {
        commit(&engine, batch).await?;
        crash::point("delivery.after_commit");
    }
    Ok(part)
}

/// What the batch's report means for one member, and whether it stays with the others.
fn own<'g>(report: &Report, index: usize, group: &'g Group) -> (Report, Option<&'g Group>) {
    let Report::Delivered { failed, .. } = report else { return (report.clone(), Some(group)) };
    let Some(item) = failed.iter().find(|item| item.index == index) else {
        return (report.clone(), None);
    };
    let error = item.error.clone();
    let report = match item.permanent {
        true => Report::Permanent { error, remote_id: None },
        false => Report::Retryable { error, retry_after: None, remote_id: None },
    };
    (report, None)
}

impl std::fmt::Debug for Member<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Member").field("delivery", &self.attempt.row.id).finish_non_exhaustive()
    }
}
