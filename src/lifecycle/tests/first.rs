//! A first token, and what a Secret already holds when an ApiToken comes.

use super::*;

#[test]
fn a_first_token_is_made_written_and_then_recorded() {
    let mut observed = situation();
    assert_eq!(run(&mut observed), ["issue", "create_secret", "Issued"]);
    assert_eq!(observed.ready(), (true, "Ready"));
    for type_ in [ConditionType::Issued, ConditionType::SecretSynced, ConditionType::Active] {
        assert!(observed.condition(type_).0, "{type_:?}");
    }
    for type_ in [ConditionType::Reconciling, ConditionType::Stalled] {
        assert!(!observed.condition(type_).0, "{type_:?}");
    }
    let status = observed.recorded();
    let token = status.token.as_ref().unwrap();
    assert_eq!(token.hash, Some(value(1).hash()));
    assert_eq!(token.hint, Some(value(1).hint()));
    assert_eq!(token.id.as_deref(), Some("0123456789-1"));
    assert_eq!(token.account.as_deref(), Some("shop.ci"));
    assert_eq!((status.attempts, status.rotations, status.pending.is_none()), (Some(1), None, true));
    let recorded = status.secret_ref.clone().unwrap().resource_version;
    assert_eq!(recorded.as_deref(), found_mut(&mut observed).resource_version());
}

#[test]
fn a_token_as_declared_plans_nothing() {
    for spec in [
        ApiTokenSpec::default(),
        ApiTokenSpec {
            lifetime: hours("1h"),
            ..Default::default()
        },
    ] {
        let mut observed = situation();
        observed.edit(|token| token.spec = spec);
        run(&mut observed);
        let before = observed.recorded().clone();
        // What a restart sees, and what a second look at a Secret that is as declared sees.
        let found = secret_of(&observed, 1);
        for secret in [ObservedSecret::Unchanged, ObservedSecret::Found(found)] {
            observed.secret = secret;
            observed.now = at("2030-01-01T00:30:00Z");
            let rest = rest(&observed);
            assert!(same_but_for_foreign_changes(&before, &rest.status));
            assert!(rest.notices.is_empty());
        }
    }
}

#[test]
fn a_crash_after_the_secret_loses_and_doubles_nothing() {
    let first = issued();
    let mut observed = situation();
    observed.secret = ObservedSecret::Found(secret_of(&first, 1));
    observed.now = at("2030-01-01T00:05:00Z");
    assert_eq!(run(&mut observed), ["Issued"], "no second token, no second write");
    assert_eq!(
        observed.recorded().token,
        first.recorded().token,
        "the same value, with the time of its first issue"
    );
}

#[test]
fn what_a_left_secret_holds_is_taken_up_only_where_nothing_speaks_against_it() {
    let first = issued();
    let cases: [(&str, Box<dyn Fn(&mut Observed)>, bool); 10] = [
        ("it is as we left it", Box::new(|_| {}), true),
        (
            "another ApiToken has the value",
            Box::new(|observed| found_mut(observed).value_belongs_to = Some("shop/x".into())),
            false,
        ),
        (
            "the value was ended",
            Box::new(|observed| annotate(observed, names::ENDED_ANNOTATION, &value(1).hash())),
            false,
        ),
        (
            "another value was ended",
            Box::new(|observed| annotate(observed, names::ENDED_ANNOTATION, &value(9).hash())),
            true,
        ),
        (
            "the hash does not fit",
            Box::new(|observed| annotate(observed, names::HASH_ANNOTATION, &value(9).hash())),
            false,
        ),
        (
            "another node's clock is five minutes ahead",
            Box::new(|observed| annotate(observed, names::ISSUED_AT_ANNOTATION, "2030-01-01T00:05:00Z")),
            true,
        ),
        (
            "it is issued in the future",
            Box::new(|observed| annotate(observed, names::ISSUED_AT_ANNOTATION, "2031-01-01T00:00:00Z")),
            false,
        ),
        (
            "its time is over",
            Box::new(|observed| {
                observed.edit(|token| token.spec.lifetime = hours("1h"));
                annotate(observed, names::ISSUED_AT_ANNOTATION, "2029-12-31T22:59:59Z");
            }),
            false,
        ),
        (
            "the issuer has a longest lifetime, and annotations prove nothing",
            Box::new(|observed| {
                observed.edit(|token| token.spec.lifetime = hours("1h"));
                observed.issuer_mut().spec.policy = Some(IssuerPolicy {
                    max_lifetime: hours("2h"),
                    ..Default::default()
                });
            }),
            false,
        ),
        (
            "it is not of our format",
            Box::new(|observed| {
                annotate(observed, names::HASH_ANNOTATION, &TokenValue::new("hunter2").hash());
                put(observed, "token", "hunter2");
            }),
            false,
        ),
    ];
    for (why, change, taken_up) in cases {
        let mut observed = situation();
        observed.secret = ObservedSecret::Found(secret_of(&first, 1));
        change(&mut observed);
        let done = run(&mut observed);
        assert_eq!(!done.contains(&"issue".to_owned()), taken_up, "{why}: {done:?}");
        assert_eq!(observed.ready(), (true, "Ready"), "{why}");
    }
}
