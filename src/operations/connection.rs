//! The way to the API server, found as kubectl finds it: KUBECONFIG, or the Pod's ServiceAccount.

use std::time::Duration;

use kube::{Client, Config};

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Nothing says where it is.
    #[error("no cluster: set KUBECONFIG to a kubeconfig that can be read, or run in a Pod with a ServiceAccount ({0})")]
    NoCluster(#[source] kube::config::InferConfigError),
    /// What says where it is can't be used.
    #[error("the configuration of the cluster can't be used: {0}")]
    Unusable(#[source] Box<kube::Error>),
}

/// Connects.
///
/// # Errors
/// Where no configuration is found or it can't be used. Whether the server answers shows later.
pub async fn connect() -> Result<Client, ConnectionError> {
    let mut config = Config::infer().await.map_err(ConnectionError::NoCluster)?;
    config.connect_timeout = Some(Duration::from_secs(5));
    Client::try_from(config).map_err(|error| ConnectionError::Unusable(Box::new(error)))
}
