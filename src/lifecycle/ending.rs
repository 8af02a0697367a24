//! The end of a token: revoked for good, or expired.
//!
//! The Secret comes first: it goes, or is marked so that its value is never taken up again. Only
//! then does the status say that the token ended. Verifiers deny it by spec and time all the while.

use super::{
    observed::{FoundSecret, Observed, ObservedSecret, Ownership},
    plan::{Plan, Step},
    schedule::Destination,
    secret,
    status::Draft,
};
use crate::api::{
    api_token::{ObservedState, SecretDeletionPolicy},
    conditions::Reason,
};

/// Decides for a token that is to be ended.
pub fn decide(observed: &Observed, destination: Destination) -> Plan {
    let ended = if destination == Destination::Revoked {
        ObservedState::Revoked
    } else {
        ObservedState::Expired
    };
    if let Some(failure) = &observed.failure {
        let mut draft = Draft::new(observed);
        draft.active(false, reason(ended), "the token is being ended");
        return draft.failed(&failure.message);
    }
    match &observed.secret {
        ObservedSecret::Unchanged if is_recorded(observed, ended) => settled(observed, ended, None),
        ObservedSecret::Unchanged => Plan::Step(Step::ReadSecret),
        ObservedSecret::Absent => settled(observed, ended, None),
        ObservedSecret::Found(secret) => with_secret(observed, ended, secret),
    }
}

fn with_secret(observed: &Observed, ended: ObservedState, found: &FoundSecret) -> Plan {
    if found.ownership(&observed.token) == Ownership::Foreign {
        return settled(observed, ended, None);
    }
    if is_removed(observed, ended) {
        return Plan::Step(Step::DeleteSecret {
            uid: found.object().metadata.uid.clone(),
            resource_version: found.resource_version().map(str::to_owned),
        });
    }
    match secret::marked_as_ended(&observed.token, found) {
        Some(secret) => Plan::Step(Step::UpdateSecret {
            secret,
            changes: vec!["mark of the ended value".to_owned()],
        }),
        None => settled(observed, ended, Some(found)),
    }
}

fn is_removed(observed: &Observed, ended: ObservedState) -> bool {
    ended == ObservedState::Revoked && observed.token.spec.secret.deletion_policy == SecretDeletionPolicy::Delete
}

fn is_recorded(observed: &Observed, ended: ObservedState) -> bool {
    observed
        .token
        .status
        .as_ref()
        .is_some_and(|status| status.state == Some(ended) && status.observed_generation == observed.token.metadata.generation)
}

fn settled(observed: &Observed, ended: ObservedState, found: Option<&FoundSecret>) -> Plan {
    let mut draft = Draft::new(observed);
    draft.status.pending = None;
    draft.status.previous.clear();
    draft.status.failures = None;
    draft.state(ended);
    if let Some(found) = found {
        draft.secret_ref(found.resource_version());
    }
    if is_removed(observed, ended) {
        draft.status.secret_ref = None;
        draft.secret_synced(false, Reason::Removed, "the Secret went with its token");
    } else if draft.status.secret_ref.is_some() {
        draft.secret_synced(false, Reason::Ended, "the Secret stays; the value in it no longer works");
    }
    if ended == ObservedState::Revoked {
        draft.ready("the token is revoked, as declared");
    } else {
        expired(&mut draft);
    }
    draft.rest(None)
}

fn expired(draft: &mut Draft<'_>) {
    let never_issued = draft.status.token.is_none();
    let message = if never_issued {
        "spec.expiresAt is in the past: no token was issued; give it a later end"
    } else {
        "the token's time is over: give it a later end to have a new one issued"
    };
    draft.not_ready(Reason::Expired, message);
}

fn reason(ended: ObservedState) -> Reason {
    if ended == ObservedState::Revoked {
        Reason::Revoked
    } else {
        Reason::Expired
    }
}
