//! When a call may be sent: not more of them than the issuer's spec says, and none while the vendor
//! asks for peace.
//!
//! A bucket that fills up again would let twice as many calls pass within one span, so the times of
//! the last ones are kept.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// The longest that a vendor may ask for.
const LONGEST: Duration = Duration::from_secs(3600);
/// The shortest, where it asks at all.
const SHORTEST: Duration = Duration::from_secs(1);

/// At most `requests` calls within each `per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Calls, at least one.
    pub requests: usize,
    /// The span.
    pub per: Duration,
}

/// A call may not be sent for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed(pub Duration);

/// What all calls of one issuer pass.
pub struct Gate {
    rate: Option<Rate>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// When the last calls were sent, or will be: the oldest first, not more than one span may have.
    sent: VecDeque<Instant>,
    held_until: Option<Instant>,
}

impl Gate {
    /// An open gate.
    pub fn new(rate: Option<Rate>) -> Self {
        Self {
            rate,
            state: Mutex::default(),
        }
    }

    /// Takes the next place in the row and says how long to wait for it.
    ///
    /// # Errors
    /// Where calls are held back, or the wait is longer than `patience`; then no place is taken.
    pub fn enter(&self, now: Instant, patience: Duration) -> Result<Duration, Closed> {
        self.is_open(now)?;
        let Some(rate) = self.rate else {
            return Ok(Duration::ZERO);
        };
        let mut state = self.lock();
        let full = state.sent.len() >= rate.requests;
        let free_at = state.sent.front().filter(|_| full).map_or(now, |oldest| *oldest + rate.per);
        let wait = free_at.saturating_duration_since(now);
        if wait > patience {
            return Err(Closed(wait));
        }
        if full {
            state.sent.pop_front();
        }
        state.sent.push_back(now + wait);
        Ok(wait)
    }

    /// Whether calls may be sent at all.
    ///
    /// # Errors
    /// Where the vendor asked for peace, and that time is not over.
    pub fn is_open(&self, now: Instant) -> Result<(), Closed> {
        match self.lock().held_until {
            Some(until) if until > now => Err(Closed(until - now)),
            _ => Ok(()),
        }
    }

    /// Sends nothing for so long, but at most an hour; what was asked for before counts too. Gives the
    /// time that was taken.
    pub fn hold_back(&self, now: Instant, asked: Duration) -> Duration {
        let taken = asked.clamp(SHORTEST, LONGEST);
        let mut state = self.lock();
        state.held_until = state.held_until.max(Some(now + taken));
        taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn three_in_ten_seconds() -> Gate {
        Gate::new(Some(Rate {
            requests: 3,
            per: 10 * SECOND,
        }))
    }

    #[test]
    fn no_span_has_more_calls_than_it_may() {
        let (gate, start) = (three_in_ten_seconds(), Instant::now());
        let mut sent = Vec::new();
        for tenth in 0..1000 {
            let now = start + tenth * SECOND / 10;
            if let Ok(wait) = gate.enter(now, SECOND) {
                sent.push(now + wait);
            }
        }
        assert_eq!(sent.len(), 33, "three at the start, and three in each ten seconds that follow");
        for window in sent.windows(4) {
            assert!(window[3] - window[0] >= 10 * SECOND, "{:?}", window[3] - window[0]);
        }
    }

    #[test]
    fn a_wait_beyond_ones_patience_is_refused_and_takes_no_place() {
        let (gate, start) = (three_in_ten_seconds(), Instant::now());
        for _ in 0..3 {
            assert_eq!(gate.enter(start, SECOND), Ok(Duration::ZERO));
        }
        assert_eq!(gate.enter(start + SECOND, 8 * SECOND), Err(Closed(9 * SECOND)));
        assert_eq!(gate.enter(start + SECOND, 9 * SECOND), Ok(9 * SECOND));
        assert_eq!(gate.enter(start + SECOND, 9 * SECOND), Ok(9 * SECOND));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let (gate, start) = (Gate::new(None), Instant::now());
        for _ in 0..1000 {
            assert_eq!(gate.enter(start, Duration::ZERO), Ok(Duration::ZERO));
        }
    }

    #[test]
    fn a_gate_that_is_held_back_opens_at_its_time() {
        let (gate, start) = (Gate::new(None), Instant::now());
        gate.hold_back(start, 30 * SECOND);
        assert_eq!(gate.enter(start + 29 * SECOND, 60 * SECOND), Err(Closed(SECOND)));
        assert_eq!(gate.enter(start + 30 * SECOND, Duration::ZERO), Ok(Duration::ZERO));
    }

    #[test]
    fn a_shorter_time_does_not_open_it_earlier() {
        let (gate, start) = (Gate::new(None), Instant::now());
        gate.hold_back(start, 30 * SECOND);
        gate.hold_back(start, 5 * SECOND);
        assert_eq!(gate.is_open(start), Err(Closed(30 * SECOND)));
    }

    #[test]
    fn it_is_held_back_for_a_second_at_least_and_an_hour_at_most() {
        let start = Instant::now();
        for (asked, taken) in [(0, 1), (7, 7), (3600, 3600), (u64::MAX, 3600)] {
            let gate = Gate::new(None);
            gate.hold_back(start, Duration::from_secs(asked));
            assert_eq!(gate.is_open(start), Err(Closed(Duration::from_secs(taken))));
        }
    }
}
