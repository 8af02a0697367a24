//! A token that is to work, or to be held back for now: it is issued, its Secret kept as declared,
//! and its value replaced where it got lost.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    checks::{self, Refusal},
    has_expired,
    observed::{FoundSecret, Observed, ObservedSecret, Ownership},
    plan::{Plan, Step},
    schedule, secret,
    status::Draft,
};
use crate::{
    api::{
        api_token::{ObservedState, Pending, TokenStatus, Verb},
        conditions::Reason,
        names,
    },
    issuers::builtin,
    token_value::{self, TokenValue},
};

/// How soon something that passes by itself is looked at again.
const SOON: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);
/// How long something that passes by itself is not worth a write.
const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);
/// How long somebody else's announced token may take to come, beyond the propagation delay.
const OTHERS_TIME: jiff::SignedDuration = jiff::SignedDuration::from_secs(5);
/// How far ahead another node's clock may be.
const CLOCK_SKEW: jiff::SignedDuration = jiff::SignedDuration::from_mins(5);
/// How often a Secret that is not ours is looked at again: we see no change of it.
const CONFLICT_RECHECK: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Decides for a token that is to be in `state`: Active or Suspended.
pub fn decide(observed: &Observed, state: ObservedState) -> Plan {
    if let Some(refusal) = checks::first(observed) {
        return refused(observed, state, &refusal);
    }
    if let Some(failure) = &observed.failure {
        let mut draft = Draft::new(observed);
        honour_suspension(observed, state, &mut draft);
        return draft.failed(&failure.message);
    }
    if let Some(retry_at) = pause_after_failure(observed) {
        return Draft::new(observed).rest(Some(retry_at));
    }
    match &observed.secret {
        ObservedSecret::Unchanged if is_recorded(observed) => settled(observed, state, None, current(observed)),
        ObservedSecret::Unchanged => Plan::Step(Step::ReadSecret),
        ObservedSecret::Absent => absent(observed, state),
        ObservedSecret::Found(found) => with_secret(observed, state, found),
    }
}

/// The token that the status names.
fn current(observed: &Observed) -> Option<&TokenStatus> {
    observed.token.status.as_ref()?.token.as_ref()
}

fn pending(observed: &Observed) -> Option<&Pending> {
    observed.token.status.as_ref()?.pending.as_ref()
}

/// Whether the Secret was found as the present spec declares it, with a token that works or can.
fn is_recorded(observed: &Observed) -> bool {
    let status = observed.token.status.as_ref();
    status.is_some_and(|status| status.token.is_some() && status.pending.is_none()) && !has_expired(observed) && checks::is_synced(observed)
}

/// When the next try is due, where the last one failed and the spec is the same since.
fn pause_after_failure(observed: &Observed) -> Option<Timestamp> {
    let status = observed.token.status.as_ref()?;
    let Time(retry_at) = status.failures.as_ref()?.next_retry_at.as_ref()?;
    let same_spec = status.observed_generation == observed.token.metadata.generation;
    (same_spec && *retry_at > observed.now).then_some(*retry_at)
}

/// Something stands in the way: what there is stays, and a suspension is honoured all the same.
fn refused(observed: &Observed, state: ObservedState, refusal: &Refusal) -> Plan {
    let age = observed
        .token
        .metadata
        .creation_timestamp
        .as_ref()
        .map(|Time(at)| observed.now.duration_since(*at));
    if refusal.passing && age.is_some_and(|age| age < PATIENCE) {
        return Plan::unchanged(observed, Some(schedule::later(observed.now, SOON)));
    }
    let mut draft = Draft::new(observed);
    honour_suspension(observed, state, &mut draft);
    if matches!(refusal.reason, Reason::IssuerNotFound | Reason::NamespaceNotAllowed) && current(observed).is_some() {
        draft.active(
            false,
            Reason::Pending,
            "not accepted until its issuer is there and allows this namespace",
        );
    }
    draft.not_ready(refusal.reason, refusal.message.clone());
    let again = if refusal.passing {
        Some(schedule::later(observed.now, SOON))
    } else {
        None
    };
    draft.rest(again.or_else(|| end_of_current(observed)))
}

/// Brings the state of an existing token to what is declared, whatever else stands in the way; a
/// value that was ended stays so.
fn honour_suspension(observed: &Observed, state: ObservedState, draft: &mut Draft<'_>) {
    if current(observed).is_some() && !has_expired(observed) {
        draft.state(state);
    }
}

fn end_of_current(observed: &Observed) -> Option<Timestamp> {
    let issued_at = current(observed)?.issued_at.as_ref()?.0;
    schedule::end(&observed.token.spec, Some(issued_at))
}

fn absent(observed: &Observed, state: ObservedState) -> Plan {
    match current(observed) {
        None => first_token(observed, state, None),
        Some(_) if state == ObservedState::Suspended => lost_while_suspended(observed),
        Some(_) => replace(observed, None, "SecretMissing"),
    }
}

fn with_secret(observed: &Observed, state: ObservedState, found: &FoundSecret) -> Plan {
    if found.ownership(&observed.token) == Ownership::Foreign {
        return conflict(
            observed,
            state,
            "is not of this ApiToken: choose another spec.secret.name, or delete that Secret",
        );
    }
    if found.object().type_.as_deref().unwrap_or("Opaque") != observed.token.spec.secret.type_ {
        return conflict(
            observed,
            state,
            "has another type than spec.secret.type: delete it, or choose another spec.secret.name",
        );
    }
    if let Some((record, value)) = held_token(observed, found) {
        return keep(observed, state, found, &record, &value);
    }
    match current(observed) {
        None => first_token(observed, state, Some(found)),
        Some(_) if state == ObservedState::Suspended => lost_while_suspended(observed),
        Some(_) if has_expired(observed) => replace(observed, Some(found), "LaterEnd"),
        Some(_) => replace(observed, Some(found), "ValueChanged"),
    }
}

/// The token whose value the Secret holds, if it may be the current one: the one just made, the one
/// announced, the recorded one, or, where nothing is recorded, one that was made before a crash or
/// by a former object of this name.
fn held_token(observed: &Observed, found: &FoundSecret) -> Option<(TokenStatus, TokenValue)> {
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
    }) = pending(observed)
        && let Some(value) = value_with_hash(observed, found, hash)
    {
        return Some((record(observed, &token_id(observed, *attempt), started_at.0, &value), value));
    }
    match current(observed) {
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
fn record(observed: &Observed, id: &str, issued_at: Timestamp, value: &TokenValue) -> TokenStatus {
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

/// The Secret holds the token: all else in it is put right, then the status names it.
fn keep(observed: &Observed, state: ObservedState, found: &FoundSecret, record: &TokenStatus, value: &TokenValue) -> Plan {
    match secret::desired(&observed.token, record, value, Some(found)) {
        Err(error) => refused(observed, state, &template_refusal(&error)),
        Ok(desired) if desired.changes.is_empty() => settled(observed, state, Some(found), Some(record)),
        Ok(desired) => Plan::Step(Step::UpdateSecret {
            secret: desired.secret,
            changes: desired.changes,
        }),
    }
}

fn template_refusal(error: &super::template::TemplateError) -> Refusal {
    Refusal {
        reason: Reason::TemplateInvalid,
        message: format!("{error}: correct the template"),
        passing: false,
    }
}

/// A first token: made, written, and only then recorded.
fn first_token(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>) -> Plan {
    if let Some(other) = observed.secret_promised_to.as_ref().filter(|_| found.is_none()) {
        let why = format!("is declared by the older ApiToken {other:?} too: choose another spec.secret.name");
        return conflict(observed, state, &why);
    }
    match &observed.fresh {
        None => issue(observed),
        Some(fresh) => {
            let record = record(observed, &fresh.id, fresh.issued_at, &fresh.value);
            write(observed, state, &record, &fresh.value, found)
        }
    }
}

fn issue(observed: &Observed) -> Plan {
    let attempts = observed.token.status.as_ref().and_then(|status| status.attempts).unwrap_or(0);
    Plan::Step(Step::IssueToken { attempt: attempts + 1 })
}

fn write(observed: &Observed, state: ObservedState, record: &TokenStatus, value: &TokenValue, found: Option<&FoundSecret>) -> Plan {
    match (secret::desired(&observed.token, record, value, found), found) {
        (Err(error), _) => refused(observed, state, &template_refusal(&error)),
        (Ok(desired), None) => Plan::Step(Step::CreateSecret(desired.secret)),
        (Ok(desired), Some(_)) => Plan::Step(Step::UpdateSecret {
            secret: desired.secret,
            changes: desired.changes,
        }),
    }
}

/// A token made anew for one that got lost: announced in the status, and written once verifiers had
/// time to learn of it.
fn replace(observed: &Observed, found: Option<&FoundSecret>, why: &'static str) -> Plan {
    if let Some(refusal) = observed
        .issuer
        .as_ref()
        .ok()
        .filter(|i| i.readiness == super::IssuerReadiness::Deleting)
        .map(checks::deleting)
    {
        return refused(observed, ObservedState::Active, &refusal);
    }
    match (&observed.fresh, pending(observed)) {
        (Some(fresh), Some(announced)) if announced.hash.as_deref() == Some(&fresh.value.hash()) => {
            let due = schedule::later(announced.started_at.0, observed.propagation_delay);
            if due > observed.now {
                return Plan::unchanged(observed, Some(due));
            }
            let record = record(observed, &fresh.id, fresh.issued_at, &fresh.value);
            write(observed, ObservedState::Active, &record, &fresh.value, found)
        }
        (_, Some(announced)) if others_turn(observed, announced) > observed.now => {
            Plan::unchanged(observed, Some(others_turn(observed, announced)))
        }
        (Some(fresh), _) => announce(observed, fresh, why),
        (None, _) => match schedule::next_issue(last_issue(observed)) {
            due if due > observed.now => Plan::unchanged(observed, Some(due)),
            _ => issue(observed),
        },
    }
}

/// Until when a token that somebody else announced may still come: another operator that believes to
/// lead, or this one before a crash. Without that turn two would announce over each other for ever.
fn others_turn(observed: &Observed, announced: &Pending) -> Timestamp {
    let written_by = schedule::later(announced.started_at.0, observed.propagation_delay);
    schedule::later(written_by, OTHERS_TIME)
}

fn last_issue(observed: &Observed) -> Timestamp {
    let issued = current(observed).and_then(|token| token.issued_at.as_ref());
    let begun = pending(observed).map(|pending| &pending.started_at);
    issued.into_iter().chain(begun).map(|Time(at)| *at).max().unwrap_or(Timestamp::MIN)
}

fn announce(observed: &Observed, fresh: &crate::issuers::IssuedToken, why: &'static str) -> Plan {
    let mut draft = Draft::new(observed);
    let attempt = draft.status.attempts.unwrap_or(0) + 1;
    draft.status.attempts = Some(attempt);
    draft.status.pending = Some(Pending {
        attempt,
        verb: Verb::Create,
        name: None,
        base: None,
        hash: Some(fresh.value.hash()),
        before: Vec::new(),
        expires_at: schedule::end(&observed.token.spec, Some(fresh.issued_at)).map(Time),
        started_at: Time(observed.now),
        reason: why.to_owned(),
    });
    draft.not_ready(Reason::Progressing, format!("a new token is being issued ({why})"));
    draft.secret_synced(false, Reason::Missing, format!("the Secret gets a new value ({why})"));
    draft.rest(Some(schedule::later(observed.now, observed.propagation_delay)))
}

/// Nothing is issued while a token is suspended; what is due follows when it is activated.
fn lost_while_suspended(observed: &Observed) -> Plan {
    let mut draft = Draft::new(observed);
    draft.state(ObservedState::Suspended);
    draft.secret_synced(
        false,
        Reason::Missing,
        "the value is lost: a new token is issued when this one is activated",
    );
    draft.ready("the token is suspended, as declared; its value is lost and is issued anew when it is activated");
    draft.rest(end_of_current(observed))
}

fn conflict(observed: &Observed, state: ObservedState, why: &str) -> Plan {
    let mut draft = Draft::new(observed);
    honour_suspension(observed, state, &mut draft);
    let message = format!("the Secret {:?} {why}", secret::name(&observed.token));
    draft.secret_synced(false, Reason::SecretConflict, message.clone());
    draft.not_ready(Reason::SecretConflict, message);
    draft.rest(Some(schedule::later(observed.now, CONFLICT_RECHECK)))
}

/// All is as declared.
fn settled(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, token: Option<&TokenStatus>) -> Plan {
    let Some(token) = token else {
        return Plan::Step(Step::ReadSecret);
    };
    let mut draft = Draft::new(observed);
    tell_issue(observed, &mut draft, token);
    tell_repair(observed, &mut draft);
    draft.token(token.clone());
    draft.state(state);
    if let Some(found) = found {
        draft.secret_ref(found.resource_version());
    }
    let secret = secret::name(&observed.token);
    draft.secret_synced(true, Reason::Synced, format!("Secret {secret} is as declared"));
    let id = token.id.as_deref().unwrap_or_default();
    draft.ready(match state {
        ObservedState::Suspended => format!("token {id} is suspended, as declared"),
        _ => format!("token {id} is active; its value is in Secret {secret}"),
    });
    let end = token.expires_at.as_ref().map(|Time(at)| *at);
    draft.rest(end)
}

/// Records and tells that another token is current than before.
fn tell_issue(observed: &Observed, draft: &mut Draft<'_>, token: &TokenStatus) {
    let id = token.id.as_deref().unwrap_or_default();
    let (secret, key) = (secret::name(&observed.token), &observed.token.spec.secret.key);
    let before = current(observed);
    let announced = draft.status.pending.take();
    match before {
        Some(before) if before.hash == token.hash => {}
        Some(before) => {
            let old = before.id.as_deref().unwrap_or_default();
            let why = announced.map_or_else(|| "Replaced".to_owned(), |pending| pending.reason);
            draft.status.rotations = Some(draft.status.rotations.unwrap_or(0) + 1);
            draft.status.last_rotation_at = Some(Time(observed.now));
            draft.notice(
                false,
                "Rotated",
                format!("Token {id} replaced {old} ({why}); its value is in Secret {secret}, key {key}"),
            );
        }
        None => {
            draft.status.attempts = Some(draft.status.attempts.unwrap_or(0).max(1));
            draft.notice(
                false,
                "Issued",
                format!("Issued token {id}; its value is in Secret {secret}, key {key}"),
            );
        }
    }
}

/// Tells what was put right in a Secret that held the current token all the time.
fn tell_repair(observed: &Observed, draft: &mut Draft<'_>) {
    let issued_before = current(observed).is_some() && pending(observed).is_none();
    if issued_before && !observed.repaired.is_empty() {
        let secret = secret::name(&observed.token);
        draft.notice(
            false,
            "SecretUpdated",
            format!("Put right in Secret {secret}: {}", observed.repaired.join(", ")),
        );
    }
}
