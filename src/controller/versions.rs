//! Which version each Secret with our label has: all that is kept of them.
//!
//! Their metadata in a store of kube's would take several times as much, for each token.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{core::PartialObjectMeta, runtime::watcher::Event};
use tokio::sync::SetOnce;

use super::recent::{Key, key};

type Map = HashMap<Key, Box<str>>;

/// Versions by Secret.
#[derive(Default)]
pub struct Versions {
    known: RwLock<Map>,
    listed: SetOnce<()>,
}

impl Versions {
    /// The version of a Secret; nothing where it is not there, or lacks our label.
    pub fn get(&self, key: &Key) -> Option<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(key).map(|version| version.to_string())
    }

    /// Waits until there was a whole list.
    pub async fn listed(&self) {
        self.listed.wait().await;
    }

    fn write(&self) -> RwLockWriteGuard<'_, Map> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps versions as the watch of their Secrets tells them.
pub struct Follower {
    versions: Arc<Versions>,
    /// A list that is not whole yet.
    list: Map,
}

impl Follower {
    /// One that keeps these.
    pub fn of(versions: Arc<Versions>) -> Self {
        Self {
            versions,
            list: Map::new(),
        }
    }

    /// The watch told this.
    pub fn see(&mut self, event: &Event<PartialObjectMeta<Secret>>) {
        match event {
            Event::Init => self.list.clear(),
            Event::InitApply(secret) => insert(&mut self.list, secret),
            Event::InitDone => {
                *self.versions.write() = mem::take(&mut self.list);
                // Set before, where this is not the first list.
                let _ = self.versions.listed.set(());
            }
            Event::Apply(secret) => insert(&mut self.versions.write(), secret),
            Event::Delete(secret) => drop(self.versions.write().remove(&key(&secret.metadata))),
        }
    }
}

fn insert(map: &mut Map, secret: &PartialObjectMeta<Secret>) {
    let version = secret.metadata.resource_version.clone().unwrap_or_default();
    map.insert(key(&secret.metadata), version.into_boxed_str());
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn secret(name: &str, version: &str) -> PartialObjectMeta<Secret> {
        PartialObjectMeta {
            metadata: ObjectMeta {
                namespace: Some("shop".into()),
                name: Some(name.into()),
                resource_version: Some(version.into()),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    #[test]
    fn versions_are_as_the_watch_told_last() {
        let versions = Arc::new(Versions::default());
        let mut follower = Follower::of(versions.clone());
        let version_of = |name: &str| versions.get(&("shop".to_owned(), name.to_owned()));
        follower.see(&Event::Init);
        follower.see(&Event::InitApply(secret("a", "1")));
        follower.see(&Event::InitApply(secret("b", "2")));
        assert_eq!(version_of("a"), None, "a list counts once it is whole");
        assert!(versions.listed().now_or_never().is_none());
        follower.see(&Event::InitDone);
        assert!(versions.listed().now_or_never().is_some());
        assert_eq!(version_of("a").as_deref(), Some("1"));

        follower.see(&Event::Apply(secret("a", "3")));
        follower.see(&Event::Delete(secret("b", "4")));
        assert_eq!((version_of("a").as_deref(), version_of("b")), (Some("3"), None));

        follower.see(&Event::Init);
        follower.see(&Event::InitApply(secret("c", "5")));
        follower.see(&Event::Init);
        follower.see(&Event::InitApply(secret("b", "6")));
        assert_eq!(version_of("a").as_deref(), Some("3"), "the former list counts until then");
        follower.see(&Event::InitDone);
        let all = ["a", "b", "c"].map(version_of);
        assert_eq!(all, [None, Some("6".to_owned()), None], "a list that was begun anew");
    }
}
