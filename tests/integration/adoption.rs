//! Tokens that exist already and are taken over from a Secret.

use apitoken_operator::{
    api::{ApiToken, conditions::ConditionType},
    issuers::builtin,
};
use futures::future::join_all;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    tokens::{Team, hash, is_true, message_of, previous_hashes, reason_of, recorded_hash, rotations, status},
};

/// What somebody made by hand.
const VALUE: &str = "a-value-of-long-ago-that-is-long-enough";

/// What takes over `source`/`password` at the namespace's own issuer.
fn adopts(source: &str) -> Value {
    json!({
        "issuerRef": { "kind": "TokenIssuer", "name": "own" },
        "adopt": { "secretRef": { "name": source, "key": "password" } },
    })
}

/// A bed with the issuer `own`, and a value in the Secret `source`.
async fn bed(what: &str) -> Bed {
    let bed = Bed::new(what).await;
    bed.team.issuer("own", json!({ "builtin": {} })).await;
    bed.team.own_secret("source", json!({ "password": VALUE })).await;
    bed
}

/// It is refused, with a message that says so much, and nothing was written.
async fn is_refused(team: &Team, name: &str, why: &str) -> ApiToken {
    let token = team.reason(name, "AdoptionFailed").await;
    assert!(is_true(&token, ConditionType::Stalled));
    let message = message_of(&token, ConditionType::Ready);
    assert!(message.contains(why), "{why} in {message}");
    assert_eq!(status(&token).token, None);
    assert!(team.secret(name).await.is_none());
    token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_taken_over_and_its_source_left_alone() {
    let Bed { team, operator, .. } = bed("adopted").await;
    let source = team.secret("source").await.unwrap();
    team.declare("ci", adopts("source")).await;
    let token = team.ready("ci").await;
    assert_eq!(team.value("ci", "token").await, VALUE);
    assert_eq!(recorded_hash(&token), hash(VALUE));
    let record = status(&token).token.unwrap();
    assert!(
        record.id.is_some() && record.hint.is_none(),
        "no part of a value that is not ours is shown"
    );
    assert_eq!(rotations(&token), 0);
    assert_eq!(team.secret("source").await.unwrap(), source);

    team.delete::<Secret>("source").await;
    team.looked_at("ci").await;
    let token = team.ready("ci").await;
    assert_eq!(recorded_hash(&token), hash(VALUE), "the source is not needed any more");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_first_rotation_makes_a_value_of_our_own() {
    let Bed { team, operator, .. } = bed("adopted-rotates").await;
    let mut spec = adopts("source");
    spec["rotation"] = json!({ "interval": "240h", "overlap": "1h" });
    team.declare("ci", spec).await;
    team.ready("ci").await;
    team.request("ci", "now").await;
    let token = team.rotated("ci", 1).await;
    let value = team.value("ci", "token").await;
    assert!(builtin::is_well_formed(&value));
    assert_eq!(recorded_hash(&token), hash(&value));
    assert_eq!(status(&token).token.unwrap().hint.as_deref(), Some(&value[value.len() - 4..]));
    assert_eq!(previous_hashes(&token), [hash(VALUE)], "the adopted one works for the overlap");
    assert_eq!(team.value("source", "password").await, VALUE);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_issuer_adopts_nothing_unless_it_says_so() {
    let Bed { plane, team, operator } = bed("shared-adopts").await;
    let issuer = format!("adopts-{}", team.namespace);
    plane.cluster_issuer(&issuer, json!({ "builtin": {} })).await;
    let mut spec = adopts("source");
    spec["issuerRef"] = json!({ "kind": "ClusterTokenIssuer", "name": issuer });
    team.declare("ci", spec).await;
    is_refused(&team, "ci", "policy.adoption").await;
    plane
        .change_cluster_issuer(&issuer, json!({ "spec": { "policy": { "adoption": "Allow" } } }))
        .await;
    team.ready("ci").await;
    assert_eq!(team.value("ci", "token").await, VALUE);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_of_the_namespace_can_deny_it() {
    let Bed { team, operator, .. } = bed("denied-adopts").await;
    team.issuer("denies", json!({ "builtin": {}, "policy": { "adoption": "Deny" } }))
        .await;
    let mut spec = adopts("source");
    spec["issuerRef"]["name"] = json!("denies");
    team.declare("ci", spec).await;
    is_refused(&team, "ci", "policy.adoption").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_could_be_guessed_or_not_be_sent_is_refused() {
    let Bed { team, operator, .. } = bed("weak").await;
    for (name, value) in [
        ("short", "x".repeat(31)),
        ("line", format!("{VALUE}\n")),
        ("space", format!("{VALUE} {VALUE}")),
        ("umlaut", format!("{VALUE}ä")),
        ("empty", String::new()),
    ] {
        let source = format!("source-{name}");
        team.own_secret(&source, json!({ "password": value })).await;
        team.declare(name, adopts(&source)).await;
        let token = is_refused(&team, name, "32").await;
        let message = message_of(&token, ConditionType::Ready);
        assert!(value.is_empty() || !message.contains(&value), "the value is not shown");
    }
    team.own_secret("enough", json!({ "password": "y".repeat(32) })).await;
    team.declare("just-long-enough", adopts("enough")).await;
    team.ready("just-long-enough").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_not_there_is_looked_for_again() {
    let bed = bed("source-missing").await;
    bed.team.declare("ci", adopts("later")).await;
    is_refused(&bed.team, "ci", "later").await;
    bed.team.own_secret("later", json!({ "other-key": VALUE })).await;
    bed.pass(SignedDuration::from_mins(1), "ci").await;
    let names_the_key = |token: &ApiToken| message_of(token, ConditionType::Ready).contains("password");
    bed.team.until("ci", "the key is missing", names_the_key).await;
    let patch = json!({ "stringData": { "password": VALUE } });
    bed.team.change_secret("later", patch).await;
    bed.pass(SignedDuration::from_mins(1), "ci").await;
    bed.team.ready("ci").await;
    assert_eq!(bed.team.value("ci", "token").await, VALUE);
    bed.operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_another_token_has_or_had_is_refused() {
    let Bed { team, operator, .. } = bed("others-value").await;
    let own = json!({ "kind": "TokenIssuer", "name": "own" });
    team.declare(
        "owner",
        json!({ "issuerRef": own, "rotation": { "interval": "240h", "overlap": "1h" } }),
    )
    .await;
    team.ready("owner").await;
    let first = team.value("owner", "token").await;
    team.request("owner", "now").await;
    team.rotated("owner", 1).await;
    let second = team.value("owner", "token").await;
    for (name, value) in [("had", first), ("has", second)] {
        let source = format!("source-{name}");
        team.own_secret(&source, json!({ "password": value })).await;
        team.declare(name, adopts(&source)).await;
        is_refused(&team, name, "ApiToken \"owner\"").await;
    }
    team.declare("ci", adopts("source")).await;
    team.ready("ci").await;
    team.declare("twin", adopts("source")).await;
    is_refused(&team, "twin", "ApiToken \"ci\"").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_source_can_not_be_the_target() {
    let Bed { team, operator, .. } = bed("same").await;
    let source = team.secret("source").await.unwrap();
    let mut spec = adopts("source");
    spec["secret"] = json!({ "name": "source" });
    team.declare("ci", spec).await;
    let token = team.reason("ci", "SecretConflict").await;
    assert_eq!(status(&token).token, None);
    assert_eq!(team.secret("source").await.unwrap(), source);
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_of_another_kind_is_no_source() {
    let Bed { team, operator, .. } = bed("tls").await;
    let object =
        json!({ "metadata": { "name": "tls" }, "type": "kubernetes.io/tls", "stringData": { "tls.crt": VALUE, "tls.key": VALUE } });
    let secret: Secret = serde_json::from_value(object).unwrap();
    team.api().create(&Default::default(), &secret).await.unwrap();
    let mut spec = adopts("tls");
    spec["adopt"]["secretRef"]["key"] = json!("tls.key");
    team.declare("ci", spec).await;
    is_refused(&team, "ci", "a credential of Kubernetes itself").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_built_in_issuer_knows_no_ids_to_adopt() {
    let Bed { team, operator, .. } = bed("by-id").await;
    let spec = json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" }, "adopt": { "tokenID": "12345" } });
    team.declare("ci", spec).await;
    is_refused(&team, "ci", "adopt.secretRef").await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_want_one_value_at_once_one_gets_it() {
    let Bed { team, operator, .. } = bed("many").await;
    let names: Vec<String> = (0..8).map(|number| format!("ci-{number}")).collect();
    join_all(names.iter().map(|name| team.declare(name, adopts("source")))).await;
    let decided = |token: &ApiToken| ["Ready", "AdoptionFailed"].contains(&reason_of(token, ConditionType::Ready).as_str());
    let tokens = join_all(names.iter().map(|name| team.until(name, "decided", decided))).await;
    let holders = tokens.iter().filter(|token| recorded_hash(token) == hash(VALUE));
    assert_eq!(holders.count(), 1, "two tokens with one value could not be ended apart");
    operator.stop().await;
}
