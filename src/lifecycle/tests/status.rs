//! What the status says, and what users are told.

use super::*;
use crate::api::api_token::AvailableActions;

/// The notices of the pass that comes to rest now: reason, and whether it is a Warning.
fn notices(observed: &Observed) -> Vec<(&'static str, bool)> {
    let notices = rest(observed).notices;
    notices.iter().map(|notice| (notice.reason, notice.warning)).collect()
}

#[test]
fn each_state_says_what_can_be_done_next() {
    let can = |activate, suspend, revoke, rotate| AvailableActions {
        activate,
        suspend,
        revoke,
        rotate,
        delete: true,
    };
    let cases: [(&str, fn(&mut Observed), AvailableActions); 4] = [
        ("Active", |_| {}, can(false, true, true, true)),
        (
            "Suspended",
            |o| o.respec(|spec| spec.state = DesiredState::Suspended),
            can(true, false, true, false),
        ),
        (
            "Revoked",
            |o| o.respec(|spec| spec.state = DesiredState::Revoked),
            can(false, false, false, false),
        ),
        (
            "Expired",
            |o| o.respec(|spec| spec.expires_at = Some(Time(at(NOW)))),
            can(false, false, false, false),
        ),
    ];
    for (state, change, expected) in cases {
        let mut observed = issued();
        change(&mut observed);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        run(&mut observed);
        assert_eq!(format!("{:?}", observed.recorded().state.unwrap()), state);
        assert_eq!(observed.recorded().available_actions, Some(expected), "{state}");
    }
}

#[test]
fn every_condition_is_there_from_the_first_status_on() {
    let mut observed = situation().with(|observed| observed.issuer = Err(IssuerProblem::NoDefault));
    run(&mut observed);
    for type_ in [ConditionType::Issued, ConditionType::SecretSynced, ConditionType::Active] {
        assert_eq!(observed.condition(type_), (false, "Pending"), "{type_:?}");
    }
}

#[test]
fn only_what_a_person_should_see_to_is_a_warning() {
    let suspended = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    let cases: [(&str, Observed, &[(&str, bool)]); 4] = [
        (
            "what was asked for",
            suspended.with(|o| o.secret = ObservedSecret::Found(secret_of(o, 1))),
            &[("Suspended", false)],
        ),
        (
            "what stands in the way",
            situation().with(|o| o.issuer = Err(IssuerProblem::NoDefault)),
            &[("NoDefaultIssuer", true)],
        ),
        (
            "what could not be written",
            issued().with(|o| o.failure = Some(Failure::of_secret("could not write"))),
            &[("SecretWriteFailed", true)],
        ),
        (
            "what was put right",
            issued().with(|o| {
                o.secret = ObservedSecret::Found(secret_of(o, 1));
                o.repaired = vec!["labels".into()];
            }),
            &[("SecretUpdated", false)],
        ),
    ];
    for (why, observed, expected) in cases {
        assert_eq!(notices(&observed), expected, "{why}");
    }
}

#[test]
fn what_stands_in_the_way_ends_no_token_but_one_whose_issuer_is_not_to_be_asked() {
    let cases: [(fn(&mut Observed), bool); 4] = [
        (|o| o.issuer = Err(IssuerProblem::NoDefault), true),
        (|o| o.edit(|token| token.spec.parameters = Some(Default::default())), true),
        (|o| o.issuer_mut().namespace_allowed = false, false),
        (
            |o| {
                let reference = o.issuer_mut().reference.clone();
                o.issuer = Err(IssuerProblem::NotFound(reference));
            },
            false,
        ),
    ];
    for (block, works) in cases {
        let mut observed = issued().with(block);
        run(&mut observed);
        assert_eq!(observed.condition(ConditionType::Active).0, works, "{:?}", observed.ready());
    }
}

#[test]
fn a_token_that_can_not_be_replaced_is_told_of_ahead_of_its_end() {
    let refused = |state| {
        let mut observed = situation();
        observed.edit(|token| token.spec.lifetime = hours("1h"));
        run(&mut observed);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        observed.respec(|spec| spec.state = state);
        run(&mut observed);
        observed.issuer = Err(IssuerProblem::NoDefault);
        run(&mut observed);
        observed
    };
    let mut active = refused(DesiredState::Active);
    assert_eq!(rest(&active).look_again_at, Some(at("2030-01-01T00:40:00Z")));
    active.now = at("2030-01-01T00:40:00Z");
    assert_eq!(run(&mut active), ["Expiring"]);
    assert_eq!(rest(&active).look_again_at, Some(at("2030-01-01T01:00:00Z")));
    let mut suspended = refused(DesiredState::Suspended);
    suspended.now = at("2030-01-01T00:40:00Z");
    assert!(run(&mut suspended).is_empty(), "nobody uses it");
}

#[test]
fn a_changed_name_account_or_end_is_recorded_of_the_token_that_is_there() {
    let mut observed = issued().respecced(|spec| {
        spec.display_name = Some("CI".into());
        spec.account = Some("sa::ci".into());
        spec.lifetime = hours("5h");
    });
    observed.issuer_mut().spec.policy = Some(IssuerPolicy {
        allowed_accounts: Some(vec!["sa::ci".into()]),
        ..Default::default()
    });
    observed.secret = ObservedSecret::Found(secret_of(&issued(), 1));
    run(&mut observed);
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!((token.name.as_deref(), token.account.as_deref()), (Some("CI"), Some("sa::ci")));
    assert_eq!(token.expires_at, Some(Time(at("2030-01-01T05:00:00Z"))));
    assert_eq!(token.hash, Some(value(1).hash()), "the same value");
}
