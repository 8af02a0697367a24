//! A token that exists already and is taken over.

use super::*;
use crate::api::{api_token::Adopt, issuer::Adoption};

const VALUE: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

/// An ApiToken that takes over what a Secret holds, at an issuer of its own namespace.
fn adopting(text: &str) -> Observed {
    let mut observed = situation();
    observed.issuer_mut().reference.kind = IssuerKind::TokenIssuer;
    observed.edit(|token| token.spec.adopt = Some(Adopt::default()));
    observed.adoptee = Adoptee::Found {
        value: TokenValue::new(text),
        belongs_to: None,
    };
    observed
}

#[test]
fn a_value_is_written_to_our_secret_and_recorded_without_a_hint() {
    let mut observed = adopting(VALUE);
    assert_eq!(run(&mut observed), ["create_secret", "Adopted"]);
    let token = observed.recorded().token.clone().unwrap();
    assert_eq!((token.hash, token.hint), (Some(TokenValue::new(VALUE).hash()), None));
    assert_eq!(found_mut(&mut observed).bytes("token"), Some(VALUE.as_bytes()));
    observed.now = at("2030-01-01T01:00:00Z");
    assert_eq!(next_step(&observed), None);
    observed.secret = ObservedSecret::Absent;
    assert_eq!(run(&mut observed), ["issue"], "a lost value is replaced by one of our own");
}

#[test]
fn what_speaks_against_taking_a_token_over() {
    let cases: [(&str, fn(&mut Observed)); 6] = [
        ("the issuer is shared and does not allow it", |o| {
            o.issuer_mut().reference.kind = IssuerKind::ClusterTokenIssuer;
        }),
        ("the issuer forbids it", |o| {
            o.issuer_mut().spec.policy = Some(IssuerPolicy {
                adoption: Some(Adoption::Deny),
                ..Default::default()
            });
        }),
        ("the value can be guessed", |o| {
            o.adoptee = Adoptee::Found {
                value: TokenValue::new("short"),
                belongs_to: None,
            };
        }),
        ("another ApiToken has it", |o| {
            o.adoptee = Adoptee::Found {
                value: TokenValue::new(VALUE),
                belongs_to: Some("another ApiToken".into()),
            };
        }),
        ("there is none", |o| {
            o.adoptee = Adoptee::Unusable("Secret \"x\" does not exist: create it".into())
        }),
        ("the built-in issuer knows no ids", |o| {
            o.edit(|token| token.spec.adopt.as_mut().unwrap().token_id = Some("1".into()));
        }),
    ];
    for (why, block) in cases {
        let mut observed = adopting(VALUE);
        block(&mut observed);
        assert_eq!(run(&mut observed), ["AdoptionFailed"], "{why}");
        assert_eq!(observed.ready(), (false, "AdoptionFailed"), "{why}");
        assert!(observed.recorded().token.is_none(), "{why}: and none is made instead");
        assert_eq!(rest(&observed).look_again_at, Some(at("2030-01-01T00:01:00Z")), "{why}");
    }
}

#[test]
fn a_value_of_32_characters_is_long_enough() {
    for (length, ready) in [(31, false), (32, true)] {
        let mut observed = adopting(&"x".repeat(length));
        run(&mut observed);
        assert_eq!(observed.ready().0, ready, "{length}");
    }
}

#[test]
fn a_value_that_was_ended_is_not_taken_over_again() {
    let mut observed = adopting(VALUE);
    run(&mut observed);
    annotate(&mut observed, names::ENDED_ANNOTATION, &TokenValue::new(VALUE).hash());
    observed.edit(|token| token.status = None);
    assert_eq!(run(&mut observed), ["AdoptionFailed"]);
}

#[test]
fn a_token_is_taken_over_once_and_a_new_one_follows_when_it_was_withdrawn() {
    let mut observed = adopting(VALUE).with(|observed| observed.edit(|token| token.spec.suspend_policy = SuspendPolicy::Withdraw));
    run(&mut observed);
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    run(&mut observed);
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert_eq!(run(&mut observed), ["issue", "update_secret", "Issued"]);
}
