//! An API server, an issuer and two operators in memory, with a fault at any step.
//!
//! The steps are taken as the controller takes them: under the version that was read, with what is
//! remembered between passes, and with a last look before a token is ended at the issuer. What must
//! never happen is looked for after every single change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time},
};

use super::{at, situation, value};
use crate::{
    api::{
        ApiToken, ApiTokenSpec, ApiTokenStatus,
        api_token::{DesiredState, ObservedState},
        conditions::Reason,
        names,
    },
    issuers::{Capabilities, IssuedToken, ListedState, ListedToken},
    lifecycle::{
        Adoptee, Failure, FailureKind, FoundSecret, Notice, Observed, ObservedSecret, Orphan, Plan, Rest, Step, decide, secret,
        take_waiting, token_id,
    },
    token_value,
};

/// What goes wrong at one step of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The program ends before the step.
    CrashBefore,
    /// The program ends after the step.
    CrashAfter,
    /// The step is done, and nobody hears of it.
    AnswerLost,
    /// The step is not done, and says so.
    Refused,
    /// The other operator takes a whole pass before the step.
    OtherFirst,
}

/// A fault at one step of a pass, counted from 0.
pub type Mishap = Option<(usize, Fault)>;

/// What an operator remembers between passes.
#[derive(Default)]
struct Operator {
    fresh: Option<IssuedToken>,
    polled_at: Option<Timestamp>,
    /// It never sees a version older than the last one that it wrote.
    seen: usize,
}

/// A token that was made at any time.
struct Made {
    id: String,
    hash: String,
}

/// Everything outside of the decision.
pub struct World {
    pub now: Timestamp,
    capabilities: Capabilities,
    versions: Vec<Arc<ApiToken>>,
    pub gone: bool,
    secrets: BTreeMap<String, Secret>,
    listed: Vec<ListedToken>,
    ledger: Vec<Orphan>,
    made: Vec<Made>,
    /// Tokens that were replaced in place: an issuer does that once.
    reset: BTreeSet<String>,
    /// Somebody took the value from consumers, and no new one has come yet.
    lost: bool,
    operators: [Operator; 2],
    counter: u64,
    requests: u32,
    pub log: Vec<String>,
}

/// How a pass ended.
pub enum Passed {
    /// With rest: when to look again, and whether anything was written.
    Rested(Option<Timestamp>, bool),
    /// Somewhere in the middle.
    Stopped,
}

/// How a step ended that led to no further one.
enum Stop {
    Crash,
    Conflict,
}

impl World {
    pub fn new(capabilities: Capabilities, spec: ApiTokenSpec) -> Self {
        let mut token = situation().token.as_ref().clone();
        token.spec = spec;
        token.metadata.resource_version = Some("1".into());
        Self {
            now: at("2030-01-01T00:00:00Z"),
            capabilities,
            versions: vec![Arc::new(token)],
            gone: false,
            secrets: BTreeMap::new(),
            listed: Vec::new(),
            ledger: Vec::new(),
            made: Vec::new(),
            reset: BTreeSet::new(),
            lost: false,
            operators: Default::default(),
            counter: 100,
            requests: 0,
            log: Vec::new(),
        }
    }

    pub fn object(&self) -> &Arc<ApiToken> {
        self.versions.last().unwrap()
    }

    fn status(&self) -> ApiTokenStatus {
        self.object().status.clone().unwrap_or_default()
    }

    /// A change of the object by anybody.
    fn write(&mut self, change: impl FnOnce(&mut ApiToken)) {
        let mut token = self.object().as_ref().clone();
        change(&mut token);
        token.metadata.resource_version = Some((self.versions.len() + 1).to_string());
        self.versions.push(Arc::new(token));
    }

    /// A change of the spec by a user.
    pub fn respec(&mut self, change: impl FnOnce(&mut ApiTokenSpec)) {
        if self.gone || self.object().spec.state == DesiredState::Revoked {
            return;
        }
        let mut spec = self.object().spec.clone();
        change(&mut spec);
        self.write(|token| {
            token.spec = spec;
            token.metadata.generation = token.metadata.generation.map(|generation| generation + 1);
        });
    }

    /// A request for a rotation, because of a leak or not.
    pub fn request(&mut self, leak: bool) {
        self.requests += 1;
        let request = self.requests.to_string();
        self.write(|token| {
            let annotations = token.metadata.annotations.get_or_insert_default();
            annotations.insert(names::ROTATE_REQUESTED_AT_ANNOTATION.into(), request);
            annotations.remove(names::ROTATE_OVERLAP_ANNOTATION);
            if leak {
                annotations.insert(names::ROTATE_OVERLAP_ANNOTATION.into(), "0s".into());
            }
        });
    }

    /// The object is deleted: at once where nothing holds it.
    pub fn delete(&mut self) {
        let now = self.now;
        self.write(|token| {
            token.metadata.deletion_timestamp.get_or_insert(Time(now));
            token.metadata.generation = token.metadata.generation.map(|generation| generation + 1);
        });
        self.collect();
    }

    /// Somebody deletes the Secret, or writes another value into it.
    pub fn tamper(&mut self, delete: bool) {
        let name = secret::name(self.object()).to_owned();
        let key = self.object().spec.secret.key.clone();
        self.lost = true;
        if delete {
            self.secrets.remove(&name);
        } else if let Some(secret) = self.secrets.get_mut(&name) {
            secret.data.get_or_insert_default().insert(key, ByteString(b"tampered".to_vec()));
            let version = self.count();
            self.secrets.get_mut(&name).unwrap().metadata.resource_version = Some(version);
        }
    }

    /// Somebody removes the current token at the issuer.
    pub fn remove_at_issuer(&mut self) {
        let id = self.status().token.and_then(|token| token.id);
        self.listed.retain(|token| Some(&token.id) != id.as_ref());
    }

    fn collect(&mut self) {
        let token = self.object();
        let held = token.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        if token.metadata.deletion_timestamp.is_some() && !held {
            self.gone = true;
        }
    }

    fn count(&mut self) -> String {
        self.counter += 1;
        self.counter.to_string()
    }

    // What an operator sees.

    fn observe(&mut self, operator: usize, lag: usize) -> Observed {
        let newest = self.versions.len() - 1;
        let seen = newest.saturating_sub(lag).max(self.operators[operator].seen);
        let token = self.versions[seen].clone();
        let mut observed = situation();
        {
            let issuer = observed.issuer.as_mut().unwrap();
            issuer.capabilities = Some(self.capabilities);
            issuer.reference.kind = crate::api::IssuerKind::TokenIssuer;
        }
        observed.terms.started_at = at("2030-01-01T00:00:00Z");
        observed.now = self.now;
        observed.secret = self.secret_as_seen(&token);
        observed.fresh = self.operators[operator].fresh.take();
        observed.polled_at = self.operators[operator].polled_at;
        observed.adoptee = Adoptee::Unread;
        observed.token = token;
        observed
    }

    fn secret_as_seen(&self, token: &ApiToken) -> ObservedSecret {
        let name = secret::name(token);
        let recorded = token.status.as_ref().and_then(|status| status.secret_ref.as_ref());
        let known = recorded.filter(|recorded| recorded.name == name);
        match (self.secrets.get(name), known) {
            (Some(secret), Some(known)) if secret.metadata.resource_version == known.resource_version => ObservedSecret::Unchanged,
            _ => self.read_secret(name),
        }
    }

    fn read_secret(&self, name: &str) -> ObservedSecret {
        match self.secrets.get(name) {
            Some(secret) => ObservedSecret::Found(FoundSecret::new(secret.clone())),
            None => ObservedSecret::Absent,
        }
    }

    /// One pass of an operator that sees the object `lag` versions late.
    pub fn pass(&mut self, operator: usize, lag: usize, mishap: Mishap) -> Passed {
        if self.gone {
            return Passed::Rested(None, false);
        }
        let mut observed = self.observe(operator, lag);
        for number in 0..64 {
            match decide(&observed) {
                Plan::Step(step) => {
                    let fault = mishap.and_then(|(at, fault)| (at == number).then_some(fault));
                    self.log.push(format!("{operator}: {} {fault:?}", step.name()));
                    if let Err(stop) = self.take(operator, &mut observed, step, fault) {
                        if matches!(stop, Stop::Crash) {
                            self.crash(operator);
                        } else {
                            self.keep(operator, observed, None);
                        }
                        return Passed::Stopped;
                    }
                }
                Plan::Rest(rest) => {
                    let fault = mishap.and_then(|(at, fault)| (at == number).then_some(fault));
                    return self.rest(operator, observed, *rest, fault);
                }
            }
        }
        panic!("no end:\n{}", self.log.join("\n"));
    }

    fn rest(&mut self, operator: usize, observed: Observed, rest: Rest, fault: Option<Fault>) -> Passed {
        let Rest {
            status,
            look_again_at,
            notices,
        } = rest;
        let token = observed.token.clone();
        let before = token.status.clone().unwrap_or_default();
        let wrote = !observed.repaired.is_empty() && before != status || !super::same_but_for_foreign_changes(&before, &status);
        self.operators[operator].polled_at = observed.polled_at;
        self.keep(operator, observed, Some(&status));
        if wrote {
            self.log.push(format!(
                "{operator}: status {fault:?} {:?}",
                notices.iter().map(|Notice { reason, .. }| *reason).collect::<Vec<_>>()
            ));
            if fault == Some(Fault::OtherFirst) {
                self.pass(1 - operator, 0, None);
            }
            if fault == Some(Fault::CrashBefore) {
                self.crash(operator);
                return Passed::Stopped;
            }
            if fault == Some(Fault::Refused) || self.put_status(operator, &token, status).is_none() {
                return Passed::Stopped;
            }
            if matches!(fault, Some(Fault::CrashAfter | Fault::AnswerLost)) {
                self.crash(operator);
                return Passed::Stopped;
            }
        }
        Passed::Rested(look_again_at, wrote)
    }

    /// What is remembered is lost; a list after the start is not older than what was seen before.
    fn crash(&mut self, operator: usize) {
        let seen = self.operators[operator].seen;
        self.operators[operator] = Operator {
            seen,
            ..Default::default()
        };
    }

    /// As the controller keeps a token that no status names yet.
    fn keep(&mut self, operator: usize, mut observed: Observed, status: Option<&ApiTokenStatus>) {
        if let Some(fresh) = take_waiting(&mut observed, status) {
            self.operators[operator].fresh = Some(fresh);
        }
    }

    // The steps.

    fn take(&mut self, operator: usize, observed: &mut Observed, step: Step, fault: Option<Fault>) -> Result<(), Stop> {
        if fault == Some(Fault::OtherFirst) {
            self.pass(1 - operator, 0, None);
        }
        if fault == Some(Fault::CrashBefore) {
            return Err(Stop::Crash);
        }
        let kind = kind_of_failure(&step, fault);
        if fault == Some(Fault::Refused) {
            observed.failure = Some(failure(kind));
            return Ok(());
        }
        let result = self.apply(operator, observed, step);
        self.check();
        match fault {
            Some(Fault::CrashAfter) => Err(Stop::Crash),
            Some(Fault::AnswerLost) => {
                if kind == FailureKind::Ambiguous {
                    observed.fresh = None;
                }
                observed.failure = Some(failure(kind));
                result
            }
            _ => result,
        }
    }

    fn apply(&mut self, operator: usize, observed: &mut Observed, step: Step) -> Result<(), Stop> {
        match step {
            Step::AddFinalizer => self.finalizers(operator, observed, vec![names::FINALIZER.to_owned()]),
            Step::RemoveFinalizer => self.finalizers(operator, observed, Vec::new()),
            Step::WriteStatus(status) => self.record(operator, observed, *status),
            Step::IssueToken { attempt } => {
                observed.fresh = Some(self.make(observed, attempt, token_id(observed, attempt)));
                Ok(())
            }
            Step::ListTokens => {
                observed.sees(self.listed.clone(), self.now);
                Ok(())
            }
            Step::CreateToken | Step::ResetToken { .. } => {
                self.make_at_issuer(observed, &step);
                Ok(())
            }
            Step::SuspendToken { id } => self.switch(observed, &id, ListedState::Suspended),
            Step::ActivateToken { id } => self.switch(observed, &id, ListedState::Active),
            Step::RevokeToken { id } => self.switch(observed, &id, ListedState::Revoked),
            Step::DeleteToken { id } => self.remove(observed, &id),
            Step::UpdateToken { id, name } => {
                self.listed
                    .iter_mut()
                    .filter(|token| token.id == id)
                    .for_each(|token| token.name = Some(name.clone()));
                observed.updated = true;
                Ok(())
            }
            Step::EnterLedger(orphans) => {
                self.ledger.extend(orphans.clone());
                observed.orphaned.extend(orphans);
                Ok(())
            }
            Step::CreateSecret(secret) => {
                if observed.current().is_some() {
                    self.unchanged(&observed.token)?;
                }
                observed.secret = self.put_secret(secret.object().clone(), None);
                Ok(())
            }
            Step::UpdateSecret {
                secret,
                changes,
                brings_value,
            } => {
                if brings_value {
                    self.unchanged(&observed.token)?;
                }
                let object = secret.object().clone();
                let name = object.metadata.name.clone().unwrap_or_default();
                let read = object.metadata.resource_version.clone();
                let written = self.put_secret(object, Some(read.unwrap_or_default()));
                observed.repaired = changes;
                *observed.secret_named(&name) = written;
                Ok(())
            }
            Step::DeleteSecret(version) => {
                let same = |secret: &Secret| secret.metadata.resource_version == version.resource_version;
                if self.secrets.get(&version.name).is_some_and(same) {
                    self.secrets.remove(&version.name);
                }
                let left = self.read_secret(&version.name);
                *observed.secret_named(&version.name) = left;
                Ok(())
            }
            Step::ReadSecret => {
                observed.secret = self.read_secret(secret::name(&observed.token));
                Ok(())
            }
            Step::ReadFormerSecret => {
                let name = observed
                    .status()
                    .and_then(|status| status.secret_ref.as_ref())
                    .map(|recorded| recorded.name.clone());
                observed.former_secret = self.read_secret(&name.unwrap_or_default());
                Ok(())
            }
            Step::ReadAdoptee => {
                observed.adoptee = Adoptee::Unusable("there is none: make one".into());
                Ok(())
            }
        }
    }

    fn finalizers(&mut self, operator: usize, observed: &mut Observed, finalizers: Vec<String>) -> Result<(), Stop> {
        self.unchanged(&observed.token)?;
        self.write(|token| token.metadata.finalizers = Some(finalizers));
        self.saw(operator, observed);
        self.collect();
        Ok(())
    }

    fn record(&mut self, operator: usize, observed: &mut Observed, status: ApiTokenStatus) -> Result<(), Stop> {
        let (before, attempt) = (
            observed.pending().map(|pending| pending.attempt),
            status.pending.as_ref().map(|pending| pending.attempt),
        );
        let token = observed.token.clone();
        observed.token = self.put_status(operator, &token, status).ok_or(Stop::Conflict)?;
        if attempt != before {
            observed.intent_in_hand = attempt;
        }
        Ok(())
    }

    fn saw(&mut self, operator: usize, observed: &mut Observed) {
        self.operators[operator].seen = self.versions.len() - 1;
        observed.token = self.object().clone();
    }

    fn unchanged(&self, token: &ApiToken) -> Result<(), Stop> {
        let same = !self.gone && token.metadata.resource_version == self.object().metadata.resource_version;
        if same { Ok(()) } else { Err(Stop::Conflict) }
    }

    fn put_status(&mut self, operator: usize, read: &ApiToken, status: ApiTokenStatus) -> Option<Arc<ApiToken>> {
        self.unchanged(read).ok()?;
        self.check_rotation(&status);
        self.lost &= status.rotations == self.status().rotations;
        self.write(|token| token.status = Some(status));
        self.operators[operator].seen = self.versions.len() - 1;
        self.check();
        Some(self.object().clone())
    }

    fn make(&mut self, observed: &Observed, attempt: i64, id: String) -> IssuedToken {
        self.counter += 1;
        let value = value(self.counter);
        self.made.push(Made {
            id: id.clone(),
            hash: value.hash(),
        });
        IssuedToken {
            value,
            id,
            name: observed.pending().and_then(|pending| pending.name.clone()),
            attempt,
            issued_at: observed.now,
            announced_at: None,
            expires_at: None,
            details: Default::default(),
        }
    }

    fn make_at_issuer(&mut self, observed: &mut Observed, step: &Step) {
        let pending = observed.pending().unwrap().clone();
        if let Step::ResetToken { base } = step
            && !self.reset.insert(base.clone())
        {
            let reason = Reason::VendorRefused;
            observed.failure = Some(failure(FailureKind::Permanent { reason }));
            return;
        }
        self.counter += 1;
        let id = format!("vendor-{}", self.counter);
        let mut made = self.make(observed, pending.attempt, id.clone());
        if let Step::ResetToken { base } = step {
            let old = self
                .listed
                .iter()
                .find(|token| token.id == *base)
                .and_then(|token| token.name.clone());
            made.name = old.map(|name| format!("{name} {id}"));
        }
        made.expires_at = pending.expires_at.as_ref().filter(|_| self.capabilities.expiry).map(|Time(at)| *at);
        self.listed.push(ListedToken {
            id,
            account: None,
            name: made.name.clone().filter(|_| self.capabilities.names),
            value: self.capabilities.readable_value.then(|| made.value.clone()),
            hint: None,
            state: ListedState::Active,
            created_at: Some(self.now),
            shown_at: None,
            expires_at: made.expires_at,
            last_used_at: None,
            fits: true,
            details: Default::default(),
        });
        observed.fresh = Some(made);
    }

    fn switch(&mut self, observed: &mut Observed, id: &str, state: ListedState) -> Result<(), Stop> {
        self.unchanged(&observed.token)?;
        if state == ListedState::Revoked {
            self.check_end(id);
            observed.revoked.insert(id.to_owned());
        }
        for token in self
            .listed
            .iter_mut()
            .chain(observed.view.iter_mut().flatten())
            .filter(|token| token.id == id)
        {
            token.state = state;
        }
        Ok(())
    }

    fn remove(&mut self, observed: &mut Observed, id: &str) -> Result<(), Stop> {
        self.unchanged(&observed.token)?;
        let listed = self.listed.iter().find(|token| token.id == id);
        let needs_revoking = self.capabilities.revoke_before_delete && listed.is_some_and(|token| token.state != ListedState::Revoked);
        assert!(!needs_revoking, "deleted before it was revoked:\n{}", self.log.join("\n"));
        self.check_end(id);
        self.listed.retain(|token| token.id != id);
        observed.view.get_or_insert_default().retain(|token| token.id != id);
        Ok(())
    }

    /// As the API server does it: with the owned keys in the managed fields, and a new version.
    fn put_secret(&mut self, mut object: Secret, read: Option<String>) -> ObservedSecret {
        let name = object.metadata.name.clone().unwrap_or_default();
        let present = self
            .secrets
            .get(&name)
            .map(|secret| secret.metadata.resource_version.clone().unwrap_or_default());
        if present != read {
            return self.read_secret(&name);
        }
        object.metadata.resource_version = Some(self.count());
        object.metadata.uid.get_or_insert_with(|| format!("uid-{}", self.counter));
        object.metadata.managed_fields = Some(vec![owned(&object)]);
        self.secrets.insert(name.clone(), object);
        self.read_secret(&name)
    }

    // What must never happen.

    /// The hashes of bare values of ours in the Secrets that consumers may read: the declared one and
    /// the one that a value moves from.
    fn held(&self) -> Vec<String> {
        let object = self.object();
        let recorded = object.status.as_ref().and_then(|status| status.secret_ref.as_ref());
        let names: BTreeSet<&str> = recorded
            .map(|recorded| recorded.name.as_str())
            .into_iter()
            .chain([secret::name(object)])
            .collect();
        let values = names
            .into_iter()
            .filter_map(|name| self.secrets.get(name))
            .flat_map(|secret| secret.data.iter().flatten());
        let bare = values
            .filter(|(key, _)| *key != names::PREVIOUS_TOKEN_KEY)
            .map(|(_, value)| token_value::hash(&value.0));
        bare.filter(|hash| self.made.iter().any(|made| made.hash == *hash)).collect()
    }

    /// Whether the value is on its way to another Secret.
    fn moves(&self) -> bool {
        let object = self.object();
        let recorded = object.status.as_ref().and_then(|status| status.secret_ref.as_ref());
        recorded.is_some_and(|recorded| recorded.name != secret::name(object))
    }

    fn keeps_tokens_live(&self) -> bool {
        let object = self.object();
        let state = object.status.as_ref().and_then(|status| status.state);
        let ended = matches!(state, Some(ObservedState::Expired | ObservedState::Revoked));
        object.spec.state == DesiredState::Active && object.metadata.deletion_timestamp.is_none() && !ended
    }

    /// While a token is to be live, the value that consumers read is accepted.
    fn check(&self) {
        let status = self.status();
        if self.moves() || !self.keeps_tokens_live() {
            return;
        }
        let Some(current) = status.token.as_ref().filter(|_| !self.lost) else {
            return;
        };
        let now = self.now;
        let hashes = [
            current.hash.clone(),
            status.pending.as_ref().and_then(|pending| pending.hash.clone()),
        ];
        let previous = status
            .previous
            .iter()
            .filter(|previous| previous.revoke_at.0 > now)
            .map(|previous| previous.hash.clone());
        let accepted: Vec<String> = hashes.into_iter().chain(previous).flatten().collect();
        assert!(
            !self.capabilities.local || self.held().iter().all(|held| accepted.contains(held)),
            "the Secret holds what nobody accepts:\n{}",
            self.log.join("\n")
        );
    }

    /// The issuer is never told to end what the Secret holds, nor what was made by nobody of ours.
    fn check_end(&self, id: &str) {
        let made = self.made.iter().find(|made| made.id == id);
        let made = made.unwrap_or_else(|| panic!("ended a token that is not ours:\n{}", self.log.join("\n")));
        let overdue = self
            .status()
            .token
            .is_some_and(|token| token.expires_at.is_some_and(|Time(end)| end <= self.now));
        assert!(
            !self.held().contains(&made.hash) || !self.keeps_tokens_live() || overdue,
            "ended {id}, which the Secret holds:\n{}",
            self.log.join("\n")
        );
    }

    /// No rotation without a cause.
    fn check_rotation(&self, after: &ApiTokenStatus) {
        let before = self.status();
        if after.rotations == before.rotations {
            return;
        }
        let reason = after.last_rotation_reason.as_deref().unwrap_or_default();
        let issued_at = before
            .token
            .as_ref()
            .and_then(|token| token.issued_at.as_ref())
            .map_or(self.now, |Time(at)| *at);
        let age = self.now.duration_since(issued_at);
        let early = match reason {
            // The shortest span of the histories, less a tenth, less a second.
            "Interval" | "BeforeExpiry" => age < SignedDuration::from_secs(30 * 60 * 9 / 10 - 1),
            "Requested" => after.last_rotation_request == before.last_rotation_request,
            _ => false,
        };
        assert!(!early, "a rotation without a cause ({reason}):\n{}", self.log.join("\n"));
        assert_eq!(after.rotations.unwrap_or(0), before.rotations.unwrap_or(0) + 1);
    }

    /// Lets one operator work alone, without faults, until nothing is left to do.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..80 {
            let passed = self.pass(0, 0, None);
            quiet = match passed {
                Passed::Rested(_, false) => quiet + 1,
                _ => 0,
            };
            let wait = match passed {
                Passed::Rested(Some(at), _) => at.duration_since(self.now),
                _ => SignedDuration::from_secs(1),
            };
            // Nothing was written, and nothing is due soon: it has come to rest.
            if quiet > 0 && (self.gone || wait > SignedDuration::from_secs(65) || matches!(passed, Passed::Rested(None, _))) {
                return;
            }
            self.now += wait.clamp(SignedDuration::from_secs(1), SignedDuration::from_secs(60));
        }
        panic!("does not come to rest:\n{}", self.log.join("\n"));
    }

    /// Whether all is as the spec declares it.
    pub fn check_settled(&self) {
        let told = || self.log.join("\n");
        let status = self.status();
        if self.gone {
            return assert_eq!(self.unaccounted(&[]), Vec::<String>::new(), "left behind:\n{}", told());
        }
        let current = status.token.as_ref().and_then(|token| token.id.clone());
        let previous = status.previous.iter().filter_map(|previous| previous.id.clone());
        let accounted: Vec<String> = current.iter().cloned().chain(previous).collect();
        let ended = matches!(status.state, Some(ObservedState::Revoked | ObservedState::Expired));
        let known = if ended { &[][..] } else { &accounted };
        assert_eq!(self.unaccounted(known), Vec::<String>::new(), "nobody accounts for it:\n{}", told());
        match (self.object().spec.state, status.state) {
            (DesiredState::Revoked, state) => assert_eq!(state, Some(ObservedState::Revoked), "{}", told()),
            (DesiredState::Suspended, state) => {
                assert!(
                    matches!(state, Some(ObservedState::Suspended | ObservedState::Expired)),
                    "{state:?}:\n{}",
                    told()
                );
            }
            (DesiredState::Active, Some(ObservedState::Expired)) => {}
            (DesiredState::Active, state) => {
                assert_eq!(state, Some(ObservedState::Active), "{}", told());
                assert!(status.pending.is_none(), "{}", told());
                let hash = status.token.as_ref().and_then(|token| token.hash.clone());
                assert!(
                    hash.is_some_and(|hash| self.held().contains(&hash)),
                    "the Secret does not hold the token:\n{}",
                    told()
                );
                let live = self
                    .listed
                    .iter()
                    .any(|token| Some(&token.id) == current.as_ref() && token.state == ListedState::Active);
                assert!(live || self.capabilities.local, "the token does not work:\n{}", told());
            }
        }
    }

    /// Tokens that work at the issuer, and that neither the status nor the ledger names.
    fn unaccounted(&self, known: &[String]) -> Vec<String> {
        let live = self.listed.iter().filter(|token| token.state != ListedState::Revoked);
        let unknown = live.filter(|token| !known.contains(&token.id) && !self.ledger.iter().any(|orphan| orphan.id == token.id));
        unknown.map(|token| token.id.clone()).collect()
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        message: "it failed: see why".into(),
        kind,
    }
}

fn kind_of_failure(step: &Step, fault: Option<Fault>) -> FailureKind {
    let lost = fault == Some(Fault::AnswerLost);
    match step {
        Step::CreateToken | Step::ResetToken { .. } if lost => FailureKind::Ambiguous,
        Step::EnterLedger(_) => FailureKind::Ledger,
        Step::CreateToken
        | Step::ResetToken { .. }
        | Step::ListTokens
        | Step::SuspendToken { .. }
        | Step::ActivateToken { .. }
        | Step::UpdateToken { .. }
        | Step::RevokeToken { .. }
        | Step::DeleteToken { .. } => FailureKind::Transient {
            reason: Reason::VendorUnavailable,
            retry_after: None,
        },
        _ => FailureKind::Secret,
    }
}

fn owned(secret: &Secret) -> ManagedFieldsEntry {
    let keys = |map: Option<Vec<&String>>| -> serde_json::Value {
        map.into_iter()
            .flatten()
            .map(|key| (format!("f:{key}"), serde_json::json!({})))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let data = keys(secret.data.as_ref().map(|data| data.keys().collect()));
    let annotations = keys(secret.metadata.annotations.as_ref().map(|map| map.keys().collect()));
    ManagedFieldsEntry {
        manager: Some(names::MANAGER.into()),
        fields_v1: Some(FieldsV1(
            serde_json::json!({ "f:data": data, "f:metadata": { "f:annotations": annotations } }),
        )),
        ..Default::default()
    }
}
