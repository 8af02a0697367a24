//! Tokens at an issuer that no ApiToken accounts for: they are found, written down, and ended where that
//! is declared. No id is lost, and nothing that somebody has is touched.

use apitoken_operator::{
    api::{ApiToken, TokenIssuer, names},
    controller::clock::Clock,
    issuers::{Capabilities, IssuerError},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    control_plane::OPERATOR_NAMESPACE,
    eventually,
    issuer::{Call, Fault, NAMELESS, PLAIN, When},
    remote::{ISSUER, Remote, current_id, for_each},
    tokens::Team,
};

/// With a token `ci` that is issued, and ids that no Secret of another test names.
async fn issued(what: &str, can: Capabilities, spec: Value) -> (Remote, String) {
    let remote = Remote::new(what, can).await;
    remote.issuer.number_by(&remote.team.namespace);
    remote.declare("ci", spec).await;
    let id = current_id(&remote.team.ready("ci").await);
    (remote, id)
}

const POLL: SignedDuration = SignedDuration::from_mins(10);

/// Lets the time until the next poll pass.
async fn poll(remote: &Remote) {
    remote.clock.advance(POLL);
    respec(
        remote,
        json!({ "metadata": { "annotations": { "example.com/nudge": remote.clock.now().to_string() } } }),
    )
    .await;
}

async fn respec(remote: &Remote, patch: Value) {
    let api: Api<TokenIssuer> = remote.team.api();
    api.patch(ISSUER, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn revoke_orphans(remote: &Remote) {
    respec(remote, json!({ "spec": { "orphanPolicy": "Revoke" } })).await;
}

async fn until_ledger(remote: &Remote, expected: &[(&str, &str)]) {
    let mut expected: Vec<_> = expected.iter().map(|(id, reason)| (id.to_string(), reason.to_string())).collect();
    expected.sort();
    let what = format!("the ledger of {} is {expected:?}", remote.team.namespace);
    eventually(&what, || async {
        let mut ledger = remote.ledger().await;
        ledger.sort();
        (ledger == expected).then_some(())
    })
    .await;
}

/// Removes an ApiToken as somebody does who takes the finalizer away by hand.
async fn force_delete(remote: &Remote, name: &str) {
    let down = IssuerError::Unavailable("it is down".to_owned());
    remote.issuer.fault(Call::Delete, When::Always, Fault::Fails(down));
    remote.team.delete::<ApiToken>(name).await;
    remote.team.change(name, json!({ "metadata": { "finalizers": null } })).await;
    remote.until_gone(name).await;
    remote.issuer.heal();
}

/// The ConfigMaps of this issuer: how many entries each holds.
async fn books(remote: &Remote) -> Vec<usize> {
    let api: Api<ConfigMap> = Api::namespaced(remote.plane.admin().await, OPERATOR_NAMESPACE);
    let maps = api.list(&ListParams::default().labels(names::LEDGER_LABEL)).await.unwrap();
    let ours = maps
        .items
        .iter()
        .filter(|map| map.annotations().get(names::LEDGER_NAMESPACE_ANNOTATION) == Some(&remote.team.namespace));
    ours.map(|map| map.data.as_ref().map_or(0, |data| data.len())).collect()
}

async fn cluster(remote: &Remote) -> String {
    let api: Api<Namespace> = Api::all(remote.plane.admin().await);
    let uid = api.get("kube-system").await.unwrap().uid().unwrap();
    uid.replace('-', "").chars().take(8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_object_that_was_deleted_by_force_is_found_and_ended_where_declared() {
    let (remote, id) = issued("forced", PLAIN, json!({})).await;
    let foreign = remote.issuer.plant(Some("a colleague's"));
    force_delete(&remote, "ci").await;
    eventually("its Secret goes", || async {
        remote.team.secret("ci").await.is_none().then_some(())
    })
    .await;
    assert_eq!(remote.issuer.live_ids(), [id.as_str(), &foreign.id]);
    poll(&remote).await;
    until_ledger(&remote, &[(id.as_str(), "Found")]).await;
    assert_eq!(remote.issuer.live_ids(), [id.as_str(), &foreign.id], "it is only told of");
    revoke_orphans(&remote).await;
    until_ledger(&remote, &[]).await;
    assert_eq!(remote.issuer.live_ids(), [foreign.id]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_ended_is_ended_as_soon_as_the_issuer_answers_again() {
    for_each([PLAIN, NAMELESS], async |can| {
        let (remote, id) = issued("heals", can, json!({})).await;
        let call = if can.revoke_before_delete { Call::Revoke } else { Call::Delete };
        let down = IssuerError::Unavailable("it is down".to_owned());
        remote.issuer.fault(call, When::Always, Fault::Fails(down));
        remote.team.delete::<ApiToken>("ci").await;
        for tried in 1..=3 {
            let resists = |token: &ApiToken| {
                let failures = token.status.as_ref().and_then(|status| status.failures.as_ref());
                failures.is_some_and(|failures| failures.count >= tried)
            };
            remote.team.until("ci", "resists", resists).await;
            remote.later(SignedDuration::from_mins(6)).await;
        }
        remote.until_gone("ci").await;
        poll(&remote).await;
        until_ledger(&remote, &[(id.as_str(), "NotRevoked")]).await;
        remote.issuer.heal();
        poll(&remote).await;
        until_ledger(&remote, &[]).await;
        assert_eq!(remote.issuer.live_ids(), [""; 0]);
        remote.stop().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retained_token_is_never_ended_and_leaves_the_ledger_when_somebody_ends_it() {
    let (remote, id) = issued("kept", PLAIN, json!({ "deletionPolicy": "Retain" })).await;
    revoke_orphans(&remote).await;
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    let stray = remote
        .issuer
        .plant(Some(&format!("ci k8s-{}-0123456789-1", cluster(&remote).await)));
    poll(&remote).await;
    eventually("the stray is ended", || async {
        remote.issuer.token(&stray.id).is_none().then_some(())
    })
    .await;
    until_ledger(&remote, &[(id.as_str(), "Retained")]).await;
    assert_eq!(remote.issuer.live_ids(), [id.as_str()]);
    remote.issuer.remove(&id);
    poll(&remote).await;
    until_ledger(&remote, &[]).await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_an_object_in_a_namespace_that_is_not_watched_is_left_alone() {
    let (remote, id) = issued("beside", PLAIN, json!({})).await;
    let elsewhere = Team::new(remote.plane.admin().await, &remote.plane.namespace("unwatched").await);
    let other = elsewhere
        .declare("ci", json!({ "issuerRef": { "kind": "TokenIssuer", "name": "other" } }))
        .await;
    let uid: String = other.uid().unwrap().replace('-', "").chars().take(10).collect();
    let cluster = cluster(&remote).await;
    let theirs = remote.issuer.plant(Some(&format!("ci k8s-{cluster}-{uid}-1")));
    let nobodys = remote.issuer.plant(Some(&format!("ci k8s-{cluster}-0123456789-1")));
    revoke_orphans(&remote).await;
    eventually("what is nobody's is ended", || async {
        remote.issuer.token(&nobodys.id).is_none().then_some(())
    })
    .await;
    until_ledger(&remote, &[]).await;
    assert_eq!(remote.issuer.live_ids(), [id.as_str(), &theirs.id]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_in_the_status_is_kept_in_the_operators_namespace() {
    let (remote, id) = issued("many", PLAIN, json!({})).await;
    let cluster = cluster(&remote).await;
    for number in 0..120 {
        remote.issuer.plant(Some(&format!("ci k8s-{cluster}-0123456789-{number}")));
    }
    poll(&remote).await;
    eventually("all are written down", || async {
        (remote.ledger().await.len() == 100 && books(&remote).await == [20]).then_some(())
    })
    .await;
    revoke_orphans(&remote).await;
    eventually("all are ended", || async {
        let left = remote.issuer.live_ids() == [id.as_str()] && remote.ledger().await.is_empty();
        (left && books(&remote).await.is_empty()).then_some(())
    })
    .await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_of_an_issuer_that_goes_is_kept() {
    let (remote, id) = issued("gone", PLAIN, json!({ "deletionPolicy": "Retain" })).await;
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    until_ledger(&remote, &[(id.as_str(), "Retained")]).await;
    remote.team.delete::<TokenIssuer>(ISSUER).await;
    eventually("the issuer goes", || async {
        remote
            .team
            .api::<TokenIssuer>()
            .get_opt(ISSUER)
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    assert_eq!(books(&remote).await, [1]);
    assert_eq!(remote.issuer.live_ids(), [id.as_str()]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_whose_issuer_was_removed_by_force_is_written_down_and_its_object_goes() {
    let (remote, _) = issued("lost", PLAIN, json!({})).await;
    remote.team.delete::<TokenIssuer>(ISSUER).await;
    respec(&remote, json!({ "metadata": { "finalizers": null } })).await;
    remote.team.reason("ci", "IssuerNotFound").await;
    remote.team.delete::<ApiToken>("ci").await;
    for tried in 1..=3 {
        let resists = |token: &ApiToken| {
            let failures = token.status.as_ref().and_then(|status| status.failures.as_ref());
            failures.is_some_and(|failures| failures.count >= tried)
        };
        remote.team.until("ci", "resists", resists).await;
        remote.later(SignedDuration::from_mins(6)).await;
    }
    remote.until_gone("ci").await;
    assert_eq!(books(&remote).await, [1]);
    remote.stop().await;
}
