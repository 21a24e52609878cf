//! Errors as answers: a status, an error name and a message that says what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use stepbus_runtime::{MapRunError, StartError};
use stepbus_store::StoreError;

#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    error: &'static str,
    message: String,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, error, message: message.into() }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        let message = format!("there is no {what}");
        ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "ValidationException", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Full => {
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "InsufficientStorage", message)
            }
            StoreError::Gone(_) => ApiError::new(StatusCode::CONFLICT, "ResourceInUse", message),
            StoreError::Conflict { .. } => ApiError::new(StatusCode::CONFLICT, "Conflict", message),
            _ => {
                tracing::error!(error = message, "the store did not answer");
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
            }
        }
    }
}

impl From<MapRunError> for ApiError {
    fn from(error: MapRunError) -> Self {
        match error {
            MapRunError::NotFound(what) => ApiError::not_found(&what),
            MapRunError::Invalid(what) => ApiError::invalid(what),
            MapRunError::Store(error) => error.into(),
        }
    }
}

impl From<StartError> for ApiError {
    fn from(error: StartError) -> Self {
        let message = error.to_string();
        match error {
            StartError::NoWorkflow(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "StateMachineDoesNotExist", message)
            }
            StartError::NameTaken { .. } => {
                ApiError::new(StatusCode::CONFLICT, "ExecutionAlreadyExists", message)
            }
            StartError::Store(error) => error.into(),
        }
    }
}
