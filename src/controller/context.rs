//! What the controllers share.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::{
    clock::Clock,
    connections::Connections,
    credentials::Credentials,
    events::Events,
    lists::Lists,
    stores::{ScopedStores, Stores},
};
use crate::{
    issuers::Issuers,
    lifecycle::{Terms, marker},
    operations::metrics::Metrics,
};

/// What the user sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace: there are the credentials of ClusterTokenIssuers, and what a ledger has no room for.
    pub namespace: String,
    /// Namespaces to watch; empty: all.
    pub watch_namespaces: Vec<String>,
    /// Whether ClusterTokenIssuers and namespaces may not be seen: there are rights in one namespace only.
    pub single_namespace: bool,
    /// ApiTokens that are worked on at once.
    pub concurrency: u16,
    /// How long verifiers get to learn of a new hash before consumers see its value.
    pub propagation_delay: SignedDuration,
    /// Name of the ClusterTokenIssuer to make as the default one; empty: never.
    pub default_issuer: String,
    /// How often an issuer is asked whether a token is still what we think.
    pub poll_interval: SignedDuration,
    /// How long a token that goes may resist being ended.
    pub revoke_deadline: SignedDuration,
    /// Id of this cluster in the names of tokens at vendors; empty: the uid of the namespace kube-system.
    pub cluster_id: String,
    /// Ids that this cluster had before.
    pub former_cluster_ids: Vec<String>,
    /// Whether vendors are only asked, and nothing is made, changed or ended there.
    pub observe_only: bool,
    /// Whether TokenIssuers may lead to addresses inside the cluster's network.
    pub allow_private_issuers: bool,
    /// Whether other replicas stand by, so that only the one with the Lease works.
    pub leader_elect: bool,
    /// Tells the replicas apart, in Events and in the Lease.
    pub instance: String,
}

/// What the controllers stand on, and what tests put in their own of.
#[derive(Clone)]
pub struct Foundations {
    /// The API server.
    pub client: Client,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How issuers are reached.
    pub issuers: Arc<dyn Issuers>,
}

/// What the controllers share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// How issuers are reached.
    pub issuers: Arc<dyn Issuers>,
    /// What the user sets.
    pub settings: Settings,
    /// When the controllers started: not while this replica stood by.
    pub started_at: Timestamp,
    /// What the cluster holds.
    pub stores: Arc<Stores>,
    /// The Secrets by which vendors are asked.
    pub credentials: Credentials,
    /// The issuers as they are reached.
    pub connections: Connections,
    /// Lists that ApiTokens of an issuer share.
    pub lists: Lists,
    /// Publishes Events.
    pub events: Events,
    /// Counts what is done.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// What decisions are told of the start.
    pub fn terms(&self) -> Terms {
        let settings = &self.settings;
        let own = Some(settings.cluster_id.clone()).filter(|id| !id.is_empty());
        let short = |id: &String| marker::hex(id, marker::CLUSTER_LENGTH);
        Terms {
            cluster: short(&own.unwrap_or_else(|| self.stores.cluster_id())),
            former_clusters: settings.former_cluster_ids.iter().map(short).collect(),
            propagation_delay: settings.propagation_delay,
            poll_interval: settings.poll_interval,
            revoke_deadline: settings.revoke_deadline,
            observe_only: settings.observe_only,
            started_at: self.started_at,
        }
    }
}

impl Context {
    /// Lets go what belongs to issuers that are gone.
    pub fn forget_former_issuers(&self) {
        let ids = self.stores.issuer_ids(&self.settings.namespace);
        self.connections.keep_only(&ids);
        self.lists.keep_only(&ids);
        self.credentials.keep_only(&self.stores.credentials(&self.settings.namespace));
    }
}

/// What the controller of one scope's ApiTokens works with.
pub struct ScopedContext {
    /// What all share.
    pub shared: Arc<Context>,
    /// What is known of this scope.
    pub stores: Arc<ScopedStores>,
}
