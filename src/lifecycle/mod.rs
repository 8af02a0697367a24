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

mod adoption;
mod calls;
mod ceilings;
pub mod checks;
mod deletion;
mod ending;
mod held;
mod intent;
pub mod issuer;
mod live;
pub mod marker;
mod moving;
pub mod observed;
pub mod plan;
mod remote;
mod replacement;
pub mod rotation;
pub mod schedule;
pub mod secret;
mod status;
pub mod sweep;
pub mod template;

#[cfg(test)]
mod tests;

pub use calls::{accounts, request};
pub use held::token_id;
pub use intent::{TIME_TO_CALL, take_waiting};
pub use observed::{
    Adoptee, CredentialTraits, FoundSecret, IssuerProblem, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, Ownership, Terms,
};
pub use plan::{Failure, FailureKind, Notice, Orphan, OrphanReason, Plan, Rest, SecretVersion, Step};
pub use remote::{is_only_a_poll, shown_as_recorded};
pub use status::same_but_for_foreign_changes;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::{schedule::Destination, status::Draft};
use crate::api::api_token::{DesiredState, ObservedState, SuspendPolicy};

/// Decides what happens next. In a namespace that is being deleted nothing can be created, and
/// everything goes by itself: nothing is done there.
pub fn decide(observed: &Observed) -> Plan {
    if observed.is_going() {
        return deletion::decide(observed);
    }
    if observed.namespace_ends {
        return Plan::unchanged(observed, None);
    }
    if observed.token.is_paused() {
        return paused(observed);
    }
    match destination(observed) {
        Destination::Live(state) => live::decide(observed, state),
        ended => ending::decide(observed, ended),
    }
}

/// Where the token is to be brought, by its spec, its record and the time.
pub fn destination(observed: &Observed) -> Destination {
    let spec = &observed.token.spec;
    let was_revoked = observed.status().and_then(|status| status.state) == Some(ObservedState::Revoked);
    if was_revoked || spec.state == DesiredState::Revoked {
        return Destination::Revoked;
    }
    let issued_at = observed.current().and_then(|token| token.issued_at.as_ref()).map(|Time(at)| *at);
    if schedule::end(spec, issued_at).is_some_and(|end| end <= observed.now) && !is_renewed(observed) {
        return Destination::Expired;
    }
    match spec.state {
        // Given a later end, it lives again with a new value, and none is made for a suspended token.
        DesiredState::Suspended if has_expired(observed) => Destination::Expired,
        DesiredState::Suspended if spec.suspend_policy == SuspendPolicy::Withdraw => Destination::Withdrawn,
        DesiredState::Suspended => Destination::Live(ObservedState::Suspended),
        DesiredState::Active | DesiredState::Revoked => Destination::Live(ObservedState::Active),
    }
}

/// Whether a token whose time is over is followed by another all the same: a rotation is declared, and
/// was missed, or one is asked for. A new one must have a life before it, so a fixed end is the end.
fn is_renewed(observed: &Observed) -> bool {
    let spec = &observed.token.spec;
    let asked_for = spec.rotation.is_some() || rotation::new_request(observed).is_some();
    spec.state == DesiredState::Active && spec.lifetime.is_some() && asked_for
}

/// Whether the recorded value has had its time: it never works again.
fn has_expired(observed: &Observed) -> bool {
    let status = observed.token.status.as_ref();
    status.is_some_and(|status| status.state == Some(ObservedState::Expired))
}

/// Nothing is done; Ready keeps what was last observed.
fn paused(observed: &Observed) -> Plan {
    Draft::new(observed).paused()
}
