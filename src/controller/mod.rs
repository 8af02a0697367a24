//! Gathers what is to be decided on and executes what was decided.
//!
//! This module owns all talk with the API server. It decides nothing about a token: see
//! [`crate::lifecycle`].
//!
//! [`watches`] keep the [`stores`] and tell the controllers which objects to look at; [`tokens`] and
//! [`issuers`] run one pass for each, in the order that [`worker`] gives them: gather, decide, execute, one
//! status write. A replica that stands by keeps its watches and works on nothing.

pub(crate) mod book;
mod by_uid;
pub mod calls;
mod claims;
pub mod clock;
mod connections;
mod context;
mod counted;
mod credentials;
mod default_issuer;
mod events;
mod execute;
mod first_come;
mod gather;
mod issuer_calls;
mod issuers;
mod ledger;
mod lists;
mod pauses;
mod recent;
mod retries;
mod secrets;
pub mod stores;
mod strays;
mod times;
mod tokens;
mod turns;
mod versions;
mod watches;
mod worker;
mod writes;

use std::{fmt, sync::Arc};

use futures::{FutureExt, future::select_all};
use kube::{Api, Client, api::ListParams};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub use self::context::{Foundations, Settings};
use self::{
    calls::CallError,
    connections::Connections,
    context::Context,
    credentials::Credentials,
    events::Events,
    lists::Lists,
    stores::{Scope, Stores},
    watches::Queues,
    worker::Term,
};
use crate::{
    api::{ApiToken, ClusterTokenIssuer, TokenIssuer},
    lifecycle::schedule,
    operations::{
        leader::{Election, Leadership},
        metrics::Metrics,
        server::Program,
    },
};

/// Why the controller did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server does not know our kinds.
    #[error(
        "the custom resource {kind} is not installed: install the Helm chart, or run `apitoken-operator crds | kubectl apply --server-side -f -`"
    )]
    MissingKind {
        /// Plural name and group of the kind.
        kind: String,
    },
    /// The API server does not let us.
    #[error("not allowed to list {kind}: give the operator's ServiceAccount the role of the Helm chart")]
    Forbidden {
        /// Plural name and group of the kind.
        kind: String,
    },
    /// The API server does not answer.
    #[error("can't reach the API server: {0}; see whether it runs and KUBECONFIG names the right one")]
    Unreachable(#[source] CallError),
    /// The default issuer could not be made.
    #[error("could not make the default ClusterTokenIssuer: {0}")]
    DefaultIssuer(#[source] CallError),
    /// Another replica may work from now on.
    #[error("the Lease was lost: start again, and stand by")]
    LeaseLost,
    /// A watch ended by itself.
    #[error("a watch ended by itself; this is a bug")]
    WatchEnded,
}

/// What the program shows of a controller that runs.
#[derive(Clone)]
pub struct Handles {
    /// Becomes true once every watch has listed.
    pub ready: watch::Sender<bool>,
    /// Counts what is done, and gets the stores to count tokens in.
    pub metrics: Arc<Metrics>,
}

impl Program for Handles {
    fn stuck(&self) -> Option<&'static str> {
        self.metrics.stuck()
    }

    fn not_ready(&self) -> Option<&'static str> {
        (!*self.ready.borrow()).then_some("the watches have not listed yet")
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        self.metrics.encode()
    }
}

/// Runs the controllers until `shutdown`.
///
/// # Errors
/// Where it can't begin: no API server, no rights, no custom resources.
pub async fn run(foundations: Foundations, settings: Settings, handles: Handles, shutdown: CancellationToken) -> Result<(), RunError> {
    let Foundations { client, clock, issuers } = foundations;
    check_kinds(&client, &settings).await?;
    let watches = watches::open(&client, &settings);
    let stores = watches.stores.clone();
    handles.metrics.count_tokens_in(stores.clone(), clock.clone());
    let election = settings
        .leader_elect
        .then(|| Election::new(&client, &settings.namespace, &settings.instance));
    let context = Context {
        credentials: Credentials::new(client.clone(), watches.credentials),
        connections: Connections::default(),
        lists: Lists::default(),
        events: Events::new(client.clone(), settings.instance.clone()),
        metrics: handles.metrics.clone(),
        stores: stores.clone(),
        started_at: clock.now(),
        client,
        clock,
        issuers,
        settings,
    };
    let work = async {
        listed(&stores).await;
        handles.ready.send_replace(true);
        match election {
            None => work(Leadership::undisputed(), watches.queues, context, &shutdown).await,
            Some(election) => stand_by(&election, watches.queues, context, &shutdown).await,
        }
    };
    tokio::select! {
        result = work => result,
        _ = select_all(watches.running) => Err(RunError::WatchEnded),
    }
}

/// Waits for the Lease, works while it is held, and gives it back.
async fn stand_by(election: &Election, mut queues: Queues, context: Context, shutdown: &CancellationToken) -> Result<(), RunError> {
    info!("all watches have listed, standing by");
    let leadership = tokio::select! {
        leadership = election.won() => leadership,
        () = queues.let_go() => return Ok(()),
        () = shutdown.cancelled() => {
            // The Lease may have become ours just now.
            election.give_back().await;
            return Ok(());
        }
    };
    let metrics = context.metrics.clone();
    let result = tokio::select! {
        biased;
        () = election.lost(&leadership) => Err(RunError::LeaseLost),
        result = work(leadership.clone(), queues, context, shutdown) => {
            election.give_back().await;
            result
        }
    };
    metrics.leads(false);
    result
}

/// Works until `shutdown`, and until the passes have ended that run then.
async fn work(leadership: Leadership, queues: Queues, mut context: Context, shutdown: &CancellationToken) -> Result<(), RunError> {
    context.metrics.leads(true);
    context.started_at = schedule::to_second(context.clock.now());
    let context = Arc::new(context);
    default_issuer::ensure(&context).await.map_err(RunError::DefaultIssuer)?;
    context.metrics.progress.begins();
    info!("all watches have listed, work begins");
    let term = Term {
        leadership,
        shutdown: shutdown.clone(),
    };
    let passes = async {
        tokio::join!(
            issuers::run(queues.cluster_issuers, context.clone(), term.clone()).boxed(),
            issuers::run(queues.issuers, context.clone(), term.clone()).boxed(),
            tokens::run(queues.tokens, context.clone(), term).boxed(),
        );
    };
    tokio::select! {
        () = passes => {}
        () = book::count(context.clone()) => {}
    }
    Ok(())
}

/// One look at each kind, so that what is missing is said in one line and not by watches that fail for ever.
async fn check_kinds(client: &Client, settings: &Settings) -> Result<(), RunError> {
    for scope in Scope::of(&settings.watch_namespaces) {
        check_kind("apitokens", scope.api::<ApiToken>(client)).await?;
        check_kind("tokenissuers", scope.api::<TokenIssuer>(client)).await?;
    }
    if settings.single_namespace {
        return Ok(());
    }
    check_kind("clustertokenissuers", Api::<ClusterTokenIssuer>::all(client.clone())).await
}

async fn check_kind<K>(plural: &str, api: Api<K>) -> Result<(), RunError>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let kind = format!("{plural}.{}", crate::api::GROUP);
    match calls::call(api.list_metadata(&ListParams::default().limit(1))).await {
        Ok(_) => Ok(()),
        Err(CallError::Refused(error)) => Err(match error.as_ref() {
            kube::Error::Api(status) if status.code == 404 => RunError::MissingKind { kind },
            kube::Error::Api(status) if status.is_forbidden() => RunError::Forbidden { kind },
            _ => RunError::Unreachable(CallError::Refused(error)),
        }),
        Err(error) => Err(RunError::Unreachable(error)),
    }
}

/// Waits until every store holds a whole list. A writer that is gone ends the program elsewhere, or was never needed.
async fn listed(stores: &Stores) {
    let _ = stores.cluster_issuers.wait_until_ready().await;
    let _ = stores.namespaces.wait_until_ready().await;
    for scope in &stores.scopes {
        let _ = scope.tokens.wait_until_ready().await;
        let _ = scope.issuers.wait_until_ready().await;
        scope.secrets.listed().await;
    }
}
