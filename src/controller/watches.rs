//! The watches: they keep the stores up to date and tell the controllers what changed.
//!
//! Never a Secret's data: of Secrets only metadata is watched, and only of those with our label.
//! What a controller is told is a name, never a state: it looks at the stores itself.

use std::{fmt::Debug, sync::Arc};

use futures::{FutureExt, TryStreamExt, future::BoxFuture};
use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::warn;

use super::{
    context::Settings,
    pauses::Pauses,
    recent::{Key, key},
    stores::{Guarded, Scope, ScopedStores, Stores},
    versions::{Follower, Versions},
};
use crate::api::{ApiToken, ClusterTokenIssuer, IssuerKind, IssuerRef, TokenIssuer, names};

/// Names that wait for a controller. A full queue holds back the watch behind it, nothing else.
const QUEUE: usize = 1024;
/// Objects that one answer of a list holds: few, because a whole answer stands in memory several times over.
const PAGE: u32 = 100;

/// Names of objects for a controller to look at.
pub type Queue<K> = mpsc::Receiver<ObjectRef<Guarded<K>>>;
type Trigger<K> = mpsc::Sender<ObjectRef<Guarded<K>>>;

/// What the watches tell each controller.
pub struct Queues {
    /// The one of ClusterTokenIssuers.
    pub cluster_issuers: Queue<ClusterTokenIssuer>,
    /// The one of TokenIssuers.
    pub issuers: Queue<TokenIssuer>,
    /// The one of ApiTokens.
    pub tokens: Queue<ApiToken>,
}

impl Queues {
    /// Lets all names go, for ever: whoever does not work must not hold back the watches.
    pub async fn let_go(&mut self) {
        loop {
            tokio::select! {
                Some(_) = self.cluster_issuers.recv() => {}
                Some(_) = self.issuers.recv() => {}
                Some(_) = self.tokens.recv() => {}
                else => std::future::pending().await,
            }
        }
    }
}

/// The watches, opened.
pub struct Watches {
    /// What they keep.
    pub stores: Arc<Stores>,
    /// What they tell.
    pub queues: Queues,
    /// Whoever follows a credential tells here that it changed.
    pub credentials: mpsc::Sender<Key>,
    /// To be run all the time; none of them ends by itself.
    pub running: Vec<BoxFuture<'static, ()>>,
}

/// Opens all watches.
pub fn open(client: &Client, settings: &Settings) -> Watches {
    let (cluster_issuers, watch_cluster_issuers) = watch(Api::all(client.clone()), watcher::Config::default());
    let (namespaces, watch_namespaces) = watch(Api::<PartialObjectMeta<Namespace>>::all(client.clone()), watcher::Config::default());
    let scopes = Scope::of(&settings.watch_namespaces);
    let (scoped, watch_scopes): (Vec<_>, Vec<_>) = scopes.iter().map(|scope| open_scope(client, scope)).unzip();
    let stores = Arc::new(Stores {
        sees_cluster: !settings.single_namespace,
        cluster_issuers,
        namespaces,
        adoptions: Default::default(),
        intents: Default::default(),
        scopes: scoped,
    });

    let (tell_cluster_issuers, cluster_issuers) = mpsc::channel(QUEUE);
    let (tell_issuers, issuers) = mpsc::channel(QUEUE);
    let (tell_tokens, tokens) = mpsc::channel(QUEUE);
    let announcer = Arc::new(Announcer {
        stores: stores.clone(),
        cluster_issuers: tell_cluster_issuers,
        issuers: tell_issuers,
        tokens: tell_tokens,
        own_namespace: settings.namespace.clone(),
    });
    let (credentials, changed_credentials) = mpsc::channel(QUEUE);
    let mut running = vec![tell_of_credentials(changed_credentials, announcer.clone()).boxed()];
    if stores.sees_cluster {
        running.push(run(watch_cluster_issuers, trim_declared, &announcer, |announcer, event| {
            async move { announcer.cluster_issuer(event).await }.boxed()
        }));
        running.push(run(watch_namespaces, trim_namespace, &announcer, |announcer, event| {
            async move { announcer.namespace(event).await }.boxed()
        }));
    }
    for (at, (tokens, issuers, secrets)) in watch_scopes.into_iter().enumerate() {
        running.push(run(tokens, trim_token, &announcer, move |announcer, event| {
            async move { announcer.token(at, event).await }.boxed()
        }));
        running.push(run(issuers, trim_declared, &announcer, move |announcer, event| {
            async move { announcer.issuer(at, event).await }.boxed()
        }));
        running.push(run(secrets, trim_secret, &announcer, move |announcer, event| {
            async move { announcer.secret(at, event).await }.boxed()
        }));
    }
    Watches {
        stores,
        queues: Queues {
            cluster_issuers,
            issuers,
            tokens,
        },
        credentials,
        running,
    }
}

/// Tells of credentials that changed, for ever: nobody tells of any more once the controllers have ended.
async fn tell_of_credentials(mut changed: mpsc::Receiver<Key>, announcer: Arc<Announcer>) {
    while let Some(key) = changed.recv().await {
        announcer.credential(&key).await;
    }
    std::future::pending().await
}

type ScopeWatches = (
    Watch<Guarded<ApiToken>>,
    Watch<Guarded<TokenIssuer>>,
    Watch<PartialObjectMeta<Secret>>,
);

fn open_scope(client: &Client, scope: &Scope) -> (Arc<ScopedStores>, ScopeWatches) {
    let (tokens, watch_tokens) = watch(scope.api(client), watcher::Config::default());
    let (issuers, watch_issuers) = watch(scope.api(client), watcher::Config::default());
    let (secrets, watch_secrets) = watch_secrets(scope.api(client));
    let stores = ScopedStores {
        scope: scope.clone(),
        tokens,
        issuers,
        secrets,
        recent_tokens: Default::default(),
        recent_secrets: Default::default(),
        claims: Default::default(),
        fresh: Default::default(),
        polls: Default::default(),
        retries: Default::default(),
    };
    (Arc::new(stores), (watch_tokens, watch_issuers, watch_secrets))
}

/// The watch of one kind.
struct Watch<K> {
    api: Api<K>,
    config: watcher::Config,
    /// Brings the store up to date.
    keep: Box<dyn FnMut(&Event<K>) + Send>,
}

fn watch<K>(api: Api<K>, config: watcher::Config) -> (Store<K>, Watch<K>)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let mut writer = Writer::new(());
    let store = writer.as_reader();
    let keep = Box::new(move |event: &Event<K>| writer.apply_watcher_event(event));
    (store, Watch { api, config, keep })
}

/// Of Secrets only those with our label.
fn watch_secrets(api: Api<PartialObjectMeta<Secret>>) -> (Arc<Versions>, Watch<PartialObjectMeta<Secret>>) {
    let config = watcher::Config::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGER));
    let versions = Arc::<Versions>::default();
    let mut follower = Follower::of(versions.clone());
    let keep = Box::new(move |event: &Event<_>| follower.see(event));
    (versions, Watch { api, config, keep })
}

/// Keeps the store of `watch` up to date, and tells of each change once the store has it.
fn run<K, F>(watch: Watch<K>, trim: fn(&mut K), announcer: &Arc<Announcer>, mut tell: F) -> BoxFuture<'static, ()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    F: FnMut(Arc<Announcer>, Event<K>) -> BoxFuture<'static, ()> + Send + 'static,
{
    let announcer = announcer.clone();
    let Watch { api, config, mut keep } = watch;
    async move {
        let events = watcher::watcher(api, config.page_size(PAGE))
            .backoff(Pauses::default())
            .modify(trim);
        let mut events = std::pin::pin!(events);
        loop {
            match events.try_next().await {
                Ok(Some(event)) => {
                    keep(&event);
                    tell(announcer.clone(), event).await;
                }
                Ok(None) => return,
                Err(error) => warn!(kind = %K::kind(&()), %error, "watch interrupted, it is opened again"),
            }
        }
    }
    .boxed()
}

/// Keeps of a declared object's metadata what somebody reads: with thousands of objects the rest would
/// be most of the memory.
pub fn trim_declared<K: Resource>(object: &mut K) {
    let metadata = trimmed(object.meta_mut());
    metadata.labels = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| name.starts_with(names::PREFIX));
    }
    metadata.annotations.take_if(|annotations| annotations.is_empty());
}

/// A list that was read grew by doubling: with six conditions it has room for eight.
fn trim_token(token: &mut Guarded<ApiToken>) {
    trim_declared(token);
    if let Ok(ApiToken { status: Some(status), .. }) = &mut token.0 {
        status.conditions.shrink_to_fit();
    }
}

/// Of a Secret's metadata only its name and version are read.
fn trim_secret(secret: &mut PartialObjectMeta<Secret>) {
    let metadata = trimmed(&mut secret.metadata);
    metadata.labels = None;
    metadata.annotations = None;
    metadata.finalizers = None;
}

/// Of a namespace's metadata its labels are read, and whether it ends.
fn trim_namespace(namespace: &mut PartialObjectMeta<Namespace>) {
    trimmed(&mut namespace.metadata).annotations = None;
}

fn trimmed(metadata: &mut ObjectMeta) -> &mut ObjectMeta {
    metadata.managed_fields = None;
    metadata.owner_references = None;
    metadata
}

/// Tells the controllers what changed.
struct Announcer {
    stores: Arc<Stores>,
    cluster_issuers: Trigger<ClusterTokenIssuer>,
    issuers: Trigger<TokenIssuer>,
    tokens: Trigger<ApiToken>,
    own_namespace: String,
}

impl Announcer {
    async fn token(&self, at: usize, event: Event<Guarded<ApiToken>>) {
        let Some(stores) = self.stores.scopes.get(at) else { return };
        match event {
            Event::Apply(token) => {
                if let Ok(token) = &token.0 {
                    stores.claims.insert(token);
                    self.issuer_of(token, false).await;
                }
                if !stores.recent_tokens.delivered(token.meta()) {
                    tell(&self.tokens, ObjectRef::from_obj(&token)).await;
                }
            }
            Event::Delete(token) => {
                stores.recent_tokens.delivered(token.meta());
                stores.claims.remove(&key(token.meta()));
                stores.retries.succeeded(&key(token.meta()));
                let uid = token.meta().uid.clone().unwrap_or_default();
                stores.fresh.take(&uid);
                stores.polls.take(&uid);
                self.stores.adoptions.forget(&uid);
                self.stores.intents.forget(&uid);
                if let Ok(token) = &token.0 {
                    self.claimants(at, &token.namespace().unwrap_or_default(), crate::lifecycle::secret::name(token))
                        .await;
                    self.issuer_of(token, true).await;
                }
            }
            Event::InitDone => {
                let tokens = stores.tokens.state();
                let uids = tokens.iter().filter_map(|token| token.meta().uid.clone()).collect();
                stores.claims.replace(tokens.iter().filter_map(|token| token.0.as_ref().ok()));
                stores.recent_tokens.listed();
                stores.fresh.keep_only(&uids);
                stores.polls.keep_only(&uids);
                self.stores.adoptions.clear();
                self.stores.intents.clear();
                self.all_tokens(at).await;
                self.all_issuers().await;
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    async fn secret(&self, at: usize, event: Event<PartialObjectMeta<Secret>>) {
        let Some(stores) = self.stores.scopes.get(at) else { return };
        match event {
            Event::Apply(secret) | Event::Delete(secret) => {
                if !stores.recent_secrets.delivered(&secret.metadata) {
                    self.claimants(at, &secret.namespace().unwrap_or_default(), &secret.name_any())
                        .await;
                }
            }
            Event::InitDone => {
                stores.recent_secrets.listed();
                self.all_tokens(at).await;
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    async fn issuer(&self, at: usize, event: Event<Guarded<TokenIssuer>>) {
        match event {
            Event::Apply(issuer) | Event::Delete(issuer) => {
                self.issuer_changed(at, &issuer.namespace().unwrap_or_default(), &issuer.name_any())
                    .await;
            }
            Event::InitDone => {
                self.all_issuers().await;
                self.all_tokens(at).await;
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    async fn cluster_issuer(&self, event: Event<Guarded<ClusterTokenIssuer>>) {
        match event {
            Event::Apply(issuer) | Event::Delete(issuer) => {
                self.cluster_issuer_changed(&issuer.name_any()).await;
            }
            Event::InitDone => {
                self.all_issuers().await;
                for at in 0..self.stores.scopes.len() {
                    self.all_tokens(at).await;
                }
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    /// A credential concerns the issuers that name it, and their tokens.
    async fn credential(&self, key: &Key) {
        for issuer in self.stores.issuers_with(key, &self.own_namespace) {
            match issuer.reference.kind {
                IssuerKind::ClusterTokenIssuer => self.cluster_issuer_changed(&issuer.reference.name).await,
                IssuerKind::TokenIssuer => {
                    for (at, _) in self.stores.scopes_of(&issuer.namespace) {
                        self.issuer_changed(at, &issuer.namespace, &issuer.reference.name).await;
                    }
                }
            }
        }
    }

    async fn issuer_changed(&self, at: usize, namespace: &str, name: &str) {
        tell(&self.issuers, ObjectRef::new(name).within(namespace)).await;
        let reference = reference(IssuerKind::TokenIssuer, name);
        let concerned =
            |token: &ApiToken| token.metadata.namespace.as_deref() == Some(namespace) && self.stores.refers_to(token, &reference);
        self.tokens_where(at, concerned).await;
    }

    async fn cluster_issuer_changed(&self, name: &str) {
        tell(&self.cluster_issuers, ObjectRef::new(name)).await;
        let reference = reference(IssuerKind::ClusterTokenIssuer, name);
        let concerned = |token: &ApiToken| self.stores.refers_to(token, &reference) || awaits_default(token);
        for at in 0..self.stores.scopes.len() {
            self.tokens_where(at, concerned).await;
        }
    }

    /// Labels of a namespace decide where an issuer selects namespaces by them.
    async fn namespace(&self, event: Event<PartialObjectMeta<Namespace>>) {
        match event {
            Event::Apply(namespace) | Event::Delete(namespace) if self.selects_namespaces() => {
                let name = namespace.name_any();
                for (at, _) in self.stores.scopes_of(&name) {
                    self.tokens_where(at, |token| token.metadata.namespace.as_ref() == Some(&name))
                        .await;
                }
            }
            Event::InitDone if self.selects_namespaces() => {
                for at in 0..self.stores.scopes.len() {
                    self.all_tokens(at).await;
                }
            }
            _ => {}
        }
    }

    fn selects_namespaces(&self) -> bool {
        let selects = |issuer: &Guarded<ClusterTokenIssuer>| {
            let allowed = issuer.0.as_ref().ok().and_then(|issuer| issuer.spec.allowed_namespaces.as_ref());
            allowed.is_some_and(|allowed| allowed.selector.is_some())
        };
        self.stores.cluster_issuers.find(selects).is_some()
    }

    /// An issuer is told of a token where that may matter to it: to be held, or to be let go.
    async fn issuer_of(&self, token: &ApiToken, goes: bool) {
        let Ok(reference) = self.stores.issuer_of(token) else { return };
        let namespace = token.namespace().unwrap_or_default();
        match reference.kind {
            IssuerKind::ClusterTokenIssuer => {
                let issuer = self.stores.cluster_issuer(&reference.name);
                let is_told = |read: &ClusterTokenIssuer| wants_to_know(read) || (goes && read.spec.common.credentials_ref().is_some());
                if issuer.is_some_and(|issuer| issuer.0.as_ref().is_ok_and(is_told)) {
                    tell(&self.cluster_issuers, ObjectRef::new(&reference.name)).await;
                }
            }
            IssuerKind::TokenIssuer => {
                let issuer = self.stores.issuer(&namespace, &reference.name);
                let is_told = |read: &TokenIssuer| wants_to_know(read) || (goes && read.spec.common.credentials_ref().is_some());
                if issuer.is_some_and(|issuer| issuer.0.as_ref().is_ok_and(is_told)) {
                    tell(&self.issuers, ObjectRef::new(&reference.name).within(&namespace)).await;
                }
            }
        }
    }

    async fn all_issuers(&self) {
        for issuer in self.stores.cluster_issuers.state() {
            tell(&self.cluster_issuers, ObjectRef::from_obj(issuer.as_ref())).await;
        }
        for stores in &self.stores.scopes {
            for issuer in stores.issuers.state() {
                tell(&self.issuers, ObjectRef::from_obj(issuer.as_ref())).await;
            }
        }
    }

    /// Every ApiToken that names the Secret.
    async fn claimants(&self, at: usize, namespace: &str, secret: &str) {
        let Some(stores) = self.stores.scopes.get(at) else { return };
        for name in stores.claimants(namespace, secret) {
            tell(&self.tokens, ObjectRef::new(&name).within(namespace)).await;
        }
    }

    async fn all_tokens(&self, at: usize) {
        self.tokens_where(at, |_| true).await;
    }

    async fn tokens_where(&self, at: usize, concerned: impl Fn(&ApiToken) -> bool) {
        let Some(stores) = self.stores.scopes.get(at) else { return };
        let concerned = |token: &Guarded<ApiToken>| token.0.as_ref().map_or(true, &concerned);
        for token in stores.tokens.state_filter(concerned) {
            tell(&self.tokens, ObjectRef::from_obj(token.as_ref())).await;
        }
    }
}

/// Waits while the queue is full. One that is closed belongs to a controller that has ended.
async fn tell<K: Resource<DynamicType = ()>>(queue: &mpsc::Sender<ObjectRef<K>>, object: ObjectRef<K>) {
    let _ = queue.send(object).await;
}

/// Whether the token is to have whichever issuer is the default one.
fn awaits_default(token: &ApiToken) -> bool {
    token.spec.issuer_ref.is_none() && token.status.as_ref().is_none_or(|status| status.token.is_none())
}

fn wants_to_know<K: Resource>(issuer: &K) -> bool {
    issuer.meta().deletion_timestamp.is_some() || !issuer.finalizers().iter().any(|finalizer| finalizer == names::FINALIZER)
}

fn reference(kind: IssuerKind, name: &str) -> IssuerRef {
    IssuerRef {
        kind,
        name: name.to_owned(),
    }
}
