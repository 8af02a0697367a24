//! The end of a token: revoked, expired, or gone with its object.

use super::*;
use crate::api::api_token::Pending;

#[test]
fn revoking_ends_the_secret_before_the_status_says_so() {
    for (policy, expected, synced) in [
        (SecretDeletionPolicy::Delete, vec!["delete_secret", "Revoked"], "Removed"),
        (SecretDeletionPolicy::Retain, vec!["update_secret", "Revoked"], "Ended"),
    ] {
        let mut observed = issued().respecced(|spec| {
            spec.state = DesiredState::Revoked;
            spec.secret.deletion_policy = policy;
        });
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        assert_eq!(run(&mut observed), expected);
        assert_eq!(
            (observed.recorded().state, observed.ready()),
            (Some(ObservedState::Revoked), (true, "Ready"))
        );
        assert_eq!(observed.condition(ConditionType::SecretSynced), (false, synced));
        if policy == SecretDeletionPolicy::Retain {
            assert_eq!(
                found_mut(&mut observed).annotation(names::ENDED_ANNOTATION),
                Some(value(1).hash().as_str())
            );
        }
        assert!(run(&mut observed).is_empty(), "the end is the end");
    }
}

#[test]
fn an_end_is_recorded_once_nothing_is_left_of_the_token_and_then_nothing_is_read() {
    let cases: [(&str, fn(&mut Observed), bool); 7] = [
        ("all is as it was recorded", |_| {}, true),
        (
            "the spec changed since",
            |o| o.respec(|spec| spec.description = Some("x".into())),
            false,
        ),
        (
            "it was not said to have ended",
            |o| edit_status(o, |status| status.state = Some(ObservedState::Active)),
            false,
        ),
        (
            "a value is announced",
            |o| edit_status(o, |status| status.pending = Some(announced())),
            false,
        ),
        (
            "a replaced value is recorded",
            |o| {
                let end = Time(o.now);
                edit_status(o, |status| status.previous = vec![replaced("0123456789-0", end)]);
            },
            false,
        ),
        (
            "it is withdrawn",
            |o| {
                o.edit(|token| (token.spec.state, token.spec.suspend_policy) = (DesiredState::Suspended, SuspendPolicy::Withdraw));
                edit_status(o, |status| (status.state, status.token) = (Some(ObservedState::Suspended), None));
            },
            true,
        ),
        (
            "it is held back, and to be withdrawn",
            |o| {
                o.edit(|token| (token.spec.state, token.spec.suspend_policy) = (DesiredState::Suspended, SuspendPolicy::Withdraw));
                edit_status(o, |status| status.state = Some(ObservedState::Suspended));
            },
            false,
        ),
    ];
    for (why, change, recorded) in cases {
        let mut observed = issued().respecced(|spec| {
            spec.state = DesiredState::Revoked;
            spec.secret.deletion_policy = SecretDeletionPolicy::Retain;
        });
        assert_eq!(next_step(&observed), Some("read_secret"), "before anything is said");
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        run(&mut observed);
        observed.secret = ObservedSecret::Unchanged;
        change(&mut observed);
        assert_eq!(next_step(&observed), (!recorded).then_some("read_secret"), "{why}");
    }
}

pub fn edit_status(observed: &mut Observed, change: impl FnOnce(&mut ApiTokenStatus)) {
    observed.edit(|token| change(token.status.as_mut().unwrap()));
}

/// The record of a coming value.
pub fn announced() -> Box<Pending> {
    let mut observed = issued();
    observed.now = at("2030-01-01T01:00:00Z");
    observed.secret = ObservedSecret::Absent;
    run(&mut observed);
    observed.recorded().pending.clone().unwrap()
}

#[test]
fn a_foreign_secret_is_left_alone_when_a_token_ends() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Revoked);
    observed.secret = ObservedSecret::Found(FoundSecret::new(Default::default()));
    assert_eq!(run(&mut observed), ["Revoked"]);
}

#[test]
fn a_value_that_ends_is_not_accepted_though_its_secret_can_not_be_written() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Revoked);
    observed.failure = Some(Failure::of_secret("could not write"));
    run(&mut observed);
    assert_eq!(observed.condition(ConditionType::Active), (false, "Revoked"));
    assert_eq!(observed.recorded().state, Some(ObservedState::Active), "not ended yet");
}

#[test]
fn a_token_created_revoked_or_past_its_end_is_never_issued() {
    let cases: [(fn(&mut ApiTokenSpec), ObservedState, (bool, &str)); 2] = [
        (|spec| spec.state = DesiredState::Revoked, ObservedState::Revoked, (true, "Ready")),
        (
            |spec| spec.expires_at = Some(Time(at("2029-01-01T00:00:00Z"))),
            ObservedState::Expired,
            (false, "Expired"),
        ),
    ];
    for (change, state, ready) in cases {
        let mut observed = situation();
        observed.edit(|token| change(&mut token.spec));
        let done = run(&mut observed);
        assert!(!done.contains(&"issue".to_owned()), "{done:?}");
        assert_eq!((observed.recorded().state, observed.ready()), (Some(state), ready));
        assert!(observed.recorded().token.is_none());
    }
}

#[test]
fn a_token_expires_at_its_time_and_lives_again_only_with_a_new_value() {
    let mut observed = situation();
    observed.edit(|token| token.spec.lifetime = hours("1h"));
    run(&mut observed);
    assert_eq!(rest(&observed).look_again_at, Some(at("2030-01-01T00:40:00Z")));

    observed.now = at("2030-01-01T00:40:00Z");
    assert_eq!(run(&mut observed), ["Expiring"], "told ahead, since nothing rotates it");
    assert_eq!(observed.condition(ConditionType::Active), (true, "Expiring"));
    assert_eq!(rest(&observed).look_again_at, Some(at("2030-01-01T01:00:00Z")));
    assert!(run(&mut observed).is_empty(), "told once");

    observed.now = at("2030-01-01T01:00:00Z");
    assert_eq!(run(&mut observed), ["update_secret", "Expired"]);
    assert_eq!(
        (observed.recorded().state, observed.ready()),
        (Some(ObservedState::Expired), (false, "Expired"))
    );
    assert!(observed.condition(ConditionType::Stalled).0);
    assert_eq!(observed.condition(ConditionType::Active), (false, "Expired"));
    assert!(run(&mut observed).is_empty());

    observed.respec(|spec| spec.lifetime = hours("2h"));
    assert_eq!(run(&mut observed), ["issue"]);
    assert_eq!(
        observed.recorded().state,
        Some(ObservedState::Expired),
        "the old value never works again"
    );
    observed.now = at("2030-01-01T01:00:02Z");
    assert_eq!(run(&mut observed).last().map(String::as_str), Some("Rotated"));
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!(
        (token.hash, token.expires_at),
        (Some(value(2).hash()), Some(Time(at("2030-01-01T03:00:00Z"))))
    );
    assert_eq!(observed.recorded().state, Some(ObservedState::Active));
}

/// An issued token that has expired, with its Secret as it stands in the cluster.
fn expired() -> Observed {
    let mut observed = situation();
    observed.edit(|token| token.spec.lifetime = hours("1h"));
    run(&mut observed);
    observed.now = at("2030-01-01T01:00:00Z");
    run(&mut observed);
    observed
}

#[test]
fn an_expired_value_is_never_accepted_again_whatever_its_secret_says() {
    let cases: [(&str, fn(&mut Observed)); 2] = [
        ("the mark was taken away", |observed| {
            replace_found(observed, |secret| {
                secret.metadata.annotations.get_or_insert_default().remove(names::ENDED_ANNOTATION);
            });
        }),
        ("the token was suspended in between", |observed| {
            observed.respec(|spec| spec.state = DesiredState::Suspended);
            run(observed);
            assert_eq!(
                observed.recorded().state,
                Some(ObservedState::Expired),
                "a suspended value could be activated"
            );
            observed.respec(|spec| spec.state = DesiredState::Active);
        }),
    ];
    for (why, change) in cases {
        let mut observed = expired();
        observed.respec(|spec| spec.lifetime = hours("9h"));
        change(&mut observed);
        assert_eq!(run(&mut observed), ["issue"], "{why}");
        assert_ne!(
            observed.recorded().state,
            Some(ObservedState::Active),
            "{why}: not before the new value is there"
        );
    }
}

#[test]
fn the_mark_of_an_ended_value_outlives_it() {
    let mut observed = expired();
    let version = found_mut(&mut observed).resource_version().map(str::to_owned);
    let recorded = observed.recorded().secret_ref.clone().unwrap();
    assert_eq!(recorded.resource_version, version, "the Secret is not read again for its own mark");
    replace_found(&mut observed, |secret| {
        secret.metadata.managed_fields = Some(vec![
            serde_json::from_value(serde_json::json!({
                "manager": "apitoken-operator", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {"f:apitoken.dev/ended": {}, "f:example.com/dropped": {}}}},
            }))
            .unwrap(),
        ]);
    });
    annotate(&mut observed, "example.com/dropped", "x");
    observed.respec(|spec| spec.lifetime = hours("9h"));
    run(&mut observed);
    observed.now = at("2030-01-01T01:00:02Z");
    assert_eq!(run(&mut observed).last().map(String::as_str), Some("Rotated"));
    assert_eq!(
        found_mut(&mut observed).annotation(names::ENDED_ANNOTATION),
        Some(value(1).hash().as_str())
    );
    assert_eq!(
        found_mut(&mut observed).annotation("example.com/dropped"),
        None,
        "what we declared once goes"
    );
}

#[test]
fn a_revoked_token_stays_revoked_whatever_the_spec_says() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Revoked);
    observed.secret = ObservedSecret::Absent;
    run(&mut observed);
    observed.now = at("2030-01-01T01:00:00Z");
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert!(run(&mut observed).is_empty());
    assert_eq!(observed.recorded().state, Some(ObservedState::Revoked));
}

#[test]
fn a_changed_lifetime_needs_no_new_value() {
    let mut observed = issued();
    observed.respec(|spec| spec.lifetime = hours("48h"));
    observed.secret = ObservedSecret::Found(secret_of(&issued(), 1));
    assert_eq!(
        run(&mut observed),
        ["update_secret", "SecretUpdated"],
        "the Secret says when its value ends"
    );
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!(
        (token.hash, token.expires_at),
        (Some(value(1).hash()), Some(Time(at("2030-01-03T00:00:00Z"))))
    );
}

#[test]
fn nothing_stands_in_the_way_of_ending_a_token() {
    let blocked: [fn(&mut Observed); 3] = [
        |observed| observed.issuer = Err(IssuerProblem::NoDefault),
        |observed| observed.edit(|token| token.spec.parameters = Some(Default::default())),
        |observed| observed.issuer_mut().namespace_allowed = false,
    ];
    for block in blocked {
        let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended).with(block);
        run(&mut observed);
        assert_eq!(observed.recorded().state, Some(ObservedState::Suspended));
        observed.respec(|spec| spec.state = DesiredState::Revoked);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        run(&mut observed);
        assert_eq!(observed.recorded().state, Some(ObservedState::Revoked));
    }
}

#[test]
fn an_object_that_is_being_deleted_is_only_spoken_of() {
    let mut observed = issued();
    observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))));
    observed.secret = ObservedSecret::Absent;
    assert!(run(&mut observed).is_empty());
    assert_eq!(
        (observed.ready(), observed.condition(ConditionType::Active).0),
        ((false, "Deleting"), false)
    );
}

#[test]
fn in_a_namespace_that_ends_nothing_is_done() {
    let mut observed = issued();
    observed.namespace_ends = true;
    observed.secret = ObservedSecret::Absent;
    let before = observed.recorded().clone();
    assert!(run(&mut observed).is_empty());
    assert_eq!(*observed.recorded(), before);
}

#[test]
fn a_secret_that_only_a_finalizer_keeps_is_not_deleted_again_and_again() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Revoked);
    let found = secret_of(&observed, 1);
    observed.secret = ObservedSecret::Found(found);
    replace_found(&mut observed, |secret| {
        secret.metadata.deletion_timestamp = Some(Time(at(NOW)));
    });
    assert_eq!(run(&mut observed), ["Revoked"]);
}
