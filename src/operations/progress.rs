//! Whether work goes on: what `/livez` stands on.
//!
//! A restart helps a program that hangs, and nothing else. A vendor or an API server that is away makes steps and
//! passes fail, and a failure is a movement too: each call has its time limit, and what failed is tried again.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Nothing moves for so long only where nothing ever will: no call to a vendor may take longer than 5 minutes,
/// and no pause after a failure is longer.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// What the probe says then.
const STUCK: &str = "work waits, and nothing has moved for 15 minutes";

/// When something moved last, and since when something waits for it.
#[derive(Default)]
pub struct Progress {
    times: Mutex<Times>,
    /// Passes that run, over ApiTokens and issuers.
    passes: AtomicUsize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// Nothing before the work begins: who stands by, or waits for the first lists, is not stuck.
    moved: Option<Instant>,
    /// Since which look work was found waiting at each.
    waits: Option<Instant>,
}

impl Progress {
    /// From now on work is expected to go on.
    pub fn begins(&self) {
        self.lock().moved = Some(Instant::now());
    }

    /// A pass begins, and is work until what is given goes.
    pub fn pass(&self) -> Pass<'_> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        self.moved();
        Pass(self)
    }

    /// A step or a call began or ended.
    pub fn moved(&self) {
        if let Some(moved) = &mut self.lock().moved {
            *moved = Instant::now();
        }
    }

    /// Why the program is to be started again, where it is. `waits` says whether there is work now beside the passes that run.
    pub fn stuck(&self, waits: bool) -> Option<&'static str> {
        let now = Instant::now();
        let waits = waits || self.passes.load(Ordering::Relaxed) > 0;
        let mut times = self.lock();
        times.waits = if waits { times.waits.or(Some(now)) } else { None };
        times.are_stuck(now).then_some(STUCK)
    }

    fn lock(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pass that runs, until it is dropped, however it ends.
pub struct Pass<'a>(&'a Progress);

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.passes.fetch_sub(1, Ordering::Relaxed);
        self.0.moved();
    }
}

impl Times {
    /// Work that came a moment ago has not waited, however long nothing had moved before.
    fn are_stuck(self, now: Instant) -> bool {
        match (self.moved, self.waits) {
            (Some(moved), Some(waits)) => now.saturating_duration_since(moved.max(waits)) > LIMIT,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stuck_where_work_waits_and_nothing_moves() {
        let start = Instant::now();
        let at = |minute: u64| start + Duration::from_secs(60 * minute);
        for (why, moved, waits, now, stuck) in [
            ("it has not begun", None, Some(0), 100, false),
            ("nothing waits", Some(0), None, 100, false),
            ("work waits, and something moved", Some(90), Some(0), 100, false),
            ("work came a moment ago", Some(0), Some(99), 100, false),
            ("a call may take so long", Some(0), Some(0), 15, false),
            ("nothing moves", Some(0), Some(0), 16, true),
            ("nothing has moved since the work came", Some(0), Some(80), 96, true),
            ("nothing has moved since, and work waits for longer", Some(80), Some(0), 96, true),
        ] {
            let times = Times {
                moved: moved.map(at),
                waits: waits.map(at),
            };
            assert_eq!(times.are_stuck(at(now)), stuck, "{why}");
        }
    }

    #[test]
    fn a_pass_is_work_until_it_ends_and_its_begin_and_end_are_progress() {
        let progress = Progress::default();
        progress.begins();
        let long_ago = Instant::now().checked_sub(LIMIT * 2).unwrap();
        let long_since = Times {
            moved: Some(long_ago),
            waits: Some(long_ago),
        };
        *progress.lock() = long_since;
        let pass = progress.pass();
        assert_eq!(progress.stuck(false), None, "it begins");
        *progress.lock() = long_since;
        assert_eq!(progress.stuck(false), Some(STUCK), "it hangs");
        drop(pass);
        assert_eq!(progress.stuck(true), None, "it has ended");
        *progress.lock() = long_since;
        assert_eq!(progress.stuck(false), None, "and is no work any more");
    }

    #[test]
    fn work_that_was_done_between_two_looks_has_not_waited_since_the_first() {
        let progress = Progress::default();
        progress.moved();
        assert!(progress.lock().moved.is_none(), "it has not begun");
        progress.begins();
        assert_eq!(progress.stuck(true), None);
        let since = progress.lock().waits;
        assert_eq!(
            (progress.stuck(true), progress.lock().waits),
            (None, since),
            "the first look counts"
        );
        assert_eq!((progress.stuck(false), progress.lock().waits), (None, None));
        // As if both were long ago.
        let long_ago = Instant::now().checked_sub(LIMIT * 2);
        *progress.lock() = Times {
            moved: long_ago,
            waits: long_ago,
        };
        if long_ago.is_some() {
            assert_eq!(progress.stuck(true), Some(STUCK));
            progress.moved();
            assert_eq!(progress.stuck(true), None);
        }
    }
}
