//! A call of a public endpoint: one run, whose root event says what was asked for.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use stepbus_expr::{Env, Scope};
use stepbus_model::{Event, RunId, Timestamp};
use stepbus_store::{Batch, ClaimRow, StoreError};

use crate::catalogue::Endpoint;
use crate::declared::Overlap;
use crate::engine::Engine;
use crate::expression;
use crate::publish::{Effects, Entry, Origination};

#[cfg(test)]
mod tests;

/// What an endpoint's `detail` sees as `$request`.
#[derive(Debug, Clone, Serialize)]
pub struct EndpointRequest {
    pub path: BTreeMap<String, String>,
    pub query: BTreeMap<String, String>,
    /// Names in lower case; what authenticates the caller is left out.
    pub headers: BTreeMap<String, String>,
    /// JSON where the body is JSON, else text; null when empty.
    pub body: Value,
    #[serde(skip)]
    pub idempotency_key: Option<String>,
}

/// What a call amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Accepted {
        run: RunId,
    },
    /// The same Idempotency-Key started this run before.
    Again {
        run: RunId,
    },
    /// The endpoint refuses a second run while this one is open.
    Busy {
        run: RunId,
    },
    /// A path parameter has a value the endpoint does not know.
    Unknown {
        parameter: String,
        value: String,
        known: Vec<String>,
    },
    /// The same Idempotency-Key came with another request.
    KeyReused {
        run: RunId,
    },
    /// The event cannot be made from this request, or the bus refuses it.
    Invalid {
        message: String,
    },
}

impl Engine {
    /// Starts a run for a call that is already authenticated.
    ///
    /// # Errors
    /// When the store does not take it; nothing was started then.
    pub async fn call(
        self: &Arc<Self>,
        endpoint: &Endpoint,
        request: EndpointRequest,
    ) -> Result<Answer, StoreError> {
        if let Some(unknown) = unknown_parameter(endpoint, &request) {
            return Ok(unknown);
        }
        let now = self.clock.now();
        let asked = event(endpoint, &request, now).and_then(|event| {
            let force = is_forced(endpoint, &request, now)?;
            let (bus, priority) = (endpoint.spec.bus.clone(), endpoint.spec.priority);
            Ok(Entry { bus, event, priority, dedup_id: None, force })
        });
        let entry = match asked {
            Ok(entry) => entry,
            Err(message) => return Ok(Answer::Invalid { message }),
        };
        let _gate = endpoint.gate.lock().await;
        let scope = format!("idempotency:{}", endpoint.spec.name);
        let fingerprint = fingerprint(&request);
        if let Some(key) = &request.idempotency_key
            && let Some(claim) = self.store.claim(&scope, key).await?
            && claim.expires > self.clock.now()
        {
            return Ok(seen_before(&claim.value, &fingerprint));
        }
        let (origin, label) = (format!("endpoint:{}", endpoint.spec.name), label(&request));
        if endpoint.spec.overlap == Overlap::Refuse
            && let Some(run) = self.open_run(&origin, &label).await?
        {
            return Ok(Answer::Busy { run });
        }
        self.start(&request, (&origin, &label), &entry, (&scope, &fingerprint)).await
    }

    async fn start(
        self: &Arc<Self>,
        request: &EndpointRequest,
        (origin, label): (&str, &str),
        entry: &Entry,
        (scope, fingerprint): (&str, &str),
    ) -> Result<Answer, StoreError> {
        let (mut batch, mut effects) = (Batch::acceptance(), Effects::default());
        let by = Origination { origin, label };
        let published = match self.publish_root(&mut batch, &mut effects, by, entry) {
            Ok(published) => published,
            Err(error) => return Ok(Answer::Invalid { message: error.to_string() }),
        };
        if let Some(key) = &request.idempotency_key {
            let now = self.clock.now();
            let claim = ClaimRow {
                scope: scope.to_owned(),
                key: key.clone(),
                value: format!("{} {fingerprint}", published.run),
                expires: now.plus(Duration::from_secs(self.limits.idempotency_seconds)),
            };
            batch.claim(claim, now);
        }
        match self.accept(batch, effects).await {
            Ok(()) => Ok(Answer::Accepted { run: published.run }),
            Err(StoreError::Conflict { value, .. }) => Ok(seen_before(&value, fingerprint)),
            Err(error) => Err(error),
        }
    }

    async fn open_run(&self, origin: &str, label: &str) -> Result<Option<RunId>, StoreError> {
        let mut before = None;
        loop {
            let rows = self.store.runs(true, before, self.limits.page_rows).await?;
            let Some(last) = rows.last() else { return Ok(None) };
            before = Some(last.id);
            if let Some(row) = rows.iter().find(|row| row.origin == origin && row.label == label) {
                return Ok(Some(row.id));
            }
        }
    }
}

fn unknown_parameter(endpoint: &Endpoint, request: &EndpointRequest) -> Option<Answer> {
    request.path.iter().find_map(|(parameter, value)| {
        let known = endpoint.spec.params.get(parameter)?;
        (!known.contains(value)).then(|| Answer::Unknown {
            parameter: parameter.clone(),
            value: value.clone(),
            known: known.clone(),
        })
    })
}

fn event(endpoint: &Endpoint, request: &EndpointRequest, now: Timestamp) -> Result<Event, String> {
    let request = serde_json::to_value(request).map_err(|error| error.to_string())?;
    let mut scope = Scope::new(Env { now, seed: 0 });
    scope.bind("request", &request);
    let detail = endpoint.detail.eval(&scope).map_err(|error| error.to_string())?;
    let detail = match detail {
        Some(detail @ Value::Object(_)) => detail.to_string(),
        _ => return Err("the endpoint's `detail` gives no JSON object for this request".to_owned()),
    };
    Ok(Event {
        source: endpoint.spec.source.clone(),
        detail_type: endpoint.spec.detail_type.clone(),
        detail: RawValue::from_string(detail).map_err(|error| error.to_string())?,
        resources: Vec::new(),
        time: None,
    })
}

fn is_forced(
    endpoint: &Endpoint,
    request: &EndpointRequest,
    now: Timestamp,
) -> Result<bool, String> {
    let Some(force) = &endpoint.force else {
        return Ok(request.query.get("force").is_some_and(|value| value == "true"));
    };
    let request = serde_json::to_value(request).map_err(|error| error.to_string())?;
    let mut scope = Scope::new(Env { now, seed: 0 });
    scope.bind("request", &request);
    match force.eval(&scope).map_err(|error| format!("the endpoint's `force`: {error}"))? {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(force)) => Ok(force),
        Some(other) => {
            Err(format!("the endpoint's `force` gives {other} for this request, not true or false"))
        }
    }
}

/// The path's values, by which people know the run.
fn label(request: &EndpointRequest) -> String {
    let pairs: Vec<String> =
        request.path.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(" ")
}

fn fingerprint(request: &EndpointRequest) -> String {
    let asked = (&request.path, &request.query, &request.body);
    expression::hash(&serde_json::to_vec(&asked).unwrap_or_default())
}

fn seen_before(value: &str, fingerprint: &str) -> Answer {
    let (run, earlier) = value.split_once(' ').unwrap_or((value, ""));
    match run.parse() {
        Ok(run) if earlier == fingerprint => Answer::Again { run },
        Ok(run) => Answer::KeyReused { run },
        Err(error) => Answer::Invalid { message: format!("the claim '{value}': {error}") },
    }
}
