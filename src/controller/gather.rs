//! Gathers everything that a decision about one token depends on.

use std::sync::Arc;

use kube::ResourceExt;

use super::{
    context::ScopedContext,
    secrets::{SecretAccess, SecretError},
};
use crate::{
    api::{
        ApiToken, IssuerKind, IssuerRef, IssuerSpec, IssuerStatus,
        conditions::{self, ConditionType},
        names,
    },
    lifecycle::{Failure, IssuerProblem, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, schedule, secret},
};

/// Looks at everything: the stores, and the Secret itself where its version is not the known one.
pub async fn gather(token: Arc<ApiToken>, context: &ScopedContext) -> Observed {
    let uid = token.metadata.uid.clone().unwrap_or_default();
    let access = secret_access(&token, context);
    let (secret, failure) = match observe_secret(&token, &access, context).await {
        Ok(secret) => (secret, None),
        Err(error) => (ObservedSecret::Absent, Some(Failure::from(error))),
    };
    Observed {
        issuer: issuer(&token, context),
        namespace_ends: context.shared.stores.namespace_ends(secret::namespace(&token)),
        secret_promised_to: promised_to(&token, context),
        fresh: context.stores.fresh.take(&uid),
        propagation_delay: context.shared.settings.propagation_delay,
        now: schedule::to_second(context.shared.clock.now()),
        repaired: Vec::new(),
        token,
        secret,
        failure,
    }
}

/// Access to the Secret that the token names.
pub fn secret_access(token: &ApiToken, context: &ScopedContext) -> SecretAccess {
    SecretAccess::new(
        &context.shared.client,
        context.stores.clone(),
        secret::namespace(token),
        secret::name(token),
    )
}

/// What is known of the Secret, read only where that does not suffice.
async fn observe_secret(token: &ApiToken, access: &SecretAccess, context: &ScopedContext) -> Result<ObservedSecret, SecretError> {
    let status = token.status.as_ref();
    let recorded = status
        .and_then(|status| status.secret_ref.as_ref())
        .filter(|recorded| recorded.name == secret::name(token));
    let recorded = recorded.and_then(|recorded| recorded.resource_version.clone());
    let issued = status.is_some_and(|status| status.token.is_some());
    match access.known_version() {
        Some(version) if Some(&version) == recorded.as_ref() => Ok(ObservedSecret::Unchanged),
        // A first token: if there is a foreign Secret of that name, creating ours will show it.
        None if !issued => Ok(ObservedSecret::Absent),
        // Before a Secret is taken for lost, the API server itself is asked.
        Some(_) | None => read_secret(token, access, context).await,
    }
}

/// Reads the Secret, and whose value it holds where nothing is recorded yet.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub async fn read_secret(token: &ApiToken, access: &SecretAccess, context: &ScopedContext) -> Result<ObservedSecret, SecretError> {
    let mut secret = access.read().await?;
    let issued = token.status.as_ref().is_some_and(|status| status.token.is_some());
    if let ObservedSecret::Found(found) = &mut secret
        && !issued
    {
        let hash = found.annotation(names::HASH_ANNOTATION).map(str::to_owned);
        found.value_belongs_to = hash.and_then(|hash| context.shared.stores.other_with_hash(token, &hash));
    }
    Ok(secret)
}

/// The older ApiToken that names the same Secret, where that is not this one's turn.
fn promised_to(token: &ApiToken, context: &ScopedContext) -> Option<String> {
    let claimants = context.stores.claimants(secret::namespace(token), secret::name(token));
    let oldest = claimants.into_iter().next()?;
    (oldest != token.name_any()).then_some(oldest)
}

/// The issuer that the token refers to, as the token sees it.
fn issuer(token: &ApiToken, context: &ScopedContext) -> Result<ObservedIssuer, IssuerProblem> {
    let stores = &context.shared.stores;
    let reference = stores.issuer_of(token)?;
    let namespace = secret::namespace(token);
    let found = match reference.kind {
        IssuerKind::TokenIssuer => {
            let issuer = stores.issuer(namespace, &reference.name);
            issuer.map(|issuer| match &issuer.as_ref().0 {
                Ok(read) => observed(&reference, read, &read.spec.common, read.status.as_ref(), true),
                Err(error) => unreadable(&reference, &error.error),
            })
        }
        IssuerKind::ClusterTokenIssuer => {
            let issuer = stores.cluster_issuer(&reference.name);
            issuer.map(|issuer| match &issuer.as_ref().0 {
                Ok(read) => {
                    let allowed = stores.allows(read.spec.allowed_namespaces.as_ref(), namespace);
                    observed(&reference, read, &read.spec.common, read.status.as_ref(), allowed)
                }
                Err(error) => unreadable(&reference, &error.error),
            })
        }
    };
    found.ok_or(IssuerProblem::NotFound(reference))
}

fn observed<K: kube::Resource>(
    reference: &IssuerRef,
    issuer: &K,
    spec: &IssuerSpec,
    status: Option<&IssuerStatus>,
    namespace_allowed: bool,
) -> ObservedIssuer {
    ObservedIssuer {
        reference: reference.clone(),
        spec: spec.clone(),
        readiness: readiness(issuer, status),
        held: issuer.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER),
        namespace_allowed,
    }
}

/// An issuer that can't be read is none that tokens can be made at.
fn unreadable(reference: &IssuerRef, why: &str) -> ObservedIssuer {
    ObservedIssuer {
        reference: reference.clone(),
        spec: IssuerSpec::default(),
        readiness: IssuerReadiness::Unreadable(why.to_owned()),
        held: false,
        namespace_allowed: true,
    }
}

fn readiness<K: kube::Resource>(issuer: &K, status: Option<&IssuerStatus>) -> IssuerReadiness {
    if issuer.meta().deletion_timestamp.is_some() {
        return IssuerReadiness::Deleting;
    }
    let Some(status) = status.filter(|status| status.observed_generation == issuer.meta().generation) else {
        return IssuerReadiness::Unknown;
    };
    match conditions::find(&status.conditions, ConditionType::Ready) {
        Some(ready) if ready.status == "True" => IssuerReadiness::Ready,
        Some(ready) => IssuerReadiness::NotReady(ready.message.clone()),
        None => IssuerReadiness::Unknown,
    }
}
