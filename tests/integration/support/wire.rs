//! What one operator does to the world, in its order: writes at the API server and calls to an
//! issuer. A test can cut it off before or after any of them.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::Method,
    response::Response,
};
use kube::Client;
use tokio::sync::Notify;

use super::proxy::Cut;

/// The way from one operator to the world.
#[derive(Clone, Default)]
pub struct Wire {
    inner: Arc<Mutex<Inner>>,
    is_cut: Arc<Notify>,
}

#[derive(Default)]
struct Inner {
    effects: Vec<String>,
    cut: Option<(usize, Cut)>,
    dead: bool,
}

impl Wire {
    /// From now on effects are counted anew, and the operator is cut off at the one of that number.
    pub fn arm(&self, cut: Option<(usize, Cut)>) {
        let mut inner = self.inner.lock().unwrap();
        inner.effects.clear();
        inner.cut = cut;
    }

    /// What was done since, such as `create` and `PUT apitokens/ci/status`.
    pub fn effects(&self) -> Vec<String> {
        self.inner.lock().unwrap().effects.clone()
    }

    /// Waits until the operator is cut off.
    pub async fn is_cut(&self) {
        let cut = tokio::time::timeout(super::DEADLINE, self.is_cut.notified()).await;
        assert!(cut.is_ok(), "never came that far: {:?}", self.effects());
    }

    /// A client that reaches the API server by this way.
    pub fn client(&self, upstream: Client) -> Client {
        Client::new(Router::new().fallback(pass).with_state((self.clone(), upstream)), "default")
    }

    /// Has the effect come about, and its answer come back, unless it is cut off.
    pub async fn pass<T>(&self, effect: String, come_about: impl Future<Output = T>) -> T {
        let cut = self.begin(effect);
        if cut == Some(Cut::Before) {
            self.end().await;
        }
        let answer = come_about.await;
        if cut == Some(Cut::After) {
            self.end().await;
        }
        answer
    }

    /// Where the effect is cut; once one was, nothing comes through any more.
    fn begin(&self, effect: String) -> Option<Cut> {
        let mut inner = self.inner.lock().unwrap();
        if inner.dead {
            return Some(Cut::Before);
        }
        let cut = inner.cut.filter(|(number, _)| *number == inner.effects.len()).map(|(_, cut)| cut);
        inner.effects.push(effect);
        inner.dead = cut.is_some();
        cut
    }

    async fn end(&self) {
        self.is_cut.notify_one();
        std::future::pending::<()>().await;
    }
}

async fn pass(State((wire, upstream)): State<(Wire, Client)>, request: Request) -> Response {
    let effect = effect(&request);
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let request = axum::http::Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    let answer = async { upstream.send(request).await.unwrap().map(Body::new) };
    match effect {
        Some(effect) => wire.pass(effect, answer).await,
        None => answer.await,
    }
}

/// A write that counts: to ApiTokens, issuers of the namespace and Secrets.
fn effect(request: &Request) -> Option<String> {
    let (_, within) = request.uri().path().split_once("/namespaces/")?;
    let (_, object) = within.split_once('/')?;
    let counts = ["apitokens", "tokenissuers", "secrets"].iter().any(|kind| object.starts_with(kind));
    (counts && request.method() != Method::GET).then(|| format!("{} {object}", request.method()))
}
