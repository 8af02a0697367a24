//! The main job: an ApiToken becomes a working Secret.

use apitoken_operator::issuers::builtin;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{
    Bed,
    tokens::{hash, recorded_hash},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_token_becomes_a_secret_and_its_user_sees_it() {
    let Bed { plane, team, operator } = Bed::new("smallest").await;
    team.declare("ci", json!({})).await;
    plane.kubectl(&[
        "wait",
        "--for=condition=Ready",
        "apitoken/ci",
        "-n",
        &team.namespace,
        "--timeout=60s",
    ]);
    let value = team.value("ci", "token").await;
    assert!(value.starts_with("apt_") && builtin::is_well_formed(&value));

    let token = team.token("ci").await;
    assert_eq!(recorded_hash(&token), hash(&value));
    assert_eq!(team.events("ci").await, ["Issued"]);
    let secret = team.secret("ci").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("Opaque"));
    assert_eq!(secret.owner_references()[0].uid, token.uid().unwrap());

    let table = plane.kubectl(&["get", "apitoken", "ci", "-n", &team.namespace]);
    for column in [
        "STATE",
        "READY",
        "ISSUER",
        "HINT",
        "Active",
        "True",
        "builtin",
        &value[value.len() - 4..],
    ] {
        assert!(table.contains(column), "{column} in {table}");
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_is_made_as_declared_and_gitops_marks_are_not_copied() {
    let Bed { team, operator, .. } = Bed::new("declared").await;
    let metadata = json!({
        "name": "docker",
        "labels": { "app.kubernetes.io/instance": "an-app", "kustomize.toolkit.fluxcd.io/name": "an-app" },
        "annotations": { "argocd.argoproj.io/tracking-id": "an-app:x" },
    });
    let spec = json!({ "secret": {
        "name": "registry", "type": "kubernetes.io/dockerconfigjson", "key": "password",
        "labels": { "team": "shop" }, "annotations": { "example.com/reload": "true" },
        "template": { ".dockerconfigjson": "{\"auths\":{\"registry.example.com\":{\"auth\":{{ (account ~ ':' ~ token) | b64encode | tojson }}}}}" },
        "deletionPolicy": "Retain",
    }});
    team.declare_with(metadata, spec).await;
    team.ready("docker").await;

    let secret = team.secret("registry").await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/dockerconfigjson"));
    assert_eq!(secret.labels().get("team").map(String::as_str), Some("shop"));
    assert_eq!(secret.annotations().get("example.com/reload").map(String::as_str), Some("true"));
    assert!(secret.owner_references().is_empty(), "a Secret that stays has no owner");
    let marks = secret.labels().keys().chain(secret.annotations().keys());
    assert!(
        marks
            .clone()
            .all(|name| !name.contains("argocd") && !name.contains("flux") && name != "app.kubernetes.io/instance")
    );
    assert!(team.value("registry", ".dockerconfigjson").await.contains("registry.example.com"));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_names_that_kubernetes_takes_work() {
    let Bed { team, operator, .. } = Bed::new(&format!("long-{}", "n".repeat(50))).await;
    let name = "a".repeat(253);
    team.declare(&name, json!({})).await;
    let token = team.ready(&name).await;
    assert_eq!(recorded_hash(&token), hash(&team.value(&name, "token").await));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_an_issuer_of_the_namespace_has_its_prefix() {
    let Bed { team, operator, .. } = Bed::new("prefix").await;
    team.issuer("own", json!({ "builtin": { "prefix": "shop" } })).await;
    team.declare("ci", json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } }))
        .await;
    team.ready("ci").await;
    assert!(team.value("ci", "token").await.starts_with("shop_"));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_that_fails_for_ever_does_not_slow_the_others() {
    let Bed { plane, team, operator } = Bed::new("failing").await;
    plane.deny_secrets(&team.namespace, "denied").await;
    let spec = json!({ "secret": { "name": "denied" } });
    team.declare("bad", spec).await;
    let failing = team.until("bad", "fails twice", |token| failures(token) >= 2).await;
    let message = &failing.status.as_ref().unwrap().conditions[0].message;
    assert!(
        message.contains("create Secret \"denied\"") && message.contains("admission"),
        "{message}"
    );

    for number in 0..20 {
        team.declare(&format!("good-{number}"), json!({})).await;
    }
    for number in 0..20 {
        team.ready(&format!("good-{number}")).await;
    }
    let writes = plane
        .audit()
        .writes(crate::support::control_plane::OPERATOR_USER, Default::default());
    let tries = writes
        .iter()
        .filter(|write| write.namespace == team.namespace && write.resource == "secrets" && write.code >= 400);
    assert!((2..=8).contains(&tries.count()), "it is tried later and later");

    plane.allow_secrets(&team.namespace);
    team.change("bad", json!({ "spec": { "description": "try now" } })).await;
    let healed = team.ready("bad").await;
    assert_eq!(failures(&healed), 0, "a success forgets the failures");
    operator.stop().await;
}

fn failures(token: &apitoken_operator::api::ApiToken) -> i32 {
    let failures = token.status.as_ref().and_then(|status| status.failures.as_ref());
    failures.map_or(0, |failures| failures.count)
}
