//! The HTTP faces: the public listener with the endpoints a project declares, and the operators'
//! listener with the admin API, health and metrics. What an answer means is decided in `runtime`;
//! here it gets a status and a body.

mod admin;
mod error;
mod metrics;
mod public;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use stepbus_runtime::Engine;
use tokio::net::TcpListener;

/// What the faces need besides the engine.
#[derive(Debug, Clone)]
pub(crate) struct Face {
    pub engine: Arc<Engine>,
    /// Where the operators' listener can be reached, for "where to look".
    pub operators_url: Arc<str>,
}

/// Serves the endpoints of the project file, and nothing else, until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve_public(
    listener: TcpListener,
    engine: Arc<Engine>,
    operators_url: Arc<str>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let face = Face { engine, operators_url };
    // Each endpoint has a limit of its own, so the body is read where the endpoint is known.
    let router = Router::new().fallback(public::handle).with_state(face);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}

/// Serves operators: `/admin`, `/healthz` and `/metrics`, until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve_operators(
    listener: TcpListener,
    engine: Arc<Engine>,
    operators_url: Arc<str>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let limit = engine.limits().request_bytes;
    let face = Face { engine, operators_url };
    let router = Router::new()
        .nest("/admin", admin::routes())
        .route("/healthz", get(metrics::healthz))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(limit))
        .with_state(face);
    axum::serve(listener, router).with_graceful_shutdown(stop).await
}
