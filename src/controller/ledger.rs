//! The ledger of an issuer: tokens that stay there with nobody to account for them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, ResourceExt};

use super::{
    calls::{CallError, call, post_params},
    context::ScopedContext,
    execute::Stopped,
    issuers::Issuer,
};
use crate::{
    api::{ClusterTokenIssuer, IssuerKind, TokenIssuer, bounds, issuer},
    lifecycle::{Failure, FailureKind, Observed, Orphan, secret},
};

/// Why a ledger was not written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// There is no issuer to write to.
    #[error("the issuer whose ledger should keep the token is gone: create it again")]
    NoIssuer,
    /// It is full.
    #[error("the ledger of the issuer is full: revoke the tokens that its status.orphans lists")]
    Full,
    /// The API server did not do it.
    #[error("could not write the ledger of the issuer: {0}")]
    Call(#[source] CallError),
}

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self {
            message: error.to_string(),
            kind: FailureKind::Ledger,
        }
    }
}

/// Writes tokens down in the status of their issuer.
pub async fn enter(orphans: &[Orphan], observed: &Observed, context: &ScopedContext) -> Result<(), Stopped> {
    let reference = match &observed.issuer {
        Ok(issuer) => Some(&issuer.reference),
        Err(_) => observed.status().and_then(|status| status.issuer_ref.as_ref()),
    };
    let reference = reference.ok_or(LedgerError::NoIssuer)?;
    let client = context.shared.client.clone();
    match reference.kind {
        IssuerKind::ClusterTokenIssuer => enter_in(Api::<ClusterTokenIssuer>::all(client), &reference.name, orphans, observed).await?,
        IssuerKind::TokenIssuer => {
            let namespaced = Api::<TokenIssuer>::namespaced(client, secret::namespace(&observed.token));
            enter_in(namespaced, &reference.name, orphans, observed).await?;
        }
    }
    Ok(())
}

/// Under the version that was read; entries of the same id are there once.
async fn enter_in<K: Issuer>(api: Api<K>, name: &str, orphans: &[Orphan], observed: &Observed) -> Result<(), LedgerError> {
    let found = call(api.get_opt(name)).await.map_err(LedgerError::Call)?;
    let mut issuer = found.ok_or(LedgerError::NoIssuer)?;
    let mut status = issuer.status().cloned().unwrap_or_default();
    for orphan in orphans {
        if !status.orphans.iter().any(|entry| entry.id == orphan.id) {
            status.orphans.push(entry(orphan, observed));
        }
    }
    if status.orphans.len() > bounds::ORPHANS {
        return Err(LedgerError::Full);
    }
    *issuer.status_mut() = Some(status);
    let written = call(api.replace_status(name, &post_params(), &issuer)).await;
    written.map(|_| ()).map_err(LedgerError::Call)
}

fn entry(orphan: &Orphan, observed: &Observed) -> issuer::Orphan {
    let token = &observed.token;
    issuer::Orphan {
        id: orphan.id.chars().take(bounds::TOKEN_ID).collect(),
        name: orphan.name.as_ref().map(|name| name.chars().take(bounds::TOKEN_NAME).collect()),
        api_token: Some(format!("{}/{}", secret::namespace(token), token.name_any())),
        reason: orphan.reason.as_str().to_owned(),
        since: Time(observed.now),
    }
}
