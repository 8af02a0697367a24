//! What an attempt may have made, whose it is, and until when.

use super::*;

const NAMELESS: Capabilities = Capabilities { names: false, ..PLAIN };
const RESETTING: Capabilities = Capabilities {
    reset: Some(SignedDuration::from_hours(12)),
    ..PLAIN
};

type Change = Box<dyn Fn(&mut Observed, &mut ListedToken)>;

fn after(seconds: i64) -> Timestamp {
    at(NOW) + SignedDuration::from_secs(seconds)
}

fn edit_pending(observed: &mut Observed, change: impl FnOnce(&mut Pending)) {
    observed.edit(|token| change(token.status.as_mut().unwrap().pending.as_mut().unwrap()));
}

#[test]
fn what_a_lost_attempt_without_a_name_may_have_made_is_ended_and_nothing_else() {
    let orphan = |id: &str| Orphan {
        account: None,
        id: id.into(),
        name: None,
        reason: OrphanReason::Ambiguous,
    };
    let cases: [(&str, Change, bool); 11] = [
        (
            "it was written down in this pass",
            Box::new(move |o, t| o.orphaned.push(orphan(&t.id))),
            false,
        ),
        (
            "another was written down",
            Box::new(move |o, _| o.orphaned.push(orphan("another"))),
            true,
        ),
        ("it came since", Box::new(|_, _| {}), true),
        (
            "it came with the attempt, by a clock that is behind",
            Box::new(|_, t| t.created_at = Some(after(-2))),
            true,
        ),
        ("it is older", Box::new(|_, t| t.created_at = Some(after(-3))), false),
        (
            "it was there before",
            Box::new(|o, t| edit_pending(o, |pending| pending.before = vec![crate::token_value::hash(t.id.as_bytes())])),
            false,
        ),
        ("it is of another account", Box::new(|_, t| t.fits = false), false),
        (
            "another ApiToken has it",
            Box::new(|o, t| {
                o.others_ids.insert(t.id.clone());
            }),
            false,
        ),
        (
            "it was replaced, and its overlap runs",
            Box::new(|o, t| o.edit(|token| token.status.as_mut().unwrap().previous = vec![replaced(&t.id, far())])),
            false,
        ),
        (
            "it is dead, and so may be anybody's",
            Box::new(|_, t| t.state = ListedState::Revoked),
            false,
        ),
        (
            "it is dead since this pass has revoked it",
            Box::new(|o, t| {
                t.state = ListedState::Revoked;
                o.revoked.insert(t.id.clone());
            }),
            true,
        ),
    ];
    for (why, change, ended) in cases {
        let mut observed = announced(NAMELESS);
        restart(&mut observed);
        let mut token = listed("new", "");
        change(&mut observed, &mut token);
        observed.now = after(60);
        let mut tokens = vec![token];
        steps(&mut observed, &mut tokens);
        assert_eq!(tokens.iter().all(|token| token.id != "new"), ended, "{why}");
        assert_eq!(observed.ready(), (true, "Ready"), "{why}");
    }
}

#[test]
fn all_that_bears_the_name_of_a_lost_attempt_is_ended_and_nothing_else() {
    let mut observed = announced(PLAIN);
    restart(&mut observed);
    let name = "shop.ci k8s-0123abcd-0123456789-1";
    let mut tokens = vec![listed("one", name), listed("other", name), listed("theirs", "made by hand")];
    observed.now = after(60);
    let done = steps(&mut observed, &mut tokens);
    assert!(
        !done.contains(&"enter_ledger".to_owned()),
        "nothing of ours is left to others: {done:?}"
    );
    let left: Vec<_> = tokens.iter().map(|token| token.id.as_str()).collect();
    assert_eq!(left, ["theirs", "id-2"]);
}

#[test]
fn a_token_is_written_by_who_made_it_until_its_time_is_over() {
    for (seconds, in_this_pass, in_the_next) in [(40, Some("create_secret"), Some("create_secret")), (41, None, Some("list_tokens"))] {
        let mut observed = announced(PLAIN);
        take_remote(&mut observed, Step::CreateToken, &mut Vec::new());
        observed.now = after(seconds);
        assert_eq!(next_step(&observed), in_this_pass, "{seconds} s");
        observed.intent_in_hand = None;
        observed.view = None;
        assert_eq!(next_step(&observed), in_the_next, "{seconds} s");
    }
}

#[test]
fn a_lost_attempt_is_given_up_when_nobody_else_can_go_on_with_it() {
    for (seconds, expected) in [
        (54, vec!["list_tokens", "OutcomeUnknown"]),
        (
            55,
            vec![
                "list_tokens",
                "write_status",
                "write_status",
                "create_token",
                "create_secret",
                "Issued",
            ],
        ),
    ] {
        let mut observed = announced(PLAIN);
        restart(&mut observed);
        observed.now = after(seconds);
        assert_eq!(steps(&mut observed, &mut Vec::new()), expected, "{seconds} s");
    }
}

#[test]
fn an_object_that_is_deleted_waits_for_what_a_lost_attempt_may_still_make() {
    for (seconds, look_again_at) in [(0, Some(5)), (52, Some(55)), (55, None)] {
        let mut observed = announced(PLAIN);
        restart(&mut observed);
        observed.edit(|token| token.metadata.deletion_timestamp = Some(Time(at(NOW))));
        observed.now = after(seconds);
        observed.view = Some(Vec::new());
        match look_again_at {
            Some(later) => assert_eq!(rest(&observed).look_again_at, Some(after(later)), "{seconds} s"),
            None => assert_eq!(next_step(&observed), Some("remove_finalizer"), "{seconds} s"),
        }
    }
}

#[test]
fn an_intent_names_what_the_issuer_is_asked_for() {
    for (capabilities, name) in [(PLAIN, Some("shop.ci k8s-0123abcd-0123456789-2")), (NAMELESS, None)] {
        let (mut observed, mut tokens) = issued_at(capabilities);
        observed.respec(|spec| spec.lifetime = hours("1h"));
        ask(&mut observed, "1");
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        let Plan::Step(Step::WriteStatus(status)) = decide(&observed) else {
            panic!("no intent")
        };
        let pending = status.pending.unwrap();
        assert_eq!(pending.name.as_deref(), name);
        assert_eq!((pending.attempt, status.attempts), (2, Some(2)));
        assert_eq!(
            (pending.expires_at, pending.started_at),
            (Some(Time(after(3660))), Time(after(60))),
            "it lives from now on"
        );
        assert_eq!((pending.reason.as_str(), pending.request.as_deref()), ("Requested", Some("1")));
        assert_eq!(pending.base, None);
    }
}

#[test]
fn what_an_attempt_made_is_looked_for_by_what_it_was_asked_for_with() {
    let with_icon = |icon: &str| Parameters {
        softwareone: Some(SoftwareoneParameters {
            icon: Some(icon.into()),
            ..Default::default()
        }),
        ..Default::default()
    };
    for (why, capabilities, asked, declared, expected) in [
        ("it has no name", NAMELESS, Some("old"), Some("new"), Some("old")),
        ("it has no name, and nothing was asked for", NAMELESS, None, Some("new"), None),
        ("its name is enough", PLAIN, Some("old"), Some("new"), Some("new")),
    ] {
        let mut observed = at_issuer(capabilities);
        observed.issuer_mut().spec = IssuerSpec {
            softwareone: Some(Default::default()),
            ..Default::default()
        };
        observed.respec(|spec| spec.parameters = asked.map(with_icon));
        while observed.pending().is_none() {
            let Plan::Step(step) = decide(&observed) else { panic!("no intent") };
            take_remote(&mut observed, step, &mut Vec::new());
        }
        observed.respec(|spec| spec.parameters = declared.map(with_icon));
        assert_eq!(crate::lifecycle::request(&observed).parameters, expected.map(with_icon), "{why}");
    }
}

#[test]
fn a_token_is_reset_once_where_it_works_and_the_issuer_lets_it_work_on_long_enough() {
    let cases: [(&str, &str, fn(&mut Observed, &mut Vec<ListedToken>), Verb); 5] = [
        ("it works on for longer", "1h", |_, _| {}, Verb::Reset),
        (
            "just long enough, less what vendors state roughly",
            "11h50m",
            |_, _| {},
            Verb::Reset,
        ),
        ("not long enough", "11h50m1s", |_, _| {}, Verb::Create),
        (
            "the issuer has others only",
            "1h",
            |_, tokens| *tokens = vec![listed("theirs", "made by hand")],
            Verb::Create,
        ),
        (
            "that was tried before",
            "1h",
            |o, _| o.edit(|token| token.status.as_mut().unwrap().token.as_mut().unwrap().reset_tried = true),
            Verb::Create,
        ),
    ];
    for (why, overlap, change, verb) in cases {
        let (mut observed, mut tokens) = issued_at(RESETTING);
        observed.edit(|token| {
            token.spec.rotation = Some(Box::new(Rotation {
                overlap: hours(overlap),
                ..Default::default()
            }));
        });
        ask(&mut observed, "1");
        change(&mut observed, &mut tokens);
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        let Plan::Step(Step::WriteStatus(status)) = decide(&observed) else {
            panic!("no intent")
        };
        let pending = status.pending.unwrap();
        assert_eq!(pending.verb, verb, "{why}");
        assert_eq!(pending.base.as_deref(), (verb == Verb::Reset).then_some("id-1"), "{why}");
        let tried = status.token.unwrap().reset_tried;
        assert!(verb == Verb::Create || tried, "{why}: known before the call");
    }
}

#[test]
fn what_a_lost_reset_may_have_made_bears_our_name_and_is_new() {
    let ours = "shop.ci k8s-0123abcd-0123456789-1 4711";
    let cases: [(&str, &str, i64, bool); 3] = [
        ("it is new and ours", ours, 61, true),
        ("it is somebody's", "shop.ci", 61, false),
        ("it is another cluster's", "shop.ci k8s-ffffffff-0123456789-1 4711", 61, false),
    ];
    for (why, name, created, ended) in cases {
        let (mut observed, mut tokens) = issued_at(RESETTING);
        ask(&mut observed, "1");
        while observed.intent_in_hand.is_none() {
            let Plan::Step(step) = decide(&observed) else { panic!("{why}") };
            take_remote(&mut observed, step, &mut tokens);
        }
        restart(&mut observed);
        let mut token = listed("new", name);
        token.created_at = Some(after(created));
        tokens.push(token);
        observed.now = after(200);
        steps(&mut observed, &mut tokens);
        observed.now = after(300);
        steps(&mut observed, &mut tokens);
        assert_eq!(tokens.iter().all(|token| token.id != "new"), ended, "{why}");
    }
}

#[test]
fn nothing_is_announced_while_another_apitoken_has_an_open_attempt_that_excludes_ours() {
    let mut observed = at_issuer(NAMELESS);
    observed.issuer_mut().busy = true;
    assert_eq!(rest(&observed).look_again_at, Some(after(5)));
    observed.issuer_mut().busy = false;
    assert_eq!(next_step(&observed), Some("add_finalizer"));
}

#[test]
fn the_ninth_overlap_is_made_room_for_before_the_call() {
    for (count, first_ends) in [(7, None), (8, Some(after(60)))] {
        let (mut observed, mut tokens) = issued_at(PLAIN);
        observed.edit(|token| {
            let status = token.status.as_mut().unwrap();
            status.previous = (0..count).map(|number| replaced(&format!("old-{number}"), far())).collect();
        });
        tokens.extend((0..count).map(|number| listed(&format!("old-{number}"), "")));
        ask(&mut observed, "1");
        take_remote(&mut observed, Step::ListTokens, &mut tokens);
        let Plan::Step(Step::WriteStatus(status)) = decide(&observed) else {
            panic!("nothing is written down")
        };
        let ended = status
            .previous
            .first()
            .map(|first| first.revoke_at.0)
            .filter(|at| *at <= observed.now);
        assert_eq!((ended, status.pending.is_none()), (first_ends, first_ends.is_some()), "{count}");
    }
}

#[test]
fn a_token_in_memory_waits_until_a_status_names_it_or_nobody_can() {
    let local = issued().with(|o| {
        o.now = at("2030-01-01T01:00:00Z");
        o.secret = ObservedSecret::Absent;
        o.fresh = Some(made(o, 2, "0123456789-2".into()));
    });
    let announced_here = rest(&local).status;
    let (remote, tokens) = issued_at(PLAIN);
    let recorded = remote.recorded().clone();
    let fresh = |id: &str, attempt| Some(made(&remote, attempt, id.into()));
    let cases = [
        (
            "announced here",
            Capabilities::BUILTIN,
            announced_here.clone(),
            fresh("", 2),
            None,
            true,
        ),
        (
            "another was announced",
            Capabilities::BUILTIN,
            announced_here,
            fresh("", 3),
            None,
            false,
        ),
        (
            "not announced here",
            Capabilities::BUILTIN,
            recorded.clone(),
            fresh("", 2),
            None,
            false,
        ),
        ("made at the issuer", PLAIN, recorded.clone(), fresh("id-2", 2), None, true),
        (
            "and shown there",
            PLAIN,
            recorded.clone(),
            fresh("id-2", 2),
            Some(vec![listed("id-2", "")]),
            true,
        ),
        (
            "and ended there",
            PLAIN,
            recorded.clone(),
            fresh("id-2", 2),
            Some(tokens.clone()),
            false,
        ),
        ("recorded by now", PLAIN, recorded, fresh("id-1", 1), Some(tokens), false),
    ];
    for (why, capabilities, status, fresh, view, waits) in cases {
        let mut observed = at_issuer(capabilities);
        (observed.fresh, observed.view) = (fresh, view);
        let waiting = crate::lifecycle::take_waiting(&mut observed, Some(&status));
        assert_eq!(waiting.is_some(), waits, "{why}");
    }
}

#[test]
fn a_replacement_of_a_token_that_is_held_back_is_ended_and_not_forgotten() {
    let (mut observed, mut tokens) = issued_at(PLAIN);
    ask(&mut observed, "1");
    while observed.fresh.is_none() {
        let Plan::Step(step) = decide(&observed) else {
            panic!("none is made")
        };
        take_remote(&mut observed, step, &mut tokens);
    }
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    observed.intent_in_hand = None;
    observed.view = None;
    steps(&mut observed, &mut tokens);
    assert!(observed.recorded().pending.is_some(), "its token may still come");
    observed.now = after(200);
    steps(&mut observed, &mut tokens);
    let left: Vec<_> = tokens.iter().map(|token| (token.id.as_str(), token.state)).collect();
    assert_eq!(left, [("id-1", ListedState::Suspended)]);
}

#[test]
fn a_clock_that_is_minutes_off_neither_hides_our_token_nor_makes_an_older_one_ours() {
    for ahead in [-300, -3, 0, 3, 300] {
        for (why, made, ended) in [
            ("it is older", -3, false),
            ("it came with the attempt", -2, true),
            ("it came since", 1, true),
        ] {
            let mut observed = announced(NAMELESS).with(restart);
            let mut theirs = listed("id-1", "");
            theirs.name = None;
            theirs.created_at = Some(after(made + ahead));
            let mut tokens = vec![theirs];
            for seconds in [0, 60, 120] {
                observed.now = after(seconds);
                tokens.iter_mut().for_each(|token| token.shown_at = Some(after(seconds + ahead)));
                steps(&mut observed, &mut tokens);
            }
            let is_ended = tokens.iter().all(|token| token.id != "id-1");
            assert_eq!(is_ended, ended, "{why}, by a clock that is {ahead} s ahead");
        }
    }
}
