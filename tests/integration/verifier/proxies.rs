//! The real proxies with the files of examples/verifier, in front of applications: who gets through, and what the application is told.

mod hostile;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Gate;
use crate::support::{
    application::Arrived,
    front::{Front, Kind, Outcome},
    tokens::status,
    verifier::InProcess,
};

/// What the examples ask.
const QUESTION: &str = "issuer=ClusterTokenIssuer/builtin&scope=orders:read&audience=shop";
/// A question that asks less.
const LESS: &str = "issuer=ClusterTokenIssuer/builtin";
/// What the application is told, in order.
const NAMES: [&str; 4] = ["x-auth-account", "x-auth-scopes", "x-auth-subject", "x-auth-token-id"];

/// A gate, and all the proxies in front of applications.
struct Stage {
    gate: Gate,
    fronts: Vec<Front>,
}

impl Stage {
    async fn new(what: &str) -> Self {
        let gate = Gate::new(what).await;
        let start = |kind| Front::start(kind, asked_by(kind, &gate.verifier));
        let fronts = join_all(Kind::ALL.map(start)).await;
        Self { gate, fronts }
    }

    /// The value of a new token with these scopes, of the issuer and for the audience that the examples name.
    async fn token(&self, name: &str, scopes: &[&str]) -> String {
        issued(&self.gate, name, json!({ "scopes": scopes, "audiences": ["shop"] })).await
    }

    /// What the application is told of that token.
    async fn identity(&self, name: &str) -> Vec<(String, String)> {
        let team = &self.gate.bed.team;
        let token = team.token(name).await;
        let id = status(&token).token.unwrap().id.unwrap();
        let (account, subject) = (format!("{}.{name}", team.namespace), format!("{}/{name}", team.namespace));
        let values = [account, token.spec.scopes.join(" "), subject, id];
        NAMES.map(str::to_owned).into_iter().zip(values).collect()
    }
}

/// That no proxy wrote one of the tokens down.
fn wrote_none_of(tokens: &[&str], fronts: &[Front]) {
    for front in fronts {
        let log = front.log();
        assert!(
            !tokens.iter().any(|token| log.contains(token)),
            "{:?} wrote a token down",
            front.kind
        );
    }
}

/// Where that proxy asks.
fn asked_by(kind: Kind, verifier: &InProcess) -> &str {
    if kind == Kind::EnvoyGrpc { &verifier.grpc } else { &verifier.http }
}

/// Declares a token of the issuer that the examples name, and waits until the verifier knows it: its value.
async fn issued(gate: &Gate, name: &str, mut spec: Value) -> String {
    let team = &gate.bed.team;
    spec["issuerRef"] = json!({ "kind": "ClusterTokenIssuer", "name": "builtin" });
    team.declare(name, spec).await;
    team.ready(name).await;
    let value = team.value(name, "token").await;
    gate.verifier.until_accepts(LESS, &value, true).await;
    value
}

/// What the application was told, under whatever sign between the words.
fn identity(arrived: &Arrived) -> Vec<(String, String)> {
    let headers = arrived.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let told = headers.filter(|(name, _)| name.replace(['_', '.'], "-").starts_with("x-auth-"));
    let mut told: Vec<_> = told.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    told.sort();
    told
}

/// The one request that got through, which says who sends it.
fn passed<'a>(outcome: &'a Outcome, expected: &[(String, String)], why: &str) -> &'a Arrived {
    assert_eq!((outcome.answer.status, outcome.arrived.len()), (200, 1), "{why}");
    let arrived = &outcome.arrived[0];
    assert_eq!(identity(arrived), expected, "{why}");
    arrived
}

/// That a request did not get through, for that reason, and is told how it might.
fn refused(outcome: &Outcome, status: u16, why: &str) {
    assert_eq!((outcome.answer.status, outcome.arrived.len()), (status, 0), "{why}");
    let told = outcome.answer.all("www-authenticate");
    assert!(
        told.len() == 1 && told[0].starts_with("Bearer realm=\"apitoken\""),
        "{why}: {told:?}"
    );
    assert_eq!(told[0].contains("insufficient_scope"), status == 403, "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_token_passes_and_every_other_is_refused() {
    let stage = Stage::new("proxies").await;
    let right = stage.token("ci", &["orders:read", "orders:write"]).await;
    let weak = stage.token("weak", &["orders:write"]).await;
    let bank = issued(&stage.gate, "bank", json!({ "scopes": ["orders:read"], "audiences": ["bank"] })).await;
    let own = stage
        .gate
        .issued("own", json!({ "scopes": ["orders:read"], "audiences": ["shop"] }))
        .await;
    let expected = stage.identity("ci").await;
    let bearer = |token: &str| format!("Bearer {token}");
    let [right_, weak_, bank_, own_, wrong_] = [&right, &weak, &bank, &own, "apt_nobodys"].map(bearer);
    let (right_, wrong_) = (("Authorization", right_.as_str()), ("Authorization", wrong_.as_str()));
    let (key, other_key) = (("X-API-Key", right.as_str()), ("X-API-Key", "apt_nobodys"));
    let lower = format!("bearer {right}");
    for (headers, status, why) in [
        (&[right_][..], 200, "a right token"),
        (&[key], 200, "the other place"),
        (&[("authorization", lower.as_str())], 200, "in lower case"),
        (&[wrong_], 401, "nobody's token"),
        (&[other_key], 401, "nobody's token in the other place"),
        (&[], 401, "no token"),
        (&[("Authorization", right.as_str())], 401, "no scheme"),
        (&[("Cookie", right_.1)], 401, "a place for something else"),
        (&[("Authorization", bank_.as_str())], 401, "for another audience"),
        (&[("Authorization", own_.as_str())], 401, "of another issuer"),
        (&[("Authorization", weak_.as_str())], 403, "it lacks the scope"),
        (&[right_, key], 400, "in both places"),
        (&[right_, other_key], 400, "in both places"),
    ] {
        for front in &stage.fronts {
            let why = format!("{:?}: {why}", front.kind);
            let outcome = front.send("GET /orders?x=1", headers, b"").await;
            match status {
                200 => assert_eq!(passed(&outcome, &expected, &why).line, "GET /orders?x=1", "{why}"),
                _ => refused(&outcome, status, &why),
            }
            assert!(!outcome.answer.headers.iter().any(|(name, _)| name.starts_with("x-auth-")), "{why}");
        }
    }
    // Two lines of one name: nginx may refuse them before it asks, and Envoy makes them one that is no token.
    for headers in [
        [right_, wrong_],
        [wrong_, right_],
        [right_, right_],
        [key, other_key],
        [other_key, key],
    ] {
        for front in &stage.fronts {
            let outcome = front.send("GET /", &headers, b"").await;
            let status = if front.kind.is_envoy() { 401 } else { 400 };
            assert_eq!((outcome.answer.status, outcome.arrived.len()), (status, 0), "{:?}", front.kind);
        }
    }
    wrote_none_of(&[&right, &weak, &bank, &own], &stage.fronts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_request_after_a_suspension_is_refused() {
    let stage = Stage::new("proxies-suspended").await;
    let value = stage.token("ci", &["orders:read"]).await;
    // It keeps its connections, as the proxies do theirs to the verifier.
    let client = reqwest::Client::new();
    let answers = async |expected: u16| {
        for front in &stage.fronts {
            let request = client.get(format!("http://{}/", front.address)).bearer_auth(&value);
            let status = request.send().await.unwrap().status().as_u16();
            assert_eq!(
                (status, front.arrived().len()),
                (expected, usize::from(expected == 200)),
                "{:?}",
                front.kind
            );
        }
    };
    answers(200).await;
    for (state, status) in [("Suspended", 401), ("Active", 200), ("Revoked", 401)] {
        stage.gate.bed.team.change("ci", json!({ "spec": { "state": state } })).await;
        // The verifier learned of it: the proxies have nothing of their own to forget.
        stage.gate.verifier.until_accepts(QUESTION, &value, status == 200).await;
        answers(status).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_verifier_nobody_passes() {
    let stage = Stage::new("proxies-alone").await;
    let value = stage.token("ci", &["orders:read"]).await;
    let bearer = format!("Bearer {value}");
    let expected = stage.identity("ci").await;
    let requests = [&[("Authorization", bearer.as_str())][..], &[("X-API-Key", &value)], &[]];
    for front in &stage.fronts {
        passed(
            &front.send("GET /", requests[0], b"").await,
            &expected,
            &format!("{:?}", front.kind),
        );
    }
    let Stage { gate, fronts } = stage;
    let sockets = [gate.verifier.http.clone(), gate.verifier.grpc.clone()];
    let nobody_passes = async |why: &str| {
        for (front, headers) in fronts.iter().flat_map(|front| requests.map(|headers| (front, headers))) {
            let outcome = front.send("GET /", headers, b"").await;
            assert!(outcome.arrived.is_empty(), "{:?}: {why}", front.kind);
            assert!(
                (500..600).contains(&outcome.answer.status),
                "{:?}: {why}: {}",
                front.kind,
                outcome.answer.status
            );
        }
    };
    gate.verifier.stop().await;
    nobody_passes("it ended").await;
    let silent = join_all(sockets.iter().map(TcpListener::bind)).await;
    assert!(silent.iter().all(Result::is_ok));
    nobody_passes("it is silent").await;
    wrote_none_of(&[&value], &fronts);
}
