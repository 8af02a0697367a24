//! Decides what happens to an issuer: whether it and its credential are held, when it is asked what it
//! has, what becomes of tokens that nobody accounts for, and what its status says.
//!
//! Like a token, an issuer is decided on step by step: each step shows something, then it is decided
//! again. The credential is held before the issuer, and both before the first token is made.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

use super::{
    observed::Terms,
    plan::Orphan,
    schedule,
    sweep::{self, Fate, Holdings},
};
use crate::{
    api::{
        IssuerSpec, IssuerStatus, bounds,
        conditions::{self, ConditionType, Reason},
        issuer::{self, IssuerCapabilities, TokenCounts},
        names,
    },
    issuers::{Capabilities, IssuerError, ListedState, ListedToken, Verb},
};

/// A token that was not used for so long is inactive.
const INACTIVE_AFTER: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Polls of issuers that were made together are spread over this share of the interval.
const SPREAD: i64 = 10;

/// Everything that the decision depends on.
pub struct ObservedIssuerObject<'a> {
    /// Its metadata.
    pub metadata: &'a ObjectMeta,
    /// Its spec.
    pub spec: &'a IssuerSpec,
    /// The status that stands there.
    pub status: Option<&'a IssuerStatus>,
    /// What was seen beside the object itself.
    pub facts: &'a Facts,
}

/// What was seen beside the object itself. Steps add to it.
pub struct Facts {
    /// What the issuer can do; nothing where this version knows no such type.
    pub capabilities: Option<Capabilities>,
    /// Whether an ApiToken refers to it.
    pub in_use: bool,
    /// The Secret that its spec names.
    pub credential: Credential,
    /// Changes whenever the spec or the credential does.
    pub version: String,
    /// Secrets of the same namespace that other issuers in use need.
    pub needed_elsewhere: BTreeSet<String>,
    /// Secrets that this pass has let go.
    pub released: BTreeSet<String>,
    /// What ApiTokens account for.
    pub holdings: Holdings,
    /// What came of asking the issuer last.
    pub last_look: Option<Look>,
    /// What the issuer has, where it was asked in this pass.
    pub view: Option<Vec<ListedToken>>,
    /// Accounts that it could not be asked about in this pass.
    pub unseen: BTreeSet<String>,
    /// The part of its ledger that stands in ConfigMaps, where it was read in this pass.
    pub book: Vec<issuer::Orphan>,
    /// Tokens that the API server was asked about in this pass, and that nobody accounts for.
    pub confirmed: Option<Vec<Orphan>>,
    /// Tokens that could not be ended in this pass.
    pub resisting: BTreeSet<String>,
    /// What the operator was told at its start.
    pub terms: Terms,
    /// The time, to the second.
    pub now: Timestamp,
}

/// The Secret with the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The issuer needs none, or it does not exist.
    Absent,
    /// It exists.
    Present {
        /// Whether it has our finalizer.
        held: bool,
        /// Since when it is being deleted.
        going_since: Option<Timestamp>,
    },
}

/// What came of asking the issuer what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// When it was asked.
    pub at: Timestamp,
    /// The version of spec and credential that it was asked with.
    pub version: String,
    /// How often it failed in a row.
    pub failures: i32,
    /// Why it failed.
    pub error: Option<IssuerError>,
}

impl Look {
    /// The look after this one.
    pub fn followed_by(before: Option<&Self>, version: String, error: Option<IssuerError>, at: Timestamp) -> Self {
        let failed_before = before.map_or(0, |before| before.failures);
        let failures = error.as_ref().map_or(0, |_| failed_before.saturating_add(1));
        Self {
            at,
            version,
            failures,
            error,
        }
    }
}

/// What is to be done next.
#[derive(Debug, PartialEq)]
pub enum IssuerPlan {
    /// Take this step, then decide again.
    Step(IssuerStep),
    /// Nothing is left to do.
    Rest {
        /// The status as it is to be, where it differs.
        status: Option<Box<IssuerStatus>>,
        /// When to look again, if nothing happens before.
        look_again_at: Option<Timestamp>,
    },
}

/// One thing to do; each is safe to repeat.
#[derive(Debug, PartialEq)]
pub enum IssuerStep {
    /// Write the status before going on.
    WriteStatus(Box<IssuerStatus>),
    /// Have our finalizer on the Secret with the credential.
    HoldCredential,
    /// Take our finalizer off the Secret of that name.
    ReleaseCredential(String),
    /// Write these finalizers.
    WriteFinalizers(Vec<String>),
    /// Ask the issuer what it has.
    Look,
    /// Ask the API server whether really nobody accounts for these.
    Confirm(Vec<Orphan>),
    /// Write these into a ConfigMap.
    Keep(Vec<issuer::Orphan>),
    /// Take these out of the ConfigMaps.
    Forget(Vec<String>),
    /// End a token of the ledger.
    End {
        /// Its entry.
        orphan: issuer::Orphan,
        /// What is to be done to it.
        verb: Verb,
    },
}

/// Decides for one issuer.
pub fn decide(observed: &ObservedIssuerObject<'_>) -> IssuerPlan {
    if observed.is_going() && !observed.is_needed() {
        return let_go(observed).map_or_else(|| rest(observed), IssuerPlan::Step);
    }
    let step = hold(observed)
        .or_else(|| observed.look_is_due().then_some(IssuerStep::Look))
        .or_else(|| clear(observed));
    step.map_or_else(|| rest(observed), IssuerPlan::Step)
}

impl ObservedIssuerObject<'_> {
    fn is_going(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether tokens stand on it.
    fn is_needed(&self) -> bool {
        self.facts.in_use
    }

    fn is_held(&self) -> bool {
        let mut finalizers = self.metadata.finalizers.iter().flatten();
        finalizers.any(|finalizer| finalizer == names::FINALIZER)
    }

    fn orphans(&self) -> &[issuer::Orphan] {
        self.status.map(|status| status.orphans.as_slice()).unwrap_or_default()
    }

    /// The Secret that the spec names.
    fn declared_secret(&self) -> Option<&str> {
        self.spec.credentials_ref().map(|reference| reference.name.as_str())
    }

    /// The Secret that was held, or was about to be.
    fn recorded_secret(&self) -> Option<&str> {
        let recorded = self.status?.credential_secret.as_deref();
        recorded.filter(|name| !self.facts.released.contains(*name))
    }

    fn is_remote(&self) -> bool {
        self.facts.capabilities.is_some_and(|can| !can.local)
    }

    fn look_is_due(&self) -> bool {
        self.is_remote() && !self.is_going() && self.next_look() <= self.facts.now
    }

    /// When the issuer is asked again what it has.
    fn next_look(&self) -> Timestamp {
        let Some(last) = self.facts.last_look.as_ref().filter(|last| last.version == self.facts.version) else {
            return self.facts.now;
        };
        let uid = self.metadata.uid.as_deref().unwrap_or_default();
        let interval = self.facts.terms.poll_interval;
        let pause = match &last.error {
            None => interval - schedule::spread(interval / SPREAD as i32, uid),
            Some(IssuerError::RateLimited { retry_after }) => {
                let asked = retry_after.unwrap_or_default();
                schedule::pause(last.failures, uid).max(asked.min(interval))
            }
            Some(_) => schedule::pause(last.failures, uid).min(interval),
        };
        schedule::later(last.at, pause)
    }
}

/// Nothing stands on it any more: its ledger is brought to safety, its credential and the issuer go.
fn let_go(observed: &ObservedIssuerObject<'_>) -> Option<IssuerStep> {
    if !observed.is_held() {
        return None;
    }
    let in_book = |orphan: &&issuer::Orphan| observed.facts.book.iter().any(|kept| kept.id == orphan.id);
    let unsafe_yet: Vec<_> = observed.orphans().iter().filter(|orphan| !in_book(orphan)).cloned().collect();
    if !unsafe_yet.is_empty() {
        return Some(IssuerStep::Keep(unsafe_yet));
    }
    let credential = observed
        .recorded_secret()
        .filter(|name| !observed.facts.needed_elsewhere.contains(*name));
    Some(match credential {
        Some(name) => IssuerStep::ReleaseCredential(name.to_owned()),
        None => IssuerStep::WriteFinalizers(other_finalizers(observed)),
    })
}

/// The credential first, then the issuer; a Secret that is no longer the credential is let go.
fn hold(observed: &ObservedIssuerObject<'_>) -> Option<IssuerStep> {
    let (declared, recorded) = (observed.declared_secret(), observed.recorded_secret());
    if let Some(former) = recorded.filter(|recorded| Some(*recorded) != declared) {
        return Some(if observed.facts.needed_elsewhere.contains(former) {
            record(observed)
        } else {
            IssuerStep::ReleaseCredential(former.to_owned())
        });
    }
    let (declared, needed) = (declared.map(str::to_owned), observed.is_needed());
    match (declared, observed.facts.credential) {
        (
            Some(name),
            Credential::Present {
                held: true,
                going_since: Some(since),
            },
        ) if may_go(observed, &name, since) => {
            return Some(IssuerStep::ReleaseCredential(name));
        }
        (
            Some(_),
            Credential::Present {
                held: false,
                going_since: None,
            },
        ) if needed => {
            return Some(if recorded.is_some() {
                IssuerStep::HoldCredential
            } else {
                record(observed)
            });
        }
        _ => {}
    }
    (needed && !observed.is_held() && !observed.is_going()).then(|| {
        let held = other_finalizers(observed).into_iter().chain([names::FINALIZER.to_owned()]);
        IssuerStep::WriteFinalizers(held.collect())
    })
}

/// Whether a Secret that is being deleted may go: nobody needs it, or it was held for long enough.
fn may_go(observed: &ObservedIssuerObject<'_>, name: &str, since: Timestamp) -> bool {
    let needed = observed.is_needed() || observed.facts.needed_elsewhere.contains(name);
    !needed || end_of_hold(observed, since) <= observed.facts.now
}

fn end_of_hold(observed: &ObservedIssuerObject<'_>, since: Timestamp) -> Timestamp {
    let terms = &observed.facts.terms;
    schedule::later(since.max(terms.started_at), terms.revoke_deadline)
}

/// Which Secret is held is written down first, so that it can be let go whatever happens.
fn record(observed: &ObservedIssuerObject<'_>) -> IssuerStep {
    let mut status = observed.status.cloned().unwrap_or_default();
    status.credential_secret = observed.declared_secret().map(str::to_owned);
    IssuerStep::WriteStatus(Box::new(status))
}

fn other_finalizers(observed: &ObservedIssuerObject<'_>) -> Vec<String> {
    let present = observed.metadata.finalizers.iter().flatten();
    present.filter(|finalizer| *finalizer != names::FINALIZER).cloned().collect()
}

/// Tokens that nobody accounts for are written down, and ended where that is declared.
fn clear(observed: &ObservedIssuerObject<'_>) -> Option<IssuerStep> {
    let facts = observed.facts;
    let view = facts.view.as_deref()?;
    let known: BTreeSet<&str> = observed
        .orphans()
        .iter()
        .chain(&facts.book)
        .map(|entry| entry.id.as_str())
        .collect();
    let mut strays = sweep::strays(view, &facts.holdings, &facts.terms);
    strays.retain(|stray| !known.contains(stray.id.as_str()));
    if !strays.is_empty() && facts.confirmed.is_none() {
        return Some(IssuerStep::Confirm(strays));
    }
    let ledger = ledger(observed, view);
    let ends = |entry: &&issuer::Orphan| !facts.resisting.contains(&entry.id) && fate(observed, view, entry) == Fate::Ends;
    if let Some(orphan) = ledger.iter().chain(&facts.book).find(ends) {
        return Some(IssuerStep::End {
            orphan: orphan.clone(),
            verb: verb(observed, view, orphan),
        });
    }
    let overflow: Vec<_> = ledger.into_iter().skip(bounds::ORPHANS).collect();
    if !overflow.is_empty() {
        return Some(IssuerStep::Keep(overflow));
    }
    let over: Vec<_> = facts
        .book
        .iter()
        .filter(|entry| fate(observed, view, entry) == Fate::Leaves)
        .collect();
    (!over.is_empty()).then(|| IssuerStep::Forget(over.into_iter().map(|entry| entry.id.clone()).collect()))
}

/// The entries that are to stand in the status, and those for which there is no room.
fn ledger(observed: &ObservedIssuerObject<'_>, view: &[ListedToken]) -> Vec<issuer::Orphan> {
    let facts = observed.facts;
    let stays = |entry: &&issuer::Orphan| fate(observed, view, entry) != Fate::Leaves;
    let in_book = |orphan: &&Orphan| facts.book.iter().any(|kept| kept.id == orphan.id);
    let new = facts.confirmed.iter().flatten().filter(|orphan| !in_book(orphan));
    let new = new.map(|orphan| entry(orphan, None, facts.now));
    let kept = observed.orphans().iter().filter(stays).cloned();
    kept.chain(new.filter(|entry| stays(&entry))).collect()
}

fn fate(observed: &ObservedIssuerObject<'_>, view: &[ListedToken], entry: &issuer::Orphan) -> Fate {
    let facts = observed.facts;
    if entry.account.as_ref().is_some_and(|account| facts.unseen.contains(account)) {
        return Fate::Stays;
    }
    sweep::fate(entry, view, &facts.holdings, observed.spec.orphan_policy, facts.now)
}

/// How a token of the ledger is ended.
fn verb(observed: &ObservedIssuerObject<'_>, view: &[ListedToken], orphan: &issuer::Orphan) -> Verb {
    let revoked = view
        .iter()
        .any(|token| token.id == orphan.id && token.state == ListedState::Revoked);
    let revoke_first = observed.facts.capabilities.is_some_and(|can| can.revoke_before_delete);
    if revoke_first && !revoked { Verb::Revoke } else { Verb::Delete }
}

/// An entry of the ledger: what comes from outside is cut to its bounds.
pub fn entry(orphan: &Orphan, api_token: Option<String>, now: Timestamp) -> issuer::Orphan {
    let cut = |text: &String| text.chars().take(bounds::TOKEN_NAME).collect();
    issuer::Orphan {
        id: orphan.id.chars().take(bounds::TOKEN_ID).collect(),
        name: orphan.name.as_ref().map(cut),
        account: orphan.account.as_ref().map(cut),
        api_token,
        reason: orphan.reason.as_str().to_owned(),
        since: Time(now),
    }
}

fn rest(observed: &ObservedIssuerObject<'_>) -> IssuerPlan {
    if observed.is_going() && !observed.is_needed() {
        // It is gone in a moment.
        return IssuerPlan::Rest {
            status: None,
            look_again_at: None,
        };
    }
    let status = status(observed);
    IssuerPlan::Rest {
        look_again_at: look_again_at(observed),
        status: (Some(&status) != observed.status).then(|| Box::new(status)),
    }
}

fn look_again_at(observed: &ObservedIssuerObject<'_>) -> Option<Timestamp> {
    let poll = (observed.is_remote() && !observed.is_going()).then(|| observed.next_look());
    let end_of_hold = match observed.facts.credential {
        Credential::Present {
            held: true,
            going_since: Some(since),
        } => Some(end_of_hold(observed, since)),
        _ => None,
    };
    poll.into_iter().chain(end_of_hold).min()
}

fn status(observed: &ObservedIssuerObject<'_>) -> IssuerStatus {
    let mut status = observed.status.cloned().unwrap_or_default();
    status.observed_generation = observed.metadata.generation;
    status.capabilities = observed.facts.capabilities.map(shown);
    status.credential_secret = observed.recorded_secret().map(str::to_owned);
    if let Some(view) = observed.facts.view.as_deref() {
        status.tokens = Some(counts(observed, view));
        status.orphans = ledger(observed, view);
    }
    let (reason, message) = readiness(observed);
    let ready = reason == Reason::Ready;
    let (working, stalled) = (!ready && !reason.stalls(), reason.stalls());
    let mut set = |type_, value, text: &str| {
        let (generation, now) = (observed.metadata.generation, observed.facts.now);
        conditions::set(&mut status.conditions, type_, value, reason, text, generation, now);
    };
    set(ConditionType::Ready, ready, &message);
    set(ConditionType::Reconciling, working, if stalled { "" } else { &message });
    set(ConditionType::Stalled, stalled, if stalled { &message } else { "" });
    status
}

/// Whether tokens can be made, and what to do where not.
fn readiness(observed: &ObservedIssuerObject<'_>) -> (Reason, String) {
    if observed.is_going() {
        let waits = "waits for the ApiTokens that refer to it: its tokens stay accepted, it makes no new ones";
        return (Reason::Deleting, waits.to_owned());
    }
    if observed.facts.capabilities.is_none() {
        let unknown = "this type of issuer is not supported by this version yet: use spec.builtin";
        return (Reason::NotSupported, unknown.to_owned());
    }
    match observed.facts.last_look.as_ref().and_then(|last| last.error.as_ref()) {
        Some(error) => (error.into(), error.to_string().chars().take(bounds::REASON).collect()),
        None => (Reason::Ready, "tokens can be made".to_owned()),
    }
}

/// How many tokens the issuer has: ours, others, and those that nobody used for long.
fn counts(observed: &ObservedIssuerObject<'_>, view: &[ListedToken]) -> TokenCounts {
    let facts = observed.facts;
    let live: Vec<&ListedToken> = view.iter().filter(|token| token.state != ListedState::Revoked).collect();
    let managed = live.iter().filter(|token| facts.holdings.accounts_for(&token.id)).count();
    let tells = facts.capabilities.is_some_and(|can| can.last_used);
    let inactive = live.iter().filter(|token| tells && is_inactive(token, facts.now)).count();
    let bounded = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    TokenCounts {
        managed: bounded(managed),
        unmanaged: bounded(live.len() - managed),
        inactive: bounded(inactive),
    }
}

fn is_inactive(token: &ListedToken, now: Timestamp) -> bool {
    let last = token.last_used_at.max(token.created_at);
    last.is_some_and(|last| schedule::later(last, INACTIVE_AFTER) <= now)
}

/// What an issuer can do, as its status says it.
fn shown(can: Capabilities) -> IssuerCapabilities {
    IssuerCapabilities {
        suspend: can.suspend,
        reset: can.reset.is_some(),
        readable_value: can.readable_value,
        expiry: can.expiry,
        names: can.names,
        update: can.update,
        last_used: can.last_used,
    }
}

#[cfg(test)]
#[path = "tests/issuer.rs"]
mod tests;
