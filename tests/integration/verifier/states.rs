//! State by state: what is written in an ApiToken decides at the gate.

use apitoken_operator::api::ApiToken;
use jiff::SignedDuration;
use serde_json::json;

use super::{Gate, ISSUER};
use crate::support::{
    eventually,
    tokens::status,
    verifier::{Answer, InProcess},
};

const INVALID: &str = "Bearer realm=\"apitoken\", error=\"invalid_token\"";

fn turned_away() -> Answer {
    Answer {
        status: 401,
        authenticate: Some(INVALID.to_owned()),
        identity: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_let_through_as_long_as_its_apitoken_says_so() {
    let gate = Gate::new("gate-states").await;
    let (team, verifier, question) = (&gate.bed.team, &gate.verifier, &gate.question);
    let value = gate.issued("ci", json!({ "scopes": ["orders:read"] })).await;
    let token = team.token("ci").await;
    let id = status(&token).token.unwrap().id.unwrap();
    let subject = format!("{}/ci", team.namespace);
    let account = format!("{}.ci", team.namespace);
    let passed = Answer {
        status: 200,
        authenticate: None,
        identity: Some([subject, account, "orders:read".to_owned(), id]),
    };
    assert_eq!(verifier.authorize(question, &value).await, passed);
    assert_eq!(verifier.authorize(question, "apt_nobodys").await, turned_away());
    assert_eq!(
        verifier.authorize("", &value).await,
        turned_away(),
        "another issuer than the default one"
    );

    team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    verifier.until_accepts(question, &value, false).await;
    assert_eq!(verifier.authorize(question, &value).await, turned_away(), "as if nobody had it");
    team.change("ci", json!({ "spec": { "state": "Active" } })).await;
    verifier.until_accepts(question, &value, true).await;

    team.change("ci", json!({ "spec": { "state": "Revoked" } })).await;
    verifier.until_accepts(question, &value, false).await;
    assert_eq!(verifier.authorize(question, &value).await, turned_away());
    for (reason, result) in [
        ("accepted", "accepted"),
        ("suspended", "denied"),
        ("revoked", "denied"),
        ("unknown", "denied"),
    ] {
        let line = format!("apitoken_verifier_decisions_total{{result=\"{result}\",reason=\"{reason}\"}}");
        let metrics = verifier.metrics();
        let count = metrics.lines().find_map(|found| found.strip_prefix(&line)).unwrap().trim();
        assert_ne!(count, "0", "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_overlap_both_values_are_let_through_then_only_the_new_one() {
    let gate = Gate::new("gate-overlap").await;
    let (team, verifier, question) = (&gate.bed.team, &gate.verifier, &gate.question);
    let old = gate
        .issued("ci", json!({ "rotation": { "interval": "240h", "overlap": "1h" } }))
        .await;
    team.request("ci", "now").await;
    team.rotated("ci", 1).await;
    let new = team.value("ci", "token").await;
    verifier.until_accepts(question, &new, true).await;
    assert!(verifier.accepts(question, &old).await, "the overlap runs");
    // Nobody writes anything: the verifier's own clock ends it.
    gate.clock().advance(SignedDuration::from_mins(61));
    assert!(!verifier.accepts(question, &old).await);
    assert!(verifier.accepts(question, &new).await);

    team.leaked("ci", "leaked").await;
    verifier.until_accepts(question, &new, false).await;
    team.rotated("ci", 2).await;
    let newest = team.value("ci", "token").await;
    verifier.until_accepts(question, &newest, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_ends_at_its_time_without_anybody_writing_it() {
    let gate = Gate::new("gate-expiry").await;
    let value = gate.issued("ci", json!({ "lifetime": "1h" })).await;
    gate.clock().advance(SignedDuration::from_mins(59));
    assert!(gate.verifier.accepts(&gate.question, &value).await);
    gate.clock().advance(SignedDuration::from_mins(1));
    assert!(!gate.verifier.accepts(&gate.question, &value).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_is_turned_away() {
    let gate = Gate::new("gate-deletion").await;
    let value = gate.issued("ci", json!({})).await;
    gate.bed.team.delete::<ApiToken>("ci").await;
    gate.verifier.until_accepts(&gate.question, &value, false).await;
    // While its Secret is not collected yet, one of the same name would take the value up.
    let is_gone = async || gate.bed.team.secret("ci").await.is_none().then_some(());
    eventually("the Secret is collected", is_gone).await;
    let again = gate.issued("ci", json!({})).await;
    assert_ne!(again, value);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_issuer_allows_counts_at_the_moment_of_the_question() {
    let gate = Gate::new("gate-issuer").await;
    let (team, verifier, question) = (&gate.bed.team, &gate.verifier, &gate.question);
    let value = gate
        .issued("ci", json!({ "scopes": ["orders:read", "orders:write"], "audiences": ["shop"] }))
        .await;
    let asked = |rest: &str| format!("{question}&{rest}");
    let (write, shop) = (asked("scope=orders:write"), asked("audience=shop"));
    assert!(verifier.accepts(&write, &value).await);
    assert!(verifier.accepts(&shop, &value).await);
    assert_eq!(verifier.authorize(&asked("audience=bank"), &value).await, turned_away());
    assert_eq!(verifier.authorize(&asked("namespace=elsewhere"), &value).await, turned_away());
    let lacking = verifier.authorize(&asked("scope=orders:read+admin"), &value).await;
    let told = "Bearer realm=\"apitoken\", error=\"insufficient_scope\", scope=\"orders:read admin\"";
    assert_eq!((lacking.status, lacking.authenticate.as_deref()), (403, Some(told)));

    let allowed = json!({ "spec": { "builtin": { "allowedScopes": ["orders:read"], "allowedAudiences": ["bank"] } } });
    change_issuer(team, allowed).await;
    verifier.until_accepts(&write, &value, false).await;
    verifier.until_accepts(&shop, &value, false).await;
    let cut = verifier.authorize(question, &value).await;
    assert_eq!(cut.identity.unwrap()[2], "orders:read", "the other scope is not allowed any more");
}

async fn change_issuer(team: &crate::support::tokens::Team, patch: serde_json::Value) {
    use apitoken_operator::api::TokenIssuer;
    use kube::api::{Patch, PatchParams};
    let api = team.api::<TokenIssuer>();
    api.patch(ISSUER, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_issuer_lets_the_namespaces_through_that_it_allows() {
    let gate = Gate::new("gate-namespaces").await;
    let (team, plane) = (&gate.bed.team, gate.bed.plane);
    let name = format!("for-{}", team.namespace);
    let here = json!([team.namespace]);
    plane
        .cluster_issuer(&name, json!({ "builtin": {}, "allowedNamespaces": { "names": here } }))
        .await;
    team.declare("ci", json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": name } }))
        .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    let question = format!("issuer=ClusterTokenIssuer/{name}");
    let accepts = async |accepts| InProcess::until_accepts(&gate.verifier, &question, &value, accepts).await;
    accepts(true).await;
    let allow = async |namespaces| {
        plane
            .change_cluster_issuer(&name, json!({ "spec": { "allowedNamespaces": namespaces } }))
            .await
    };
    allow(json!({ "names": ["elsewhere"] })).await;
    accepts(false).await;
    let selector = json!({ "matchLabels": { "gate": team.namespace } });
    allow(json!({ "names": null, "selector": selector })).await;
    assert!(!gate.verifier.accepts(&question, &value).await, "no namespace has that label");
    plane.kubectl(&["label", "namespace", &team.namespace, &format!("gate={}", team.namespace)]);
    accepts(true).await;
    plane.kubectl(&["label", "namespace", &team.namespace, "gate-"]);
    accepts(false).await;
}
