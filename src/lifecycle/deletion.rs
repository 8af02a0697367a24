//! An ApiToken that is being deleted, and the ending of all that it left at an issuer.
//!
//! A token of the built-in issuer is dead as soon as its object is being deleted. At any other issuer
//! the object waits until its tokens are ended or written down, and never for ever.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    intent, live,
    observed::Observed,
    plan::{Failure, FailureKind, Orphan, OrphanReason, Plan, Step},
    remote, schedule,
    status::Draft,
};
use crate::{
    api::{
        api_token::{DeletionPolicy, Failures},
        conditions::Reason,
    },
    issuers::ListedToken,
};

/// How often it is looked whether others still need the token.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// An issuer that does not answer is asked at least this often.
const FEWEST_TRIES: i32 = 3;

/// Decides for an object that is being deleted.
pub fn decide(observed: &Observed) -> Plan {
    if !observed.is_held() {
        return spoken_of(observed);
    }
    let ledger_failed = observed.failure.as_ref().is_some_and(|failure| failure.kind == FailureKind::Ledger);
    if has_resisted(observed) && !ledger_failed {
        return let_go(observed, known(observed, OrphanReason::NotRevoked));
    }
    if let Some(failure) = &observed.failure {
        // Waiting for a change could be for ever.
        return Draft::new(observed).failed(&failure.clone().retried());
    }
    if let Some(retry_at) = live::pause_after_failure(observed) {
        return Draft::new(observed).rest(retry_at);
    }
    if is_retained(observed) {
        return let_go(observed, known(observed, OrphanReason::Retained));
    }
    if observed.capabilities().is_none() {
        return Draft::new(observed).failed(&unreachable());
    }
    if let Some(end) = end_of_wait(observed).filter(|end| *end > observed.now) {
        return waits_for_others(observed, end);
    }
    end_all(observed).unwrap_or(Plan::Step(Step::RemoveFinalizer))
}

/// Until when a token by which an issuer is asked stays for the tokens of others there: without it none of them could be ended.
fn end_of_wait(observed: &Observed) -> Option<Timestamp> {
    let Time(deleted) = observed.token.metadata.deletion_timestamp.as_ref()?;
    let since = (*deleted).max(observed.terms.started_at);
    (observed.needed_by_others && has_any(observed)).then(|| schedule::later(since, observed.terms.revoke_deadline))
}

fn waits_for_others(observed: &Observed, end: Timestamp) -> Plan {
    let mut draft = Draft::new(observed);
    let message = format!("other ApiTokens need an issuer that is asked with this token: it is ended after them, or at {end}");
    draft.not_ready(Reason::Deleting, message);
    draft.rest(Some(end.min(schedule::later(observed.now, LOOK_AGAIN))))
}

/// The owner reference takes the Secret; somebody else's finalizer may keep the object in sight.
fn spoken_of(observed: &Observed) -> Plan {
    let mut draft = Draft::new(observed);
    draft.not_ready(Reason::Deleting, "the ApiToken is being deleted: its token works no more");
    draft.active(false, Reason::Revoked, "the ApiToken is being deleted");
    draft.rest(None)
}

/// Ends every token of this ApiToken at its issuer; nothing where none is left.
pub fn end_all(observed: &Observed) -> Option<Plan> {
    if !observed.is_remote() || !has_any(observed) {
        return None;
    }
    let Some(view) = observed.view.as_deref() else {
        return Some(Plan::Step(Step::ListTokens));
    };
    if let Some(orphans) = intent::indistinguishable(observed, view) {
        return Some(Plan::Step(Step::EnterLedger(orphans)));
    }
    let is_ours = |token: &ListedToken| {
        observed.was_replaced(token)
            || remote::is_current(observed, token)
            || remote::is_made_by_us(observed, token)
            || intent::may_have_made(observed, token)
    };
    if let Some(step) = remote::next_end(observed, view, is_ours) {
        return Some(Plan::Step(step));
    }
    let until = intent::may_still_make(observed)?;
    let mut draft = Draft::new(observed);
    draft.not_ready(
        Reason::OutcomeUnknown,
        "it is not known yet whether the issuer made another token: it is looked for, and ended",
    );
    Some(draft.rest(Some(until)))
}

fn has_any(observed: &Observed) -> bool {
    observed.current().is_some() || observed.pending().is_some() || observed.fresh.is_some() || !observed.previous().is_empty()
}

/// A token that was taken over stays where nothing else is declared.
fn is_retained(observed: &Observed) -> bool {
    // What is only observed is another cluster's, which looks after it.
    if observed.terms.observe_only {
        return true;
    }
    let spec = &observed.token.spec;
    match spec.deletion_policy {
        Some(policy) => policy == DeletionPolicy::Retain,
        None => spec.adopt.is_some(),
    }
}

/// Whether ending the tokens was tried for long enough since the operator started.
fn has_resisted(observed: &Observed) -> bool {
    let Some(failures) = observed.status().and_then(|status| status.failures.as_ref()) else {
        return false;
    };
    if is_older(observed, failures) {
        return false;
    }
    let Time(first) = &failures.first_at;
    let since: Timestamp = (*first).max(observed.terms.started_at);
    failures.count >= FEWEST_TRIES && schedule::later(since, observed.terms.revoke_deadline) <= observed.now
}

/// Failures of before the deletion say nothing of how hard it is to end the tokens.
pub fn is_older(observed: &Observed, failures: &Failures) -> bool {
    let deleted = observed.token.metadata.deletion_timestamp.as_ref();
    deleted.is_some_and(|deleted| failures.first_at < *deleted)
}

/// Written down first, then the object goes.
fn let_go(observed: &Observed, orphans: Vec<Orphan>) -> Plan {
    let all_entered = orphans.iter().all(|orphan| observed.orphaned.contains(orphan));
    Plan::Step(if all_entered {
        Step::RemoveFinalizer
    } else {
        Step::EnterLedger(orphans)
    })
}

/// All tokens that may be left.
fn known(observed: &Observed, reason: OrphanReason) -> Vec<Orphan> {
    let orphan = |id: String, name, account| Orphan { id, name, account, reason };
    let current = observed
        .current()
        .and_then(|token| Some(orphan(token.id.clone()?, token.name.clone(), token.account.clone())));
    let previous = observed.previous().iter();
    let previous = previous.filter_map(|token| Some(orphan(token.id.clone()?, None, token.account.clone())));
    let account = observed.pending().and_then(|pending| pending.account.clone());
    let fresh = observed
        .fresh
        .as_ref()
        .map(|fresh| orphan(fresh.id.clone(), fresh.name.clone(), account));
    let mut orphans: Vec<Orphan> = current.into_iter().chain(previous).chain(fresh).collect();
    let mut seen = BTreeSet::new();
    orphans.retain(|orphan| seen.insert(orphan.id.clone()));
    orphans
}

fn unreachable() -> Failure {
    Failure {
        message: "the issuer is gone or can't be read: create it again, so that the token can be ended there".to_owned(),
        kind: FailureKind::Transient {
            reason: Reason::IssuerNotFound,
            retry_after: None,
        },
    }
}
