//! When objects are to be looked at again: one time for each. Pure.

use std::collections::{BTreeSet, HashMap};

use tokio::time::Instant;

use super::recent::Key;

/// The times, by object and in their order.
#[derive(Default)]
pub struct Times {
    of: HashMap<Key, Instant>,
    order: BTreeSet<(Instant, Key)>,
}

impl Times {
    /// The object is looked at then, and not at the time that was set before.
    pub fn set(&mut self, key: Key, at: Instant) {
        self.forget(&key);
        self.order.insert((at, key.clone()));
        self.of.insert(key, at);
    }

    /// The object is not looked at by itself.
    pub fn forget(&mut self, key: &Key) {
        if let Some(at) = self.of.remove(key) {
            self.order.remove(&(at, key.clone()));
        }
    }

    /// The next time of all.
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes an object whose time has come.
    pub fn due(&mut self, now: Instant) -> Option<Key> {
        let (at, key) = self.order.pop_first()?;
        if at > now {
            self.order.insert((at, key));
            return None;
        }
        self.of.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_object_comes_once_at_its_last_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let key = |name: &str| ("shop".to_owned(), name.to_owned());
        let mut times = Times::default();
        times.set(key("a"), after(3));
        times.set(key("b"), after(2));
        times.set(key("c"), after(2));
        times.set(key("a"), after(1));
        times.forget(&key("c"));
        times.forget(&key("unknown"));
        assert_eq!(times.next(), Some(after(1)));
        assert_eq!(times.due(start), None);
        assert_eq!(
            (times.due(after(2)), times.due(after(2)), times.due(after(9))),
            (Some(key("a")), Some(key("b")), None)
        );
        assert_eq!((times.next(), times.of.len()), (None, 0));
    }
}
