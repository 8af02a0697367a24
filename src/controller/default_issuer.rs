//! Makes the default issuer at the start, where there is none. It never changes or deletes one.

use std::time::Duration;

use kube::Api;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{
    calls::{CallError, call, post_params},
    context::Context,
    stores::is_default,
};
use crate::api::{ClusterTokenIssuer, ClusterTokenIssuerSpec, IssuerSpec, issuer::BuiltinIssuer, names};

/// How long the watch may take to show the issuer that was just made.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);
/// How often the store is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Makes the default issuer where none of its name exists and no other is the default, and waits
/// until the stores show it, so that no token is told that there is none.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub async fn ensure(context: &Context) -> Result<(), CallError> {
    let name = context.settings.default_issuer.as_str();
    let exists = || context.stores.cluster_issuer(name).is_some();
    if name.is_empty() || exists() || context.stores.cluster_issuers.find(is_default).is_some() {
        return Ok(());
    }
    let api: Api<ClusterTokenIssuer> = Api::all(context.client.clone());
    match call(api.create(&post_params(), &default_issuer(name))).await {
        Ok(_) => info!(name, "made the default ClusterTokenIssuer"),
        Err(CallError::Refused(error)) if matches!(error.as_ref(), kube::Error::Api(status) if status.is_already_exists()) => {}
        Err(error) => return Err(error),
    }
    let shown = async {
        while !exists() {
            sleep(LOOK_EVERY).await;
        }
    };
    if timeout(SHOWN_WITHIN, shown).await.is_err() {
        warn!(name, "the watch does not show the default ClusterTokenIssuer yet");
    }
    Ok(())
}

fn default_issuer(name: &str) -> ClusterTokenIssuer {
    let spec = ClusterTokenIssuerSpec {
        common: IssuerSpec {
            builtin: Some(BuiltinIssuer::default()),
            ..Default::default()
        },
        allowed_namespaces: None,
    };
    let mut issuer = ClusterTokenIssuer::new(name, spec);
    issuer.metadata.annotations = Some([(names::DEFAULT_ISSUER_ANNOTATION.to_owned(), "true".to_owned())].into());
    issuer
}
