//! The pauses before a watch is opened again.
//!
//! They stay short: who comes back late after an absence of the API server decides from what was, and has forgotten what it wrote
//! itself meanwhile ([`super::recent`]).

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The first pause after a failure; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(800);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(4);

/// Pauses that double, until something was heard.
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::recent;

    #[test]
    fn they_double_stay_short_and_begin_anew() {
        let mut pauses = Pauses::default();
        let first: Vec<Duration> = pauses.by_ref().take(4).collect();
        assert_eq!(first, [800, 1600, 3200, 4000].map(Duration::from_millis));
        assert!(pauses.by_ref().take(100).all(|pause| pause == LONGEST));
        pauses.reset();
        assert_eq!(pauses.next(), Some(FIRST));
        // A watch that is refused as too old waits once more before it lists.
        assert!(2 * LONGEST < recent::LIFETIME);
    }
}
