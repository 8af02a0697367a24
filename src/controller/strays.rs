//! Looks past the stores before a token counts as nobody's: they may lag, and show only the namespaces
//! that are watched.

use std::collections::BTreeSet;

use futures::FutureExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt, api::ListParams, core::PartialObjectMeta};
use tracing::warn;

use super::{
    book,
    calls::{CallError, call, each_in_pages},
    context::Context,
    issuers::Issuer,
};
use crate::{
    api::{ApiToken, ApiTokenStatus, ClusterTokenIssuer, TokenIssuer, issuer, names},
    lifecycle::{Orphan, marker, marker::Marker},
};

/// Objects that one answer of a list holds.
const PAGE: u32 = 500;
/// Issuers that one answer of a list holds, with their ledgers.
const ISSUERS: u32 = 50;

/// Those of which really no ApiToken and no Secret of ours knows. None, where nobody can tell: the
/// operator may be allowed to see some namespaces only.
pub async fn confirm(strays: Vec<Orphan>, context: &Context) -> Vec<Orphan> {
    match accounted_for(context).await {
        Ok((uids, ids)) => {
            let is_nobodys = |stray: &Orphan| {
                let marker = stray.name.as_deref().and_then(Marker::in_name);
                !ids.contains(&stray.id) && marker.is_some_and(|marker| !uids.contains(&marker.uid))
            };
            strays.into_iter().filter(is_nobodys).collect()
        }
        Err(error) => {
            warn!(%error, count = strays.len(), "tokens with this cluster's marker belong to no ApiToken that is watched; whether to others can't be seen");
            Vec::new()
        }
    }
}

/// The uids that stand in markers, and the ids that Secrets of ours and ledgers of all issuers name.
async fn accounted_for(context: &Context) -> Result<(BTreeSet<String>, BTreeSet<String>), CallError> {
    let (mut uids, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let tokens: Api<ApiToken> = Api::all(context.client.clone());
    each(&tokens, ListParams::default(), |token| {
        uids.insert(marker::hex(token.metadata.uid.as_deref().unwrap_or_default(), marker::UID_LENGTH));
    })
    .await?;
    let secrets: Api<Secret> = Api::all(context.client.clone());
    let ours = ListParams::default().labels(&format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGER));
    each(&secrets, ours, |secret| {
        ids.extend(secret.annotations().get(names::TOKEN_ID_ANNOTATION).cloned())
    })
    .await?;
    // Several issuers may lead to one account: what one of them is to keep, another must not end.
    ids.extend(written_down::<TokenIssuer>(context).await?);
    ids.extend(written_down::<ClusterTokenIssuer>(context).await?);
    ids.extend(book::all_ids(context).await?);
    Ok((uids, ids))
}

/// The ids in the ledgers that stand in the statuses of all issuers of a kind.
async fn written_down<K: Issuer>(context: &Context) -> Result<Vec<String>, CallError> {
    let api: &Api<K> = &Api::all(context.client.clone());
    let list = ListParams::default().limit(ISSUERS);
    let mut ids = Vec::new();
    let see = |issuer: K| {
        let orphans = issuer.status().into_iter().flat_map(|status| &status.orphans);
        ids.extend(orphans.map(|orphan| orphan.id.clone()));
    };
    each_in_pages(list, |list| async move { api.list(&list).await }.boxed(), see).await?;
    Ok(ids)
}

/// Metadata only.
async fn each<K>(api: &Api<K>, list: ListParams, see: impl FnMut(PartialObjectMeta<K>)) -> Result<(), CallError>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync,
{
    each_in_pages(list.limit(PAGE), |list| async move { api.list_metadata(&list).await }.boxed(), see).await?;
    Ok(())
}

/// Whether the ApiToken of that name has the token, or is to have it. So too where nobody can tell.
pub async fn is_taken_over(orphan: &issuer::Orphan, context: &Context) -> bool {
    let Some((namespace, name)) = orphan.api_token.as_ref().and_then(|name| name.split_once('/')) else {
        return false;
    };
    let api: Api<ApiToken> = Api::namespaced(context.client.clone(), namespace);
    match call(api.get_opt(name)).await {
        Ok(Some(token)) => {
            let adopts = token.spec.adopt.as_ref().and_then(|adopt| adopt.token_id.as_deref());
            adopts == Some(&orphan.id) || token.status.as_ref().is_some_and(|status| has(status, &orphan.id))
        }
        Ok(None) => false,
        Err(_) => true,
    }
}

fn has(status: &ApiTokenStatus, id: &str) -> bool {
    super::stores::known_ids(status).any(|known| known == id)
}
