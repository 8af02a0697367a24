//! The life of a token at an issuer that others run.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use apitoken_operator::{
    api::{ApiToken, TokenIssuer, api_token::ObservedState, conditions::ConditionType, names},
    issuers::{Capabilities, ListedState},
};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::{
    eventually,
    issuer::{Call, NAMELESS, PLAIN, READABLE, RESETTING, SUSPENDING},
    remote::{ISSUER, Remote, current_id, for_each, of_the_issuer},
    tokens::{is_true, state},
};

/// What a look during a call finds, gathered.
type Found<T> = Arc<Mutex<Vec<T>>>;

/// Looks at the ApiToken `ci` whenever that call comes in.
fn watch<T: Send + 'static>(remote: &Remote, call: Call, see: fn(&ApiToken) -> T) -> Found<T> {
    let found = Found::default();
    let (team, finds) = (remote.team.clone(), found.clone());
    remote.issuer.look_at(call, move || {
        let (team, finds) = (team.clone(), finds.clone());
        async move {
            let seen = see(&team.token("ci").await);
            finds.lock().unwrap().push(seen);
        }
    });
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_stands_in_the_status_and_all_is_held_before_the_first_token_is_made() {
    let remote = Remote::new("intent", PLAIN).await;
    let found = Found::default();
    let (team, finds) = (remote.team.clone(), found.clone());
    remote.issuer.look_at(Call::Create, move || {
        let (team, finds) = (team.clone(), finds.clone());
        async move {
            let issuer = team.api::<TokenIssuer>().get(ISSUER).await.unwrap();
            let token = team.token("ci").await;
            finds.lock().unwrap().push((token, issuer));
        }
    });
    remote.declare("ci", json!({ "displayName": "CI pipeline" })).await;
    remote.team.ready("ci").await;
    remote.is_whole().await;
    assert_eq!(remote.issuer.calls(), ["create"]);

    let (token, issuer) = found.lock().unwrap().pop().unwrap();
    assert_eq!(
        (token.finalizers(), issuer.finalizers()),
        (&[names::FINALIZER.to_owned()][..], &[names::FINALIZER.to_owned()][..])
    );
    let uid: String = token.uid().unwrap().chars().filter(char::is_ascii_hexdigit).take(10).collect();
    let intent = token
        .status
        .and_then(|status| status.pending)
        .expect("the intent is written before the call");
    let name = remote.issuer.token("tok-1").unwrap().name.unwrap();
    assert_eq!((intent.attempt, intent.name.as_ref()), (1, Some(&name)));
    assert!(
        name.starts_with("CI pipeline k8s-") && name.ends_with(&format!("-{uid}-1")),
        "{name}"
    );
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_without_overlap_is_replaced_and_then_ended() {
    for_each(
        [
            (PLAIN, &["create", "create", "delete tok-1"][..]),
            (RESETTING, &["create", "reset tok-1", "delete tok-1"]),
            (NAMELESS, &["create", "create", "revoke tok-1", "delete tok-1"]),
        ],
        async |(can, calls)| {
            let remote = Remote::issued("replaced", can, json!({})).await;
            let first = if can == NAMELESS { Call::Revoke } else { Call::Delete };
            let recorded = watch(&remote, first, current_id);
            remote.ask_for_rotation("1").await;
            let token = remote.rotated(1).await;
            assert_eq!(remote.issuer.calls(), calls);
            assert_eq!(
                recorded.lock().unwrap().as_slice(),
                ["tok-2"],
                "the new one counts before the old one ends"
            );
            assert_eq!(token.status.unwrap().attempts, Some(2));
            settles(&remote).await;
            remote.stop().await;
        },
    )
    .await;
}

/// Time passes, and nothing more is done at the issuer.
async fn settles(remote: &Remote) {
    let calls = remote.issuer.calls();
    for _ in 0..3 {
        let before = remote.issuer.called();
        remote.later(SignedDuration::from_mins(11)).await;
        eventually("the issuer is asked", || async { (remote.issuer.called() > before).then_some(()) }).await;
    }
    assert_eq!(remote.issuer.calls(), calls, "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_token_works_on_for_the_overlap() {
    let rotation = |overlap: &str| json!({ "rotation": { "interval": "48h", "overlap": overlap } });
    for_each(
        [
            (PLAIN, "1h", 1, "create"),
            (RESETTING, "11h", 11, "reset tok-1"),
            (RESETTING, "12h", 12, "create"),
        ],
        async |(can, overlap, hours, made)| {
            let remote = Remote::issued("overlap", can, rotation(overlap)).await;
            remote.ask_for_rotation("1").await;
            let token = remote
                .team
                .until("ci", "rotated", |token| token.status.as_ref().unwrap().rotations == Some(1))
                .await;
            assert_eq!(remote.issuer.calls(), ["create", made]);
            assert_eq!(remote.issuer.live_ids(), ["tok-1", "tok-2"], "both work");
            assert_eq!(token.status.unwrap().previous[0].id.as_deref(), Some("tok-1"));
            remote.later(SignedDuration::from_hours(hours)).await;
            remote.rotated(1).await;
            remote.stop().await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leak_ends_the_replaced_token_and_those_of_an_overlap_at_once() {
    let spec = json!({ "rotation": { "interval": "48h", "overlap": "4h" } });
    let remote = Remote::issued("leaked", PLAIN, spec).await;
    remote.ask_for_rotation("1").await;
    remote.until_live(&["tok-1", "tok-2"]).await;
    remote
        .team
        .until("ci", "rotated", |token| token.status.as_ref().unwrap().rotations == Some(1))
        .await;
    remote.clock.advance(SignedDuration::from_secs(10));
    let annotations = json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: "2", names::ROTATE_OVERLAP_ANNOTATION: "0s" });
    remote
        .team
        .change("ci", json!({ "metadata": { "annotations": annotations } }))
        .await;
    remote.rotated(2).await;
    assert_eq!(remote.issuer.live_ids(), ["tok-3"]);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interval_is_kept_and_what_was_missed_is_done_once() {
    let remote = Remote::issued("interval", PLAIN, json!({ "rotation": { "interval": "24h" } })).await;
    remote.later(SignedDuration::from_hours(24)).await;
    remote.rotated(1).await;
    remote.later(SignedDuration::from_hours(240)).await;
    let token = remote.rotated(2).await;
    assert_eq!(token.status.unwrap().last_rotation_reason.as_deref(), Some("Interval"));
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_and_those_of_its_overlap_are_suspended_and_activated_by_the_issuer() {
    let spec = json!({ "rotation": { "interval": "24h", "overlap": "2h" } });
    let remote = Remote::issued("suspended", SUSPENDING, spec).await;
    remote.ask_for_rotation("1").await;
    remote
        .team
        .until("ci", "rotated", |token| token.status.as_ref().unwrap().rotations == Some(1))
        .await;
    for (wanted, observed, at_the_issuer) in [
        ("Suspended", ObservedState::Suspended, ListedState::Suspended),
        ("Active", ObservedState::Active, ListedState::Active),
    ] {
        remote.respec(json!({ "state": wanted })).await;
        let token = remote.team.ready("ci").await;
        assert_eq!(state(&token), Some(observed));
        let states: Vec<_> = remote.issuer.live().iter().map(|token| token.state).collect();
        assert_eq!(states, [at_the_issuer; 2], "both of them");
        assert_eq!(current_id(&token), "tok-2");
    }
    let calls = [
        "create",
        "create",
        "suspend tok-1",
        "suspend tok-2",
        "activate tok-1",
        "activate tok-2",
    ];
    assert_eq!(remote.issuer.calls(), calls);
    remote.later(SignedDuration::from_hours(2)).await;
    remote.rotated(1).await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_cannot_suspend_says_so_or_has_the_token_withdrawn() {
    let remote = Remote::issued("withdrawn", PLAIN, json!({})).await;
    remote.respec(json!({ "state": "Suspended" })).await;
    let token = remote.team.reason("ci", "SuspendNotSupported").await;
    assert!(is_true(&token, ConditionType::Stalled));
    assert_eq!(
        state(&token),
        Some(ObservedState::Active),
        "it still works, and the status does not hide it"
    );
    remote.is_whole().await;

    remote.respec(json!({ "suspendPolicy": "Withdraw" })).await;
    let token = remote.team.ready("ci").await;
    assert_eq!((state(&token), current_id(&token)), (Some(ObservedState::Suspended), String::new()));
    assert_eq!(remote.issuer.live_ids(), [""; 0]);

    remote.clock.advance(SignedDuration::from_secs(10));
    remote.respec(json!({ "state": "Active" })).await;
    let token = remote.team.ready("ci").await;
    assert_eq!(
        (state(&token), current_id(&token)),
        (Some(ObservedState::Active), "tok-2".to_owned())
    );
    assert_eq!(remote.issuer.calls(), ["create", "delete tok-1", "create"]);
    remote.is_whole().await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn current_and_replaced_tokens_are_ended_before_the_status_says_revoked() {
    let spec = json!({ "rotation": { "interval": "24h", "overlap": "2h" } });
    let remote = Remote::issued("revoked", PLAIN, spec).await;
    remote.ask_for_rotation("1").await;
    remote
        .team
        .until("ci", "rotated", |token| token.status.as_ref().unwrap().rotations == Some(1))
        .await;
    let states = watch(&remote, Call::Delete, state);
    remote.respec(json!({ "state": "Revoked" })).await;
    let token = remote.team.ready("ci").await;
    assert_eq!(state(&token), Some(ObservedState::Revoked));
    assert_eq!(states.lock().unwrap().as_slice(), [Some(ObservedState::Active); 2]);
    assert_eq!(remote.issuer.live_ids(), [""; 0]);
    assert!(remote.team.secret("ci").await.is_none());
    assert!(token.status.unwrap().previous.is_empty());
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_past_its_time_is_ended_at_an_issuer_that_does_not_end_it() {
    let remote = Remote::issued("expired", PLAIN, json!({ "lifetime": "1h" })).await;
    remote.later(SignedDuration::from_hours(1)).await;
    let token = remote.team.reason("ci", "Expired").await;
    assert_eq!(state(&token), Some(ObservedState::Expired));
    assert_eq!(remote.issuer.calls(), ["create", "delete tok-1"]);
    remote.stop().await;
}

/// A change of the spec, what is called for it, and the beginning of the name that the one token has then.
async fn change(can: Capabilities, issuer: Value, patch: Value, calls: &[&str], name: &str) {
    let remote = Remote::with("changed", can, issuer).await;
    remote.declare("ci", json!({ "displayName": "old" })).await;
    remote.team.ready("ci").await;
    remote.clock.advance(SignedDuration::from_secs(10));
    remote.respec(patch.clone()).await;
    remote.team.ready("ci").await;
    remote
        .team
        .until("ci", "nothing is left of a rotation", |token| {
            token.status.as_ref().unwrap().previous.is_empty()
        })
        .await;
    assert_eq!(remote.issuer.calls(), calls, "{patch}");
    let token = remote.issuer.live().pop().unwrap();
    assert!(token.name.as_ref().unwrap().starts_with(name), "{patch}: {:?}", token.name);
    let recorded = remote.team.token("ci").await.status.unwrap().token.unwrap();
    assert_eq!((recorded.name, recorded.id), (token.name, Some(token.id)), "{patch}");
    remote.is_whole().await;
    settles(&remote).await;
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_told_to_an_issuer_that_can_change_names() {
    let patch = json!({ "displayName": "new", "description": "deploys" });
    change(READABLE, json!({}), patch, &["create", "update tok-1"], "new k8s-").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_another_token_where_names_stay() {
    let patch = json!({ "displayName": "new" });
    change(PLAIN, json!({}), patch, &["create", "create", "delete tok-1"], "new k8s-").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_name_is_no_reset_because_that_keeps_the_name() {
    let patch = json!({ "displayName": "new" });
    change(RESETTING, json!({}), patch, &["create", "create", "delete tok-1"], "new k8s-").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_account_is_another_token() {
    let policy = json!({ "policy": { "allowedAccounts": ["sa::*"] } });
    let patch = json!({ "account": "sa::ci" });
    change(READABLE, policy, patch, &["create", "create", "delete tok-1"], "old k8s-").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_issuer_can_do_stands_in_its_status() {
    let remote = Remote::new("capabilities", READABLE).await;
    let can = remote.token_issuer().await.status.unwrap().capabilities.unwrap();
    assert!(can.suspend && can.readable_value && can.names && can.update);
    assert!(!can.reset && !can.expiry && !can.last_used);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_as_declared_is_looked_at_and_not_written() {
    let remote = Remote::issued("quiet", PLAIN, json!({})).await;
    let before = remote.team.token("ci").await;
    settles(&remote).await;
    assert_eq!(remote.team.token("ci").await.status, before.status);
    remote.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tokens_are_looked_at_with_few_lists_and_what_changed_is_seen() {
    let remote = Remote::new("shared", PLAIN).await;
    let names: Vec<String> = (0..20).map(|number| format!("ci-{number}")).collect();
    for name in &names {
        remote.declare(name, json!({})).await;
    }
    for name in &names {
        remote.team.ready(name).await;
    }
    let gone = current_id(&remote.team.token("ci-7").await);
    remote.issuer.remove(&gone);
    let before = remote.issuer.lists();
    remote.clock.advance(SignedDuration::from_mins(11));
    for name in &names {
        remote.team.nudge(name).await;
    }
    let replaced = |token: &ApiToken| !current_id(token).is_empty() && current_id(token) != gone;
    remote.team.until("ci-7", "issued again", replaced).await;
    for name in &names {
        remote.team.passed_by(name).await;
    }
    let lists = remote.issuer.lists() - before;
    assert!(lists <= 8, "{lists} lists for {} tokens, of which one was made again", names.len());
    remote.stop().await;
}

const NAMES: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_that_both_believe_to_lead_leave_one_token_each() {
    for_each([PLAIN, READABLE, RESETTING, NAMELESS], async |can| {
        let remote = Remote::new("two", can).await;
        let other = remote.another_operator().await;
        for name in NAMES {
            remote.team.declare(name, of_the_issuer(json!({}))).await;
        }
        all_are_whole(&remote, 0).await;
        for name in NAMES {
            let annotations = json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: "1" });
            remote
                .team
                .change(name, json!({ "metadata": { "annotations": annotations } }))
                .await;
        }
        all_are_whole(&remote, 1).await;
        other.stop().await;
        remote.stop().await;
    })
    .await;
}

/// Lets time pass until each of three tokens was rotated that often, and nothing is left beside them.
async fn all_are_whole(remote: &Remote, rotations: i64) {
    for _ in 0..20 {
        for _ in 0..40 {
            if are_whole(remote, rotations).await {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
        remote.clock.advance(SignedDuration::from_secs(30));
        for name in NAMES {
            remote.team.nudge(name).await;
        }
    }
    panic!(
        "not one token each: {:?} after {:?}",
        remote.issuer.live_ids(),
        remote.issuer.calls()
    );
}

async fn are_whole(remote: &Remote, rotations: i64) -> bool {
    let mut values = Vec::new();
    for name in NAMES {
        let token = remote.team.token(name).await;
        if !is_true(&token, ConditionType::Ready) || token.status.unwrap().rotations.unwrap_or(0) != rotations {
            return false;
        }
        values.push(remote.team.value(name, "token").await);
    }
    // Without names two operators can't tell what each of them made: what may be another's is written down, not ended.
    let ledger = remote.token_issuer().await.status.unwrap_or_default().orphans;
    let live = remote.issuer.live().into_iter();
    let mut accounted: Vec<_> = live
        .filter(|token| !ledger.iter().any(|orphan| orphan.id == token.id))
        .map(|token| token.value)
        .collect();
    accounted.sort();
    values.sort();
    accounted == values
}
