//! A value that moves to another Secret.

use super::*;

/// An issued token whose spec names another Secret by now.
fn moving(type_: &str) -> Observed {
    let mut observed = issued();
    let former = secret_of(&observed, 1);
    observed.respec(|spec| {
        spec.secret.name = Some("moved".into());
        spec.secret.type_ = type_.into();
    });
    observed.secret = ObservedSecret::Absent;
    observed.former_secret = ObservedSecret::Found(former);
    observed
}

#[test]
fn the_value_moves_before_the_old_secret_goes_and_the_status_comes_last() {
    for type_ in ["Opaque", "example.com/token"] {
        let mut observed = moving(type_);
        assert_eq!(run(&mut observed), ["create_secret", "delete_secret", "SecretMoved"]);
        assert_eq!(observed.recorded().secret_ref.clone().unwrap().name, "moved");
        assert_eq!(found_mut(&mut observed).object().type_.as_deref(), Some(type_));
        assert_eq!(
            observed.recorded().token.clone().unwrap().hash,
            Some(value(1).hash()),
            "the same value"
        );
        assert_eq!(observed.recorded().rotations, None);
    }
}

#[test]
fn the_old_secret_is_read_only_when_the_value_moves() {
    let mut observed = moving("Opaque");
    observed.former_secret = ObservedSecret::Unchanged;
    assert_eq!(next_step(&observed), Some("read_former_secret"));
}

#[test]
fn what_stands_in_the_way_of_a_move_keeps_the_old_secret() {
    let cases: [(&str, fn(&mut Observed)); 2] = [
        ("a foreign Secret has the name", |observed| {
            observed.secret = ObservedSecret::Found(FoundSecret::new(Default::default()));
        }),
        ("an older ApiToken names it", |observed| {
            observed.secret_promised_to = Some("older".into())
        }),
    ];
    for (why, block) in cases {
        let mut observed = moving("Opaque");
        block(&mut observed);
        assert_eq!(run(&mut observed), ["SecretConflict"], "{why}");
        assert!(matches!(observed.former_secret, ObservedSecret::Found(_)), "{why}");
        assert_eq!(observed.recorded().secret_ref.clone().unwrap().name, "ci", "{why}");
    }
}

#[test]
fn a_value_that_is_in_neither_secret_is_replaced() {
    for former in [ObservedSecret::Absent, ObservedSecret::Found(FoundSecret::new(Default::default()))] {
        let mut observed = moving("Opaque");
        observed.former_secret = former;
        observed.now = at("2030-01-01T01:00:00Z");
        assert_eq!(run(&mut observed), ["issue"]);
        assert_eq!(observed.recorded().pending.clone().unwrap().reason, "SecretMissing");
    }
}

#[test]
fn a_token_that_ends_while_it_moves_ends_where_it_is() {
    let mut observed = moving("Opaque").respecced(|spec| spec.state = DesiredState::Revoked);
    assert_eq!(run(&mut observed), ["delete_secret", "Revoked"]);
    assert!(matches!(observed.former_secret, ObservedSecret::Absent));
}

/// The old Secret, as somebody has changed it meanwhile.
fn former_is(observed: &mut Observed, change: impl FnOnce(&mut k8s_openapi::api::core::v1::Secret)) {
    let ObservedSecret::Found(former) = &observed.former_secret else {
        panic!("no Secret")
    };
    let mut former = former.object().clone();
    change(&mut former);
    observed.former_secret = ObservedSecret::Found(FoundSecret::new(former));
}

/// By somebody else.
fn taken(secret: &mut k8s_openapi::api::core::v1::Secret) {
    (secret.metadata.owner_references, secret.metadata.labels) = (None, None);
}

#[test]
fn an_old_secret_that_is_anothers_by_now_gives_no_value_and_stays() {
    let mut before = moving("Opaque");
    before.now = at("2030-01-01T01:00:00Z");
    former_is(&mut before, taken);
    assert_eq!(run(&mut before), ["issue"], "a value that others may know by now is replaced");

    let mut after = moving("Opaque");
    let Plan::Step(step) = decide(&after) else { panic!("no move") };
    take(&mut after, step);
    former_is(&mut after, taken);
    assert_eq!(run(&mut after), ["SecretMoved"]);
}

#[test]
fn an_old_secret_that_goes_already_is_not_deleted_again() {
    let mut observed = moving("Opaque");
    former_is(&mut observed, |former| former.metadata.deletion_timestamp = Some(Time(at(NOW))));
    assert_eq!(run(&mut observed), ["create_secret", "SecretMoved"]);
}

#[test]
fn all_secrets_that_may_hold_a_value_are_read_where_that_must_be_known() {
    let next = |observed: &Observed| crate::lifecycle::moving::next_read(observed).map(|step| step.name());
    let mut observed = moving("Opaque");
    assert_eq!(next(&observed), None);
    observed.former_secret = ObservedSecret::Unchanged;
    assert_eq!(next(&observed), Some("read_former_secret"));
    observed.respec(|spec| spec.secret.name = None);
    assert_eq!(next(&observed), None, "there is no other");
    observed.secret = ObservedSecret::Unchanged;
    assert_eq!(next(&observed), Some("read_secret"));
}
