//! What is counted when somebody asks, from what the watches hold: nothing stale remains of objects that are gone.
//!
//! No label holds a tenant's name: cluster issuers stand by name, namespaced ones together.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::gauge::ConstGauge,
};

use super::descriptions::Description;
use crate::{
    api::{
        ApiToken, IssuerKind, IssuerRef, IssuerStatus,
        api_token::{DesiredState, ObservedState},
        conditions::{ConditionType, is_true},
    },
    controller::{
        clock::Clock,
        stores::{Guarded, Stores},
    },
    lifecycle::{OrphanReason, schedule},
};

#[cfg(test)]
mod tests;

const TOKENS: Description = Description::gauge("tokens", &["state", "issuer"], "ApiTokens, by state and issuer");
const UNOBSERVED: Description = Description::gauge(
    "unobserved_tokens",
    &[],
    "ApiTokens whose spec the operator has not looked at yet: what waits in its queue",
);
const OVERDUE: Description = Description::gauge(
    "oldest_overdue_rotation_seconds",
    &[],
    "For how long the rotation is due that waits longest; 0 where none is",
);
const NEXT: Description = Description::gauge(
    "next_rotation_seconds",
    &[],
    "Until the next rotation that is not due yet; absent where none is planned",
);
const UNRENEWED: Description = Description::gauge(
    "soonest_unrenewed_expiry_seconds",
    &[],
    "Until the next end of an active token that nothing renews, of those that live a day or longer; absent where there is none",
);
const ISSUERS: Description = Description::gauge("issuers", &["issuer", "ready"], "Issuers, by whether they are ready");
const ORPHANS: Description = Description::gauge(
    "orphans",
    &["reason"],
    "Tokens at vendors that no ApiToken accounts for, in the ledgers of all issuers; further ones in ConfigMaps are counted every few minutes",
);

/// All that is counted here.
pub const ALL: [Description; 7] = [TOKENS, UNOBSERVED, OVERDUE, NEXT, UNRENEWED, ISSUERS, ORPHANS];

/// A token that lives shorter than this is meant to end.
const SHORT_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// What a look at all objects shows.
#[derive(Debug, Default)]
pub struct Counts {
    tokens: BTreeMap<(&'static str, String), i64>,
    unobserved: i64,
    overdue: SignedDuration,
    next: Option<SignedDuration>,
    unrenewed: Option<SignedDuration>,
    issuers: BTreeMap<(String, &'static str), i64>,
    orphans: BTreeMap<&'static str, i64>,
}

impl Counts {
    /// Counts an ApiToken.
    pub fn token(&mut self, token: &ApiToken, now: Timestamp) {
        *self.tokens.entry(labels(token)).or_default() += 1;
        if is_unobserved(token) {
            self.unobserved += 1;
        }
        let rotates = next_rotation(token).map(|at| at.duration_since(now));
        match rotates {
            Some(wait) if wait.is_positive() => self.next = Some(self.next.map_or(wait, |next| next.min(wait))),
            Some(wait) => self.overdue = self.overdue.max(-wait),
            None => {}
        }
        if let Some(end) = unrenewed_end(token) {
            let left = end.duration_since(now).max(SignedDuration::ZERO);
            self.unrenewed = Some(self.unrenewed.map_or(left, |soonest| soonest.min(left)));
        }
    }

    /// Counts an issuer, and what its ledger holds.
    pub fn issuer(&mut self, reference: &IssuerRef, status: Option<&IssuerStatus>) {
        let is_ready = status.is_some_and(|status| is_true(&status.conditions, ConditionType::Ready));
        let ready = if is_ready { "true" } else { "false" };
        *self.issuers.entry((name(reference), ready)).or_default() += 1;
        for orphan in status.into_iter().flat_map(|status| &status.orphans) {
            self.orphans(reason(&orphan.reason), 1);
        }
    }

    fn orphans(&mut self, reason: &'static str, count: i64) {
        *self.orphans.entry(reason).or_default() += count;
    }

    /// Looks at everything in the stores.
    fn of(stores: &Stores, now: Timestamp) -> Self {
        let mut counts = Self::default();
        for token in stores.scopes.iter().flat_map(|scope| scope.tokens.state()) {
            if let Ok(token) = &token.0 {
                counts.token(token, now);
            }
        }
        for issuer in stores.cluster_issuers.state() {
            let status = issuer.0.as_ref().ok().and_then(|issuer| issuer.status.as_ref());
            counts.issuer(&reference(IssuerKind::ClusterTokenIssuer, issuer.name_any()), status);
        }
        for issuer in stores.scopes.iter().flat_map(|scope| scope.issuers.state()) {
            let status = issuer.0.as_ref().ok().and_then(|issuer| issuer.status.as_ref());
            counts.issuer(&reference(IssuerKind::TokenIssuer, issuer.name_any()), status);
        }
        counts
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|((state, issuer), count)| ([("state", (*state).to_owned()), ("issuer", issuer.clone())], *count));
        series(&mut encoder, &TOKENS, tokens)?;
        one(&mut encoder, &UNOBSERVED, Some(self.unobserved))?;
        one(&mut encoder, &OVERDUE, Some(self.overdue.as_secs()))?;
        one(&mut encoder, &NEXT, self.next.map(|wait| wait.as_secs()))?;
        one(&mut encoder, &UNRENEWED, self.unrenewed.map(|left| left.as_secs()))?;
        let issuers = self.issuers.iter();
        let issuers = issuers.map(|((issuer, ready), count)| ([("issuer", issuer.clone()), ("ready", (*ready).to_owned())], *count));
        series(&mut encoder, &ISSUERS, issuers)?;
        let orphans = OrphanReason::ALL.map(OrphanReason::as_str).into_iter();
        let orphans = orphans.map(|reason| ([("reason", reason)], self.orphans.get(reason).copied().unwrap_or_default()));
        series(&mut encoder, &ORPHANS, orphans)
    }
}

fn one(encoder: &mut DescriptorEncoder<'_>, what: &Description, value: Option<i64>) -> Result<(), fmt::Error> {
    let Some(value) = value else { return Ok(()) };
    let metric = encoder.encode_descriptor(what.name, &format!("{}.", what.help), None, what.type_)?;
    ConstGauge::new(value).encode(metric)
}

fn series<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    what: &Description,
    series: impl Iterator<Item = (L, i64)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(what.name, &format!("{}.", what.help), None, what.type_)?;
    for (labels, value) in series {
        ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Counts anew each time somebody asks.
#[derive(Clone, Default)]
pub struct Counter {
    sources: Arc<OnceLock<(Arc<Stores>, Arc<dyn Clock>)>>,
    /// What the ConfigMaps held when they were read last, by reason.
    books: Arc<Mutex<BTreeMap<&'static str, i64>>>,
}

impl Counter {
    /// From now on these stores are counted.
    pub fn counts_in(&self, stores: Arc<Stores>, clock: Arc<dyn Clock>) {
        // A second controller in one program does not exist; the first one's stores stay.
        let _ = self.sources.set((stores, clock));
    }

    /// The ConfigMaps of the ledgers hold entries with these reasons.
    pub fn books_hold<'a>(&self, reasons: impl Iterator<Item = &'a str>) {
        let mut counts = BTreeMap::new();
        reasons.for_each(|word| *counts.entry(reason(word)).or_default() += 1);
        *self.books.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    /// Whether a spec waits to be looked at, outside of namespaces that end.
    pub fn work_waits(&self) -> bool {
        let Some((stores, _)) = self.sources.get() else {
            return false;
        };
        let waits = |token: &Guarded<ApiToken>| {
            let ends = || stores.namespace_ends(&token.namespace().unwrap_or_default());
            token.0.as_ref().is_ok_and(is_unobserved) && !ends()
        };
        stores.scopes.iter().any(|scope| scope.tokens.find(waits).is_some())
    }

    fn counts(&self) -> Counts {
        let mut counts = match self.sources.get() {
            Some((stores, clock)) => Counts::of(stores, clock.now()),
            None => Counts::default(),
        };
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        books.iter().for_each(|(reason, count)| counts.orphans(reason, *count));
        counts
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counter")
    }
}

impl Collector for Counter {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.counts().encode(encoder)
    }
}

fn labels(token: &ApiToken) -> (&'static str, String) {
    let status = token.status.as_ref();
    let state = match status.and_then(|status| status.state) {
        None | Some(ObservedState::Pending) => "Pending",
        Some(ObservedState::Active) => "Active",
        Some(ObservedState::Suspended) => "Suspended",
        Some(ObservedState::Revoked) => "Revoked",
        Some(ObservedState::Expired) => "Expired",
    };
    let issuer = status.and_then(|status| status.issuer_ref.as_ref());
    (state, issuer.map_or_else(|| "none".to_owned(), name))
}

fn name(issuer: &IssuerRef) -> String {
    match issuer.kind {
        IssuerKind::ClusterTokenIssuer => format!("ClusterTokenIssuer/{}", issuer.name),
        IssuerKind::TokenIssuer => "TokenIssuer".to_owned(),
    }
}

fn reference(kind: IssuerKind, name: String) -> IssuerRef {
    IssuerRef { kind, name }
}

/// The reason of a ledger's entry; who wrote another word there found the token somehow.
fn reason(word: &str) -> &'static str {
    OrphanReason::named(word).unwrap_or(OrphanReason::Found).as_str()
}

/// Whether the operator has yet to look at the spec. What is paused or on its way out waits for others.
fn is_unobserved(token: &ApiToken) -> bool {
    let seen = token.status.as_ref().and_then(|status| status.observed_generation);
    token.metadata.deletion_timestamp.is_none() && !token.is_paused() && seen != token.metadata.generation
}

/// When the token is rotated next, unless somebody holds it.
fn next_rotation(token: &ApiToken) -> Option<Timestamp> {
    let held = token.metadata.deletion_timestamp.is_some() || token.is_paused() || token.spec.state != DesiredState::Active;
    let Time(at) = token.status.as_ref()?.next_rotation_at.as_ref()?;
    (!held).then_some(*at)
}

/// When an active token ends that no rotation replaces before.
fn unrenewed_end(token: &ApiToken) -> Option<Timestamp> {
    let status = token.status.as_ref()?;
    let current = status.token.as_ref()?;
    let works = status.state == Some(ObservedState::Active) && token.spec.state == DesiredState::Active;
    let issued = current.issued_at.as_ref().map(|Time(at)| *at);
    let recorded = current.expires_at.as_ref().map(|Time(at)| *at);
    let end = recorded.into_iter().chain(schedule::end(&token.spec, issued)).min()?;
    let is_renewed = next_rotation(token).is_some_and(|at| at < end);
    let is_short = issued.is_some_and(|issued| end.duration_since(issued) < SHORT_LIFE);
    (works && token.metadata.deletion_timestamp.is_none() && !is_renewed && !is_short).then_some(end)
}
