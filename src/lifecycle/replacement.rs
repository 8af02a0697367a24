//! A token that is to be made, beside one that is to be replaced or as the first.
//!
//! At the built-in issuer a replacement is announced in the status and written to the Secret once
//! verifiers had time to learn of it. At any other issuer the intent is written before the call.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    checks, held, intent, live,
    observed::{FoundSecret, Observed},
    plan::{Plan, Step},
    rotation::{self, Cause},
    schedule,
    status::Draft,
};
use crate::{
    api::{
        api_token::{ObservedState, Pending, PreviousToken, Verb},
        bounds,
    },
    issuers::IssuedToken,
};

/// How long somebody else's announced token may take to come, beyond the propagation delay.
pub const OTHERS_TIME: SignedDuration = SignedDuration::from_secs(5);
/// How long a value stays accepted over which another was announced, if that other never comes.
const OVERTAKEN_TIME: SignedDuration = SignedDuration::from_hours(24);

/// Decides for a token that needs another value; the cause is kept with the announcement.
pub fn decide(observed: &Observed, found: Option<&FoundSecret>, cause: Cause) -> Plan {
    if let Ok(issuer) = &observed.issuer
        && let Some(refusal) = checks::makes_none(issuer)
    {
        if refusal.passing {
            return Plan::unchanged(observed, Some(schedule::later(observed.now, OTHERS_TIME)));
        }
        return live::refused(observed, ObservedState::Active, &refusal);
    }
    if observed.is_remote() {
        return at_issuer(observed, ObservedState::Active, found, cause);
    }
    match (intent::usable(observed), observed.pending()) {
        (Some(fresh), Some(announced)) if announced.hash.as_deref() == Some(&fresh.value.hash()) => {
            let known_since = fresh
                .announced_at
                .map_or(announced.started_at.0, |at| at.max(announced.started_at.0));
            let due = schedule::later(known_since, barrier(observed));
            if due > observed.now && schedule::is_credible(known_since, observed.now) {
                return Plan::unchanged(observed, Some(due));
            }
            let record = held::record(observed, fresh);
            live::write(observed, ObservedState::Active, &record, &fresh.value, found)
        }
        (_, Some(announced)) if others_turn(observed, announced) > observed.now => {
            Plan::unchanged(observed, Some(others_turn(observed, announced)))
        }
        (Some(fresh), _) => announce(observed, fresh, cause),
        (None, _) => match next_issue(observed) {
            due if due > observed.now => Plan::unchanged(observed, Some(due)),
            _ => live::issue(observed),
        },
    }
}

/// Verifiers get this long to learn of the coming value; none where the old one has leaked.
fn barrier(observed: &Observed) -> SignedDuration {
    if rotation::is_leak(observed) {
        return SignedDuration::ZERO;
    }
    observed.terms.propagation_delay
}

/// Until when a token that somebody else announced may still come: another operator that believes to
/// lead, or this one before a crash. Without that turn two would announce over each other for ever.
fn others_turn(observed: &Observed, announced: &Pending) -> Timestamp {
    let Time(started_at) = announced.started_at;
    if !schedule::is_credible(started_at, observed.now) {
        return Timestamp::MIN;
    }
    schedule::later(schedule::later(started_at, barrier(observed)), OTHERS_TIME)
}

/// When the next token may be made: a bound that holds whatever happens.
fn next_issue(observed: &Observed) -> Timestamp {
    let issued = observed.current().and_then(|token| token.issued_at.as_ref());
    let begun = observed.pending().map(|pending| &pending.started_at);
    let failed = observed
        .status()
        .and_then(|status| status.failures.as_ref())
        .map(|failures| &failures.last_at);
    let times = issued.into_iter().chain(begun).chain(failed).map(|Time(at)| *at);
    let last = times.filter(|at| schedule::is_credible(*at, observed.now)).max();
    last.map_or(Timestamp::MIN, schedule::next_issue)
}

fn announce(observed: &Observed, fresh: &IssuedToken, cause: Cause) -> Plan {
    let mut draft = Draft::new(observed);
    let before = observed.pending();
    if let Some(overtaken) = before.and_then(|before| overtaken(observed, before)) {
        draft.push_previous(overtaken);
    }
    draft.status.pending = Some(Box::new(Pending {
        attempt: draft.next_attempt(),
        verb: Verb::Create,
        name: None,
        account: None,
        parameters_hash: None,
        parameters: None,
        base: None,
        hash: Some(fresh.value.hash()),
        before: Vec::new(),
        expires_at: schedule::end(&observed.token.spec, Some(fresh.issued_at)).map(Time),
        started_at: Time(observed.now),
        reason: before.map_or_else(|| cause.as_str().to_owned(), |before| before.reason.clone()),
        request: rotation::new_request(observed),
    }));
    draft.begins(cause);
    let delay = if rotation::begins_for_leak(observed) {
        SignedDuration::ZERO
    } else {
        observed.terms.propagation_delay
    };
    draft.rest(Some(schedule::later(observed.now, delay)))
}

/// An announced value that somebody else may be about to write: it stays accepted until the one that is
/// announced over it has become current.
fn overtaken(observed: &Observed, before: &Pending) -> Option<PreviousToken> {
    Some(PreviousToken {
        id: Some(held::token_id(observed, before.attempt)),
        hint: None,
        hash: Some(before.hash.clone()?),
        account: None,
        revoke_at: Time(schedule::later(observed.now, OVERTAKEN_TIME)),
        last_used_at: None,
    })
}

/// A token of an issuer that others run: finalizer, view, intent, call, Secret.
pub fn at_issuer(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, cause: Cause) -> Plan {
    if let Some(pending) = observed.pending() {
        return attempted(observed, state, found, pending);
    }
    let wait = next_issue(observed);
    if wait > observed.now {
        return Plan::unchanged(observed, Some(wait));
    }
    if observed.issuer.as_ref().is_ok_and(|issuer| issuer.busy) {
        return Plan::unchanged(observed, Some(schedule::later(observed.now, OTHERS_TIME)));
    }
    if !observed.is_held() {
        return Plan::Step(Step::AddFinalizer);
    }
    match observed.view.as_deref() {
        None => Plan::Step(Step::ListTokens),
        Some(_) if overlaps_are_full(observed) => Plan::Step(end_the_first(observed)),
        Some(view) => Plan::Step(intent::announce(observed, view, cause)),
    }
}

fn attempted(observed: &Observed, state: ObservedState, found: Option<&FoundSecret>, pending: &Pending) -> Plan {
    let taken_up = intent::found(observed).filter(|_| intent::made(observed).is_none());
    match intent::made(observed).or(taken_up.as_ref()) {
        Some(token) if taken_up.is_some() || intent::last_write(observed, pending) >= observed.now => {
            live::write(observed, state, &held::record(observed, token), &token.value, found)
        }
        Some(_) => Plan::unchanged(observed, Some(schedule::later(observed.now, OTHERS_TIME))),
        None if observed.intent_in_hand == Some(pending.attempt) => Plan::Step(match &pending.base {
            Some(base) => Step::ResetToken { base: base.clone() },
            None => Step::CreateToken,
        }),
        None => Plan::unchanged(observed, Some(schedule::later(observed.now, OTHERS_TIME))),
    }
}

/// The list of replaced tokens is bounded: the one that ends first makes room before another is made.
fn overlaps_are_full(observed: &Observed) -> bool {
    let counting = observed
        .previous()
        .iter()
        .filter(|previous| rotation::still_counts(observed, previous));
    counting.count() >= bounds::PREVIOUS
}

fn end_the_first(observed: &Observed) -> Step {
    let mut draft = Draft::new(observed);
    if let Some(first) = draft.status.previous.first_mut() {
        first.revoke_at = Time(observed.now);
    }
    Step::WriteStatus(Box::new(draft.status))
}
