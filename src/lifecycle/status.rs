//! Composes the status that a pass ends with.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    observed::Observed,
    plan::{Notice, Plan, Rest},
    schedule, secret,
};
use crate::api::{
    ApiTokenStatus,
    api_token::{AvailableActions, ObservedState, SecretStatus, TokenStatus},
    conditions::{self, ConditionType, Reason},
    names,
};

/// A status in the making: what stands there, changed field by field.
pub struct Draft<'a> {
    observed: &'a Observed,
    /// The status so far.
    pub status: ApiTokenStatus,
    notices: Vec<Notice>,
}

impl<'a> Draft<'a> {
    /// Begins with the status that stands there.
    pub fn new(observed: &'a Observed) -> Self {
        let mut draft = Self {
            observed,
            status: observed.token.status.clone().unwrap_or_default(),
            notices: Vec::new(),
        };
        conditions::remove(&mut draft.status.conditions, ConditionType::Paused);
        draft.begin_conditions();
        draft
    }

    /// Every condition is always there, so that nobody waits for one that never comes.
    fn begin_conditions(&mut self) {
        for (type_, reason, message) in [
            (ConditionType::Ready, Reason::Progressing, "the token is being made"),
            (ConditionType::Issued, Reason::Pending, "no token was issued yet"),
            (ConditionType::SecretSynced, Reason::Pending, "the Secret was not written yet"),
            (ConditionType::Active, Reason::Pending, "no token was issued yet"),
        ] {
            if conditions::find(&self.status.conditions, type_).is_none() {
                self.set(type_, false, reason, message);
            }
        }
    }

    fn set(&mut self, type_: ConditionType, status: bool, reason: Reason, message: impl Into<String>) {
        let generation = self.observed.token.metadata.generation;
        conditions::set(
            &mut self.status.conditions,
            type_,
            status,
            reason,
            message,
            generation,
            self.observed.now,
        );
    }

    /// All is as declared.
    pub fn ready(&mut self, message: impl Into<String>) {
        self.status.failures = None;
        self.set(ConditionType::Ready, true, Reason::Ready, message);
        self.set(ConditionType::Reconciling, false, Reason::Ready, "");
        self.set(ConditionType::Stalled, false, Reason::Ready, "");
    }

    /// Something is not as declared.
    pub fn not_ready(&mut self, reason: Reason, message: impl Into<String>) {
        let message = message.into();
        let stalled = reason.stalls();
        self.warn_once(reason, &message);
        self.set(ConditionType::Ready, false, reason, message.clone());
        let (reconciling, stuck) = if stalled {
            (String::new(), message)
        } else {
            (message, String::new())
        };
        self.set(ConditionType::Reconciling, !stalled, reason, reconciling);
        self.set(ConditionType::Stalled, stalled, reason, stuck);
    }

    /// A Warning when Ready comes to be False for a reason that a person should see.
    fn warn_once(&mut self, reason: Reason, message: &str) {
        let before = conditions::find(&self.status.conditions, ConditionType::Ready).map(|ready| ready.reason.as_str());
        let quiet = matches!(reason, Reason::Progressing | Reason::Deleting);
        if !quiet && before != Some(reason.as_str()) {
            self.notice(true, reason.as_str(), message);
        }
    }

    /// Whether the token works now.
    pub fn active(&mut self, works: bool, reason: Reason, message: &str) {
        self.set(ConditionType::Active, works, reason, message);
    }

    /// How the Secret stands.
    pub fn secret_synced(&mut self, synced: bool, reason: Reason, message: impl Into<String>) {
        self.set(ConditionType::SecretSynced, synced, reason, message);
    }

    /// The state that was observed, what it means for the condition Active, and what can be done next.
    pub fn state(&mut self, state: ObservedState) {
        let before = self.status.state.replace(state);
        let (works, reason, message) = match state {
            ObservedState::Pending => (false, Reason::Pending, "no token was issued yet"),
            ObservedState::Active => (true, Reason::Active, "the token works"),
            ObservedState::Suspended => (
                false,
                Reason::Suspended,
                "the token is suspended: set spec.state to Active to let it work again",
            ),
            ObservedState::Revoked => (false, Reason::Revoked, "the token is revoked for good"),
            ObservedState::Expired => (false, Reason::Expired, "the token's time is over"),
        };
        self.active(works, reason, message);
        self.status.available_actions = Some(available_actions(state));
        self.tell_change(before, state);
    }

    fn tell_change(&mut self, before: Option<ObservedState>, state: ObservedState) {
        let Some(before) = before.filter(|before| *before != state && *before != ObservedState::Pending) else {
            return;
        };
        match (before, state) {
            (_, ObservedState::Suspended) => self.notice(false, "Suspended", "The token is suspended"),
            (ObservedState::Suspended, ObservedState::Active) => self.notice(false, "Activated", "The token works again"),
            (_, ObservedState::Revoked) => self.notice(false, "Revoked", "The token is revoked for good"),
            _ => {}
        }
    }

    /// The token that is current from now on.
    pub fn token(&mut self, record: TokenStatus) {
        self.set(
            ConditionType::Issued,
            true,
            Reason::Issued,
            format!("token {} was issued", record.id.as_deref().unwrap_or_default()),
        );
        self.status.token = Some(record);
        if let Ok(issuer) = &self.observed.issuer {
            self.status.issuer_ref = Some(issuer.reference.clone());
        }
    }

    /// The Secret as it was found or written in this pass.
    pub fn secret_ref(&mut self, resource_version: Option<&str>) {
        self.status.secret_ref = Some(SecretStatus {
            name: secret::name(&self.observed.token).to_owned(),
            resource_version: resource_version.map(str::to_owned),
        });
    }

    /// Tells the user something, once the status is written.
    pub fn notice(&mut self, warning: bool, reason: &'static str, message: impl Into<String>) {
        self.notices.push(Notice {
            warning,
            reason,
            message: message.into(),
        });
    }

    /// A step failed: the next try is later each time.
    pub fn failed(mut self, message: &str) -> Plan {
        let uid = self.observed.token.metadata.uid.as_deref().unwrap_or_default();
        let failures = schedule::failed_again(self.status.failures.as_ref(), uid, self.observed.now);
        let next = failures.next_retry_at.as_ref().map(|Time(at)| *at);
        if failures.count == 1 {
            self.notice(true, "SecretWriteFailed", message);
        }
        self.status.failures = Some(failures);
        self.not_ready(Reason::Progressing, message);
        self.secret_synced(false, Reason::WriteFailed, message);
        self.rest(next)
    }

    /// Ends the pass with this status.
    pub fn rest(mut self, look_again_at: Option<Timestamp>) -> Plan {
        self.status.observed_generation = self.observed.token.metadata.generation;
        self.status.state.get_or_insert(ObservedState::Pending);
        Plan::Rest(Box::new(Rest {
            status: self.status,
            look_again_at,
            notices: self.notices,
        }))
    }

    /// Ends the pass with the status that stands there, and the condition Paused.
    pub fn paused(self) -> Plan {
        let mut status = self.observed.token.status.clone().unwrap_or_default();
        let message = format!("nothing is done until the annotation {} is removed", names::PAUSED_ANNOTATION);
        let generation = conditions::find(&status.conditions, ConditionType::Paused)
            .and_then(|paused| paused.observed_generation)
            .or(self.observed.token.metadata.generation);
        conditions::set(
            &mut status.conditions,
            ConditionType::Paused,
            true,
            Reason::Paused,
            message,
            generation,
            self.observed.now,
        );
        Plan::Rest(Box::new(Rest {
            status,
            look_again_at: None,
            notices: Vec::new(),
        }))
    }
}

/// What can be done with a token in that state.
fn available_actions(state: ObservedState) -> AvailableActions {
    let (active, suspended) = (state == ObservedState::Active, state == ObservedState::Suspended);
    AvailableActions {
        activate: suspended,
        suspend: active,
        revoke: active || suspended,
        // A request for a rotation is refused until rotation is there.
        rotate: false,
        delete: true,
    }
}

/// Whether two statuses differ in nothing but the version of the Secret.
///
/// A Secret gets a new version when somebody changes what is not ours in it; that alone is worth no write.
pub fn same_but_for_foreign_changes(before: &ApiTokenStatus, after: &ApiTokenStatus) -> bool {
    let mut after = after.clone();
    if let (Some(before), Some(after)) = (&before.secret_ref, &mut after.secret_ref) {
        after.resource_version.clone_from(&before.resource_version);
    }
    *before == after
}
