//! A value that is announced, written and recorded anew, after a crash and beside another operator.

use super::*;

#[test]
fn a_lost_value_is_announced_before_consumers_see_the_new_one() {
    for (why, reason, secret) in [
        ("the Secret is gone", "SecretMissing", None),
        ("the value is another", "ValueChanged", Some("tampered")),
        ("the value is empty", "ValueChanged", Some("")),
    ] {
        let mut observed = issued();
        observed.now = at("2030-01-01T01:00:00Z");
        observed.secret = match secret {
            None => ObservedSecret::Absent,
            Some(text) => changed(&observed, |secret| {
                secret.data.get_or_insert_default().insert("token".into(), ByteString(text.into()));
            }),
        };
        assert_eq!(run(&mut observed), ["issue"], "{why}: announced, not written");
        let status = observed.recorded();
        let pending = status.pending.clone().unwrap();
        assert_eq!(
            (pending.hash, pending.attempt, pending.reason.as_str()),
            (Some(value(2).hash()), 2, reason),
            "{why}"
        );
        assert_eq!(
            status.token.clone().unwrap().hash,
            Some(value(1).hash()),
            "{why}: both are accepted meanwhile"
        );
        assert_eq!(
            (observed.ready(), status.state),
            ((false, "Progressing"), Some(ObservedState::Active)),
            "{why}"
        );

        observed.now = at("2030-01-01T01:00:01Z");
        assert_eq!(
            rest(&observed).look_again_at,
            Some(at("2030-01-01T01:00:02Z")),
            "{why}: verifiers get their time"
        );

        observed.now = at("2030-01-01T01:00:02Z");
        let done = run(&mut observed);
        assert_eq!(done.last().map(String::as_str), Some("Rotated"), "{why}: {done:?}");
        let status = observed.recorded();
        assert_eq!(status.token.clone().unwrap().hash, Some(value(2).hash()), "{why}");
        assert_eq!(
            (status.rotations, status.attempts, status.pending.is_none()),
            (Some(1), Some(2), true),
            "{why}"
        );
        assert_eq!(observed.ready(), (true, "Ready"), "{why}");
    }
}

#[test]
fn a_crash_in_a_replacement_ends_with_one_token() {
    let mut observed = issued();
    observed.now = at("2030-01-01T01:00:00Z");
    observed.secret = ObservedSecret::Absent;
    run(&mut observed);
    let written = {
        let record = crate::api::api_token::TokenStatus {
            id: Some("0123456789-2".into()),
            ..observed.recorded().token.clone().unwrap()
        };
        crate::lifecycle::secret::desired(&observed, &record, &value(2), None)
            .unwrap()
            .secret
    };

    let mut lost = situation().with(|situation| situation.token = observed.token.clone());
    lost.now = at("2030-01-01T01:00:06Z");
    assert_eq!(next_step(&lost), None, "it may be another operator's, which is about to write it");
    lost.now = at("2030-01-01T01:00:07Z");
    assert_eq!(run(&mut lost), ["issue"]);
    assert_eq!(lost.recorded().pending.clone().unwrap().attempt, 3, "announced anew");

    let mut cut = situation().with(|situation| situation.token = observed.token.clone());
    cut.now = at("2030-01-01T01:00:09Z");
    cut.secret = stored(&written);
    let done = run(&mut cut);
    assert!(
        !done.contains(&"issue".to_owned()),
        "the Secret holds the announced value: {done:?}"
    );
    assert_eq!(cut.recorded().token.clone().unwrap().hash, Some(value(2).hash()));
    assert_eq!((cut.recorded().rotations, cut.recorded().pending.is_none()), (Some(1), true));
}

#[test]
fn two_operators_do_not_announce_over_each_other() {
    let mut first = issued();
    first.now = at("2030-01-01T01:00:00Z");
    first.secret = ObservedSecret::Absent;
    run(&mut first);
    let mut second = situation().with(|situation| situation.token = first.token.clone());
    second.now = first.now;
    second.fresh = Some(IssuedToken {
        value: value(7),
        id: "0123456789-2".into(),
        name: None,
        attempt: 2,
        issued_at: second.now,
        announced_at: None,
        expires_at: None,
        details: Default::default(),
    });
    let announced = first.recorded().pending.clone();
    assert!(run(&mut second).is_empty());
    assert_eq!(second.recorded().pending, announced, "the other's turn");
    assert!(second.fresh.is_none());
}

#[test]
fn a_token_announced_again_and_again_stays_below_eight_in_fifteen_seconds() {
    let mut observed = issued();
    let mut made = 0;
    for second in 0..15 {
        observed.now = at(NOW) + SignedDuration::from_secs(second);
        observed.secret = ObservedSecret::Absent;
        observed.fresh = None;
        made += run(&mut observed).iter().filter(|step| *step == "issue").count();
    }
    assert!((2..=8).contains(&made), "{made}");
}

#[test]
fn a_value_that_was_made_for_another_attempt_is_not_used() {
    for (why, attempt, step) in [("the next attempt", 2, None), ("one that is over", 1, Some("issue"))] {
        let mut observed = issued();
        observed.now = at("2030-01-01T01:00:00Z");
        observed.secret = ObservedSecret::Absent;
        observed.fresh = Some(made(&observed, attempt, format!("0123456789-{attempt}")));
        assert_eq!(next_step(&observed), step, "{why}");
    }
}

#[test]
fn two_seconds_lie_between_one_token_and_the_next() {
    let mut observed = issued();
    observed.secret = ObservedSecret::Absent;
    observed.now = at("2030-01-01T00:00:01Z");
    assert_eq!(rest(&observed).look_again_at, Some(at("2030-01-01T00:00:02Z")));
    observed.now = at("2030-01-01T00:00:02Z");
    assert_eq!(next_step(&observed), Some("issue"));
}
