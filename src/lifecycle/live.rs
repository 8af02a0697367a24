//! A token that is to work, or to be held back for now: it is issued, and its Secret kept as declared.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    checks::{self, Refusal},
    has_expired, held,
    observed::{FoundSecret, Observed, ObservedSecret, Ownership},
    plan::{Plan, Step},
    replacement, schedule, secret,
    status::Draft,
    template::TemplateError,
};
use crate::{
    api::{
        api_token::{ObservedState, TokenStatus},
        conditions::Reason,
    },
    token_value::TokenValue,
};

/// How soon something that passes by itself is looked at again.
const SOON: SignedDuration = SignedDuration::from_secs(2);
/// How long something that passes by itself is not worth a write.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// How often a Secret that is not ours is looked at again: we see no change of it.
const CONFLICT_RECHECK: SignedDuration = SignedDuration::from_secs(60);

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
        ObservedSecret::Unchanged => match observed.current().filter(|_| is_recorded(observed)) {
            Some(token) => settled(observed, state, None, token),
            None => Plan::Step(Step::ReadSecret),
        },
        ObservedSecret::Absent => absent(observed, state),
        ObservedSecret::Found(found) => with_secret(observed, state, found),
    }
}

/// Whether the Secret was found as the present spec declares it, with a token that works or can.
fn is_recorded(observed: &Observed) -> bool {
    observed.pending().is_none() && !has_expired(observed) && checks::is_synced(observed)
}

/// When the next try is due, where the last one failed and the spec is the same since.
fn pause_after_failure(observed: &Observed) -> Option<Timestamp> {
    let status = observed.token.status.as_ref()?;
    let Time(retry_at) = status.failures.as_ref()?.next_retry_at.as_ref()?;
    let same_spec = status.observed_generation == observed.token.metadata.generation;
    (same_spec && *retry_at > observed.now).then_some(*retry_at)
}

/// Something stands in the way: what there is stays, and a suspension is honoured all the same.
pub fn refused(observed: &Observed, state: ObservedState, refusal: &Refusal) -> Plan {
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
    if matches!(refusal.reason, Reason::IssuerNotFound | Reason::NamespaceNotAllowed) && observed.current().is_some() {
        draft.active(
            false,
            Reason::Pending,
            "not accepted until its issuer is there and allows this namespace",
        );
    }
    draft.not_ready(refusal.reason, refusal.message.clone());
    let again = refusal.passing.then(|| schedule::later(observed.now, SOON));
    draft.rest(again.or_else(|| end_of_current(observed)))
}

/// Brings the state of an existing token to what is declared, whatever else stands in the way; a
/// value that was ended stays so.
fn honour_suspension(observed: &Observed, state: ObservedState, draft: &mut Draft<'_>) {
    if observed.current().is_some() && !has_expired(observed) {
        draft.state(state);
    }
}

fn end_of_current(observed: &Observed) -> Option<Timestamp> {
    let issued_at = observed.current()?.issued_at.as_ref()?.0;
    schedule::end(&observed.token.spec, Some(issued_at))
}

fn absent(observed: &Observed, state: ObservedState) -> Plan {
    match observed.current() {
        None => first_token(observed, state, None),
        Some(_) if state == ObservedState::Suspended => lost_while_suspended(observed),
        Some(_) => replacement::decide(observed, None, "SecretMissing"),
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
    if let Some((record, value)) = held::token_in(observed, found) {
        return keep(observed, state, found, &record, &value);
    }
    match observed.current() {
        None => first_token(observed, state, Some(found)),
        Some(_) if state == ObservedState::Suspended => lost_while_suspended(observed),
        Some(_) if has_expired(observed) => replacement::decide(observed, Some(found), "LaterEnd"),
        Some(_) => replacement::decide(observed, Some(found), "ValueChanged"),
    }
}

/// The Secret holds the token: all else in it is put right, then the status names it.
fn keep(observed: &Observed, state: ObservedState, found: &FoundSecret, record: &TokenStatus, value: &TokenValue) -> Plan {
    match secret::desired(&observed.token, record, value, Some(found)) {
        Err(error) => refused(observed, state, &template_refusal(&error)),
        Ok(desired) if desired.changes.is_empty() => settled(observed, state, Some(found), record),
        Ok(desired) => Plan::Step(Step::UpdateSecret {
            secret: desired.secret,
            changes: desired.changes,
        }),
    }
}

fn template_refusal(error: &TemplateError) -> Refusal {
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
            let record = held::record(observed, &fresh.id, fresh.issued_at, &fresh.value);
            write(observed, state, &record, &fresh.value, found)
        }
    }
}

pub fn issue(observed: &Observed) -> Plan {
    let attempts = observed.token.status.as_ref().and_then(|status| status.attempts).unwrap_or(0);
    Plan::Step(Step::IssueToken { attempt: attempts + 1 })
}

pub fn write(observed: &Observed, state: ObservedState, record: &TokenStatus, value: &TokenValue, found: Option<&FoundSecret>) -> Plan {
    match (secret::desired(&observed.token, record, value, found), found) {
        (Err(error), _) => refused(observed, state, &template_refusal(&error)),
        (Ok(desired), None) => Plan::Step(Step::CreateSecret(desired.secret)),
        (Ok(desired), Some(_)) => Plan::Step(Step::UpdateSecret {
            secret: desired.secret,
            changes: desired.changes,
        }),
    }
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
fn settled(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, token: &TokenStatus) -> Plan {
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
    let before = observed.current();
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
    let issued_before = observed.current().is_some() && observed.pending().is_none();
    if issued_before && !observed.repaired.is_empty() {
        let secret = secret::name(&observed.token);
        draft.notice(
            false,
            "SecretUpdated",
            format!("Put right in Secret {secret}: {}", observed.repaired.join(", ")),
        );
    }
}
