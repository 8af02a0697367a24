//! A clock that the test steps.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use apitoken_operator::controller::clock::Clock;
use jiff::{SignedDuration, Timestamp};

/// The time now, plus what the test added.
#[derive(Clone, Default)]
pub struct TestClock {
    ahead: Arc<AtomicI64>,
}

impl TestClock {
    /// Lets time pass. Whoever looks again looks at the new time; who sleeps is woken by a change.
    pub fn advance(&self, by: SignedDuration) {
        self.ahead.fetch_add(by.as_secs(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::now() + SignedDuration::from_secs(self.ahead.load(Ordering::SeqCst))
    }
}
