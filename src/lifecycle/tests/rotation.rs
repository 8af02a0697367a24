//! When a token is replaced, why, and how long the replaced one works on.

use super::*;
use crate::{api::api_token::Rotation, lifecycle::schedule};

type Change = Box<dyn Fn(&mut Observed)>;

fn rotation(interval: Option<&str>, before: Option<&str>, overlap: &str) -> Option<Box<Rotation>> {
    Some(Box::new(Rotation {
        interval: interval.and_then(hours),
        before: before.and_then(hours),
        overlap: hours(overlap),
        retire_when_unused_for: None,
    }))
}

/// An issued token with that spec, with its Secret as it stands in the cluster.
fn issued_as(change: impl FnOnce(&mut ApiTokenSpec)) -> Observed {
    let mut observed = situation();
    observed.edit(|token| change(&mut token.spec));
    run(&mut observed);
    observed
}

fn ask(observed: &mut Observed, request: &str, overlap: Option<&str>) {
    observed.edit(|token| {
        let annotations = token.metadata.annotations.get_or_insert_default();
        annotations.insert(names::ROTATE_REQUESTED_AT_ANNOTATION.into(), request.into());
        annotations.remove(names::ROTATE_OVERLAP_ANNOTATION);
        annotations.extend(overlap.map(|overlap| (names::ROTATE_OVERLAP_ANNOTATION.to_owned(), overlap.to_owned())));
    });
}

fn later(observed: &mut Observed, seconds: i64) {
    observed.now += SignedDuration::from_secs(seconds);
}

/// The rotation that is due, from the announcement to the promotion.
fn rotate(observed: &mut Observed) -> Vec<String> {
    let mut done = run(observed);
    later(observed, 2);
    done.extend(run(observed));
    done
}

fn previous(observed: &Observed) -> Vec<(String, Timestamp)> {
    let previous = observed.recorded().previous.iter();
    previous
        .map(|PreviousToken { id, revoke_at, .. }| (id.clone().unwrap_or_default(), revoke_at.0))
        .collect()
}

#[test]
fn the_earliest_date_counts_and_comes_early_by_a_little_never_late() {
    let cases = [
        ("an interval", None, rotation(Some("10h"), None, "0s"), 10.0),
        ("before the end", Some("30h"), rotation(None, Some("6h"), "0s"), 24.0),
        ("a third before the end", Some("30h"), rotation(None, None, "0s"), 20.0),
        (
            "the interval comes first",
            Some("30h"),
            rotation(Some("10h"), Some("6h"), "0s"),
            10.0,
        ),
        ("the end comes first", Some("30h"), rotation(Some("28h"), Some("6h"), "0s"), 24.0),
    ];
    for (why, lifetime, rotation, promised) in cases {
        let observed = issued_as(|spec| {
            spec.lifetime = lifetime.and_then(hours);
            spec.rotation = rotation;
        });
        let Time(next) = observed.recorded().next_rotation_at.clone().unwrap();
        let after = next.duration_since(at(NOW)).as_secs_f64() / 3600.0;
        let earliest = f64::max(promised * 0.9, promised - 1.0);
        assert!((earliest..=promised).contains(&after), "{why}: after {after} h");
        assert_eq!(rest(&observed).look_again_at, Some(next), "{why}");
    }
}

#[test]
fn tokens_made_together_are_not_rotated_together() {
    let dates: std::collections::HashSet<String> = (0..1000)
        .map(|number| {
            let mut observed = situation();
            observed.edit(|token| {
                token.metadata.uid = Some(format!("{number:08x}-uid"));
                token.spec.rotation = rotation(Some("240h"), None, "0s");
            });
            run(&mut observed);
            observed.recorded().next_rotation_at.clone().unwrap().0.to_string()
        })
        .collect();
    assert!(dates.len() > 800, "{}", dates.len());
}

#[test]
fn what_makes_a_rotation_due() {
    let cases: Vec<(&str, Change, Option<&str>)> = vec![
        ("nothing", Box::new(|_| {}), None),
        ("the interval has passed", Box::new(|o| later(o, 3600)), Some("Interval")),
        (
            "the interval has passed many times: once",
            Box::new(|o| later(o, 3600 * 50)),
            Some("Interval"),
        ),
        ("it is asked for", Box::new(|o| ask(o, "1", None)), Some("Requested")),
        (
            "it is asked for and due: the request is answered",
            Box::new(|o| {
                later(o, 3600);
                ask(o, "1", None);
            }),
            Some("Requested"),
        ),
        (
            "the Secret holds something else",
            Box::new(|o| put(o, "token", "tampered")),
            Some("ValueChanged"),
        ),
        (
            "the Secret is gone",
            Box::new(|o| o.secret = ObservedSecret::Absent),
            Some("SecretMissing"),
        ),
        (
            "other scopes apply in place",
            Box::new(|o| o.respec(|spec| spec.scopes = vec!["a".into()])),
            None,
        ),
        (
            "another name applies in place",
            Box::new(|o| o.respec(|spec| spec.display_name = Some("CI".into()))),
            None,
        ),
        (
            "another lifetime applies in place",
            Box::new(|o| o.respec(|spec| spec.lifetime = hours("5h"))),
            None,
        ),
        (
            "a suspended token is not rotated",
            Box::new(|o| {
                later(o, 3600);
                ask(o, "1", None);
                o.respec(|spec| spec.state = DesiredState::Suspended);
            }),
            None,
        ),
    ];
    for (why, change, expected) in cases {
        let mut observed = issued_as(|spec| spec.rotation = rotation(Some("1h"), None, "10m"));
        later(&mut observed, 60);
        change(&mut observed);
        rotate(&mut observed);
        let status = observed.recorded();
        assert_eq!(status.last_rotation_reason.as_deref(), expected, "{why}");
        assert_eq!(status.rotations, expected.map(|_| 1), "{why}");
    }
}

#[test]
fn both_values_work_from_the_announcement_to_the_end_of_the_overlap() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("1h"), None, "10m"));
    later(&mut observed, 3600);
    assert_eq!(run(&mut observed), ["issue"], "announced, and not written yet");
    let status = observed.recorded();
    assert_eq!(status.pending.as_ref().unwrap().hash, Some(value(2).hash()));
    assert_eq!(
        (status.token.as_ref().unwrap().hash.clone(), status.state),
        (Some(value(1).hash()), Some(ObservedState::Active))
    );
    assert_eq!(
        found_mut(&mut observed).bytes("token"),
        Some(value(1).expose().as_bytes()),
        "consumers see the old one"
    );

    later(&mut observed, 1);
    assert_eq!(next_step(&observed), None, "verifiers get their time");
    later(&mut observed, 1);
    assert_eq!(run(&mut observed), ["update_secret", "Rotated"]);
    assert_eq!(found_mut(&mut observed).bytes("token"), Some(value(2).expose().as_bytes()));
    let ends = at("2030-01-01T01:10:02Z");
    assert_eq!(previous(&observed), [("0123456789-1".to_owned(), ends)]);
    assert_eq!(rest(&observed).look_again_at, Some(ends), "the end of the overlap comes first");

    observed.now = ends;
    run(&mut observed);
    assert_eq!(previous(&observed), []);
    assert_eq!(observed.ready(), (true, "Ready"));
}

#[test]
fn an_overlap_never_outlives_the_old_token() {
    let mut observed = issued_as(|spec| {
        spec.lifetime = hours("2h");
        spec.rotation = rotation(None, Some("5m"), "1h");
    });
    later(&mut observed, 7000);
    rotate(&mut observed);
    assert_eq!(previous(&observed), [("0123456789-1".to_owned(), at("2030-01-01T02:00:00Z"))]);
}

#[test]
fn a_request_is_answered_once_also_when_another_rotation_runs() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("1h"), None, "10m"));
    later(&mut observed, 3600);
    run(&mut observed);
    ask(&mut observed, "1", None);
    later(&mut observed, 2);
    run(&mut observed);
    assert_eq!(observed.recorded().last_rotation_reason.as_deref(), Some("Interval"));
    assert_eq!(next_step(&observed), Some("issue"), "the request is answered by another");
    later(&mut observed, 2);
    rotate(&mut observed);
    let status = observed.recorded();
    assert_eq!((status.rotations, status.last_rotation_request.as_deref()), (Some(2), Some("1")));
    later(&mut observed, 60);
    assert_eq!(next_step(&observed), None, "answered");
}

#[test]
fn a_request_that_comes_with_the_object_asks_for_no_second_token() {
    let mut observed = situation();
    ask(&mut observed, "from Git", None);
    assert_eq!(run(&mut observed), ["issue", "create_secret", "Issued"]);
    assert_eq!(observed.recorded().last_rotation_request.as_deref(), Some("from Git"));
    later(&mut observed, 60);
    assert_eq!(next_step(&observed), None);
}

#[test]
fn a_leak_leaves_no_old_value_working() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "1h"));
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    rotate(&mut observed);
    assert_eq!(previous(&observed).len(), 1, "an ordinary overlap runs");
    let ended = found_mut(&mut observed).annotation(names::ENDED_ANNOTATION).map(str::to_owned);
    assert_eq!(ended, None, "and the replaced value was not ended");

    later(&mut observed, 60);
    ask(&mut observed, "2", Some("0s"));
    assert_eq!(run(&mut observed), ["issue"]);
    assert!(
        previous(&observed).iter().all(|(_, end)| *end <= observed.now),
        "the running overlap ends with the announcement"
    );
    assert_eq!(run(&mut observed), ["update_secret", "Rotated"], "verifiers get no time");
    assert_eq!(previous(&observed), []);
    let ended = found_mut(&mut observed).annotation(names::ENDED_ANNOTATION).map(str::to_owned);
    assert_eq!(ended, Some(value(2).hash()), "the Secret says which value was ended");
}

#[test]
fn an_overlap_that_makes_no_sense_is_told_of_once_and_the_declared_one_counts() {
    let hour = SignedDuration::from_hours(1);
    let cases: [(Option<&str>, Option<SignedDuration>, bool); 16] = [
        (None, Some(hour), false),
        (Some("6h"), Some(hour * 6), false),
        (Some("0"), None, false),
        (Some("0s"), None, false),
        (Some("0m"), None, false),
        (Some("0h"), None, false),
        (Some("00s"), None, false),
        (Some("0h0m"), None, false),
        (Some("0sec"), Some(hour), true),
        (Some("-1h"), Some(hour), true),
        (Some("-0s"), Some(hour), true),
        (Some(""), Some(hour), true),
        (Some(" 0s"), Some(hour), true),
        (Some("1d"), Some(hour), true),
        (Some("87601h"), Some(hour), true),
        (Some("now"), Some(hour), true),
    ];
    for (overlap, works_on, is_told) in cases {
        let mut observed = issued_as(|spec| spec.rotation = rotation(Some("240h"), None, "1h"));
        later(&mut observed, 60);
        ask(&mut observed, "1", overlap);
        let done = rotate(&mut observed);
        assert_eq!(
            observed.recorded().last_rotation_request.as_deref(),
            Some("1"),
            "{overlap:?}: it is done"
        );
        let ends = previous(&observed).first().map(|(_, end)| end.duration_since(observed.now));
        assert_eq!(ends, works_on, "{overlap:?}");
        assert_eq!(done.contains(&"OverlapInvalid".to_owned()), is_told, "{overlap:?}: {done:?}");
        later(&mut observed, 60);
        assert!(run(&mut observed).is_empty(), "{overlap:?}: once");
    }
}

#[test]
fn an_overlap_that_makes_no_sense_is_nothing_to_a_rotation_that_nobody_asked_for() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("1h"), None, "10m"));
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    rotate(&mut observed);
    ask(&mut observed, "1", Some("0sec"));
    later(&mut observed, 3600);
    let done = rotate(&mut observed);
    assert!(
        done.contains(&"Rotated".to_owned()) && !done.contains(&"OverlapInvalid".to_owned()),
        "{done:?}"
    );
}

#[test]
fn a_leak_that_is_told_later_ends_the_overlap_of_its_own_rotation_only() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "1h"));
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    rotate(&mut observed);
    later(&mut observed, 60);
    ask(&mut observed, "1", Some("0s"));
    run(&mut observed);
    assert_eq!(
        (previous(&observed), observed.recorded().rotations),
        (vec![], Some(1)),
        "no second rotation"
    );

    later(&mut observed, 9 * 3600);
    rotate(&mut observed);
    assert_eq!(observed.recorded().last_rotation_reason.as_deref(), Some("Interval"));
    assert_eq!(previous(&observed).len(), 1, "the next one has its overlap");
}

#[test]
fn a_request_may_bring_an_overlap_of_its_own() {
    for (declared, asked, minutes) in [
        ("1h", Some("6h"), 360),
        ("6h", Some("1h"), 60),
        ("1h", Some("soon"), 60),
        ("1h", None, 60),
    ] {
        let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, declared));
        later(&mut observed, 60);
        ask(&mut observed, "1", asked);
        rotate(&mut observed);
        let ends = schedule::later(observed.now, SignedDuration::from_mins(minutes));
        assert_eq!(
            previous(&observed),
            [("0123456789-1".to_owned(), ends)],
            "{declared}, asked for {asked:?}"
        );

        later(&mut observed, 9 * 3600);
        rotate(&mut observed);
        let (_, ends) = previous(&observed).pop().unwrap();
        let overlap = ends.duration_since(observed.now);
        assert_eq!(
            overlap,
            hours(declared).unwrap().as_signed(),
            "a planned one has the declared overlap"
        );
    }
}

#[test]
fn at_most_eight_replaced_tokens_work_on_and_the_first_to_end_goes() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "8h"));
    for number in 0..10 {
        later(&mut observed, 60);
        ask(&mut observed, &number.to_string(), None);
        rotate(&mut observed);
    }
    let ids: Vec<String> = previous(&observed).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, (3..=10).map(|number| format!("0123456789-{number}")).collect::<Vec<_>>());
}

#[test]
fn the_previous_value_is_shown_as_long_as_it_works() {
    let mut observed = issued_as(|spec| {
        spec.rotation = rotation(Some("9h"), None, "10m");
        spec.secret.include_previous = true;
        spec.secret.template = [("BOTH".to_owned(), "{{ token }} {{ previousToken }}".to_owned())].into();
    });
    assert_eq!(found_mut(&mut observed).bytes(names::PREVIOUS_TOKEN_KEY), None);
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    rotate(&mut observed);
    assert_eq!(
        found_mut(&mut observed).bytes(names::PREVIOUS_TOKEN_KEY),
        Some(value(1).expose().as_bytes()),
        "with the same write as the new value"
    );
    let both = format!("{} {}", value(2).expose(), value(1).expose());
    assert_eq!(found_mut(&mut observed).bytes("BOTH"), Some(both.as_bytes()));

    let mut object = found_mut(&mut observed).object().clone();
    object.metadata.managed_fields = Some(vec![
        serde_json::from_value(serde_json::json!({
            "manager": "apitoken-operator", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:token": {}, "f:previousToken": {}, "f:BOTH": {}}},
        }))
        .unwrap(),
    ]);
    observed.secret = ObservedSecret::Found(FoundSecret::new(object));
    later(&mut observed, 600);
    assert_eq!(run(&mut observed), ["update_secret", "SecretUpdated"]);
    assert_eq!(found_mut(&mut observed).bytes(names::PREVIOUS_TOKEN_KEY), None);
    assert_eq!(previous(&observed), []);
}

#[test]
fn the_end_of_an_overlap_is_seen_though_the_secret_did_not_change() {
    let mut observed = issued_as(|spec| {
        spec.rotation = rotation(Some("9h"), None, "10m");
        spec.secret.include_previous = true;
    });
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    rotate(&mut observed);
    observed.secret = ObservedSecret::Unchanged;
    assert_eq!(next_step(&observed), None);
    later(&mut observed, 600);
    assert_eq!(next_step(&observed), Some("read_secret"));
}

#[test]
fn an_overlap_ends_early_once_the_old_token_was_quiet() {
    let cases = [
        ("its last use is not known", None, at("2030-01-01T01:01:02Z")),
        (
            "it was used before the rotation only",
            Some("2029-12-31T00:00:00Z"),
            at("2030-01-01T00:11:02Z"),
        ),
        ("it was used since", Some("2030-01-01T00:05:00Z"), at("2030-01-01T00:15:00Z")),
        ("it is used all the time", Some("2030-01-01T00:59:00Z"), at("2030-01-01T01:01:02Z")),
    ];
    for (why, used, end) in cases {
        let mut observed = issued_as(|spec| {
            spec.rotation = rotation(Some("9h"), None, "1h");
            spec.rotation.as_mut().unwrap().retire_when_unused_for = hours("10m");
        });
        later(&mut observed, 60);
        ask(&mut observed, "1", None);
        rotate(&mut observed);
        observed.edit(|token| {
            let previous = &mut token.status.as_mut().unwrap().previous[0];
            previous.last_used_at = used.map(|used| Time(at(used)));
        });
        assert_eq!(rest(&observed).look_again_at, Some(end), "{why}");
        observed.now = end;
        run(&mut observed);
        assert_eq!(previous(&observed), [], "{why}");
    }
}

#[test]
fn a_value_that_was_announced_over_is_accepted_until_another_is_current() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "10m"));
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    run(&mut observed);
    observed.fresh = None;
    later(&mut observed, 60);
    assert_eq!(
        run(&mut observed),
        ["issue"],
        "the first announced value got lost with its operator"
    );
    let accepted: Vec<Option<String>> = observed.recorded().previous.iter().map(|previous| previous.hash.clone()).collect();
    assert_eq!(accepted, [Some(value(2).hash())], "or another operator is about to write it");
    later(&mut observed, 2);
    run(&mut observed);
    let ids: Vec<String> = previous(&observed).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["0123456789-1"], "only the replaced one works on");
}

#[test]
fn a_short_overlap_of_a_planned_rotation_is_told() {
    for (overlap, told) in [("0s", true), ("59s", true), ("60s", false), ("10m", false)] {
        let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, overlap));
        later(&mut observed, 9 * 3600);
        run(&mut observed);
        later(&mut observed, 2);
        let Plan::Step(step) = decide(&observed) else {
            panic!("the Secret is to be written")
        };
        take(&mut observed, step);
        let notices = rest(&observed).notices;
        assert_eq!(
            notices[0].message.contains("set spec.rotation.overlap"),
            told,
            "{overlap}: {}",
            notices[0].message
        );
    }
}

#[test]
fn what_fell_due_while_a_token_was_suspended_is_done_once_it_is_activated() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("1h"), None, "10m"));
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    later(&mut observed, 50 * 3600);
    assert_eq!(run(&mut observed), ["Suspended"]);
    assert_eq!(observed.recorded().next_rotation_at, None);
    observed.respec(|spec| spec.state = DesiredState::Active);
    let done = rotate(&mut observed);
    assert_eq!(
        done,
        ["issue", "Activated", "update_secret", "Rotated"],
        "the old value works at once, and is replaced"
    );
    assert_eq!(observed.recorded().rotations, Some(1));
}

#[test]
fn a_rotation_that_runs_when_a_token_is_suspended_is_given_up_and_done_later() {
    let mut observed = issued_as(|_| {});
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    run(&mut observed);
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    later(&mut observed, 2);
    assert_eq!(run(&mut observed), ["Suspended"]);
    assert!(observed.recorded().pending.is_none() && observed.recorded().last_rotation_request.is_none());
    observed.respec(|spec| spec.state = DesiredState::Active);
    later(&mut observed, 60);
    rotate(&mut observed);
    assert_eq!(observed.recorded().last_rotation_request.as_deref(), Some("1"));
}

#[test]
fn a_rotation_that_was_missed_with_the_end_is_made_up_for_where_one_is_declared() {
    for (why, declared, lifetime, ask_for, state) in [
        ("a rotation is declared", true, "3h", false, ObservedState::Active),
        ("none is declared", false, "3h", false, ObservedState::Expired),
        ("one is asked for", false, "3h", true, ObservedState::Active),
    ] {
        let mut observed = issued_as(|spec| {
            spec.lifetime = hours(lifetime);
            spec.rotation = declared.then(|| rotation(None, None, "10m").unwrap());
        });
        later(&mut observed, 50 * 3600);
        if ask_for {
            ask(&mut observed, "1", None);
        }
        rotate(&mut observed);
        assert_eq!(observed.recorded().state, Some(state), "{why}");
        assert_eq!(previous(&observed), [], "{why}: what is past its end has no overlap");
    }
}

#[test]
fn a_fixed_end_is_not_put_off_by_a_rotation() {
    let observed = issued_as(|spec| {
        spec.expires_at = Some(Time(at("2030-01-02T00:00:00Z")));
        spec.rotation = rotation(Some("20h"), None, "10m");
    });
    assert!(observed.recorded().next_rotation_at.is_some());
    let mut late = observed;
    late.now = at("2030-01-01T19:00:00Z");
    assert!(run(&mut late).contains(&"Expiring".to_owned()) || late.recorded().pending.is_some());
    let beyond = issued_as(|spec| {
        spec.expires_at = Some(Time(at("2030-01-01T10:00:00Z")));
        spec.rotation = rotation(Some("20h"), None, "10m");
    });
    assert_eq!(beyond.recorded().next_rotation_at, None, "there is nothing left to rotate then");
}

#[test]
fn withdrawing_ends_the_value_and_activating_issues_another() {
    let mut observed = issued_as(|spec| spec.suspend_policy = SuspendPolicy::Withdraw);
    observed.respec(|spec| spec.state = DesiredState::Suspended);
    assert_eq!(run(&mut observed), ["update_secret", "Suspended"]);
    let status = observed.recorded();
    assert_eq!((status.state, status.token.is_none()), (Some(ObservedState::Suspended), true));
    assert_eq!(observed.ready(), (true, "Ready"));
    assert_eq!(
        found_mut(&mut observed).annotation(names::ENDED_ANNOTATION),
        Some(value(1).hash().as_str())
    );
    assert!(run(&mut observed).is_empty());

    observed.respec(|spec| spec.state = DesiredState::Active);
    later(&mut observed, 60);
    assert_eq!(run(&mut observed), ["issue", "update_secret", "Issued"]);
    assert_eq!(
        observed.recorded().token.clone().unwrap().id.as_deref(),
        Some("0123456789-2"),
        "ids are not used twice"
    );
}

#[test]
fn the_annotation_for_a_leak_counts_only_beside_its_own_request() {
    // It was left from an earlier request, which somebody has removed since.
    let left = |observed: &mut Observed| {
        observed.edit(|token| {
            let annotations = token.metadata.annotations.get_or_insert_default();
            annotations.remove(names::ROTATE_REQUESTED_AT_ANNOTATION);
            annotations.insert(names::ROTATE_OVERLAP_ANNOTATION.into(), "0s".into());
        });
    };
    let cases: [(&str, Change, i64); 4] = [
        ("an ordinary request", Box::new(|observed| ask(observed, "2", None)), 2),
        ("a leak", Box::new(|observed| ask(observed, "2", Some("0s"))), 0),
        ("a lost value, with the annotation left", Box::new(left), 2),
        (
            "a request that was answered",
            Box::new(|observed| ask(observed, "1", Some("0s"))),
            2,
        ),
    ];
    for (why, change, seconds) in cases {
        let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "1h"));
        observed.edit(|token| token.status.as_mut().unwrap().last_rotation_request = Some("1".into()));
        later(&mut observed, 60);
        change(&mut observed);
        observed.secret = ObservedSecret::Absent;
        observed.fresh = Some(made(&observed, 2, "0123456789-2".into()));
        let wait = rest(&observed).look_again_at.map(|at| at.duration_since(observed.now));
        assert_eq!(wait, Some(SignedDuration::from_secs(seconds)), "{why}: how long verifiers get");
    }
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "1h"));
    later(&mut observed, 60);
    left(&mut observed);
    observed.secret = ObservedSecret::Absent;
    run(&mut observed);
    assert_eq!(next_step(&observed), None, "verifiers get their time");
    later(&mut observed, 2);
    run(&mut observed);
    assert_eq!(previous(&observed).len(), 1, "and consumers their overlap");
}

#[test]
fn a_request_that_is_gone_ends_no_overlap() {
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("9h"), None, "1h"));
    later(&mut observed, 60);
    ask(&mut observed, "1", None);
    rotate(&mut observed);
    observed.edit(|token| {
        let annotations = token.metadata.annotations.get_or_insert_default();
        annotations.remove(names::ROTATE_REQUESTED_AT_ANNOTATION);
        annotations.insert(names::ROTATE_OVERLAP_ANNOTATION.into(), "0s".into());
    });
    later(&mut observed, 60);
    run(&mut observed);
    assert_eq!(previous(&observed).len(), 1);
}

#[test]
fn a_clock_that_was_far_ahead_holds_up_no_rotation() {
    const YEAR: i64 = 365 * 24 * 3600;
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("240h"), None, "1h"));
    later(&mut observed, YEAR);
    rotate(&mut observed);
    later(&mut observed, -YEAR);
    assert!(run(&mut observed).is_empty(), "once is enough");
    ask(&mut observed, "1", Some("0s"));
    assert_eq!(run(&mut observed), ["issue"], "nobody waits for the time of the last issue");
    run(&mut observed);
    assert_eq!((observed.recorded().rotations, previous(&observed)), (Some(2), vec![]));

    later(&mut observed, YEAR);
    ask(&mut observed, "2", None);
    assert_eq!(run(&mut observed), ["issue"]);
    observed.fresh = None;
    later(&mut observed, 60 - YEAR);
    assert_eq!(run(&mut observed), ["issue"], "nor for whoever announced a value then");
}

#[test]
fn a_value_that_was_announced_while_the_clock_was_far_ahead_is_written_at_once() {
    const YEAR: i64 = 365 * 24 * 3600;
    let mut observed = issued_as(|spec| spec.rotation = rotation(Some("240h"), None, "1h"));
    later(&mut observed, YEAR);
    assert_eq!(run(&mut observed), ["issue"]);
    later(&mut observed, -YEAR);
    run(&mut observed);
    assert_eq!((observed.recorded().rotations, &observed.recorded().pending), (Some(1), &None));
}
