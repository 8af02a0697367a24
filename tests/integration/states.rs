//! The states that need no new value: Active, Suspended, Revoked, and a pause.

use apitoken_operator::api::{ApiToken, api_token::ObservedState, conditions::ConditionType, names};
use kube::ResourceExt;
use serde_json::json;

use crate::support::{
    Bed,
    tokens::{is_true, recorded_hash, state},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_suspended_activated_and_revoked() {
    let Bed { plane, team, operator } = Bed::new("states").await;
    team.declare("ci", json!({})).await;
    let hash = recorded_hash(&team.ready("ci").await);

    team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    let token = team.ready("ci").await;
    assert_eq!(
        (state(&token), is_true(&token, ConditionType::Active)),
        (Some(ObservedState::Suspended), false)
    );

    team.change("ci", json!({ "spec": { "state": "Active" } })).await;
    let token = team.ready("ci").await;
    assert_eq!(
        (state(&token), is_true(&token, ConditionType::Active)),
        (Some(ObservedState::Active), true)
    );
    assert_eq!(recorded_hash(&token), hash, "the same value");

    team.change("ci", json!({ "spec": { "state": "Revoked" } })).await;
    let token = team.ready("ci").await;
    assert_eq!(state(&token), Some(ObservedState::Revoked));
    assert!(team.secret("ci").await.is_none());
    let back = plane.try_kubectl(&[
        "patch",
        "apitoken/ci",
        "-n",
        &team.namespace,
        "--type=merge",
        "-p",
        r#"{"spec":{"state":"Active"}}"#,
    ]);
    assert!(!back.status.success(), "revoked is for good");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_with_a_retained_secret_leaves_a_mark_that_outlives_it() {
    let Bed { team, operator, .. } = Bed::new("ended").await;
    let spec = json!({ "secret": { "deletionPolicy": "Retain" } });
    team.declare("ci", spec.clone()).await;
    let hash = recorded_hash(&team.ready("ci").await);
    team.change("ci", json!({ "spec": { "state": "Revoked" } })).await;
    team.until("ci", "revoked", |token| state(token) == Some(ObservedState::Revoked))
        .await;
    let secret = team.secret("ci").await.unwrap();
    assert_eq!(secret.annotations().get(names::ENDED_ANNOTATION), Some(&hash));

    team.delete::<ApiToken>("ci").await;
    team.declare("ci", spec).await;
    let token = team.ready("ci").await;
    assert_ne!(recorded_hash(&token), hash, "an ended value is never taken up again");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_starts_suspended_revoked_or_past_its_end_starts_so() {
    let Bed { team, operator, .. } = Bed::new("starts").await;
    team.declare("suspended", json!({ "state": "Suspended" })).await;
    team.declare("revoked", json!({ "state": "Revoked" })).await;
    team.declare("past", json!({ "expiresAt": "2020-01-01T00:00:00Z" })).await;
    let token = team.ready("suspended").await;
    assert_eq!(state(&token), Some(ObservedState::Suspended));
    assert!(!team.value("suspended", "token").await.is_empty());
    let token = team.ready("revoked").await;
    assert_eq!(state(&token), Some(ObservedState::Revoked));
    let token = team.reason("past", "Expired").await;
    assert_eq!(state(&token), Some(ObservedState::Expired));
    for name in ["revoked", "past"] {
        assert!(
            team.secret(name).await.is_none() && recorded_hash(&team.token(name).await).is_empty(),
            "{name}: nothing is issued"
        );
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_token_is_left_alone_until_it_is_not() {
    let Bed { team, operator, .. } = Bed::new("paused").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    team.change("ci", json!({ "metadata": { "annotations": { names::PAUSED_ANNOTATION: "true" } } }))
        .await;
    team.until("ci", "paused", |token| is_true(token, ConditionType::Paused)).await;
    team.change("ci", json!({ "spec": { "secret": { "labels": { "team": "shop" } } } }))
        .await;
    team.declare("witness", json!({})).await;
    team.ready("witness").await;
    assert!(!team.secret("ci").await.unwrap().labels().contains_key("team"));
    team.change("ci", json!({ "metadata": { "annotations": { names::PAUSED_ANNOTATION: null } } }))
        .await;
    team.ready("ci").await;
    assert!(team.secret("ci").await.unwrap().labels().contains_key("team"));
    operator.stop().await;
}
