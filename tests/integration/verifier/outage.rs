//! The API server away, a line that hangs, the controller away: the verifier goes on with what it knows, and says how old that is.

use std::time::Duration;

use serde_json::json;

use super::{Gate, ISSUER};
use crate::support::{
    Bed,
    clock::TestClock,
    control_plane::{ControlPlane, VERIFIER_ACCOUNT},
    eventually,
    line::{Line, State},
    tokens::Team,
    verifier::{self, InProcess},
};

fn age(verifier: &InProcess) -> f64 {
    let metrics = verifier.metrics();
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("apitoken_verifier_index_age_seconds "));
    line.unwrap().parse().unwrap()
}

/// A verifier that reaches the API server by a line.
async fn by_line(bed: &Bed, deny_when_stale: Option<Duration>) -> (Line, InProcess) {
    let line = Line::to(bed.plane.server()).await;
    let client = bed.plane.client_of(VERIFIER_ACCOUNT, Some(line.address())).await;
    let mut settings = verifier::settings(&bed.team.namespace);
    settings.deny_when_stale = deny_when_stale;
    let verifier = InProcess::start(client, &bed.operator.clock, settings).await;
    (line, verifier)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_cut_or_hangs_is_noticed_and_made_up_for() {
    let gate = Gate::new("outage").await;
    let (line, verifier) = by_line(&gate.bed, None).await;
    let value = gate.issued("ci", json!({})).await;
    let suspend = async |state: &str| {
        gate.bed.team.change("ci", json!({ "spec": { "state": state } })).await;
        // The verifier whose line is whole tells that it was written.
        gate.verifier.until_accepts(&gate.question, &value, state == "Active").await;
    };
    for broken in [State::Cut, State::Hangs] {
        verifier.until_accepts(&gate.question, &value, true).await;
        line.set(broken);
        suspend("Suspended").await;
        assert!(verifier.accepts(&gate.question, &value).await, "{broken:?}: it knows nothing else");
        eventually("what it knows is old", || async { (age(&verifier) > 3.0).then_some(()) }).await;
        assert_eq!(verifier.not_ready(), None, "it goes on all the same");
        line.set(State::Open);
        verifier.until_accepts(&gate.question, &value, false).await;
        eventually("what it knows is fresh", || async { (age(&verifier) < 12.0).then_some(()) }).await;
        suspend("Active").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_it_is_wanted_old_knowledge_turns_everybody_away() {
    let gate = Gate::new("outage-stale").await;
    let (line, verifier) = by_line(&gate.bed, Some(Duration::from_secs(14))).await;
    let value = gate.issued("ci", json!({})).await;
    verifier.until_accepts(&gate.question, &value, true).await;
    line.set(State::Cut);
    verifier.until_accepts(&gate.question, &value, false).await;
    assert_eq!(
        verifier.authorize(&gate.question, &value).await.status,
        503,
        "the token is not to blame"
    );
    assert!(verifier.not_ready().is_some());
    let (code, _, told) = verifier.introspect(None, &[("token", &value)]).await;
    assert_eq!((code.as_u16(), &told["error"]), (503, &json!("temporarily_unavailable")));
    line.set(State::Open);
    verifier.until_accepts(&gate.question, &value, true).await;
    assert_eq!(verifier.not_ready(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_cluster_does_not_make_it_old() {
    let gate = Gate::with("outage-quiet", |settings| settings.deny_when_stale = Some(Duration::from_secs(14))).await;
    let value = gate.issued("ci", json!({})).await;
    let began = std::time::Instant::now();
    // Longer than it may go without a word, with nothing written at all.
    while began.elapsed() < Duration::from_secs(20) {
        assert!(gate.verifier.accepts(&gate.question, &value).await);
        assert!(age(&gate.verifier) < 14.0);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_controller_is_away_what_is_written_counts_all_the_same() {
    let gate = Gate::new("outage-controller").await;
    let value = gate.issued("ci", json!({})).await;
    let Gate { bed, verifier, question } = gate;
    let team = bed.team.clone();
    bed.operator.stop().await;
    for (state, accepts) in [("Suspended", false), ("Active", true), ("Revoked", false)] {
        team.change("ci", json!({ "spec": { "state": state } })).await;
        verifier.until_accepts(&question, &value, accepts).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_while_the_api_server_restarts_and_hears_of_what_came_after() {
    let plane = ControlPlane::with_chart("verifier-restart");
    let namespace = plane.namespace("restart").await;
    let team = Team::new(plane.admin().await, &namespace);
    let clock = TestClock::default();
    let operator = crate::support::operator::InProcess::start(&plane, &namespace).await;
    team.issuer(ISSUER, json!({ "builtin": {} })).await;
    team.declare("ci", json!({ "issuerRef": { "kind": "TokenIssuer", "name": ISSUER } }))
        .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    let question = format!("issuer=TokenIssuer/{namespace}/{ISSUER}");
    let client = plane.client_of(VERIFIER_ACCOUNT, None).await;
    let verifier = InProcess::start(client, &clock, verifier::settings(&namespace)).await;
    verifier.until_accepts(&question, &value, true).await;
    plane.restart_api_server();
    assert!(verifier.accepts(&question, &value).await);
    eventually("the API server takes writes again", || async {
        let patch = format!("--patch={}", json!({ "spec": { "state": "Suspended" } }));
        let changed = plane.try_kubectl(&["patch", "apitoken", "ci", "-n", &namespace, "--type=merge", &patch]);
        changed.status.success().then_some(())
    })
    .await;
    verifier.until_accepts(&question, &value, false).await;
    operator.kill().await;
    plane.stop();
}
