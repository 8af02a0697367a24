//! What the status says, and what users are told.

use super::{
    ending::{announced, edit_status},
    *,
};
use crate::{
    api::api_token::{AvailableActions, TokenStatus},
    lifecycle::{Notice, Orphan, OrphanReason, rotation::Cause, status::Draft},
};

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

#[test]
fn a_token_that_stays_at_its_issuer_unasked_is_a_warning() {
    for (reason, warning) in [
        (OrphanReason::Retained, false),
        (OrphanReason::Ambiguous, true),
        (OrphanReason::NotRevoked, true),
    ] {
        let mut observed = issued();
        observed.orphaned.push(Orphan {
            id: "id-7".into(),
            name: None,
            account: None,
            reason,
        });
        assert_eq!(notices(&observed), [("Orphaned", warning)], "{reason:?}");
    }
}

#[test]
fn the_first_token_and_the_next_are_told_apart() {
    let observed = issued();
    for (cause, message, synced) in [
        (Cause::First, "the token is being made", "True"),
        (Cause::Interval, "a new token is being issued (Interval)", "True"),
        (Cause::SecretMissing, "a new token is being issued (SecretMissing)", "False"),
    ] {
        let mut draft = Draft::new(&observed);
        draft.begins(cause);
        let conditions = &draft.status.conditions;
        let ready = conditions::find(conditions, ConditionType::Ready).unwrap();
        assert_eq!((ready.status.as_str(), ready.message.as_str()), ("False", message));
        let secret_synced = conditions::find(conditions, ConditionType::SecretSynced).unwrap();
        assert_eq!(secret_synced.status, synced, "{cause:?}");
    }
}

/// What a user is told when that token becomes the current one.
fn told_of(observed: &Observed, token: &TokenStatus) -> Vec<String> {
    let mut draft = Draft::new(observed);
    draft.promote(token);
    let Plan::Rest(rest) = draft.rest(None) else { panic!("no rest") };
    let told = |notice: &Notice| format!("{}: {}", notice.reason, notice.message);
    rest.notices.iter().map(told).collect()
}

fn current(observed: &Observed) -> TokenStatus {
    observed.recorded().token.clone().unwrap()
}

#[test]
fn another_id_or_another_value_is_another_token() {
    let observed = issued();
    let same = current(&observed);
    let (mut another_id, mut another_value) = (same.clone(), same.clone());
    another_id.id = Some("0123456789-2".into());
    another_value.hash = Some(value(2).hash());
    for (token, count) in [(same, 0), (another_id, 1), (another_value, 1)] {
        assert_eq!(told_of(&observed, &token).len(), count, "{:?} {:?}", token.id, token.hash);
    }
}

#[test]
fn who_reads_of_a_new_token_learns_where_it_is_and_what_works_meanwhile() {
    let now = "; the old one works no more";
    let late = ": consumers may read a Secret up to a minute late, so set spec.rotation.overlap to 2m or more";
    let cases = [
        ("Requested", "0s", now.to_owned()),
        ("Requested", "30s", "; the old one works for another 30s".to_owned()),
        ("Interval", "0s", format!("{now}{late}")),
        ("Interval", "30s", format!("; the old one works for another 30s only{late}")),
        ("BeforeExpiry", "30s", format!("; the old one works for another 30s only{late}")),
        ("BeforeExpiry", "10m", "; the old one works for another 10m".to_owned()),
    ];
    for (reason, overlap, expected) in cases {
        let mut observed = issued();
        observed.now += SignedDuration::from_secs(60);
        observed.respec(|spec| spec.rotation.get_or_insert_default().overlap = hours(overlap));
        let mut pending = announced();
        reason.clone_into(&mut pending.reason);
        edit_status(&mut observed, |status| status.pending = Some(pending));
        let mut next = current(&observed);
        next.id = Some("0123456789-2".into());
        let message =
            format!("Rotated: Token 0123456789-2 replaced 0123456789-1 ({reason}); its value is in Secret ci, key token{expected}");
        assert_eq!(told_of(&observed, &next), [message]);
    }
}

#[test]
fn who_asked_for_an_overlap_that_makes_no_sense_learns_what_to_write() {
    let mut observed = issued();
    observed.respec(|spec| spec.rotation.get_or_insert_default().overlap = hours("1h"));
    observed.edit(|token| {
        let annotations = token.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATE_REQUESTED_AT_ANNOTATION.into(), "1".into());
        annotations.insert(names::ROTATE_OVERLAP_ANNOTATION.into(), format!("0\n{}", "x".repeat(1000)));
    });
    let mut pending = announced();
    pending.request = Some("1".into());
    edit_status(&mut observed, |status| status.pending = Some(pending));
    let mut next = current(&observed);
    next.id = Some("0123456789-2".into());
    let message = format!(
        "OverlapInvalid: The annotation apitoken.dev/rotate-overlap=\"0\\n{}\" is no duration, so the declared overlap (1h) is used: \
         write 0s there to end all old values now, or hours, minutes and seconds such as 6h beside the next request",
        "x".repeat(62)
    );
    assert_eq!(told_of(&observed, &next).last(), Some(&message));
}

#[test]
fn a_value_that_was_announced_and_never_became_current_is_dropped_with_the_next() {
    let previous = |id: &str, hint: Option<&str>| PreviousToken {
        hint: hint.map(str::to_owned),
        ..replaced(id, Time(at("2030-01-01T01:00:00Z")))
    };
    for (why, previous, kept) in [
        ("it came after the current one", previous("0123456789-2", None), false),
        ("it was current once: it has a hint", previous("0123456789-2", Some("abcd")), true),
        ("it is of the current one's try", previous("0123456789-1", None), true),
        ("it is older", previous("0123456789-0", None), true),
        ("it has no number", previous("abc", None), true),
    ] {
        let mut observed = issued();
        edit_status(&mut observed, |status| status.previous = vec![previous]);
        let mut next = current(&observed);
        next.id = Some("0123456789-3".into());
        let mut draft = Draft::new(&observed);
        draft.promote(&next);
        assert_eq!(draft.status.previous.len(), usize::from(kept), "{why}");
    }
}

#[test]
fn an_end_that_has_come_is_nothing_to_wait_for() {
    let mut observed = issued();
    edit_status(&mut observed, |status| {
        status.token.as_mut().unwrap().expires_at = Some(Time(at(NOW)))
    });
    assert_eq!(Draft::new(&observed).next_date(ObservedState::Suspended), None);
}
