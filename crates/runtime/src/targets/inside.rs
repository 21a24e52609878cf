//! Targets that are writes: a workflow that starts, another bus, a queue. They are in the commit
//! that calls the delivery delivered, so they happen exactly once.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use stepbus_connect::{Failure, code};
use stepbus_model::{Event, ResourceId, Timestamp};
use stepbus_store::{Batch, Cause};

use crate::catalogue::{Queue, Subscription, Workflow};
use crate::delivery::{TRANSFORM_FAILED, failure};
use crate::engine::Engine;
use crate::event::EventBody;
use crate::publish::{Effects, Origin};
use crate::queues::NewMessage;
use crate::workflow::NewExecution;

#[derive(Debug, Clone)]
pub(crate) enum Inside {
    Workflow(Arc<Workflow>),
    Bus { id: ResourceId, name: String },
    Queue(Arc<Queue>),
}

/// What another bus takes over of an event; its id and time of arrival are new.
#[derive(Deserialize)]
struct Passed {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    time: String,
    #[serde(default)]
    resources: Vec<String>,
    detail: Box<RawValue>,
}

impl Inside {
    /// Adds what an event brings about, and gives the note for the ledger: what it became.
    pub(crate) fn place(
        &self,
        engine: &Engine,
        batch: &mut Batch,
        effects: &mut Effects,
        subscription: &Subscription,
        event: &Arc<EventBody>,
    ) -> Result<String, Failure> {
        match self {
            Inside::Workflow(workflow) => {
                let input = subscription.value(event, engine.limits.payload_bytes);
                let input = Arc::new(input.map_err(transform_failed)?);
                let launch = engine.new_execution(
                    batch,
                    NewExecution {
                        workflow: workflow.clone(),
                        run: event.row.run,
                        cause: Cause::Event(event.row.id),
                        hops: event.row.hops,
                        name: None,
                        input,
                    },
                );
                let note = launch.row.id.to_string();
                effects.launches.push(launch);
                Ok(note)
            }
            Inside::Bus { id, name } => {
                let onward = onward(engine, subscription, event)?;
                effects
                    .pass(engine, event.row.bus, *id, |effects| {
                        let origin = Origin {
                            run: event.row.run,
                            cause: Cause::Event(event.row.id),
                            hops: event.row.hops.saturating_add(1),
                        };
                        let mut routed = Batch::new();
                        let published =
                            engine.route(&mut routed, effects, origin, name, &onward)?;
                        batch.append(routed);
                        Ok(published.id.to_string())
                    })
                    .map_err(|error| failure(error.code, error.message))
            }
            Inside::Queue(queue) => {
                let content = subscription.content(event, engine.limits.payload_bytes);
                let body = content.map_err(transform_failed)?.payload().bytes().clone();
                let new = NewMessage {
                    run: event.row.run,
                    cause: Cause::Event(event.row.id),
                    body,
                    attributes: Map::new(),
                    delay: None,
                };
                let sent = engine.send_message(batch, effects, queue, new);
                sent.map(|id| id.to_string())
                    .map_err(|error| failure(code::INVALID_PARAMETER, error.to_string()))
            }
        }
    }
}

/// The event as another bus gets it. A transform or input stands for its detail.
fn onward(
    engine: &Engine,
    subscription: &Subscription,
    event: &EventBody,
) -> Result<Event, Failure> {
    let passed: Passed = serde_json::from_slice(&event.row.envelope)
        .map_err(|error| transform_failed(format!("the event cannot be read: {error}")))?;
    let detail = if subscription.sends_the_event(event) {
        passed.detail
    } else {
        let detail = subscription.value(event, engine.limits.payload_bytes);
        let detail: Value = detail.map_err(transform_failed)?;
        if !detail.is_object() {
            let message = "what goes to a bus is an event's detail, and must be an object";
            return Err(transform_failed(message.to_owned()));
        }
        RawValue::from_string(detail.to_string())
            .map_err(|error| transform_failed(error.to_string()))?
    };
    Ok(Event {
        source: passed.source,
        detail_type: passed.detail_type,
        detail,
        resources: passed.resources,
        time: Timestamp::parse(&passed.time).ok(),
    })
}

fn transform_failed(message: String) -> Failure {
    failure(TRANSFORM_FAILED, format!("the transform failed: {message}"))
}
