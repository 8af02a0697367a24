//! What the issuer tells of a token, in the status.

use super::*;
use crate::{
    api::api_token::AvailableActions,
    issuers::{IssuerError, TokenDetails},
    lifecycle::{held::record, status::Draft},
};

const NONE: AvailableActions = AvailableActions {
    activate: false,
    suspend: false,
    revoke: false,
    rotate: false,
    delete: false,
};

/// What the project would say of an active token.
const OURS: AvailableActions = AvailableActions {
    suspend: true,
    revoke: true,
    rotate: true,
    delete: true,
    ..NONE
};

#[test]
fn what_can_be_done_is_what_the_issuer_told_last_but_for_the_rotation_which_is_ours() {
    let only_delete = AvailableActions { delete: true, ..NONE };
    let told = Some(AvailableActions {
        rotate: true,
        ..only_delete
    });
    type Case = (&'static str, Option<bool>, fn(&mut Observed), Option<AvailableActions>);
    let cases: [Case; 5] = [
        ("it tells", Some(true), |_| {}, told),
        ("it is not asked", None, |_| {}, told),
        ("it tells nothing any more", Some(false), |_| {}, Some(OURS)),
        (
            "it is not asked, and the state is another",
            None,
            |o| o.edit(|token| token.status.as_mut().unwrap().state = Some(ObservedState::Suspended)),
            Some(OURS),
        ),
        (
            "the built-in issuer tells nothing",
            None,
            |o| o.issuer_mut().capabilities = Some(Capabilities::BUILTIN),
            Some(OURS),
        ),
    ];
    for (why, shown, change, expected) in cases {
        let (mut observed, mut tokens) = issued_at(PLAIN);
        observed.edit(|token| token.status.as_mut().unwrap().available_actions = told);
        change(&mut observed);
        if let Some(tells) = shown {
            tokens[0].details = TokenDetails {
                actions: tells.then_some(only_delete),
                ..Default::default()
            };
            take_remote(&mut observed, Step::ListTokens, &mut tokens);
        }
        let mut draft = Draft::new(&observed);
        draft.state(ObservedState::Active);
        assert_eq!(draft.status.available_actions, expected, "{why}");
    }
}

#[test]
fn an_attempt_is_over_once_the_issuer_says_that_it_made_nothing() {
    for (error, stands) in [
        (IssuerError::Unavailable("down".into()), false),
        (IssuerError::Refused("no".into()), false),
        (IssuerError::OutcomeUnknown("lost".into()), true),
    ] {
        let mut observed = announced(PLAIN);
        observed.failure = Some(error.into());
        assert_eq!(rest(&observed).status.pending.is_some(), stands);
    }
}

#[test]
fn a_record_says_who_made_the_token_and_for_whom_in_the_issuers_words() {
    let observed = announced(PLAIN);
    let mut made = made(&observed, 1, "id-1".into());
    made.details.account_type = Some("SERVICE_ACCOUNT".into());
    made.details.created_by = Some("user@example.com".into());
    let record = record(&observed, &made);
    assert_eq!(record.account_type.as_deref(), Some("SERVICE_ACCOUNT"));
    assert_eq!(record.created_by.as_deref(), Some("user@example.com"));
}

#[test]
fn a_token_lives_from_its_own_attempt_at_an_issuer_that_others_run() {
    let later = at(NOW) + SignedDuration::from_secs(30);
    for (why, capabilities, attempt, issued_at) in [
        ("the attempt", PLAIN, 1, at(NOW)),
        ("another attempt", PLAIN, 2, later),
        ("made here", Capabilities::BUILTIN, 1, later),
    ] {
        let mut observed = announced(PLAIN);
        observed.issuer_mut().capabilities = Some(capabilities);
        let made = IssuedToken {
            issued_at: later,
            ..made(&observed, attempt, "id-1".into())
        };
        assert_eq!(record(&observed, &made).issued_at, Some(Time(issued_at)), "{why}");
    }
}
