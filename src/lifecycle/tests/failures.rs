//! Steps that fail, and when they are tried again.

use super::*;

#[test]
fn failures_are_counted_tried_later_and_forgotten_after_a_success() {
    let mut observed = situation();
    for count in 1..=3 {
        observed.failure = Some(Failure::of_secret("could not write"));
        let done = run(&mut observed);
        assert_eq!(done.is_empty(), count > 1, "told once");
        let failures = observed.recorded().failures.clone().unwrap();
        assert_eq!(failures.count, count);
        assert_eq!(observed.ready(), (false, "Progressing"));
        let Time(retry_at) = failures.next_retry_at.unwrap();
        assert_eq!(rest(&observed).look_again_at, Some(retry_at), "nothing is tried before");
        observed.now = retry_at;
    }
    run(&mut observed);
    assert_eq!((observed.ready(), observed.recorded().failures.clone()), ((true, "Ready"), None));
}

#[test]
fn what_failed_while_the_clock_was_far_ahead_is_tried_at_once() {
    for (ahead, step) in [
        (SignedDuration::from_mins(5), None),
        (SignedDuration::from_hours(9000), Some("issue")),
    ] {
        let mut observed = situation();
        observed.now += ahead;
        observed.failure = Some(Failure::of_secret("could not write"));
        run(&mut observed);
        observed.now -= ahead;
        assert_eq!(next_step(&observed), step, "{ahead:#}");
    }
}

#[test]
fn a_changed_spec_is_tried_at_once_after_a_failure() {
    let mut observed = situation();
    observed.failure = Some(Failure::of_secret("could not write"));
    run(&mut observed);
    assert_eq!(next_step(&observed), None);
    observed.respec(|spec| spec.secret.name = Some("other".into()));
    assert_eq!(next_step(&observed), Some("issue"));
}
