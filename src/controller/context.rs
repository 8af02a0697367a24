//! What the controllers share.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::{
    clock::Clock,
    events::Events,
    stores::{ScopedStores, Stores},
};
use crate::{issuers::Issuers, operations::metrics::Metrics};

/// What the user sets.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Namespaces to watch; empty: all.
    pub watch_namespaces: Vec<String>,
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
    /// Tells the replicas apart in Events.
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
    /// When the controllers started.
    pub started_at: Timestamp,
    /// What the cluster holds.
    pub stores: Arc<Stores>,
    /// Publishes Events.
    pub events: Events,
    /// Counts what is done.
    pub metrics: Arc<Metrics>,
}

/// What the controller of one scope's ApiTokens works with.
pub struct ScopedContext {
    /// What all share.
    pub shared: Arc<Context>,
    /// What is known of this scope.
    pub stores: Arc<ScopedStores>,
}
