//! When things are due: the end of a token, the next try after a failure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{
    ApiTokenSpec,
    api_token::{Failures, ObservedState},
};

/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_secs(300);
/// The longest time ahead of an end at which it is told.
const LONGEST_WARNING: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far ahead another node's clock may be.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Between two tokens made for one ApiToken: keeps below 8 in 15 s whatever happens.
const BETWEEN_ISSUES: SignedDuration = SignedDuration::from_secs(2);

/// When a token issued at `issued_at` ends; nothing where it does not.
pub fn end(spec: &ApiTokenSpec, issued_at: Option<Timestamp>) -> Option<Timestamp> {
    if let Some(Time(at)) = &spec.expires_at {
        return Some(*at);
    }
    let lifetime = spec.lifetime.as_ref()?.as_signed();
    Some(later(issued_at?, lifetime))
}

/// `at` plus `duration`, or the end of time.
pub fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// From when on it is told that a token ends that nothing rotates: a third of its life ahead, at most
/// a week.
pub fn warning(issued_at: Timestamp, end: Timestamp) -> Timestamp {
    let ahead = (end.duration_since(issued_at) / 3).min(LONGEST_WARNING);
    to_second(end.checked_sub(ahead).unwrap_or(end))
}

/// Whether something may have happened at that recorded time. Else the clock that wrote it was wrong, or this one jumped back
/// since: nobody waits until that time has come.
pub fn is_credible(recorded: Timestamp, now: Timestamp) -> bool {
    recorded <= later(now, CLOCK_SKEW)
}

/// When the next token may be made after one made at `last`.
pub fn next_issue(last: Timestamp) -> Timestamp {
    later(last, BETWEEN_ISSUES)
}

/// The record of one more failure, with the time of the next try.
///
/// The pause doubles from 1 s to 5 min and is shortened by up to a fifth, so that objects that
/// failed together don't come back together. `seed` differs between objects.
pub fn failed_again(before: Option<&Failures>, seed: &str, now: Timestamp) -> Failures {
    let count = before.map_or(0, |failures| failures.count).saturating_add(1);
    let first_at = before.map_or_else(|| Time(now), |failures| failures.first_at.clone());
    Failures {
        count,
        first_at,
        last_at: Time(now),
        next_retry_at: Some(Time(later(now, pause(count, seed)))),
        situation: None,
    }
}

/// How long to wait after so many failures in a row.
pub fn pause(count: i32, seed: &str) -> SignedDuration {
    let doublings = u32::try_from(count.saturating_sub(1)).unwrap_or(0).min(16);
    let full = FIRST_PAUSE
        .as_millis()
        .saturating_mul(1i128 << doublings)
        .min(LONGEST_PAUSE.as_millis());
    let jitter = i128::from(crc32fast::hash(format!("{seed}/{count}").as_bytes()) % 200);
    let shortened = full - full * jitter / 1000;
    // Times in a status are whole seconds: less than one would be a try at once.
    SignedDuration::from_secs(i64::try_from(shortened.div_euclid(1000)).unwrap_or(300).max(1))
}

/// A part of `span`, another one for each seed.
pub fn spread(span: SignedDuration, seed: &str) -> SignedDuration {
    let spread = i64::from(crc32fast::hash(seed.as_bytes()));
    SignedDuration::from_secs(spread % span.as_secs().saturating_add(1).max(1))
}

/// Where the token is to be brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// It is to work, or to be held back for now.
    Live(ObservedState),
    /// It is held back by ending it: activating issues another.
    Withdrawn,
    /// Its time is over.
    Expired,
    /// It is ended for good.
    Revoked,
}

/// The first whole second that is not before `at`.
pub fn next_second(at: Timestamp) -> Timestamp {
    let cut = to_second(at);
    if cut < at { later(cut, SignedDuration::from_secs(1)) } else { cut }
}

/// Cuts a time to the second, as Kubernetes stores times.
pub fn to_second(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Duration;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_end_counts_from_the_issue_or_is_a_date() {
        let issued = at("2030-01-01T00:00:00Z");
        let lifetime = ApiTokenSpec {
            lifetime: Some(Duration::try_from("24h".to_owned()).unwrap()),
            ..Default::default()
        };
        let date = ApiTokenSpec {
            expires_at: Some(Time(at("2031-01-01T00:00:00Z"))),
            ..Default::default()
        };
        assert_eq!(end(&ApiTokenSpec::default(), Some(issued)), None);
        assert_eq!(end(&lifetime, Some(issued)), Some(at("2030-01-02T00:00:00Z")));
        assert_eq!(end(&lifetime, None), None, "a lifetime starts with the issue");
        assert_eq!(end(&date, None), Some(at("2031-01-01T00:00:00Z")));
    }

    #[test]
    fn pauses_double_to_five_minutes_and_differ_between_objects() {
        let seconds: Vec<i64> = (1..=12).map(|count| pause(count, "uid").as_secs()).collect();
        for (count, pair) in seconds.windows(2).enumerate() {
            assert!(pair[0] <= pair[1] || pair[0] >= 240, "try {count}: {seconds:?}");
        }
        assert!((1..=12).all(|count| (1..=300).contains(&pause(count, "uid").as_secs())));
        assert!(pause(i32::MAX, "uid").as_secs() >= 240);
        let spread: std::collections::HashSet<i64> = (0..100).map(|n| pause(9, &format!("uid-{n}")).as_secs()).collect();
        assert!(spread.len() > 20, "{spread:?}");
    }

    #[test]
    fn a_pause_is_shortened_by_a_fifth_at_most() {
        for (count, full) in [(1, 1), (2, 2), (3, 4), (5, 16), (9, 256), (10, 300), (40, 300)] {
            for number in 0..20 {
                let pause = pause(count, &format!("uid-{number}")).as_secs();
                assert!((full * 4 / 5).max(1) <= pause && pause <= full, "try {count}: {pause} s");
            }
        }
    }

    #[test]
    fn an_end_is_told_a_third_of_the_life_ahead_and_at_most_a_week() {
        for (lives, ahead) in [(3, 1), (300, 100), (504, 168), (2400, 168)] {
            let issued = at("2030-01-01T00:00:00Z");
            let end = later(issued, SignedDuration::from_hours(lives));
            assert_eq!(
                end.duration_since(warning(issued, end)),
                SignedDuration::from_hours(ahead),
                "{lives} h"
            );
        }
    }

    #[test]
    fn a_time_is_rounded_up_to_the_second() {
        for (time, expected) in [
            ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
            ("2030-01-01T00:00:00.001Z", "2030-01-01T00:00:01Z"),
            ("2030-01-01T00:00:00.999Z", "2030-01-01T00:00:01Z"),
        ] {
            assert_eq!(next_second(at(time)), at(expected), "{time}");
        }
    }

    #[test]
    fn the_first_failure_is_remembered_over_the_next_ones() {
        let first = failed_again(None, "uid", at("2030-01-01T00:00:00Z"));
        let second = failed_again(Some(&first), "uid", at("2030-01-01T00:00:05Z"));
        assert_eq!((second.count, second.first_at), (2, first.first_at));
        assert_eq!(second.last_at, Time(at("2030-01-01T00:00:05Z")));
    }
}
