//! An HTTP destination as a target.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stepbus_connect::{Action, DeliveryRequest, DestinationSpec, Report};
use stepbus_model::ResourceId;

use super::{Outside, Parcel};
use crate::engine::Engine;

#[derive(Debug)]
pub(crate) struct Destination {
    id: ResourceId,
    name: String,
    is_upsert: bool,
}

impl Destination {
    pub(crate) fn new(id: ResourceId, spec: &DestinationSpec) -> Destination {
        let is_upsert = matches!(spec.action, Action::Upsert(_));
        Destination { id, name: spec.name.clone(), is_upsert }
    }
}

impl Outside for Destination {
    fn scope(&self) -> Option<ResourceId> {
        Some(self.id)
    }

    fn keeps_remote_id(&self) -> bool {
        self.is_upsert
    }

    fn workers(&self, engine: &Engine) -> usize {
        let set = engine.connect.destination_concurrency(&self.name);
        set.unwrap_or(engine.limits.destination_concurrency)
    }

    fn send<'a>(&'a self, engine: &'a Engine, parcel: Parcel) -> BoxFuture<'a, Report> {
        let request = DeliveryRequest {
            payload: parcel.payload,
            items: parcel.items,
            params: parcel.parameters.path,
            headers: parcel.parameters.headers,
            query: parcel.parameters.query,
            idempotency_key: parcel.idempotency_key,
            remote_id: parcel.remote_id,
            share: engine.share(parcel.run),
        };
        engine.connect.deliver(&self.name, request).boxed()
    }
}
