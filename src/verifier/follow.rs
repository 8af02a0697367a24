//! Follows the objects of one kind: a list, then a watch that is opened anew every few seconds, so that it is known at all
//! times how old what was heard is. kube's own watcher does not tell when it opens one.

use std::{fmt::Debug, time::Duration};

use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::freshness::Freshness;
use crate::controller::calls::{CallError, call, each_in_pages};

/// How long the API server keeps one watch open, in seconds.
const WATCH: u32 = 10;
/// A watch that is open for longer without a word hangs.
const HANGS: Duration = Duration::from_secs(WATCH as u64 + 5);
/// Objects in one answer of a list: a whole answer stands in memory several times over.
const PAGE: u32 = 100;
/// The first pause after a failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// HTTP 410: the version is too old to go on from.
const GONE: u16 = 410;

/// What was heard.
pub enum News<K> {
    /// A list begins: everything that exists comes next.
    ListBegins,
    /// An object as it is now.
    Put(K),
    /// An object that is gone, as it was last.
    Gone(K),
    /// The list is whole.
    Listed,
}

/// Who notes when the API server was heard.
pub struct Ear<'a> {
    /// Of all watches.
    pub freshness: &'a Freshness,
    /// Which one this is.
    pub watch: usize,
}

impl Ear<'_> {
    fn heard(&self) {
        self.freshness.heard(self.watch);
    }
}

/// Follows for ever.
pub async fn follow<K>(api: Api<K>, ear: Ear<'_>, mut tell: impl FnMut(News<K>))
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send,
{
    let mut pause = FIRST_PAUSE;
    let mut version = None;
    loop {
        let outcome = match version.take() {
            None => list(&api, &mut tell).await,
            Some(from) => watch(&api, from, &ear, &mut tell).await,
        };
        match outcome {
            Ok(reached) => {
                ear.heard();
                version = Some(reached);
                pause = FIRST_PAUSE;
            }
            Err((from, error)) => {
                warn!(kind = %K::kind(&()), %error, "watch interrupted, it is opened again");
                version = from;
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// What went wrong, and the version to go on from where there is one.
type Interrupted = (Option<String>, CallError);

/// Tells of everything that exists.
async fn list<K>(api: &Api<K>, tell: &mut impl FnMut(News<K>)) -> Result<String, Interrupted>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send,
{
    tell(News::ListBegins);
    let page = |page: ListParams| async move { api.list(&page).await }.boxed();
    let listed = each_in_pages(ListParams::default().limit(PAGE), page, |object| tell(News::Put(object))).await;
    let version = listed.map_err(|error| (None, error))?;
    tell(News::Listed);
    Ok(version)
}

/// Tells of what changes from a version on, until the API server ends the watch: the version reached.
async fn watch<K>(api: &Api<K>, from: String, ear: &Ear<'_>, tell: &mut impl FnMut(News<K>)) -> Result<String, Interrupted>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send,
{
    let mut reached = from;
    let params = WatchParams::default().timeout(WATCH);
    let mut events = match call(api.watch(&params, &reached)).await {
        Ok(events) => events.boxed(),
        Err(error) => return Err(go_on_from(reached, error)),
    };
    ear.heard();
    loop {
        let event = timeout(HANGS, events.try_next()).await;
        let event = event.map_err(|_| CallError::Timeout).and_then(|event| Ok(event.map_err(Box::new)?));
        let heard = match event {
            Ok(Some(WatchEvent::Added(object) | WatchEvent::Modified(object))) => News::Put(object),
            Ok(Some(WatchEvent::Deleted(object))) => News::Gone(object),
            Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                reached = bookmark.metadata.resource_version;
                ear.heard();
                continue;
            }
            Ok(Some(WatchEvent::Error(status))) => {
                return Err(go_on_from(reached, CallError::from(Box::new(kube::Error::Api(status)))));
            }
            Ok(None) => return Ok(reached),
            Err(error) => return Err(go_on_from(reached, error)),
        };
        if let News::Put(object) | News::Gone(object) = &heard
            && let Some(version) = &object.meta().resource_version
        {
            reached.clone_from(version);
        }
        tell(heard);
        ear.heard();
    }
}

/// Where the version is too old to go on from, another list follows.
fn go_on_from(version: String, error: CallError) -> Interrupted {
    let too_old =
        matches!(&error, CallError::Refused(refusal) if matches!(refusal.as_ref(), kube::Error::Api(status) if status.code == GONE));
    (Some(version).filter(|_| !too_old), error)
}
