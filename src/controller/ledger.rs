//! The ledger of an issuer: tokens that stay there with nobody to account for them.

use kube::{Api, ResourceExt};

use super::{
    book::Book,
    calls::{CallError, call, post_params},
    context::ScopedContext,
    execute::Stopped,
    issuers::Issuer,
};
use crate::{
    api::{ClusterTokenIssuer, IssuerId, IssuerKind, TokenIssuer, bounds, issuer},
    lifecycle::{Failure, FailureKind, Observed, Orphan, issuer::entry, secret},
};

/// The ledger was not written.
#[derive(Debug, thiserror::Error)]
#[error("could not write the ledger of the issuer: {0}")]
pub struct LedgerError(#[from] CallError);

impl From<LedgerError> for Failure {
    fn from(error: LedgerError) -> Self {
        Self {
            message: error.to_string(),
            kind: FailureKind::Ledger,
        }
    }
}

/// Writes tokens down in the status of their issuer, and in ConfigMaps where that is full or the issuer
/// is gone.
pub async fn enter(orphans: &[Orphan], observed: &Observed, context: &ScopedContext) -> Result<(), Stopped> {
    let Some(id) = issuer_id(observed) else {
        return Ok(());
    };
    let token = &observed.token;
    let api_token = format!("{}/{}", secret::namespace(token), token.name_any());
    let entries: Vec<_> = orphans
        .iter()
        .map(|orphan| entry(orphan, Some(api_token.clone()), observed.now))
        .collect();
    let client = context.shared.client.clone();
    let (uid, left) = match id.reference.kind {
        IssuerKind::ClusterTokenIssuer => enter_in(Api::<ClusterTokenIssuer>::all(client), &id, entries).await?,
        IssuerKind::TokenIssuer => enter_in(Api::<TokenIssuer>::namespaced(client, &id.namespace), &id, entries).await?,
    };
    if !left.is_empty() {
        let book = Book::of(&id, &uid, &context.shared);
        book.keep(&left).await.map_err(LedgerError::from)?;
    }
    Ok(())
}

/// The issuer that the tokens were made at; without one there was none.
fn issuer_id(observed: &Observed) -> Option<IssuerId> {
    let reference = match &observed.issuer {
        Ok(issuer) => &issuer.reference,
        Err(_) => observed.status()?.issuer_ref.as_ref()?,
    };
    Some(IssuerId::new(reference, secret::namespace(&observed.token)))
}

/// Enters as many as there is room for, each once, under the version that was read. The uid of the issuer,
/// empty where it is gone, and what is left over.
async fn enter_in<K: Issuer>(
    api: Api<K>,
    id: &IssuerId,
    entries: Vec<issuer::Orphan>,
) -> Result<(String, Vec<issuer::Orphan>), LedgerError> {
    let name = &id.reference.name;
    let Some(mut issuer) = call(api.get_opt(name)).await? else {
        return Ok((String::new(), entries));
    };
    let mut status = issuer.status().cloned().unwrap_or_default();
    let is_new = |entry: &issuer::Orphan| !status.orphans.iter().any(|known| known.id == entry.id);
    let mut new: Vec<_> = entries.into_iter().filter(is_new).collect();
    let left = new.split_off(new.len().min(bounds::ORPHANS.saturating_sub(status.orphans.len())));
    if !new.is_empty() {
        status.orphans.extend(new);
        *issuer.status_mut() = Some(status);
        call(api.replace_status(name, &post_params(), &issuer)).await?;
    }
    Ok((issuer.uid().unwrap_or_default(), left))
}
