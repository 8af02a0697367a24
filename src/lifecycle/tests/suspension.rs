//! A token that is held back, and an ApiToken that is left alone.

use super::*;
use crate::api::api_token::Rotation;

#[test]
fn suspension_holds_a_token_back_and_activation_lets_it_work_again() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
    assert_eq!(run(&mut observed), ["Suspended"]);
    assert_eq!(observed.ready(), (true, "Ready"), "it is as declared");
    let ready = conditions::find(&observed.recorded().conditions, ConditionType::Ready).unwrap();
    assert_eq!(ready.message, "token 0123456789-1 is suspended, as declared");
    assert_eq!(observed.condition(ConditionType::Active), (false, "Suspended"));
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert_eq!(run(&mut observed), ["Activated"]);
    assert_eq!(observed.recorded().state, Some(ObservedState::Active));
    assert_eq!(
        observed.recorded().token.clone().unwrap().hash,
        Some(value(1).hash()),
        "the same value"
    );
}

#[test]
fn a_suspended_token_gets_no_new_value_until_it_is_activated() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    observed.secret = ObservedSecret::Absent;
    observed.now = at("2030-01-01T01:00:00Z");
    assert_eq!(run(&mut observed), ["Suspended"]);
    assert_eq!(
        (observed.ready(), observed.condition(ConditionType::SecretSynced)),
        ((true, "Ready"), (false, "Missing"))
    );
    observed.respec(|spec| spec.state = DesiredState::Active);
    assert_eq!(run(&mut observed), ["issue"]);
    assert_eq!(
        observed.recorded().state,
        Some(ObservedState::Suspended),
        "until the new value is there"
    );
}

#[test]
fn a_token_created_suspended_is_issued_and_denied() {
    let mut observed = situation();
    observed.edit(|token| token.spec.state = DesiredState::Suspended);
    assert_eq!(run(&mut observed), ["issue", "create_secret", "Issued"]);
    assert_eq!(
        (observed.recorded().state, observed.ready().0),
        (Some(ObservedState::Suspended), true)
    );
}

#[test]
fn pausing_stops_everything_and_keeps_what_was_last_observed() {
    let mut observed = issued().respecced(|spec| spec.state = DesiredState::Suspended);
    observed.edit(|token| token.metadata.annotations = Some([(names::PAUSED_ANNOTATION.into(), "true".into())].into()));
    assert!(run(&mut observed).is_empty());
    assert_eq!(
        (observed.ready(), observed.recorded().state),
        ((true, "Ready"), Some(ObservedState::Active))
    );
    assert_eq!(observed.condition(ConditionType::Paused), (true, "Paused"));
    assert_eq!(observed.recorded().observed_generation, Some(1), "nobody acted on the new spec");
    observed.edit(|token| token.metadata.annotations = None);
    observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
    run(&mut observed);
    assert!(conditions::find(&observed.recorded().conditions, ConditionType::Paused).is_none());
    assert_eq!(observed.recorded().state, Some(ObservedState::Suspended));
}

#[test]
fn an_activated_token_works_at_once_also_where_another_follows_but_not_beyond_its_end() {
    for (now, state) in [
        ("2030-01-01T00:59:59Z", ObservedState::Active),
        ("2030-01-01T01:00:00Z", ObservedState::Suspended),
        ("2030-01-01T02:00:00Z", ObservedState::Suspended),
    ] {
        let mut observed = situation();
        observed.edit(|token| {
            token.spec.lifetime = hours("1h");
            token.spec.rotation = Some(Box::new(Rotation::default()));
        });
        run(&mut observed);
        observed.respec(|spec| spec.state = DesiredState::Suspended);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        run(&mut observed);
        observed.respec(|spec| spec.state = DesiredState::Active);
        observed.now = at(now);
        assert_eq!(run(&mut observed).first().map(String::as_str), Some("issue"), "{now}");
        assert_eq!(observed.recorded().state, Some(state), "{now}");
    }
}
