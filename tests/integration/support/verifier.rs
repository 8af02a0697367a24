//! The verifier under test: inside the test, with a clock that the test steps, and questions to it over real HTTP.

use std::{sync::Arc, time::Duration};

use apitoken_operator::{
    operations::server::Program as _,
    verifier::{self, Settings, Sockets, Verifier, tls},
};
use kube::Client;
use reqwest::{
    StatusCode,
    header::{HeaderMap, WWW_AUTHENTICATE},
};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{clock::TestClock, eventually};

/// A verifier that ends with its test.
pub struct InProcess {
    /// Where it answers over HTTP: `127.0.0.1:<port>`.
    pub http: String,
    /// Where it answers over gRPC.
    pub grpc: String,
    verifier: Arc<Verifier>,
    client: reqwest::Client,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

/// What a proxy is told of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200, or why not.
    pub status: u16,
    /// Header `WWW-Authenticate`.
    pub authenticate: Option<String>,
    /// The four headers for the service: subject, account, scopes, token id.
    pub identity: Option<[String; 4]>,
}

/// What a verifier is told that watches one namespace, and whose introspection anybody may use.
pub fn settings(namespace: &str) -> Settings {
    Settings {
        watch_namespaces: vec![namespace.to_owned()],
        single_namespace: false,
        introspection_audience: None,
        deny_when_stale: None,
        records_uses: false,
    }
}

impl InProcess {
    /// Starts one with that way to the API server, and waits until it is ready.
    pub async fn start(client: Client, clock: &TestClock, settings: Settings) -> Self {
        let started = Self::begin(client, clock, settings, None).await;
        eventually("the verifier is ready", || async { started.not_ready().is_none().then_some(()) }).await;
        started
    }

    /// Starts one, with TLS where there is a certificate.
    pub async fn begin(client: Client, clock: &TestClock, settings: Settings, certificate: Option<tls::Files>) -> Self {
        let (http, grpc) = (bind().await, bind().await);
        let address = |tcp: &TcpListener| tcp.local_addr().unwrap().to_string();
        let shutdown = CancellationToken::new();
        let verifier = verifier::verifier(&settings, Arc::new(clock.clone()));
        let (http_address, grpc_address) = (address(&http), address(&grpc));
        let sockets = Sockets {
            http,
            grpc: Some(grpc),
            certificate: certificate.map(|files| tls::Certificate::read(files).unwrap()),
        };
        let running = verifier::run(verifier.clone(), client, settings, sockets, shutdown.clone());
        let task = tokio::spawn(async move { running.await.unwrap() });
        Self {
            http: http_address,
            grpc: grpc_address,
            verifier,
            client: reqwest::Client::new(),
            shutdown,
            task,
        }
    }

    /// Why it is not ready.
    pub fn not_ready(&self) -> Option<&'static str> {
        self.verifier.not_ready()
    }

    /// What it counts.
    pub fn metrics(&self) -> String {
        self.verifier.metrics().unwrap()
    }

    /// Asks as a proxy does, with a question and the caller's token.
    pub async fn authorize(&self, question: &str, token: &str) -> Answer {
        let url = format!("http://{}/authorize?{question}", self.http);
        answer(self.client.get(url).bearer_auth(token)).await
    }

    /// Whether a token is let through, whatever else is asked.
    pub async fn accepts(&self, question: &str, token: &str) -> bool {
        self.authorize(question, token).await.status == 200
    }

    /// Waits until a token is let through, or not.
    pub async fn until_accepts(&self, question: &str, token: &str, accepts: bool) {
        let what = if accepts {
            "the token is let through"
        } else {
            "the token is turned away"
        };
        eventually(what, || async { (self.accepts(question, token).await == accepts).then_some(()) }).await;
    }

    /// Introspects, with a caller's own token or without.
    pub async fn introspect(&self, caller: Option<&str>, form: &[(&str, &str)]) -> (StatusCode, HeaderMap, Value) {
        let mut request = self.client.post(format!("http://{}/introspect", self.http)).body(encoded(form));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(caller) = caller {
            request = request.bearer_auth(caller);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    /// Ends it as SIGKILL does: nothing more is done.
    pub async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap();
    }
}

/// Sends what a proxy asks, and reads what it is told.
pub async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    let names = ["x-auth-subject", "x-auth-account", "x-auth-scopes", "x-auth-token-id"];
    let identity: Vec<String> = names.into_iter().filter_map(header).collect();
    Answer {
        status: response.status().as_u16(),
        authenticate: header(WWW_AUTHENTICATE.as_str()),
        identity: identity.try_into().ok(),
    }
}

/// A form in the encoding of HTML.
pub fn encoded(form: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

async fn bind() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}
