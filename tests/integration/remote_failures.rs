//! An issuer that others run fails, refuses, or does not answer.

use apitoken_operator::{
    api::{ApiToken, TokenIssuer, api_token::Failures, conditions::ConditionType, names},
    issuers::{Capabilities, IssuerError},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{
    eventually,
    issuer::{Call, Fault, NAMELESS, PLAIN, READABLE, RESETTING, When},
    remote::{ISSUER, Remote, current_id, for_each},
    tokens::is_true,
};

/// After this long nothing of a lost call can turn up any more.
const LONG: SignedDuration = SignedDuration::from_secs(60);

fn failures(token: &ApiToken) -> Failures {
    token.status.as_ref().unwrap().failures.clone().expect("it failed")
}

fn unavailable() -> IssuerError {
    IssuerError::Unavailable("it is down".to_owned())
}

/// Has the operator look at `ci` once more, and waits until that and more is done.
async fn nothing_happens(remote: &Remote, after: SignedDuration) {
    let called = remote.issuer.called();
    remote.later(after).await;
    remote.team.declare(&format!("witness-{called}"), json!({})).await;
    remote.team.ready(&format!("witness-{called}")).await;
    assert_eq!(remote.issuer.called(), called, "the issuer is left in peace");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_leaves_no_second_token() {
    for_each([PLAIN, NAMELESS], async |can| {
        let remote = Remote::new("lost", can).await;
        remote.issuer.fault(Call::Create, When::Next, Fault::AnswerLost);
        remote.declare("ci", json!({})).await;
        let token = remote.team.reason("ci", "OutcomeUnknown").await;
        assert!(!is_true(&token, ConditionType::Stalled));
        assert_eq!(remote.issuer.live_ids(), ["tok-1"], "nobody knows its value");
        remote.later(LONG).await;
        let token = remote.team.ready("ci").await;
        assert_eq!(current_id(&token), "tok-2");
        assert_eq!(token.status.unwrap().attempts, Some(2));
        remote.is_whole().await;
        remote.stop().await;
    })
    .await;
}

/// A token whose value has nowhere to go would be made and ended again at each look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_is_made_while_a_foreign_secret_has_the_place_of_its_value() {
    let remote = Remote::new("taken", PLAIN).await;
    let theirs = remote.team.foreign_secret("ci").await;
    remote.declare("ci", json!({})).await;
    remote.team.reason("ci", "SecretConflict").await;
    nothing_happens(&remote, LONG * 2).await;
    assert_eq!(remote.issuer.calls(), [""; 0], "nothing was made");
    assert_eq!(remote.team.secret("ci").await.unwrap(), theirs, "not a byte of it changed");
    remote.team.delete::<Secret>("ci").await;
    remote.later(LONG).await;
    remote.team.ready("ci").await;
    assert_eq!(remote.issuer.calls(), ["create"]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_made_good_where_values_are_shown() {
    let remote = Remote::new("found", READABLE).await;
    remote.issuer.fault(Call::Create, When::Next, Fault::AnswerLost);
    remote.declare("ci", json!({})).await;
    remote.team.ready("ci").await;
    assert_eq!(remote.issuer.calls(), ["create"]);
    remote.is_whole().await;

    remote.issuer.fault(Call::Create, When::Next, Fault::AnswerLost);
    remote.ask_for_rotation("1").await;
    remote.rotated(1).await;
    assert_eq!(remote.issuer.calls(), ["create", "create", "delete tok-1"]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_rotation_leaves_the_old_token_working_until_there_is_a_new_one() {
    for_each(
        [(PLAIN, Call::Create), (NAMELESS, Call::Create), (RESETTING, Call::Reset)],
        async |(can, call)| {
            let remote = Remote::issued("halfway", can, json!({})).await;
            remote.issuer.fault(call, When::Next, Fault::AnswerLost);
            remote.ask_for_rotation("1").await;
            let token = remote.team.reason("ci", "OutcomeUnknown").await;
            assert_eq!(current_id(&token), "tok-1");
            assert_eq!(remote.team.value("ci", "token").await, remote.issuer.token("tok-1").unwrap().value);
            remote.later(LONG).await;
            assert_eq!(current_id(&remote.rotated(1).await), "tok-3", "{call}");
            remote.stop().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_is_looked_for_in_the_account_that_was_asked_for() {
    let policy = json!({ "policy": { "allowedAccounts": ["sa::*"] } });
    let remote = Remote::with("account", PLAIN, policy).await;
    remote.issuer.fault(Call::Create, When::Next, Fault::AnswerLost);
    remote.declare("ci", json!({ "account": "sa::a" })).await;
    remote.team.reason("ci", "OutcomeUnknown").await;
    remote.clock.advance(LONG);
    remote.respec(json!({ "account": "sa::b" })).await;
    remote.team.ready("ci").await;
    remote.is_whole().await;
    assert_eq!(remote.issuer.live()[0].account.as_deref(), Some("sa::b"));
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_never_answered_is_given_up_and_made_again() {
    let remote = Remote::with("hangs", PLAIN, json!({ "timeout": "1s" })).await;
    remote.issuer.fault(Call::Create, When::Next, Fault::Hangs);
    remote.declare("ci", json!({})).await;
    remote.team.reason("ci", "OutcomeUnknown").await;
    remote.later(LONG).await;
    remote.team.ready("ci").await;
    assert_eq!(remote.issuer.calls(), ["create", "create"]);
    remote.is_whole().await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_tokens_that_nobody_can_tell_apart_none_is_ended() {
    let remote = Remote::new("apart", NAMELESS).await;
    let somebody = remote.issuer.clone();
    remote.issuer.look_at(Call::Create, move || {
        let somebody = somebody.clone();
        async move {
            if somebody.calls().is_empty() {
                somebody.plant(None);
            }
        }
    });
    remote.issuer.fault(Call::Create, When::Next, Fault::AnswerLost);
    remote.declare("ci", json!({})).await;
    remote.team.reason("ci", "OutcomeUnknown").await;
    remote.later(LONG).await;
    let token = remote.team.ready("ci").await;
    assert_eq!(current_id(&token), "tok-3");
    assert_eq!(remote.issuer.live_ids(), ["tok-1", "tok-2", "tok-3"]);
    let entry = |id: &str| (id.to_owned(), "Ambiguous".to_owned());
    assert_eq!(remote.ledger().await, [entry("tok-1"), entry("tok-2")]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_tried_again() {
    for_each(
        [
            (unavailable(), "VendorUnavailable"),
            (IssuerError::QuotaExceeded, "QuotaExceeded"),
            (IssuerError::RateLimited { retry_after: None }, "RateLimited"),
        ],
        async |(error, reason)| {
            let remote = Remote::new("passes", PLAIN).await;
            remote.issuer.fault(Call::Create, When::Always, Fault::Fails(error));
            remote.declare("ci", json!({})).await;
            let token = remote.team.reason("ci", reason).await;
            assert!(!is_true(&token, ConditionType::Stalled), "{reason}");
            assert!(failures(&token).next_retry_at.is_some(), "{reason}");
            remote.issuer.heal();
            remote.later(SignedDuration::from_mins(5)).await;
            let token = remote.team.ready("ci").await;
            assert_eq!(token.status.unwrap().failures, None, "{reason}");
            remote.is_whole().await;
            remote.stop().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_is_left_in_peace_for_as_long_as_it_asks() {
    let remote = Remote::new("peace", PLAIN).await;
    let retry_after = Some(SignedDuration::from_mins(20));
    let error = IssuerError::RateLimited { retry_after };
    remote.issuer.fault(Call::Create, When::Next, Fault::Fails(error));
    remote.declare("ci", json!({})).await;
    let failed = failures(&remote.team.reason("ci", "RateLimited").await);
    let pause = failed.next_retry_at.unwrap().0.duration_since(failed.last_at.0);
    assert!(pause >= SignedDuration::from_mins(20), "{pause}");
    nothing_happens(&remote, SignedDuration::from_mins(19)).await;
    remote.later(SignedDuration::from_mins(1)).await;
    remote.team.ready("ci").await;
    remote.is_whole().await;
    remote.stop().await;
}

/// The issuer refuses the first token, until what can heal it does.
async fn refused_until<F: Future<Output = ()>>(error: IssuerError, reason: &str, heal: impl FnOnce(Remote) -> F) {
    let remote = Remote::new("refuses", PLAIN).await;
    remote.issuer.fault(Call::Create, When::Always, Fault::Fails(error));
    remote.declare("ci", json!({})).await;
    let token = remote.team.reason("ci", reason).await;
    assert_eq!(failures(&token).next_retry_at, None);
    assert_eq!(is_true(&token, ConditionType::Stalled), reason == "VendorRefused");
    nothing_happens(&remote, SignedDuration::from_hours(1)).await;
    remote.issuer.heal();
    heal(remote).await;
}

async fn healed(remote: Remote) {
    remote.team.ready("ci").await;
    assert_eq!(remote.issuer.calls(), ["create", "create"]);
    remote.is_whole().await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_waits_for_another_spec() {
    let refused = IssuerError::Refused("no such thing".to_owned());
    refused_until(refused, "VendorRefused", |remote| async {
        remote.respec(json!({ "description": "another" })).await;
        healed(remote).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_tried_on_request() {
    let refused = IssuerError::Refused("no such thing".to_owned());
    refused_until(refused, "VendorRefused", |remote| async {
        remote.ask_for_rotation("1").await;
        healed(remote).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_is_refused_waits_for_another_issuer_spec() {
    refused_until(IssuerError::CredentialRefused, "CredentialRefused", |remote| async {
        let patch = Patch::Merge(json!({ "spec": { "timeout": "20s" } }));
        let issuers = remote.team.api::<TokenIssuer>();
        issuers.patch(ISSUER, &PatchParams::default(), &patch).await.unwrap();
        healed(remote).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_that_fails_leaves_the_old_token_working() {
    for_each(
        [(PLAIN, Call::Create), (RESETTING, Call::Reset), (NAMELESS, Call::Create)],
        async |(can, call)| {
            let remote = Remote::issued("keeps", can, json!({})).await;
            remote.issuer.fault(call, When::Always, Fault::Fails(unavailable()));
            remote.ask_for_rotation("1").await;
            let token = remote.team.reason("ci", "VendorUnavailable").await;
            assert!(is_true(&token, ConditionType::Active));
            remote.is_whole().await;
            remote.issuer.heal();
            remote.later(SignedDuration::from_mins(5)).await;
            remote.rotated(1).await;
            remote.stop().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_away_changes_nothing_about_a_token() {
    let remote = Remote::issued("away", PLAIN, json!({})).await;
    remote.issuer.fault(Call::List, When::Always, Fault::Fails(unavailable()));
    remote.later(SignedDuration::from_mins(11)).await;
    let token = remote.team.reason("ci", "VendorUnavailable").await;
    assert!(is_true(&token, ConditionType::Active) && is_true(&token, ConditionType::SecretSynced));
    remote.issuer.heal();
    remote.later(SignedDuration::from_mins(5)).await;
    remote.team.ready("ci").await;
    assert_eq!(remote.issuer.calls(), ["create"]);
    remote.is_whole().await;
    remote.stop().await;
}

/// The answer to `call` gets lost where `annotations` or `spec` of the token change.
async fn answer_lost(can: Capabilities, call: Call, patch: serde_json::Value) {
    let remote = Remote::issued("twice", can, json!({})).await;
    remote.clock.advance(SignedDuration::from_secs(10));
    remote.issuer.fault(call, When::Next, Fault::AnswerLost);
    remote.team.change("ci", patch).await;
    let called = || remote.issuer.calls().iter().any(|called| called.starts_with(&call.to_string()));
    eventually(&format!("the answer to {call} is lost"), || async { called().then_some(()) }).await;
    remote.later(LONG).await;
    remote
        .team
        .until("ci", "as declared", |token| {
            let status = token.status.as_ref().unwrap();
            let done = status.failures.is_none() && status.previous.is_empty() && status.pending.is_none();
            done && status.observed_generation == token.metadata.generation && is_true(token, ConditionType::Ready)
        })
        .await;
    remote.is_whole().await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_that_makes_no_token_may_be_repeated() {
    let rotate = json!({ "metadata": { "annotations": { names::ROTATE_REQUESTED_AT_ANNOTATION: "1" } } });
    answer_lost(PLAIN, Call::Delete, rotate.clone()).await;
    answer_lost(NAMELESS, Call::Revoke, rotate).await;
    answer_lost(READABLE, Call::Suspend, json!({ "spec": { "state": "Suspended" } })).await;
    answer_lost(READABLE, Call::Update, json!({ "spec": { "displayName": "new" } })).await;
}
