//! What a decision begins with, where a test says nothing else.

#![allow(dead_code, reason = "each crate of tests uses a part of it")]

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::{ApiToken, ApiTokenSpec, Duration, IssuerKind, IssuerRef, IssuerSpec, issuer::BuiltinIssuer},
    issuers::{Capabilities, builtin},
    lifecycle::{Adoptee, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, Terms},
    token_value::TokenValue,
};

/// The uid of the ApiToken.
pub const UID: &str = "0123456789ab-cdef";
/// The time.
pub const NOW: &str = "2030-01-01T00:00:00Z";

/// That time.
pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// That span.
pub fn hours(text: &str) -> Option<Duration> {
    Some(Duration::try_from(text.to_owned()).unwrap())
}

/// A value of our format, the same for the same seed.
pub fn value(seed: u64) -> TokenValue {
    use rand::{SeedableRng, rngs::StdRng};
    builtin::generate(&mut StdRng::seed_from_u64(seed), "apt").unwrap()
}

/// An ApiToken `shop/ci` that nobody has looked at yet, at a usable issuer.
pub fn situation() -> Observed {
    let mut token = ApiToken::new("ci", ApiTokenSpec::default());
    token.metadata.namespace = Some("shop".into());
    token.metadata.uid = Some(UID.into());
    token.metadata.generation = Some(1);
    token.metadata.creation_timestamp = Some(Time(at("2029-12-31T23:00:00Z")));
    Observed {
        token: Arc::new(token),
        issuer: Ok(ObservedIssuer {
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
            version: "1".into(),
            timeout: SignedDuration::from_secs(30),
            readiness: IssuerReadiness::Ready,
            held: true,
            namespace_allowed: true,
            busy: false,
        }),
        namespace_ends: false,
        needed_by_others: false,
        secret: ObservedSecret::Absent,
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
            cluster: "0123abcd".into(),
            former_clusters: Vec::new(),
            propagation_delay: SignedDuration::from_secs(2),
            poll_interval: SignedDuration::from_mins(10),
            revoke_deadline: SignedDuration::from_mins(15),
            observe_only: false,
            started_at: at("2029-12-31T00:00:00Z"),
        },
        now: at(NOW),
    }
}
