//! Tokens that are there already: taken over, found again, or left alone.

use apitoken_operator::{
    api::{ApiToken, conditions, conditions::ConditionType},
    issuers::Capabilities,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    clock::TestClock,
    control_plane::ControlPlane,
    eventually,
    issuer::{NAMELESS, PLAIN, READABLE, ScriptedIssuer},
    operator::InProcess,
    remote::{Remote, current_id, for_each, issuer_spec},
    tokens::{Team, is_true},
};

fn adopt(id: &str) -> Value {
    json!({ "adopt": { "tokenID": id } })
}

fn why_not_ready(token: &ApiToken) -> String {
    let conditions = &token.status.as_ref().unwrap().conditions;
    conditions::find(conditions, ConditionType::Ready).unwrap().message.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_value_is_shown_is_taken_over_with_it() {
    let remote = Remote::new("adopted", READABLE).await;
    let theirs = remote.issuer.plant(Some("made by hand"));
    remote.declare("ci", adopt(&theirs.id)).await;
    remote.team.ready("ci").await;
    remote.is_whole().await;
    assert_eq!(remote.issuer.calls(), [""; 0]);
    assert_eq!(remote.team.events("ci").await, ["Adopted"]);

    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    assert_eq!(remote.issuer.live_ids(), [theirs.id.as_str()], "what was taken over stays");
    assert_eq!(remote.ledger().await, [(theirs.id, "Retained".to_owned())]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_value_is_hidden_waits_for_a_rotation() {
    let remote = Remote::new("hidden", PLAIN).await;
    let theirs = remote.issuer.plant(Some("made by hand"));
    remote.declare("ci", adopt(&theirs.id)).await;
    let token = remote.team.reason("ci", "ValueUnknown").await;
    assert_eq!(current_id(&token), theirs.id);
    assert!(!is_true(&token, ConditionType::SecretSynced) && !is_true(&token, ConditionType::Stalled));
    assert!(remote.team.secret("ci").await.is_none());

    remote.ask_for_rotation("1").await;
    remote.rotated(1).await;
    assert_eq!(remote.issuer.calls(), ["create", "delete tok-1"]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_or_is_anothers_is_not_taken_over() {
    let remote = Remote::new("refused", READABLE).await;
    let theirs = remote.issuer.plant(None);
    remote.declare("first", adopt(&theirs.id)).await;
    remote.team.ready("first").await;
    for (name, id, why) in [
        ("missing", "tok-77", "no token with that id"),
        ("second", &theirs.id, "another ApiToken's"),
    ] {
        remote.declare(name, adopt(id)).await;
        let token = remote.team.reason(name, "AdoptionFailed").await;
        assert!(why_not_ready(&token).contains(why), "{name}: {}", why_not_ready(&token));
        assert!(remote.team.secret(name).await.is_none());
        remote.team.delete::<ApiToken>(name).await;
        remote.until_gone(name).await;
    }
    assert_eq!(remote.issuer.live_ids(), [theirs.id]);
    assert_eq!(remote.issuer.calls(), [""; 0]);
    assert!(remote.ledger().await.is_empty());
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_wide_issuer_has_nothing_taken_over_unless_it_says_so() {
    // With its own control plane: every operator sees every ClusterTokenIssuer.
    let plane = ControlPlane::with_chart("adoption");
    let namespace = plane.namespace("adoption").await;
    let team = Team::new(plane.admin().await, &namespace);
    let clock = TestClock::default();
    let issuer = ScriptedIssuer::new(READABLE, &clock);
    let issuers = std::sync::Arc::new(issuer.clone());
    let operator = InProcess::start_at(plane.operator().await, clock, issuers, &namespace).await;
    let theirs = issuer.plant(None);
    plane.credential("vendor").await;
    let object = json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "ClusterTokenIssuer", "metadata": { "name": "all" }, "spec": issuer_spec(json!({})) });
    let file = plane.dir().join("issuer.json");
    std::fs::write(&file, object.to_string()).unwrap();
    plane.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    let reference = json!({ "kind": "ClusterTokenIssuer", "name": "all" });
    team.declare("ci", json!({ "issuerRef": reference, "adopt": { "tokenID": theirs.id } }))
        .await;
    let token = team.reason("ci", "AdoptionFailed").await;
    assert!(why_not_ready(&token).contains("does not allow it"), "{}", why_not_ready(&token));

    plane.kubectl(&[
        "patch",
        "clustertokenissuer/all",
        "--type=merge",
        "-p",
        r#"{"spec":{"policy":{"adoption":"Allow"}}}"#,
    ]);
    assert_eq!(current_id(&team.ready("ci").await), theirs.id);
    operator.stop().await;
    plane.stop();
}

/// Somebody deletes the Secret of an issued token.
async fn lost_secret(can: Capabilities) -> (Remote, String) {
    let remote = Remote::issued("lost", can, json!({})).await;
    let value = remote.team.value("ci", "token").await;
    remote.clock.advance(SignedDuration::from_secs(10));
    let secrets: Api<Secret> = remote.team.api();
    secrets.delete("ci", &DeleteParams::default()).await.unwrap();
    eventually("there is a Secret again", || async { remote.team.secret("ci").await }).await;
    (remote, value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_value_that_is_shown_again_is_written_again() {
    let (remote, value) = lost_secret(READABLE).await;
    assert_eq!(remote.team.value("ci", "token").await, value);
    let token = remote.team.ready("ci").await;
    remote.is_whole().await;
    assert_eq!(token.status.unwrap().rotations, None);
    assert_eq!(remote.issuer.calls(), ["create"]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_value_that_is_hidden_is_replaced() {
    let (remote, value) = lost_secret(PLAIN).await;
    assert_ne!(remote.team.value("ci", "token").await, value);
    let token = remote.rotated(1).await;
    assert_eq!(token.status.unwrap().last_rotation_reason.as_deref(), Some("SecretMissing"));
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_somebody_removed_is_replaced_at_the_next_look() {
    for_each([PLAIN, READABLE], async |can| {
        let remote = Remote::issued("removed", can, json!({})).await;
        remote.issuer.remove("tok-1");
        remote.later(SignedDuration::from_mins(11)).await;
        let token = remote.rotated(1).await;
        assert_eq!(token.status.unwrap().last_rotation_reason.as_deref(), Some("TokenMissing"));
        assert_eq!(remote.issuer.calls(), ["create", "create"]);
        remote.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stray_token_with_our_marker_is_ended_and_all_others_are_left_alone() {
    let remote = Remote::issued("stray", PLAIN, json!({})).await;
    let ours = remote.issuer.token("tok-1").unwrap().name.unwrap();
    let (front, marker) = ours.split_once("k8s-").unwrap();
    let (cluster, rest) = marker.split_once('-').unwrap();
    let (uid, _) = rest.split_once('-').unwrap();
    for stray in [
        format!("{front}k8s-{cluster}-{uid}-9"),
        format!("renamed k8s-{cluster}-{uid}-7 4711"),
    ] {
        remote.issuer.plant(Some(&stray));
    }
    for other in [
        format!("{front}k8s-99999999-{uid}-9"),
        format!("{front}k8s-{cluster}-9999999999-9"),
        front.to_owned(),
        format!("{front}k8s-{cluster}-{uid}"),
    ] {
        remote.issuer.plant(Some(&other));
    }
    remote.later(SignedDuration::from_mins(11)).await;
    remote.until_live(&["tok-1", "tok-4", "tok-5", "tok-6", "tok-7"]).await;
    assert_eq!(remote.issuer.calls(), ["create", "delete tok-2", "delete tok-3"]);
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    assert_eq!(remote.issuer.live_ids(), ["tok-4", "tok-5", "tok-6", "tok-7"]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_kept_with_its_secret_is_taken_up_by_an_object_of_the_same_name() {
    let spec = json!({ "deletionPolicy": "Retain", "secret": { "deletionPolicy": "Retain" } });
    for_each([PLAIN, READABLE, NAMELESS], async |can| {
        let remote = Remote::issued("again", can, spec.clone()).await;
        let value = remote.team.value("ci", "token").await;
        remote.team.delete::<ApiToken>("ci").await;
        remote.until_gone("ci").await;
        remote.clock.advance(SignedDuration::from_secs(10));
        remote.declare("ci", spec.clone()).await;
        let token = remote.team.ready("ci").await;
        assert_eq!(current_id(&token), "tok-1");
        assert_eq!(remote.team.value("ci", "token").await, value);
        assert_eq!(remote.issuer.calls(), ["create"]);
        remote.is_whole().await;
        remote.stop().await;
    })
    .await;
}
