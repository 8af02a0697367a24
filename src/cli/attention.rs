//! What needs attention first. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::spans;
use crate::api::{
    ApiToken, ApiTokenStatus,
    api_token::ObservedState,
    conditions::{self, ConditionType, Reason},
};

/// How long the operator may take to look at a new object.
const FIRST_LOOK: SignedDuration = SignedDuration::from_mins(1);
/// How late a rotation may be before it is worth a word.
const LATE: SignedDuration = SignedDuration::from_mins(2);
/// A token that nobody used for so long is perhaps not needed.
const QUIET: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How much it matters; what matters most comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Somebody has to do something.
    Act,
    /// Something is not as it should be, and may heal by itself.
    Look,
    /// Work is going on.
    Busy,
    /// All is well.
    Fine,
}

/// What is to be known of a token at a glance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attention {
    /// How much it matters.
    pub level: Level,
    /// Why; empty where all is well.
    pub why: String,
}

impl Attention {
    fn new(level: Level, why: impl Into<String>) -> Self {
        Self { level, why: why.into() }
    }
}

/// What is to be known of this token.
pub fn of(token: &ApiToken, now: Timestamp) -> Attention {
    let Some(status) = token.status.as_ref().filter(|status| was_seen(status)) else {
        return unseen(token, now);
    };
    deleting(token)
        .or_else(|| stalled(status))
        .or_else(|| overdue(status, now))
        .or_else(|| ending(status, now))
        .or_else(|| paused(status))
        .or_else(|| not_ready(status))
        .or_else(|| unused(status, now))
        .unwrap_or_else(|| Attention::new(Level::Fine, ""))
}

fn was_seen(status: &ApiTokenStatus) -> bool {
    status.observed_generation.is_some_and(|generation| generation >= 0)
}

fn unseen(token: &ApiToken, now: Timestamp) -> Attention {
    let created = token.metadata.creation_timestamp.as_ref().map_or(now, |Time(at)| *at);
    if now.duration_since(created) < FIRST_LOOK {
        return Attention::new(Level::Busy, "just declared");
    }
    Attention::new(
        Level::Act,
        "the operator has not looked at it: does it run, and does it watch this namespace?",
    )
}

fn deleting(token: &ApiToken) -> Option<Attention> {
    token.metadata.deletion_timestamp.as_ref()?;
    Some(Attention::new(Level::Busy, "is being deleted"))
}

fn stalled(status: &ApiTokenStatus) -> Option<Attention> {
    let stalled = condition(status, ConditionType::Stalled).filter(|stalled| stalled.status == "True")?;
    Some(Attention::new(Level::Act, says(stalled)))
}

fn overdue(status: &ApiTokenStatus, now: Timestamp) -> Option<Attention> {
    let Time(due) = status.next_rotation_at.as_ref()?;
    let late = status.state == Some(ObservedState::Active) && now.duration_since(*due) > LATE;
    late.then(|| Attention::new(Level::Act, format!("its rotation was due {}", spans::from_now(*due, now))))
}

fn ending(status: &ApiTokenStatus, now: Timestamp) -> Option<Attention> {
    let warned = condition(status, ConditionType::Active).is_some_and(|active| active.reason == Reason::Expiring.as_str());
    let Time(end) = status.token.as_ref()?.expires_at.as_ref().filter(|_| warned)?;
    let why = format!("ends {} and nothing replaces it", spans::from_now(*end, now));
    Some(Attention::new(Level::Act, why))
}

fn paused(status: &ApiTokenStatus) -> Option<Attention> {
    let paused = conditions::is_true(&status.conditions, ConditionType::Paused);
    paused.then(|| Attention::new(Level::Look, "is paused: it is neither rotated nor repaired"))
}

fn not_ready(status: &ApiTokenStatus) -> Option<Attention> {
    let ready = condition(status, ConditionType::Ready).filter(|ready| ready.status != "True")?;
    let busy = [Reason::Progressing, Reason::Deleting]
        .map(Reason::as_str)
        .contains(&ready.reason.as_str());
    let level = if busy { Level::Busy } else { Level::Look };
    Some(Attention::new(level, says(ready)))
}

fn unused(status: &ApiTokenStatus, now: Timestamp) -> Option<Attention> {
    let Time(used) = status.token.as_ref()?.last_used_at.as_ref()?;
    let quiet = now.duration_since(*used);
    let why = format!("was not used for {}: is it still needed?", spans::length(quiet));
    (quiet > QUIET).then(|| Attention::new(Level::Look, why))
}

fn condition(status: &ApiTokenStatus, type_: ConditionType) -> Option<&Condition> {
    conditions::find(&status.conditions, type_)
}

fn says(condition: &Condition) -> String {
    format!("{}: {}", condition.reason, condition.message)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::samples::{NOW, now, token};

    fn active() -> Value {
        json!({
            "observedGeneration": 1, "state": "Active", "token": { "id": "x-1", "issuedAt": "2029-12-01T00:00:00Z" },
            "conditions": [condition("Ready", "True", "Ready", ""), condition("Active", "True", "Active", "")],
        })
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({ "type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": NOW })
    }

    fn with(changes: Value) -> Value {
        let mut status = active();
        for (key, value) in changes.as_object().unwrap() {
            status[key] = value.clone();
        }
        status
    }

    #[test]
    fn each_situation_has_its_level_and_its_words() {
        let expiring = [condition("Ready", "True", "Ready", ""), condition("Active", "True", "Expiring", "")];
        let stalled = condition("Stalled", "True", "SecretConflict", "choose another name");
        let unavailable = condition("Ready", "False", "VendorUnavailable", "is tried again");
        let progressing = condition("Ready", "False", "Progressing", "a new token is being issued");
        for (status, level, why) in [
            (active(), Level::Fine, ""),
            (json!({ "observedGeneration": -1 }), Level::Act, "has not looked at it"),
            (
                with(json!({ "conditions": [stalled] })),
                Level::Act,
                "SecretConflict: choose another name",
            ),
            (
                with(json!({ "nextRotationAt": "2029-12-31T23:00:00Z" })),
                Level::Act,
                "was due 60m ago",
            ),
            (with(json!({ "nextRotationAt": "2029-12-31T23:59:00Z" })), Level::Fine, ""),
            (
                with(json!({ "state": "Suspended", "nextRotationAt": "2029-12-31T23:00:00Z" })),
                Level::Fine,
                "",
            ),
            (
                with(json!({ "conditions": expiring, "token": { "expiresAt": "2030-01-03T00:00:00Z" } })),
                Level::Act,
                "ends in 2d and nothing replaces it",
            ),
            (
                with(json!({ "conditions": [condition("Paused", "True", "Paused", "")] })),
                Level::Look,
                "is paused",
            ),
            (with(json!({ "conditions": [unavailable] })), Level::Look, "VendorUnavailable"),
            (with(json!({ "conditions": [progressing] })), Level::Busy, "Progressing"),
            (
                with(json!({ "token": { "lastUsedAt": "2029-01-01T00:00:00Z" } })),
                Level::Look,
                "was not used for 365d",
            ),
        ] {
            let attention = of(&token("ci", json!({}), status.clone()), now());
            assert_eq!(attention.level, level, "{status}");
            assert!(
                attention.why.contains(why) && (level == Level::Fine) == attention.why.is_empty(),
                "{attention:?}"
            );
        }
    }
}
