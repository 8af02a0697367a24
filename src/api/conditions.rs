//! The closed lists of condition types and reasons, and how a condition is set.
//!
//! Reasons are an interface: users' alerts and scripts match on them. `docs/conditions.md` is
//! generated from here.


/// Types of the conditions in `status.conditions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConditionType {
    /// Observed equals desired: nothing is left to do.
    Ready,
    /// A token was issued.
    Issued,
    /// The Secret holds what the spec declares.
    SecretSynced,
    /// The token works now.
    Active,
    /// Work is going on (kstatus).
    Reconciling,
    /// Only a change by somebody heals it (kstatus).
    Stalled,
    /// The annotation `apitoken.dev/paused` holds everything but deletion back.
    Paused,
}
