//! A proxy between operator and API server that can hold one request, so that a test can kill the
//! operator at exactly that point.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use kube::Client;
use tokio::{net::TcpListener, sync::Notify};

/// Where the request is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The API server never sees it.
    Before,
    /// The API server has done it, the operator never gets the answer.
    After,
}

/// One request to be held.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// Its method.
    pub method: &'static str,
    /// What its path ends with.
    pub path: &'static str,
    /// Where it is held.
    pub cut: Cut,
}

/// A proxy that runs as long as its test.
pub struct Proxy {
    address: String,
    held: Arc<Notify>,
}

struct Inner {
    upstream: Client,
    fault: Mutex<Option<Fault>>,
    held: Arc<Notify>,
}

impl Proxy {
    /// Starts one in front of `upstream`, which passes the caller's identity on.
    pub async fn start(upstream: Client, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let held = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            upstream,
            fault: Mutex::new(Some(fault)),
            held: held.clone(),
        });
        let router = Router::new().fallback(pass).with_state(inner);
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, held }
    }

    /// Where the operator is to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Waits until the request is held.
    pub async fn holds_the_request(&self) {
        tokio::time::timeout(super::DEADLINE, self.held.notified())
            .await
            .expect("the request never came");
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let cut = inner.take_fault(&request);
    if cut == Some(Cut::Before) {
        inner.hold().await;
    }
    let response = inner.forward(request).await;
    if cut == Some(Cut::After) {
        inner.hold().await;
    }
    response
}

impl Inner {
    fn take_fault(&self, request: &Request) -> Option<Cut> {
        let mut fault = self.fault.lock().unwrap();
        let hit = fault.filter(|fault| request.method() == fault.method && request.uri().path().ends_with(fault.path))?;
        *fault = None;
        Some(hit.cut)
    }

    async fn hold(&self) {
        self.held.notify_one();
        std::future::pending::<()>().await;
    }

    async fn forward(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        drop_connection_headers(&mut parts.headers);
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let request = axum::http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
        match self.upstream.send(request).await {
            Ok(response) => {
                let (mut parts, body) = response.into_parts();
                drop_connection_headers(&mut parts.headers);
                Response::from_parts(parts, Body::new(body))
            }
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    }
}

fn drop_connection_headers(headers: &mut HeaderMap) {
    for name in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH] {
        headers.remove(name);
    }
}
