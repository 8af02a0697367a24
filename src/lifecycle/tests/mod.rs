//! The decisions as a specification: situation, plan, why.

mod adoption;
mod ending;
mod failures;
mod first;
mod histories;
mod moving;
mod refusals;
mod remote;
mod replacement;
mod rotation;
mod scripted;
mod secret;
mod situation;
mod states;
mod status;
mod suspension;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    ByteString,
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};

use self::situation::{NOW, UID, at, hours, situation, value};
use super::{
    Adoptee, FoundSecret, IssuerProblem, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, Ownership, Plan, Rest, Step, decide,
    plan::Failure, same_but_for_foreign_changes,
};
use crate::{
    api::{
        ApiToken, ApiTokenSpec, ApiTokenStatus, IssuerKind, IssuerRef, IssuerSpec,
        api_token::{DesiredState, ObservedState, PreviousToken, SecretDeletionPolicy, SuspendPolicy},
        conditions::{self, ConditionType},
        issuer::IssuerPolicy,
        names,
    },
    issuers::{Capabilities, IssuedToken},
    token_value::TokenValue,
};

/// The same, with its token issued and its Secret as declared.
fn issued() -> Observed {
    let mut observed = situation();
    run(&mut observed);
    observed.secret = ObservedSecret::Unchanged;
    observed
}

impl Observed {
    fn edit(&mut self, change: impl FnOnce(&mut ApiToken)) {
        let token = Arc::make_mut(&mut self.token);
        change(token);
    }

    /// A change of the spec by a user.
    fn respec(&mut self, change: impl FnOnce(&mut ApiTokenSpec)) {
        self.edit(|token| {
            change(&mut token.spec);
            token.metadata.generation = token.metadata.generation.map(|generation| generation + 1);
        });
    }

    fn respecced(mut self, change: impl FnOnce(&mut ApiTokenSpec)) -> Self {
        self.respec(change);
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn recorded(&self) -> &ApiTokenStatus {
        self.token.status.as_ref().unwrap()
    }

    fn condition(&self, type_: ConditionType) -> (bool, &str) {
        let condition = conditions::find(&self.recorded().conditions, type_).unwrap();
        (condition.status == "True", &condition.reason)
    }

    fn ready(&self) -> (bool, &str) {
        self.condition(ConditionType::Ready)
    }

    fn issuer_mut(&mut self) -> &mut ObservedIssuer {
        self.issuer.as_mut().unwrap()
    }
}

/// The Secret that a step wrote, as the API server would keep it.
fn stored(secret: &FoundSecret) -> ObservedSecret {
    static VERSION: AtomicU32 = AtomicU32::new(100);
    let mut object = secret.object().clone();
    object.metadata.uid = Some("secret-uid".into());
    object.metadata.resource_version = Some(VERSION.fetch_add(1, Ordering::Relaxed).to_string());
    ObservedSecret::Found(FoundSecret::new(object))
}

/// Takes steps in memory until a pass rests, writes its status, and tells what was done:
/// step names, then the reasons of the notices.
fn run(observed: &mut Observed) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..8 {
        match decide(observed) {
            Plan::Rest(rest) => {
                done.extend(rest.notices.iter().map(|notice| notice.reason.to_owned()));
                apply(observed, *rest);
                return done;
            }
            Plan::Step(step) => {
                done.push(step.name().to_owned());
                take(observed, step);
            }
        }
    }
    panic!("no rest after {done:?}");
}

/// The token that an attempt has made just now.
fn made(observed: &Observed, attempt: i64, id: String) -> IssuedToken {
    IssuedToken {
        value: value(u64::try_from(attempt).unwrap()),
        id,
        name: None,
        attempt,
        issued_at: observed.now,
        announced_at: None,
        expires_at: None,
        details: Default::default(),
    }
}

/// The record of a token that was replaced.
fn replaced(id: &str, revoke_at: Time) -> PreviousToken {
    PreviousToken {
        id: Some(id.into()),
        hint: None,
        hash: None,
        account: None,
        revoke_at,
        last_used_at: None,
    }
}

fn take(observed: &mut Observed, step: Step) {
    match step {
        Step::IssueToken { attempt } => {
            observed.fresh = Some(made(observed, attempt, super::token_id(observed, attempt)));
        }
        Step::CreateSecret(secret) => observed.secret = stored(&secret),
        Step::UpdateSecret { secret, changes, .. } => {
            observed.secret = stored(&secret);
            observed.repaired = changes;
        }
        Step::DeleteSecret(version) if version.name != super::secret::name(&observed.token) => {
            observed.former_secret = ObservedSecret::Absent;
        }
        Step::DeleteSecret(_) => observed.secret = ObservedSecret::Absent,
        step => panic!("the test must say what {} leads to", step.name()),
    }
}

fn apply(observed: &mut Observed, rest: Rest) {
    observed.repaired.clear();
    observed.failure = None;
    let announced = rest.status.pending.as_ref().and_then(|pending| pending.hash.clone());
    observed.fresh = observed.fresh.take().filter(|fresh| Some(fresh.value.hash()) == announced);
    observed.edit(|token| token.status = Some(rest.status));
}

/// The Secret of an issued token as it stands in the cluster.
fn secret_of(observed: &Observed, seed: u64) -> FoundSecret {
    let record = observed.recorded().token.clone().unwrap();
    let desired = super::secret::desired(observed, &record, &value(seed), None).unwrap();
    let ObservedSecret::Found(found) = stored(&desired.secret) else {
        unreachable!()
    };
    found
}

/// The same Secret after a change by somebody else.
fn changed(observed: &Observed, change: impl FnOnce(&mut k8s_openapi::api::core::v1::Secret)) -> ObservedSecret {
    let mut object = secret_of(observed, 1).object().clone();
    change(&mut object);
    ObservedSecret::Found(FoundSecret::new(object))
}

fn rest(observed: &Observed) -> Rest {
    match decide(observed) {
        Plan::Rest(rest) => *rest,
        Plan::Step(step) => panic!("a step instead of rest: {}", step.name()),
    }
}

fn next_step(observed: &Observed) -> Option<&'static str> {
    match decide(observed) {
        Plan::Rest(_) => None,
        Plan::Step(step) => Some(step.name()),
    }
}

fn found_mut(observed: &mut Observed) -> &mut FoundSecret {
    match &mut observed.secret {
        ObservedSecret::Found(found) => found,
        _ => panic!("no Secret in this situation"),
    }
}

fn replace_found(observed: &mut Observed, change: impl FnOnce(&mut k8s_openapi::api::core::v1::Secret)) {
    let mut object = found_mut(observed).object().clone();
    change(&mut object);
    observed.secret = ObservedSecret::Found(FoundSecret::new(object));
}

fn annotate(observed: &mut Observed, name: &str, value: &str) {
    replace_found(observed, |secret| {
        secret
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(name.to_owned(), value.to_owned());
    });
}

fn put(observed: &mut Observed, key: &str, value: &str) {
    replace_found(observed, |secret| {
        secret.data.get_or_insert_default().insert(key.to_owned(), ByteString(value.into()));
    });
}
