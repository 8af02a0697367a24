//! Takes the steps that were decided, and shows what each of them led to.

use rand::rngs::SysRng;
use tracing::{debug, warn};

use super::{context::ScopedContext, gather, secrets::SecretAccess};
use crate::{
    issuers::{IssuedToken, builtin},
    lifecycle::{Failure, Observed, Step, token_id},
    operations::metrics::Outcome,
};

/// Takes one step. What it showed, or how it failed, stands in `observed` afterwards.
pub async fn execute(step: Step, observed: &mut Observed, context: &ScopedContext) {
    let name = step.name();
    let access = gather::secret_access(&observed.token, context);
    let result = take(step, observed, &access, context).await;
    let outcome = if result.is_ok() { Outcome::Success } else { Outcome::Failure };
    context.shared.metrics.operation(name, outcome);
    let token = &observed.token.metadata;
    match result {
        Ok(()) => debug!(namespace = token.namespace, name = token.name, step = name, "step taken"),
        Err(failure) => {
            warn!(namespace = token.namespace, name = token.name, step = name, "{}", failure.message);
            observed.failure = Some(failure);
        }
    }
}

async fn take(step: Step, observed: &mut Observed, access: &SecretAccess, context: &ScopedContext) -> Result<(), Failure> {
    match step {
        Step::IssueToken { attempt } => observed.fresh = Some(issue(observed, attempt)?),
        Step::CreateSecret(secret) => observed.secret = access.create(&secret).await?,
        Step::UpdateSecret { secret, changes } => {
            observed.secret = access.replace(&secret).await?;
            observed.repaired = changes;
        }
        Step::DeleteSecret { uid, resource_version } => observed.secret = access.delete(uid, resource_version).await?,
        Step::ReadSecret => observed.secret = gather::read_secret(&observed.token, access, context).await?,
    }
    Ok(())
}

/// A token of the built-in issuer.
fn issue(observed: &Observed, attempt: i64) -> Result<IssuedToken, Failure> {
    let builtin = observed.issuer.as_ref().ok().and_then(|issuer| issuer.spec.builtin.as_ref());
    let prefix = builtin
        .and_then(|builtin| builtin.prefix.as_deref())
        .unwrap_or(builtin::DEFAULT_PREFIX);
    let value = builtin::generate(&mut SysRng, prefix).map_err(|error| Failure {
        message: format!("the operating system gives no randomness: {error}"),
    })?;
    Ok(IssuedToken {
        value,
        id: token_id(observed, attempt),
        issued_at: observed.now,
    })
}
