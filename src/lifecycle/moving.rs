//! A value that moves to another Secret, because the spec names another one.
//!
//! The new Secret is written before the old one goes, and the status names the new one last: after
//! a crash anywhere at least one of the two holds the value.

use super::{
    held, live,
    observed::{FoundSecret, Observed, ObservedSecret, Ownership},
    plan::{Plan, SecretVersion, Step},
    secret,
    status::Draft,
};
use crate::api::api_token::ObservedState;

/// Whether the status names another Secret than the spec.
pub fn is_due(observed: &Observed) -> bool {
    let recorded = observed.status().and_then(|status| status.secret_ref.as_ref());
    recorded.is_some_and(|recorded| recorded.name != secret::name(&observed.token))
}

/// The next Secret to read, where it must be known what all of them hold.
pub fn next_read(observed: &Observed) -> Option<Step> {
    match (&observed.secret, &observed.former_secret) {
        (ObservedSecret::Unchanged, _) => Some(Step::ReadSecret),
        (_, ObservedSecret::Unchanged) if is_due(observed) => Some(Step::ReadFormerSecret),
        _ => None,
    }
}

/// Whether a Secret that was read fulfils `holds`: the declared one, or the one that a value moves from.
pub fn any_secret(observed: &Observed, holds: impl Fn(&FoundSecret) -> bool) -> bool {
    [&observed.secret, &observed.former_secret]
        .into_iter()
        .any(|secret| matches!(secret, ObservedSecret::Found(found) if holds(found)))
}

/// Writes the value to the new Secret, which does not hold it yet; nothing where none moves, or
/// where the old Secret does not hold it either.
pub fn decide(observed: &Observed, state: ObservedState, target: Option<&FoundSecret>) -> Option<Plan> {
    if !is_due(observed) || observed.current().is_none() {
        return None;
    }
    if let Some(other) = observed.secret_promised_to.as_ref().filter(|_| target.is_none()) {
        let why = format!("is declared by the ApiToken {other:?} too: choose another spec.secret.name");
        return Some(live::conflict(observed, state, &why));
    }
    match &observed.former_secret {
        ObservedSecret::Unchanged => Some(Plan::Step(Step::ReadFormerSecret)),
        ObservedSecret::Absent => None,
        ObservedSecret::Found(former) if former.ownership(&observed.token) == Ownership::Foreign => None,
        ObservedSecret::Found(former) => {
            let (record, value) = held::token_in(observed, former)?;
            let ended = target.is_some_and(|target| held::is_ended(target, &value.hash()));
            (!ended).then(|| live::write(observed, state, &record, &value, target))
        }
    }
}

impl Draft<'_> {
    /// Tells that the value is in another Secret now.
    pub fn tell_move(&mut self) {
        let recorded = self.status.secret_ref.as_ref().map(|recorded| recorded.name.clone());
        let declared = secret::name(&self.observed.token).to_owned();
        if let Some(former) = recorded.filter(|former| *former != declared) {
            self.notice(
                false,
                "SecretMoved",
                format!("The value moved from Secret {former} to Secret {declared}"),
            );
        }
    }
}

/// Takes the old Secret away, once the new one holds the value.
pub fn finish(observed: &Observed) -> Option<Plan> {
    if !is_due(observed) {
        return None;
    }
    match &observed.former_secret {
        ObservedSecret::Unchanged => Some(Plan::Step(Step::ReadFormerSecret)),
        ObservedSecret::Found(former) if former.ownership(&observed.token) == Ownership::Ours && !former.is_going() => {
            Some(Plan::Step(Step::DeleteSecret(SecretVersion::of(former))))
        }
        ObservedSecret::Absent | ObservedSecret::Found(_) => None,
    }
}
