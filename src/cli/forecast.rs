//! What the operator will do with an ApiToken once it is applied: by the rules that the operator itself decides by,
//! and by no more than what statuses tell. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::spans::{dated, length};
use crate::{
    api::{
        ApiToken, ApiTokenSpec,
        api_token::{DesiredState, ObservedState, SecretDeletionPolicy},
        names,
    },
    lifecycle::{
        self, Adoptee, IssuerProblem, Observed, ObservedIssuer, ObservedSecret, Terms,
        checks::{self, Refusal},
        rotation::{self, Cause},
        schedule::{self, Destination},
        secret,
    },
};

/// What is known of the issuer; nothing where it may not be read.
pub type SeenIssuer = Option<Result<ObservedIssuer, IssuerProblem>>;

/// What an apply would do.
pub struct Forecast {
    /// What becomes of the token, the Secret and the dates; and what can't be known.
    pub lines: Vec<String>,
    /// Whether something stands in the way.
    pub is_refused: bool,
}

/// What becomes of `after`, which the API server made of `before`.
pub fn forecast(before: Option<&ApiToken>, after: &ApiToken, issuer: SeenIssuer, now: Timestamp) -> Forecast {
    let known = issuer.is_some();
    let observed = observed(after, issuer.unwrap_or(Err(IssuerProblem::NoDefault)), now);
    let destination = lifecycle::destination(&observed);
    let fate = fate(&observed, destination, known);
    let refusal = checks::first(&observed).filter(|_| known && matches!(destination, Destination::Live(_)));
    let mut lines = vec![changed(before, after)];
    if after.is_paused() {
        lines.push(format!("nothing is done while the annotation {} stands", names::PAUSED_ANNOTATION));
    }
    lines.push(fate.told(&observed));
    lines.extend(refusal.as_ref().map(|refusal| refused(refusal, &fate)));
    lines.extend(
        fate.keeps_value()
            .then(|| before.and_then(|before| secret_change(before, after)))
            .flatten(),
    );
    lines.extend(dates(&observed, &fate, now));
    lines.extend(unknown(&observed, &fate, known));
    Forecast {
        lines,
        is_refused: refusal.is_some(),
    }
}

/// What becomes of the token.
enum Fate {
    Issued,
    TakenOver,
    Replaced(Cause),
    Kept,
    Works,
    HeldBack,
    Withdrawn,
    Expired,
    Revoked,
    Nothing(&'static str),
}

fn fate(observed: &Observed, destination: Destination, known: bool) -> Fate {
    let state = observed.status().and_then(|status| status.state);
    let has_token = observed.current().is_some();
    match destination {
        Destination::Revoked if !has_token => Fate::Nothing("nothing is issued: it is revoked"),
        Destination::Revoked if state == Some(ObservedState::Revoked) => Fate::Nothing("stays revoked"),
        Destination::Revoked => Fate::Revoked,
        Destination::Expired if !has_token => Fate::Nothing("nothing is issued: its end is in the past"),
        Destination::Expired if state == Some(ObservedState::Expired) => Fate::Nothing("stays expired"),
        Destination::Expired => Fate::Expired,
        Destination::Withdrawn if !has_token => Fate::Nothing("nothing is issued until it is activated"),
        Destination::Withdrawn => Fate::Withdrawn,
        Destination::Live(_) if !has_token && observed.token.spec.adopt.is_some() && attempts(observed) == 0 => Fate::TakenOver,
        Destination::Live(_) if !has_token => Fate::Issued,
        Destination::Live(ObservedState::Suspended) if state == Some(ObservedState::Suspended) => Fate::Kept,
        Destination::Live(ObservedState::Suspended) => Fate::HeldBack,
        Destination::Live(_) if state == Some(ObservedState::Expired) => Fate::Replaced(Cause::LaterEnd),
        Destination::Live(_) => live(observed, state, known),
    }
}

/// One that is to work, and has a token.
fn live(observed: &Observed, state: Option<ObservedState>, known: bool) -> Fate {
    let due = rotation::due(observed).filter(|cause| known || *cause != Cause::Changed);
    match due {
        Some(cause) => Fate::Replaced(cause),
        None if state == Some(ObservedState::Suspended) => Fate::Works,
        None => Fate::Kept,
    }
}

fn attempts(observed: &Observed) -> i64 {
    observed.status().and_then(|status| status.attempts).unwrap_or(0)
}

impl Fate {
    fn makes_value(&self) -> bool {
        matches!(self, Self::Issued | Self::Replaced(_))
    }

    fn keeps_value(&self) -> bool {
        matches!(self, Self::Kept | Self::Works | Self::HeldBack)
    }

    fn told(&self, observed: &Observed) -> String {
        let name = secret::name(&observed.token);
        match self {
            Self::Issued if observed.token.spec.state == DesiredState::Suspended => {
                format!("a token is issued that does not work until it is activated, and its value written to Secret {name}")
            }
            Self::Issued => format!("a token is issued, and its value written to Secret {name}"),
            Self::TakenOver => format!("the token that spec.adopt names is taken over, into Secret {name}"),
            Self::Replaced(cause) => {
                let overlap = match rotation::overlap(observed) {
                    _ if *cause == Cause::LaterEnd => "the old one has ended".to_owned(),
                    _ if rotation::begins_for_leak(observed) => "all others end at once".to_owned(),
                    SignedDuration::ZERO => "the old one ends when it is there".to_owned(),
                    overlap => format!("the old one works on for {}", length(overlap)),
                };
                format!("is rotated ({}): Secret {name} gets a new value, {overlap}", cause.as_str())
            }
            Self::Kept => "the token and its value stay".to_owned(),
            Self::Works => "the suspended token works again, with the same value".to_owned(),
            Self::HeldBack => "the token stops working; its value stays, for when it is activated".to_owned(),
            Self::Withdrawn => "the value ends for good; activating issues another".to_owned(),
            Self::Expired => "the token ends: its time is over".to_owned(),
            Self::Revoked => format!("the token ends for good, and this can't be taken back; {}", end_of_secret(observed)),
            Self::Nothing(why) => (*why).to_owned(),
        }
    }
}

fn end_of_secret(observed: &Observed) -> String {
    let name = secret::name(&observed.token);
    match observed.token.spec.secret.deletion_policy {
        SecretDeletionPolicy::Delete => format!("Secret {name} goes"),
        SecretDeletionPolicy::Retain => format!("Secret {name} stays, with a value that ended"),
    }
}

fn changed(before: Option<&ApiToken>, after: &ApiToken) -> String {
    match before {
        None => "is created".to_owned(),
        Some(before) if before.spec == after.spec && before.metadata.annotations == after.metadata.annotations => {
            "is not changed".to_owned()
        }
        Some(before) if before.spec == after.spec => "its spec is not changed, its annotations are".to_owned(),
        Some(_) => "its spec is changed".to_owned(),
    }
}

fn refused(refusal: &Refusal, fate: &Fate) -> String {
    let what = if fate.makes_value() {
        "but not before this is healed"
    } else {
        "and it is not Ready"
    };
    format!("{what}: {}: {}", refusal.reason.as_str(), refusal.message)
}

fn secret_change(before: &ApiToken, after: &ApiToken) -> Option<String> {
    let (old, new) = (secret::name(before), secret::name(after));
    if old != new {
        return Some(format!("the value moves from Secret {old} to Secret {new}"));
    }
    (before.spec.secret != after.spec.secret).then(|| format!("Secret {new} is written again, with the same value"))
}

/// When it is rotated next, and when it ends.
fn dates(observed: &Observed, fate: &Fate, now: Timestamp) -> Vec<String> {
    let spec: &ApiTokenSpec = &observed.token.spec;
    let recorded = observed.current().filter(|_| !fate.makes_value());
    let issued_at = match (recorded, fate) {
        (_, Fate::Withdrawn | Fate::Expired | Fate::Revoked | Fate::Nothing(_) | Fate::TakenOver) => return Vec::new(),
        (Some(token), _) => token.issued_at.as_ref().map(|Time(at)| *at),
        (None, _) => Some(now),
    };
    let planned = match recorded {
        Some(token) => rotation::next(observed, token),
        None => issued_at.and_then(|at| rotation::promised(spec, at)),
    };
    let rotates = planned.map(|(at, cause)| format!("is rotated at the latest {} ({})", dated(at, now), cause.as_str()));
    let rotates = rotates.filter(|_| !matches!(fate, Fate::HeldBack));
    let ends = schedule::end(spec, issued_at).map(|at| format!("the token ends {}", dated(at, now)));
    if rotates.is_none() && ends.is_none() && !matches!(fate, Fate::HeldBack) {
        return vec!["it neither ends nor is rotated".to_owned()];
    }
    rotates.into_iter().chain(ends).collect()
}

/// What no status tells.
fn unknown(observed: &Observed, fate: &Fate, known: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !known {
        lines.push("not known, as you may not read its issuer: whether that allows what is asked for, and what it can do".to_owned());
    }
    if observed.is_remote() && known {
        lines.push("not known: what the vendor answers, its quota, and whether the token is still there".to_owned());
    }
    if matches!(fate, Fate::Issued) {
        lines.push(
            "not known: whether the Secret's name is taken; and one that an earlier ApiToken of this name left may be taken up".to_owned(),
        );
    }
    if fate.keeps_value() {
        lines.push("not known: whether the Secret still holds the value; a lost value is replaced".to_owned());
    }
    lines
}

/// What the operator would see at first. Of the flags that it runs with nothing is known, and nothing here depends on them.
fn observed(token: &ApiToken, issuer: Result<ObservedIssuer, IssuerProblem>, now: Timestamp) -> Observed {
    Observed {
        token: Arc::new(token.clone()),
        issuer,
        namespace_ends: false,
        needed_by_others: false,
        secret: ObservedSecret::Unchanged,
        former_secret: ObservedSecret::Unchanged,
        secret_promised_to: None,
        adoptee: Adoptee::Unread,
        view: None,
        ahead: SignedDuration::ZERO,
        shown: None,
        polled_at: None,
        others_ids: Default::default(),
        others_uids: Default::default(),
        intent_in_hand: None,
        fresh: None,
        revoked: Default::default(),
        updated: false,
        orphaned: Vec::new(),
        repaired: Vec::new(),
        failure: None,
        terms: Terms {
            cluster: String::new(),
            former_clusters: Vec::new(),
            propagation_delay: SignedDuration::ZERO,
            poll_interval: SignedDuration::ZERO,
            revoke_deadline: SignedDuration::ZERO,
            observe_only: false,
            started_at: now,
        },
        now,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::{IssuerKind, IssuerRef, IssuerSpec, issuer::BuiltinIssuer},
        cli::samples::{now, token},
        issuers::Capabilities,
        lifecycle::IssuerReadiness,
    };

    fn builtin() -> ObservedIssuer {
        ObservedIssuer {
            reference: IssuerRef {
                kind: IssuerKind::ClusterTokenIssuer,
                name: "builtin".into(),
            },
            spec: IssuerSpec {
                builtin: Some(BuiltinIssuer::default()),
                ..Default::default()
            },
            capabilities: Some(Capabilities::BUILTIN),
            generation: Some(1),
            credential: None,
            version: String::new(),
            timeout: SignedDuration::from_secs(30),
            readiness: IssuerReadiness::Ready,
            held: true,
            namespace_allowed: true,
            busy: false,
        }
    }

    fn lines(spec: Value, status: Value) -> Vec<String> {
        let after = token("ci", spec, status);
        forecast(Some(&token("ci", json!({}), json!({}))), &after, Some(Ok(builtin())), now()).lines
    }

    fn issued(state: &str) -> Value {
        json!({ "state": state, "token": { "id": "x-1", "hash": "00", "issuedAt": "2029-12-31T00:00:00Z" } })
    }

    #[test]
    fn each_change_has_its_fate() {
        for (spec, status, expected) in [
            (json!({}), json!({}), "a token is issued, and its value written to Secret ci"),
            (
                json!({ "state": "Suspended" }),
                issued("Active"),
                "the token stops working; its value stays",
            ),
            (
                json!({ "state": "Suspended", "suspendPolicy": "Withdraw" }),
                issued("Active"),
                "the value ends for good; activating issues another",
            ),
            (
                json!({}),
                issued("Suspended"),
                "the suspended token works again, with the same value",
            ),
            (
                json!({ "state": "Revoked" }),
                issued("Active"),
                "can't be taken back; Secret ci goes",
            ),
            (json!({ "state": "Revoked" }), issued("Revoked"), "stays revoked"),
            (json!({ "state": "Revoked" }), json!({}), "nothing is issued: it is revoked"),
            (
                json!({ "expiresAt": "2029-01-01T00:00:00Z" }),
                issued("Active"),
                "the token ends: its time is over",
            ),
            (json!({ "lifetime": "1h" }), issued("Active"), "the token ends: its time is over"),
            (
                json!({ "lifetime": "20h", "rotation": { "overlap": "1h" } }),
                issued("Active"),
                "is rotated (BeforeExpiry): Secret ci gets a new value, the old one works on for 60m",
            ),
            (
                json!({ "lifetime": "100h", "rotation": { "overlap": "1h" } }),
                issued("Expired"),
                "is rotated (LaterEnd): Secret ci gets a new value, the old one has ended",
            ),
            (
                json!({ "state": "Suspended" }),
                json!({}),
                "a token is issued that does not work until it is activated",
            ),
            (json!({ "description": "x" }), issued("Active"), "the token and its value stay"),
            (
                json!({ "secret": { "name": "other" } }),
                issued("Active"),
                "the value moves from Secret ci to Secret other",
            ),
            (
                json!({ "secret": { "key": "k" } }),
                issued("Active"),
                "Secret ci is written again, with the same value",
            ),
            (json!({}), issued("Active"), "it neither ends nor is rotated"),
            (
                json!({ "lifetime": "48h" }),
                issued("Active"),
                "the token ends 2030-01-02T00:00:00Z (in 24h)",
            ),
            (
                json!({ "rotation": { "interval": "10h" } }),
                json!({}),
                "is rotated at the latest 2030-01-01T10:00:00Z (in 10h) (Interval)",
            ),
        ] {
            let lines = lines(spec.clone(), status);
            assert!(lines.iter().any(|line| line.contains(expected)), "{spec}: {expected}: {lines:?}");
        }
    }

    #[test]
    fn a_request_for_a_rotation_is_foreseen_and_a_pause_too() {
        let before = token(
            "ci",
            json!({ "rotation": { "interval": "240h", "overlap": "1h" } }),
            issued("Active"),
        );
        let mut after = before.clone();
        let annotations =
            json!({ "apitoken.dev/rotate-requested-at": "now", "apitoken.dev/rotate-overlap": "0s", "apitoken.dev/paused": "true" });
        after.metadata.annotations = serde_json::from_value(annotations).unwrap();
        let lines = forecast(Some(&before), &after, Some(Ok(builtin())), now()).lines;
        assert_eq!(lines[0], "its spec is not changed, its annotations are");
        assert!(lines[1].starts_with("nothing is done while"), "{lines:?}");
        assert_eq!(
            lines[2],
            "is rotated (Requested): Secret ci gets a new value, all others end at once"
        );
    }

    #[test]
    fn what_stands_in_the_way_is_told_and_what_is_not_known_too() {
        let after = token("ci", json!({}), json!({}));
        let gone = IssuerProblem::NotFound(builtin().reference);
        let refused = forecast(None, &after, Some(Err(gone)), now());
        assert!(
            refused.is_refused && refused.lines[2].starts_with("but not before this is healed: IssuerNotFound"),
            "{:?}",
            refused.lines
        );
        let unseen = forecast(None, &after, None, now());
        assert!(
            !unseen.is_refused && unseen.lines.iter().any(|line| line.contains("you may not read its issuer")),
            "{:?}",
            unseen.lines
        );
    }
}
