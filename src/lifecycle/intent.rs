//! The write-ahead record of a token that is about to be made at an issuer, and what becomes of it
//! when nobody knows whether the call made one.
//!
//! Whoever wrote an intent has until its hand-over to make the token and to write its Secret. Until
//! then nobody else touches what the attempt may have made; after it nobody writes its Secret.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    held,
    marker::{Marker, short_uid},
    moving,
    observed::Observed,
    plan::{Orphan, OrphanReason, Plan, Step},
    remote, rotation,
    rotation::Cause,
    schedule, secret,
    status::{self, Draft},
};
use crate::{
    api::{
        ApiTokenStatus,
        api_token::{DesiredState, Pending, Verb},
        bounds,
        conditions::Reason,
    },
    issuers::{IssuedToken, ListedState, ListedToken},
    token_value,
};

/// The call is sent within this time of the intent, else the intent is written again.
pub const TIME_TO_CALL: SignedDuration = SignedDuration::from_secs(5);
/// Beyond the issuer's own time limit: the Secret is written within it.
const TIME_TO_WRITE: SignedDuration = SignedDuration::from_secs(10);
/// Between the last moment of one and the first of another, for calls on their way.
const HAND_OVER: SignedDuration = SignedDuration::from_secs(15);
/// How often it is looked for what a lost call made.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// The share of a token's life that its end may come early, to tell it from others.
const NONCE_SHARE: i32 = 100;
/// The most of it.
const LONGEST_NONCE: SignedDuration = SignedDuration::from_mins(5);
/// The grace of a reset begins before the overlap does, and vendors state it roughly.
const RESET_MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// A vendor's times are to the second, its clock's and those of its tokens.
const VENDOR_CLOCK: SignedDuration = SignedDuration::from_secs(2);

/// Until when the attempt's own token may be written to the Secret.
pub fn last_write(observed: &Observed, pending: &Pending) -> Timestamp {
    let timeout = observed.issuer.as_ref().map_or(SignedDuration::ZERO, |issuer| issuer.timeout);
    schedule::later(schedule::later(pending.started_at.0, timeout), TIME_TO_WRITE)
}

/// From when on another may end what the attempt made.
fn hand_over(observed: &Observed, pending: &Pending) -> Timestamp {
    schedule::later(last_write(observed, pending), HAND_OVER)
}

/// The fresh token of the attempt that stands in the status.
pub fn made(observed: &Observed) -> Option<&IssuedToken> {
    observed.fresh.as_ref().filter(|fresh| is_attempt(observed, fresh))
}

/// Whether a fresh token is of the attempt that stands in the status.
pub fn is_attempt(observed: &Observed, fresh: &IssuedToken) -> bool {
    observed.pending().is_some_and(|pending| pending.attempt == fresh.attempt)
}

/// The token just made, where it may still become current: it is of the attempt that stands in the
/// status, or of the next one, which is not announced yet. Anything else was overtaken.
pub fn usable(observed: &Observed) -> Option<&IssuedToken> {
    observed.fresh.as_ref().filter(|fresh| {
        let not_announced = !observed.is_remote() && fresh.attempt == status::next_attempt(observed.status());
        is_attempt(observed, fresh) || not_announced
    })
}

/// Takes out the token that was made and waits in memory until a status names it, at the end of a pass
/// with that status, if it came to one. One of an issuer that others run is else left behind there, one
/// of the built-in issuer counts once it is announced.
pub fn take_waiting(observed: &mut Observed, status: Option<&ApiTokenStatus>) -> Option<IssuedToken> {
    let fresh = observed.fresh.take()?;
    let status = status.or(observed.status());
    let hash = fresh.value.hash();
    let announced = status.and_then(|status| status.pending.as_ref()?.hash.as_deref()) == Some(&hash);
    let named = status.and_then(|status| status.token.as_ref()?.hash.as_deref()) == Some(&hash);
    let ended = observed.view.is_some() && observed.listed(&fresh.id).is_none();
    (announced || (observed.is_remote() && !named && !ended)).then_some(fresh)
}

/// Whether an attempt is still to be brought to its end: a token that is held back is not replaced.
fn goes_on(observed: &Observed) -> bool {
    observed.token.spec.state == DesiredState::Active || observed.current().is_none()
}

/// Whether an attempt stands in the status of which this pass knows nothing more.
pub fn is_unresolved(observed: &Observed) -> bool {
    let Some(pending) = observed.pending() else {
        return false;
    };
    if !goes_on(observed) {
        return true;
    }
    observed.intent_in_hand != Some(pending.attempt) && (made(observed).is_none() || last_write(observed, pending) < observed.now)
}

/// What becomes of an attempt of which nothing is known: its token is found and taken up, or it is
/// ended and the attempt is given up. Nothing where the Secret is to be looked at first.
pub fn resolve(observed: &Observed, view: &[ListedToken]) -> Option<Plan> {
    let pending = observed.pending().filter(|_| is_unresolved(observed))?;
    let candidates: Vec<&ListedToken> = view.iter().filter(|token| is_candidate(observed, token)).collect();
    if !candidates.is_empty()
        && let Some(read) = moving::next_read(observed)
    {
        return Some(Plan::Step(read));
    }
    if let [only] = candidates.as_slice()
        && (is_held(observed, only) || (goes_on(observed) && only.value.is_some()))
    {
        return None;
    }
    if hand_over(observed, pending) > observed.now {
        return Some(waiting(observed));
    }
    if let Some(orphans) = indistinguishable(observed, view) {
        return Some(Plan::Step(Step::EnterLedger(orphans)));
    }
    let left = |token: &ListedToken| may_have_made(observed, token) && !is_held(observed, token);
    Some(Plan::Step(
        remote::next_end(observed, view, left).unwrap_or_else(|| given_up(observed)),
    ))
}

/// It may still turn up.
fn waiting(observed: &Observed) -> Plan {
    let mut draft = Draft::new(observed);
    draft.not_ready(
        Reason::OutcomeUnknown,
        "it is not known yet whether the issuer made a token: it is looked for, and tried again when it can't turn up any more",
    );
    draft.rest(Some(schedule::later(observed.now, LOOK_AGAIN)))
}

/// Whether a Secret already holds what the attempt made.
fn is_held(observed: &Observed, token: &ListedToken) -> bool {
    moving::any_secret(observed, |found| held::named_value(observed, found, &token.id).is_some())
}

/// Nothing is left of the attempt: the status is written without it.
fn given_up(observed: &Observed) -> Step {
    let mut status = observed.status().cloned().unwrap_or_default();
    status.pending = None;
    Step::WriteStatus(Box::new(status))
}

/// Tokens of which one may be what the attempt made, and nobody can tell which: none of them is
/// ended, all are written down.
pub fn indistinguishable(observed: &Observed, view: &[ListedToken]) -> Option<Vec<Orphan>> {
    if observed.capabilities()?.names || !is_unresolved(observed) {
        return None;
    }
    let candidates: Vec<Orphan> = view.iter().filter(|token| is_candidate(observed, token)).map(ambiguous).collect();
    (candidates.len() > 1).then_some(candidates)
}

/// Until when a call that nobody has an answer to may still make a token.
pub fn may_still_make(observed: &Observed) -> Option<Timestamp> {
    let pending = observed.pending().filter(|_| is_unresolved(observed))?;
    let until = hand_over(observed, pending);
    (until > observed.now).then(|| until.min(schedule::later(observed.now, LOOK_AGAIN)))
}

fn ambiguous(token: &ListedToken) -> Orphan {
    Orphan {
        id: token.id.clone(),
        name: token.name.clone(),
        account: token.account.clone(),
        reason: OrphanReason::Ambiguous,
    }
}

/// Whether the attempt may have made this token, and it works.
fn is_candidate(observed: &Observed, token: &ListedToken) -> bool {
    token.state != ListedState::Revoked && may_have_made(observed, token)
}

/// Whether the attempt in the status may have made this token.
pub fn may_have_made(observed: &Observed, token: &ListedToken) -> bool {
    let Some(pending) = observed.pending() else {
        return false;
    };
    let accounted_for = observed.orphaned.iter().any(|orphan| orphan.id == token.id);
    let has_names = observed.capabilities().is_some_and(|can| can.names);
    // Without a name a dead token may be anybody's, but for one that was just revoked.
    let is_dead = token.state == ListedState::Revoked && !has_names && !observed.revoked.contains(&token.id);
    if is_dead || remote::is_current(observed, token) || accounted_for {
        return false;
    }
    match (has_names, pending.verb) {
        (true, Verb::Create) => marker(observed, pending.attempt).is_in(token),
        (true, Verb::Reset) => remote::is_made_by_us(observed, token) && is_new(observed, pending, token),
        (false, _) => is_new(observed, pending, token),
    }
}

/// Whether the token was not there before the attempt, and nobody else accounts for it.
fn is_new(observed: &Observed, pending: &Pending, token: &ListedToken) -> bool {
    let began = pending.started_at.0.checked_sub(VENDOR_CLOCK).unwrap_or(pending.started_at.0);
    token.fits
        && !observed.was_replaced(token)
        && !observed.others_ids.contains(&token.id)
        && !pending.before.contains(&token_value::hash(token.id.as_bytes()))
        && observed.made_at(token).is_none_or(|made| made >= began)
}

impl Marker {
    fn is_in(&self, token: &ListedToken) -> bool {
        token.name.as_deref().and_then(Self::in_name).as_ref() == Some(self)
    }
}

fn marker(observed: &Observed, attempt: i64) -> Marker {
    Marker {
        cluster: observed.terms.cluster.clone(),
        uid: short_uid(&observed.token),
        attempt,
    }
}

/// The token that a lost answer spoke of, where the issuer shows its value.
pub fn found(observed: &Observed) -> Option<IssuedToken> {
    let pending = observed.pending()?;
    let token = observed.view.as_ref()?.iter().find(|token| is_candidate(observed, token))?;
    Some(IssuedToken {
        value: token.value.clone()?,
        id: token.id.clone(),
        name: token.name.clone(),
        attempt: pending.attempt,
        issued_at: pending.started_at.0,
        announced_at: None,
        expires_at: token.expires_at,
        details: token.details.clone(),
    })
}

/// The status with a new attempt in it, to be written before the issuer is called.
pub fn announce(observed: &Observed, view: &[ListedToken], cause: Cause) -> Step {
    let mut draft = Draft::new(observed);
    let attempt = draft.next_attempt();
    let base = base_of_reset(observed, view).filter(|_| cause != Cause::Changed);
    let capabilities = observed.capabilities().unwrap_or_default();
    let takes_name = capabilities.names || capabilities.update;
    if let (Some(_), Some(token)) = (&base, &mut draft.status.token) {
        token.reset_tried = true;
    }
    draft.status.pending = Some(Box::new(Pending {
        attempt,
        verb: if base.is_some() { Verb::Reset } else { Verb::Create },
        name: takes_name.then(|| marker(observed, attempt).name(&remote::display_name(observed), bounds::DISPLAY_NAME)),
        account: observed.token.spec.account.clone(),
        parameters_hash: secret::parameters_hash(&observed.token),
        parameters: observed.token.spec.parameters.clone().filter(|_| !capabilities.names),
        base,
        hash: None,
        before: view
            .iter()
            .map(|token| token_value::hash(token.id.as_bytes()))
            .take(bounds::BEFORE)
            .collect(),
        expires_at: end_of_attempt(observed, attempt).map(Time),
        started_at: Time(observed.now),
        reason: cause.as_str().to_owned(),
        request: rotation::new_request(observed),
    }));
    draft.begins(cause);
    Step::WriteStatus(Box::new(draft.status))
}

/// When the coming token is to end. Where tokens have no names, a few seconds less than declared tell it
/// from others.
fn end_of_attempt(observed: &Observed, attempt: i64) -> Option<Timestamp> {
    let end = schedule::end(&observed.token.spec, Some(observed.now))?;
    let seed = format!("{}-{attempt}", short_uid(&observed.token));
    let nonce = schedule::spread(longest_nonce(observed, end, observed.now), &seed);
    Some(end.checked_sub(nonce).unwrap_or(end))
}

/// By how much a token that lives from `issued_at` may end before the declared end.
pub fn longest_nonce(observed: &Observed, end: Timestamp, issued_at: Timestamp) -> SignedDuration {
    match observed.capabilities() {
        Some(can) if can.expiry && !can.names && !can.local => (end.duration_since(issued_at) / NONCE_SHARE).min(LONGEST_NONCE),
        _ => SignedDuration::ZERO,
    }
}

/// The token that is replaced in place, and keeps name and parameters: where the issuer can, and lets the old one work on for as
/// long as the overlap.
fn base_of_reset(observed: &Observed, view: &[ListedToken]) -> Option<String> {
    let grace = observed.capabilities()?.reset?;
    let id = observed.current().filter(|token| !token.reset_tried)?.id.clone()?;
    let listed = view.iter().any(|token| token.id == id && token.state == ListedState::Active);
    (listed && rotation::overlap(observed) <= grace - RESET_MARGIN).then_some(id)
}
