//! Probes and metrics over HTTP, for the cluster's own eyes, and the log level, for who is on this machine.

use std::{fmt, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{get, put},
};
use clap::ValueEnum;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::telemetry::{LevelSwitch, LogLevel};

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

/// What is shown of a program, and what can be set.
#[derive(Clone)]
pub struct Shown {
    /// The program.
    pub program: Arc<dyn Program>,
    /// How much it logs.
    pub level: LevelSwitch,
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

/// Answers `/livez`, `/readyz`, `/metrics` and `/log-level` until `shutdown`.
///
/// # Errors
/// Where the socket fails.
pub async fn serve(listener: TcpListener, shown: Shown, shutdown: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/log-level", put(log_level))
        .with_state(shown);
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

async fn livez(State(Shown { program, .. }): State<Shown>) -> impl IntoResponse {
    probe(program.stuck())
}

async fn readyz(State(Shown { program, .. }): State<Shown>) -> impl IntoResponse {
    probe(program.not_ready())
}

fn probe(problem: Option<&str>) -> impl IntoResponse {
    match problem {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn metrics(State(Shown { program, .. }): State<Shown>) -> impl IntoResponse {
    match program.metrics() {
        Ok(text) => (StatusCode::OK, [(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Who can ask over the network must not be able to fill the logs. `kubectl port-forward` comes from this machine.
async fn log_level(State(shown): State<Shown>, ConnectInfo(from): ConnectInfo<SocketAddr>, body: String) -> impl IntoResponse {
    if !is_this_machine(from) {
        return (StatusCode::FORBIDDEN, "only from this machine: use kubectl port-forward\n");
    }
    match LogLevel::from_str(body.trim(), true) {
        Ok(level) => {
            shown.level.set(level);
            (StatusCode::OK, "ok\n")
        }
        Err(_) => (StatusCode::BAD_REQUEST, "use error, warn, info, debug or trace\n"),
    }
}

fn is_this_machine(from: SocketAddr) -> bool {
    from.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_this_machine() {
        for (from, is) in [
            ("127.0.0.1:1", true),
            ("127.9.9.9:1", true),
            ("[::1]:1", true),
            ("[::ffff:127.0.0.1]:1", true),
            ("10.0.0.7:1", false),
            ("0.0.0.0:1", false),
            ("[::ffff:10.0.0.7]:1", false),
            ("[fd00::1]:1", false),
        ] {
            assert_eq!(is_this_machine(from.parse().unwrap()), is, "{from}");
        }
    }
}
