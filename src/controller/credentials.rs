//! The Secrets by which vendors are asked: what is known of them, and that somebody is told when one changes.
//!
//! Each is watched by its name, metadata only. Its data is read where it is used, and kept nowhere here.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::{NamespaceResourceScope, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher::watch_object},
};
use serde_json::json;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, spawn},
};

use super::{
    calls::{CallError, call},
    pauses::Pauses,
    recent::Key,
};
use crate::{
    api::names,
    lifecycle::{FoundSecret, issuer::Credential, secret},
    token_value::TokenValue,
};

/// Why there is no credential, for people.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is no such Secret.
    #[error("Secret {0:?} does not exist: create it, or correct credentialsRef")]
    NoSecret(String),
    /// It is none that a user made.
    #[error("Secret {0:?} is a credential of Kubernetes itself: use one of your own")]
    OfTheCluster(String),
    /// It has no such key, or no text there.
    #[error("Secret {name:?} has no visible text under the key {key:?}: correct the Secret or credentialsRef")]
    NoText {
        /// Name of the Secret.
        name: String,
        /// The key.
        key: String,
    },
    /// The API server did not show it.
    #[error("could not read Secret {name:?}: {cause}")]
    Call {
        /// Name of the Secret.
        name: String,
        /// Why.
        #[source]
        cause: CallError,
    },
}

/// A credential as it was read.
pub struct FoundCredential {
    /// What the operator proves itself with.
    pub value: TokenValue,
    /// Version of the Secret.
    pub version: Option<String>,
}

/// The Secrets that issuers name. One entry and one watch for each.
pub struct Credentials {
    client: Client,
    changed: mpsc::Sender<Key>,
    watched: Mutex<HashMap<Key, Watched>>,
}

struct Watched {
    known: Arc<Mutex<Known>>,
    task: AbortHandle,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is known of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    version: Option<String>,
    held: bool,
    going_since: Option<Timestamp>,
}

impl Known {
    /// Whether this was so before `other`: a watch lags behind what this program wrote itself.
    fn is_before(&self, other: &Self) -> bool {
        let number = |known: &Self| known.version.as_ref()?.parse::<u64>().ok();
        number(self).zip(number(other)).is_some_and(|(this, other)| this < other)
    }

    fn of(secret: Option<&ObjectMeta>) -> Self {
        let held = |secret: &ObjectMeta| secret.finalizers.iter().flatten().any(|finalizer| finalizer == names::FINALIZER);
        Self {
            version: secret.and_then(|secret| secret.resource_version.clone()),
            held: secret.is_some_and(held),
            going_since: secret.and_then(|secret| secret.deletion_timestamp.as_ref().map(|Time(at)| *at)),
        }
    }
}

impl Credentials {
    /// `changed` gets the name of each Secret that changed.
    pub fn new(client: Client, changed: mpsc::Sender<Key>) -> Self {
        Self {
            client,
            changed,
            watched: Mutex::default(),
        }
    }

    /// Looks at the Secret, and has it watched from now on.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn look(&self, key: &Key) -> Result<Credential, CallError> {
        let found = call(self.api::<Secret>(key).get_metadata_opt(&key.1)).await?;
        let known = Known::of(found.as_ref().map(|found| &found.metadata));
        let credential = match known.version {
            None => Credential::Absent,
            Some(_) => Credential::Present {
                held: known.held,
                going_since: known.going_since,
            },
        };
        self.watch(key, known);
        Ok(credential)
    }

    /// Changes whenever the Secret does; nothing where it does not exist or nobody has looked yet.
    pub fn version(&self, key: &Key) -> Option<String> {
        self.known(key)?.version
    }

    /// Whether the Secret has our finalizer, as far as is known.
    pub fn is_held(&self, key: &Key) -> bool {
        self.known(key).is_some_and(|known| known.held)
    }

    /// Ends the watches of all other Secrets.
    pub fn keep_only(&self, keys: &BTreeSet<Key>) {
        self.lock().retain(|key, _| keys.contains(key));
    }

    /// Adds or removes our finalizer; those of others stay. A Secret that is gone needs none.
    ///
    /// # Errors
    /// Where somebody else wrote it in the meantime, or the API server does not do it.
    pub async fn hold(&self, key: &Key, held: bool) -> Result<(), CallError> {
        let api: Api<Secret> = self.api(key);
        let Some(found) = call(api.get_metadata_opt(&key.1)).await? else {
            return Ok(());
        };
        let others = found
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != names::FINALIZER)
            .cloned();
        let finalizers: Vec<String> = others.chain(held.then(|| names::FINALIZER.to_owned())).collect();
        if finalizers == found.finalizers() {
            return Ok(());
        }
        let patch = json!({ "metadata": { "resourceVersion": found.resource_version(), "finalizers": finalizers } });
        let parameters = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..Default::default()
        };
        let written = call(api.patch_metadata(&key.1, &parameters, &Patch::Merge(patch))).await?;
        self.learn(key, Known::of(Some(&written.metadata)));
        Ok(())
    }

    /// Reads the credential.
    ///
    /// # Errors
    /// Where there is none.
    pub async fn read(&self, secret_key: &Key, key: &str) -> Result<FoundCredential, CredentialError> {
        let name = secret_key.1.clone();
        let found = match call(self.api::<Secret>(secret_key).get_opt(&name)).await {
            Ok(Some(found)) => FoundSecret::new(found),
            Ok(None) => return Err(CredentialError::NoSecret(name)),
            Err(cause) => return Err(CredentialError::Call { name, cause }),
        };
        if secret::is_of_the_cluster(&found) {
            return Err(CredentialError::OfTheCluster(name));
        }
        // Files often end in a line break that is no part of the credential.
        let text = found
            .bytes(key)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .map(str::trim_ascii);
        match text.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())) {
            Some(text) => Ok(FoundCredential {
                value: TokenValue::new(text),
                version: found.resource_version().map(str::to_owned),
            }),
            None => Err(CredentialError::NoText { name, key: key.to_owned() }),
        }
    }

    /// A Secret that this program wrote itself may be a credential: the next call is made with what it holds now, and not only when
    /// the watch shows it.
    pub async fn wrote(&self, key: &Key, metadata: &ObjectMeta) {
        let known = self.lock().get(key).map(|watched| watched.known.clone());
        if known.is_some_and(|known| learns(&known, Known::of(Some(metadata)))) {
            // Whoever listens has ended where nobody takes it.
            let _ = self.changed.send(key.clone()).await;
        }
    }

    fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self, (namespace, _): &Key) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn known(&self, key: &Key) -> Option<Known> {
        let watched = self.lock();
        watched.get(key).map(|watched| lock(&watched.known).clone())
    }

    fn learn(&self, key: &Key, known: Known) {
        if let Some(watched) = self.lock().get(key) {
            *lock(&watched.known) = known;
        }
    }

    fn watch(&self, key: &Key, known: Known) {
        let mut watched = self.lock();
        if let Some(watched) = watched.get(key) {
            *lock(&watched.known) = known;
            return;
        }
        let known = Arc::new(Mutex::new(known));
        let task = spawn(follow(self.api(key), key.clone(), known.clone(), self.changed.clone()));
        let task = task.abort_handle();
        watched.insert(key.clone(), Watched { known, task });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Watched>> {
        lock(&self.watched)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Follows one Secret for as long as it is watched. The watch opens itself again after an error.
async fn follow(api: Api<PartialObjectMeta<Secret>>, key: Key, known: Arc<Mutex<Known>>, changed: mpsc::Sender<Key>) {
    let seen = watch_object(api, &key.1).backoff(Pauses::default());
    let mut seen = std::pin::pin!(seen.filter_map(async |seen| seen.ok()));
    while let Some(secret) = seen.next().await {
        if learns(&known, Known::of(secret.as_ref().map(|secret| &secret.metadata))) && changed.send(key.clone()).await.is_err() {
            return;
        }
    }
}

/// Whether that is news.
fn learns(known: &Mutex<Known>, seen: Known) -> bool {
    let mut known = lock(known);
    if seen.is_before(&known) || seen == *known {
        return false;
    }
    *known = seen;
    true
}
