//! What this program wrote and its own watch has not delivered yet.
//!
//! A watch lags behind the writes of its own program. Whoever decides from the watch alone would do
//! a thing twice, or take a Secret that was just written for a lost one. An entry lives until the
//! watch has caught up with it; one that the watch overtook counts for a few seconds only.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Namespace and name of an object.
pub type Key = (String, String);

/// How long an entry counts: far longer than a healthy watch lags.
pub const LIFETIME: Duration = Duration::from_secs(10);
/// With more entries than this, those that no longer count are looked for and dropped.
const MANY: usize = 4096;

/// Objects by key, each with the version that was written.
pub struct Recent<T> {
    entries: Mutex<HashMap<Key, Entry<T>>>,
}

struct Entry<T> {
    version: u64,
    at: Instant,
    written: T,
}

impl<T> Entry<T> {
    fn counts(&self) -> bool {
        self.at.elapsed() < LIFETIME
    }
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<T: Clone> Recent<T> {
    /// Remembers what was written. A version that is not a number can't be compared and is not kept.
    pub fn wrote(&self, metadata: &ObjectMeta, written: T) {
        let Some(version) = version(metadata) else {
            return;
        };
        let mut entries = self.lock();
        if entries.len() > MANY {
            entries.retain(|_, entry| entry.counts());
        }
        let at = Instant::now();
        entries.insert(key(metadata), Entry { version, at, written });
    }

    /// What was written, where it is newer than the version that the watch shows, if it shows any.
    pub fn newer_than(&self, key: &Key, watched: Option<&str>) -> Option<T> {
        let entries = self.lock();
        let entry = entries.get(key).filter(|entry| entry.counts())?;
        let newer = watched.is_none_or(|watched| watched.parse().is_ok_and(|watched: u64| entry.version > watched));
        newer.then(|| entry.written.clone())
    }

    /// The watch delivered this object, changed or deleted. Says whether that was nothing but the
    /// write that is remembered, so that nobody needs to look at it again.
    pub fn delivered(&self, metadata: &ObjectMeta) -> bool {
        let (key, delivered) = (key(metadata), version(metadata));
        let mut entries = self.lock();
        let Some(written) = entries.get(&key).map(|entry| entry.version) else {
            return false;
        };
        if delivered.is_none_or(|delivered| delivered >= written) {
            entries.remove(&key);
        }
        delivered == Some(written)
    }

    /// The watch listed everything anew.
    pub fn listed(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Entry<T>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of an object.
pub fn key(metadata: &ObjectMeta) -> Key {
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// Versions grow as numbers (Kubernetes: "resource versions are comparable", since 1.35; before, in fact).
fn version(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(version: &str) -> ObjectMeta {
        ObjectMeta {
            namespace: Some("shop".into()),
            name: Some("ci".into()),
            resource_version: Some(version.into()),
            ..Default::default()
        }
    }

    #[test]
    fn a_write_is_remembered_until_the_watch_has_caught_up() {
        let recent = Recent::default();
        let key = ("shop".to_owned(), "ci".to_owned());
        recent.wrote(&metadata("7"), "seven");
        assert!(!recent.delivered(&metadata("6")));
        assert_eq!(recent.newer_than(&key, Some("6")), Some("seven"));
        assert_eq!(recent.newer_than(&key, None), Some("seven"), "the watch does not show it yet");
        assert_eq!(recent.newer_than(&key, Some("8")), None, "the watch is ahead");
        assert!(!recent.delivered(&metadata("10")), "somebody wrote after us");
        assert_eq!(recent.newer_than(&key, None), None, "10 is newer than 7");
        recent.wrote(&metadata("11"), "eleven");
        assert!(recent.delivered(&metadata("11")), "our own write");
    }

    #[test]
    fn a_new_list_forgets_everything() {
        let recent = Recent::default();
        recent.wrote(&metadata("7"), ());
        recent.listed();
        assert_eq!(recent.newer_than(&("shop".to_owned(), "ci".to_owned()), None), None);
    }
}
