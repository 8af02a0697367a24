//! When an issuer that others run is asked, and what is put right there.

use super::*;

type Change = fn(&mut Observed);

fn edit_status(observed: &mut Observed, change: impl FnOnce(&mut ApiTokenStatus)) {
    observed.edit(|token| change(token.status.as_mut().unwrap()));
}

/// Parameters that say how far the token reaches.
fn modules() -> Parameters {
    Parameters {
        softwareone: Some(SoftwareoneParameters {
            modules: vec!["MOD-1".into()],
            icon: None,
        }),
        ..Default::default()
    }
}

#[test]
fn an_issuer_is_asked_only_where_what_is_recorded_does_not_suffice() {
    let cases: [(&str, Change, bool); 11] = [
        ("all is as recorded", |_| {}, false),
        ("a poll is almost due", |o| o.now = at("2030-01-01T00:09:59Z"), false),
        ("a poll is due", |o| o.now = at("2030-01-01T00:10:00Z"), true),
        ("the spec changed", |o| o.respec(|spec| spec.secret.key = "key".into()), true),
        (
            "the state is another",
            |o| edit_status(o, |status| status.state = Some(ObservedState::Suspended)),
            true,
        ),
        (
            "an overlap runs",
            |o| edit_status(o, |status| status.previous = vec![replaced("id-0", far())]),
            false,
        ),
        (
            "an overlap is over",
            |o| {
                let end = Time(o.now);
                edit_status(o, |status| status.previous = vec![replaced("id-0", end)]);
            },
            true,
        ),
        (
            "one is remembered that is recorded",
            |o| o.fresh = Some(made(o, 1, "id-1".into())),
            false,
        ),
        ("one is remembered that is not", |o| o.fresh = Some(made(o, 7, "id-7".into())), true),
        (
            "it failed just now",
            |o| {
                o.respec(|spec| spec.secret.key = "key".into());
                o.failure = Some(Failure::of_secret("could not write"));
            },
            false,
        ),
        (
            "it is the built-in one",
            |o| {
                o.issuer_mut().capabilities = Some(Capabilities::BUILTIN);
                o.now = at("2030-01-01T09:00:00Z");
            },
            false,
        ),
    ];
    for (why, change, asked) in cases {
        let (mut observed, _) = issued_at(PLAIN);
        observed.secret = ObservedSecret::Unchanged;
        change(&mut observed);
        assert_eq!(next_step(&observed) == Some("list_tokens"), asked, "{why}");
    }
}

#[test]
fn the_first_polls_after_a_start_are_spread_over_the_interval() {
    let mut dates = std::collections::BTreeSet::new();
    for number in 0..20 {
        let (mut observed, _) = issued_at(PLAIN);
        observed.secret = ObservedSecret::Unchanged;
        observed.polled_at = None;
        observed.now = at(NOW);
        observed.edit(|token| token.metadata.uid = Some(format!("{number:010}")));
        let date = rest(&observed).look_again_at.unwrap();
        assert!(date < observed.now + observed.terms.poll_interval, "{date}");
        dates.insert(date);
    }
    assert!(dates.len() > 10, "{dates:?}");
}

#[test]
fn what_works_is_held_back_with_the_token_and_let_go_with_it_and_nothing_else_is_touched() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    edit_status(&mut observed, |status| status.previous = vec![replaced("id-0", far())]);
    tokens.extend([listed("id-0", ""), listed("theirs", "")]);
    let states = |tokens: &[ListedToken]| tokens.iter().map(|token| token.state).collect::<Vec<_>>();
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    steps(&mut observed, &mut tokens);
    assert_eq!(
        states(&tokens),
        [ListedState::Suspended, ListedState::Suspended, ListedState::Active]
    );
    tokens[2].state = ListedState::Suspended;
    observed.respec(|spec| spec.state = DesiredState::Active);
    steps(&mut observed, &mut tokens);
    assert_eq!(states(&tokens), [ListedState::Active, ListedState::Active, ListedState::Suspended]);
}

#[test]
fn the_status_says_suspended_once_the_issuer_shows_it() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    take_remote(&mut observed, Step::ListTokens, &mut tokens);
    observed.failure = Some(Failure::of_secret("it failed"));
    assert_eq!(rest(&observed).status.state, Some(ObservedState::Active), "it still works");
    switch(&mut observed, &mut tokens, "id-1", ListedState::Suspended);
    assert_eq!(rest(&observed).status.state, Some(ObservedState::Suspended));
}

#[test]
fn a_stray_that_a_secret_names_stays() {
    for (named, left) in [("stray", true), ("id-1", false)] {
        let (mut observed, mut tokens) = issued_at(PLAIN);
        tokens.push(listed("stray", "shop.ci k8s-0123abcd-0123456789-7"));
        observed.now += SignedDuration::from_mins(10);
        observed.secret = changed(&observed, |secret| {
            secret
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(names::TOKEN_ID_ANNOTATION.into(), named.into());
        });
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        assert_eq!(next_step(&observed) != Some("delete_token"), left, "{named}");
    }
}

#[test]
fn what_can_not_be_applied_to_the_token_that_is_there_needs_another() {
    const ENDING: Capabilities = Capabilities { expiry: true, ..PLAIN };
    const ABLE: Capabilities = Capabilities { update: true, ..PLAIN };
    const NAMELESS: Capabilities = Capabilities { names: false, ..PLAIN };
    let cases: [(&str, Capabilities, Change, bool); 12] = [
        ("nothing changed", ENDING, |_| {}, false),
        (
            "a later end than the issuer's",
            ENDING,
            |o| o.respec(|spec| spec.lifetime = hours("6h")),
            true,
        ),
        ("an earlier one", ENDING, |o| o.respec(|spec| spec.lifetime = hours("4h")), false),
        ("none at all", ENDING, |o| o.respec(|spec| spec.lifetime = None), true),
        (
            "a later end that we keep ourselves",
            PLAIN,
            |o| o.respec(|spec| spec.lifetime = hours("6h")),
            false,
        ),
        (
            "another account",
            ABLE,
            |o| {
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    allowed_accounts: Some(vec!["sa::ci".into()]),
                    ..Default::default()
                });
                o.respec(|spec| spec.account = Some("sa::ci".into()));
            },
            true,
        ),
        (
            "other parameters",
            PLAIN,
            |o| edit_status(o, |status| status.token.as_mut().unwrap().parameters_hash = Some("other".into())),
            true,
        ),
        (
            "other parameters, which the issuer can change",
            ABLE,
            |o| {
                o.respec(|spec| spec.parameters = Some(modules()));
                edit_status(o, |status| status.token.as_mut().unwrap().parameters_hash = Some("other".into()));
            },
            false,
        ),
        (
            "another name",
            PLAIN,
            |o| o.respec(|spec| spec.display_name = Some("CI".into())),
            true,
        ),
        (
            "another name, which the issuer can change",
            ABLE,
            |o| o.respec(|spec| spec.display_name = Some("CI".into())),
            false,
        ),
        (
            "another name, where tokens have none",
            NAMELESS,
            |o| o.respec(|spec| spec.display_name = Some("CI".into())),
            false,
        ),
        (
            "a name that was not ours from the start",
            PLAIN,
            |o| edit_status(o, |status| status.token.as_mut().unwrap().name = Some("made by hand".into())),
            false,
        ),
    ];
    for (why, capabilities, change, another) in cases {
        let mut observed = at_issuer(capabilities).respecced(|spec| spec.lifetime = hours("5h"));
        let mut tokens = Vec::new();
        steps(&mut observed, &mut tokens);
        change(&mut observed);
        observed.now += SignedDuration::from_mins(10);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        let done = steps(&mut observed, &mut tokens);
        assert_eq!(done.contains(&"create_token".to_owned()), another, "{why}: {done:?}");
        if another {
            assert_eq!(observed.recorded().last_rotation_reason.as_deref(), Some("Changed"), "{why}");
        }
    }
}

#[test]
fn an_issuer_is_told_of_a_change_that_is_its_own_and_keeps_the_marker() {
    const ABLE: Capabilities = Capabilities { update: true, ..PLAIN };
    let ours = "CI k8s-0123abcd-0123456789-1";
    let cases: [(&str, Capabilities, Change, Option<&str>); 6] = [
        (
            "a name",
            ABLE,
            |o| o.respec(|spec| spec.display_name = Some("CI".into())),
            Some(ours),
        ),
        (
            "a name that was not ours from the start",
            ABLE,
            |o| {
                edit_status(o, |status| status.token.as_mut().unwrap().name = Some("made by hand".into()));
                o.respec(|spec| spec.display_name = Some("CI".into()));
            },
            Some("CI"),
        ),
        (
            "a description",
            ABLE,
            |o| o.respec(|spec| spec.description = Some("x".into())),
            Some("shop.ci k8s-0123abcd-0123456789-1"),
        ),
        (
            "other parameters",
            ABLE,
            |o| {
                edit_status(o, |status| status.token.as_mut().unwrap().parameters_hash = Some("other".into()));
                o.respec(|spec| spec.parameters = Some(modules()));
            },
            Some("shop.ci k8s-0123abcd-0123456789-1"),
        ),
        (
            "a change that is none of its business",
            ABLE,
            |o| o.respec(|spec| spec.secret.key = "key".into()),
            None,
        ),
        (
            "a description, which it can't change",
            PLAIN,
            |o| o.respec(|spec| spec.description = Some("x".into())),
            None,
        ),
    ];
    for (why, capabilities, change, expected) in cases {
        let (mut observed, mut tokens) = issued_at(capabilities);
        change(&mut observed);
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        let name = match decide(&observed) {
            Plan::Step(Step::UpdateToken { id, name }) if id == "id-1" => Some(name),
            _ => None,
        };
        assert_eq!(name.as_deref(), expected, "{why}");
        if let Some(name) = name {
            take_remote(&mut observed, Step::UpdateToken { id: "id-1".into(), name }, &mut tokens);
            assert_ne!(next_step(&observed), Some("update_token"), "{why}: once");
        }
    }
}

#[test]
fn a_value_that_the_issuer_shows_counts_only_where_it_is_the_recorded_one() {
    for (why, shown, expected) in [("it is", value(1), "create_secret"), ("it is another", value(9), "write_status")] {
        let (mut observed, mut tokens) = issued_at(Capabilities {
            readable_value: true,
            ..PLAIN
        });
        tokens[0].value = Some(shown);
        observed.secret = ObservedSecret::Absent;
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        assert_eq!(next_step(&observed), Some(expected), "{why}");
    }
}

#[test]
fn a_value_that_was_ended_is_not_filled_in_again() {
    for (why, ended, expected) in [("it was", value(1), "write_status"), ("another was", value(9), "update_secret")] {
        let (mut observed, mut tokens) = issued_at(Capabilities {
            readable_value: true,
            ..PLAIN
        });
        tokens[0].value = Some(value(1));
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        put(&mut observed, "token", "tampered");
        annotate(&mut observed, names::ENDED_ANNOTATION, &ended.hash());
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        assert_eq!(next_step(&observed), Some(expected), "{why}");
    }
}

#[test]
fn the_recorded_end_is_the_declared_one_and_never_later_than_the_issuers() {
    const ENDING: Capabilities = Capabilities { expiry: true, ..PLAIN };
    for (why, capabilities, lifetime, expected) in [
        ("the issuer ends no tokens", PLAIN, hours("6h"), Some("2030-01-01T06:00:00Z")),
        ("and none is declared", PLAIN, None, None),
        (
            "an earlier end than the issuer's",
            ENDING,
            hours("4h"),
            Some("2030-01-01T04:00:00Z"),
        ),
        ("a later one", ENDING, hours("6h"), Some("2030-01-01T05:00:00Z")),
        ("none", ENDING, None, Some("2030-01-01T05:00:00Z")),
    ] {
        let mut observed = at_issuer(capabilities).respecced(|spec| spec.lifetime = hours("5h"));
        let mut tokens = Vec::new();
        steps(&mut observed, &mut tokens);
        observed.respec(|spec| {
            spec.lifetime = lifetime;
            // A suspended token is not replaced.
            spec.state = DesiredState::Suspended;
        });
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        steps(&mut observed, &mut tokens);
        let end = observed.recorded().token.clone().unwrap().expires_at;
        assert_eq!(end, expected.map(|end| Time(at(end))), "{why}");
    }
}

#[test]
fn what_a_left_secret_names_is_taken_up_where_the_issuer_shows_it_and_nobody_else_has_it() {
    use crate::api::issuer::Adoption;
    let cases: [(&str, Change, &str, bool); 4] = [
        ("nothing speaks against it", |_| {}, "id-1", true),
        (
            "another ApiToken has it",
            |o| {
                o.others_ids.insert("id-1".into());
            },
            "id-1",
            false,
        ),
        (
            "the issuer allows no adoption",
            |o| {
                o.issuer_mut().spec.policy = Some(IssuerPolicy {
                    adoption: Some(Adoption::Deny),
                    ..Default::default()
                });
            },
            "id-1",
            false,
        ),
        ("the issuer does not show it", |_| {}, "other", false),
    ];
    for (why, change, id, taken_up) in cases {
        let left = secret_of(&issued_at(PLAIN).0, 1);
        let mut observed = at_issuer(PLAIN);
        observed.secret = ObservedSecret::Found(left);
        change(&mut observed);
        let done = steps(&mut observed, &mut vec![listed(id, "")]);
        assert_eq!(!done.contains(&"create_token".to_owned()), taken_up, "{why}: {done:?}");
        assert_eq!(observed.ready(), (true, "Ready"), "{why}");
    }
}

#[test]
fn an_end_that_a_vendor_gives_by_itself_asks_for_no_other_token() {
    const ENDING: Capabilities = Capabilities { expiry: true, ..PLAIN };
    type Case = (&'static str, Option<&'static str>, &'static str, Option<&'static str>, bool);
    let cases: [Case; 5] = [
        ("none was asked for", None, "5h", None, false),
        ("a later one was asked for", Some("10h"), "5h", Some("10h"), false),
        ("as asked for", Some("5h"), "5h", Some("5h"), false),
        ("a later one is declared by now", Some("5h"), "5h", Some("10h"), true),
        ("none is declared by now", Some("5h"), "5h", None, true),
    ];
    let end = |lifetime: &str| at(NOW) + hours(lifetime).unwrap().as_signed();
    for (why, asked, given, declared, another) in cases {
        let mut observed = at_issuer(ENDING).respecced(|spec| spec.lifetime = asked.and_then(hours));
        let mut tokens = Vec::new();
        steps(&mut observed, &mut tokens);
        tokens[0].expires_at = Some(end(given));
        edit_status(&mut observed, |status| {
            status.token.as_mut().unwrap().expires_at = Some(Time(end(given)))
        });
        observed.respec(|spec| spec.lifetime = declared.and_then(hours));
        observed.now += SignedDuration::from_mins(10);
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        let done = steps(&mut observed, &mut tokens);
        assert_eq!(done.contains(&"create_token".to_owned()), another, "{why}: {done:?}");
    }
}

#[test]
fn an_end_that_was_declared_for_a_while_is_not_taken_for_the_issuers() {
    const ENDING: Capabilities = Capabilities { expiry: true, ..PLAIN };
    let (mut observed, mut tokens) = issued_at(ENDING);
    for (lifetime, expected) in [("2h", "2030-01-01T02:00:00Z"), ("3h", "2030-01-01T03:00:00Z")] {
        observed.respec(|spec| spec.lifetime = hours(lifetime));
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        assert!(
            !steps(&mut observed, &mut tokens).contains(&"create_token".to_owned()),
            "{lifetime}"
        );
        let end = observed.recorded().token.as_ref().unwrap().expires_at.clone();
        assert_eq!(end, Some(Time(at(expected))));
    }
    observed.respec(|spec| spec.lifetime = None);
    observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
    steps(&mut observed, &mut tokens);
    assert_eq!(observed.recorded().token.as_ref().unwrap().expires_at, None, "it never ends there");
}

#[test]
fn a_token_whose_time_is_over_at_the_issuer_is_not_looked_at_without_end() {
    const ENDING: Capabilities = Capabilities { expiry: true, ..PLAIN };
    for (now, again, why) in [
        ("2030-01-01T03:00:00Z", "2030-01-01T03:10:00Z", "the next poll"),
        ("2030-01-01T04:55:00Z", "2030-01-01T05:00:00Z", "the declared end"),
    ] {
        let mut observed = at_issuer(ENDING).respecced(|spec| spec.lifetime = hours("2h"));
        let mut tokens = Vec::new();
        steps(&mut observed, &mut tokens);
        observed.respec(|spec| {
            spec.lifetime = hours("5h");
            spec.state = DesiredState::Suspended;
        });
        observed.now = at(now);
        tokens[0].state = ListedState::Revoked;
        observed.secret = ObservedSecret::Found(secret_of(&observed, 1));
        steps(&mut observed, &mut tokens);
        observed.secret = ObservedSecret::Unchanged;
        assert_eq!(rest(&observed).look_again_at, Some(at(again)), "{why}");
    }
}

#[test]
fn what_was_made_a_moment_ago_is_there_and_is_ended_though_a_list_is_behind() {
    let after = |seconds| {
        let (mut observed, mut tokens) = issued_at(PLAIN);
        observed.respec(|spec| spec.state = DesiredState::Revoked);
        observed.now = at(NOW) + SignedDuration::from_secs(seconds);
        tokens.clear();
        steps(&mut observed, &mut tokens)
    };
    assert_eq!(after(59)[..2], ["list_tokens", "delete_token"]);
    assert_eq!(after(60)[..2], ["list_tokens", "delete_secret"], "by now the list knows");

    let (mut observed, mut tokens) = issued_at(PLAIN);
    observed.now = at(NOW);
    edit_status(&mut observed, |status| {
        status.previous = vec![replaced("id-0", Time(at(NOW)))];
        status.token.as_mut().unwrap().expires_at = Some(far());
    });
    observed.sees(Vec::new(), observed.now);
    let seen: Vec<&str> = observed.view.iter().flatten().map(|token| token.id.as_str()).collect();
    assert_eq!(seen, ["id-1", "id-0"], "also what it replaced, which may be as young");
    let hidden = observed.listed("id-1").unwrap();
    let recorded = observed.current().unwrap();
    assert_eq!(
        (&hidden.name, hidden.expires_at),
        (&recorded.name, Some(far().0)),
        "as it is recorded"
    );
    observed.sees(vec![listed("id-0", "ci")], observed.now);
    let seen: Vec<&str> = observed.view.iter().flatten().map(|token| token.id.as_str()).collect();
    assert_eq!(seen, ["id-0", "id-1"], "each once");
    observed.sees(
        vec![ListedToken {
            state: ListedState::Revoked,
            ..tokens.remove(0)
        }],
        observed.now,
    );
    assert_eq!(observed.listed("id-1").unwrap().state, ListedState::Revoked, "what is shown counts");
    assert!(observed.listed("id-0").is_none(), "a list that shows the younger one is not behind");
    edit_status(&mut observed, |status| status.state = Some(ObservedState::Suspended));
    observed.sees(Vec::new(), observed.now);
    assert_eq!(observed.listed("id-1").unwrap().state, ListedState::Suspended);
}

#[test]
fn a_replaced_token_is_ended_and_forgotten_whatever_is_wrong_with_the_secret() {
    let foreign = || ObservedSecret::Found(FoundSecret::new(Default::default()));
    for (state, secret) in [(DesiredState::Suspended, ObservedSecret::Absent), (DesiredState::Active, foreign())] {
        forgets_what_was_replaced(state, secret);
    }
}

fn forgets_what_was_replaced(state: DesiredState, secret: ObservedSecret) {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    tokens.push(listed("id-0", "shop.ci k8s-0123abcd-0123456789-0"));
    let end = Time(observed.now);
    edit_status(&mut observed, |status| status.previous = vec![replaced("id-0", end)]);
    observed.respec(|spec| spec.state = state);
    observed.secret = secret;
    steps(&mut observed, &mut tokens);
    assert_eq!(tokens.len(), 1);
    assert_eq!(observed.recorded().previous, []);
    let asked = steps(&mut observed, &mut tokens).iter().any(|step| step == "list_tokens");
    assert!(!asked, "nobody is asked again");
}
