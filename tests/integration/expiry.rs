//! The end of a token's time: announced where nothing rotates it, kept, and healed on request.

use apitoken_operator::api::{ApiToken, api_token::ObservedState, conditions::ConditionType, names};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{
    Bed,
    history::History,
    tokens::{is_true, last_rotation_reason, message_of, pending_hash, reason_of, recorded_hash, rotations, state, status},
};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_expires_at_its_time_and_a_later_end_issues_a_new_one() {
    let Bed { team, operator, .. } = Bed::new("expiry").await;
    team.declare("ci", json!({ "lifetime": "1h" })).await;
    let token = team.ready("ci").await;
    let hash = recorded_hash(&token);
    operator.advance(SignedDuration::from_mins(59)).await;
    team.nudge("ci").await;
    team.declare("later", json!({})).await;
    team.ready("later").await;
    assert_eq!(state(&team.token("ci").await), Some(ObservedState::Active), "a minute is left");

    operator.advance(SignedDuration::from_mins(1)).await;
    team.nudge("ci").await;
    let token = team.reason("ci", "Expired").await;
    assert_eq!(
        (state(&token), is_true(&token, ConditionType::Stalled)),
        (Some(ObservedState::Expired), true)
    );
    assert_eq!(
        team.secret("ci").await.unwrap().annotations().get(names::ENDED_ANNOTATION),
        Some(&hash)
    );

    team.change("ci", json!({ "spec": { "lifetime": "3h" } })).await;
    team.until("ci", "announced", |token| {
        token.status.as_ref().is_some_and(|status| status.pending.is_some())
    })
    .await;
    operator.advance(SignedDuration::from_secs(5)).await;
    team.nudge("ci").await;
    let token = team.ready("ci").await;
    assert_ne!(recorded_hash(&token), hash);
    assert_eq!(state(&token), Some(ObservedState::Active));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_nothing_averts_is_told_ahead_once() {
    let bed = Bed::new("expiring").await;
    bed.team.declare("ci", json!({ "lifetime": "30h" })).await;
    bed.team
        .declare("rotates", json!({ "lifetime": "30h", "rotation": { "before": "1h" } }))
        .await;
    let token = bed.team.ready("ci").await;
    bed.team.ready("rotates").await;
    let end = status(&token).token.unwrap().expires_at.unwrap();
    bed.operator.advance(HOUR * 20 - MINUTE).await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(
        reason_of(&token, ConditionType::Active),
        "Active",
        "ten hours and a minute are left"
    );

    bed.pass(MINUTE, "ci").await;
    let token = bed.team.until("ci", "it expires soon", is_expiring).await;
    assert!(is_true(&token, ConditionType::Active) && is_true(&token, ConditionType::Ready));
    assert_eq!(state(&token), Some(ObservedState::Active));
    let message = message_of(&token, ConditionType::Active);
    assert!(message.contains(&end.0.to_string()), "{message}");
    assert!(bed.team.note("ci", "Expiring").await.contains(&end.0.to_string()));

    let bed = bed.restarted_after(HOUR).await;
    bed.team.looked_at("ci").await;
    assert_eq!(bed.team.times_told("ci", "Expiring").await, 1);
    let rotates = bed.team.looked_at("rotates").await;
    assert_eq!(reason_of(&rotates, ConditionType::Active), "Active", "it is rotated in time");
    assert_eq!(bed.team.times_told("rotates", "Expiring").await, 0);

    bed.team.change("ci", json!({ "spec": { "lifetime": "100h" } })).await;
    let token = bed.team.ready("ci").await;
    assert_eq!(
        reason_of(&token, ConditionType::Active),
        "Active",
        "a later end takes the warning back"
    );
    bed.operator.stop().await;
}

fn is_expiring(token: &ApiToken) -> bool {
    reason_of(token, ConditionType::Active) == "Expiring"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_life_is_announced_a_week_ahead() {
    let bed = Bed::new("week").await;
    bed.team.declare("ci", json!({ "lifetime": "2400h" })).await;
    bed.team.ready("ci").await;
    bed.operator.advance(HOUR * (2400 - 168) - MINUTE).await;
    let token = bed.team.looked_at("ci").await;
    assert!(!is_expiring(&token));
    bed.pass(MINUTE, "ci").await;
    bed.team.until("ci", "it expires soon", is_expiring).await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_gets_a_new_value_on_request() {
    let bed = Bed::new("expired").await;
    bed.team.declare("ci", json!({ "lifetime": "1h" })).await;
    let hash = recorded_hash(&bed.team.ready("ci").await);
    bed.pass(HOUR, "ci").await;
    bed.team.reason("ci", "Expired").await;
    bed.team.request("ci", "once more").await;
    let token = bed.team.rotated("ci", 1).await;
    assert_eq!(state(&token), Some(ObservedState::Active));
    assert_ne!(recorded_hash(&token), hash);
    assert_eq!(last_rotation_reason(&token), "Requested");
    assert!(status(&token).previous.is_empty(), "what had its time does not work for an overlap");
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_past_a_date_stays_expired_whatever_is_requested() {
    let bed = Bed::new("date").await;
    let end = jiff::Timestamp::now() + HOUR;
    bed.team.declare("ci", json!({ "expiresAt": end.to_string() })).await;
    bed.team.ready("ci").await;
    bed.pass(HOUR + MINUTE, "ci").await;
    bed.team.reason("ci", "Expired").await;
    bed.team.request("ci", "once more").await;
    let token = bed.team.looked_at("ci").await;
    assert_eq!(state(&token), Some(ObservedState::Expired));
    assert_eq!((rotations(&token), pending_hash(&token)), (0, None));
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_rotates_is_rotated_though_its_end_passed_while_the_operator_was_away() {
    let bed = Bed::new("away").await;
    bed.team.declare("rotates", json!({ "lifetime": "10h", "rotation": {} })).await;
    bed.team.declare("expires", json!({ "lifetime": "10h" })).await;
    let hash = recorded_hash(&bed.team.ready("rotates").await);
    bed.team.ready("expires").await;
    let history = History::begin(&bed.team).await;
    let bed = bed.restarted_after(HOUR * 100).await;
    let token = bed.team.rotated("rotates", 1).await;
    assert_eq!(state(&token), Some(ObservedState::Active));
    assert_ne!(recorded_hash(&token), hash);
    assert!(status(&token).previous.is_empty());
    let expired = |token: &ApiToken| state(token) == Some(ObservedState::Expired);
    let moments = history.moments().await;
    assert!(!moments.iter().any(|moment| expired(&moment.tokens["rotates"])));
    bed.team.until("expires", "expired", expired).await;
    bed.operator.stop().await;
}
