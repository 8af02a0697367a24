//! What the cluster holds, kept in memory by the watches, and the questions that are asked of it.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::LabelSelector};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, NamespaceResourceScope, PartialObjectMeta, Selector, SelectorExt},
    runtime::reflector::{ObjectRef, Store},
};

use super::{
    by_uid::ByUid,
    claims::{Claims, claimant},
    first_come::FirstCome,
    recent::{Key, Recent},
    retries::Retries,
    versions::Versions,
};
use crate::{
    api::{ApiToken, ApiTokenStatus, ClusterTokenIssuer, IssuerId, IssuerKind, IssuerRef, TokenIssuer, issuer::AllowedNamespaces, names},
    issuers::IssuedToken,
    lifecycle::{IssuerProblem, marker, secret, sweep::Holdings},
};

/// An object, or why it can't be read: one bad object does not end a watch.
pub type Guarded<K> = DeserializeGuard<K>;

/// Namespaces that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    All,
    /// One.
    Namespace(String),
}

impl Scope {
    /// The scopes for the namespaces that were named; all where none was.
    pub fn of(namespaces: &[String]) -> Vec<Self> {
        if namespaces.is_empty() {
            return vec![Self::All];
        }
        namespaces.iter().cloned().map(Self::Namespace).collect()
    }

    /// An API for the objects of this scope.
    pub fn api<K>(&self, client: &Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match self {
            Self::All => Api::all(client.clone()),
            Self::Namespace(namespace) => Api::namespaced(client.clone(), namespace),
        }
    }

    /// Whether a namespace is in this scope.
    pub fn covers(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(watched) => watched == namespace,
        }
    }
}

/// What is known of the whole cluster.
pub struct Stores {
    /// Whether ClusterTokenIssuers and namespaces are seen at all.
    pub sees_cluster: bool,
    /// Cluster-wide issuers.
    pub cluster_issuers: Store<Guarded<ClusterTokenIssuer>>,
    /// Namespaces: their labels.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Who takes a token over.
    pub adoptions: FirstCome,
    /// Who has the open intent at an issuer whose tokens have no names.
    pub intents: FirstCome,
    /// What is known of the watched namespaces.
    pub scopes: Vec<Arc<ScopedStores>>,
}

/// What is known of one scope.
pub struct ScopedStores {
    /// The namespaces of this scope.
    pub scope: Scope,
    /// ApiTokens.
    pub tokens: Store<Guarded<ApiToken>>,
    /// TokenIssuers.
    pub issuers: Store<Guarded<TokenIssuer>>,
    /// Versions of Secrets with our label.
    pub secrets: Arc<Versions>,
    /// ApiTokens with a status just written.
    pub recent_tokens: Recent<Arc<ApiToken>>,
    /// Versions of Secrets just written.
    pub recent_secrets: Recent<String>,
    /// Which ApiTokens name a Secret of another name.
    pub claims: Claims,
    /// Tokens on their way to their Secret.
    pub fresh: ByUid<IssuedToken>,
    /// When the issuer was last asked for a token.
    pub polls: ByUid<Timestamp>,
    /// Passes that could not even write their status.
    pub retries: Retries,
}

impl ScopedStores {
    /// The names of the ApiTokens that name this Secret, the oldest first.
    pub fn claimants(&self, namespace: &str, secret_name: &str) -> Vec<String> {
        let mut claimants = self.claims.claimants(namespace, secret_name);
        let namesake = self.tokens.get(&ObjectRef::new(secret_name).within(namespace));
        let namesake = namesake.as_ref().and_then(|token| token.0.as_ref().ok());
        claimants.extend(namesake.filter(|token| secret::name(token) == secret_name).map(claimant));
        claimants.into_iter().map(|(_, name)| name).collect()
    }
}

impl Stores {
    /// The scopes that a namespace is in, with their numbers.
    pub fn scopes_of(&self, namespace: &str) -> impl Iterator<Item = (usize, &Arc<ScopedStores>)> {
        let covering = move |(_, stores): &(usize, &Arc<ScopedStores>)| stores.scope.covers(namespace);
        self.scopes.iter().enumerate().filter(covering)
    }

    /// A TokenIssuer.
    pub fn issuer(&self, namespace: &str, name: &str) -> Option<Arc<Guarded<TokenIssuer>>> {
        let key = ObjectRef::new(name).within(namespace);
        self.scopes_of(namespace).find_map(|(_, stores)| stores.issuers.get(&key))
    }

    /// A ClusterTokenIssuer.
    pub fn cluster_issuer(&self, name: &str) -> Option<Arc<Guarded<ClusterTokenIssuer>>> {
        self.cluster_issuers.get(&ObjectRef::new(name))
    }

    /// The issuer that a token refers to: the declared one, else the one that was found before for a
    /// token that exists, else the default.
    ///
    /// # Errors
    /// Where there is no default issuer, or more than one, or it can't be seen.
    pub fn issuer_of(&self, token: &ApiToken) -> Result<IssuerRef, IssuerProblem> {
        if let Some(declared) = &token.spec.issuer_ref {
            return Ok(declared.clone());
        }
        let bound = token
            .status
            .as_ref()
            .filter(|status| status.token.is_some() || status.pending.is_some());
        match bound.and_then(|status| status.issuer_ref.clone()) {
            Some(found_before) => Ok(found_before),
            None => self.default_issuer(),
        }
    }

    fn default_issuer(&self) -> Result<IssuerRef, IssuerProblem> {
        if !self.sees_cluster {
            return Err(IssuerProblem::OutOfReach(None));
        }
        let mut names: Vec<String> = self
            .cluster_issuers
            .state_filter(is_default)
            .iter()
            .map(|issuer| issuer.name_any())
            .collect();
        names.sort();
        match names.as_slice() {
            [] => Err(IssuerProblem::NoDefault),
            [name] => Ok(IssuerRef {
                kind: IssuerKind::ClusterTokenIssuer,
                name: name.clone(),
            }),
            _ => Err(IssuerProblem::SeveralDefaults(names)),
        }
    }

    /// Whether a namespace is among those that a ClusterTokenIssuer allows.
    pub fn allows(&self, allowed: Option<&AllowedNamespaces>, namespace: &str) -> bool {
        let Some(allowed) = allowed else {
            return true;
        };
        allowed.names.iter().any(|name| name == namespace)
            || allowed.selector.as_ref().is_some_and(|selector| self.selects(selector, namespace))
    }

    fn selects(&self, selector: &LabelSelector, namespace: &str) -> bool {
        let Ok(selector) = Selector::try_from(selector.clone()) else {
            return false;
        };
        let found = self.namespaces.get(&ObjectRef::new(namespace));
        found.is_some_and(|namespace| selector.matches(namespace.labels()))
    }

    /// The id of this cluster: the uid of the namespace `kube-system`.
    pub fn cluster_id(&self) -> String {
        let found = self.namespaces.get(&ObjectRef::new("kube-system"));
        found.and_then(|namespace| namespace.metadata.uid.clone()).unwrap_or_default()
    }

    /// Whether the namespace is being deleted.
    pub fn namespace_ends(&self, namespace: &str) -> bool {
        let found = self.namespaces.get(&ObjectRef::new(namespace));
        found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// Whether any ApiToken refers to this issuer.
    pub fn is_in_use(&self, issuer: &IssuerRef, namespace: Option<&str>) -> bool {
        self.has_user(issuer, namespace, |_| true)
    }

    /// Whether an ApiToken beside `token` refers to this issuer.
    pub fn is_in_use_beside(&self, issuer: &IssuerId, token: &ApiToken) -> bool {
        let namespace = Some(issuer.namespace.as_str()).filter(|namespace| !namespace.is_empty());
        self.has_user(&issuer.reference, namespace, |user| user.metadata.uid != token.metadata.uid)
    }

    fn has_user(&self, issuer: &IssuerRef, namespace: Option<&str>, counts: impl Fn(&ApiToken) -> bool) -> bool {
        self.scopes.iter().any(|stores| {
            let uses = |token: &Guarded<ApiToken>| {
                let same_namespace = namespace.is_none() || token.namespace().as_deref() == namespace;
                let refers = |token: &ApiToken| counts(token) && self.refers_to(token, issuer);
                same_namespace && token.0.as_ref().is_ok_and(refers)
            };
            stores.tokens.find(uses).is_some()
        })
    }

    /// Whether the token refers to this issuer, or did when it was issued.
    pub fn refers_to(&self, token: &ApiToken, issuer: &IssuerRef) -> bool {
        let bound = token.status.as_ref().and_then(|status| status.issuer_ref.as_ref());
        bound == Some(issuer) || self.issuer_of(token).is_ok_and(|reference| reference == *issuer)
    }

    /// An ApiToken other than `token` that has or had the value with that hash: `<namespace>/<name>`.
    pub fn other_with_hash(&self, token: &ApiToken, hash: &str) -> Option<String> {
        self.scopes.iter().find_map(|stores| {
            let has_it = |other: &Guarded<ApiToken>| {
                other.meta().uid != token.metadata.uid && other.0.as_ref().is_ok_and(|other| hashes(other).any(|known| known == hash))
            };
            let other = stores.tokens.find(has_it)?;
            Some(format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any()))
        })
    }
}

impl Stores {
    /// Ids of the tokens that other ApiTokens have or had at this issuer.
    pub fn ids_of_others(&self, token: &ApiToken, issuer: &IssuerRef) -> BTreeSet<String> {
        let mut ids = BTreeSet::new();
        self.each_other(token, issuer, |status| ids.extend(known_ids(status).map(str::to_owned)));
        ids
    }

    /// The uids of all other ApiTokens, as markers have them.
    pub fn uids_of_others(&self, token: &ApiToken) -> BTreeSet<String> {
        let others = self.scopes.iter().flat_map(|stores| stores.tokens.state());
        let others = others.filter(|other| other.meta().uid != token.metadata.uid);
        let short = |uid: &String| marker::hex(uid, marker::UID_LENGTH);
        others.filter_map(|other| other.meta().uid.as_ref().map(short)).collect()
    }

    /// What ApiTokens account for at this issuer.
    pub fn holdings(&self, id: &IssuerId) -> Holdings {
        let mut holdings = Holdings::default();
        for token in self.scopes.iter().flat_map(|stores| stores.tokens.state()) {
            let uid = token.meta().uid.as_deref().unwrap_or_default();
            holdings.uids.insert(marker::hex(uid, marker::UID_LENGTH));
            let in_reach = id.namespace.is_empty() || token.meta().namespace.as_ref() == Some(&id.namespace);
            let status = token.0.as_ref().ok().and_then(|token| token.status.as_ref());
            let of_it = status.filter(|status| in_reach && status.issuer_ref.as_ref() == Some(&id.reference));
            let ids = if token.meta().deletion_timestamp.is_some() {
                &mut holdings.going
            } else {
                &mut holdings.ids
            };
            ids.extend(of_it.into_iter().flat_map(known_ids).map(str::to_owned));
        }
        holdings
    }

    /// Every issuer, the Secret with its credential, and whether it has our finalizer. `own_namespace` is the operator's.
    fn issuers(&self, own_namespace: &str) -> Vec<(IssuerId, Option<Key>, bool)> {
        let cluster = self.cluster_issuers.state().into_iter().filter_map(|issuer| {
            let read = issuer.0.as_ref().ok()?;
            let id = id_of(IssuerKind::ClusterTokenIssuer, read);
            let credential = id.credential(&read.spec.common, own_namespace);
            Some((id, credential, is_held(read)))
        });
        let namespaced = self.scopes.iter().flat_map(|stores| stores.issuers.state()).filter_map(|issuer| {
            let read = issuer.0.as_ref().ok()?;
            let id = id_of(IssuerKind::TokenIssuer, read);
            let credential = id.credential(&read.spec.common, own_namespace);
            Some((id, credential, is_held(read)))
        });
        cluster.chain(namespaced).collect()
    }

    /// Names of the Secrets that other issuers may need, of those that lie where this one's credential does.
    pub fn credentials_of_others(&self, id: &IssuerId, own_namespace: &str) -> BTreeSet<String> {
        let here = id.credential_namespace(own_namespace);
        let others = self
            .issuers(own_namespace)
            .into_iter()
            .filter(|(other, _, held)| *held && other != id);
        let credentials = others.filter_map(|(_, credential, _)| credential);
        credentials
            .filter(|(namespace, _)| namespace == here)
            .map(|(_, name)| name)
            .collect()
    }

    /// The Secrets that issuers name.
    pub fn credentials(&self, own_namespace: &str) -> BTreeSet<Key> {
        let issuers = self.issuers(own_namespace).into_iter();
        issuers.filter_map(|(_, credential, _)| credential).collect()
    }

    /// The issuers that name that Secret.
    pub fn issuers_with(&self, credential: &Key, own_namespace: &str) -> Vec<IssuerId> {
        let issuers = self.issuers(own_namespace).into_iter();
        let naming = issuers.filter(|(_, named, _)| named.as_ref() == Some(credential));
        naming.map(|(id, ..)| id).collect()
    }

    /// All issuers.
    pub fn issuer_ids(&self, own_namespace: &str) -> HashSet<IssuerId> {
        self.issuers(own_namespace).into_iter().map(|(id, ..)| id).collect()
    }

    /// Whether another ApiToken has an open intent at this issuer.
    pub fn has_open_intent(&self, token: &ApiToken, issuer: &IssuerRef) -> bool {
        let mut open = false;
        self.each_other(token, issuer, |status| open |= status.pending.is_some());
        open
    }

    fn each_other(&self, token: &ApiToken, issuer: &IssuerRef, mut see: impl FnMut(&ApiTokenStatus)) {
        let one_namespace = issuer.kind == IssuerKind::TokenIssuer;
        for stores in &self.scopes {
            for other in stores.tokens.state() {
                let in_reach = !one_namespace || other.meta().namespace == token.metadata.namespace;
                let status = other.0.as_ref().ok().and_then(|other| other.status.as_ref());
                let same_issuer = status.is_some_and(|status| status.issuer_ref.as_ref() == Some(issuer));
                if let (Some(status), true) = (status, in_reach && same_issuer && other.meta().uid != token.metadata.uid) {
                    see(status);
                }
            }
        }
    }
}

/// Ids of the tokens that an ApiToken has or had.
pub fn known_ids(status: &ApiTokenStatus) -> impl Iterator<Item = &str> {
    let current = status.token.as_ref().and_then(|token| token.id.as_deref());
    let previous = status.previous.iter().filter_map(|previous| previous.id.as_deref());
    current.into_iter().chain(previous)
}

/// Whether the annotation makes it the default issuer.
pub fn is_default<K: Resource>(issuer: &K) -> bool {
    let annotation = issuer.annotations().get(names::DEFAULT_ISSUER_ANNOTATION);
    annotation.is_some_and(|value| value == "true")
}

/// All hashes that the status names.
fn hashes(token: &ApiToken) -> impl Iterator<Item = &str> {
    let status = token.status.as_ref();
    let current = status.and_then(|status| status.token.as_ref()?.hash.as_deref());
    let pending = status.and_then(|status| status.pending.as_ref()?.hash.as_deref());
    let previous = status
        .into_iter()
        .flat_map(|status| status.previous.iter().filter_map(|token| token.hash.as_deref()));
    current.into_iter().chain(pending).chain(previous)
}

/// Which issuer an object of that kind is.
pub fn id_of<K: Resource>(kind: IssuerKind, issuer: &K) -> IssuerId {
    let reference = IssuerRef {
        kind,
        name: issuer.name_any(),
    };
    IssuerId::new(&reference, &issuer.namespace().unwrap_or_default())
}

fn is_held<K: Resource>(issuer: &K) -> bool {
    issuer.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
}
