//! Errors as answers: a status, an error name and a message that says what to do.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use stepbus_runtime::{
    ActivityError, MapRunError, QueueError, RedriveError, StartError, TaskError,
};
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

impl From<RedriveError> for ApiError {
    fn from(error: RedriveError) -> Self {
        let message = error.to_string();
        match error {
            RedriveError::NotFound(_) => {
                ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", message)
            }
            RedriveError::NotRedrivable(_) => {
                ApiError::new(StatusCode::CONFLICT, "ExecutionNotRedrivable", message)
            }
            RedriveError::Invalid(_) => ApiError::invalid(message),
            RedriveError::Store(error) => error.into(),
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
            StartError::InvalidName(_) => {
                ApiError::new(StatusCode::BAD_REQUEST, "InvalidName", message)
            }
            StartError::NotExpress(_) => {
                ApiError::new(StatusCode::BAD_REQUEST, "StateMachineTypeNotSupported", message)
            }
            StartError::NameTaken { .. } => {
                ApiError::new(StatusCode::CONFLICT, "ExecutionAlreadyExists", message)
            }
            StartError::Store(error) => error.into(),
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            QueueError::Store(error) => error.into(),
            QueueError::NoQueue(_) => ApiError::new(StatusCode::NOT_FOUND, code, message),
            _ => ApiError::new(StatusCode::BAD_REQUEST, code, message),
        }
    }
}

impl From<TaskError> for ApiError {
    fn from(error: TaskError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            TaskError::Store(error) => error.into(),
            _ => ApiError::new(StatusCode::BAD_REQUEST, code, message),
        }
    }
}

impl From<ActivityError> for ApiError {
    fn from(error: ActivityError) -> Self {
        let (code, message) = (error.code(), error.to_string());
        match error {
            ActivityError::Store(error) => error.into(),
            ActivityError::ActivityDoesNotExist(_) => {
                ApiError::new(StatusCode::NOT_FOUND, code, message)
            }
            ActivityError::InvalidName(_) => ApiError::new(StatusCode::BAD_REQUEST, code, message),
        }
    }
}
