//! A Secret that gets another name: the value moves, and nothing is issued.

use apitoken_operator::api::{ApiToken, names};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    audit::Moment,
    control_plane::{self, ControlPlane, OPERATOR_USER},
    eventually,
    history::History,
    operator::{InProcess, Program},
    proxy::{Cut, Fault, Proxy},
    tokens::{Team, hash, recorded_hash, rotations, status},
};

async fn name_secret(team: &Team, secret: Value) {
    team.change("ci", json!({ "spec": { "secret": secret } })).await;
}

/// That Secret holds the value, the ApiToken says so, and there is no other.
async fn holds(team: &Team, secret: &str, value: &str) {
    let token = team.ready("ci").await;
    assert_eq!(team.value(secret, "token").await, value);
    assert_eq!((recorded_hash(&token), rotations(&token)), (hash(value), 0));
    assert_eq!(status(&token).secret_ref.unwrap().name, secret);
    let secrets = team.api::<Secret>().list_metadata(&Default::default()).await.unwrap();
    let ours = secrets.iter().filter(|found| {
        let annotations = found.metadata.annotations.as_ref();
        annotations.is_some_and(|annotations| annotations.contains_key(names::API_TOKEN_ANNOTATION))
    });
    assert_eq!(ours.count(), 1, "no copy of the value stays behind");
}

/// The writes in the team's namespace, Events apart.
fn writes(plane: &ControlPlane, team: &Team, since: Moment) -> Vec<String> {
    let writes = plane.audit().writes(OPERATOR_USER, since).into_iter();
    let ours = writes.filter(|write| write.namespace == team.namespace && write.resource != "events");
    ours.map(|write| format!("{} {} {}", write.verb, write.resource, write.name))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_value_moves_to_the_new_name_and_back() {
    let Bed { plane, team, operator } = Bed::new("moves").await;
    team.declare(
        "ci",
        json!({ "secret": { "labels": { "team": "shop" }, "template": { "URL": "https://{{ token }}" } } }),
    )
    .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    let history = History::begin(&team).await;
    let since = plane.audit().now();
    name_secret(&team, json!({ "name": "moved" })).await;
    holds(&team, "moved", &value).await;
    assert_eq!(team.value("moved", "URL").await, format!("https://{value}"));

    let three = ["create secrets moved", "delete secrets ci", "update apitokens/status ci"];
    eventually("the move took these three writes", || async {
        (writes(plane, &team, since) == three).then_some(())
    })
    .await;

    name_secret(&team, json!({ "name": null })).await;
    holds(&team, "ci", &value).await;
    history.no_value_was_refused().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_type_can_change_on_the_way() {
    let Bed { team, operator, .. } = Bed::new("type").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    name_secret(&team, json!({ "name": "typed", "type": "example.com/token" })).await;
    holds(&team, "typed", &value).await;
    assert_eq!(team.secret("typed").await.unwrap().type_.as_deref(), Some("example.com/token"));

    let login =
        json!({ "name": "login", "type": "kubernetes.io/basic-auth", "key": "password", "template": { "username": "{{ account }}" } });
    name_secret(&team, login).await;
    let token = team.ready("ci").await;
    assert_eq!(team.value("login", "password").await, value, "the key too");
    assert_eq!((recorded_hash(&token), rotations(&token)), (hash(&value), 0));
    assert!(team.secret("typed").await.is_none());
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_to_stay_moves_too() {
    let Bed { team, operator, .. } = Bed::new("stays").await;
    team.declare("ci", json!({ "secret": { "deletionPolicy": "Retain" } })).await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    name_secret(&team, json!({ "name": "moved" })).await;
    holds(&team, "moved", &value).await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_secret_at_the_new_name_is_not_touched_and_the_old_one_stays() {
    let bed = Bed::new("foreign-move").await;
    bed.team.declare("ci", json!({})).await;
    bed.team.ready("ci").await;
    let ours = bed.team.secret("ci").await.unwrap();
    let value = bed.team.value("ci", "token").await;
    let theirs = bed.team.foreign_secret("theirs").await;
    name_secret(&bed.team, json!({ "name": "theirs" })).await;
    let token = bed.team.reason("ci", "SecretConflict").await;
    assert_eq!(recorded_hash(&token), hash(&value));
    assert_eq!(bed.team.secret("theirs").await.unwrap(), theirs);
    assert_eq!(bed.team.secret("ci").await.unwrap(), ours, "consumers go on with it");

    name_secret(&bed.team, json!({ "name": null })).await;
    holds(&bed.team, "ci", &value).await;
    name_secret(&bed.team, json!({ "name": "theirs" })).await;
    bed.team.reason("ci", "SecretConflict").await;
    bed.team.delete::<Secret>("theirs").await;
    bed.pass(SignedDuration::from_mins(1), "ci").await;
    holds(&bed.team, "theirs", &value).await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_of_another_token_at_the_new_name_is_not_taken() {
    let Bed { team, operator, .. } = Bed::new("others-move").await;
    team.declare("ci", json!({})).await;
    team.declare("other", json!({})).await;
    team.ready("ci").await;
    team.ready("other").await;
    let value = team.value("ci", "token").await;
    let others = team.value("other", "token").await;
    name_secret(&team, json!({ "name": "other" })).await;
    team.reason("ci", "SecretConflict").await;
    assert_eq!(team.value("other", "token").await, others);
    team.delete::<ApiToken>("other").await;
    eventually("the value moves once the name is free", || async {
        (team.value("other", "token").await == value).then_some(())
    })
    .await;
    team.ready("ci").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_old_name_is_free_for_another_token_afterwards() {
    let Bed { team, operator, .. } = Bed::new("freed").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    team.declare("heir", json!({ "secret": { "name": "ci" } })).await;
    team.reason("heir", "SecretConflict").await;
    name_secret(&team, json!({ "name": "moved" })).await;
    team.ready("ci").await;
    team.ready("heir").await;
    assert_eq!(team.value("moved", "token").await, value);
    assert_ne!(team.value("ci", "token").await, value);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_secret_that_is_lost_on_the_way_leads_to_a_new_value() {
    let Bed { team, operator, .. } = Bed::new("lost-move").await;
    team.declare("ci", json!({})).await;
    let old = recorded_hash(&team.ready("ci").await);
    team.annotate("ci", json!({ names::PAUSED_ANNOTATION: "true" })).await;
    name_secret(&team, json!({ "name": "moved" })).await;
    team.delete::<Secret>("ci").await;
    team.annotate("ci", json!({ names::PAUSED_ANNOTATION: null })).await;
    let token = team.rotated("ci", 1).await;
    assert_ne!(recorded_hash(&token), old);
    assert_eq!(recorded_hash(&token), hash(&team.value("moved", "token").await));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_during_an_overlap_takes_the_previous_value_along() {
    let Bed { team, operator, .. } = Bed::new("overlap-move").await;
    let spec = json!({ "rotation": { "interval": "240h", "overlap": "1h" }, "secret": { "includePrevious": true } });
    team.declare("ci", spec).await;
    team.ready("ci").await;
    team.request("ci", "now").await;
    team.rotated("ci", 1).await;
    let values = (team.value("ci", "token").await, team.value("ci", names::PREVIOUS_TOKEN_KEY).await);
    name_secret(&team, json!({ "name": "moved" })).await;
    let token = team.ready("ci").await;
    let moved = (
        team.value("moved", "token").await,
        team.value("moved", names::PREVIOUS_TOKEN_KEY).await,
    );
    assert_eq!(moved, values);
    assert_eq!(rotations(&token), 1);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_during_a_rotation_ends_with_the_new_value_at_the_new_name() {
    let delay = SignedDuration::from_mins(10);
    let bed = Bed::with_delay("rotation-move", delay).await;
    bed.team.declare("ci", json!({})).await;
    let old = recorded_hash(&bed.team.ready("ci").await);
    let history = History::begin(&bed.team).await;
    bed.pass(delay, "ci").await;
    bed.team.request("ci", "now").await;
    bed.team.announced("ci").await;
    name_secret(&bed.team, json!({ "name": "moved" })).await;
    bed.team.passed_by("ci").await;
    bed.pass(delay, "ci").await;
    let token = bed.team.rotated("ci", 1).await;
    let value = bed.team.value("moved", "token").await;
    assert!(recorded_hash(&token) == hash(&value) && hash(&value) != old);
    assert!(bed.team.secret("ci").await.is_none());
    history.no_value_was_refused().await;
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawn_token_comes_back_at_the_new_name_alone() {
    let Bed { team, operator, .. } = Bed::new("withdrawn-move").await;
    team.declare("ci", json!({ "suspendPolicy": "Withdraw" })).await;
    let old = recorded_hash(&team.ready("ci").await);
    team.change("ci", json!({ "spec": { "state": "Suspended", "secret": { "name": "moved" } } }))
        .await;
    team.ready("ci").await;
    team.change("ci", json!({ "spec": { "state": "Active" } })).await;
    let token = team.ready("ci").await;
    assert_ne!(recorded_hash(&token), old);
    let value = team.value("moved", "token").await;
    holds(&team, "moved", &value).await;
    operator.stop().await;
}

/// The operator is away when the new Secret is there and the old one not gone yet.
async fn cut_short(what: &str, spec: Value) -> (Team, String) {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace(what).await);
    let proxy = Proxy::start(plane.anonymous().await).await;
    let by_proxy = plane.operator_kubeconfig(Some(proxy.address())).await;
    let program = Program::start_with(plane, &by_proxy, &[&format!("--watch-namespace={}", team.namespace)]).await;
    team.declare("ci", spec).await;
    let old = recorded_hash(&team.ready("ci").await);
    proxy.hold(Fault::at("DELETE", "/secrets/ci", Cut::Before));
    name_secret(&team, json!({ "name": "moved" })).await;
    proxy.holds_the_request().await;
    program.kill();
    assert!(team.secret("moved").await.is_some() && team.secret("ci").await.is_some());
    (team, old)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_cut_short_leaves_nothing_of_a_revoked_token() {
    let (team, _) = cut_short("cut-revoked", json!({})).await;
    team.change("ci", json!({ "spec": { "state": "Revoked" } })).await;
    let operator = InProcess::start(control_plane::shared(), &team.namespace).await;
    eventually("no Secret is left", || async {
        let gone = team.secret("ci").await.is_none() && team.secret("moved").await.is_none();
        gone.then_some(())
    })
    .await;
    team.ready("ci").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_that_was_cut_short_brings_no_withdrawn_value_back() {
    let (team, old) = cut_short("cut-withdrawn", json!({ "suspendPolicy": "Withdraw" })).await;
    team.change("ci", json!({ "spec": { "state": "Suspended" } })).await;
    let operator = InProcess::start(control_plane::shared(), &team.namespace).await;
    team.ready("ci").await;
    team.change("ci", json!({ "spec": { "state": "Active" } })).await;
    let token = team.ready("ci").await;
    assert_ne!(recorded_hash(&token), old, "an ended value never works again");
    let value = team.value("moved", "token").await;
    holds(&team, "moved", &value).await;
    operator.stop().await;
}
