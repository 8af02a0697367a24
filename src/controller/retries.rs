//! How often a pass failed that could not even write its status.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::recent::Key;

/// Counts, per object, the tries that could not be recorded in a status.
#[derive(Default)]
pub struct Retries {
    tries: Mutex<HashMap<Key, u32>>,
}

impl Retries {
    /// One more try failed: how long to wait before the next, 1 s doubling to 256 s.
    pub fn failed(&self, key: Key) -> Duration {
        let mut tries = self.lock();
        let count = tries.entry(key).or_default();
        let pause = Duration::from_secs(1 << (*count).min(8));
        *count = count.saturating_add(1);
        pause
    }

    /// A try succeeded, or the object is gone.
    pub fn succeeded(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.tries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_start_anew_after_a_success() {
        let (retries, key) = (Retries::default(), ("shop".to_owned(), "ci".to_owned()));
        let pauses: Vec<u64> = (0..11).map(|_| retries.failed(key.clone()).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256]);
        retries.succeeded(&key);
        assert_eq!(retries.failed(key).as_secs(), 1);
    }
}
