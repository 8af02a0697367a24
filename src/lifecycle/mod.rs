//! The one place that decides what happens to a token.
//!
//! [`decide`] takes everything that was observed and gives either one step to take, after which it
//! is asked again with what the step showed, or the status to write and when to look again. It is a
//! pure function: no client, no HTTP, no clock, no randomness.
//!
//! The order of steps is the safety:
//! - a first token: Secret, then one status that names it. After a crash between the two, the value
//!   in the Secret is taken up.
//! - a token made again: status with the hash of the coming value, then, once verifiers had time to
//!   learn it, the Secret, then the status that names it.
//! - the end of a token: the Secret is marked or removed, then the status says so.
//!
//! What ends a token is decided before anything that may stand in the way.

pub mod checks;
mod ending;
mod held;
pub mod issuer;
mod live;
pub mod observed;
pub mod plan;
mod replacement;
pub mod schedule;
pub mod secret;
mod status;
pub mod template;

#[cfg(test)]
mod tests;

pub use held::token_id;
pub use observed::{FoundSecret, IssuerProblem, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, Ownership};
pub use plan::{Failure, Notice, Plan, Rest, Step};
pub use status::same_but_for_foreign_changes;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::{schedule::Destination, status::Draft};
use crate::api::{
    api_token::{DesiredState, ObservedState},
    conditions::Reason,
    names,
};

/// Decides what happens next. In a namespace that is being deleted nothing can be created, and
/// everything goes by itself: nothing is done there.
pub fn decide(observed: &Observed) -> Plan {
    if observed.token.metadata.deletion_timestamp.is_some() {
        return deleting(observed);
    }
    if observed.namespace_ends {
        return Plan::unchanged(observed, None);
    }
    if is_paused(observed) {
        return paused(observed);
    }
    match destination(observed) {
        Destination::Live(state) => live::decide(observed, state),
        ended => ending::decide(observed, ended),
    }
}

/// Where the token is to be brought, by its spec, its record and the time.
fn destination(observed: &Observed) -> Destination {
    let spec = &observed.token.spec;
    let status = observed.token.status.as_ref();
    let was_revoked = status.and_then(|status| status.state) == Some(ObservedState::Revoked);
    if was_revoked || spec.state == DesiredState::Revoked {
        return Destination::Revoked;
    }
    let issued_at = status
        .and_then(|status| status.token.as_ref()?.issued_at.as_ref())
        .map(|Time(at)| *at);
    if schedule::end(spec, issued_at).is_some_and(|end| end <= observed.now) {
        return Destination::Expired;
    }
    match spec.state {
        // Given a later end, it lives again with a new value, and none is made for a suspended token.
        DesiredState::Suspended if has_expired(observed) => Destination::Expired,
        DesiredState::Suspended => Destination::Live(ObservedState::Suspended),
        DesiredState::Active | DesiredState::Revoked => Destination::Live(ObservedState::Active),
    }
}

/// Whether the recorded value has had its time: it never works again.
fn has_expired(observed: &Observed) -> bool {
    let status = observed.token.status.as_ref();
    status.is_some_and(|status| status.state == Some(ObservedState::Expired))
}

fn is_paused(observed: &Observed) -> bool {
    let annotations = observed.token.metadata.annotations.as_ref();
    annotations
        .and_then(|annotations| annotations.get(names::PAUSED_ANNOTATION))
        .is_some_and(|value| value == "true")
}

/// The token of the built-in issuer is dead as soon as its object is being deleted; its Secret goes
/// by its owner reference. Somebody else's finalizer may keep the object in sight.
fn deleting(observed: &Observed) -> Plan {
    let mut draft = Draft::new(observed);
    draft.not_ready(Reason::Deleting, "the ApiToken is being deleted: its token works no more");
    draft.active(false, Reason::Revoked, "the ApiToken is being deleted");
    draft.rest(None)
}

/// Nothing is done; Ready keeps what was last observed.
fn paused(observed: &Observed) -> Plan {
    Draft::new(observed).paused()
}
