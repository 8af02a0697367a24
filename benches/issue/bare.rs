//! The floor: a bare client that makes the objects and does just the writes that the operator does, each as large as its.
//! It needs no watch.

use std::time::{Duration, Instant};

use apitoken_operator::api::ApiToken;
use futures::{StreamExt, stream};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{ResourceExt, api::PostParams};
use serde_json::{Value, json};

use super::{
    support::tokens::Team,
    world::{AT_ONCE, World},
};

/// How long so many tokens take.
pub async fn issue(tokens: usize, foreign_secrets: usize) -> Duration {
    let world = World::new("floor", foreign_secrets).await;
    let started = Instant::now();
    stream::iter(0..tokens)
        .for_each_concurrent(AT_ONCE, |number| writes(world.team(number), number))
        .await;
    let took = started.elapsed();
    world.plane.stop();
    took
}

/// What one token costs: the object, its Secret, its status and its Event.
async fn writes(team: &Team, number: usize) {
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
