//! Where a subscription's events go.
//!
//! What stays inside is written in the commit that publishes, exactly once. What goes outside is
//! sent by `delivery`, at least once; each kind of it is one file here that implements
//! [`Outside`].

mod destination;
mod function;
mod inside;
mod log;
mod mail;

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use stepbus_connect::{Payload, Report};
use stepbus_model::{DeliveryId, ResourceId, RunId};

use crate::catalogue::{Catalogue, Subscription};
use crate::declared::TargetSpec;
use crate::engine::Engine;
use crate::event::EventBody;
use crate::parameters::Filled;
pub(crate) use destination::Destination;
pub(crate) use function::destination_name;
pub use function::function_destination;
pub(crate) use inside::Inside;
pub(crate) use log::LogFiles;

#[derive(Debug, Clone)]
pub(crate) enum Target {
    Inside(Inside),
    Outside(Arc<dyn Outside>),
}

/// A target that does not take part in commits: it may fail, stall and get the same thing twice.
pub(crate) trait Outside: Debug + Send + Sync {
    /// The declared thing that it is, which others deliver to as well: it can be paused, and
    /// remembers a key's last payload. Without one the subscription itself does.
    fn scope(&self) -> Option<ResourceId> {
        None
    }

    /// Whether it calls a thing by an id of its own, to be kept by key.
    fn keeps_remote_id(&self) -> bool {
        false
    }

    /// Deliveries in hand at once.
    fn workers(&self, engine: &Engine) -> usize;

    /// One attempt. Nothing but the report says what became of it.
    fn send<'a>(&'a self, engine: &'a Engine, parcel: Parcel) -> BoxFuture<'a, Report>;
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) delivery: DeliveryId,
    pub(crate) run: RunId,
    pub(crate) key: Option<String>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) event: Arc<EventBody>,
    pub(crate) payload: Payload,
    /// How many payloads, where it is an array of them.
    pub(crate) items: Option<usize>,
    pub(crate) parameters: Filled,
    /// The same for every attempt with the same payload.
    pub(crate) idempotency_key: String,
    pub(crate) remote_id: Option<String>,
}

/// Why there is no such target.
#[derive(Debug)]
pub(crate) enum NoTarget {
    /// A declared thing that is not there.
    Missing,
    /// What it says cannot be used.
    Invalid(String),
}

impl Target {
    /// Whether a match waits for somebody who sends it; others meet their fate in the publishing
    /// commit.
    pub(crate) fn takes_time(&self) -> bool {
        matches!(self, Target::Outside(_))
    }

    /// The destination whose deliveries these are, when it is one.
    pub(crate) fn destination(&self) -> Option<ResourceId> {
        match self {
            Target::Inside(_) => None,
            Target::Outside(target) => target.scope(),
        }
    }

    pub(crate) fn resolve(catalogue: &Catalogue, spec: &TargetSpec) -> Result<Target, NoTarget> {
        let inside = match spec {
            TargetSpec::Destination(name) => {
                let destination = catalogue.destinations.get(name).ok_or(NoTarget::Missing)?;
                return Ok(Target::Outside(destination.clone()));
            }
            TargetSpec::Function(name) => {
                let name = destination_name(name);
                let function = catalogue.destinations.get(&name).ok_or(NoTarget::Missing)?;
                return Ok(Target::Outside(function.clone()));
            }
            TargetSpec::Mail(spec) => {
                let mail = mail::MailTarget::new(spec).map_err(NoTarget::Invalid)?;
                return Ok(Target::Outside(Arc::new(mail)));
            }
            TargetSpec::Log(spec) => return Ok(Target::Outside(Arc::new(log::Log::new(spec)))),
            TargetSpec::Workflow(name) => {
                catalogue.workflows.get(name).cloned().map(Inside::Workflow)
            }
            TargetSpec::Bus(name) => {
                let bus = catalogue.buses.get(name);
                bus.map(|bus| Inside::Bus { id: bus.id, name: name.clone() })
            }
            TargetSpec::Queue(name) => {
                let id = catalogue.queues.get(name);
                id.and_then(|id| catalogue.queue(*id)).cloned().map(Inside::Queue)
            }
        };
        inside.map(Target::Inside).ok_or(NoTarget::Missing)
    }
}
