//! What is remembered of an ApiToken from one pass to the next, in memory only.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Values by the uid of their ApiToken: at most one each. What is lost with the program is made or
/// asked for again.
pub struct ByUid<T> {
    values: Mutex<HashMap<String, T>>,
}

impl<T> Default for ByUid<T> {
    fn default() -> Self {
        Self {
            values: Mutex::new(HashMap::new()),
        }
    }
}

impl<T> ByUid<T> {
    /// Takes the value out.
    pub fn take(&self, uid: &str) -> Option<T> {
        self.lock().remove(uid)
    }

    /// Keeps the value until the next pass.
    pub fn keep(&self, uid: &str, value: T) {
        self.lock().insert(uid.to_owned(), value);
    }

    /// Forgets all others, where deletions may have been missed.
    pub fn keep_only(&self, uids: &HashSet<String>) {
        self.lock().retain(|uid, _| uids.contains(uid));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, T>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> ByUid<T> {
    /// The value, which stays.
    pub fn get(&self, uid: &str) -> Option<T> {
        self.lock().get(uid).cloned()
    }
}
