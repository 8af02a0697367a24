//! The program is killed before and after each of its writes, and started again: what was asked for
//! is reached, once, and no value that a consumer could read was refused on the way.

use std::collections::BTreeSet;

use apitoken_operator::api::{ApiToken, api_token::ObservedState, conditions::ConditionType, names};
use futures::future::{join, join_all};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    audit::Moment,
    control_plane::{self, OPERATOR_USER},
    eventually,
    history::History,
    operator::Program,
    proxy::{Cut, Fault, Proxy},
    tokens::{Team, hash, is_true, previous_hashes, recorded_hash, rotations, state, status},
};

/// Where the program is killed: at the write of that number.
type Point = (usize, Cut);

/// Runs what is asked for once as it is, and once killed at each point of its `writes`.
///
/// `before` makes what is there, `ask` asks, and `reached` waits for what was asked for and looks at it.
async fn survives(what: &str, writes: usize, before: impl AsyncFn(&Team), ask: impl AsyncFn(&Team), reached: impl AsyncFn(&Team)) {
    let points = (0..writes).flat_map(|number| [(number, Cut::Before), (number, Cut::After)]);
    let killed = points.map(|point| run(what, Some(point), &before, &ask, &reached));
    let (made, _) = join(run(what, None, &before, &ask, &reached), join_all(killed)).await;
    assert_eq!(
        made.len(),
        writes,
        "{what} takes other writes than those it was killed at: {made:?}"
    );
}

/// One run; the writes that were made until what was asked for was reached.
async fn run(
    what: &str,
    point: Option<Point>,
    before: impl AsyncFn(&Team),
    ask: impl AsyncFn(&Team),
    reached: impl AsyncFn(&Team),
) -> Vec<String> {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace("killed").await);
    let arguments = [format!("--watch-namespace={}", team.namespace), "--propagation-delay=1s".to_owned()];
    let arguments = arguments.each_ref().map(String::as_str);
    let proxy = Proxy::start(plane.anonymous().await).await;
    let by_proxy = plane.operator_kubeconfig(Some(proxy.address())).await;
    let program = Program::start_with(plane, &by_proxy, &arguments).await;
    before(&team).await;
    let history = History::begin(&team).await;
    let old_values = values(&team).await;

    let since = plane.audit().now();
    if let Some((number, cut)) = point {
        proxy.hold(Fault::at_write(&team.namespace, number, cut));
    }
    ask(&team).await;
    match point {
        Some(_) => proxy.holds_the_request().await,
        None => reached(&team).await,
    }
    program.kill();
    let values_left = values(&team).await;

    let program = Program::start(plane, &arguments).await;
    reached(&team).await;
    let made = writes(&team, since);
    nothing_is_left_to_do(&team).await;
    reached(&team).await;
    let (ended, _) = program.terminate().await;
    assert!(ended.success());
    history.no_value_was_refused().await;
    assert!(
        values_left == old_values || values(&team).await.is_subset(&values_left),
        "{what} at {point:?}: a new value that a consumer may have read stays"
    );
    made
}

/// The values of our Secrets.
async fn values(team: &Team) -> BTreeSet<String> {
    let secrets = team.api::<Secret>().list(&Default::default()).await.unwrap();
    let ours = secrets.iter().filter(|secret| {
        secret
            .labels()
            .get(names::MANAGED_BY_LABEL)
            .is_some_and(|manager| manager == names::MANAGER)
    });
    let value = |secret: &Secret| String::from_utf8(secret.data.as_ref()?.get("token")?.0.clone()).ok();
    ours.filter_map(value).collect()
}

/// The writes of Secrets and ApiTokens in the team's namespace.
fn writes(team: &Team, since: Moment) -> Vec<String> {
    let writes = control_plane::shared().audit().writes(OPERATOR_USER, since);
    let counted = |resource: &str| resource.starts_with("secrets") || resource.starts_with("apitokens");
    let ours = writes
        .iter()
        .filter(|write| write.namespace == team.namespace && counted(&write.resource));
    ours.map(|write| format!("{} {}", write.verb, write.resource)).collect()
}

/// One more look at the token, where there is one, leads to nothing.
async fn nothing_is_left_to_do(team: &Team) {
    if team.api::<ApiToken>().get_opt("ci").await.unwrap().is_some() {
        let token = team.looked_at("ci").await;
        assert_eq!(status(&token).pending, None);
    }
}

/// Ready and rotated so often, and that Secret alone holds the token.
async fn holds(team: &Team, secret: &str, times: i64) -> ApiToken {
    let token = team.ready("ci").await;
    let token = if times > 0 { team.rotated("ci", times).await } else { token };
    assert_eq!(rotations(&token), times);
    let value = team.value(secret, "token").await;
    assert_eq!(recorded_hash(&token), hash(&value));
    assert_eq!(values(team).await, [value].into());
    token
}

async fn nothing(_: &Team) {}

async fn an_active_token(team: &Team, spec: Value) {
    team.declare("ci", spec).await;
    team.ready("ci").await;
}

async fn wants_state(team: &Team, state: &str) {
    team.change("ci", json!({ "spec": { "state": state } })).await;
}

async fn is_in_state(team: &Team, wanted: ObservedState) -> ApiToken {
    let token = team.ready("ci").await;
    assert_eq!(state(&token), Some(wanted));
    token
}

async fn is_marked_as_ended(team: &Team) {
    let secret = team.secret("ci").await.unwrap();
    let value = team.value("ci", "token").await;
    assert_eq!(secret.annotations().get(names::ENDED_ANNOTATION), Some(&hash(&value)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue() {
    let ask = async |team: &Team| drop(team.declare("ci", json!({})).await);
    let reached = async |team: &Team| drop(holds(team, "ci", 0).await);
    survives("an issue", 2, nothing, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation() {
    let before = async |team: &Team| an_active_token(team, json!({ "rotation": { "interval": "240h", "overlap": "1h" } })).await;
    let ask = async |team: &Team| team.request("ci", "now").await;
    let reached = async |team: &Team| {
        let token = holds(team, "ci", 1).await;
        assert_eq!(previous_hashes(&token).len(), 1);
    };
    survives("a rotation", 3, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_without_an_overlap() {
    let before = async |team: &Team| an_active_token(team, json!({})).await;
    let ask = async |team: &Team| team.request("ci", "now").await;
    let reached = async |team: &Team| {
        let token = holds(team, "ci", 1).await;
        assert!(previous_hashes(&token).is_empty());
    };
    survives("a rotation without an overlap", 3, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_after_a_leak() {
    let before = async |team: &Team| {
        an_active_token(team, json!({ "rotation": { "interval": "240h", "overlap": "1h" } })).await;
        team.request("ci", "first").await;
        team.rotated("ci", 1).await;
    };
    let ask = async |team: &Team| team.leaked("ci", "second").await;
    let reached = async |team: &Team| {
        let token = holds(team, "ci", 2).await;
        assert!(previous_hashes(&token).is_empty());
    };
    survives("a rotation after a leak", 3, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension() {
    let before = async |team: &Team| an_active_token(team, json!({})).await;
    let ask = async |team: &Team| wants_state(team, "Suspended").await;
    let reached = async |team: &Team| {
        is_in_state(team, ObservedState::Suspended).await;
        holds(team, "ci", 0).await;
    };
    survives("a suspension", 1, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal() {
    let before = async |team: &Team| an_active_token(team, json!({ "suspendPolicy": "Withdraw" })).await;
    let ask = async |team: &Team| wants_state(team, "Suspended").await;
    let reached = async |team: &Team| {
        let token = is_in_state(team, ObservedState::Suspended).await;
        assert_eq!(status(&token).token, None);
        is_marked_as_ended(team).await;
    };
    survives("a withdrawal", 2, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_activation_after_a_withdrawal() {
    let before = async |team: &Team| {
        an_active_token(team, json!({ "suspendPolicy": "Withdraw" })).await;
        wants_state(team, "Suspended").await;
        team.ready("ci").await;
    };
    let ask = async |team: &Team| wants_state(team, "Active").await;
    let reached = async |team: &Team| {
        is_in_state(team, ObservedState::Active).await;
        holds(team, "ci", 0).await;
    };
    survives("an activation after a withdrawal", 2, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation() {
    let before = async |team: &Team| an_active_token(team, json!({})).await;
    let ask = async |team: &Team| wants_state(team, "Revoked").await;
    let reached = async |team: &Team| {
        is_in_state(team, ObservedState::Revoked).await;
        assert!(team.secret("ci").await.is_none());
    };
    survives("a revocation", 2, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_with_a_retained_secret() {
    let before = async |team: &Team| an_active_token(team, json!({ "secret": { "deletionPolicy": "Retain" } })).await;
    let ask = async |team: &Team| wants_state(team, "Revoked").await;
    let reached = async |team: &Team| {
        is_in_state(team, ObservedState::Revoked).await;
        is_marked_as_ended(team).await;
    };
    survives("a revocation with a retained Secret", 2, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_of_the_secret() {
    let before = async |team: &Team| an_active_token(team, json!({})).await;
    let ask = async |team: &Team| drop(team.change("ci", json!({ "spec": { "secret": { "name": "moved" } } })).await);
    let reached = async |team: &Team| drop(holds(team, "moved", 0).await);
    survives("a move of the Secret", 3, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adoption() {
    let before = async |team: &Team| {
        team.issuer("own", json!({ "builtin": {} })).await;
        team.own_secret("source", json!({ "password": "a-value-of-long-ago-that-is-long-enough" }))
            .await;
    };
    let ask = async |team: &Team| {
        let issuer = json!({ "kind": "TokenIssuer", "name": "own" });
        let adopt = json!({ "secretRef": { "name": "source", "key": "password" } });
        team.declare("ci", json!({ "issuerRef": issuer, "adopt": adopt })).await;
    };
    let reached = async |team: &Team| {
        holds(team, "ci", 0).await;
        assert_eq!(team.value("ci", "token").await, team.value("source", "password").await);
    };
    survives("an adoption", 2, before, ask, reached).await;
}

/// A token of the built-in issuer has no finalizer: the API server and its garbage collector do it all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion() {
    let before = async |team: &Team| an_active_token(team, json!({})).await;
    let ask = async |team: &Team| team.delete::<ApiToken>("ci").await;
    survives("a deletion", 0, before, ask, is_gone).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_somebody_holds_up() {
    let before = async |team: &Team| {
        let metadata = json!({ "name": "ci", "finalizers": ["example.com/somebody"] });
        team.declare_with(metadata, json!({})).await;
        team.ready("ci").await;
    };
    let ask = async |team: &Team| team.delete::<ApiToken>("ci").await;
    let reached = async |team: &Team| {
        let token = team.reason("ci", "Deleting").await;
        assert!(!is_true(&token, ConditionType::Active));
    };
    survives("a deletion that somebody holds up", 1, before, ask, reached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_during_a_rotation() {
    let before = async |team: &Team| an_active_token(team, json!({})).await;
    let ask = async |team: &Team| {
        team.request("ci", "now").await;
        team.announced("ci").await;
        team.delete::<ApiToken>("ci").await;
    };
    let made = run("a deletion during a rotation", None, before, ask, is_gone).await;
    assert_eq!(made, ["update apitokens/status"], "no value is written for a token that is gone");
}

async fn is_gone(team: &Team) {
    eventually("token and Secret are gone", || async {
        let gone = team.api::<ApiToken>().get_opt("ci").await.unwrap().is_none();
        (gone && team.secret("ci").await.is_none()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_lost_rather_than_told_twice() {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace("killed").await);
    let watch = format!("--watch-namespace={}", team.namespace);
    let proxy = Proxy::start(plane.anonymous().await).await;
    let by_proxy = plane.operator_kubeconfig(Some(proxy.address())).await;
    let program = Program::start_with(plane, &by_proxy, &[&watch]).await;
    proxy.hold(Fault::at("POST", "/events", Cut::Before));
    team.declare("ci", json!({})).await;
    proxy.holds_the_request().await;
    program.kill();
    let program = Program::start(plane, &[&watch]).await;
    team.looked_at("ci").await;
    let (ended, _) = program.terminate().await;
    assert!(ended.success());
    assert!(team.events("ci").await.is_empty());
}

/// What all of this stands on: a value that is refused, and a Secret that is missing, are seen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_is_refused_for_a_moment_would_be_seen() {
    let Bed { team, operator, .. } = Bed::new("seen").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    operator.stop().await;
    let history = History::begin(&team).await;
    let value = team.value("ci", "token").await;
    team.change_secret("ci", json!({ "stringData": { "token": "something else" } }))
        .await;
    team.change_secret("ci", json!({ "stringData": { "token": value } })).await;
    team.delete::<Secret>("ci").await;
    let moments = history.moments().await;
    let refused: Vec<bool> = moments.iter().map(|moment| !moment.refused().is_empty()).collect();
    assert_eq!(refused, [false, true, false, true]);
}
