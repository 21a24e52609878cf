//! Calls of the endpoints that the project file declares.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use stepbus_connect::Secret;
use stepbus_model::RunId;
use stepbus_runtime::{Answer, Endpoint, EndpointRequest};

use crate::Face;
use crate::error::ApiError;

const API_KEY: &str = "x-api-key";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The longest Idempotency-Key that is remembered.
const IDEMPOTENCY_KEY_BYTES: usize = 255;
/// Headers that authenticate; they are kept out of events.
const CREDENTIALS: [&str; 3] = [API_KEY, "authorization", "cookie"];

pub(crate) async fn handle(State(face): State<Face>, request: Request) -> Response {
    match answer(&face, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn answer(face: &Face, request: Request) -> Result<Response, ApiError> {
    let (endpoint, path) = find(face, request.method(), request.uri().path())?;
    authenticate(&endpoint, request.headers())?;
    let request = read(face, &endpoint, path, request).await?;
    let answer = face.engine.call(&endpoint, request).await?;
    Ok(respond(face, &endpoint, answer))
}

type Parameters = BTreeMap<String, String>;

fn find(face: &Face, method: &Method, path: &str) -> Result<(Arc<Endpoint>, Parameters), ApiError> {
    let catalogue = face.engine.catalogue();
    let mut other_method = false;
    for endpoint in &catalogue.endpoints {
        if let Some(parameters) = parameters(&endpoint.spec.path, path) {
            if endpoint.spec.method == method.as_str() {
                return Ok((endpoint.clone(), parameters));
            }
            other_method = true;
        }
    }
    if other_method {
        let message = format!("{path} does not take {method}");
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message));
    }
    Err(ApiError::not_found(&format!("endpoint {method} {path}")))
}

/// The path's parameters, when it has the template's form.
fn parameters(template: &str, path: &str) -> Option<Parameters> {
    let mut parameters = Parameters::new();
    let (mut wanted, mut given) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(parameters),
            (Some(wanted), Some(given)) => {
                match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if !given.is_empty() => {
                        parameters.insert(name.to_owned(), percent_decode(given));
                    }
                    _ if wanted == given => {}
                    _ => return None,
                }
            }
            _ => return None,
        }
    }
}

fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn authenticate(endpoint: &Endpoint, headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(API_KEY).or_else(|| headers.get(header::AUTHORIZATION));
    let given = given.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = given.strip_prefix("Bearer ").unwrap_or(given);
    if same(given, &endpoint.spec.api_key) {
        return Ok(());
    }
    let message = format!("send the endpoint's API key in the header {API_KEY}");
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "Unauthorized", message))
}

/// Compares digests, so that the time it takes says nothing about the key.
fn same(given: &str, key: &Secret) -> bool {
    !key.expose().is_empty() && Sha256::digest(given) == Sha256::digest(key.expose())
}

async fn read(
    face: &Face,
    endpoint: &Endpoint,
    path: Parameters,
    request: Request,
) -> Result<EndpointRequest, ApiError> {
    let limit = endpoint.spec.max_body_bytes.unwrap_or(face.engine.limits().request_bytes);
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, limit).await.map_err(|_| {
        let message = format!("the body is larger than {limit} bytes, or broke off");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", message)
    })?;
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| ApiError::invalid(format!("the body is no UTF-8 text: {error}")))?;
        let json = is_json(&parts.headers);
        match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) if json => {
                return Err(ApiError::invalid(format!("the body is no JSON: {error}")));
            }
            Err(_) => Value::from(text),
        }
    };
    let idempotency_key = idempotency_key(&parts.headers)?;
    let query = parts.uri.query().unwrap_or_default();
    let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    Ok(EndpointRequest { path, query, headers: plain(&parts.headers), body, idempotency_key })
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    content_type.and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains("json"))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(key) if (1..=IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(ApiError::invalid(format!(
            "Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES} visible ASCII characters"
        ))),
    }
}

fn plain(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter(|(name, _)| !CREDENTIALS.contains(&name.as_str()))
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect()
}

fn respond(face: &Face, endpoint: &Endpoint, answer: Answer) -> Response {
    let look = |run: RunId| format!("{}/admin/runs/{run}", face.operators_url);
    match answer {
        Answer::Accepted { run } => {
            let body = json!({ "run": run, "look": look(run), "again": false });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Answer::Again { run } => {
            let body = json!({ "run": run, "look": look(run), "again": true });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Answer::Busy { run } => {
            let message =
                format!("{run} is still open, and '{}' runs one at a time", endpoint.spec.name);
            let body = json!({ "error": "RunInProgress", "message": message, "run": run, "look": look(run) });
            (StatusCode::CONFLICT, Json(body)).into_response()
        }
        Answer::Unknown { parameter, value, known } => {
            let message = format!("unknown {parameter} '{value}'; there are: {}", known.join(", "));
            ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message).into_response()
        }
        Answer::KeyReused { run } => {
            let message =
                format!("this Idempotency-Key came with another request before, as {run}");
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            ApiError::new(status, "IdempotencyKeyReused", message).into_response()
        }
        Answer::Invalid { message } => ApiError::invalid(message).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_meet_templates() {
        let check = |template: &str, path: &str, expected: Option<&[(&str, &str)]>| {
            let expected = expected.map(|pairs| {
                pairs
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect()
            });
            assert_eq!(parameters(template, path), expected, "{template} {path}");
        };
        check("/sync/{container}", "/sync/products", Some(&[("container", "products")]));
        check("/sync/{container}", "/sync/a%20b", Some(&[("container", "a b")]));
        check("/sync/{container}", "/sync/", None);
        check("/sync/{container}", "/sync/a/b", None);
        check("/sync", "/sync", Some(&[]));
    }

    #[test]
    fn an_empty_key_lets_nobody_in() {
        assert!(same("s3cret", &Secret::from("s3cret")));
        assert!(!same("s3creT", &Secret::from("s3cret")));
        assert!(!same("", &Secret::from("")));
    }
}
