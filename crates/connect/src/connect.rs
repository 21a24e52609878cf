//! The registry of connections and destinations, and the door to all calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use stepbus_model::{Clock, Limits, Share};

use crate::attempt::Attempt;
use crate::client::HttpClient;
use crate::connection::{Connection, Credentials};
use crate::destination::{self, Destination};
use crate::health::Health;
use crate::invoke;
use crate::mail::{self, Mail};
use crate::objects::{Bucket, BucketSpec};
use crate::payload::Payload;
use crate::report::{Failure, Report, code};
use crate::spec::{ConnectionSpec, DestinationSpec, SpecError};
use crate::task::{CallError, HttpResponse, HttpTask};

/// Everything that leaves the process over HTTP. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Connect(Arc<Inner>);

struct Inner {
    shared: Shared,
    registry: RwLock<Registry>,
    /// Held while a spec is compiled and put in, so that none is lost to another.
    changing: Mutex<()>,
    /// For calls that name no connection.
    anonymous: Arc<Connection>,
}

#[derive(Default)]
struct Registry {
    connections: HashMap<String, Arc<Connection>>,
    destinations: HashMap<String, Arc<Destination>>,
    buckets: HashMap<String, Bucket>,
}

/// What every call needs.
pub(crate) struct Shared {
    pub(crate) client: HttpClient,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
}

/// One attempt of a delivery.
#[derive(Debug, Clone)]
pub struct DeliveryRequest {
    pub payload: Payload,
    /// How many payloads it is an array of, where it is a batch.
    pub items: Option<usize>,
    /// For placeholders; asked before the payload's fields.
    pub params: BTreeMap<String, String>,
    /// Headers and query parameters of this delivery: they win over the destination's, and the
    /// connection's win over them.
    pub headers: Vec<(String, String)>,
    pub query: Vec<(String, String)>,
    /// The same for every attempt with the same payload.
    pub idempotency_key: String,
    /// An upsert's id from an earlier delivery of the same key.
    pub remote_id: Option<String>,
    /// Whose turn it takes where several wait for the same system.
    pub share: Share,
}

impl Inner {
    fn connection_of(&self, task: &HttpTask) -> Result<Arc<Connection>, CallError> {
        let Some(name) = &task.connection else { return Ok(Arc::clone(&self.anonymous)) };
        let found = self.registry.read().connections.get(name).map(Arc::clone);
        found.ok_or_else(|| {
            let cause = format!("there is no connection `{name}`");
            CallError {
                error: "Events.ConnectionResource.ResourceNotFound".to_owned(),
                cause: cause.clone(),
                status: None,
                failure: Arc::new(Failure::new(code::NO_RESOURCE, cause)),
                body: None,
            }
        })
    }
}

impl Connect {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, limits: Limits) -> Self {
        let client = HttpClient::new(&limits);
        let spec = ConnectionSpec::default();
        let anonymous = Connection::new(spec, None, limits.map_concurrency, limits)
            .unwrap_or_else(|_| unreachable!("a connection without settings is valid"));
        Connect(Arc::new(Inner {
            shared: Shared { client, clock, limits },
            registry: RwLock::default(),
            changing: Mutex::new(()),
            anonymous: Arc::new(anonymous),
        }))
    }

    /// Adds a connection or replaces the one of that name. Permits, rate and pauses carry on
    /// under the new bounds; the token does when `auth` is unchanged.
    ///
    /// # Errors
    /// When a field of the spec makes no sense; nothing is changed then.
    pub fn set_connection(&self, spec: ConnectionSpec) -> Result<(), Vec<SpecError>> {
        let inner = &self.0;
        let _changing = inner.changing.lock();
        let before = inner.registry.read().connections.get(&spec.name).map(Arc::clone);
        if before.as_ref().is_some_and(|before| before.spec == spec) {
            return Ok(());
        }
        let limits = inner.shared.limits;
        let name = spec.name.clone();
        let concurrency = limits.connection_concurrency;
        let connection = Connection::new(spec, before.as_deref(), concurrency, limits)?;
        inner.registry.write().connections.insert(name, Arc::new(connection));
        Ok(())
    }

    /// Adds a destination or replaces the one of that name. Its permits, rate and pauses carry
    /// on unless it calls something else now.
    ///
    /// # Errors
    /// When a field of the spec makes no sense; nothing is changed then.
    pub fn set_destination(&self, spec: DestinationSpec) -> Result<(), Vec<SpecError>> {
        let inner = &self.0;
        let _changing = inner.changing.lock();
        let before = inner.registry.read().destinations.get(&spec.name).map(Arc::clone);
        if before.as_ref().is_some_and(|before| before.spec == spec) {
            return Ok(());
        }
        let name = spec.name.clone();
        let destination = Destination::new(spec, before.as_deref(), inner.shared.limits)?;
        inner.registry.write().destinations.insert(name, Arc::new(destination));
        Ok(())
    }

    /// Calls that are under way end as they would.
    pub fn remove_connection(&self, name: &str) {
        self.0.registry.write().connections.remove(name);
    }

    /// Calls that are under way end as they would.
    pub fn remove_destination(&self, name: &str) {
        self.0.registry.write().destinations.remove(name);
    }

    /// Adds a bucket or replaces the one of that name.
    ///
    /// # Errors
    /// When a field of the spec makes no sense; nothing is changed then.
    pub fn set_bucket(&self, spec: BucketSpec) -> Result<(), Vec<SpecError>> {
        let inner = &self.0;
        let _changing = inner.changing.lock();
        let before = inner.registry.read().buckets.get(&spec.name).cloned();
        if before.is_some_and(|before| *before.spec() == spec) {
            return Ok(());
        }
        let name = spec.name.clone();
        let bucket = Bucket::new(spec, &inner.shared.client, inner.shared.limits)?;
        inner.registry.write().buckets.insert(name, bucket);
        Ok(())
    }

    /// The bucket of that name.
    #[must_use]
    pub fn bucket(&self, name: &str) -> Option<Bucket> {
        self.0.registry.read().buckets.get(name).cloned()
    }

    /// Makes one attempt of a delivery. Dropping the future gives all permits back.
    pub async fn deliver(&self, destination: &str, request: DeliveryRequest) -> Report {
        let inner = &*self.0;
        let found = {
            let registry = inner.registry.read();
            registry.destinations.get(destination).map(|destination| {
                let connection = match &destination.spec.connection {
                    None => Ok(Arc::clone(&inner.anonymous)),
                    Some(name) => {
                        registry.connections.get(name).map(Arc::clone).ok_or(name.clone())
                    }
                };
                (Arc::clone(destination), connection)
            })
        };
        let message = match found {
            Some((destination, Ok(connection))) => {
                return Attempt::new(&inner.shared, &destination, &connection, &request)
                    .run()
                    .await;
            }
            Some((_, Err(connection))) => format!(
                "the destination `{destination}` names the connection `{connection}`, which \
                 does not exist"
            ),
            None => format!("there is no destination `{destination}`"),
        };
        let error = Arc::new(Failure::new(code::NO_RESOURCE, message));
        Report::Permanent { error, remote_id: request.remote_id }
    }

    /// Sends a mail over a connection to a mail server; one attempt of a delivery.
    pub async fn mail(&self, connection: &str, mail: Mail) -> Report {
        let found = self.0.registry.read().connections.get(connection).map(Arc::clone);
        match found {
            Some(found) => mail::send(&self.0.shared, &found, mail).await,
            None => {
                let message = format!("there is no connection `{connection}`");
                let error = Arc::new(Failure::new(code::NO_RESOURCE, message));
                Report::Permanent { error, remote_id: None }
            }
        }
    }

    /// Makes the call of a task. It waits while the connection is paused; dropping the future
    /// gives all permits back.
    ///
    /// # Errors
    /// When there is no answer, or one whose status is not 2xx, under AWS's names.
    pub fn invoke(
        &self,
        task: HttpTask,
    ) -> impl Future<Output = Result<HttpResponse, CallError>> + Send + 'static {
        let inner = Arc::clone(&self.0);
        let default = Duration::from_secs(inner.shared.limits.http_timeout_seconds);
        let (timeout, share) = (task.timeout.unwrap_or(default), task.share);
        let connection = inner.connection_of(&task);
        let asked = connection.and_then(|found| Ok((found, invoke::outgoing(task)?)));
        async move {
            // Not moved out, which would take the room twice.
            let (connection, request) = asked.as_ref().map_err(Clone::clone)?;
            invoke::invoke(&inner.shared, connection, request, timeout, share).await
        }
    }

    /// A text from outside without the secrets of the connection it came over.
    #[must_use]
    pub fn masked(&self, connection: Option<&str>, text: &str) -> String {
        let registry = self.0.registry.read();
        let connection = connection.and_then(|name| registry.connections.get(name));
        connection.map_or_else(
            || text.to_owned(),
            |connection| connection.masker([]).mask(text).into_owned(),
        )
    }

    /// Calls in flight at once over a connection.
    #[must_use]
    pub fn connection_concurrency(&self, name: &str) -> Option<usize> {
        let registry = self.0.registry.read();
        let connection = registry.connections.get(name)?;
        let default = self.0.shared.limits.connection_concurrency;
        Some(connection.spec.concurrency.unwrap_or(default))
    }

    /// Calls in flight at once to a destination.
    #[must_use]
    pub fn destination_concurrency(&self, name: &str) -> Option<usize> {
        let registry = self.0.registry.read();
        let destination = registry.destinations.get(name)?;
        let default = self.0.shared.limits.destination_concurrency;
        Some(destination.spec.concurrency.unwrap_or(default))
    }

    #[must_use]
    pub fn health(&self) -> Health {
        let inner = &*self.0;
        let now = inner.shared.clock.now();
        let registry = inner.registry.read();
        let mut connections: Vec<_> = registry
            .connections
            .iter()
            .map(|(name, connection)| {
                let mut condition = connection.gate.condition(name, now);
                if let Credentials::OAuth(cache) = &*connection.credentials {
                    condition.token_age = cache.age(now);
                }
                condition
            })
            .collect();
        let destinations = registry.destinations.iter();
        let mut destinations: Vec<_> =
            destinations.map(|(name, destination)| destination.gate.condition(name, now)).collect();
        connections.sort_by(|a, b| a.name.cmp(&b.name));
        destinations.sort_by(|a, b| a.name.cmp(&b.name));
        Health { connections, destinations }
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.0.registry.read();
        f.debug_struct("Connect")
            .field("connections", &registry.connections.len())
            .field("destinations", &registry.destinations.len())
            .finish()
    }
}

impl ConnectionSpec {
    /// What [`Connect::set_connection`] would say to it.
    ///
    /// # Errors
    /// When a field makes no sense.
    pub fn check(&self) -> Result<(), Vec<SpecError>> {
        Connection::new(self.clone(), None, 1, Limits::DEFAULT).map(drop)
    }
}

impl DestinationSpec {
    /// What [`Connect::set_destination`] would say to it.
    ///
    /// # Errors
    /// When a field makes no sense.
    pub fn check(&self) -> Result<(), Vec<SpecError>> {
        destination::compile(self).map(drop)
    }
}
