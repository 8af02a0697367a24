//! An API server and two operators in memory, and an issuer beside them, with a fault at any step.
//!
//! The steps are taken as the controller takes them: under the version that was read, with what is
//! remembered between passes, and with a last look before a token is ended at the issuer. What must
//! never happen is looked for after every single change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};

use super::{
    super::situation::{at, situation},
    site::Site,
    steps::is_call,
};
use crate::{
    api::{
        ApiToken, ApiTokenSpec, ApiTokenStatus, IssuerKind,
        api_token::{DesiredState, Parameters},
        names,
    },
    issuers::{IssuedToken, ListedToken},
    lifecycle::{
        Adoptee, Failure, FoundSecret, Notice, Observed, ObservedSecret, Orphan, Plan, Rest, decide, same_but_for_foreign_changes, secret,
        take_waiting,
    },
};

/// More steps than any pass needs.
const MOST_STEPS: usize = 64;

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
    /// The step takes almost as long as it may.
    Slow,
    /// The issuer's list shows how it was before a change of a moment ago.
    Behind,
}

/// At what step of a pass, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Of all.
    Step(usize),
    /// Of those that call the issuer.
    Call(usize),
}

/// A fault in a pass.
pub type Mishap = Option<(Moment, Fault)>;

/// What an operator remembers between passes.
#[derive(Default)]
pub struct Operator {
    fresh: Option<IssuedToken>,
    polled_at: Option<Timestamp>,
    /// The last list of each account that was only to show that all is as recorded.
    pub lists: BTreeMap<Option<String>, (Timestamp, Vec<ListedToken>)>,
    /// It never sees a version older than the last one that it wrote.
    pub seen: usize,
}

/// Everything outside of the decision.
pub struct World {
    pub now: Timestamp,
    pub log: Vec<String>,
    pub gone: bool,
    pub site: Box<dyn Site>,
    pub versions: Vec<Arc<ApiToken>>,
    pub secrets: BTreeMap<String, Secret>,
    pub ledger: Vec<Orphan>,
    /// Ids of all tokens of ours that there ever were, with the hashes of their values.
    pub made: BTreeSet<(String, String)>,
    /// Tokens of others, with all that the issuer knows of them.
    pub others: BTreeMap<String, String>,
    /// Somebody took the value from consumers, and no new one has come yet.
    pub lost: bool,
    pub operators: [Operator; 2],
    pub counter: u64,
    /// When a call changed something at the issuer.
    pub changed_at: Timestamp,
    requests: u32,
    first_parameters: Option<Parameters>,
}

/// How a pass ended.
pub enum Passed {
    /// With rest: when to look again, and whether anything was written.
    Rested(Option<Timestamp>, bool),
    /// Somewhere in the middle.
    Stopped,
}

/// How a step ended that led to nothing.
pub enum Stop {
    Crash,
    Conflict,
    Failed(Failure),
}

impl World {
    /// In which nothing was done yet. The tokens that are at the issuer are those of others.
    pub fn new(site: Box<dyn Site>, spec: ApiTokenSpec) -> Self {
        let mut token = situation().token.as_ref().clone();
        let first_parameters = spec.parameters.clone();
        token.spec = spec;
        token.metadata.resource_version = Some("1".into());
        Self {
            now: at("2030-01-01T00:00:00Z"),
            log: Vec::new(),
            gone: false,
            others: site.tokens().into_iter().map(|kept| (kept.id, kept.details)).collect(),
            site,
            versions: vec![Arc::new(token)],
            secrets: BTreeMap::new(),
            ledger: Vec::new(),
            made: BTreeSet::new(),
            lost: false,
            operators: Default::default(),
            counter: 100,
            changed_at: Timestamp::MIN,
            requests: 0,
            first_parameters,
        }
    }

    pub fn object(&self) -> &Arc<ApiToken> {
        self.versions.last().unwrap()
    }

    pub fn status(&self) -> ApiTokenStatus {
        self.object().status.clone().unwrap_or_default()
    }

    /// A change of the object by anybody.
    pub fn write(&mut self, change: impl FnOnce(&mut ApiToken)) {
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

    /// A change of `spec.parameters`, where there are others.
    pub fn change_parameters(&mut self) {
        let (first, other) = (self.first_parameters.clone(), self.site.other_parameters());
        if other.is_some() {
            self.respec(|spec| spec.parameters = if spec.parameters == first { other } else { first });
        }
    }

    /// A request for a rotation, because of a leak or not.
    pub fn request(&mut self, leak: bool) {
        if self.gone {
            return;
        }
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
        if let Some(id) = self.status().token.and_then(|token| token.id) {
            self.site.remove(&id);
        }
    }

    /// Somebody else makes a token at the issuer.
    pub fn plant_at_issuer(&mut self) {
        self.site.tell_time(self.now);
        let planted = self.site.plant();
        let kept = self.site.tokens().into_iter().filter(|kept| Some(&kept.id) == planted.as_ref());
        self.others.extend(kept.map(|kept| (kept.id, kept.details)));
    }

    /// Learns of the tokens that were made at the issuer.
    pub fn learn(&mut self) {
        let ours = self.site.tokens().into_iter().filter(|kept| !self.others.contains_key(&kept.id));
        self.made.extend(ours.map(|kept| (kept.id, kept.hash)));
    }

    pub fn collect(&mut self) {
        let token = self.object();
        let held = token.metadata.finalizers.as_ref().is_some_and(|finalizers| !finalizers.is_empty());
        if token.metadata.deletion_timestamp.is_some() && !held {
            self.gone = true;
        }
    }

    pub fn count(&mut self) -> String {
        self.counter += 1;
        self.counter.to_string()
    }

    // What an operator sees.

    fn observe(&mut self, operator: usize, lag: usize) -> Observed {
        let newest = self.versions.len() - 1;
        let seen = newest.saturating_sub(lag).max(self.operators[operator].seen);
        let token = self.versions[seen].clone();
        let mut observed = situation();
        if let Ok(issuer) = &mut observed.issuer {
            issuer.capabilities = Some(self.site.issuer().capabilities());
            issuer.reference.kind = IssuerKind::TokenIssuer;
            issuer.spec = self.site.spec();
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

    pub fn read_secret(&self, name: &str) -> ObservedSecret {
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
        let mut calls = 0;
        for number in 0..MOST_STEPS {
            let fault_at = |moment| mishap.and_then(|(at, fault)| (at == moment).then_some(fault));
            let fault = fault_at(Moment::Step(number));
            let step = match decide(&observed) {
                Plan::Rest(rest) => return self.rest(operator, observed, *rest, fault),
                Plan::Step(step) => step,
            };
            let fault = fault.or_else(|| fault_at(Moment::Call(calls)).filter(|_| is_call(&step)));
            calls += usize::from(is_call(&step));
            self.log.push(format!("{operator}: {} {fault:?}", step.name()));
            if let Err(stop) = self.take(operator, &mut observed, step, fault) {
                match stop {
                    Stop::Crash => self.crash(operator),
                    Stop::Conflict | Stop::Failed(_) => self.keep(operator, observed, None),
                }
                return Passed::Stopped;
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
        let wrote = !observed.repaired.is_empty() && before != status || !same_but_for_foreign_changes(&before, &status);
        let (polled_at, looked_at) = (observed.polled_at, observed.now);
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
        let endless = look_again_at.is_some_and(|at| at <= looked_at) && !wrote;
        assert!(!endless, "looks again and again, and does nothing:\n{}", self.log.join("\n"));
        // A look at the issuer counts once all that follows from it is done.
        self.operators[operator].polled_at = polled_at;
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
}
