//! Keeps each of those things once that many records have in common.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// Things in use, each once.
pub struct Pool<T>(HashSet<Arc<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Eq + Hash> Pool<T> {
    /// The one that is kept, equal to this one.
    pub fn share(&mut self, thing: Arc<T>) -> Arc<T> {
        if let Some(kept) = self.0.get(&thing) {
            return kept.clone();
        }
        // Before it would grow, what nobody else has any more goes: so it is bounded by what is in use.
        if self.0.len() == self.0.capacity() {
            self.0.retain(|kept| Arc::strong_count(kept) > 1);
        }
        self.0.insert(thing.clone());
        thing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_are_kept_once_and_what_nobody_has_goes() {
        let mut pool = Pool::default();
        let one = pool.share(Arc::new(0));
        assert!(Arc::ptr_eq(&one, &pool.share(Arc::new(0))));
        for other in 1..10_000 {
            pool.share(Arc::new(other));
        }
        assert!(pool.0.len() < 100, "{}", pool.0.len());
        assert!(Arc::ptr_eq(&one, &pool.share(Arc::new(0))), "one that is in use stays");
    }
}
