//! Spans of time as people write and read them: `7d`, `in 3d`, `5m ago`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::duration;

/// Reads a span in days, hours, minutes and seconds, such as `7d` or `1h30m`.
pub fn parse(text: &str) -> Result<SignedDuration, String> {
    seconds(text)
        .map(SignedDuration::from_secs)
        .ok_or_else(|| "write days, hours, minutes and seconds, such as 7d, 12h or 1m30s".to_owned())
}

fn seconds(text: &str) -> Option<i64> {
    let short = Some(text).filter(|text| text.len() <= 32)?;
    duration::sum(short, |unit| match unit {
        b'd' => Some(86_400),
        b'h' => Some(3_600),
        b'm' => Some(60),
        b's' => Some(1),
        _ => None,
    })
}

/// A length as kubectl shows ages: one unit, and two digits or more of it.
pub fn length(span: SignedDuration) -> String {
    let seconds = span.as_secs().unsigned_abs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        172_800..63_072_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

/// A time seen from now: `in 3d`, `5m ago`.
pub fn from_now(at: Timestamp, now: Timestamp) -> String {
    let span = length(at.duration_since(now));
    if at > now { format!("in {span}") } else { format!("{span} ago") }
}

/// The same for a time that may be absent.
pub fn cell(at: Option<&Time>, now: Timestamp) -> String {
    at.map_or_else(|| "-".to_owned(), |Time(at)| from_now(*at, now))
}

/// A time and how far away it is: `2030-01-31T12:00:00Z (in 3d)`.
pub fn dated(at: Timestamp, now: Timestamp) -> String {
    format!("{at} ({})", from_now(at, now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [("7d", 604_800), ("12h", 43_200), ("1m30s", 90), ("0s", 0), ("1d1h", 90_000)] {
            assert_eq!(parse(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        for text in ["", "7", "d", "-1h", "1.5h", "1w", "7 d", "1234567s", "１h"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_seen_from_now() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        for (seconds, seen) in [
            (0, "0s ago"),
            (119, "in 119s"),
            (120, "in 2m"),
            (7_199, "in 119m"),
            (7_200, "in 2h"),
            (172_800, "in 2d"),
            (86_400 * 800, "in 2y"),
            (-90, "90s ago"),
            (-86_400 * 30, "30d ago"),
        ] {
            let at = now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            assert_eq!(from_now(at, now), seen, "{seconds}");
        }
    }
}
