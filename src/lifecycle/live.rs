//! A token that is to work, or to be held back for now: it is issued, and its Secret kept as declared.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    adoption,
    checks::{self, Refusal},
    has_expired, held, intent, moving,
    observed::{FoundSecret, Observed, ObservedSecret, Ownership},
    plan::{Plan, Step},
    remote::{self, Readable},
    replacement,
    rotation::{self, Cause},
    schedule, secret,
    status::{self, Draft},
    template::TemplateError,
};
use crate::{
    api::{
        api_token::{ObservedState, TokenStatus},
        conditions::{self, ConditionType, Reason, Truth},
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
    if let Some(plan) = remote::upkeep(observed, state) {
        return plan;
    }
    if let Some(refusal) = checks::first(observed) {
        return refused(observed, state, &refusal);
    }
    if let Some(failure) = &observed.failure {
        let mut draft = Draft::new(observed);
        honour_suspension(observed, state, &mut draft);
        return draft.failed(failure);
    }
    if let Some(retry_at) = pause_after_failure(observed) {
        return Draft::new(observed).rest(retry_at);
    }
    match &observed.secret {
        ObservedSecret::Unchanged => match observed.current().filter(|token| is_recorded(observed, state, token)) {
            Some(token) => settled(observed, state, None, token),
            None => Plan::Step(Step::ReadSecret),
        },
        ObservedSecret::Absent => absent(observed, state),
        ObservedSecret::Found(found) => with_secret(observed, state, found),
    }
}

/// Whether the Secret was found as the present spec declares it, with a token that works or can, and
/// nothing is due that changes it.
fn is_recorded(observed: &Observed, state: ObservedState, token: &TokenStatus) -> bool {
    let rotates = state == ObservedState::Active && (rotation::due(observed).is_some() || observed.pending().is_some());
    let shows_ended =
        observed.token.spec.secret.include_previous && observed.previous().iter().any(|previous| rotation::is_over(observed, previous));
    let missing = observed.is_remote() && remote::is_gone(observed, token.id.as_deref());
    !rotates && !shows_ended && !missing && !has_expired(observed) && checks::is_synced(observed) && !moving::is_due(observed)
}

/// When the next try is due, where the last one failed and nothing changed since that could heal it;
/// the inner value is absent where only such a change heals it.
pub fn pause_after_failure(observed: &Observed) -> Option<Option<Timestamp>> {
    let failures = observed.status()?.failures.as_ref()?;
    let unchanged = observed.is_of_this_generation() && failures.situation == status::situation(observed);
    let retry_at = failures.next_retry_at.as_ref().map(|Time(at)| *at);
    let counts = schedule::is_credible(failures.last_at.0, observed.now);
    let waits = retry_at.is_none_or(|retry_at| counts && retry_at > observed.now);
    (unchanged && waits).then_some(retry_at)
}

/// Something stands in the way: what there is stays, and a suspension is honoured all the same.
pub fn refused(observed: &Observed, state: ObservedState, refusal: &Refusal) -> Plan {
    refused_until(observed, state, refusal, end_of_current(observed))
}

/// The same, to be looked at again at that time.
pub fn refused_until(observed: &Observed, state: ObservedState, refusal: &Refusal, look_again_at: Option<Timestamp>) -> Plan {
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
    unaccepted(observed, refusal.reason, &mut draft);
    draft.not_ready(refusal.reason, refusal.message.clone());
    // What stands in the way keeps it from being replaced too.
    let warning = if draft.status.state == Some(ObservedState::Active) {
        draft.warn_of_end()
    } else {
        None
    };
    let look_again_at = look_again_at.into_iter().chain(warning).min();
    let again = refusal.passing.then(|| schedule::later(observed.now, SOON));
    draft.rest(again.or(look_again_at))
}

/// Verifiers accept no token of an issuer that is gone or does not allow the namespace. A vendor knows nothing of that, and without
/// the issuer nobody can ask it.
fn unaccepted(observed: &Observed, reason: Reason, draft: &mut Draft<'_>) {
    if observed.current().is_none() {
        return;
    }
    let works = conditions::is_true(&draft.status.conditions, ConditionType::Active);
    match (reason, observed.is_remote()) {
        (Reason::IssuerNotFound | Reason::NamespaceNotAllowed, false) => draft.active(
            false,
            Reason::Pending,
            "not accepted until its issuer is there and allows this namespace",
        ),
        (Reason::IssuerNotFound, true) if works => draft.active(
            Truth::Unknown,
            Reason::IssuerNotFound,
            "it worked when its issuer was last asked, and the vendor may still accept it: create the issuer again",
        ),
        _ => {}
    }
}

/// Brings the state of an existing token to what is declared, whatever else stands in the way; a
/// value that was ended stays so.
pub fn honour_suspension(observed: &Observed, state: ObservedState, draft: &mut Draft<'_>) {
    let done = !observed.is_remote() || remote::shows(observed, state);
    if observed.current().is_some() && !has_expired(observed) && done {
        draft.state(state);
    }
}

pub fn end_of_current(observed: &Observed) -> Option<Timestamp> {
    let issued_at = observed.current()?.issued_at.as_ref()?.0;
    schedule::end(&observed.token.spec, Some(issued_at))
}

fn absent(observed: &Observed, state: ObservedState) -> Plan {
    if let Some(plan) = moving::decide(observed, state, None) {
        return plan;
    }
    let Some(token) = observed.current() else {
        return first_token(observed, state, None);
    };
    without_value(observed, state, None, token, Cause::SecretMissing)
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
    if let Some(held) = held::token_in(observed, found) {
        return with_value(observed, state, found, &held);
    }
    if let Some(plan) = moving::decide(observed, state, Some(found)) {
        return plan;
    }
    match observed.current() {
        None => first_token(observed, state, Some(found)),
        Some(token) => without_value(observed, state, Some(found), token, Cause::ValueChanged),
    }
}

/// The Secret holds a token that may be current: the recorded one, or the next.
fn with_value(observed: &Observed, state: ObservedState, found: &FoundSecret, (record, value): &(TokenStatus, TokenValue)) -> Plan {
    let is_current = observed
        .current()
        .is_some_and(|current| (&current.id, &current.hash) == (&record.id, &record.hash));
    if is_current && state == ObservedState::Active {
        if observed.is_remote() && remote::is_gone(observed, record.id.as_deref()) {
            return replacement::decide(observed, Some(found), Cause::TokenMissing);
        }
        // A replacement that has begun is brought to its end, whatever made it due.
        if let Some(cause) = rotation::due(observed).or_else(|| observed.pending().map(|_| Cause::ValueChanged)) {
            return replacement::decide(observed, Some(found), cause);
        }
    }
    keep(observed, state, found, record, value)
}

/// The Secret does not hold the recorded token, nor the next.
fn without_value(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, token: &TokenStatus, lost: Cause) -> Plan {
    if state == ObservedState::Suspended {
        return lost_while_suspended(observed);
    }
    if has_expired(observed) {
        return replacement::decide(observed, found, rotation::asked_for(observed).unwrap_or(Cause::LaterEnd));
    }
    if let Some(cause) = rotation::due(observed) {
        return replacement::decide(observed, found, cause);
    }
    if observed.pending().is_some() {
        return replacement::decide(observed, found, lost);
    }
    match remote::readable(observed, token) {
        Readable::Ask => Plan::Step(Step::ListTokens),
        Readable::Value(value) if !found.is_some_and(|found| held::is_ended(found, &value.hash())) => {
            write(observed, state, token, &value, found)
        }
        Readable::No if token.hash.is_none() => adoption::value_unknown(observed, state),
        Readable::No | Readable::Value(_) => replacement::decide(observed, found, lost),
    }
}

/// The Secret holds the token: all else in it is put right, then the status names it.
pub fn keep(observed: &Observed, state: ObservedState, found: &FoundSecret, record: &TokenStatus, value: &TokenValue) -> Plan {
    match secret::desired(observed, record, value, Some(found)) {
        Err(error) => refused(observed, state, &template_refusal(&error)),
        Ok(desired) if desired.changes.is_empty() => settled(observed, state, Some(found), record),
        Ok(desired) => Plan::Step(Step::UpdateSecret {
            secret: desired.secret,
            changes: desired.changes,
            brings_value: false,
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
    if observed.token.spec.adopt.is_some() && !has_been_adopted(observed) {
        return adoption::decide(observed, state, found);
    }
    if observed.is_remote() {
        return replacement::at_issuer(observed, state, found, Cause::First);
    }
    match intent::usable(observed) {
        None => issue(observed),
        Some(fresh) => write(observed, state, &held::record(observed, fresh), &fresh.value, found),
    }
}

/// A token is taken over once; what follows after it was withdrawn is a new one.
fn has_been_adopted(observed: &Observed) -> bool {
    observed.status().and_then(|status| status.attempts).unwrap_or(0) > 0
}

pub fn issue(observed: &Observed) -> Plan {
    Plan::Step(Step::IssueToken {
        attempt: status::next_attempt(observed.status()),
    })
}

pub fn write(observed: &Observed, state: ObservedState, record: &TokenStatus, value: &TokenValue, found: Option<&FoundSecret>) -> Plan {
    match (secret::desired(observed, record, value, found), found) {
        (Err(error), _) => refused(observed, state, &template_refusal(&error)),
        (Ok(desired), None) => Plan::Step(Step::CreateSecret(desired.secret)),
        (Ok(desired), Some(_)) => Plan::Step(Step::UpdateSecret {
            secret: desired.secret,
            changes: desired.changes,
            brings_value: true,
        }),
    }
}

/// Nothing is issued while a token is suspended; what is due follows when it is activated.
fn lost_while_suspended(observed: &Observed) -> Plan {
    let mut draft = Draft::new(observed);
    draft.drop_ended();
    draft.state(ObservedState::Suspended);
    draft.secret_synced(
        false,
        Reason::Missing,
        "the value is lost: a new token is issued when this one is activated",
    );
    draft.ready("the token is suspended, as declared; its value is lost and is issued anew when it is activated");
    draft.rest(end_of_current(observed))
}

pub fn conflict(observed: &Observed, state: ObservedState, why: &str) -> Plan {
    let mut draft = Draft::new(observed);
    draft.drop_ended();
    honour_suspension(observed, state, &mut draft);
    let message = format!("the Secret {:?} {why}", secret::name(&observed.token));
    draft.secret_synced(false, Reason::SecretConflict, message.clone());
    draft.not_ready(Reason::SecretConflict, message);
    draft.rest(Some(schedule::later(observed.now, CONFLICT_RECHECK)))
}

/// All is as declared.
fn settled(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, token: &TokenStatus) -> Plan {
    if let Some(plan) = moving::finish(observed) {
        return plan;
    }
    let mut draft = Draft::new(observed);
    draft.drop_ended();
    draft.tell_move();
    draft.promote(token);
    tell_repair(observed, &mut draft);
    draft.token(token.clone());
    draft.state(state);
    if let Some(found) = found {
        draft.secret_ref(found);
    }
    let secret = secret::name(&observed.token);
    draft.secret_synced(true, Reason::Synced, format!("Secret {secret} is as declared"));
    let id = token.id.as_deref().unwrap_or_default();
    draft.ready(match state {
        ObservedState::Suspended => format!("token {id} is suspended, as declared"),
        _ => format!("token {id} is active; its value is in Secret {secret}"),
    });
    let look_again_at = draft.next_date(state);
    draft.rest(look_again_at)
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
