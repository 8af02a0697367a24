//! How old what this replica knows is: when the API server was last heard, by the watch that was heard longest ago.
//!
//! Silence is normal on a quiet cluster. So a watch is opened anew every few seconds, and that it opens is a word.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// When each watch last heard the API server.
pub struct Freshness {
    started: Instant,
    /// Milliseconds after the start, plus one; 0: not yet.
    heard: Box<[AtomicU64]>,
}

impl Freshness {
    /// For so many watches, none of which has heard anything yet.
    pub fn new(watches: usize) -> Self {
        Self {
            started: Instant::now(),
            heard: (0..watches).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// That watch heard the API server, and has listed before.
    pub fn heard(&self, watch: usize) {
        if let Some(heard) = self.heard.get(watch) {
            heard.store(self.milliseconds() + 1, Ordering::Relaxed);
        }
    }

    /// How old what is known is; nothing until every watch has listed.
    pub fn age(&self) -> Option<Duration> {
        let oldest = self.heard.iter().map(|heard| heard.load(Ordering::Relaxed)).min()?;
        let heard = oldest.checked_sub(1)?;
        Some(Duration::from_millis(self.milliseconds().saturating_sub(heard)))
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_as_old_as_the_watch_that_heard_nothing_longest() {
        let freshness = Freshness::new(2);
        assert_eq!(freshness.age(), None);
        freshness.heard(0);
        assert_eq!(freshness.age(), None, "the other has not listed yet");
        freshness.heard(1);
        assert!(freshness.age().is_some_and(|age| age < Duration::from_secs(60)));
    }
}
