//! The registry of connections and destinations, and the door to all calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use stepbus_model::{Clock, Limits};

use crate::health::Health;
use crate::payload::Payload;
use crate::report::{Failure, Report, code};
use crate::spec::{ConnectionSpec, DestinationSpec, SpecError};
use crate::task::{CallError, HttpResponse, HttpTask};

/// Everything that leaves the process over HTTP. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Connect {
    clock: Arc<dyn Clock>,
    limits: Limits,
}

/// One attempt of a delivery.
#[derive(Debug, Clone)]
pub struct DeliveryRequest {
    pub payload: Payload,
    /// For placeholders; asked before the payload's fields.
    pub params: BTreeMap<String, String>,
    /// The same for every attempt with the same payload.
    pub idempotency_key: String,
    /// An upsert's id from an earlier delivery of the same key.
    pub remote_id: Option<String>,
}

impl Connect {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Connect { clock, limits }
    }

    /// Adds a connection or replaces the one of that name. Its token, permits and pauses stay
    /// unless what they depend on changed.
    ///
    /// # Errors
    /// When a field of the spec makes no sense.
    pub fn set_connection(&self, spec: ConnectionSpec) -> Result<(), Vec<SpecError>> {
        drop(spec);
        Ok(())
    }

    /// Adds a destination or replaces the one of that name.
    ///
    /// # Errors
    /// When a field of the spec makes no sense.
    pub fn set_destination(&self, spec: DestinationSpec) -> Result<(), Vec<SpecError>> {
        drop(spec);
        Ok(())
    }

    pub fn remove_connection(&self, _name: &str) {}

    pub fn remove_destination(&self, _name: &str) {}

    /// Makes one attempt of a delivery. Dropping the future gives all permits back.
    pub async fn deliver(&self, destination: &str, request: DeliveryRequest) -> Report {
        Report::Permanent {
            error: Arc::new(Failure {
                code: code::NO_RESOURCE.to_owned(),
                message: format!("there is no destination `{destination}`"),
                status: None,
                exchange: None,
            }),
            remote_id: request.remote_id,
        }
    }

    /// Makes the call of a task.
    ///
    /// # Errors
    /// When there is no answer, or one whose status is not 2xx.
    pub async fn invoke(&self, task: HttpTask) -> Result<HttpResponse, CallError> {
        let error = Failure {
            code: code::NO_RESOURCE.to_owned(),
            message: format!("there is no connection for `{}`", task.url),
            status: None,
            exchange: None,
        };
        Err(CallError {
            error: "States.TaskFailed".to_owned(),
            cause: error.message.clone(),
            status: None,
            failure: Arc::new(error),
        })
    }

    #[must_use]
    pub fn health(&self) -> Health {
        Health::default()
    }
}
