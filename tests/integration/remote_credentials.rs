//! The credential by which an issuer is asked: it is read from its Secret, held while tokens need it, and
//! a new one is picked up at once.

use apitoken_operator::{
    api::{
        ApiToken, TokenIssuer,
        conditions::{self, ConditionType},
        names,
    },
    issuers::IssuerError,
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{
    eventually,
    issuer::{Call, Fault, PLAIN, When},
    remote::{ISSUER, Remote},
};

async fn until_issuer(remote: &Remote, reason: &str) -> TokenIssuer {
    eventually(&format!("the issuer says {reason}"), || async {
        let issuer = remote.token_issuer().await;
        let conditions = issuer.status.clone().unwrap_or_default().conditions;
        let ready = conditions::find(&conditions, ConditionType::Ready);
        let fresh = issuer.status.as_ref().and_then(|status| status.observed_generation) == issuer.metadata.generation;
        ready.is_some_and(|ready| ready.reason == reason && fresh).then_some(issuer.clone())
    })
    .await
}

async fn respec(remote: &Remote, patch: Value) {
    let api: Api<TokenIssuer> = remote.team.api();
    let patch = json!({ "spec": patch });
    api.patch(ISSUER, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

fn is_held(secret: &Secret) -> bool {
    secret.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
}

async fn until_gone(remote: &Remote, secret: &str) {
    eventually(&format!("Secret {secret} goes"), || async {
        remote.team.secret(secret).await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_says_what_is_wrong_with_its_credential_and_sees_at_once_when_it_is_mended() {
    let remote = Remote::new("credential", PLAIN).await;
    let named = |secret: &str, key: &str| json!({ "wavefront": { "credentialsRef": { "name": secret, "key": key } } });
    for (secret, key) in [("nowhere", "token"), ("vendor", "nothing")] {
        respec(&remote, named(secret, key)).await;
        let issuer = until_issuer(&remote, "CredentialNotFound").await;
        let ready = conditions::find(&issuer.status.unwrap().conditions, ConditionType::Ready)
            .unwrap()
            .message
            .clone();
        assert!(ready.contains(secret), "{ready}");
    }
    respec(&remote, named("new", "token")).await;
    until_issuer(&remote, "CredentialNotFound").await;
    remote.declare("ci", json!({})).await;
    remote.team.reason("ci", "IssuerNotReady").await;
    remote.team.credential("new", "vendor-credential\n").await;
    until_issuer(&remote, "Ready").await;
    remote.team.ready("ci").await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_credential_is_picked_up_at_once_by_the_issuer_and_by_tokens_that_failed() {
    let remote = Remote::issued("renewed", PLAIN, json!({})).await;
    for call in [Call::Inventory, Call::Create] {
        remote
            .issuer
            .fault(call, When::Always, Fault::Fails(IssuerError::CredentialRefused));
    }
    remote.ask_for_rotation("1").await;
    remote.team.reason("ci", "CredentialRefused").await;
    remote
        .team
        .change_secret("vendor", json!({ "metadata": { "labels": { "example.com/touched": "true" } } }))
        .await;
    until_issuer(&remote, "CredentialRefused").await;
    remote.issuer.heal();
    remote
        .team
        .change_secret("vendor", json!({ "stringData": { "token": "another-credential" } }))
        .await;
    until_issuer(&remote, "Ready").await;
    remote.rotated(1).await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_held_from_before_the_first_token_until_the_last_one_is_gone() {
    let remote = Remote::new("held", PLAIN).await;
    assert!(!is_held(&remote.team.secret("vendor").await.unwrap()), "nobody needs it yet");
    let (team, seen) = (remote.team.clone(), std::sync::Arc::new(std::sync::Mutex::new(None)));
    let found = seen.clone();
    remote.issuer.look_at(Call::Create, move || {
        let (team, found) = (team.clone(), found.clone());
        async move { *found.lock().unwrap() = Some(is_held(&team.secret("vendor").await.unwrap())) }
    });
    remote.declare("ci", json!({})).await;
    remote.team.ready("ci").await;
    assert_eq!(*seen.lock().unwrap(), Some(true), "held before the first token was made");

    remote.team.delete::<Secret>("vendor").await;
    remote.ask_for_rotation("1").await;
    remote.rotated(1).await;
    assert!(remote.team.secret("vendor").await.is_some(), "a token needs it");
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    until_gone(&remote, "vendor").await;
    assert_eq!(remote.issuer.live_ids(), [""; 0]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_deleted_is_held_no_longer_than_the_revoke_deadline() {
    let remote = Remote::issued("overdue", PLAIN, json!({})).await;
    remote.team.delete::<Secret>("vendor").await;
    remote.clock.advance(SignedDuration::from_mins(16));
    respec(&remote, json!({ "timeout": "20s" })).await;
    until_gone(&remote, "vendor").await;
    until_issuer(&remote, "CredentialNotFound").await;
    remote.team.credential("vendor", "another-credential").await;
    until_issuer(&remote, "Ready").await;
    eventually("the new one is held", || async {
        is_held(&remote.team.secret("vendor").await.unwrap()).then_some(())
    })
    .await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_former_credential_is_let_go() {
    let remote = Remote::issued("former", PLAIN, json!({})).await;
    remote.team.credential("new", "another-credential").await;
    respec(
        &remote,
        json!({ "wavefront": { "credentialsRef": { "name": "new", "key": "token" } } }),
    )
    .await;
    eventually("the new one is held, the former one is not", || async {
        let (former, new) = (remote.team.secret("vendor").await?, remote.team.secret("new").await?);
        (!is_held(&former) && is_held(&new)).then_some(())
    })
    .await;
    remote.team.delete::<Secret>("vendor").await;
    until_gone(&remote, "vendor").await;
    remote.ask_for_rotation("1").await;
    remote.rotated(1).await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_goes_lets_its_credential_go() {
    let remote = Remote::issued("goes", PLAIN, json!({})).await;
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    remote.team.delete::<TokenIssuer>(ISSUER).await;
    eventually("the credential is let go", || async {
        (!is_held(&remote.team.secret("vendor").await.unwrap())).then_some(())
    })
    .await;
    remote.stop().await;
}
