//! An application behind a proxy, which keeps what arrives.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::HeaderMap,
};
use tokio::net::TcpListener;

/// A request as it arrived.
pub struct Arrived {
    /// Method and target, such as `GET /orders?x=1`.
    pub line: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

type Requests = Arc<Mutex<Vec<Arrived>>>;

/// An application that runs as long as its test.
pub struct Application {
    /// Where it listens: `127.0.0.1:<port>`.
    pub address: String,
    requests: Requests,
}

impl Application {
    /// Starts one that says yes to everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Requests::default();
        let router = Router::new().fallback(keep).with_state(requests.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, requests }
    }

    /// What arrived since this was last asked.
    pub fn arrived(&self) -> Vec<Arrived> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

async fn keep(State(requests): State<Requests>, request: Request) {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let line = format!("{} {}", parts.method, parts.uri);
    let headers = parts.headers;
    requests.lock().unwrap().push(Arrived { line, headers, body });
}
