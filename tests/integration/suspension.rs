//! Suspension that ends a token (`suspendPolicy: Withdraw`), and suspension while work goes on.

use apitoken_operator::api::{ApiToken, api_token::ObservedState, conditions::ConditionType, names};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    tokens::{Team, hash, is_true, pending_hash, previous_hashes, recorded_hash, rotations, state, status},
};

/// Longer than any test: what waits so long for verifiers waits until the test steps the clock.
const LONG_DELAY: SignedDuration = SignedDuration::from_mins(10);

async fn suspend(team: &Team) -> ApiToken {
    team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    let is_suspended = |token: &ApiToken| state(token) == Some(ObservedState::Suspended);
    team.until("ci", "Suspended", is_suspended).await
}

async fn activate(team: &Team) {
    team.change("ci", json!({ "spec": { "state": "Active" } })).await;
}

/// A token that is withdrawn when it is suspended, with an overlap that runs.
async fn with_running_overlap(team: &Team, secret: Value) {
    let spec = json!({ "suspendPolicy": "Withdraw", "rotation": { "interval": "240h", "overlap": "1h" }, "secret": secret });
    team.declare("ci", spec).await;
    team.ready("ci").await;
    team.request("ci", "now").await;
    team.rotated("ci", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_token_ends_for_good_and_activation_issues_a_new_one() {
    let Bed { team, operator, .. } = Bed::new("withdraw").await;
    team.declare("ci", json!({ "suspendPolicy": "Withdraw" })).await;
    let old = recorded_hash(&team.ready("ci").await);
    suspend(&team).await;
    let token = team.ready("ci").await;
    assert_eq!(status(&token).token, None, "no live token is left");
    assert!(!is_true(&token, ConditionType::Active));
    let actions = status(&token).available_actions.unwrap();
    assert!(actions.activate && actions.revoke && !actions.rotate && !actions.suspend);
    let secret = team.secret("ci").await.unwrap();
    assert_eq!(secret.annotations().get(names::ENDED_ANNOTATION), Some(&old));
    team.note("ci", "Suspended").await;

    let token = team.looked_at("ci").await;
    assert!(
        recorded_hash(&token).is_empty() && pending_hash(&token).is_none(),
        "nothing is made meanwhile"
    );
    activate(&team).await;
    let token = team.ready("ci").await;
    assert_eq!(state(&token), Some(ObservedState::Active));
    assert_ne!(recorded_hash(&token), old);
    assert_eq!(recorded_hash(&token), hash(&team.value("ci", "token").await));
    assert!(previous_hashes(&token).is_empty());
    assert_eq!(rotations(&token), 0, "that is an issue, nothing was replaced");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_ends_the_replaced_tokens_too() {
    let Bed { team, operator, .. } = Bed::new("withdraw-all").await;
    with_running_overlap(&team, json!({})).await;
    let token = suspend(&team).await;
    assert!(status(&token).token.is_none() && previous_hashes(&token).is_empty());
    activate(&team).await;
    let token = team.ready("ci").await;
    assert!(previous_hashes(&token).is_empty() && !recorded_hash(&token).is_empty());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_token_can_be_revoked() {
    let Bed { team, operator, .. } = Bed::new("withdraw-revoke").await;
    team.declare("ci", json!({ "suspendPolicy": "Withdraw" })).await;
    team.ready("ci").await;
    suspend(&team).await;
    team.ready("ci").await;
    team.change("ci", json!({ "spec": { "state": "Revoked" } })).await;
    let token = team.ready("ci").await;
    assert_eq!(state(&token), Some(ObservedState::Revoked));
    assert!(team.secret("ci").await.is_none());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_value_is_not_taken_up_by_a_token_that_is_made_again() {
    let Bed { team, operator, .. } = Bed::new("withdraw-again").await;
    let spec = json!({ "suspendPolicy": "Withdraw", "secret": { "deletionPolicy": "Retain" } });
    team.declare("ci", spec.clone()).await;
    let old = recorded_hash(&team.ready("ci").await);
    suspend(&team).await;
    team.ready("ci").await;
    team.delete::<ApiToken>("ci").await;
    team.declare("ci", spec).await;
    assert_ne!(recorded_hash(&team.ready("ci").await), old);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_wins_over_a_rotation_that_runs_and_the_rotation_follows() {
    let bed = Bed::with_delay("running", LONG_DELAY).await;
    bed.team.declare("ci", json!({})).await;
    let old = recorded_hash(&bed.team.ready("ci").await);
    bed.pass(LONG_DELAY, "ci").await;
    bed.team.request("ci", "now").await;
    bed.team.announced("ci").await;
    let token = suspend(&bed.team).await;
    assert!(!is_true(&token, ConditionType::Active));
    bed.operator.advance(LONG_DELAY * 2).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!((state(&token), rotations(&token)), (Some(ObservedState::Suspended), 0));
    assert_eq!(hash(&bed.team.value("ci", "token").await), old, "a suspended token is not rotated");

    activate(&bed.team).await;
    let is_active = |token: &ApiToken| state(token) == Some(ObservedState::Active);
    bed.team.until("ci", "Active", is_active).await;
    bed.team.announced("ci").await;
    bed.pass(LONG_DELAY, "ci").await;
    let token = bed.team.rotated("ci", 1).await;
    assert_eq!(status(&token).last_rotation_request.as_deref(), Some("now"));
    assert_eq!(recorded_hash(&token), hash(&bed.team.value("ci", "token").await));
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_during_an_overlap_ends_all_and_the_secret_that_stays_says_so() {
    let Bed { team, operator, .. } = Bed::new("revoked").await;
    with_running_overlap(&team, json!({ "deletionPolicy": "Retain", "includePrevious": true })).await;
    let current = recorded_hash(&team.token("ci").await);
    team.change("ci", json!({ "spec": { "state": "Revoked" } })).await;
    let token = team.ready("ci").await;
    assert_eq!(state(&token), Some(ObservedState::Revoked));
    assert!(previous_hashes(&token).is_empty() && pending_hash(&token).is_none());
    let secret = team.secret("ci").await.unwrap();
    assert_eq!(secret.annotations().get(names::ENDED_ANNOTATION), Some(&current));
    operator.stop().await;
}
