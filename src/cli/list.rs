//! `list`: the ApiTokens of a namespace or of all, what needs attention first.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{
    attention::{self, Attention, Level},
    cluster::{Cluster, Place},
    exit::Exit,
    output::{self, Format},
    spans,
};
use crate::api::{
    ApiToken, ApiTokenStatus, IssuerId,
    api_token::{ObservedState, TokenStatus},
    conditions::{self, ConditionType},
};

/// Arguments of `list`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Look in all namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only tokens that end within this time, such as 7d, and are not replaced before; and those that have expired.
    #[arg(long, value_name = "DURATION", value_parser = spans::parse)]
    expiring: Option<SignedDuration>,
    /// Only active tokens that were not seen used for this time, such as 30d. Some issuers never tell: see the docs.
    #[arg(long, value_name = "DURATION", value_parser = spans::parse)]
    unused: Option<SignedDuration>,
    /// How to print it.
    #[arg(long, short, value_enum)]
    output: Option<Format>,
}

/// Lists.
pub async fn run(cluster: &Cluster, arguments: &Arguments, now: Timestamp) -> anyhow::Result<Exit> {
    let place = cluster.place(arguments.all_namespaces);
    let mut tokens = cluster.all::<ApiToken>(&place).await?;
    tokens.retain(|token| arguments.selects(token, now));
    let tokens = sorted(tokens, now);
    match arguments.output {
        Some(Format::Json | Format::Yaml) => {
            let items: Result<Vec<_>, _> = tokens.iter().map(|(token, _)| serde_json::to_value(token)).collect();
            output::print(output::objects(&items?, arguments.output == Some(Format::Yaml))?)?;
        }
        Some(Format::Wide) | None if tokens.is_empty() => output::tell(nothing(&place)),
        Some(Format::Wide) | None => output::print(table(&tokens, &place, arguments.output.is_some(), now))?,
    }
    Ok(Exit::Done)
}

fn nothing(place: &Place) -> String {
    match place {
        Place::Everywhere => "No such ApiTokens in any namespace.".to_owned(),
        Place::In(namespace) => format!("No such ApiTokens in the namespace {namespace}."),
    }
}

impl Arguments {
    fn selects(&self, token: &ApiToken, now: Timestamp) -> bool {
        let Some(status) = &token.status else {
            return self.expiring.is_none() && self.unused.is_none();
        };
        self.expiring.is_none_or(|within| ends_within(status, within, now)) && self.unused.is_none_or(|span| is_unused(status, span, now))
    }
}

/// Whether it has ended by itself, or is going to before it is replaced.
fn ends_within(status: &ApiTokenStatus, within: SignedDuration, now: Timestamp) -> bool {
    let end = status
        .token
        .as_ref()
        .and_then(|token| token.expires_at.as_ref())
        .map(|Time(at)| *at);
    let replaced_at = status.next_rotation_at.as_ref().map(|Time(at)| *at);
    match status.state {
        Some(ObservedState::Revoked) => false,
        Some(ObservedState::Expired) => true,
        _ => end.is_some_and(|end| end.duration_since(now) <= within && replaced_at.is_none_or(|at| at < now || at >= end)),
    }
}

/// Whether it works, and was neither used nor made for so long.
fn is_unused(status: &ApiTokenStatus, span: SignedDuration, now: Timestamp) -> bool {
    let known = |token: &TokenStatus| {
        let times = token.last_used_at.iter().chain(&token.issued_at);
        times.map(|Time(at)| *at).max()
    };
    let last = status.token.as_ref().and_then(known);
    status.state == Some(ObservedState::Active) && last.is_some_and(|last| now.duration_since(last) >= span)
}

/// What matters most first, then by namespace and name.
fn sorted(tokens: Vec<ApiToken>, now: Timestamp) -> Vec<(ApiToken, Attention)> {
    let mut tokens: Vec<_> = tokens
        .into_iter()
        .map(|token| {
            let attention = attention::of(&token, now);
            (token, attention)
        })
        .collect();
    tokens.sort_by_key(|(token, attention)| (attention.level, token.namespace(), token.name_any()));
    tokens
}

fn table(tokens: &[(ApiToken, Attention)], place: &Place, wide: bool, now: Timestamp) -> String {
    let mut head = vec!["NAME", "STATE", "READY", "ENDS", "ROTATES", "USED"];
    if *place == Place::Everywhere {
        head.insert(0, "NAMESPACE");
    }
    if wide {
        head.extend(["ISSUER", "ID", "HINT", "SECRET"]);
    }
    head.push("ATTENTION");
    let rows: Vec<_> = tokens.iter().map(|found| row(found, place, wide, now)).collect();
    output::table(&head, &rows)
}

fn row((token, attention): &(ApiToken, Attention), place: &Place, wide: bool, now: Timestamp) -> Vec<String> {
    let status = token.status.clone().unwrap_or_default();
    let ready = conditions::find(&status.conditions, ConditionType::Ready);
    let current = status.token.clone().unwrap_or_default();
    let dash = || "-".to_owned();
    let mut row = vec![
        token.name_any(),
        status.state.map_or_else(dash, |state| format!("{state:?}")),
        ready.map_or_else(dash, |ready| ready.status.clone()),
        spans::cell(current.expires_at.as_ref(), now),
        spans::cell(status.next_rotation_at.as_ref(), now),
        spans::cell(current.last_used_at.as_ref(), now),
    ];
    if *place == Place::Everywhere {
        row.insert(0, token.namespace().unwrap_or_default());
    }
    if wide {
        let namespace = token.namespace().unwrap_or_default();
        let issuer = status
            .issuer_ref
            .as_ref()
            .map(|issuer| IssuerId::new(issuer, &namespace).to_string());
        let secret = status.secret_ref.map(|secret| secret.name);
        row.extend([issuer, current.id, current.hint, secret].map(|cell| cell.unwrap_or_else(dash)));
    }
    row.push(match attention.level {
        Level::Fine => dash(),
        _ => attention.why.clone(),
    });
    row
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::samples::{NOW, now, token};

    fn names(tokens: &[(ApiToken, Attention)]) -> Vec<String> {
        tokens.iter().map(|(token, _)| token.name_any()).collect()
    }

    #[test]
    fn what_needs_attention_comes_first() {
        let seen = json!({ "observedGeneration": 1, "state": "Active" });
        let late = json!({ "observedGeneration": 1, "state": "Active", "nextRotationAt": "2029-12-31T00:00:00Z" });
        let tokens = vec![
            token("b-fine", json!({}), seen.clone()),
            token("a-fine", json!({}), seen),
            token("z-late", json!({}), late),
        ];
        let tokens = sorted(tokens, now());
        assert_eq!(names(&tokens), ["z-late", "a-fine", "b-fine"]);
        let text = table(&tokens, &Place::Everywhere, true, now());
        assert!(text.starts_with("NAMESPACE   NAME     STATE"), "{text}");
        assert!(text.lines().nth(1).unwrap().contains("its rotation was due 24h ago"), "{text}");
    }

    #[test]
    fn the_sample_of_the_docs_is_what_is_printed() {
        let seen = |mut status: Value, ready: &str, reason: &str, message: &str| {
            status["observedGeneration"] = json!(1);
            let ready = json!({ "type": "Ready", "status": ready, "reason": reason, "message": message, "lastTransitionTime": NOW });
            let expiring = json!({ "type": "Active", "status": "True", "reason": "Expiring", "message": "", "lastTransitionTime": NOW });
            let ends_soon = status["token"]["expiresAt"] == "2030-01-04T00:00:00Z";
            status["conditions"] = if ends_soon { json!([ready, expiring]) } else { json!([ready]) };
            status
        };
        let conflict = "the Secret \"mail\" is not of this ApiToken: choose another spec.secret.name, or delete that Secret";
        let ci = json!({
            "state": "Active", "nextRotationAt": "2030-01-10T00:00:00Z",
            "token": { "expiresAt": "2030-01-28T00:00:00Z", "lastUsedAt": "2029-12-31T23:58:00Z" },
        });
        let old = json!({ "state": "Active", "token": { "expiresAt": "2030-01-04T00:00:00Z", "lastUsedAt": "2029-12-31T20:00:00Z" } });
        let tokens = vec![
            token("ci", json!({}), seen(ci, "True", "Ready", "")),
            token("old", json!({}), seen(old, "True", "Ready", "")),
            token(
                "mail",
                json!({}),
                seen(json!({ "state": "Pending" }), "False", "SecretConflict", conflict),
            ),
        ];
        let text = table(&sorted(tokens, now()), &Place::Everywhere, false, now());
        let docs = include_str!("../../docs/kubectl-plugin.md");
        assert!(docs.contains(&text), "{text}");
    }

    #[test]
    fn an_end_that_a_rotation_puts_off_is_none() {
        let ends = |at: &str| json!({ "state": "Active", "token": { "expiresAt": at } });
        let week = SignedDuration::from_hours(7 * 24);
        let with = |mut status: Value, key: &str, value: Value| {
            status[key] = value;
            status
        };
        for (status, listed, why) in [
            (ends("2030-01-02T00:00:00Z"), true, "soon"),
            (ends("2030-01-08T00:00:00Z"), true, "in a week"),
            (ends("2030-01-08T00:00:01Z"), false, "later"),
            (json!({ "state": "Active", "token": {} }), false, "never"),
            (json!({ "state": "Expired" }), true, "over"),
            (with(ends("2029-12-01T00:00:00Z"), "state", json!("Revoked")), false, "revoked"),
            (
                with(ends("2030-01-03T00:00:00Z"), "nextRotationAt", json!("2030-01-02T00:00:00Z")),
                false,
                "replaced before",
            ),
            (
                with(ends("2030-01-03T00:00:00Z"), "nextRotationAt", json!("2029-12-31T00:00:00Z")),
                true,
                "the replacement is late",
            ),
        ] {
            let status = token("ci", json!({}), status).status.unwrap();
            assert_eq!(ends_within(&status, week, now()), listed, "{why}");
        }
    }

    #[test]
    fn a_token_is_unused_where_it_works_and_nobody_was_seen() {
        let month = SignedDuration::from_hours(30 * 24);
        for (status, unused, why) in [
            (
                json!({ "state": "Active", "token": { "issuedAt": "2029-01-01T00:00:00Z" } }),
                true,
                "never used",
            ),
            (
                json!({ "state": "Active", "token": { "issuedAt": "2029-01-01T00:00:00Z", "lastUsedAt": "2029-12-31T00:00:00Z" } }),
                false,
                "used yesterday",
            ),
            (
                json!({ "state": "Active", "token": { "issuedAt": "2029-12-31T00:00:00Z" } }),
                false,
                "made yesterday",
            ),
            (
                json!({ "state": "Suspended", "token": { "issuedAt": "2029-01-01T00:00:00Z" } }),
                false,
                "does not work anyway",
            ),
        ] {
            let status = token("ci", json!({}), status).status.unwrap();
            assert_eq!(is_unused(&status, month, now()), unused, "{why}");
        }
    }
}
