//! The story of a token: where it stands, what happened, what comes next, and what to do. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Event,
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use kube::ResourceExt;

use super::{
    attention::{self, Level},
    git,
    output::tame,
    spans::dated,
};
use crate::{
    api::{
        ApiToken, ApiTokenStatus, IssuerId,
        api_token::{DesiredState, ObservedState, SuspendPolicy},
        conditions::{self, ConditionType},
        names,
    },
    lifecycle::{rotation::read_overlap, schedule},
};

/// Before a name of the first part.
const LABEL: usize = 13;

/// Where it stands, what happened, what comes next, what to do.
pub fn story(token: &ApiToken, now: Timestamp) -> String {
    let status = token.status.clone().unwrap_or_default();
    let mut text = facts(token, &status, now);
    section(&mut text, "So far", so_far(token, &status, now));
    section(&mut text, "Next", next(token, &status, now));
    section(&mut text, "To do", to_do(token, &status, now));
    text
}

/// The Events about it, the latest at the end.
pub fn events(events: &[Event], now: Timestamp) -> String {
    let mut events: Vec<&Event> = events.iter().collect();
    events.sort_by_key(|event| happened(event));
    let lines = events.into_iter().map(|event| {
        let reason = event.reason.as_deref().unwrap_or_default();
        let note = event.message.as_deref().unwrap_or_default();
        let when = happened(event).map_or_else(|| "at some time".to_owned(), |at| dated(at, now));
        format!("{when}  {reason}: {note}")
    });
    let mut text = String::new();
    section(&mut text, "Events", lines.collect());
    text
}

fn happened(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
    let last = event.last_timestamp.as_ref().map(|Time(at)| *at);
    let begun = event.event_time.as_ref().map(|time| time.0);
    series.map(|time| time.0).or(last).or(begun)
}

fn section(text: &mut String, title: &str, lines: Vec<String>) {
    if lines.is_empty() {
        return;
    }
    text.push_str(&format!("{title}:\n"));
    for line in lines {
        text.push_str(&format!("  {}\n", tame(&line)));
    }
}

fn facts(token: &ApiToken, status: &ApiTokenStatus, now: Timestamp) -> String {
    let namespace = token.namespace().unwrap_or_default();
    let current = status.token.clone().unwrap_or_default();
    let issuer = status
        .issuer_ref
        .as_ref()
        .map(|issuer| IssuerId::new(issuer, &namespace).to_string());
    let hint = current.hint.as_ref().map(|hint| format!("...{hint}"));
    let used = current.last_used_at.as_ref().map(|Time(at)| dated(*at, now));
    let secret = status
        .secret_ref
        .as_ref()
        .map(|secret| format!("{}, key {}", secret.name, token.spec.secret.key));
    let lines = [
        ("ApiToken", Some(format!("{namespace}/{}", token.name_any()))),
        ("For", token.spec.description.clone()),
        ("State", Some(state(token, status))),
        ("Issuer", issuer),
        (
            "Token",
            current
                .id
                .map(|id| [Some(id), hint].into_iter().flatten().collect::<Vec<_>>().join(", value ")),
        ),
        ("Account", current.account),
        ("Scopes", Some(token.spec.scopes.join(" ")).filter(|scopes| !scopes.is_empty())),
        (
            "Audiences",
            Some(token.spec.audiences.join(" ")).filter(|audiences| !audiences.is_empty()),
        ),
        ("Last used", used),
        ("Secret", secret),
        ("Managed by", git::manager(&token.metadata).map(str::to_owned)),
    ];
    let lines = lines.into_iter().filter_map(|(label, value)| Some((format!("{label}:"), value?)));
    lines.map(|(label, value)| format!("{label:LABEL$}{}\n", tame(&value))).collect()
}

fn state(token: &ApiToken, status: &ApiTokenStatus) -> String {
    let observed = status.state.map_or_else(|| "not seen yet".to_owned(), |state| format!("{state:?}"));
    let declared = format!("{:?}", token.spec.state);
    let ready = conditions::is_true(&status.conditions, ConditionType::Ready);
    let ready = if ready { "as declared" } else { "not as declared yet" };
    if observed == declared {
        format!("{observed}, {ready}")
    } else {
        format!("{observed}, declared {declared}, {ready}")
    }
}

fn so_far(token: &ApiToken, status: &ApiTokenStatus, now: Timestamp) -> Vec<String> {
    let mut past: Vec<(Timestamp, String)> = Vec::new();
    let mut tell = |at: Option<&Time>, what: String| past.extend(at.map(|Time(at)| (*at, what)));
    tell(token.metadata.creation_timestamp.as_ref(), "declared".to_owned());
    if let Some(current) = &status.token {
        let what = format!("token {} issued", current.id.as_deref().unwrap_or_default());
        tell(current.issued_at.as_ref(), what);
    }
    let reason = status.last_rotation_reason.as_deref().unwrap_or("for no recorded reason");
    let count = status.rotations.unwrap_or(0);
    tell(
        status.last_rotation_at.as_ref(),
        format!("rotated the last of {count} times ({reason})"),
    );
    if let Some(failures) = &status.failures {
        tell(Some(&failures.first_at), "first of the failures in a row".to_owned());
        tell(Some(&failures.last_at), format!("last of {} failures in a row", failures.count));
    }
    if let Some(pending) = &status.pending {
        tell(
            Some(&pending.started_at),
            format!("another token is being made ({})", pending.reason),
        );
    }
    for type_ in [ConditionType::Ready, ConditionType::Active] {
        if let Some(condition) = conditions::find(&status.conditions, type_) {
            tell(Some(&condition.last_transition_time), turned(condition));
        }
    }
    told(past, now)
}

fn turned(condition: &Condition) -> String {
    format!("{} became {} ({})", condition.type_, condition.status, condition.reason)
}

fn next(token: &ApiToken, status: &ApiTokenStatus, now: Timestamp) -> Vec<String> {
    let mut future: Vec<(Timestamp, String)> = Vec::new();
    let mut tell = |at: Option<&Time>, what: String| future.extend(at.map(|Time(at)| (*at, what)));
    for previous in &status.previous {
        let id = previous.id.as_deref().unwrap_or_default();
        let used = previous
            .last_used_at
            .as_ref()
            .map(|Time(at)| format!(", last used {}", dated(*at, now)));
        let what = format!("the replaced token {id} ends; it works until then{}", used.unwrap_or_default());
        tell(Some(&previous.revoke_at), what);
    }
    if matches!(status.state, Some(ObservedState::Active)) {
        tell(status.next_rotation_at.as_ref(), "is rotated, at the latest".to_owned());
    }
    let issued_at = status
        .token
        .as_ref()
        .and_then(|current| current.issued_at.as_ref())
        .map(|Time(at)| *at);
    let end =
        schedule::end(&token.spec, issued_at).filter(|_| matches!(status.state, Some(ObservedState::Active | ObservedState::Suspended)));
    tell(end.map(Time).as_ref(), "the token ends".to_owned());
    let retry = status.failures.as_ref().and_then(|failures| failures.next_retry_at.as_ref());
    tell(retry, "is tried again".to_owned());
    let mut lines = told(future, now);
    let lives = status.state == Some(ObservedState::Active) && end.is_none() && status.next_rotation_at.is_none();
    if lives {
        lines.push("nothing is due: it neither ends nor is rotated; set spec.lifetime or spec.rotation".to_owned());
    }
    lines
}

fn told(mut times: Vec<(Timestamp, String)>, now: Timestamp) -> Vec<String> {
    times.sort_by_key(|(at, _)| *at);
    times.into_iter().map(|(at, what)| format!("{}  {what}", dated(at, now))).collect()
}

fn to_do(token: &ApiToken, status: &ApiTokenStatus, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let attention = attention::of(token, now);
    if matches!(attention.level, Level::Act | Level::Look | Level::Busy) {
        lines.push(attention.why);
    }
    if let Some(message) = conditions::find(&status.conditions, ConditionType::Ready).filter(|ready| ready.status != "True") {
        let why = format!("{}: {}", message.reason, message.message);
        if !lines.contains(&why) {
            lines.push(why);
        }
    }
    lines.extend(by_state(token, status));
    lines.extend(left_overlap(token));
    lines
}

/// The annotation for an overlap, where it is in the way of a later request.
fn left_overlap(token: &ApiToken) -> Option<String> {
    let annotation = names::ROTATE_OVERLAP_ANNOTATION;
    let overlap = token.annotations().get(annotation)?;
    if read_overlap(overlap).is_none() {
        return Some(format!(
            "the annotation {annotation}={overlap} is no duration, so the declared overlap counts: write 0s there to end all old \
             values, or use kubectl apitoken rotate"
        ));
    }
    (!is_open(token)).then(|| {
        format!(
            "the annotation {annotation}={overlap} still stands: your next request has that overlap, unless you use kubectl apitoken \
             rotate"
        )
    })
}

/// What the state asks for where it is as declared.
fn by_state(token: &ApiToken, status: &ApiTokenStatus) -> Option<String> {
    let name = token.name_any();
    match status.state? {
        ObservedState::Suspended if token.spec.state == DesiredState::Suspended => {
            let value = match token.spec.suspend_policy {
                SuspendPolicy::Disable => "the same value works again",
                SuspendPolicy::Withdraw => "a new value is issued",
            };
            Some(format!("to let it work: kubectl apitoken activate {name}; {value}"))
        }
        ObservedState::Expired => Some("to have a new value: set a later spec.expiresAt, or with spec.lifetime rotate it".to_owned()),
        ObservedState::Revoked => Some("it is ended for good: delete it, and make another ApiToken where one is needed".to_owned()),
        _ => None,
    }
}

/// Whether a rotation is asked for that nobody has answered yet.
pub fn is_open(token: &ApiToken) -> bool {
    let asked = token.annotations().get(names::ROTATE_REQUESTED_AT_ANNOTATION);
    let answered = token.status.as_ref().and_then(|status| status.last_rotation_request.as_ref());
    asked.is_some() && asked != answered
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::samples::{NOW, now, token};

    #[test]
    fn the_story_tells_state_history_and_what_comes() {
        let status = json!({
            "observedGeneration": 1, "state": "Active", "rotations": 2, "lastRotationReason": "Interval",
            "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
            "token": { "id": "3f0c9a1b72-3", "hint": "x7Qk", "issuedAt": "2029-12-31T00:00:00Z", "account": "shop.ci" },
            "previous": [{ "id": "3f0c9a1b72-2", "revokeAt": "2030-01-01T01:00:00Z" }],
            "lastRotationAt": "2029-12-31T00:00:00Z", "nextRotationAt": "2030-01-10T00:00:00Z",
            "secretRef": { "name": "ci" },
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": NOW }],
        });
        let spec = json!({ "description": "deploys the shop", "lifetime": "720h" });
        let expected = "\
ApiToken:    shop/ci
For:         deploys the shop
State:       Active, as declared
Issuer:      ClusterTokenIssuer/builtin
Token:       3f0c9a1b72-3, value ...x7Qk
Account:     shop.ci
Secret:      ci, key token
So far:
  2029-12-01T00:00:00Z (31d ago)  declared
  2029-12-31T00:00:00Z (24h ago)  token 3f0c9a1b72-3 issued
  2029-12-31T00:00:00Z (24h ago)  rotated the last of 2 times (Interval)
  2030-01-01T00:00:00Z (0s ago)  Ready became True (Ready)
Next:
  2030-01-01T01:00:00Z (in 60m)  the replaced token 3f0c9a1b72-2 ends; it works until then
  2030-01-10T00:00:00Z (in 9d)  is rotated, at the latest
  2030-01-30T00:00:00Z (in 29d)  the token ends
";
        assert_eq!(story(&token("ci", spec, status), now()), expected);
        assert!(
            include_str!("../../docs/kubectl-plugin.md").contains(expected),
            "the docs show another one"
        );
    }

    #[test]
    fn it_says_what_to_do() {
        let conflict = json!([
            { "type": "Ready", "status": "False", "reason": "SecretConflict", "message": "choose another name", "lastTransitionTime": NOW },
            { "type": "Stalled", "status": "True", "reason": "SecretConflict", "message": "choose another name", "lastTransitionTime": NOW },
        ]);
        for (spec, status, line) in [
            (
                json!({}),
                json!({ "observedGeneration": 1, "state": "Pending", "conditions": conflict }),
                "SecretConflict: choose another name\n",
            ),
            (
                json!({ "state": "Suspended" }),
                json!({ "observedGeneration": 1, "state": "Suspended" }),
                "kubectl apitoken activate ci; the same value works again",
            ),
            (
                json!({ "state": "Suspended", "suspendPolicy": "Withdraw" }),
                json!({ "observedGeneration": 1, "state": "Suspended" }),
                "a new value is issued",
            ),
            (
                json!({ "state": "Revoked" }),
                json!({ "observedGeneration": 1, "state": "Revoked" }),
                "ended for good",
            ),
            (
                json!({}),
                json!({ "observedGeneration": 1, "state": "Expired" }),
                "a later spec.expiresAt",
            ),
            (json!({}), json!({ "observedGeneration": 1, "state": "Active" }), "nothing is due"),
            (json!({}), json!({ "observedGeneration": -1 }), "has not looked at it"),
        ] {
            let text = story(&token("ci", spec, status), now());
            assert_eq!(text.matches(line).count(), 1, "{line}: {text}");
        }
    }

    #[test]
    fn an_overlap_that_is_left_or_makes_no_sense_is_told_of() {
        for (overlap, answered, said) in [
            ("6h", "1", Some("your next request has that overlap")),
            ("6h", "0", None),
            ("0sec", "1", Some("is no duration")),
            ("0sec", "0", Some("is no duration")),
        ] {
            let status = json!({ "observedGeneration": 1, "state": "Active", "lastRotationRequest": answered });
            let mut token = token("ci", json!({ "lifetime": "720h" }), status);
            let annotations = json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: "1", names::ROTATE_OVERLAP_ANNOTATION: overlap });
            token.metadata.annotations = serde_json::from_value(annotations).unwrap();
            let told = left_overlap(&token);
            assert_eq!(told.is_some(), said.is_some(), "{overlap} {answered}: {told:?}");
            assert!(told.unwrap_or_default().contains(said.unwrap_or_default()), "{overlap} {answered}");
        }
    }
}
