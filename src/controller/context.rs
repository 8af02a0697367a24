//! What the controllers share.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::Client;

use super::{
    clock::Clock,
    events::Events,
    stores::{ScopedStores, Stores},
};
use crate::operations::metrics::Metrics;

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
    /// Tells the replicas apart in Events.
    pub instance: String,
}

/// What the controllers share.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// What the user sets.
    pub settings: Settings,
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
