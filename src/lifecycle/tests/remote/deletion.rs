//! An ApiToken that is deleted, with tokens at an issuer that others run.

use super::*;
use crate::{
    api::{
        api_token::{Failures, PreviousToken},
        conditions::Reason,
    },
    lifecycle::{CredentialTraits, Failure},
};

/// The same, while it is being deleted.
fn deleted(mut observed: Observed) -> Observed {
    observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))));
    observed
}

#[test]
fn an_object_goes_without_a_word_to_its_issuer_only_where_no_token_can_be_left() {
    let held = || {
        at_issuer(PLAIN).with(|observed| {
            observed.edit(|token| {
                token.metadata.finalizers = Some(vec![names::FINALIZER.into()]);
                token.status = Some(ApiTokenStatus::default());
            });
        })
    };
    for (why, observed, expected) in [
        ("the issuer was never asked for a token", held(), "remove_finalizer"),
        ("a token is recorded", issued_at(PLAIN).0, "list_tokens"),
        ("a call was announced", announced(PLAIN).with(restart), "list_tokens"),
        (
            "one was made that no status names",
            held().with(|observed| observed.fresh = Some(made(observed, 1, "id-1".into()))),
            "list_tokens",
        ),
        (
            "the overlap of a replaced one runs",
            held().with(|observed| observed.edit(|token| token.status.get_or_insert_default().previous = vec![replaced("id-0", far())])),
            "list_tokens",
        ),
    ] {
        assert_eq!(next_step(&deleted(observed)), Some(expected), "{why}");
    }
}

#[test]
fn deleting_ends_what_former_attempts_have_left_too() {
    let (observed, mut tokens) = issued_at(PLAIN);
    tokens.push(listed("stray", "shop.ci k8s-0123abcd-0123456789-7"));
    let mut observed = deleted(observed);
    assert_eq!(
        steps(&mut observed, &mut tokens),
        ["list_tokens", "delete_token", "delete_token", "remove_finalizer"]
    );
    assert!(tokens.is_empty());
}

#[test]
fn what_was_revoked_already_is_only_removed() {
    let (mut observed, mut tokens) = issued_at(Capabilities {
        revoke_before_delete: true,
        ..PLAIN
    });
    tokens[0].state = ListedState::Revoked;
    observed = deleted(observed);
    assert_eq!(
        steps(&mut observed, &mut tokens),
        ["list_tokens", "delete_token", "remove_finalizer"]
    );
}

#[test]
fn each_token_that_stays_is_written_down_once() {
    let (mut observed, _) = issued_at(PLAIN);
    observed.fresh = Some(IssuedToken {
        name: observed.recorded().token.clone().unwrap().name,
        ..made(&observed, 1, "id-1".into())
    });
    observed.edit(|token| {
        token.spec.deletion_policy = Some(DeletionPolicy::Retain);
        token.status.get_or_insert_default().previous = vec![replaced("id-0", far())];
    });
    let Plan::Step(Step::EnterLedger(orphans)) = decide(&deleted(observed)) else {
        panic!("not written down")
    };
    let ids: Vec<&str> = orphans.iter().map(|orphan| orphan.id.as_str()).collect();
    assert_eq!(ids, ["id-1", "id-0"]);
}

#[test]
fn what_failed_before_the_deletion_says_nothing_of_how_hard_it_is_to_end_the_token() {
    for (why, first_at, expected, count) in [
        ("before", "2029-12-31T23:59:59Z", "list_tokens", 1),
        ("in its first second", NOW, "enter_ledger", 4),
    ] {
        let (mut observed, _) = issued_at(PLAIN);
        observed.edit(|token| {
            token.status.get_or_insert_default().failures = Some(Failures {
                count: 3,
                first_at: Time(at(first_at)),
                last_at: Time(at(NOW)),
                next_retry_at: Some(Time(at(NOW))),
                situation: None,
            });
        });
        observed.terms.started_at = at("2029-12-31T00:00:00Z");
        observed.now = at(NOW) + observed.terms.revoke_deadline;
        let mut observed = deleted(observed);
        assert_eq!(next_step(&observed), Some(expected), "{why}");
        observed.failure = Some(Failure {
            message: "the ledger fails: wait".into(),
            kind: FailureKind::Ledger,
        });
        assert_eq!(rest(&observed).status.failures.unwrap().count, count, "{why}");
    }
}

#[test]
fn deleting_ends_what_is_ours_or_writes_it_down() {
    let revoke_first = Capabilities {
        revoke_before_delete: true,
        ..PLAIN
    };
    for (why, capabilities, policy, expected, left) in [
        (
            "it is ended",
            PLAIN,
            None,
            vec!["list_tokens", "delete_token", "remove_finalizer"],
            1,
        ),
        (
            "in two steps",
            revoke_first,
            None,
            vec!["list_tokens", "revoke_token", "delete_token", "remove_finalizer"],
            1,
        ),
        (
            "it stays",
            PLAIN,
            Some(DeletionPolicy::Retain),
            vec!["enter_ledger", "remove_finalizer", "Orphaned"],
            2,
        ),
    ] {
        let (mut observed, mut tokens) = issued_at(capabilities);
        tokens.push(listed("theirs", "theirs k8s-99999999-0123456789-1"));
        observed.edit(|token| {
            token.spec.deletion_policy = policy;
            token.metadata.deletion_timestamp = Some(Time(at(NOW)));
        });
        assert_eq!(steps(&mut observed, &mut tokens), expected, "{why}");
        assert_eq!(tokens.len(), left, "{why}");
    }
}

#[test]
fn a_token_that_can_not_be_ended_goes_to_the_ledger_after_the_deadline() {
    let (mut observed, _) = issued_at(PLAIN);
    observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))));
    let fail = |observed: &mut Observed| {
        observed.failure = Some(Failure {
            message: "it is away: wait".into(),
            kind: FailureKind::Transient {
                reason: crate::api::conditions::Reason::VendorUnavailable,
                retry_after: None,
            },
        });
        let failed = rest(observed);
        apply_remote(observed, failed);
    };
    for _ in 0..2 {
        fail(&mut observed);
        observed.now += SignedDuration::from_mins(10);
    }
    assert_eq!(next_step(&observed), Some("list_tokens"), "two tries are not enough");
    fail(&mut observed);
    let Plan::Step(Step::EnterLedger(orphans)) = decide(&observed) else {
        panic!("not written down")
    };
    let expected = Orphan {
        account: None,
        id: "id-1".into(),
        name: Some("shop.ci k8s-0123abcd-0123456789-1".into()),
        reason: OrphanReason::NotRevoked,
    };
    assert_eq!(orphans, std::slice::from_ref(&expected));
    for (why, kind, step) in [
        ("the issuer fails once more", FailureKind::Ambiguous, Some("enter_ledger")),
        ("the ledger itself fails: later again", FailureKind::Ledger, None),
    ] {
        observed.failure = Some(Failure {
            message: "it fails: wait".into(),
            kind,
        });
        assert_eq!(next_step(&observed), step, "{why}");
    }
    observed.failure = None;
    observed.orphaned.push(expected);
    assert_eq!(next_step(&observed), Some("remove_finalizer"));

    observed.orphaned.clear();
    observed.terms.started_at = observed.now;
    assert_ne!(
        next_step(&observed),
        Some("enter_ledger"),
        "the time counts from the start of the operator"
    );
}

#[test]
fn what_is_only_observed_is_never_ended() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    observed.terms.observe_only = true;
    observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))));
    let Plan::Step(Step::EnterLedger(orphans)) = decide(&observed) else {
        panic!("not written down")
    };
    assert_eq!(orphans[0].reason, OrphanReason::Retained);
    assert_eq!(steps(&mut observed, &mut tokens), ["enter_ledger", "remove_finalizer", "Orphaned"]);
    assert_eq!(tokens.len(), 1);
}

#[test]
fn a_refusal_that_only_a_change_heals_is_tried_again_all_the_same() {
    let (observed, _) = issued_at(PLAIN);
    let mut observed = deleted(observed);
    observed.failure = Some(Failure {
        message: "refused".into(),
        kind: FailureKind::Permanent {
            reason: Reason::CredentialRefused,
        },
    });
    assert!(rest(&observed).look_again_at.is_some());
}

/// With a replaced token in its overlap, and one of the two as the issuer's credential.
fn asked_with(current: bool, can: Capabilities) -> (Observed, Vec<ListedToken>) {
    let (mut observed, mut tokens) = issued_at(can);
    tokens.push(listed("id-0", "by hand"));
    observed.edit(|token| {
        let hash = Some(value(5).hash());
        token.status.get_or_insert_default().previous = vec![PreviousToken {
            hash,
            ..replaced("id-0", far())
        }];
    });
    let recorded = observed.recorded().token.clone().unwrap().hash.unwrap();
    observed.issuer_mut().credential = Some(CredentialTraits {
        hash: if current { recorded } else { value(5).hash() },
        hint: String::new(),
    });
    (deleted(observed), tokens)
}

#[test]
fn the_token_that_the_issuer_is_asked_with_is_ended_last() {
    for (why, current, last) in [("the current one", true, "id-1"), ("the replaced one", false, "id-0")] {
        let (mut observed, tokens) = asked_with(current, PLAIN);
        observed.view = Some(tokens);
        let Plan::Step(Step::DeleteToken { id }) = decide(&observed) else {
            panic!("nothing is ended: {why}");
        };
        assert_ne!(id, last, "{why}");
        observed.view.as_mut().unwrap().retain(|token| token.id == last);
        assert_eq!(next_step(&observed), Some("delete_token"), "{why}");
    }
}

#[test]
fn once_the_credential_is_revoked_nothing_more_is_asked() {
    let (mut observed, mut tokens) = asked_with(
        true,
        Capabilities {
            revoke_before_delete: true,
            ..PLAIN
        },
    );
    tokens.retain(|token| token.id == "id-1");
    observed.view = Some(tokens);
    assert_eq!(next_step(&observed), Some("revoke_token"));
    observed.view.as_mut().unwrap()[0].state = ListedState::Revoked;
    assert_eq!(next_step(&observed), Some("remove_finalizer"));
}

#[test]
fn a_token_that_others_need_to_be_ended_waits_for_them_and_not_for_ever() {
    let minutes = SignedDuration::from_mins;
    for (why, needed, later, expected) in [
        ("nobody needs it", false, minutes(0), Some("list_tokens")),
        ("others need it", true, minutes(0), None),
        ("they still do", true, minutes(15) - SignedDuration::from_secs(1), None),
        ("for too long", true, minutes(15), Some("list_tokens")),
    ] {
        let mut observed = deleted(issued_at(PLAIN).0);
        observed.needed_by_others = needed;
        observed.terms.revoke_deadline = minutes(15);
        observed.now = at(NOW) + later;
        assert_eq!(next_step(&observed), expected, "{why}");
        if expected.is_none() {
            assert!(rest(&observed).look_again_at <= Some(at(NOW) + minutes(15)), "{why}");
        }
    }
}
