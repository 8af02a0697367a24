//! The controllers of TokenIssuers and ClusterTokenIssuers: one piece of code for both kinds.

use std::{fmt::Debug, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    core::object::HasStatus,
    runtime::{
        Controller,
        controller::{Action, Config},
        reflector::Store,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    calls::{CallError, call, post_params},
    context::Context,
    recent::{Recent, key},
    stores::Guarded,
    tokens::names_in,
    watches::Queue,
};
use crate::{
    api::{ClusterTokenIssuer, IssuerKind, IssuerRef, IssuerSpec, IssuerStatus, TokenIssuer, names},
    lifecycle::{
        issuer::{IssuerPlan, ObservedIssuerObject, decide},
        schedule,
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
}

impl Issuer for TokenIssuer {
    const KIND: IssuerKind = IssuerKind::TokenIssuer;

    fn api(&self, client: &Client) -> Api<Self> {
        Api::namespaced(client.clone(), &self.namespace().unwrap_or_default())
    }

    fn common(&self) -> &IssuerSpec {
        &self.spec.common
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
}

/// Why an issuer was not brought to what was decided.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The finalizer was not written.
    #[error("could not write the finalizer: {0}")]
    Finalizer(#[source] CallError),
    /// The status was not written.
    #[error("could not write the status: {0}")]
    Status(#[source] CallError),
}

/// What the controller of one kind works with.
struct IssuerContext<K> {
    shared: Arc<Context>,
    /// Issuers just written, which the watch does not show yet.
    recent: Recent<Arc<K>>,
}

/// Runs the controller of one kind until `shutdown`.
pub fn run<K: Issuer>(
    store: Store<Guarded<K>>,
    queue: Queue<K>,
    context: Arc<Context>,
    shutdown: CancellationToken,
) -> BoxFuture<'static, ()> {
    let context = IssuerContext {
        shared: context,
        recent: Recent::default(),
    };
    Controller::for_stream(stream::pending(), store)
        .with_config(Config::default().concurrency(1))
        .reconcile_on(names_in(queue))
        .graceful_shutdown_on(shutdown.cancelled_owned())
        .run(reconcile, after_error, Arc::new(context))
        .for_each(|_| async {})
        .boxed()
}

async fn reconcile<K: Issuer>(object: Arc<Guarded<K>>, context: Arc<IssuerContext<K>>) -> Result<Action, IssuerError> {
    let Ok(watched) = &object.0 else {
        warn!(kind = ?K::KIND, namespace = object.namespace(), name = object.name_any(), "issuer can't be read, skipped until it changes");
        return Ok(Action::await_change());
    };
    let newer = context.recent.newer_than(&key(watched.meta()), Some(watched.meta()));
    let issuer = newer.as_deref().unwrap_or(watched);
    let reference = IssuerRef {
        kind: K::KIND,
        name: issuer.name_any(),
    };
    let plan = decide(&ObservedIssuerObject {
        metadata: issuer.meta(),
        capabilities: context.shared.issuers.capabilities(issuer.common()),
        status: issuer.status(),
        in_use: context.shared.stores.is_in_use(&reference, issuer.namespace().as_deref()),
        now: schedule::to_second(context.shared.clock.now()),
    });
    let api = issuer.api(&context.shared.client);
    let mut issuer = issuer.clone();
    let changed = plan != IssuerPlan::default();
    if let Some(finalizers) = plan.finalizers {
        issuer = write_finalizers(&api, &issuer, &finalizers).await.map_err(IssuerError::Finalizer)?;
        info!(kind = ?K::KIND, namespace = issuer.namespace(), name = issuer.name_any(), ?finalizers, "finalizers written");
    }
    if let Some(status) = plan.status {
        *issuer.status_mut() = Some(status);
        issuer = write_status(&api, &issuer).await.map_err(IssuerError::Status)?;
        info!(kind = ?K::KIND, namespace = issuer.namespace(), name = issuer.name_any(), "status of the issuer written");
    }
    if changed {
        context.recent.wrote(&issuer.meta().clone(), Arc::new(issuer));
    }
    Ok(Action::await_change())
}

/// Under the version that was read, so that nobody else's finalizer is lost.
async fn write_finalizers<K: Issuer>(api: &Api<K>, issuer: &K, finalizers: &[String]) -> Result<K, CallError> {
    let patch = json!({ "metadata": { "resourceVersion": issuer.resource_version(), "finalizers": finalizers } });
    let parameters = PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..Default::default()
    };
    call(api.patch(&issuer.name_any(), &parameters, &Patch::Merge(patch))).await
}

async fn write_status<K: Issuer>(api: &Api<K>, issuer: &K) -> Result<K, CallError> {
    call(api.replace_status(&issuer.name_any(), &post_params(), issuer)).await
}

fn after_error<K: Issuer>(object: Arc<Guarded<K>>, error: &IssuerError, _: Arc<IssuerContext<K>>) -> Action {
    warn!(kind = ?K::KIND, namespace = object.namespace(), name = object.name_any(), %error, "issuer is looked at again in a moment");
    Action::requeue(RETRY)
}
