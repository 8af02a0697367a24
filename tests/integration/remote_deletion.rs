//! What becomes of tokens at an issuer that others run when their ApiToken goes.

use apitoken_operator::{
    api::{ApiToken, TokenIssuer},
    issuers::IssuerError,
};
use jiff::SignedDuration;
use serde_json::json;

use crate::support::{
    eventually,
    issuer::{Call, Fault, NAMELESS, PLAIN, RESETTING, When},
    remote::{ISSUER, Remote, for_each},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_ended_before_their_object_goes() {
    for_each(
        [
            (PLAIN, &["create", "create", "delete tok-1", "delete tok-2"][..]),
            (RESETTING, &["create", "reset tok-1", "delete tok-1", "delete tok-2"]),
            (
                NAMELESS,
                &["create", "create", "revoke tok-1", "delete tok-1", "revoke tok-2", "delete tok-2"],
            ),
        ],
        async |(can, calls)| {
            let remote = Remote::issued("deleted", can, json!({ "rotation": { "interval": "24h", "overlap": "2h" } })).await;
            remote.ask_for_rotation("1").await;
            remote
                .team
                .until("ci", "rotated", |token| token.status.as_ref().unwrap().rotations == Some(1))
                .await;
            remote.team.delete::<ApiToken>("ci").await;
            remote.until_gone("ci").await;
            assert_eq!(remote.issuer.calls(), calls);
            assert_eq!(remote.issuer.live_ids(), [""; 0]);
            assert!(remote.ledger().await.is_empty());
            eventually("the Secret goes", || async {
                remote.team.secret("ci").await.is_none().then_some(())
            })
            .await;
            remote.stop().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_to_stay_is_written_down() {
    let remote = Remote::issued("retained", PLAIN, json!({ "deletionPolicy": "Retain" })).await;
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    assert_eq!(remote.issuer.live_ids(), ["tok-1"]);
    assert_eq!(remote.ledger().await, [("tok-1".to_owned(), "Retained".to_owned())]);
    let orphan = remote.token_issuer().await.status.unwrap().orphans.remove(0);
    assert_eq!(orphan.api_token, Some(format!("{}/ci", remote.team.namespace)));
    assert_eq!(orphan.name, remote.issuer.token("tok-1").unwrap().name);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_deleted_first_waits_until_its_tokens_are_ended() {
    let remote = Remote::issued("waits", PLAIN, json!({})).await;
    remote.team.delete::<TokenIssuer>(ISSUER).await;
    remote.team.delete::<ApiToken>("ci").await;
    remote.until_gone("ci").await;
    assert_eq!(remote.issuer.live_ids(), [""; 0]);
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
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_goes_with_its_issuer_and_all_tokens_are_ended() {
    let remote = Remote::new("goes", PLAIN).await;
    for number in 0..5 {
        remote.declare(&format!("ci-{number}"), json!({})).await;
    }
    for number in 0..5 {
        remote.team.ready(&format!("ci-{number}")).await;
    }
    assert_eq!(remote.issuer.live().len(), 5);
    remote
        .plane
        .kubectl(&["delete", "namespace", &remote.team.namespace, "--timeout=60s"]);
    assert_eq!(remote.issuer.live_ids(), [""; 0]);
    remote.stop().await;
}

/// Deletes `ci` while the issuer fails like that each time it is to end a token, until that many tries failed.
async fn resisted(error: IssuerError, tries: i32) -> Remote {
    let remote = Remote::issued("resists", PLAIN, json!({})).await;
    remote.issuer.fault(Call::Delete, When::Always, Fault::Fails(error));
    remote.team.delete::<ApiToken>("ci").await;
    for tried in 1..=tries {
        remote
            .team
            .until("ci", &format!("failed {tried} times"), |token| {
                let failures = token.status.as_ref().and_then(|status| status.failures.as_ref());
                failures.is_some_and(|failures| failures.count >= tried)
            })
            .await;
        remote.later(SignedDuration::from_mins(6)).await;
    }
    remote
}

async fn ends_in_the_ledger(error: IssuerError) {
    let remote = resisted(error, 3).await;
    remote.until_gone("ci").await;
    assert!(
        remote.issuer.calls().len() >= 4,
        "created, and three tries to end it: {:?}",
        remote.issuer.calls()
    );
    assert_eq!(remote.issuer.live_ids(), ["tok-1"]);
    assert_eq!(remote.ledger().await, [("tok-1".to_owned(), "NotRevoked".to_owned())]);
    eventually("it is told", || async {
        remote.team.events("ci").await.contains(&"Orphaned".to_owned()).then_some(())
    })
    .await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_an_issuer_is_too_busy_to_end_is_written_down_after_the_deadline() {
    ends_in_the_ledger(IssuerError::Unavailable("it is down".to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_an_issuer_refuses_to_end_is_written_down_after_the_deadline() {
    ends_in_the_ledger(IssuerError::Refused("the last token stays".to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_an_issuer_ends_at_last_is_not_written_down() {
    let remote = resisted(IssuerError::Unavailable("it is down".to_owned()), 2).await;
    remote.issuer.heal();
    remote.later(SignedDuration::from_mins(2)).await;
    remote.until_gone("ci").await;
    assert_eq!(remote.issuer.live_ids(), [""; 0]);
    assert!(remote.ledger().await.is_empty());
    remote.stop().await;
}
