//! The controllers of TokenIssuers and ClusterTokenIssuers: one piece of code for both kinds.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::object::HasStatus,
    runtime::reflector::{ObjectRef, Store},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tracing::{info, warn};

use super::{
    book::Book,
    by_uid::ByUid,
    calls::{CallError, call, post_params},
    connections,
    context::Context,
    issuer_calls::{in_time, timeout},
    recent::{Key, Recent},
    stores::{Guarded, Stores},
    strays::{confirm, is_taken_over},
    watches::Queue,
    worker::{self, Again, Term, Work, keys},
};
use crate::{
    api::{ClusterTokenIssuer, IssuerId, IssuerKind, IssuerRef, IssuerSpec, IssuerStatus, TokenIssuer, issuer::Orphan, names},
    issuers::{self, IssuerError, ListedState, ListedToken, TokenRequest, Verb},
    lifecycle::{
        issuer::{Credential, Facts, IssuerPlan, IssuerStep, Look, ObservedIssuerObject, decide},
        schedule,
        sweep::Holdings,
    },
};

/// How long after a failure an issuer is looked at again.
const RETRY: Duration = Duration::from_secs(5);

/// What both kinds of issuers have in common.
pub trait Issuer:
    Resource<DynamicType = ()> + HasStatus<Status = IssuerStatus> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// Which kind it is.
    const KIND: IssuerKind;
    /// An API for this issuer.
    fn api(&self, client: &Client) -> Api<Self>;
    /// The spec that both kinds share.
    fn common(&self) -> &IssuerSpec;
    /// All of the kind, as the watches show them.
    fn known(stores: &Stores) -> Vec<&Store<Guarded<Self>>>;
}

impl Issuer for TokenIssuer {
    const KIND: IssuerKind = IssuerKind::TokenIssuer;

    fn api(&self, client: &Client) -> Api<Self> {
        Api::namespaced(client.clone(), &self.namespace().unwrap_or_default())
    }

    fn common(&self) -> &IssuerSpec {
        &self.spec.common
    }

    fn known(stores: &Stores) -> Vec<&Store<Guarded<Self>>> {
        stores.scopes.iter().map(|scope| &scope.issuers).collect()
    }
}

impl Issuer for ClusterTokenIssuer {
    const KIND: IssuerKind = IssuerKind::ClusterTokenIssuer;

    fn api(&self, client: &Client) -> Api<Self> {
        Api::all(client.clone())
    }

    fn common(&self) -> &IssuerSpec {
        &self.spec.common
    }

    fn known(stores: &Stores) -> Vec<&Store<Guarded<Self>>> {
        vec![&stores.cluster_issuers]
    }
}

/// More steps than most passes need; one that takes as many goes on a moment later.
const MOST_STEPS: usize = 300;
/// Until a pass goes on that took so many steps.
const MOMENT: Duration = Duration::from_secs(1);
/// The longest time until an issuer is looked at again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Tokens of an issuer that are remembered of one look: foreign ones must not fill the memory.
const MOST_LISTED: usize = 20_000;

/// Why an issuer was not brought to what was decided.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The finalizer was not written.
    #[error("could not write the finalizer: {0}")]
    Finalizer(#[source] CallError),
    /// The status was not written.
    #[error("could not write the status: {0}")]
    Status(#[source] CallError),
    /// The Secret with the credential was not read or written.
    #[error("could not look after the Secret with the credential: {0}")]
    Credential(#[source] CallError),
    /// The ConfigMaps of the ledger were not read or written.
    #[error("could not keep the ledger in the operator's namespace: {0}")]
    Book(#[source] CallError),
}

/// What the controller of one kind works with.
struct IssuerContext<K> {
    shared: Arc<Context>,
    /// Issuers just written, which the watch does not show yet.
    recent: Recent<Arc<K>>,
    /// What came of asking each issuer last.
    looks: ByUid<Look>,
}

/// Runs the controller of one kind.
pub async fn run<K: Issuer>(queue: Queue<K>, context: Arc<Context>, term: Term) {
    let work = Work {
        first: keys(&K::known(&context.stores)),
        queue,
        slots: context.settings.concurrency,
    };
    let context = Arc::new(IssuerContext::<K> {
        shared: context,
        recent: Recent::default(),
        looks: ByUid::default(),
    });
    let pass = |key: Key| {
        let context = context.clone();
        async move { reconcile(&key, &context).await }
    };
    worker::run(work, term, pass).await;
}

async fn reconcile<K: Issuer>(key: &Key, context: &IssuerContext<K>) -> Again {
    let (namespace, name) = key;
    let reference = match namespace.as_str() {
        "" => ObjectRef::new(name),
        namespace => ObjectRef::new(name).within(namespace),
    };
    let object = K::known(&context.shared.stores).iter().find_map(|store| store.get(&reference))?;
    let Ok(watched) = &object.0 else {
        warn!(kind = ?K::KIND, namespace, name, "issuer can't be read, skipped until it changes");
        return None;
    };
    let _running = context.shared.metrics.progress.pass();
    let newer = context.recent.newer_than(key, watched.resource_version().as_deref());
    let issuer = newer.as_deref().unwrap_or(watched).clone();
    pass(issuer, context).await.unwrap_or_else(|error| {
        warn!(kind = ?K::KIND, namespace, name, %error, "issuer is looked at again in a moment");
        Some(RETRY)
    })
}

async fn pass<K: Issuer>(issuer: K, context: &IssuerContext<K>) -> Result<Again, PassError> {
    let mut pass = Pass::begin(issuer, context).await?;
    for _ in 0..MOST_STEPS {
        match pass.decide() {
            IssuerPlan::Step(step) => pass.take(step).await?,
            IssuerPlan::Rest { status, look_again_at } => return pass.end(status, look_again_at).await,
        }
    }
    Ok(Some(MOMENT))
}

/// One pass over one issuer.
struct Pass<'a, K> {
    issuer: K,
    id: IssuerId,
    api: Api<K>,
    facts: Facts,
    context: &'a IssuerContext<K>,
}

impl<'a, K: Issuer> Pass<'a, K> {
    async fn begin(issuer: K, context: &'a IssuerContext<K>) -> Result<Self, PassError> {
        let shared = &context.shared;
        let reference = IssuerRef {
            kind: K::KIND,
            name: issuer.name_any(),
        };
        let id = IssuerId::new(&reference, &issuer.namespace().unwrap_or_default());
        let credential = match id.credential(issuer.common(), &shared.settings.namespace) {
            Some(key) => shared.credentials.look(&key).await.map_err(PassError::Credential)?,
            None => Credential::Absent,
        };
        let facts = Facts {
            capabilities: shared.issuers.capabilities(issuer.common()),
            in_use: shared.stores.is_in_use(&reference, issuer.namespace().as_deref()),
            credential,
            version: connections::version(&id, issuer.common(), issuer.meta().generation, shared),
            needed_elsewhere: shared.stores.credentials_of_others(&id, &shared.settings.namespace),
            released: BTreeSet::new(),
            holdings: Holdings::default(),
            last_look: context.looks.get(&issuer.uid().unwrap_or_default()),
            view: None,
            unseen: BTreeSet::new(),
            book: Vec::new(),
            confirmed: None,
            resisting: BTreeSet::new(),
            terms: shared.terms(),
            now: schedule::to_second(shared.clock.now()),
        };
        Ok(Self {
            api: issuer.api(&shared.client),
            issuer,
            id,
            facts,
            context,
        })
    }

    fn decide(&self) -> IssuerPlan {
        decide(&ObservedIssuerObject {
            metadata: self.issuer.meta(),
            spec: self.issuer.common(),
            status: self.issuer.status(),
            facts: &self.facts,
        })
    }

    async fn end(mut self, status: Option<Box<IssuerStatus>>, look_again_at: Option<Timestamp>) -> Result<Again, PassError> {
        if let Some(status) = status {
            self.write_status(*status).await?;
        }
        // A look counts once all that follows from it is done.
        if let Some(look) = self.facts.last_look.take() {
            self.context.looks.keep(&self.issuer.uid().unwrap_or_default(), look);
        }
        let now = self.context.shared.clock.now();
        let wait = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        Ok(look_again_at.map(|at| wait(at).min(LONGEST_WAIT)))
    }

    async fn take(&mut self, step: IssuerStep) -> Result<(), PassError> {
        self.context.shared.metrics.progress.moved();
        match step {
            IssuerStep::WriteStatus(status) => self.write_status(*status).await,
            IssuerStep::HoldCredential => self.hold_credential().await,
            IssuerStep::ReleaseCredential(name) => self.release_credential(name).await,
            IssuerStep::WriteFinalizers(finalizers) => self.write_finalizers(&finalizers).await,
            IssuerStep::Look => self.look().await,
            IssuerStep::Confirm(strays) => {
                self.facts.confirmed = Some(confirm(strays, &self.context.shared).await);
                Ok(())
            }
            IssuerStep::Keep(entries) => {
                self.book().keep(&entries).await.map_err(PassError::Book)?;
                self.facts.book.extend(entries);
                Ok(())
            }
            IssuerStep::Forget(ids) => {
                self.book().forget(&ids).await.map_err(PassError::Book)?;
                self.facts.book.retain(|entry| !ids.contains(&entry.id));
                Ok(())
            }
            IssuerStep::End { orphan, verb } => {
                self.end_orphan(&orphan, verb).await;
                Ok(())
            }
        }
    }

    /// Under the version that was read, so that nobody else's finalizer is lost.
    async fn write_finalizers(&mut self, finalizers: &[String]) -> Result<(), PassError> {
        let patch = json!({ "metadata": { "resourceVersion": self.issuer.resource_version(), "finalizers": finalizers } });
        let parameters = PatchParams {
            field_manager: Some(names::MANAGER.to_owned()),
            ..Default::default()
        };
        let written = call(self.api.patch(&self.issuer.name_any(), &parameters, &Patch::Merge(patch))).await;
        self.written(written.map_err(PassError::Finalizer)?, "finalizers");
        Ok(())
    }

    async fn write_status(&mut self, status: IssuerStatus) -> Result<(), PassError> {
        let mut issuer = self.issuer.clone();
        *issuer.status_mut() = Some(status);
        let written = call(self.api.replace_status(&issuer.name_any(), &post_params(), &issuer)).await;
        self.written(written.map_err(PassError::Status)?, "status");
        Ok(())
    }

    fn written(&mut self, issuer: K, what: &str) {
        info!(kind = ?K::KIND, namespace = issuer.namespace(), name = issuer.name_any(), "{what} of the issuer written");
        self.context.recent.wrote(&issuer.meta().clone(), Arc::new(issuer.clone()));
        self.issuer = issuer;
    }

    async fn hold_credential(&mut self) -> Result<(), PassError> {
        let Some(key) = self.id.credential(self.issuer.common(), &self.context.shared.settings.namespace) else {
            return Ok(());
        };
        self.context
            .shared
            .credentials
            .hold(&key, true)
            .await
            .map_err(PassError::Credential)?;
        self.credential_written(&key).await
    }

    async fn release_credential(&mut self, name: String) -> Result<(), PassError> {
        let shared = &self.context.shared;
        let key = (self.id.credential_namespace(&shared.settings.namespace).to_owned(), name.clone());
        shared.credentials.hold(&key, false).await.map_err(PassError::Credential)?;
        self.facts.released.insert(name);
        match self.id.credential(self.issuer.common(), &shared.settings.namespace) {
            Some(declared) => self.credential_written(&declared).await,
            None => Ok(()),
        }
    }

    /// Our own finalizer on the Secret is no change that the issuer would have to be asked again for.
    async fn credential_written(&mut self, key: &Key) -> Result<(), PassError> {
        let shared = &self.context.shared;
        let before = std::mem::take(&mut self.facts.version);
        self.facts.credential = shared.credentials.look(key).await.map_err(PassError::Credential)?;
        self.facts.version = connections::version(&self.id, self.issuer.common(), self.issuer.meta().generation, shared);
        if let Some(last) = self.facts.last_look.as_mut().filter(|last| last.version == before) {
            last.version.clone_from(&self.facts.version);
        }
        Ok(())
    }

    /// Asks the issuer what it has.
    async fn look(&mut self) -> Result<(), PassError> {
        let book = self.book().read().await.map_err(PassError::Book)?;
        let seen = self.list(&book).await;
        let now = schedule::to_second(self.context.shared.clock.now());
        let error = seen.as_ref().err().cloned();
        let look = Look::followed_by(self.facts.last_look.as_ref(), self.facts.version.clone(), error, now);
        self.facts.last_look = Some(look);
        self.facts.now = now;
        self.facts.book = book;
        // What ApiTokens have is looked at after the issuer, so that no token just made counts as nobody's.
        self.facts.holdings = self.context.shared.stores.holdings(&self.id);
        self.facts.view = seen.ok();
        self.context.shared.forget_former_issuers();
        Ok(())
    }

    /// All tokens of the issuer, and of each account that the ledger names.
    async fn list(&mut self, book: &[Orphan]) -> Result<Vec<ListedToken>, IssuerError> {
        let (issuer, limit) = (self.open().await?, timeout(self.issuer.common()));
        let mut view = in_time(limit, issuer.inventory()).await?;
        if view.len() > MOST_LISTED {
            return Err(IssuerError::Unavailable(format!("it has more than {MOST_LISTED} tokens")));
        }
        for account in self.accounts_of_the_ledger(book) {
            match in_time(limit, issuer.list(&request(Some(account.clone())))).await {
                Ok(listed) => {
                    let known: BTreeSet<String> = view.iter().map(|token| token.id.clone()).collect();
                    view.extend(listed.into_iter().filter(|token| !known.contains(&token.id)));
                }
                Err(error) => {
                    let (namespace, name) = (self.issuer.namespace(), self.issuer.name_any());
                    warn!(kind = ?K::KIND, namespace, name, %error, "an account that the ledger names can't be looked at");
                    self.facts.unseen.insert(account);
                }
            }
        }
        Ok(view.into_iter().map(|token| ListedToken { value: None, ..token }).collect())
    }

    fn accounts_of_the_ledger(&self, book: &[Orphan]) -> BTreeSet<String> {
        let entries = self.issuer.status().into_iter().flat_map(|status| &status.orphans).chain(book);
        entries.filter_map(|entry| entry.account.clone()).collect()
    }

    async fn end_orphan(&mut self, orphan: &Orphan, verb: Verb) {
        match self.try_to_end(orphan, verb).await {
            Ok(true) => self.show_ended(&orphan.id, verb),
            Ok(false) => {
                self.facts.resisting.insert(orphan.id.clone());
            }
            Err(error) => {
                let (namespace, name) = (self.issuer.namespace(), self.issuer.name_any());
                warn!(kind = ?K::KIND, namespace, name, %error, "a token of the ledger could not be ended, it is tried again");
                self.facts.resisting.insert(orphan.id.clone());
            }
        }
    }

    /// Whether it was ended; not where an ApiToken has taken it over, which the stores may not show yet.
    async fn try_to_end(&self, orphan: &Orphan, verb: Verb) -> Result<bool, IssuerError> {
        if is_taken_over(orphan, &self.context.shared).await {
            return Ok(false);
        }
        let issuer = self.open().await?;
        let request = request(orphan.account.clone());
        in_time(timeout(self.issuer.common()), issuer.change(&orphan.id, verb, &request)).await?;
        Ok(true)
    }

    fn show_ended(&mut self, id: &str, verb: Verb) {
        let view = self.facts.view.get_or_insert_default();
        match verb {
            Verb::Delete => view.retain(|token| token.id != id),
            _ => view
                .iter_mut()
                .filter(|token| token.id == id)
                .for_each(|token| token.state = ListedState::Revoked),
        }
    }

    async fn open(&self) -> Result<Arc<dyn issuers::Issuer>, IssuerError> {
        let shared = &self.context.shared;
        let generation = self.issuer.meta().generation;
        shared.connections.open(&self.id, self.issuer.common(), generation, shared).await
    }

    fn book(&self) -> Book {
        Book::of(&self.id, &self.issuer.uid().unwrap_or_default(), &self.context.shared)
    }
}

/// A question about an account.
fn request(account: Option<String>) -> TokenRequest {
    TokenRequest {
        name: None,
        description: None,
        account,
        expires_at: None,
        parameters: None,
        attempt: 0,
    }
}
