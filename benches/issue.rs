//! How fast tokens are issued, against the floor: a bare client that makes the objects and does just
//! the writes that the operator does, on a control plane like the operator's, in the same run.
//!
//! `make bench`; `APITOKEN_BENCH_TOKENS` says how many (2000).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that can't go on ends"
)]
#![allow(dead_code, reason = "the test bed has more than a benchmark needs")]

#[path = "../tests/integration/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use apitoken_operator::api::ApiToken;
use futures::{StreamExt, stream};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{ResourceExt, api::PostParams};
use serde_json::{Value, json};

use support::{control_plane::ControlPlane, eventually, operator::Program, tokens::Team};

/// Requests under way at once, as many as the operator has.
const AT_ONCE: usize = 32;

#[tokio::main]
async fn main() {
    let tokens: usize = std::env::var("APITOKEN_BENCH_TOKENS").map_or(2_000, |count| count.parse().unwrap());
    let floor = floor(tokens).await;
    let (operator, memory) = operator(tokens).await;
    let (floor_rate, rate) = (per_second(tokens, floor), per_second(tokens, operator));
    println!("tokens: {tokens}");
    println!("bare client: {:.1} s, {floor_rate:.0} a second", floor.as_secs_f64());
    println!(
        "operator:    {:.1} s, {rate:.0} a second, {:.2} of the bare client",
        operator.as_secs_f64(),
        rate / floor_rate
    );
    println!("operator's memory: {memory}");
}

fn per_second(tokens: usize, took: Duration) -> f64 {
    tokens as f64 / took.as_secs_f64()
}

/// One team with its namespace on a control plane of its own.
async fn bed(name: &str) -> (ControlPlane, Team) {
    let plane = ControlPlane::with_chart(name);
    let namespace = plane.namespace("bench").await;
    let team = Team::new(plane.admin().await, &namespace);
    (plane, team)
}

async fn floor(tokens: usize) -> Duration {
    let (plane, team) = bed("floor").await;
    let started = Instant::now();
    stream::iter(0..tokens)
        .for_each_concurrent(AT_ONCE, |number| bare_writes(&team, number))
        .await;
    let took = started.elapsed();
    plane.stop();
    took
}

/// What one token costs: the object, its Secret, its status and its Event, each as the operator writes it.
async fn bare_writes(team: &Team, number: usize) {
    let name = format!("token-{number}");
    let mut token = team.declare(&name, json!({})).await;
    let secret = serde_json::from_value(secret(&token)).unwrap();
    team.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    token.status = Some(serde_json::from_value(status(&name)).unwrap());
    let token = team
        .api::<ApiToken>()
        .replace_status(&name, &PostParams::default(), &token)
        .await
        .unwrap();
    let event = serde_json::from_value(event(&token)).unwrap();
    team.api::<Event>().create(&PostParams::default(), &event).await.unwrap();
}

fn secret(token: &ApiToken) -> Value {
    json!({
        "metadata": {
            "name": token.name_any(),
            "labels": { "app.kubernetes.io/managed-by": "apitoken-operator" },
            "annotations": {
                "apitoken.dev/api-token": token.name_any(), "apitoken.dev/uid": token.uid(), "apitoken.dev/token-id": "0123456789-1",
                "apitoken.dev/hash": "0".repeat(64), "apitoken.dev/issued-at": "2030-01-01T00:00:00Z",
            },
            "ownerReferences": [
                { "apiVersion": "apitoken.dev/v1alpha1", "kind": "ApiToken", "name": token.name_any(), "uid": token.uid(), "controller": true },
            ],
        },
        "stringData": { "token": "x".repeat(53) },
    })
}

fn status(name: &str) -> Value {
    let condition = |type_: &str, status: &str, message: String| {
        json!({
            "type": type_, "status": status, "reason": type_, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        })
    };
    json!({
        "observedGeneration": 1, "state": "Active", "attempts": 1,
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
        "token": {
            "id": "0123456789-1", "hint": "xxxx", "hash": "0".repeat(64), "name": name, "account": name, "issuedAt": "2030-01-01T00:00:00Z",
        },
        "secretRef": { "name": name, "resourceVersion": "1000" },
        "availableActions": { "activate": false, "suspend": true, "revoke": true, "rotate": false, "delete": true },
        "conditions": [
            condition("Ready", "True", format!("token 0123456789-1 is active; its value is in Secret {name}")),
            condition("Issued", "True", "token 0123456789-1 was issued".to_owned()),
            condition("SecretSynced", "True", format!("Secret {name} is as declared")),
            condition("Active", "True", "the token works".to_owned()),
            condition("Reconciling", "False", String::new()),
            condition("Stalled", "False", String::new()),
        ],
    })
}

fn event(token: &ApiToken) -> Value {
    json!({
        "metadata": { "generateName": format!("{}-", token.name_any()) },
        "type": "Normal", "reason": "Issued", "action": "Issued", "eventTime": "2030-01-01T00:00:00.000000Z",
        "note": format!("Issued token 0123456789-1; its value is in Secret {}, key token", token.name_any()),
        "reportingController": "apitoken-operator", "reportingInstance": "bench",
        "regarding": {
            "apiVersion": "apitoken.dev/v1alpha1", "kind": "ApiToken", "name": token.name_any(), "namespace": token.namespace(),
            "uid": token.uid(), "resourceVersion": token.resource_version(),
        },
    })
}

async fn operator(tokens: usize) -> (Duration, String) {
    let (plane, team) = bed("operator").await;
    let program = Program::start(&plane, &[]).await;
    let started = Instant::now();
    stream::iter(0..tokens)
        .for_each_concurrent(AT_ONCE, |number| {
            let team = team.clone();
            async move { drop(team.declare(&format!("token-{number}"), json!({})).await) }
        })
        .await;
    let active = format!("apitoken_tokens{{state=\"Active\",issuer=\"ClusterTokenIssuer/builtin\"}} {tokens}");
    eventually("all tokens are active", || async {
        program.get("/metrics").await.filter(|metrics| metrics.contains(&active))
    })
    .await;
    let took = started.elapsed();
    let memory = memory(program.pid());
    drop(program);
    plane.stop();
    (took, memory)
}

fn memory(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let lines = status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect::<Vec<_>>()
        .join(", ")
}
