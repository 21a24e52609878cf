//! Subscriptions and destinations: how they stand, and the hand that stops and starts them.

use std::time::Duration;

use axum::Json;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};
use stepbus_model::ResourceId;
use stepbus_runtime::{AuditView, DestinationView, SubscriptionView, Trial};
use stepbus_store::ResourceKind;

use super::Page;
use crate::Face;
use crate::error::ApiError;

/// How long an answer waits for what is in flight.
const PATIENCE: Duration = Duration::from_secs(20);
const USER: &str = "x-stepbus-user";
const USER_BYTES: usize = 64;

/// Who asks, as the audit has it: what the client calls itself, else `operator`.
#[derive(Debug)]
pub(super) struct Who(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Who {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(USER) else { return Ok(Who("operator".to_owned())) };
        match value.to_str() {
            Ok(name) if (1..=USER_BYTES).contains(&name.len()) => Ok(Who(name.to_owned())),
            _ => Err(ApiError::invalid(format!(
                "{USER} must be 1 to {USER_BYTES} visible ASCII characters"
            ))),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    #[serde(default)]
    reason: String,
}

pub(super) async fn subscriptions(
    State(face): State<Face>,
) -> Result<Json<Vec<SubscriptionView>>, ApiError> {
    Ok(Json(face.engine.subscriptions().await?))
}

/// One subscription, with what the project file says of it.
pub(super) async fn subscription(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let missing = || ApiError::not_found(&format!("subscription '{name}'"));
    let all = face.engine.subscriptions().await?;
    let view = all.into_iter().find(|view| view.subscription == name).ok_or_else(missing)?;
    let catalogue = face.engine.catalogue();
    let declared = catalogue.subscriptions.get(&view.id);
    let mut answer = json!(view);
    answer["version"] = json!(declared.map(|found| found.version));
    answer["spec"] = json!(declared.map(|found| &found.spec));
    Ok(Json(answer))
}

pub(super) async fn destinations(State(face): State<Face>) -> Json<Vec<DestinationView>> {
    Json(face.engine.destinations())
}

pub(super) async fn destination(
    State(face): State<Face>,
    Path(name): Path<String>,
) -> Result<Json<DestinationView>, ApiError> {
    let found = face.engine.destinations().into_iter().find(|view| view.destination == name);
    found.map(Json).ok_or_else(|| ApiError::not_found(&format!("destination '{name}'")))
}

fn named(face: &Face, kind: ResourceKind, name: &str) -> Result<ResourceId, ApiError> {
    let found = face.engine.resource_named(kind, name);
    found.ok_or_else(|| ApiError::not_found(&format!("{} '{name}'", kind.name())))
}

/// What an operator may hold up: `/{listing}/{name}/…`.
pub(super) struct Thing {
    id: ResourceId,
    name: String,
}

impl FromRequestParts<Face> for Thing {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, face: &Face) -> Result<Self, ApiError> {
        let path = Path::<(String, String)>::from_request_parts(parts, face).await;
        let Path((listing, name)) = path.map_err(|error| ApiError::invalid(error.to_string()))?;
        let kind = match listing.as_str() {
            "subscriptions" => ResourceKind::Subscription,
            "destinations" => ResourceKind::Destination,
            "schedules" => ResourceKind::Schedule,
            _ => return Err(ApiError::not_found("such admin route")),
        };
        let id = named(face, kind, &name)?;
        Ok(Thing { id, name })
    }
}

pub(super) async fn pause(
    State(face): State<Face>,
    Thing { id, name }: Thing,
    Who(who): Who,
    Json(why): Json<Why>,
) -> Result<Json<Value>, ApiError> {
    let held = face.engine.pause(id, &who, &why.reason).await?;
    let in_flight = face.engine.in_flight(id);
    Ok(Json(json!({ "name": name, "paused": held, "in_flight": in_flight })))
}

pub(super) async fn resume(
    State(face): State<Face>,
    Thing { id, name }: Thing,
    Who(who): Who,
) -> Result<Json<Value>, ApiError> {
    let resumed = face.engine.unpause(id, &who).await?;
    Ok(Json(json!({ "name": name, "resumed": resumed })))
}

/// Pauses, if it is not paused yet, and waits until nothing is in flight.
pub(super) async fn drain(
    State(face): State<Face>,
    Thing { id, name }: Thing,
    Who(who): Who,
    Json(why): Json<Why>,
) -> Result<Json<Value>, ApiError> {
    if face.engine.held(id).is_none() {
        face.engine.pause(id, &who, &why.reason).await?;
    }
    let drained = face.engine.drain(id, PATIENCE).await;
    Ok(Json(json!({
        "name": name,
        "paused": face.engine.held(id),
        "drained": drained.drained,
        "in_flight": drained.in_flight,
    })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Try {
    payload: Value,
}

pub(super) async fn try_destination(
    State(face): State<Face>,
    Path(name): Path<String>,
    Json(wish): Json<Try>,
) -> Result<Json<Trial>, ApiError> {
    named(&face, ResourceKind::Destination, &name)?;
    Ok(Json(face.engine.try_destination(&name, &wish.payload).await))
}

#[derive(Debug, Deserialize)]
pub(super) struct Audit {
    before: Option<u64>,
    limit: Option<usize>,
}

/// What operators did, newest first.
pub(super) async fn audit_log(
    State(face): State<Face>,
    Query(query): Query<Audit>,
) -> Result<Json<Vec<AuditView>>, ApiError> {
    let limit = Page { limit: query.limit }.size(face.engine.limits().page_rows)?;
    Ok(Json(face.engine.audit_log(query.before, limit).await?))
}
