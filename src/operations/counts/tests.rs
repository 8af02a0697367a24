//! Objects in the cluster -> series.

use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};

use super::*;
use crate::operations::descriptions::{self, PREFIX};

fn now() -> Timestamp {
    "2030-01-10T00:00:00Z".parse().unwrap()
}

fn token(metadata: Value, spec: Value, status: Value) -> ApiToken {
    let object = json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "ApiToken", "metadata": metadata, "spec": spec, "status": status });
    serde_json::from_value(object).unwrap()
}

fn shown(counts: Counts) -> Vec<String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(counts));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    let series = text.lines().filter(|line| !line.starts_with('#') && !line.starts_with("orphans{"));
    series.map(str::to_owned).collect()
}

fn shown_of(tokens: &[ApiToken]) -> Vec<String> {
    let mut counts = Counts::default();
    tokens.iter().for_each(|token| counts.token(token, now()));
    shown(counts)
}

#[test]
fn tokens_are_counted_by_state_and_issuer_and_no_tenant_is_named() {
    let of = |state: &str, kind: &str, name: &str| {
        let status = json!({ "state": state, "issuerRef": { "kind": kind, "name": name } });
        token(json!({ "namespace": "shop", "name": "ci" }), json!({}), status)
    };
    let tokens = [
        of("Active", "ClusterTokenIssuer", "builtin"),
        of("Active", "ClusterTokenIssuer", "builtin"),
        of("Active", "TokenIssuer", "tenants-own"),
        of("Revoked", "TokenIssuer", "another"),
        token(json!({ "name": "new" }), json!({}), json!({})),
    ];
    let expected = [
        "tokens{state=\"Active\",issuer=\"ClusterTokenIssuer/builtin\"} 2",
        "tokens{state=\"Active\",issuer=\"TokenIssuer\"} 1",
        "tokens{state=\"Pending\",issuer=\"none\"} 1",
        "tokens{state=\"Revoked\",issuer=\"TokenIssuer\"} 1",
        "unobserved_tokens 0",
        "oldest_overdue_rotation_seconds 0",
    ];
    assert_eq!(shown_of(&tokens), expected);
}

/// An active token with a plan for its rotation, and an end.
fn planned(metadata: Value, state: &str, rotation: Value, end: Value) -> ApiToken {
    let current = json!({ "issuedAt": "2030-01-01T00:00:00Z", "expiresAt": end });
    let status = json!({ "state": "Active", "nextRotationAt": rotation, "token": current });
    token(metadata, json!({ "state": state }), status)
}

#[test]
fn what_is_due_is_told_of_the_first_and_of_the_one_that_waits_longest() {
    let paused = || json!({ "annotations": { "apitoken.dev/paused": "true" } });
    let going = || json!({ "deletionTimestamp": "2030-01-09T00:00:00Z" });
    let none = Value::Null;
    for (why, metadata, state, rotation, end, expected) in [
        (
            "nothing is planned",
            json!({}),
            "Active",
            none.clone(),
            none.clone(),
            &["oldest_overdue_rotation_seconds 0"][..],
        ),
        (
            "a rotation that comes",
            json!({}),
            "Active",
            json!("2030-01-10T00:01:00Z"),
            json!("2030-01-11T00:00:00Z"),
            &["oldest_overdue_rotation_seconds 0", "next_rotation_seconds 60"],
        ),
        (
            "one that is late",
            json!({}),
            "Active",
            json!("2030-01-09T23:00:00Z"),
            none.clone(),
            &["oldest_overdue_rotation_seconds 3600"],
        ),
        (
            "held back",
            paused(),
            "Active",
            json!("2030-01-09T23:00:00Z"),
            none.clone(),
            &["oldest_overdue_rotation_seconds 0"],
        ),
        (
            "suspended",
            json!({}),
            "Suspended",
            json!("2030-01-09T23:00:00Z"),
            none.clone(),
            &["oldest_overdue_rotation_seconds 0"],
        ),
        (
            "deleted",
            going(),
            "Active",
            json!("2030-01-09T23:00:00Z"),
            json!("2030-01-11T00:00:00Z"),
            &["oldest_overdue_rotation_seconds 0"],
        ),
        (
            "an end that nothing puts off",
            json!({}),
            "Active",
            none.clone(),
            json!("2030-01-10T01:00:00Z"),
            &["oldest_overdue_rotation_seconds 0", "soonest_unrenewed_expiry_seconds 3600"],
        ),
        (
            "a rotation that comes too late for it",
            json!({}),
            "Active",
            json!("2030-01-10T02:00:00Z"),
            json!("2030-01-10T01:00:00Z"),
            &[
                "oldest_overdue_rotation_seconds 0",
                "next_rotation_seconds 7200",
                "soonest_unrenewed_expiry_seconds 3600",
            ],
        ),
        (
            "a rotation that is held back",
            paused(),
            "Active",
            json!("2030-01-10T00:30:00Z"),
            json!("2030-01-10T01:00:00Z"),
            &["oldest_overdue_rotation_seconds 0", "soonest_unrenewed_expiry_seconds 3600"],
        ),
        (
            "a life shorter than a day",
            json!({}),
            "Active",
            none.clone(),
            json!("2030-01-01T23:00:00Z"),
            &["oldest_overdue_rotation_seconds 0"],
        ),
    ] {
        let shown = shown_of(&[planned(metadata, state, rotation, end)]);
        let due: Vec<_> = shown.iter().filter(|line| line.contains("seconds")).collect();
        assert_eq!(due, expected, "{why}");
    }
    let two = |first: &str, second: &str| {
        let tokens = [first, second].map(|at| planned(json!({}), "Active", json!(at), Value::Null));
        shown_of(&tokens)
            .into_iter()
            .filter(|line| line.contains("rotation"))
            .collect::<Vec<_>>()
    };
    let both = ["oldest_overdue_rotation_seconds 0", "next_rotation_seconds 60"];
    assert_eq!(two("2030-01-10T00:01:00Z", "2030-01-10T00:02:00Z"), both);
    assert_eq!(
        two("2030-01-09T23:59:00Z", "2030-01-09T23:58:00Z"),
        ["oldest_overdue_rotation_seconds 120"]
    );
}

#[test]
fn each_series_is_what_its_description_says() {
    let mut counts = Counts::default();
    counts.token(
        &planned(json!({}), "Active", json!("2030-01-11T00:00:00Z"), json!("2030-01-10T12:00:00Z")),
        now(),
    );
    counts.issuer(&reference(IssuerKind::TokenIssuer, "own".to_owned()), None);
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(counts));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    assert_eq!(descriptions::shown(&text), descriptions::described(&ALL));
}

#[test]
fn a_spec_waits_until_it_was_looked_at() {
    for (metadata, observed, waits) in [
        (json!({ "generation": 1 }), json!(-1), true),
        (json!({ "generation": 1 }), json!(1), false),
        (json!({ "generation": 2 }), json!(1), true),
        (
            json!({ "generation": 2, "annotations": { "apitoken.dev/paused": "true" } }),
            json!(1),
            false,
        ),
        (
            json!({ "generation": 2, "deletionTimestamp": "2030-01-01T00:00:00Z" }),
            json!(1),
            false,
        ),
    ] {
        let token = token(metadata.clone(), json!({}), json!({ "observedGeneration": observed }));
        assert_eq!(is_unobserved(&token), waits, "{metadata} {observed}");
    }
}

#[test]
fn issuers_are_counted_by_readiness_and_their_ledgers_with_the_config_maps() {
    let status = |ready: &str, reasons: &[&str]| -> IssuerStatus {
        let orphan = |reason: &&str| json!({ "id": "7", "reason": reason, "since": "2030-01-01T00:00:00Z" });
        let condition =
            json!({ "type": "Ready", "status": ready, "reason": "Ready", "message": "", "lastTransitionTime": "2030-01-01T00:00:00Z" });
        serde_json::from_value(json!({ "conditions": [condition], "orphans": reasons.iter().map(orphan).collect::<Vec<_>>() })).unwrap()
    };
    let mut counts = Counts::default();
    let (cluster, own) = (IssuerKind::ClusterTokenIssuer, IssuerKind::TokenIssuer);
    counts.issuer(&reference(cluster, "builtin".to_owned()), Some(&status("True", &[])));
    counts.issuer(
        &reference(cluster, "mail".to_owned()),
        Some(&status("False", &["Found", "Retained"])),
    );
    counts.issuer(&reference(own, "a".to_owned()), Some(&status("True", &["Found", "nonsense"])));
    counts.issuer(&reference(own, "b".to_owned()), None);
    let mut registry = Registry::default();
    registry.register_collector(Box::new(counts));
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for series in [
        "issuers{issuer=\"ClusterTokenIssuer/builtin\",ready=\"true\"} 1",
        "issuers{issuer=\"ClusterTokenIssuer/mail\",ready=\"false\"} 1",
        "issuers{issuer=\"TokenIssuer\",ready=\"true\"} 1",
        "issuers{issuer=\"TokenIssuer\",ready=\"false\"} 1",
        "orphans{reason=\"Found\"} 3",
        "orphans{reason=\"Retained\"} 1",
        "orphans{reason=\"NotRevoked\"} 0",
    ] {
        assert!(text.contains(&format!("\n{series}\n")), "{series}: {text}");
    }

    let counter = Counter::default();
    counter.books_hold(["Retained", "Retained", "Ambiguous"].into_iter());
    let counts = counter.counts();
    assert_eq!(counts.orphans, [("Ambiguous", 1), ("Retained", 2)].into());
    counter.books_hold(std::iter::empty());
    assert!(counter.counts().orphans.is_empty(), "what was read last counts");
}
