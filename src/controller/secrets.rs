//! Reads and writes the Secrets of tokens.
//!
//! Every write is a create, or a replacement or deletion under the uid and version that were read:
//! never a forced apply. No error says more of a Secret than its name, the status code and the
//! fields that were refused, since an answer may quote what was sent.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Preconditions},
};
use tokio::time::timeout;

use super::{
    calls::{CALL_TIMEOUT, post_params},
    stores::ScopedStores,
};
use crate::{
    api::names,
    lifecycle::{Failure, FoundSecret, ObservedSecret, SecretVersion},
};

/// Why a call about a Secret failed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The API server refused it.
    #[error("the API server refuses to {verb} Secret {name:?}: {reason}{fields}; {advice}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// The Secret's name.
        name: String,
        /// Status reason and code.
        reason: String,
        /// The fields that were refused, if it said which.
        fields: String,
        /// What to do.
        advice: &'static str,
    },
    /// It did not answer.
    #[error("could not {verb} Secret {name:?}: the API server did not answer as expected; it is tried again")]
    Unreachable {
        /// What was tried.
        verb: &'static str,
        /// The Secret's name.
        name: String,
    },
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::of_secret(error.to_string())
    }
}

/// The Secret of one token.
pub struct SecretAccess {
    api: Api<Secret>,
    stores: Arc<ScopedStores>,
    namespace: String,
    name: String,
}

impl SecretAccess {
    /// Access to one Secret.
    pub fn new(client: &Client, stores: Arc<ScopedStores>, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            stores,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The version that is known without asking: the one just written, else the one watched.
    pub fn known_version(&self) -> Option<String> {
        let key = (self.namespace.clone(), self.name.clone());
        let watched = self.stores.secrets.get(&key);
        self.stores.recent_secrets.newer_than(&key, watched.as_deref()).or(watched)
    }

    /// Reads the Secret.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn read(&self) -> Result<ObservedSecret, SecretError> {
        let found = self.call("read", self.api.get_opt(&self.name)).await?;
        Ok(found
            .flatten()
            .map_or(ObservedSecret::Absent, |secret| ObservedSecret::Found(FoundSecret::new(secret))))
    }

    /// Creates the Secret; where one of that name is there already, shows that one instead.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn create(&self, secret: &FoundSecret) -> Result<ObservedSecret, SecretError> {
        match self.call("create", self.api.create(&post_params(), secret.object())).await? {
            Some(created) => Ok(self.written(created)),
            None => self.read().await,
        }
    }

    /// Replaces the Secret that was read; where it is another one by now, shows that one instead.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn replace(&self, secret: &FoundSecret) -> Result<ObservedSecret, SecretError> {
        match self
            .call("update", self.api.replace(&self.name, &post_params(), secret.object()))
            .await?
        {
            Some(replaced) => Ok(self.written(replaced)),
            None => self.read().await,
        }
    }

    /// Deletes the Secret that was read; where it is another one by now, shows that one instead.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn delete(&self, version: SecretVersion) -> Result<ObservedSecret, SecretError> {
        let precise = DeleteParams::default().preconditions(Preconditions {
            uid: version.uid,
            resource_version: version.resource_version,
        });
        self.call("delete", self.api.delete(&self.name, &precise)).await?;
        self.read().await
    }

    /// Nothing where the object was not as expected: gone, there already, or changed.
    async fn call<T>(&self, verb: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<Option<T>, SecretError> {
        match timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(answer)) => Ok(Some(answer)),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() || status.is_already_exists() => Ok(None),
            Ok(Err(kube::Error::Api(status))) => Err(self.refused(verb, &status)),
            Ok(Err(_)) | Err(_) => Err(SecretError::Unreachable {
                verb,
                name: self.name.clone(),
            }),
        }
    }

    fn refused(&self, verb: &'static str, status: &kube::core::Status) -> SecretError {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        let fields: Vec<&str> = causes
            .map(|cause| cause.field.as_str())
            .filter(|field| !field.is_empty())
            .take(5)
            .collect();
        SecretError::Refused {
            verb,
            name: self.name.clone(),
            reason: format!("{} ({})", status.reason, status.code),
            fields: if fields.is_empty() {
                String::new()
            } else {
                format!(" in {}", fields.join(", "))
            },
            advice: match status.code {
                403 => "see the operator's role, quotas and admission policies, and whether the namespace is being deleted",
                422 => "correct spec.secret, or see admission policies and whether that Secret is immutable",
                _ => "it is tried again",
            },
        }
    }

    fn written(&self, secret: Secret) -> ObservedSecret {
        let labels = secret.meta().labels.as_ref();
        let watched = labels.and_then(|labels| labels.get(names::MANAGED_BY_LABEL)).map(String::as_str) == Some(names::MANAGER);
        if let (true, Some(version)) = (watched, &secret.metadata.resource_version) {
            self.stores.recent_secrets.wrote(&secret.metadata, version.clone());
        }
        ObservedSecret::Found(FoundSecret::new(secret))
    }
}
