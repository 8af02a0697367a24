//! When tokens were last used, as their status tells.

use apitoken_operator::{api::ApiToken, controller::clock::Clock as _, verifier::Settings};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Gate;
use crate::support::{
    audit::Moment,
    control_plane::{OPERATOR_NAMESPACE, VERIFIER_ACCOUNT},
    eventually,
    tokens::{recorded_hash, status},
    verifier::{self, InProcess},
};

fn recording(settings: &mut Settings) {
    settings.records_uses = true;
}

fn last_used(token: &ApiToken) -> Option<Timestamp> {
    status(token).token?.last_used_at.map(|at| at.0)
}

fn previous_used(token: &ApiToken) -> Option<Timestamp> {
    status(token).previous.first()?.last_used_at.as_ref().map(|at| at.0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn current_and_previous_token_each_tell_when_they_were_last_used() {
    let gate = Gate::with("last-use", recording).await;
    let (team, verifier, question) = (&gate.bed.team, &gate.verifier, &gate.question);
    let old = gate
        .issued("ci", json!({ "rotation": { "interval": "240h", "overlap": "24h" } }))
        .await;
    let used = team.until("ci", "it was used", |token| last_used(token).is_some()).await;

    // Within a minute nothing is written again, however often it is used.
    let before = writes(&gate);
    for _ in 0..20 {
        assert!(verifier.accepts(question, &old).await);
    }
    gate.clock().advance(SignedDuration::from_secs(61));
    assert!(verifier.accepts(question, &old).await);
    let later = team.until("ci", "a later use", |token| last_used(token) > last_used(&used)).await;
    assert_eq!(writes(&gate), before + 1, "one write for all of them");

    team.request("ci", "now").await;
    team.rotated("ci", 1).await;
    let new = team.value("ci", "token").await;
    verifier.until_accepts(question, &new, true).await;
    gate.clock().advance(SignedDuration::from_secs(61));
    assert!(verifier.accepts(question, &old).await && verifier.accepts(question, &new).await);
    let is_told = |token: &ApiToken| previous_used(token) > last_used(&later) && last_used(token).is_some();
    team.until("ci", "both were used", is_told).await;
}

fn writes(gate: &Gate) -> usize {
    let user = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{VERIFIER_ACCOUNT}");
    let writes = gate.bed.plane.audit().writes(&user, Moment::default());
    writes.iter().filter(|write| write.namespace == gate.bed.team.namespace).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_uses_is_not_written_and_a_denied_token_is_not_used() {
    let gate = Gate::with("last-use-none", recording).await;
    let (team, verifier, question) = (&gate.bed.team, &gate.verifier, &gate.question);
    let value = gate.issued("used", json!({})).await;
    team.declare("unused", json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } }))
        .await;
    team.ready("unused").await;
    let used = team.until("used", "it was used", |token| last_used(token).is_some()).await;
    team.change("used", json!({ "spec": { "state": "Suspended" } })).await;
    verifier.until_accepts(question, &value, false).await;
    gate.clock().advance(SignedDuration::from_mins(10));
    assert!(!verifier.accepts(question, &value).await);
    // A third token that is used is written after the others would have been.
    gate.issued("witness", json!({})).await;
    team.until("witness", "it was used", |token| last_used(token).is_some()).await;
    assert_eq!(last_used(&team.token("used").await), last_used(&used));
    assert_eq!(last_used(&team.token("unused").await), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_replicas_never_take_a_use_back() {
    let gate = Gate::with("last-use-replicas", recording).await;
    let (team, plane, question) = (&gate.bed.team, gate.bed.plane, &gate.question);
    let mut settings = verifier::settings(&team.namespace);
    recording(&mut settings);
    let other = InProcess::start(plane.client_of(VERIFIER_ACCOUNT, None).await, gate.clock(), settings).await;
    let value = gate.issued("ci", json!({})).await;
    let mut latest = None;
    for _ in 0..3 {
        gate.clock().advance(SignedDuration::from_secs(90));
        for verifier in [&gate.verifier, &other] {
            verifier.until_accepts(question, &value, true).await;
        }
        let token = team.until("ci", "a later use", |token| last_used(token) > latest).await;
        latest = last_used(&token);
    }
    assert_eq!(
        recorded_hash(&team.token("ci").await),
        crate::support::tokens::hash(&value),
        "and nothing else changed"
    );
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_verifier_loses_no_use() {
    let gate = Gate::with("last-use-end", recording).await;
    gate.issued("ci", json!({})).await;
    let Gate { bed, verifier, .. } = gate;
    verifier.stop().await;
    assert!(
        last_used(&bed.team.token("ci").await).is_some(),
        "written on the way out, or before"
    );
}

/// What is held back for a minute is all that is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_is_killed_loses_a_minute_of_use_at_most() {
    let gate = Gate::with("last-use-killed", recording).await;
    let value = gate.issued("ci", json!({})).await;
    let Gate { bed, verifier, question } = gate;
    let clock = bed.operator.clock.clone();
    let first = bed.team.until("ci", "it was used", |token| last_used(token).is_some()).await;
    let mut used_at = clock.now();
    for _ in 0..4 {
        clock.advance(SignedDuration::from_secs(25));
        assert!(verifier.accepts(&question, &value).await);
        used_at = clock.now();
        let minute_ago = used_at - SignedDuration::from_secs(60);
        bed.team
            .until("ci", "no use is older than a minute", |token| last_used(token) >= Some(minute_ago))
            .await;
    }
    verifier.kill().await;
    let token = bed.team.token("ci").await;
    assert!(last_used(&token) > last_used(&first));
    assert!(
        last_used(&token) < Some(used_at - SignedDuration::from_secs(10)),
        "the last one was held back, so that something was there to lose"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_comes_after_a_rotation_is_refused() {
    let gate = Gate::new("last-use-late").await;
    let (team, plane) = (&gate.bed.team, gate.bed.plane);
    let old = gate
        .issued("ci", json!({ "rotation": { "interval": "240h", "overlap": "1h" } }))
        .await;
    team.request("ci", "now").await;
    team.rotated("ci", 1).await;
    let verifier = plane.client_of(VERIFIER_ACCOUNT, None).await;
    let api: kube::Api<ApiToken> = kube::Api::namespaced(verifier, &team.namespace);
    let late = json!([
        { "op": "test", "path": "/status/token/hash", "value": crate::support::tokens::hash(&old) },
        { "op": "add", "path": "/status/token/lastUsedAt", "value": "2031-01-01T00:00:00Z" },
    ]);
    let patch = Patch::<ApiToken>::Json(serde_json::from_value(late).unwrap());
    let refused = api.patch_status("ci", &PatchParams::default(), &patch).await.unwrap_err();
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 422));
    assert_eq!(last_used(&team.token("ci").await), None);
    eventually("the verifier still answers", || async {
        gate.verifier.accepts(&gate.question, &old).await.then_some(())
    })
    .await;
}
