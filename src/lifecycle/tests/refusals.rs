//! What stands in the way of a token, and what it leaves alone.

use super::*;

#[test]
fn what_stands_in_the_way_is_said_and_nothing_is_issued() {
    let reference = |name: &str| IssuerRef {
        kind: IssuerKind::TokenIssuer,
        name: name.into(),
    };
    let cases: Vec<(&str, Box<dyn Fn(&mut Observed)>, bool)> = vec![
        (
            "IssuerNotFound",
            Box::new(move |o| o.issuer = Err(IssuerProblem::NotFound(reference("x")))),
            false,
        ),
        ("NoDefaultIssuer", Box::new(|o| o.issuer = Err(IssuerProblem::NoDefault)), true),
        (
            "SeveralDefaultIssuers",
            Box::new(|o| o.issuer = Err(IssuerProblem::SeveralDefaults(vec!["a".into(), "b".into()]))),
            true,
        ),
        (
            "NoDefaultIssuer",
            Box::new(|o| o.issuer = Err(IssuerProblem::OutOfReach(None))),
            true,
        ),
        (
            "IssuerNotFound",
            Box::new(|o| o.issuer = Err(IssuerProblem::OutOfReach(Some("x".into())))),
            false,
        ),
        ("NamespaceNotAllowed", Box::new(|o| o.issuer_mut().namespace_allowed = false), true),
        (
            "IssuerNotReady",
            Box::new(|o| o.issuer_mut().readiness = IssuerReadiness::NotReady("why".into())),
            false,
        ),
        (
            "IssuerNotReady",
            Box::new(|o| o.issuer_mut().readiness = IssuerReadiness::Deleting),
            false,
        ),
        ("IssuerNotReady", Box::new(|o| o.issuer_mut().held = false), false),
        (
            "IssuerNotReady",
            Box::new(|o| o.issuer_mut().readiness = IssuerReadiness::Unreadable("why".into())),
            false,
        ),
        ("NotSupported", Box::new(|o| o.issuer_mut().capabilities = None), true),
        (
            "SuspendNotSupported",
            Box::new(|o| {
                o.edit(|t| t.spec.state = DesiredState::Suspended);
                o.issuer_mut().capabilities.as_mut().unwrap().suspend = false;
            }),
            true,
        ),
        (
            "AdoptionFailed",
            Box::new(|o| o.edit(|t| t.spec.adopt = Some(Default::default()))),
            true,
        ),
        (
            "ParametersMismatch",
            Box::new(|o| o.edit(|t| t.spec.parameters = Some(Default::default()))),
            true,
        ),
        (
            "AccountNotAllowed",
            Box::new(|o| o.edit(|t| t.spec.account = Some("other.ci".into()))),
            true,
        ),
        (
            "AccountNotAllowed",
            Box::new(|o| {
                o.edit(|t| t.spec.account = Some("shop.ci".into()));
                o.issuer_mut().capabilities.as_mut().unwrap().local = false;
            }),
            true,
        ),
        (
            "ScopeNotAllowed",
            Box::new(|o| {
                o.edit(|t| t.spec.scopes = vec!["a".into()]);
                o.issuer_mut().spec.builtin.as_mut().unwrap().allowed_scopes = Some(vec![]);
            }),
            true,
        ),
        (
            "ScopeNotAllowed",
            Box::new(|o| {
                o.edit(|t| t.spec.audiences = vec!["a".into()]);
                o.issuer_mut().spec.builtin.as_mut().unwrap().allowed_audiences = Some(vec!["b".into()]);
            }),
            true,
        ),
        (
            "PolicyViolation",
            Box::new(|o| {
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    max_lifetime: hours("1h"),
                    ..Default::default()
                })
            }),
            true,
        ),
        (
            "PolicyViolation",
            Box::new(|o| {
                o.edit(|t| t.spec.lifetime = hours("2h"));
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    max_lifetime: hours("1h"),
                    ..Default::default()
                });
            }),
            true,
        ),
        (
            "PolicyViolation",
            Box::new(|o| {
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    require_rotation: true,
                    ..Default::default()
                })
            }),
            true,
        ),
        (
            "TemplateInvalid",
            Box::new(|o| o.edit(|t| t.spec.secret.template = [("K".into(), "{{ nope }}".into())].into())),
            true,
        ),
        ("SecretConflict", Box::new(|o| o.secret_promised_to = Some("older".into())), true),
        (
            "SecretConflict",
            Box::new(|o| o.secret = ObservedSecret::Found(FoundSecret::new(Default::default()))),
            true,
        ),
    ];
    for (number, (reason, change, stalled)) in cases.into_iter().enumerate() {
        let mut observed = situation();
        change(&mut observed);
        let done = run(&mut observed);
        assert_eq!(observed.ready(), (false, reason), "case {number}: {done:?}");
        assert_eq!(done, [reason], "case {number}: a Warning and nothing else");
        assert_eq!(observed.condition(ConditionType::Stalled).0, stalled, "case {number} {reason}");
        assert_eq!(observed.condition(ConditionType::Reconciling).0, !stalled, "case {number} {reason}");
        let message = &conditions::find(&observed.recorded().conditions, ConditionType::Ready)
            .unwrap()
            .message;
        assert!(
            message.contains(": ") && !message.is_empty(),
            "case {number}: says what to do: {message}"
        );
        assert!(observed.recorded().token.is_none() && observed.recorded().state == Some(ObservedState::Pending));
        assert!(run(&mut observed).is_empty(), "case {number}: said once");

        let healed = situation().with(|healthy| {
            let status = observed.token.status.clone();
            healthy.edit(|token| token.status = status);
        });
        let mut healed = healed;
        assert_eq!(
            run(&mut healed),
            ["issue", "create_secret", "Issued"],
            "case {number}: healed as soon as the cause is gone"
        );
        assert_eq!(healed.ready(), (true, "Ready"), "case {number}");
    }
}

#[test]
fn what_heals_after_a_changed_spec_is_looked_at_again() {
    let mut observed = issued().respecced(|spec| spec.secret.labels = [("team".to_owned(), "shop".to_owned())].into());
    let issuer = std::mem::replace(&mut observed.issuer, Err(IssuerProblem::NoDefault));
    assert_eq!(run(&mut observed), ["NoDefaultIssuer"]);
    observed.issuer = issuer;
    assert_eq!(
        next_step(&observed),
        Some("read_secret"),
        "the Secret was not brought to the changed spec yet"
    );
}

#[test]
fn a_token_whose_issuer_is_gone_does_not_work_and_is_not_replaced() {
    let mut observed = issued();
    observed.issuer = Err(IssuerProblem::NotFound(observed.issuer_mut().reference.clone()));
    assert_eq!(run(&mut observed), ["IssuerNotFound"]);
    assert!(!observed.condition(ConditionType::Active).0);
    observed.secret = ObservedSecret::Absent;
    assert!(run(&mut observed).is_empty());
}

#[test]
fn an_issuer_that_goes_keeps_its_tokens_and_makes_no_new_ones() {
    let mut observed = issued();
    observed.issuer_mut().readiness = IssuerReadiness::Deleting;
    assert!(run(&mut observed).is_empty());
    assert_eq!(observed.ready(), (true, "Ready"));
    observed.secret = ObservedSecret::Absent;
    assert_eq!(run(&mut observed), ["IssuerNotReady"]);
}

#[test]
fn what_passes_by_itself_is_not_worth_a_write_in_the_first_seconds() {
    for (created, told) in [("2029-12-31T23:59:51Z", false), ("2029-12-31T23:59:50Z", true)] {
        let mut observed = situation();
        observed.edit(|token| token.metadata.creation_timestamp = Some(Time(at(created))));
        observed.issuer_mut().readiness = IssuerReadiness::Unknown;
        let rest = rest(&observed);
        assert_eq!(rest.status != ApiTokenStatus::default(), told, "{created}");
        assert_eq!(rest.look_again_at, Some(at("2030-01-01T00:00:02Z")), "{created}");
    }
}
