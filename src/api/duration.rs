//! Durations as users write them: `720h`, `1h30m`, `90s`.

use std::{borrow::Cow, fmt};

use jiff::SignedDuration;
use kube::core::Rule;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::rules;

/// The longest duration that the API takes: ten years of 365 days.
pub const MAX_HOURS: i64 = 87_600;

/// A duration in hours, minutes and seconds, as a user wrote it.
///
/// The text is kept, so that writing an object back changes nothing in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Duration {
    text: String,
    seconds: i64,
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a duration: write hours, minutes and seconds such as 720h, 1h30m or 90s, at most 87600h")]
pub struct InvalidDuration {
    text: String,
}

impl Duration {
    /// The same span of time for arithmetic.
    pub fn as_signed(&self) -> SignedDuration {
        SignedDuration::from_secs(self.seconds)
    }

    /// The schema of a field that may also be 0s.
    pub(super) fn or_zero(_: &mut SchemaGenerator) -> Schema {
        text_schema(rules::duration_or_zero())
    }
}

impl TryFrom<String> for Duration {
    type Error = InvalidDuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match parse_seconds(&text) {
            Some(seconds) => Ok(Self { text, seconds }),
            None => Err(InvalidDuration { text }),
        }
    }
}

impl From<Duration> for String {
    fn from(duration: Duration) -> Self {
        duration.text
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        text_schema(rules::duration())
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Longer texts than any duration pass the length, so that the rule's message can say what to write.
fn text_schema(rule: Rule) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": 64,
        "x-kubernetes-validations": [rule],
    })
}

/// The seconds that `text` stands for, or nothing where it is no duration of the API.
fn parse_seconds(text: &str) -> Option<i64> {
    let seconds = sum(text, |unit| match unit {
        b'h' => Some(3600),
        b'm' => Some(60),
        b's' => Some(1),
        _ => None,
    })?;
    (text.len() <= 12 && seconds <= MAX_HOURS * 3600).then_some(seconds)
}

/// The sum of numbers with units, such as `1h30m`, in seconds: at most 6 digits each, at least one number.
pub fn sum(text: &str, seconds_of: impl Fn(u8) -> Option<i64>) -> Option<i64> {
    let mut seconds = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest.get(..digits).filter(|d| (1..=6).contains(&d.len()))?.parse().ok()?;
        seconds += number * seconds_of(*rest.as_bytes().get(digits)?)?;
        rest = rest.get(digits + 1..)?;
    }
    (!text.is_empty()).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_write_is_read_and_written_back_unchanged() {
        for (text, seconds) in [
            ("720h", 2_592_000),
            ("1h30m", 5_400),
            ("90s", 90),
            ("0s", 0),
            ("87600h", 315_360_000),
            ("1s1h", 3_601),
        ] {
            let duration = Duration::try_from(text.to_owned()).unwrap();
            assert_eq!(duration.as_signed().as_secs(), seconds, "{text}");
            assert_eq!(String::from(duration), text);
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "h",
            "5",
            "5d",
            "-1h",
            "1.5h",
            "1234567s",
            "87601h",
            "1h1m1s1h1m1s1",
            "１h",
            "1h ",
        ] {
            assert!(Duration::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
