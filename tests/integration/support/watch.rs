//! Follows the objects of a team as they change.

use std::{fmt::Debug, pin::pin};

use futures::StreamExt;
use kube::{
    Resource,
    core::NamespaceResourceScope,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{sync::oneshot, task::JoinHandle};

use super::tokens::Team;

/// What is seen of an object.
pub enum Seen<K> {
    /// It is so.
    Is(K),
    /// It is gone.
    Gone(K),
}

/// A watch that ends when it is dropped.
pub struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells of each version of each object, those that are there now before this returns.
pub async fn follow<K>(team: &Team, mut tell: impl FnMut(Seen<K>) + Send + 'static) -> Watch
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let api = team.api::<K>();
    let (listed, is_listed) = oneshot::channel();
    let watch = tokio::spawn(async move {
        let mut listed = Some(listed);
        let mut events = pin!(watcher(api, watcher::Config::default()));
        while let Some(event) = events.next().await {
            match event.unwrap() {
                Event::InitApply(object) | Event::Apply(object) => tell(Seen::Is(object)),
                Event::Delete(object) => tell(Seen::Gone(object)),
                Event::Init => {}
                Event::InitDone => drop(listed.take().map(|listed| listed.send(()))),
            }
        }
    });
    is_listed.await.unwrap();
    Watch(watch)
}
