//! Which token a Secret holds, and whether its value may be the current one.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    has_expired,
    observed::{FoundSecret, Observed},
    schedule, secret,
};
use crate::{
    api::{
        api_token::{Pending, TokenStatus},
        names,
    },
    issuers::builtin,
    token_value::{self, TokenValue},
};

/// How far ahead another node's clock may be.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// The token whose value the Secret holds, if it may be the current one: the one just made, the one
/// announced, the recorded one, or, where nothing is recorded, one that was made before a crash or
/// by a former object of this name.
pub fn token_in(observed: &Observed, found: &FoundSecret) -> Option<(TokenStatus, TokenValue)> {
    if let Some(fresh) = &observed.fresh
        && let Some(value) = value_with_hash(observed, found, &fresh.value.hash())
    {
        return Some((record(observed, &fresh.id, fresh.issued_at, &value), value));
    }
    if let Some(Pending {
        hash: Some(hash),
        attempt,
        started_at,
        ..
    }) = observed.pending()
        && let Some(value) = value_with_hash(observed, found, hash)
    {
        return Some((record(observed, &token_id(observed, *attempt), started_at.0, &value), value));
    }
    match observed.current() {
        Some(token) => recorded_token(observed, found, token),
        None => left_token(observed, found),
    }
}

/// The recorded token, where the Secret still holds it and it was not ended.
fn recorded_token(observed: &Observed, found: &FoundSecret, token: &TokenStatus) -> Option<(TokenStatus, TokenValue)> {
    let hash = token.hash.as_deref()?;
    if has_expired(observed) || is_ended(found, hash) {
        return None;
    }
    let value = value_with_hash(observed, found, hash)?;
    let id = token.id.clone().unwrap_or_default();
    let issued_at = token.issued_at.as_ref().map_or(observed.now, |Time(at)| *at);
    let renewed = TokenStatus {
        last_used_at: token.last_used_at.clone(),
        ..record(observed, &id, issued_at, &value)
    };
    Some((renewed, value))
}

/// A token that stands in our Secret and in no status. Tenants can write a Secret, so only a value
/// of our format counts, which no other ApiToken has, and whose time is not over.
fn left_token(observed: &Observed, found: &FoundSecret) -> Option<(TokenStatus, TokenValue)> {
    let hash = found.annotation(names::HASH_ANNOTATION)?;
    let issued_at: Timestamp = found.annotation(names::ISSUED_AT_ANNOTATION)?.parse().ok()?;
    let over = schedule::end(&observed.token.spec, Some(issued_at)).is_some_and(|end| end <= observed.now);
    let in_the_future = issued_at > schedule::later(observed.now, CLOCK_SKEW);
    if over || in_the_future || is_ended(found, hash) || found.value_belongs_to.is_some() || has_longest_lifetime(observed) {
        return None;
    }
    let value = value_with_hash(observed, found, hash).filter(|value| builtin::is_well_formed(value.expose()))?;
    Some((record(observed, &token_id(observed, 1), issued_at.min(observed.now), &value), value))
}

/// Under a longest lifetime, the time of issue in a Secret's annotation proves nothing.
fn has_longest_lifetime(observed: &Observed) -> bool {
    let policy = observed.issuer.as_ref().ok().and_then(|issuer| issuer.spec.policy.as_ref());
    policy.is_some_and(|policy| policy.max_lifetime.is_some())
}

fn is_ended(found: &FoundSecret, hash: &str) -> bool {
    found.annotation(names::ENDED_ANNOTATION) == Some(hash)
}

/// The value with that hash: under the declared key, or under the key that was declared before.
fn value_with_hash(observed: &Observed, found: &FoundSecret, hash: &str) -> Option<TokenValue> {
    let declared = found.bytes(&observed.token.spec.secret.key).into_iter();
    let others = found.object().data.iter().flatten().map(|(_, bytes)| bytes.0.as_slice());
    let bytes = declared.chain(others).find(|bytes| token_value::hash(bytes) == hash)?;
    std::str::from_utf8(bytes).ok().map(TokenValue::new)
}

/// The record of a token as the present spec describes it.
pub fn record(observed: &Observed, id: &str, issued_at: Timestamp, value: &TokenValue) -> TokenStatus {
    let token = &observed.token;
    TokenStatus {
        id: Some(id.to_owned()),
        hint: Some(value.hint()),
        hash: Some(value.hash()),
        name: Some(token.spec.display_name.clone().unwrap_or_else(|| secret::default_account(token))),
        account: Some(secret::account(token)),
        issued_at: Some(Time(issued_at)),
        expires_at: schedule::end(&token.spec, Some(issued_at)).map(Time),
        ..Default::default()
    }
}

/// `<10 hex of the object's uid>-<attempt>`.
pub fn token_id(observed: &Observed, attempt: i64) -> String {
    let uid = observed.token.metadata.uid.as_deref().unwrap_or_default();
    let hex: String = uid.chars().filter(char::is_ascii_hexdigit).take(10).collect();
    format!("{hex}-{attempt}")
}
