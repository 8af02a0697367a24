//! The issuers as they are reached: opened with their spec and their credential, and kept until one of
//! the two changes, so that all tokens of an issuer share its connections and its rate limit.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    context::Context,
    counted::{self, Counted},
    credentials::{CredentialError, FoundCredential},
    recent::Key,
};
use crate::{
    api::{IssuerId, IssuerKind, IssuerSpec},
    issuers::{Access, Issuer, IssuerError, Reach, observing::Observing},
    lifecycle::CredentialTraits,
};

impl IssuerId {
    /// The Secret with its credential; nothing where it needs none. `own_namespace` is the operator's.
    pub fn credential(&self, spec: &IssuerSpec, own_namespace: &str) -> Option<Key> {
        let name = spec.credentials_ref()?.name.clone();
        Some((self.credential_namespace(own_namespace).to_owned(), name))
    }

    /// Where its credential is. `own_namespace` is the operator's.
    pub fn credential_namespace<'a>(&'a self, own_namespace: &'a str) -> &'a str {
        match self.reference.kind {
            IssuerKind::TokenIssuer => &self.namespace,
            IssuerKind::ClusterTokenIssuer => own_namespace,
        }
    }
}

/// The version of spec and credential together, as far as it is known.
pub fn version(id: &IssuerId, spec: &IssuerSpec, generation: Option<i64>, context: &Context) -> String {
    let credential = id
        .credential(spec, &context.settings.namespace)
        .and_then(|key| context.credentials.version(&key));
    format!("{}.{}", generation.unwrap_or_default(), credential.unwrap_or_default())
}

/// The issuers that are open, at most one entry for each.
#[derive(Default)]
pub struct Connections {
    open: Mutex<HashMap<IssuerId, Open>>,
}

struct Open {
    generation: Option<i64>,
    credential_version: Option<String>,
    credential: CredentialTraits,
    issuer: Arc<dyn Issuer>,
}

impl Connections {
    /// The issuer, opened anew where its spec or its credential changed.
    ///
    /// # Errors
    /// Where there is no credential, or the spec can't be used.
    pub async fn open(
        &self,
        id: &IssuerId,
        spec: &IssuerSpec,
        generation: Option<i64>,
        context: &Context,
    ) -> Result<Arc<dyn Issuer>, IssuerError> {
        let not_reached = || IssuerError::Unavailable("this type of issuer is not reached by this version".to_owned());
        let reference = spec.credentials_ref().ok_or_else(not_reached)?;
        let secret = id.credential(spec, &context.settings.namespace).ok_or_else(not_reached)?;
        let known = context.credentials.version(&secret);
        if let Some(issuer) = self.unchanged(id, generation, known.as_deref()) {
            return Ok(issuer);
        }
        let found = context.credentials.read(&secret, &reference.key).await?;
        if let Some(issuer) = self.same_credential(id, generation, &found) {
            return Ok(issuer);
        }
        let credential = CredentialTraits::of(&found.value);
        let access = Access {
            spec,
            credential: found.value,
            reach: reach(id, context),
            waited: context.metrics.rate_limit_waits(counted::vendor(spec.issuer_type())),
        };
        let issuer = context.issuers.open(access)?.ok_or_else(not_reached)?;
        let counted = Arc::new(Counted {
            issuer,
            vendor: counted::vendor(spec.issuer_type()),
            metrics: context.metrics.clone(),
        });
        let issuer: Arc<dyn Issuer> = if context.settings.observe_only {
            Arc::new(Observing(counted))
        } else {
            counted
        };
        let opened = Open {
            generation,
            credential_version: found.version,
            credential,
            issuer: issuer.clone(),
        };
        self.lock().insert(id.clone(), opened);
        Ok(issuer)
    }

    /// The credential that the issuer was last opened with.
    pub fn credential(&self, id: &IssuerId) -> Option<CredentialTraits> {
        self.lock().get(id).map(|open| open.credential.clone())
    }

    /// Forgets all other issuers.
    pub fn keep_only(&self, ids: &HashSet<IssuerId>) {
        self.lock().retain(|id, _| ids.contains(id));
    }

    fn unchanged(&self, id: &IssuerId, generation: Option<i64>, credential: Option<&str>) -> Option<Arc<dyn Issuer>> {
        let open = self.lock();
        let open = open.get(id).filter(|open| open.generation == generation)?;
        (credential.is_some() && open.credential_version.as_deref() == credential).then(|| open.issuer.clone())
    }

    /// A Secret changes also where its credential does not: connections and limits stay.
    fn same_credential(&self, id: &IssuerId, generation: Option<i64>, found: &FoundCredential) -> Option<Arc<dyn Issuer>> {
        let mut open = self.lock();
        let open = open.get_mut(id).filter(|open| open.generation == generation)?;
        if open.credential.hash != found.value.hash() {
            return None;
        }
        open.credential_version.clone_from(&found.version);
        Some(open.issuer.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IssuerId, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<CredentialError> for IssuerError {
    fn from(error: CredentialError) -> Self {
        Self::CredentialMissing(error.to_string())
    }
}

/// A tenant's issuer must not lead into the cluster.
fn reach(id: &IssuerId, context: &Context) -> Reach {
    match id.reference.kind {
        IssuerKind::TokenIssuer if !context.settings.allow_private_issuers => Reach::Public,
        _ => Reach::Anywhere,
    }
}
