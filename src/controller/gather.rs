//! Gathers everything that a decision about one token depends on.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;
use kube::ResourceExt;

use super::{
    connections,
    context::ScopedContext,
    issuer_calls::timeout,
    secrets::{SecretAccess, SecretError},
};
use crate::{
    api::{
        ApiToken, IssuerId, IssuerKind, IssuerRef, IssuerSpec, IssuerStatus,
        conditions::{self, ConditionType},
        issuer::SecretKeyRef,
        names,
    },
    issuers::{self, Capabilities},
    lifecycle::{Adoptee, Failure, IssuerProblem, IssuerReadiness, Observed, ObservedIssuer, ObservedSecret, schedule, secret},
    token_value::TokenValue,
};

/// Looks at everything: the stores, and the Secret itself where its version is not the known one.
pub async fn gather(token: Arc<ApiToken>, context: &ScopedContext) -> Observed {
    let uid = token.metadata.uid.clone().unwrap_or_default();
    let access = secret_access(&token, context);
    let issuer = issuer(&token, context);
    let (secret, failure) = match observe_secret(&token, &issuer, &access, context).await {
        Ok(secret) => (secret, None),
        Err(error) => (ObservedSecret::Absent, Some(Failure::from(error))),
    };
    Observed {
        others_ids: others_ids(&token, &issuer, context),
        others_uids: others_uids(&token, &secret, context),
        ahead: SignedDuration::ZERO,
        shown: None,
        polled_at: context.stores.polls.get(&uid),
        former_secret: ObservedSecret::Unchanged,
        adoptee: Adoptee::Unread,
        view: None,
        intent_in_hand: None,
        revoked: BTreeSet::new(),
        updated: false,
        orphaned: Vec::new(),
        issuer,
        namespace_ends: context.shared.stores.namespace_ends(secret::namespace(&token)),
        needed_by_others: is_needed_by_others(&token, context),
        secret_promised_to: promised_to(&token, context),
        fresh: context.stores.fresh.take(&uid),
        terms: context.shared.terms(),
        now: schedule::to_second(context.shared.clock.now()),
        repaired: Vec::new(),
        token,
        secret,
        failure,
    }
}

/// Whose tokens are not to be mistaken for ours: only where names don't tell, or one is to be taken over.
fn others_ids(token: &ApiToken, issuer: &Result<ObservedIssuer, IssuerProblem>, context: &ScopedContext) -> BTreeSet<String> {
    let (Ok(issuer), Some(can)) = (issuer, remote(issuer)) else {
        return BTreeSet::new();
    };
    let issued = token.status.as_ref().is_some_and(|status| status.token.is_some());
    if can.names && issued {
        return BTreeSet::new();
    }
    let stores = &context.shared.stores;
    let mut ids = stores.ids_of_others(token, &issuer.reference);
    if let (Some(id), false) = (token.spec.adopt.as_ref().and_then(|adopt| adopt.token_id.as_ref()), issued) {
        let namespace = match issuer.reference.kind {
            IssuerKind::TokenIssuer => secret::namespace(token),
            IssuerKind::ClusterTokenIssuer => "",
        };
        let at_issuer = format!("{namespace}/{}/{id}", issuer.reference.name);
        ids.extend(stores.adoptions.ask(&at_issuer, token).map(|_| id.clone()));
    }
    ids
}

/// Whose tokens may be on their way: only where one is to be taken over, or a Secret names one.
fn others_uids(token: &ApiToken, secret: &ObservedSecret, context: &ScopedContext) -> BTreeSet<String> {
    let issued = token.status.as_ref().is_some_and(|status| status.token.is_some());
    let names_one = token.spec.adopt.is_some() || matches!(secret, ObservedSecret::Found(_));
    if issued || !names_one {
        return BTreeSet::new();
    }
    context.shared.stores.uids_of_others(token)
}

/// Access to the Secret that the token names.
pub fn secret_access(token: &ApiToken, context: &ScopedContext) -> SecretAccess {
    access_to(secret::name(token), token, context)
}

/// Access to a Secret of the token's namespace.
pub fn access_to(name: &str, token: &ApiToken, context: &ScopedContext) -> SecretAccess {
    SecretAccess::new(&context.shared.client, context.stores.clone(), secret::namespace(token), name)
}

/// The Secret that the status names.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub async fn read_former_secret(token: &ApiToken, context: &ScopedContext) -> Result<ObservedSecret, SecretError> {
    let recorded = token.status.as_ref().and_then(|status| status.secret_ref.as_ref());
    match recorded {
        Some(recorded) => access_to(&recorded.name, token, context).read().await,
        None => Ok(ObservedSecret::Absent),
    }
}

/// The value that is to be taken over.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub async fn read_adoptee(token: &ApiToken, context: &ScopedContext) -> Result<Adoptee, SecretError> {
    let reference = token.spec.adopt.as_ref().and_then(|adopt| adopt.secret_ref.as_ref());
    let Some(SecretKeyRef { name, key }) = reference else {
        return Ok(Adoptee::Unusable("it names no Secret".to_owned()));
    };
    let ObservedSecret::Found(found) = access_to(name, token, context).read().await? else {
        return Ok(Adoptee::Unusable(format!(
            "Secret {name:?} does not exist: create it, with the value under the key {key:?}"
        )));
    };
    if secret::is_of_the_cluster(&found) {
        return Ok(Adoptee::Unusable(format!(
            "Secret {name:?} is a credential of Kubernetes itself: use one of your own"
        )));
    }
    let Some(text) = found.bytes(key).and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
        return Ok(Adoptee::Unusable(format!(
            "Secret {name:?} has no text under the key {key:?}: correct spec.adopt.secretRef"
        )));
    };
    let value = TokenValue::new(text);
    let hash = value.hash();
    if found.annotation(names::ENDED_ANNOTATION) == Some(&hash) {
        return Ok(Adoptee::Unusable(format!(
            "the value in Secret {name:?} was ended: let a new token be issued instead"
        )));
    }
    let stores = &context.shared.stores;
    let belongs_to = stores.other_with_hash(token, &hash).or_else(|| stores.adoptions.ask(&hash, token));
    let belongs_to = belongs_to.map(|other| shown_to(secret::namespace(token), &other));
    Ok(Adoptee::Found { value, belongs_to })
}

/// Another ApiToken, `<namespace>/<name>`, as that namespace may know it: what others have is nobody's business.
fn shown_to(namespace: &str, other: &str) -> String {
    match other.split_once('/') {
        Some((of, name)) if of == namespace => format!("ApiToken {name:?}"),
        _ => "another ApiToken".to_owned(),
    }
}

/// What is known of the Secret, read only where that does not suffice.
async fn observe_secret(
    token: &ApiToken,
    issuer: &Result<ObservedIssuer, IssuerProblem>,
    access: &SecretAccess,
    context: &ScopedContext,
) -> Result<ObservedSecret, SecretError> {
    let status = token.status.as_ref();
    let recorded = status
        .and_then(|status| status.secret_ref.as_ref())
        .filter(|recorded| recorded.name == secret::name(token));
    let recorded = recorded.and_then(|recorded| recorded.resource_version.clone());
    let issued = status.is_some_and(|status| status.token.is_some());
    match access.known_version() {
        Some(version) if Some(&version) == recorded.as_ref() => Ok(ObservedSecret::Unchanged),
        // A first token that is made here: if there is a foreign Secret of that name, creating ours will show it.
        None if !issued && remote(issuer).is_none() => Ok(ObservedSecret::Absent),
        // Before a Secret is taken for lost, or for one whose place is free for what a vendor is to make, the API server itself is asked.
        Some(_) | None => read_secret(token, access, context).await,
    }
}

/// What an issuer can do that others run.
fn remote(issuer: &Result<ObservedIssuer, IssuerProblem>) -> Option<Capabilities> {
    issuer.as_ref().ok()?.capabilities.filter(|can| !can.local)
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

/// Whether the token's Secret is the credential of an issuer that other ApiTokens refer to. It matters where the token goes.
fn is_needed_by_others(token: &ApiToken, context: &ScopedContext) -> bool {
    if token.metadata.deletion_timestamp.is_none() {
        return false;
    }
    let secret = (secret::namespace(token).to_owned(), secret::name(token).to_owned());
    let stores = &context.shared.stores;
    let issuers = stores.issuers_with(&secret, &context.shared.settings.namespace);
    issuers.iter().any(|issuer| stores.is_in_use_beside(issuer, token))
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
                Ok(read) => observed(token, &reference, read, &read.spec.common, read.status.as_ref(), context),
                Err(error) => unreadable(&reference, &error.error),
            })
        }
        IssuerKind::ClusterTokenIssuer if !stores.sees_cluster => {
            return Err(IssuerProblem::OutOfReach(Some(reference.name)));
        }
        IssuerKind::ClusterTokenIssuer => {
            let issuer = stores.cluster_issuer(&reference.name);
            issuer.map(|issuer| match &issuer.as_ref().0 {
                Ok(read) => {
                    let found = observed(token, &reference, read, &read.spec.common, read.status.as_ref(), context);
                    let namespace_allowed = stores.allows(read.spec.allowed_namespaces.as_ref(), namespace);
                    ObservedIssuer {
                        namespace_allowed,
                        ..found
                    }
                }
                Err(error) => unreadable(&reference, &error.error),
            })
        }
    };
    found.ok_or(IssuerProblem::NotFound(reference))
}

fn observed<K: kube::Resource>(
    token: &ApiToken,
    reference: &IssuerRef,
    issuer: &K,
    spec: &IssuerSpec,
    status: Option<&IssuerStatus>,
    context: &ScopedContext,
) -> ObservedIssuer {
    let capabilities = context.shared.issuers.capabilities(spec);
    let nameless = capabilities.is_some_and(|can| !can.local && !can.names);
    let id = IssuerId::new(reference, secret::namespace(token));
    let credential = id.credential(spec, &context.shared.settings.namespace);
    let credential_held = credential.is_none_or(|key| context.shared.credentials.is_held(&key));
    ObservedIssuer {
        reference: reference.clone(),
        spec: spec.clone(),
        capabilities,
        generation: issuer.meta().generation,
        credential: context.shared.connections.credential(&id),
        version: connections::version(&id, spec, issuer.meta().generation, &context.shared),
        timeout: timeout(spec),
        readiness: readiness(issuer, status),
        held: credential_held && issuer.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER),
        namespace_allowed: true,
        busy: nameless && context.shared.stores.has_open_intent(token, reference),
    }
}

/// An issuer that can't be read is none that tokens can be made at.
fn unreadable(reference: &IssuerRef, why: &str) -> ObservedIssuer {
    ObservedIssuer {
        reference: reference.clone(),
        spec: IssuerSpec::default(),
        capabilities: None,
        generation: None,
        credential: None,
        version: String::new(),
        timeout: issuers::DEFAULT_TIMEOUT,
        readiness: IssuerReadiness::Unreadable(why.to_owned()),
        held: false,
        namespace_allowed: true,
        busy: false,
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
