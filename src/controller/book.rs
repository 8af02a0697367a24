//! The part of an issuer's ledger that finds no room in its status, or whose issuer is gone: ConfigMaps in
//! the operator's namespace. No id is dropped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::FutureExt;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};
use tokio::time::sleep;
use tracing::debug;

use super::{
    calls::{CallError, call, each_in_pages, post_params},
    context::Context,
};
use crate::{
    api::{IssuerId, issuer::Orphan, names},
    token_value,
};

/// Entries in one ConfigMap: it stays well below the 1 MiB that the API server takes.
const ENTRIES: usize = 400;
/// ConfigMaps that one answer of a list holds.
const PAGE: u32 = 10;

/// The ConfigMaps of one issuer.
pub struct Book {
    api: Api<ConfigMap>,
    id: IssuerId,
    /// Tells an issuer from a later one of the same name.
    key: String,
}

impl Book {
    /// The one of that issuer; `uid` is empty where it is not known any more.
    pub fn of(id: &IssuerId, uid: &str, context: &Context) -> Self {
        Self {
            api: Api::namespaced(context.client.clone(), &context.settings.namespace),
            id: id.clone(),
            key: key(id, uid),
        }
    }

    /// All entries.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn read(&self) -> Result<Vec<Orphan>, CallError> {
        Ok(entries(&self.maps().await?).collect())
    }

    /// Writes entries down, each once.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn keep(&self, entries: &[Orphan]) -> Result<(), CallError> {
        let maps = self.maps().await?;
        let known: BTreeSet<&String> = maps.iter().flat_map(|map| map.data.iter().flatten().map(|(key, _)| key)).collect();
        let new = entries.iter().map(|entry| (data_key(&entry.id), text(entry)));
        let mut new: Vec<_> = new.filter(|(key, _)| !known.contains(key)).collect();
        for map in maps.iter().filter(|map| len(map) < ENTRIES) {
            let rest = new.split_off(new.len().min(ENTRIES - len(map)));
            self.replace(map, std::mem::replace(&mut new, rest)).await?;
        }
        let mut number = maps.iter().map(|map| self.number(map)).max().unwrap_or_default();
        for chunk in new.chunks(ENTRIES) {
            number += 1;
            call(self.api.create(&post_params(), &self.map(number, chunk.iter().cloned().collect()))).await?;
        }
        Ok(())
    }

    /// Takes entries out. A ConfigMap without entries goes.
    ///
    /// # Errors
    /// Where the API server refuses or does not answer.
    pub async fn forget(&self, ids: &[String]) -> Result<(), CallError> {
        let keys: BTreeSet<String> = ids.iter().map(|id| data_key(id)).collect();
        for mut map in self.maps().await? {
            let before = len(&map);
            map.data.iter_mut().for_each(|data| data.retain(|key, _| !keys.contains(key)));
            if len(&map) == 0 {
                call(self.api.delete(&map.name_any(), &precisely(&map))).await?;
            } else if len(&map) < before {
                call(self.api.replace(&map.name_any(), &post_params(), &map)).await?;
            }
        }
        Ok(())
    }

    async fn replace(&self, map: &ConfigMap, new: Vec<(String, String)>) -> Result<(), CallError> {
        if new.is_empty() {
            return Ok(());
        }
        let mut map = map.clone();
        map.data.get_or_insert_default().extend(new);
        call(self.api.replace(&map.name_any(), &post_params(), &map)).await.map(|_| ())
    }

    async fn maps(&self) -> Result<Vec<ConfigMap>, CallError> {
        maps_with(&self.api, &format!("{}={}", names::LEDGER_LABEL, self.key)).await
    }

    fn map(&self, number: usize, data: BTreeMap<String, String>) -> ConfigMap {
        let labels = [
            (names::MANAGED_BY_LABEL, names::MANAGER.to_owned()),
            (names::LEDGER_LABEL, self.key.clone()),
        ];
        let annotations = [
            (names::LEDGER_KIND_ANNOTATION, format!("{:?}", self.id.reference.kind)),
            (names::LEDGER_NAMESPACE_ANNOTATION, self.id.namespace.clone()),
            (names::LEDGER_NAME_ANNOTATION, self.id.reference.name.clone()),
        ];
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(format!("{}{number}", self.prefix())),
                labels: Some(labels.map(owned).into()),
                annotations: Some(annotations.map(owned).into()),
                ..Default::default()
            },
            data: Some(data),
            ..Default::default()
        }
    }

    fn prefix(&self) -> String {
        format!("apitoken-orphans-{}-", self.key)
    }

    fn number(&self, map: &ConfigMap) -> usize {
        let name = map.name_any();
        name.strip_prefix(&self.prefix())
            .and_then(|number| number.parse().ok())
            .unwrap_or_default()
    }
}

/// The value of the label on the ConfigMaps of that issuer; `uid` is empty where it is not known any more.
pub fn key(id: &IssuerId, uid: &str) -> String {
    let whole = format!("{:?}/{}/{}/{uid}", id.reference.kind, id.namespace, id.reference.name);
    token_value::hash(whole.as_bytes()).chars().take(16).collect()
}

/// The ids that stand in the ConfigMaps of all issuers.
///
/// # Errors
/// Where the API server refuses or does not answer.
pub async fn all_ids(context: &Context) -> Result<Vec<String>, CallError> {
    let api = Api::namespaced(context.client.clone(), &context.settings.namespace);
    let maps = maps_with(&api, names::LEDGER_LABEL).await?;
    Ok(entries(&maps).map(|orphan| orphan.id).collect())
}

/// Counts the entries of all issuers for the metrics, now and at each poll. Never ends.
pub async fn count(context: Arc<Context>) {
    let api = Api::namespaced(context.client.clone(), &context.settings.namespace);
    loop {
        match maps_with(&api, names::LEDGER_LABEL).await {
            Ok(maps) => {
                let reasons: Vec<String> = entries(&maps).map(|orphan| orphan.reason).collect();
                context.metrics.counts.books_hold(reasons.iter().map(String::as_str));
            }
            Err(error) => debug!(%error, "the ledgers' ConfigMaps were not counted; they are at the next poll"),
        }
        sleep(context.settings.poll_interval.unsigned_abs()).await;
    }
}

/// One that can't be read stays where it is.
fn entries(maps: &[ConfigMap]) -> impl Iterator<Item = Orphan> {
    let texts = maps.iter().flat_map(|map| map.data.iter().flatten());
    texts.filter_map(|(_, text)| serde_json::from_str(text).ok())
}

async fn maps_with(api: &Api<ConfigMap>, labels: &str) -> Result<Vec<ConfigMap>, CallError> {
    let mut maps = Vec::new();
    let list = ListParams::default().labels(labels).limit(PAGE);
    each_in_pages(list, |list| async move { api.list(&list).await }.boxed(), |map| maps.push(map)).await?;
    Ok(maps)
}

fn len(map: &ConfigMap) -> usize {
    map.data.as_ref().map_or(0, BTreeMap::len)
}

/// Ids may hold characters that a key may not.
fn data_key(id: &str) -> String {
    token_value::hash(id.as_bytes()).chars().take(32).collect()
}

fn text(entry: &Orphan) -> String {
    serde_json::json!(entry).to_string()
}

fn precisely(map: &ConfigMap) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid: map.uid(),
        resource_version: map.resource_version(),
    })
}
