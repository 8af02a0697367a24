//! Composes the status that a pass ends with.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    deletion, live,
    observed::{FoundSecret, Observed},
    plan::{Failure, FailureKind, Notice, OrphanReason, Plan, Rest},
    remote,
    rotation::{self, Cause},
    schedule, secret,
};
use crate::{
    api::{
        ApiTokenStatus,
        api_token::{AvailableActions, ObservedState, Pending, PreviousToken, SecretStatus, TokenStatus},
        bounds,
        conditions::{self, ConditionType, Reason, Truth},
        names,
    },
    token_value,
};

/// Of a text that makes no sense, so much is shown.
const SHOWN: usize = 64;

/// A status in the making: what stands there, changed field by field.
pub struct Draft<'a> {
    /// What it is decided from.
    pub observed: &'a Observed,
    /// The status so far.
    pub status: ApiTokenStatus,
    notices: Vec<Notice>,
}

impl<'a> Draft<'a> {
    /// Begins with the status that stands there; overlaps that end early end now.
    pub fn new(observed: &'a Observed) -> Self {
        let mut draft = Self {
            observed,
            status: observed.token.status.clone().unwrap_or_default(),
            notices: Vec::new(),
        };
        for previous in &mut draft.status.previous {
            if rotation::is_over(observed, previous) {
                previous.revoke_at = Time(previous.revoke_at.0.min(observed.now));
            }
        }
        conditions::remove(&mut draft.status.conditions, ConditionType::Paused);
        draft.begin_conditions();
        draft.tell_orphans();
        draft
    }

    fn tell_orphans(&mut self) {
        for orphan in &self.observed.orphaned {
            let (id, reason) = (&orphan.id, orphan.reason.as_str());
            self.notice(
                orphan.reason != OrphanReason::Retained,
                "Orphaned",
                format!("Token {id} stays at the issuer ({reason}): see status.orphans of the issuer"),
            );
        }
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
                self.condition(type_, false, reason, message);
            }
        }
    }

    /// Sets a condition, of the present generation and time.
    pub fn condition(&mut self, type_: ConditionType, status: impl Into<Truth>, reason: Reason, message: impl Into<String>) {
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
        self.condition(ConditionType::Ready, true, Reason::Ready, message);
        self.condition(ConditionType::Reconciling, false, Reason::Ready, "");
        self.condition(ConditionType::Stalled, false, Reason::Ready, "");
    }

    /// Something is not as declared.
    pub fn not_ready(&mut self, reason: Reason, message: impl Into<String>) {
        let message = message.into();
        let stalled = reason.stalls();
        self.warn_once(reason, &message);
        self.condition(ConditionType::Ready, false, reason, message.clone());
        let (reconciling, stuck) = if stalled {
            (String::new(), message)
        } else {
            (message, String::new())
        };
        self.condition(ConditionType::Reconciling, !stalled, reason, reconciling);
        self.condition(ConditionType::Stalled, stalled, reason, stuck);
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
    pub fn active(&mut self, works: impl Into<Truth>, reason: Reason, message: &str) {
        self.condition(ConditionType::Active, works, reason, message);
    }

    /// How the Secret stands.
    pub fn secret_synced(&mut self, synced: bool, reason: Reason, message: impl Into<String>) {
        self.condition(ConditionType::SecretSynced, synced, reason, message);
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
        self.status.available_actions = Some(self.actions(before, state));
        self.tell_change(before, state);
    }

    /// As the issuer tells, where it does: what it told last counts until it is asked again.
    fn actions(&self, before: Option<ObservedState>, state: ObservedState) -> AvailableActions {
        let observed = self.observed;
        let listed = observed.current().and_then(|current| observed.listed(current.id.as_deref()?));
        let ours = available_actions(state);
        match (
            listed.or(observed.shown.as_ref()).and_then(|listed| listed.details.actions),
            self.status.available_actions,
        ) {
            (Some(told), _) => AvailableActions {
                rotate: ours.rotate,
                ..told
            },
            (None, Some(told)) if observed.is_remote() && observed.view.is_none() && before == Some(state) => told,
            _ => ours,
        }
    }

    fn tell_change(&mut self, before: Option<ObservedState>, state: ObservedState) {
        let none_before = self.observed.current().is_none();
        let Some(before) = before.filter(|before| *before != state && *before != ObservedState::Pending) else {
            return;
        };
        match (before, state) {
            (_, ObservedState::Suspended) => self.notice(false, "Suspended", "The token is suspended"),
            (ObservedState::Suspended, ObservedState::Active) if none_before => {}
            (ObservedState::Suspended, ObservedState::Active) => self.notice(false, "Activated", "The token works again"),
            (_, ObservedState::Revoked) => self.notice(false, "Revoked", "The token is revoked for good"),
            _ => {}
        }
    }

    /// The token that is current from now on.
    pub fn token(&mut self, record: TokenStatus) {
        self.condition(
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
    pub fn secret_ref(&mut self, found: &FoundSecret) {
        self.status.secret_ref = Some(SecretStatus {
            name: found.object().metadata.name.clone().unwrap_or_default(),
            resource_version: found.resource_version().map(str::to_owned),
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

    /// A replacement begins.
    pub fn begins(&mut self, cause: Cause) {
        let why = cause.as_str();
        let works = !matches!(
            cause,
            Cause::SecretMissing | Cause::ValueChanged | Cause::LaterEnd | Cause::TokenMissing
        );
        if works && live::end_of_current(self.observed).is_none_or(|end| end > self.observed.now) {
            live::honour_suspension(self.observed, ObservedState::Active, self);
        }
        if cause == Cause::First {
            return self.not_ready(Reason::Progressing, "the token is being made");
        }
        self.not_ready(Reason::Progressing, format!("a new token is being issued ({why})"));
        if matches!(cause, Cause::SecretMissing | Cause::ValueChanged | Cause::LaterEnd) {
            self.secret_synced(false, Reason::Missing, format!("the Secret gets a new value ({why})"));
        }
    }

    /// The number of the next try, counted.
    pub fn next_attempt(&mut self) -> i64 {
        let attempt = next_attempt(Some(&self.status));
        self.status.attempts = Some(attempt);
        attempt
    }

    /// Takes out the replaced tokens that are ended.
    pub fn drop_ended(&mut self) {
        let observed = self.observed;
        self.status.previous.retain(|previous| rotation::still_counts(observed, previous));
    }

    /// Records and tells that another token is current than before. The replaced one is recorded until
    /// it is ended; at the built-in issuer one without an overlap ends by being recorded no more.
    pub fn promote(&mut self, token: &TokenStatus) {
        let before = self.observed.current();
        let attempt = self.status.pending.take();
        match before {
            Some(before) if before.id == token.id && before.hash == token.hash => {}
            Some(before) => self.rotated(before, token, attempt),
            None => self.issued(token),
        }
    }

    fn rotated(&mut self, before: &TokenStatus, token: &TokenStatus, attempt: Option<Box<Pending>>) {
        self.status.previous.retain(|previous| !was_announced_after(previous, before));
        let (reason, request) = attempt.map_or((String::new(), None), |attempt| (attempt.reason, attempt.request));
        let replaced = rotation::replaced(self.observed, before);
        let overlap = replaced.revoke_at.0.duration_since(self.observed.now);
        if self.observed.is_remote() || overlap.is_positive() {
            self.push_previous(replaced);
        }
        self.status.rotations = Some(self.status.rotations.unwrap_or(0) + 1);
        self.status.last_rotation_at = Some(Time(self.observed.now));
        if request.is_some() {
            self.status.last_rotation_request = request;
        }
        let old = before.id.as_deref().unwrap_or_default();
        let message = self.says_where(&format!(
            "Token {} replaced {old} ({reason})",
            token.id.as_deref().unwrap_or_default()
        ));
        self.notice(false, "Rotated", format!("{message}{}", says_overlap(&reason, overlap)));
        self.status.last_rotation_reason = Some(reason);
        self.tell_unread_overlap();
    }

    /// Who mistypes the overlap of a leak must not take its value for dead.
    fn tell_unread_overlap(&mut self) {
        let Some(unread) = rotation::unread_overlap(self.observed) else {
            return;
        };
        let unread: String = unread.chars().take(SHOWN).collect();
        let declared = rotation::overlap(self.observed);
        self.notice(
            true,
            "OverlapInvalid",
            format!(
                "The annotation {}={unread:?} is no duration, so the declared overlap ({declared:#}) is used: write 0s there to end all \
                 old values now, or hours, minutes and seconds such as 6h beside the next request",
                names::ROTATE_OVERLAP_ANNOTATION
            ),
        );
    }

    /// One more token that works on; the list is bounded, and the one that ends first goes.
    pub fn push_previous(&mut self, previous: PreviousToken) {
        let list = &mut self.status.previous;
        list.push(previous);
        list.sort_by_key(|previous| previous.revoke_at.0);
        let surplus = list.len().saturating_sub(bounds::PREVIOUS);
        list.drain(..surplus);
    }

    fn issued(&mut self, token: &TokenStatus) {
        let made = self.observed.fresh.as_ref().map_or(1, |fresh| fresh.attempt);
        self.status.attempts = Some(self.status.attempts.unwrap_or(0).max(made));
        // A request that came with the object asks for nothing more than what was just made.
        self.status.last_rotation_request = rotation::request(self.observed);
        let adopted = self.observed.token.spec.adopt.is_some() && self.observed.fresh.is_none();
        let (reason, verb) = if adopted { ("Adopted", "Took over") } else { ("Issued", "Issued") };
        let message = self.says_where(&format!("{verb} token {}", token.id.as_deref().unwrap_or_default()));
        self.notice(false, reason, message);
    }

    fn says_where(&self, what: &str) -> String {
        let token = &self.observed.token;
        format!(
            "{what}; its value is in Secret {}, key {}",
            secret::name(token),
            token.spec.secret.key
        )
    }

    /// The next date at which something is due for the current token: its rotation, its end, the end of
    /// an overlap, a look at the issuer. Tells ahead of an end that nothing will put off.
    pub fn next_date(&mut self, state: ObservedState) -> Option<Timestamp> {
        let observed = self.observed;
        let token = self.status.token.clone()?;
        let rotates = rotation::next(observed, &token).filter(|_| state == ObservedState::Active);
        self.status.next_rotation_at = rotates.map(|(at, _)| Time(at));
        // The issuer's end may be a little before the declared one, and one that is suspended may have had its time: nothing follows
        // from that yet.
        let recorded = token.expires_at.as_ref().map(|Time(at)| *at);
        let declared = schedule::end(&observed.token.spec, token.issued_at.as_ref().map(|Time(at)| *at));
        let ends = [recorded, declared].into_iter().flatten().filter(|end| *end > observed.now);
        let warning = match state {
            ObservedState::Active if !rotation::outlives_its_end(&observed.token.spec) => self.warn_of_end(),
            _ => None,
        };
        let overlaps = self
            .status
            .previous
            .iter()
            .map(|previous| rotation::end_of_overlap(observed, previous));
        let poll = observed.is_remote().then(|| remote::next_poll(observed));
        let request = rotation::request(observed).filter(|request| Some(request) != self.status.last_rotation_request.as_ref());
        let asked = request.filter(|_| state == ObservedState::Active).map(|_| observed.now);
        let dates = rotates
            .map(|(at, _)| at)
            .into_iter()
            .chain(ends)
            .chain(warning)
            .chain(overlaps)
            .chain(poll)
            .chain(asked);
        dates.min()
    }

    /// Warns once the end is near that nothing puts off; else says when to.
    pub fn warn_of_end(&mut self) -> Option<Timestamp> {
        let token = self.status.token.clone()?;
        let Time(end) = token.expires_at.clone()?;
        let issued_at = token.issued_at.as_ref().map_or(self.observed.now, |Time(at)| *at);
        let warn_at = schedule::warning(issued_at, end);
        if warn_at > self.observed.now {
            return Some(warn_at);
        }
        let told = conditions::find(&self.observed.status()?.conditions, ConditionType::Active)
            .is_some_and(|active| active.reason == Reason::Expiring.as_str());
        let message = format!("the token works until {end}, and nothing replaces it before: give it a later end, or have it rotated");
        self.active(true, Reason::Expiring, &message);
        if !told {
            self.notice(true, Reason::Expiring.as_str(), message);
        }
        None
    }

    /// A step failed: the next try is later each time, or comes with a change that can heal it.
    pub fn failed(mut self, failure: &Failure) -> Plan {
        let uid = self.observed.token.metadata.uid.as_deref().unwrap_or_default();
        let before = self
            .status
            .failures
            .as_ref()
            .filter(|before| !deletion::is_older(self.observed, before));
        let mut failures = schedule::failed_again(before, uid, self.observed.now);
        failures.situation = situation(self.observed);
        let first = failures.count == 1;
        let message = failure.message.as_str();
        match failure.kind {
            FailureKind::Secret => {
                if first {
                    self.notice(true, "SecretWriteFailed", message);
                }
                self.not_ready(Reason::Progressing, message);
                self.secret_synced(false, Reason::WriteFailed, message);
            }
            FailureKind::Transient { reason, retry_after } => {
                let asked = schedule::later(self.observed.now, retry_after.unwrap_or_default());
                failures.next_retry_at = failures.next_retry_at.map(|Time(at)| Time(at.max(schedule::to_second(asked))));
                self.nothing_was_made();
                self.not_ready(reason, message);
            }
            FailureKind::Permanent { reason } => {
                failures.next_retry_at = None;
                self.nothing_was_made();
                self.not_ready(reason, message);
            }
            FailureKind::Ambiguous => self.not_ready(Reason::OutcomeUnknown, message),
            FailureKind::Ledger => self.not_ready(Reason::Deleting, message),
        }
        let next = failures.next_retry_at.as_ref().map(|Time(at)| *at);
        self.status.failures = Some(failures);
        self.rest(next)
    }

    /// The issuer answered that it made no token: the attempt that was in hand is over.
    fn nothing_was_made(&mut self) {
        if self.observed.intent_in_hand.is_some() {
            self.status.pending = None;
        }
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

/// The number of the next try.
pub fn next_attempt(status: Option<&ApiTokenStatus>) -> i64 {
    status.and_then(|status| status.attempts).unwrap_or(0) + 1
}

/// Whether a value of the built-in issuer was announced after `current` was made, and so never became
/// current itself: ids end in the number of the try.
fn was_announced_after(previous: &PreviousToken, current: &TokenStatus) -> bool {
    let number = |id: &Option<String>| id.as_deref()?.rsplit_once('-')?.1.parse::<i64>().ok();
    let both = number(&previous.id).zip(number(&current.id));
    previous.hint.is_none() && both.is_some_and(|(previous, current)| previous > current)
}

/// A fingerprint of what can heal a failure beside a change of the spec: issuer, credential, request.
pub fn situation(observed: &Observed) -> Option<String> {
    let issuer = observed.issuer.as_ref().ok()?;
    let request = rotation::request(observed).unwrap_or_default();
    let text = format!("{}\n{}\n{request}", issuer.reference.name, issuer.version);
    Some(token_value::hash(text.as_bytes()).chars().take(16).collect())
}

/// Consumers pick a new value up with a delay: says where the overlap leaves them too little time.
fn says_overlap(reason: &str, overlap: SignedDuration) -> String {
    let scheduled = reason == Cause::Interval.as_str() || reason == Cause::BeforeExpiry.as_str();
    if overlap.is_positive() && !(scheduled && overlap < rotation::SHORT_OVERLAP) {
        return format!("; the old one works for another {overlap:#}");
    }
    let works = if overlap.is_positive() {
        format!("; the old one works for another {overlap:#} only")
    } else {
        "; the old one works no more".to_owned()
    };
    if scheduled {
        return format!("{works}: consumers may read a Secret up to a minute late, so set spec.rotation.overlap to 2m or more");
    }
    works
}

/// What can be done with a token in that state.
fn available_actions(state: ObservedState) -> AvailableActions {
    let (active, suspended) = (state == ObservedState::Active, state == ObservedState::Suspended);
    AvailableActions {
        activate: suspended,
        suspend: active,
        revoke: active || suspended,
        rotate: active,
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
