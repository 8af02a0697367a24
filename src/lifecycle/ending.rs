//! The end of a token: revoked for good, expired, or withdrawn until it is activated.
//!
//! At an issuer that others run the tokens are ended first. Then the Secret goes, or is marked so
//! that its value is never taken up again. Only then does the status say that the token ended.
//! Verifiers of the built-in issuer deny it by spec and time all the while.

use super::{
    checks, deletion, live, moving,
    observed::{FoundSecret, Observed, ObservedSecret, Ownership},
    plan::{Plan, SecretVersion, Step},
    schedule::Destination,
    secret,
    status::Draft,
};
use crate::api::{
    api_token::{ObservedState, SecretDeletionPolicy},
    conditions::{ConditionType, Reason},
};

/// Decides for a token that is to be ended.
pub fn decide(observed: &Observed, destination: Destination) -> Plan {
    let recorded = is_recorded(observed, destination);
    if observed.is_remote() && !recorded {
        if observed.capabilities().is_none()
            && let Some(refusal) = checks::first(observed)
        {
            return live::refused(observed, ObservedState::Active, &refusal);
        }
        if let Some(retry_at) = live::pause_after_failure(observed).filter(|_| observed.failure.is_none()) {
            return Draft::new(observed).rest(retry_at);
        }
    }
    if let Some(failure) = &observed.failure {
        let mut draft = Draft::new(observed);
        if !observed.is_remote() {
            draft.active(false, reason(destination), "the token is being ended");
        }
        return draft.failed(failure);
    }
    if !recorded && let Some(plan) = deletion::end_all(observed) {
        return plan;
    }
    if recorded && matches!(observed.secret, ObservedSecret::Unchanged) && !moving::is_due(observed) {
        return settled(observed, destination, None);
    }
    if let Some(read) = moving::next_read(observed) {
        return Plan::Step(read);
    }
    let step = ours(observed).find_map(|found| end_secret(observed, destination, found));
    step.map_or_else(|| settled(observed, destination, ours(observed).next()), Plan::Step)
}

/// The Secrets of ours that may hold the value: the one that the status names first.
fn ours(observed: &Observed) -> impl Iterator<Item = &FoundSecret> {
    let secrets = [&observed.former_secret, &observed.secret].into_iter();
    secrets.filter_map(|secret| match secret {
        ObservedSecret::Found(found) if found.ownership(&observed.token) == Ownership::Ours => Some(found),
        _ => None,
    })
}

fn end_secret(observed: &Observed, destination: Destination, found: &FoundSecret) -> Option<Step> {
    if is_removed(observed, destination) {
        // Where somebody else's finalizer keeps it, there is no more to do.
        return (!found.is_going()).then(|| Step::DeleteSecret(SecretVersion::of(found)));
    }
    secret::marked_as_ended(&observed.token, found).map(|secret| Step::UpdateSecret {
        secret,
        changes: vec!["mark of the ended value".to_owned()],
        brings_value: false,
    })
}

fn is_removed(observed: &Observed, destination: Destination) -> bool {
    destination == Destination::Revoked && observed.token.spec.secret.deletion_policy == SecretDeletionPolicy::Delete
}

fn is_recorded(observed: &Observed, destination: Destination) -> bool {
    observed.is_of_this_generation()
        && observed.status().is_some_and(|status| {
            let withdrawn = destination != Destination::Withdrawn || status.token.is_none();
            status.state == Some(state(destination)) && withdrawn && status.pending.is_none() && status.previous.is_empty()
        })
}

fn settled(observed: &Observed, destination: Destination, found: Option<&FoundSecret>) -> Plan {
    let mut draft = Draft::new(observed);
    draft.status.pending = None;
    draft.status.previous.clear();
    draft.status.failures = None;
    draft.status.next_rotation_at = None;
    if destination == Destination::Withdrawn {
        draft.withdrawn();
    }
    draft.state(state(destination));
    if let Some(found) = found {
        draft.secret_ref(found);
    }
    if is_removed(observed, destination) {
        draft.status.secret_ref = None;
        draft.secret_synced(false, Reason::Removed, "the Secret went with its token");
    } else if draft.status.secret_ref.is_some() {
        draft.secret_synced(false, Reason::Ended, "the Secret stays; the value in it no longer works");
    }
    match destination {
        Destination::Expired => expired(&mut draft),
        Destination::Withdrawn => draft.ready("the token is suspended, as declared: none exists, and activating issues one"),
        Destination::Revoked | Destination::Live(_) => draft.ready("the token is revoked, as declared"),
    }
    draft.rest(None)
}

fn expired(draft: &mut Draft<'_>) {
    let never_issued = draft.status.token.is_none();
    let message = if never_issued {
        "spec.expiresAt is in the past: no token was issued; give it a later end"
    } else {
        "the token's time is over: give it a later end, or ask for a rotation, to have a new one issued"
    };
    draft.not_ready(Reason::Expired, message);
}

impl Draft<'_> {
    /// Nothing is left of the token but where it came from.
    fn withdrawn(&mut self) {
        self.status.token = None;
        self.condition(
            ConditionType::Issued,
            false,
            Reason::Suspended,
            "no token exists: one is issued on activation",
        );
    }
}

fn state(destination: Destination) -> ObservedState {
    match destination {
        Destination::Revoked => ObservedState::Revoked,
        Destination::Expired => ObservedState::Expired,
        Destination::Withdrawn => ObservedState::Suspended,
        Destination::Live(state) => state,
    }
}

fn reason(destination: Destination) -> Reason {
    match destination {
        Destination::Revoked => Reason::Revoked,
        Destination::Expired => Reason::Expired,
        Destination::Withdrawn | Destination::Live(_) => Reason::Suspended,
    }
}
