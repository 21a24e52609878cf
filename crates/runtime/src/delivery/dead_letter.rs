//! The end of a delivery that could not be made: a message of its dead-letter queue, or a discard
//! that is counted and logged.

use serde_json::{Map, Value, json};
use stepbus_connect::Failure;
use stepbus_model::{DeliveryId, MessageId, Outcome, ResourceId, Timestamp, arn};
use stepbus_store::{Batch, DeliveryRow, Finish, MessageRow, Reception};

use super::cause;
use super::policy::LastFailure;
use crate::catalogue::Subscription;
use crate::declared::SubscriptionSpec;
use crate::engine::Engine;
use crate::event::EventBody;

/// The code of a delivery whose key or payload could not be computed.
pub(crate) const TRANSFORM_FAILED: &str = "TRANSFORM_FAILED";

/// Who failed to get it, and where its dead letters go.
#[derive(Debug)]
pub(super) struct Address {
    name: String,
    rule: String,
    target: String,
    queue: Option<ResourceId>,
}

impl Address {
    pub(super) fn of(subscription: &Subscription) -> Self {
        Address {
            name: subscription.spec.name.clone(),
            rule: arn::rule(&subscription.spec.bus, &subscription.spec.name),
            target: subscription.spec.target.arn(),
            queue: subscription.dead_letter,
        }
    }

    /// Of a version that cannot be used any more, as far as its text tells.
    pub(super) fn of_text(engine: &Engine, subscription: ResourceId, text: &str) -> Self {
        let catalogue = engine.catalogue();
        let Ok(spec) = serde_json::from_str::<SubscriptionSpec>(text) else {
            let name = catalogue.name(subscription).to_owned();
            return Address { rule: name.clone(), name, target: String::new(), queue: None };
        };
        let target = spec.target.arn();
        let queue = spec.dead_letter.and_then(|name| catalogue.queues.get(&name).copied());
        Address { rule: arn::rule(&spec.bus, &spec.name), name: spec.name, target, queue }
    }
}

/// How a delivery failed for good.
#[derive(Debug)]
pub(super) struct Death<'a> {
    pub(super) error: &'a Failure,
    /// What of the retry policy was used up; none when another attempt could not have helped.
    pub(super) exhausted: Option<&'static str>,
    pub(super) attempts: u32,
    /// When it was last tried, if it was.
    pub(super) tried: Option<Timestamp>,
}

/// Adds the delivery's end to the batch.
pub(super) fn bury(
    engine: &Engine,
    batch: &mut Batch,
    address: &Address,
    event: &EventBody,
    row: &DeliveryRow,
    death: &Death<'_>,
) {
    let at = engine.clock.now();
    let Failure { code, message, .. } = death.error;
    let finish = |outcome, note| Finish { outcome, at, attempts: death.attempts, note: Some(note) };
    let Some(queue) = address.queue else {
        tracing::warn!(
            delivery = %row.id, subscription = %address.name, key = row.key, code, message,
            "discarded a delivery: its subscription has no dead-letter queue"
        );
        let note = format!("{code}: {message}");
        batch.finish_delivery(row, finish(Outcome::Discarded, note));
        return;
    };
    let id = MessageId(engine.store.next_id());
    tracing::info!(
        delivery = %row.id, subscription = %address.name, key = row.key, code, message,
        dead_letter = %id, "a delivery became a dead letter"
    );
    let message = MessageRow {
        id,
        queue,
        run: row.run,
        sent: at,
        body: event.row.envelope.clone(),
        attributes: attributes(address, row, death).to_string(),
        error_code: Some(code.clone()),
        delivery: Some(dead(row, death)),
        reception: Reception { visible: at, ..Reception::default() },
    };
    batch.dead_letter(message, row, finish(Outcome::DeadLettered, id.to_string()));
}

/// The delivery as it was when it failed.
fn dead(row: &DeliveryRow, death: &Death<'_>) -> DeliveryRow {
    DeliveryRow { attempts: death.attempts, due: None, failure: None, ..row.clone() }
}

/// EventBridge's attributes, all of them text, and beside them our own under `stepbus`.
fn attributes(address: &Address, row: &DeliveryRow, death: &Death<'_>) -> Value {
    let error = death.error;
    let mut all = Map::new();
    let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
    put("RULE_ARN", json!(address.rule));
    put("TARGET_ARN", json!(address.target));
    put("ERROR_CODE", json!(error.code));
    put("ERROR_MESSAGE", json!(error.message));
    if let Some(condition) = death.exhausted {
        put("EXHAUSTED_RETRY_CONDITION", json!(condition));
    }
    put("RETRY_ATTEMPTS", json!(death.attempts.saturating_sub(1).to_string()));
    let first_tried = row.first_tried.filter(|_| row.attempts > 0).or(death.tried);
    put(
        "stepbus",
        json!({
            "delivery": row.id,
            "run": row.run,
            "event": row.event,
            "subscription": address.name,
            "key": row.key,
            "created": row.created.to_rfc3339(),
            "first_tried": first_tried.map(Timestamp::to_rfc3339),
            "last_tried": death.tried.map(Timestamp::to_rfc3339),
            "revision": row.revision,
            "cause": cause::of(&error.message, row.key.as_deref()),
            "status": error.status,
            "exchange": error.exchange,
        }),
    );
    Value::Object(all)
}

/// Adds a delivery that failed before it could be one: its key could not be computed or, where its
/// target is part of the commit, it cannot be placed there.
pub(crate) fn give_up_at_birth(
    engine: &Engine,
    batch: &mut Batch,
    subscription: &Subscription,
    event: &EventBody,
    row: DeliveryRow,
    error: &Failure,
) {
    let death = Death { error, exhausted: None, attempts: 0, tried: None };
    batch.add_delivery(row.clone());
    bury(engine, batch, &Address::of(subscription), event, &row, &death);
}

pub(crate) fn failure(code: &str, message: impl Into<String>) -> Failure {
    Failure { code: code.to_owned(), message: message.into(), status: None, exchange: None }
}

/// How the row's own last attempt failed, else how the destination fails for the others.
pub(super) fn last_failure(row: &DeliveryRow, others: &Failure) -> (Failure, Option<Timestamp>) {
    let last = row.failure.as_deref().and_then(LastFailure::read);
    match last.and_then(|last| last.at.map(|at| (last.failure, Some(at)))) {
        Some(own) => own,
        // The exchange of another delivery would only mislead.
        None => (Failure { exchange: None, ..others.clone() }, None),
    }
}

pub(super) fn last_tried(row: &DeliveryRow) -> Option<Timestamp> {
    row.failure.as_deref().and_then(LastFailure::read).and_then(|last| last.at)
}

/// What a delivery waits for that is blocked by a dead letter of its key.
pub(super) fn blocked_by(dead: DeliveryId, message: MessageId) -> Failure {
    failure(
        "BLOCKED",
        format!("waits until {dead} of the same key is redriven or purged (dead letter {message})"),
    )
}
