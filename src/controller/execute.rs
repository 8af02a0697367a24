//! Takes the steps that were decided, and shows what each of them led to.

use std::time::Instant;

use kube::ResourceExt;
use rand::rngs::SysRng;
use tracing::{debug, warn};

use super::{context::ScopedContext, gather, issuer_calls, ledger, recent::key, tokens::PassError, writes};
use crate::{
    api::{ApiTokenStatus, IssuerId},
    issuers::{IssuedToken, builtin},
    lifecycle::{Failure, Observed, ObservedSecret, Step, secret, token_id},
    operations::metrics::Outcome,
};

/// How a step ended that led to nothing.
pub enum Stopped {
    /// It failed: a decision follows from that.
    Failed(Failure),
    /// The pass rests on something that is no longer so.
    Pass(PassError),
}

impl<E: Into<Failure>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Takes one step. What it showed, or how it failed, stands in `observed` afterwards.
///
/// # Errors
/// Where the pass must begin again with a fresh look.
pub async fn execute(step: Step, observed: &mut Observed, context: &ScopedContext) -> Result<(), PassError> {
    let (name, began) = (step.name(), Instant::now());
    let result = take(step, observed, context).await;
    let outcome = match &result {
        Ok(()) => Outcome::Success,
        Err(Stopped::Pass(PassError::Conflict)) => Outcome::Conflict,
        Err(_) => Outcome::Failure,
    };
    context.shared.metrics.operation(name, outcome, began.elapsed());
    let token = &observed.token.metadata;
    match result {
        Ok(()) => debug!(namespace = token.namespace, name = token.name, step = name, "step taken"),
        Err(Stopped::Pass(error)) => return Err(error),
        Err(Stopped::Failed(failure)) => {
            warn!(namespace = token.namespace, name = token.name, step = name, "{}", failure.message);
            observed.failure = Some(failure);
        }
    }
    Ok(())
}

async fn take(step: Step, observed: &mut Observed, context: &ScopedContext) -> Result<(), Stopped> {
    match step {
        Step::AddFinalizer => write_finalizers(observed, context, true).await,
        Step::RemoveFinalizer => write_finalizers(observed, context, false).await,
        Step::WriteStatus(status) => record(*status, observed, context).await,
        Step::IssueToken { attempt } => {
            observed.fresh = Some(issue(observed, attempt)?);
            Ok(())
        }
        Step::ListTokens
        | Step::CreateToken
        | Step::ResetToken { .. }
        | Step::SuspendToken { .. }
        | Step::ActivateToken { .. }
        | Step::UpdateToken { .. }
        | Step::RevokeToken { .. }
        | Step::DeleteToken { .. } => issuer_calls::take(step, observed, context).await,
        Step::EnterLedger(orphans) => {
            ledger::enter(&orphans, observed, context).await?;
            observed.orphaned.extend(orphans);
            Ok(())
        }
        Step::CreateSecret(_) | Step::UpdateSecret { .. } | Step::DeleteSecret(_) | Step::ReadSecret | Step::ReadFormerSecret => {
            take_secret_step(step, observed, context).await
        }
        Step::ReadAdoptee => {
            observed.adoptee = gather::read_adoptee(&observed.token, context).await?;
            Ok(())
        }
    }
}

async fn take_secret_step(step: Step, observed: &mut Observed, context: &ScopedContext) -> Result<(), Stopped> {
    let token = observed.token.clone();
    match step {
        Step::CreateSecret(secret) => {
            // A value that is known already must not be left in a Secret that nobody names any more.
            if observed.current().is_some() {
                writes::still_as_read(&token, context).await.map_err(Stopped::Pass)?;
            }
            observed.secret = gather::secret_access(&token, context).create(&secret).await?;
            tell_credentials(&observed.secret, context).await;
        }
        Step::UpdateSecret {
            secret,
            changes,
            brings_value,
        } => {
            // Somebody else may have gone on, and the store does not show it yet.
            if brings_value {
                writes::still_as_read(&token, context).await.map_err(Stopped::Pass)?;
            }
            let name = secret.object().name_any();
            let written = gather::access_to(&name, &token, context).replace(&secret).await?;
            tell_credentials(&written, context).await;
            *observed.secret_named(&name) = written;
            observed.repaired = changes;
        }
        Step::DeleteSecret(version) => {
            let name = version.name.clone();
            let left = gather::access_to(&name, &token, context).delete(version).await?;
            *observed.secret_named(&name) = left;
        }
        Step::ReadFormerSecret => observed.former_secret = gather::read_former_secret(&token, context).await?,
        _ => {
            let access = gather::secret_access(&token, context);
            observed.secret = gather::read_secret(&token, &access, context).await?;
        }
    }
    Ok(())
}

/// The Secret of a token may be the credential of an issuer.
async fn tell_credentials(secret: &ObservedSecret, context: &ScopedContext) {
    if let ObservedSecret::Found(found) = secret {
        let metadata = &found.object().metadata;
        context.shared.credentials.wrote(&key(metadata), metadata).await;
    }
}

/// Writes the status in the middle of a pass: what follows rests on it.
async fn record(status: ApiTokenStatus, observed: &mut Observed, context: &ScopedContext) -> Result<(), Stopped> {
    let attempt = status.pending.as_ref().map(|pending| pending.attempt);
    let before = observed.pending().map(|pending| pending.attempt);
    if attempt.is_some() && is_taken(observed, context) {
        return Err(Stopped::Pass(PassError::Conflict));
    }
    let written = writes::status(&observed.token, status, context).await.map_err(Stopped::Pass)?;
    observed.token = written.ok_or(Stopped::Pass(PassError::Conflict))?;
    if attempt != before {
        observed.intent_in_hand = attempt;
    }
    Ok(())
}

/// Whether another ApiToken is about to write, or wrote, its intent at an issuer that can have one only: the
/// stores show that a moment later.
fn is_taken(observed: &Observed, context: &ScopedContext) -> bool {
    let Ok(issuer) = &observed.issuer else {
        return false;
    };
    let nameless = issuer.capabilities.is_some_and(|can| !can.local && !can.names);
    let id = IssuerId::new(&issuer.reference, secret::namespace(&observed.token));
    let what = format!("{:?}/{}/{}", id.reference.kind, id.namespace, id.reference.name);
    nameless && context.shared.stores.intents.ask(&what, &observed.token).is_some()
}

async fn write_finalizers(observed: &mut Observed, context: &ScopedContext, held: bool) -> Result<(), Stopped> {
    let written = writes::finalizer(&observed.token, held, context).await.map_err(Stopped::Pass)?;
    observed.token = written.ok_or(Stopped::Pass(PassError::Gone))?;
    Ok(())
}

/// A token of the built-in issuer.
fn issue(observed: &Observed, attempt: i64) -> Result<IssuedToken, Failure> {
    let builtin = observed.issuer.as_ref().ok().and_then(|issuer| issuer.spec.builtin.as_ref());
    let prefix = builtin
        .and_then(|builtin| builtin.prefix.as_deref())
        .unwrap_or(builtin::DEFAULT_PREFIX);
    let value = builtin::generate(&mut SysRng, prefix)
        .map_err(|error| Failure::of_secret(format!("the operating system gives no randomness: {error}")))?;
    Ok(IssuedToken {
        value,
        id: token_id(observed, attempt),
        name: None,
        attempt,
        issued_at: observed.now,
        announced_at: None,
        expires_at: None,
        details: Default::default(),
    })
}
