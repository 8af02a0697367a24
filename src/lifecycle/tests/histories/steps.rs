//! The steps, taken as the controller takes them.

use futures::executor::block_on;
use jiff::SignedDuration;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry},
};

use super::{
    super::situation::value,
    world::{Fault, Stop, World},
};
use crate::{
    api::{ApiToken, ApiTokenStatus, names},
    issuers::{IssuedToken, IssuerError, ListedToken, TokenRequest, Verb},
    lifecycle::{
        Adoptee, Failure, FailureKind, Observed, ObservedSecret, Step, TIME_TO_CALL, accounts, is_only_a_poll, request, secret,
        shown_as_recorded, token_id,
    },
};

/// A call to the API server takes 10 s at most.
const SLOW_WRITE: SignedDuration = SignedDuration::from_secs(9);
/// A call to the issuer takes 31 s at most.
const SLOW_CALL: SignedDuration = SignedDuration::from_secs(30);
/// By how much an issuer's list may be behind.
const LAG: SignedDuration = SignedDuration::from_secs(5);
/// How old a list may be that others asked for.
const OLDEST_LIST: SignedDuration = SignedDuration::from_mins(1);

impl World {
    /// Takes one step, in which that goes wrong.
    pub fn take(&mut self, operator: usize, observed: &mut Observed, step: Step, fault: Option<Fault>) -> Result<(), Stop> {
        match fault {
            Some(Fault::OtherFirst) => drop(self.pass(1 - operator, 0, None)),
            Some(Fault::CrashBefore) => return Err(Stop::Crash),
            _ => {}
        }
        let taken = if is_call(&step) {
            self.call(operator, observed, step, fault)
        } else {
            self.write_or_read(operator, observed, step, fault)
        };
        self.check();
        match taken {
            Err(Stop::Failed(failure)) => {
                self.log.push(format!("{operator}: {}", failure.message));
                observed.failure = Some(failure);
            }
            taken => taken?,
        }
        match fault {
            Some(Fault::CrashAfter) => Err(Stop::Crash),
            _ => Ok(()),
        }
    }

    fn write_or_read(&mut self, operator: usize, observed: &mut Observed, step: Step, fault: Option<Fault>) -> Result<(), Stop> {
        let failed = match step {
            Step::EnterLedger(_) => failure(FailureKind::Ledger),
            _ => failure(FailureKind::Secret),
        };
        if fault == Some(Fault::Refused) {
            return Err(Stop::Failed(failed));
        }
        self.apply(operator, observed, step)?;
        match fault {
            Some(Fault::AnswerLost) => return Err(Stop::Failed(failed)),
            Some(Fault::Slow) => self.now += SLOW_WRITE,
            _ => {}
        }
        Ok(())
    }

    fn apply(&mut self, operator: usize, observed: &mut Observed, step: Step) -> Result<(), Stop> {
        match step {
            Step::AddFinalizer => self.finalizers(operator, observed, vec![names::FINALIZER.to_owned()]),
            Step::RemoveFinalizer => self.finalizers(operator, observed, Vec::new()),
            Step::WriteStatus(status) => self.record(operator, observed, *status),
            Step::IssueToken { attempt } => {
                observed.fresh = Some(self.make(observed, attempt));
                Ok(())
            }
            Step::EnterLedger(orphans) => {
                self.ledger.extend(orphans.clone());
                observed.orphaned.extend(orphans);
                Ok(())
            }
            Step::ReadAdoptee => {
                observed.adoptee = Adoptee::Unusable("there is none: make one".into());
                Ok(())
            }
            step => self.take_secret_step(observed, step),
        }
    }

    fn finalizers(&mut self, operator: usize, observed: &mut Observed, finalizers: Vec<String>) -> Result<(), Stop> {
        self.unchanged(&observed.token)?;
        self.write(|token| token.metadata.finalizers = Some(finalizers));
        self.operators[operator].seen = self.versions.len() - 1;
        observed.token = self.object().clone();
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

    fn unchanged(&self, token: &ApiToken) -> Result<(), Stop> {
        let same = !self.gone && token.metadata.resource_version == self.object().metadata.resource_version;
        if same { Ok(()) } else { Err(Stop::Conflict) }
    }

    /// Writes the status, where nobody wrote since that version.
    pub fn put_status(&mut self, operator: usize, read: &ApiToken, status: ApiTokenStatus) -> Option<std::sync::Arc<ApiToken>> {
        self.unchanged(read).ok()?;
        self.check_rotation(&status);
        self.lost &= status.rotations == self.status().rotations;
        self.write(|token| token.status = Some(status));
        self.operators[operator].seen = self.versions.len() - 1;
        self.check();
        Some(self.object().clone())
    }

    /// A token of the built-in issuer.
    fn make(&mut self, observed: &Observed, attempt: i64) -> IssuedToken {
        self.counter += 1;
        let (value, id) = (value(self.counter), token_id(observed, attempt));
        self.made.insert((id.clone(), value.hash()));
        IssuedToken {
            value,
            id,
            name: None,
            attempt,
            issued_at: observed.now,
            announced_at: None,
            expires_at: None,
            details: Default::default(),
        }
    }

    // Steps at an issuer that others run.

    fn call(&mut self, operator: usize, observed: &mut Observed, step: Step, fault: Option<Fault>) -> Result<(), Stop> {
        self.site.tell_time(self.now);
        match fault {
            Some(Fault::AnswerLost) => self.site.go_wrong(&step, true),
            Some(Fault::Refused) => self.site.go_wrong(&step, false),
            Some(Fault::Behind) if self.now.duration_since(self.changed_at) <= LAG => self.site.lag(),
            _ => {}
        }
        let before = self.site.tokens();
        let called = self.ask(operator, observed, step);
        if self.site.tokens() != before {
            self.changed_at = self.now;
        }
        self.site.heal();
        self.learn();
        if fault == Some(Fault::Slow) {
            self.now += SLOW_CALL;
        }
        observed.now = self.now;
        called
    }

    fn ask(&mut self, operator: usize, observed: &mut Observed, step: Step) -> Result<(), Stop> {
        let (issuer, request) = (self.site.issuer(), request(observed));
        if matches!(step, Step::CreateToken | Step::ResetToken { .. }) && self.is_late(observed) {
            return Err(Stop::Conflict);
        }
        match step {
            Step::CreateToken => observed.fresh = Some(block_on(issuer.create(&request))?),
            Step::ResetToken { base } => {
                let reset = block_on(issuer.reset(&base, &request));
                observed.fresh = Some(reset.map_err(|error| Stop::Failed(Failure::from(error).retried()))?);
            }
            Step::UpdateToken { id, name } => {
                let request = TokenRequest {
                    name: Some(name),
                    ..request
                };
                block_on(issuer.update(&id, &request))?;
                observed.updated = true;
            }
            Step::SuspendToken { id } => self.change(observed, &id, Verb::Suspend)?,
            Step::ActivateToken { id } => self.change(observed, &id, Verb::Activate)?,
            Step::RevokeToken { id } => self.change(observed, &id, Verb::Revoke)?,
            Step::DeleteToken { id } => self.change(observed, &id, Verb::Delete)?,
            _ => self.list(operator, observed, &request)?,
        }
        Ok(())
    }

    /// Whether it is too late to call for the attempt that stands in the status.
    fn is_late(&self, observed: &Observed) -> bool {
        let began = observed.pending().map(|pending| pending.started_at.0).unwrap_or_default();
        began + TIME_TO_CALL < self.now
    }

    fn list(&mut self, operator: usize, observed: &mut Observed, request: &TokenRequest) -> Result<(), IssuerError> {
        if is_only_a_poll(observed) && self.is_seen_in_a_shared_list(operator, observed, request)? {
            return Ok(());
        }
        let mut view: Vec<ListedToken> = Vec::new();
        for account in accounts(observed) {
            let request = TokenRequest {
                account,
                ..request.clone()
            };
            for token in block_on(self.site.issuer().list(&request))? {
                if !view.iter().any(|known| known.id == token.id) {
                    view.push(token);
                }
            }
        }
        observed.sees(view, self.now);
        Ok(())
    }

    fn is_seen_in_a_shared_list(&mut self, operator: usize, observed: &mut Observed, request: &TokenRequest) -> Result<bool, IssuerError> {
        let Some(current) = observed.current() else {
            return Ok(false);
        };
        let request = TokenRequest {
            account: current.account.clone(),
            ..request.clone()
        };
        let lists = &mut self.operators[operator].lists;
        let young = |at| self.now.duration_since(at) <= OLDEST_LIST;
        if !lists.get(&request.account).is_some_and(|(at, _)| young(*at)) {
            let listed = block_on(self.site.issuer().list(&request))?.into_iter();
            let listed = listed.map(|token| ListedToken { value: None, ..token }).collect();
            lists.insert(request.account.clone(), (self.now, listed));
        }
        let (at, listed) = &lists[&request.account];
        let Some(shown) = shown_as_recorded(observed, listed).cloned() else {
            return Ok(false);
        };
        (observed.shown, observed.polled_at) = (Some(shown), Some(*at));
        Ok(true)
    }

    fn change(&mut self, observed: &mut Observed, id: &str, verb: Verb) -> Result<(), Stop> {
        self.unchanged(&observed.token)?;
        let ends = matches!(verb, Verb::Revoke | Verb::Delete);
        if ends {
            self.check_end(id);
        }
        let request = TokenRequest {
            account: observed.listed(id).and_then(|listed| listed.account.clone()),
            ..request(observed)
        };
        let changed = block_on(self.site.issuer().change(id, verb, &request)).map_err(Failure::from);
        changed.map_err(|failure| Stop::Failed(if ends { failure.retried() } else { failure }))?;
        observed.changed(id, verb);
        Ok(())
    }

    // Steps at the Secret.

    fn take_secret_step(&mut self, observed: &mut Observed, step: Step) -> Result<(), Stop> {
        match step {
            Step::CreateSecret(secret) => {
                if observed.current().is_some() {
                    self.unchanged(&observed.token)?;
                }
                observed.secret = self.put_secret(secret.object().clone(), None);
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
            }
            Step::DeleteSecret(version) => {
                let same = |secret: &Secret| secret.metadata.resource_version == version.resource_version;
                if self.secrets.get(&version.name).is_some_and(same) {
                    self.secrets.remove(&version.name);
                }
                let left = self.read_secret(&version.name);
                *observed.secret_named(&version.name) = left;
            }
            Step::ReadFormerSecret => {
                let recorded = observed.status().and_then(|status| status.secret_ref.as_ref());
                let name = recorded.map(|recorded| recorded.name.clone()).unwrap_or_default();
                observed.former_secret = self.read_secret(&name);
            }
            _ => observed.secret = self.read_secret(secret::name(&observed.token)),
        }
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
}

impl From<IssuerError> for Stop {
    fn from(error: IssuerError) -> Self {
        Self::Failed(error.into())
    }
}

/// Whether the issuer is called in that step.
pub fn is_call(step: &Step) -> bool {
    matches!(
        step,
        Step::ListTokens
            | Step::CreateToken
            | Step::ResetToken { .. }
            | Step::SuspendToken { .. }
            | Step::ActivateToken { .. }
            | Step::UpdateToken { .. }
            | Step::RevokeToken { .. }
            | Step::DeleteToken { .. }
    )
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        message: "it failed: see why".into(),
        kind,
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
