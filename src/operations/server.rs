//! Probes and metrics over HTTP, for the cluster's own eyes.

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The content type of the OpenMetrics text format.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown of a program.
pub trait Program: Send + Sync + 'static {
    /// Why it hangs, so that a restart helps; nothing where it does not, whatever else is wrong.
    fn stuck(&self) -> Option<&'static str>;

    /// Why it is not ready; nothing where it is.
    fn not_ready(&self) -> Option<&'static str>;

    /// What it counts, in the OpenMetrics text format.
    ///
    /// # Errors
    /// Where the text can't be written, which memory alone can cause.
    fn metrics(&self) -> Result<String, fmt::Error>;
}

/// The address can't be listened on.
#[derive(Debug, thiserror::Error)]
#[error("can't listen on {address}: {source}; set --admin-address to a free address")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Listens at once, so that an address in use ends the program before it does anything.
///
/// # Errors
/// Where the address is in use or not this machine's.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, source })
}

/// Answers `/livez`, `/readyz` and `/metrics` until `shutdown`.
///
/// # Errors
/// Where the socket fails.
pub async fn serve(listener: TcpListener, program: Arc<dyn Program>, shutdown: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(program);
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

async fn livez(State(program): State<Arc<dyn Program>>) -> impl IntoResponse {
    probe(program.stuck())
}

async fn readyz(State(program): State<Arc<dyn Program>>) -> impl IntoResponse {
    probe(program.not_ready())
}

fn probe(problem: Option<&str>) -> impl IntoResponse {
    match problem {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(program): State<Arc<dyn Program>>) -> impl IntoResponse {
    match program.metrics() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
