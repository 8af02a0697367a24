//! Which token a Secret holds, and whether its value may be the current one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    adoption, checks, has_expired, intent,
    marker::short_uid,
    observed::{FoundSecret, Observed},
    schedule, secret,
};
use crate::{
    api::{
        api_token::{Pending, TokenStatus},
        bounds, names,
    },
    issuers::{IssuedToken, builtin},
    token_value::{self, TokenValue},
};

/// The token whose value the Secret holds, if it may be the current one: the one just made, the one
/// announced, the recorded one, or, where nothing is recorded, one that was made before a crash or
/// by a former object of this name.
pub fn token_in(observed: &Observed, found: &FoundSecret) -> Option<(TokenStatus, TokenValue)> {
    if let Some(fresh) = intent::usable(observed)
        && let Some(value) = value_with_hash(observed, found, &fresh.value.hash())
    {
        return Some((record(observed, fresh), value));
    }
    if let Some(made) = observed.pending().and_then(|pending| attempted_token(observed, found, pending)) {
        return Some((record(observed, &made), made.value));
    }
    match observed.current() {
        Some(token) => recorded_token(observed, found, token),
        None => left_token(observed, found),
    }
}

/// The token of the attempt in the status, where the Secret holds it.
fn attempted_token(observed: &Observed, found: &FoundSecret, pending: &Pending) -> Option<IssuedToken> {
    let made = |value, id: String, name, expires_at| IssuedToken {
        value,
        id,
        name,
        attempt: pending.attempt,
        issued_at: pending.started_at.0,
        announced_at: None,
        expires_at,
        details: Default::default(),
    };
    if let Some(hash) = &pending.hash {
        let value = value_with_hash(observed, found, hash)?;
        return Some(made(value, token_id(observed, pending.attempt), None, None));
    }
    let listed = observed
        .view
        .iter()
        .flatten()
        .find(|token| intent::may_have_made(observed, token) && found.annotation(names::TOKEN_ID_ANNOTATION) == Some(&token.id))?;
    let value = named_value(observed, found, &listed.id)?;
    Some(made(value, listed.id.clone(), listed.name.clone(), listed.expires_at))
}

/// The value of the token that the Secret's annotations name, where it fits its hash.
pub fn named_value(observed: &Observed, found: &FoundSecret, id: &str) -> Option<TokenValue> {
    let hash = found.annotation(names::HASH_ANNOTATION)?;
    let named = found.annotation(names::TOKEN_ID_ANNOTATION) == Some(id);
    named.then(|| value_with_hash(observed, found, hash))?
}

/// The recorded token, where the Secret still holds it and it was not ended.
fn recorded_token(observed: &Observed, found: &FoundSecret, token: &TokenStatus) -> Option<(TokenStatus, TokenValue)> {
    let hash = token.hash.as_deref()?;
    if has_expired(observed) || is_ended(found, hash) {
        return None;
    }
    let value = value_with_hash(observed, found, hash)?;
    Some((renewed(observed, token), value))
}

/// The record of a token as the present spec describes it, where no other value is needed for that.
fn renewed(observed: &Observed, token: &TokenStatus) -> TokenStatus {
    let issued_at = token.issued_at.as_ref().map(|Time(at)| *at);
    let declared_end = schedule::end(&observed.token.spec, issued_at).map(Time);
    let can = observed.capabilities().unwrap_or_default();
    if can.local {
        return TokenStatus {
            name: Some(secret::display_name(&observed.token)),
            account: secret::account(observed),
            expires_at: declared_end,
            ..token.clone()
        };
    }
    let mut token = token.clone();
    if observed.updated {
        token.name = Some(super::remote::declared_name(observed, &token));
        token.parameters_hash = secret::parameters_hash(&observed.token);
    }
    let issuer_end = super::remote::issuer_end(observed, &token).filter(|_| can.expiry).map(Time);
    token.expires_at = declared_end.into_iter().chain(issuer_end).min();
    match token.id.as_deref().and_then(|id| observed.listed(id)).or(observed.shown.as_ref()) {
        Some(listed) => TokenStatus {
            last_used_at: listed.last_used_at.map(|at| Time(schedule::to_second(at))).or(token.last_used_at),
            account_type: word(listed.details.account_type.as_ref()).or(token.account_type),
            created_by: word(listed.details.created_by.as_ref()).or(token.created_by),
            ..token
        },
        None => token,
    }
}

/// A token that stands in our Secret and in no status. Tenants can write a Secret, so only a value
/// of our format counts, which no other ApiToken has, and whose time is not over; at an issuer that
/// others run, only one that it shows, that nobody else has, and that may be taken over.
fn left_token(observed: &Observed, found: &FoundSecret) -> Option<(TokenStatus, TokenValue)> {
    let hash = found.annotation(names::HASH_ANNOTATION)?;
    let issued_at: Timestamp = found.annotation(names::ISSUED_AT_ANNOTATION)?.parse().ok()?;
    let over = schedule::end(&observed.token.spec, Some(issued_at)).is_some_and(|end| end <= observed.now);
    let in_the_future = !schedule::is_credible(issued_at, observed.now);
    if over || in_the_future || is_ended(found, hash) || found.value_belongs_to.is_some() || has_longest_lifetime(observed) {
        return None;
    }
    let value = value_with_hash(observed, found, hash)?;
    let left = if observed.is_remote() {
        left_at_issuer(observed, found, value)?
    } else {
        builtin::is_well_formed(value.expose()).then(|| made_here(observed, value))?
    };
    let left = IssuedToken {
        issued_at: issued_at.min(observed.now),
        ..left
    };
    Some((record(observed, &left), left.value))
}

fn made_here(observed: &Observed, value: TokenValue) -> IssuedToken {
    IssuedToken {
        value,
        id: token_id(observed, 1),
        name: None,
        attempt: 1,
        issued_at: observed.now,
        announced_at: None,
        expires_at: None,
        details: Default::default(),
    }
}

fn left_at_issuer(observed: &Observed, found: &FoundSecret, value: TokenValue) -> Option<IssuedToken> {
    let id = found.annotation(names::TOKEN_ID_ANNOTATION)?;
    let listed = observed.listed(id)?;
    let another_value = listed.value.as_ref().is_some_and(|shown| shown.hash() != value.hash());
    let allowed = checks::adoption_is_allowed(observed) && adoption::obstacle(observed, listed).is_none();
    (allowed && !another_value).then(|| IssuedToken {
        value,
        id: id.to_owned(),
        name: listed.name.clone(),
        attempt: 1,
        issued_at: observed.now,
        announced_at: None,
        expires_at: listed.expires_at,
        details: Default::default(),
    })
}

/// Under a longest lifetime, the time of issue in a Secret's annotation proves nothing.
fn has_longest_lifetime(observed: &Observed) -> bool {
    let policy = observed.issuer.as_ref().ok().and_then(|issuer| issuer.spec.policy.as_ref());
    policy.is_some_and(|policy| policy.max_lifetime.is_some())
}

/// Whether the Secret says that the value was ended.
pub fn is_ended(found: &FoundSecret, hash: &str) -> bool {
    found.annotation(names::ENDED_ANNOTATION) == Some(hash)
}

/// The value with that hash: under the declared key, or under the key that was declared before.
pub fn value_with_hash(observed: &Observed, found: &FoundSecret, hash: &str) -> Option<TokenValue> {
    let declared = found.bytes(&observed.token.spec.secret.key).into_iter();
    let others = found.object().data.iter().flatten();
    let others = others
        .filter(|(key, _)| *key != names::PREVIOUS_TOKEN_KEY)
        .map(|(_, bytes)| bytes.0.as_slice());
    let bytes = declared.chain(others).find(|bytes| token_value::hash(bytes) == hash)?;
    std::str::from_utf8(bytes).ok().map(TokenValue::new)
}

/// The record of a token just made, as the present spec describes it. The hint tells values of ours
/// apart; of a value that somebody else made up it would show too much.
pub fn record(observed: &Observed, made: &IssuedToken) -> TokenStatus {
    let token = &observed.token;
    let asked = observed
        .pending()
        .filter(|pending| observed.is_remote() && pending.attempt == made.attempt);
    // The end that was asked for counts from the intent; by the issuer's own clock it would seem too early.
    let issued_at = schedule::to_second(asked.map_or(made.issued_at, |asked| asked.started_at.0));
    let declared_end = schedule::end(&token.spec, Some(issued_at));
    let hint = observed.is_remote() || builtin::is_well_formed(made.value.expose());
    TokenStatus {
        id: Some(made.id.clone()),
        hint: hint.then(|| made.value.hint()),
        hash: Some(made.value.hash()),
        name: made.name.clone().or_else(|| Some(secret::display_name(token))),
        account: asked.map_or_else(|| secret::account(observed), |asked| asked.account.clone()),
        parameters_hash: asked.map_or_else(|| secret::parameters_hash(token), |asked| asked.parameters_hash.clone()),
        issued_at: Some(Time(issued_at)),
        expires_at: declared_end
            .into_iter()
            .chain(made.expires_at)
            .min()
            .map(schedule::to_second)
            .map(Time),
        requested_end: asked.and_then(|asked| asked.expires_at.clone()),
        account_type: word(made.details.account_type.as_ref()),
        created_by: word(made.details.created_by.as_ref()),
        ..Default::default()
    }
}

/// What comes from outside is cut to its bounds.
fn word(word: Option<&String>) -> Option<String> {
    word.map(|word| word.chars().take(bounds::VENDOR_WORD).collect())
}

/// `<10 hex of the object's uid>-<attempt>`.
pub fn token_id(observed: &Observed, attempt: i64) -> String {
    format!("{}-{attempt}", short_uid(&observed.token))
}
