//! The operator is killed at each point of a first issue, and started again: one token, the same
//! value, no second Event.

use serde_json::json;

use crate::support::{
    control_plane::{self, OPERATOR_USER},
    operator::Program,
    proxy::{Cut, Fault, Proxy},
    tokens::{Team, hash, recorded_hash},
};

const CREATE_SECRET: (&str, &str) = ("POST", "/secrets");
const WRITE_STATUS: (&str, &str) = ("PUT", "/apitokens/ci/status");
const CREATE_EVENT: (&str, &str) = ("POST", "/events");

/// Kills the operator where it makes `call`; what the Secret held then, and the Events after a restart.
async fn killed_at(call: (&'static str, &'static str), cut: Cut) -> (String, usize) {
    let plane = control_plane::shared();
    let namespace = plane.namespace("killed").await;
    let team = Team::new(plane.admin().await, &namespace);
    let watch = format!("--watch-namespace={namespace}");
    let fault = Fault {
        method: call.0,
        path: call.1,
        cut,
    };
    let proxy = Proxy::start(plane.anonymous().await, fault).await;
    let by_proxy = plane.operator_kubeconfig(Some(proxy.address())).await;
    let operator = Program::start_with(plane, &by_proxy, &[&watch]).await;
    team.declare("ci", json!({})).await;
    proxy.holds_the_request().await;
    operator.kill();

    let before = team.value("ci", "token").await;
    let since = plane.audit().now();
    let operator = Program::start(plane, &[&watch]).await;
    let token = team.ready("ci").await;
    let value = team.value("ci", "token").await;
    assert_eq!(recorded_hash(&token), hash(&value));
    assert!(
        before.is_empty() || before == value,
        "the value that a consumer may have read stays"
    );
    assert_eq!(token.status.as_ref().unwrap().rotations, None);
    let (ended, _) = operator.terminate().await;
    assert!(ended.success());
    let writes = plane.audit().writes(OPERATOR_USER, since);
    let secrets = writes
        .iter()
        .filter(|write| write.namespace == namespace && write.resource == "secrets")
        .count();
    assert_eq!(
        secrets,
        usize::from(before.is_empty()),
        "a Secret that is there is not written again"
    );
    (before, team.events("ci").await.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_secret_is_created() {
    let (secret, events) = killed_at(CREATE_SECRET, Cut::Before).await;
    assert!(secret.is_empty());
    assert_eq!(events, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_secret_is_created_with_the_answer_lost() {
    let (secret, events) = killed_at(CREATE_SECRET, Cut::After).await;
    assert!(!secret.is_empty());
    assert_eq!(events, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_status_is_written() {
    let (secret, events) = killed_at(WRITE_STATUS, Cut::Before).await;
    assert!(!secret.is_empty());
    assert_eq!(events, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_status_is_written_with_the_answer_lost() {
    let (secret, events) = killed_at(WRITE_STATUS, Cut::After).await;
    assert!(!secret.is_empty());
    assert_eq!(events, 0, "an Event is news: it is lost rather than told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_event_is_created() {
    let (secret, events) = killed_at(CREATE_EVENT, Cut::Before).await;
    assert!(!secret.is_empty());
    assert_eq!(events, 0);
}
