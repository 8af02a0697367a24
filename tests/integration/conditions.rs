//! What stands in the way is said in a condition that says what to do, and heals at once when the
//! cause goes, without a restart.

use apitoken_operator::api::names;
use serde_json::json;

use crate::support::{Bed, control_plane::ControlPlane, operator::InProcess, tokens::Team};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_issuer_is_waited_for() {
    let Bed { team, operator, .. } = Bed::new("missing").await;
    team.declare("ci", json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } }))
        .await;
    team.reason("ci", "IssuerNotFound").await;
    team.issuer("own", json!({ "builtin": {} })).await;
    team.ready("ci").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_is_allowed_by_name_or_by_label() {
    let Bed { plane, team, operator } = Bed::new("allowed").await;
    let issuer = format!("by-label-{}", team.namespace);
    let selector = json!({ "selector": { "matchLabels": { "tokens": team.namespace } } });
    plane
        .cluster_issuer(&issuer, json!({ "builtin": {}, "allowedNamespaces": selector }))
        .await;
    team.declare("ci", json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": issuer } }))
        .await;
    team.reason("ci", "NamespaceNotAllowed").await;
    plane.kubectl(&["label", "namespace", &team.namespace, &format!("tokens={}", team.namespace)]);
    team.ready("ci").await;
    plane.kubectl(&["label", "namespace", &team.namespace, "tokens-"]);
    team.reason("ci", "NamespaceNotAllowed").await;
    plane
        .change_cluster_issuer(&issuer, json!({ "spec": { "allowedNamespaces": { "names": [team.namespace] } } }))
        .await;
    team.ready("ci").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_template_is_said_with_its_line_and_nothing_is_issued_before() {
    let Bed { team, operator, .. } = Bed::new("template").await;
    team.declare("ci", json!({ "secret": { "template": { "URL": "https://\n{{ tokn }}" } } }))
        .await;
    let token = team.reason("ci", "TemplateInvalid").await;
    let message = &token.status.as_ref().unwrap().conditions[0].message;
    assert!(message.contains("secret.template[URL], line 2"), "{message}");
    assert!(team.secret("ci").await.is_none());
    team.change("ci", json!({ "spec": { "secret": { "template": { "URL": "{{ token }}" } } } }))
        .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;

    team.change("ci", json!({ "spec": { "secret": { "template": { "URL": "{{ token }" } } } }))
        .await;
    team.reason("ci", "TemplateInvalid").await;
    assert_eq!(team.value("ci", "URL").await, value, "what is there stays");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_an_account_and_a_lifetime_are_what_the_issuer_allows() {
    let Bed { team, operator, .. } = Bed::new("policy").await;
    let spec = json!({ "builtin": { "allowedScopes": ["orders:*"] }, "policy": { "maxLifetime": "24h" } });
    team.issuer("own", spec).await;
    let own = json!({ "kind": "TokenIssuer", "name": "own" });
    team.declare("scope", json!({ "issuerRef": own, "lifetime": "1h", "scopes": ["admin"] }))
        .await;
    team.declare("account", json!({ "issuerRef": own, "lifetime": "1h", "account": "somebody.else" }))
        .await;
    team.declare("lifetime", json!({ "issuerRef": own })).await;
    team.reason("scope", "ScopeNotAllowed").await;
    team.reason("account", "AccountNotAllowed").await;
    team.reason("lifetime", "PolicyViolation").await;
    team.change("scope", json!({ "spec": { "scopes": ["orders:read"] } })).await;
    team.change("lifetime", json!({ "spec": { "lifetime": "24h" } })).await;
    team.ready("scope").await;
    team.ready("lifetime").await;
    operator.stop().await;
}

/// What is cluster-wide needs a control plane of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_default_issuer_and_several_are_said_and_heal() {
    let plane = ControlPlane::with_chart("defaults");
    let namespace = plane.namespace("defaults").await;
    let team = Team::new(plane.admin().await, &namespace);
    plane.cluster_issuer("builtin", json!({ "builtin": {} })).await;
    let operator = InProcess::start(&plane, &namespace).await;
    team.declare("ci", json!({})).await;
    team.reason("ci", "NoDefaultIssuer").await;

    let default = json!({ "metadata": { "annotations": { names::DEFAULT_ISSUER_ANNOTATION: "true" } } });
    plane.change_cluster_issuer("builtin", default.clone()).await;
    team.ready("ci").await;

    plane.cluster_issuer("second", json!({ "builtin": {} })).await;
    plane.change_cluster_issuer("second", default).await;
    team.declare("late", json!({})).await;
    let token = team.reason("late", "SeveralDefaultIssuers").await;
    assert!(token.status.unwrap().conditions[0].message.contains("builtin, second"));
    team.ready("ci").await;

    let none = json!({ "metadata": { "annotations": { names::DEFAULT_ISSUER_ANNOTATION: null } } });
    plane.change_cluster_issuer("builtin", none).await;
    team.ready("late").await;
    let issuer = team.token("ci").await.status.unwrap().issuer_ref.unwrap();
    assert_eq!(issuer.name, "builtin", "a changed default touches no token that exists");
    operator.stop().await;
    plane.stop();
}
