//! A proxy between operator and API server that can hold one request, so that a test can kill the
//! operator at exactly that point.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
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
pub struct Fault {
    hits: Box<dyn Fn(&Method, &str) -> bool + Send>,
    skip: usize,
    cut: Cut,
}

impl Fault {
    /// The first request of that method whose path ends so.
    pub fn at(method: &'static str, path: &'static str, cut: Cut) -> Self {
        Self {
            hits: Box::new(move |of, to| of == method && to.ends_with(path)),
            skip: 0,
            cut,
        }
    }

    /// The write of that number, from 0, of a Secret or an ApiToken in the namespace.
    pub fn at_write(namespace: &str, number: usize, cut: Cut) -> Self {
        let within = ["secrets", "apitokens"].map(|kind| format!("/namespaces/{namespace}/{kind}"));
        Self {
            hits: Box::new(move |of, to| of != Method::GET && within.iter().any(|path| to.contains(path))),
            skip: number,
            cut,
        }
    }

    /// Whether this is the request, after those that are let pass.
    fn is_hit(&mut self, request: &Request) -> bool {
        if !(self.hits)(request.method(), request.uri().path()) {
            return false;
        }
        let passes = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        !passes
    }
}

/// A proxy that runs as long as its test.
pub struct Proxy {
    address: String,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: Client,
    fault: Mutex<Option<Fault>>,
    held: Notify,
    let_go: Notify,
}

impl Proxy {
    /// Starts one in front of `upstream`, which passes the caller's identity on.
    pub async fn start(upstream: Client) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            upstream,
            fault: Mutex::default(),
            held: Notify::new(),
            let_go: Notify::new(),
        });
        let router = Router::new().fallback(pass).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, inner }
    }

    /// Holds a request from now on.
    pub fn hold(&self, fault: Fault) {
        *self.inner.fault.lock().unwrap() = Some(fault);
    }

    /// Where the operator is to connect to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Lets the request go on that is held.
    pub fn let_go(&self) {
        self.inner.let_go.notify_one();
    }

    /// Waits until the request is held.
    pub async fn holds_the_request(&self) {
        tokio::time::timeout(super::DEADLINE, self.inner.held.notified())
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
        let hit = fault.take_if(|fault| fault.is_hit(request))?;
        Some(hit.cut)
    }

    async fn hold(&self) {
        self.held.notify_one();
        self.let_go.notified().await;
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
