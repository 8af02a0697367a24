//! A token that replaces one whose value got lost: announced in the status, and written once
//! verifiers had time to learn of it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    checks, held, live,
    observed::{FoundSecret, IssuerReadiness, Observed},
    plan::Plan,
    schedule,
    status::Draft,
};
use crate::{
    api::{
        api_token::{ObservedState, Pending, Verb},
        conditions::Reason,
    },
    issuers::IssuedToken,
};

/// How long somebody else's announced token may take to come, beyond the propagation delay.
const OTHERS_TIME: SignedDuration = SignedDuration::from_secs(5);

/// Decides for a token that needs another value; `why` is kept with the announcement.
pub fn decide(observed: &Observed, found: Option<&FoundSecret>, why: &'static str) -> Plan {
    let going = observed
        .issuer
        .as_ref()
        .ok()
        .filter(|issuer| issuer.readiness == IssuerReadiness::Deleting);
    if let Some(issuer) = going {
        return live::refused(observed, ObservedState::Active, &checks::deleting(issuer));
    }
    match (&observed.fresh, observed.pending()) {
        (Some(fresh), Some(announced)) if announced.hash.as_deref() == Some(&fresh.value.hash()) => {
            let due = schedule::later(announced.started_at.0, observed.propagation_delay);
            if due > observed.now {
                return Plan::unchanged(observed, Some(due));
            }
            let record = held::record(observed, &fresh.id, fresh.issued_at, &fresh.value);
            live::write(observed, ObservedState::Active, &record, &fresh.value, found)
        }
        (_, Some(announced)) if others_turn(observed, announced) > observed.now => {
            Plan::unchanged(observed, Some(others_turn(observed, announced)))
        }
        (Some(fresh), _) => announce(observed, fresh, why),
        (None, _) => match schedule::next_issue(last_issue(observed)) {
            due if due > observed.now => Plan::unchanged(observed, Some(due)),
            _ => live::issue(observed),
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
    let issued = observed.current().and_then(|token| token.issued_at.as_ref());
    let begun = observed.pending().map(|pending| &pending.started_at);
    issued.into_iter().chain(begun).map(|Time(at)| *at).max().unwrap_or(Timestamp::MIN)
}

fn announce(observed: &Observed, fresh: &IssuedToken, why: &'static str) -> Plan {
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
