//! When tokens were used: seen in memory on the path of a request, by one write to an atomic number, and picked from
//! there for the status every so often. Bounded by the index itself.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

use super::{
    index::Index,
    record::{Record, Role, Token},
};

/// A status is not written again for a use that is less than this later, in seconds.
const BETWEEN: i64 = 60;

/// When one token was used, in seconds of Unix time; 0: not that this replica knows.
#[derive(Default)]
pub struct Uses {
    seen: AtomicI64,
    written: AtomicI64,
}

impl Uses {
    /// It was used.
    pub fn see(&self, at: Timestamp) {
        self.seen.fetch_max(at.as_second(), Ordering::Relaxed);
    }

    /// A use was written to the status.
    pub fn wrote(&self, at: Timestamp) {
        self.written.fetch_max(at.as_second(), Ordering::Relaxed);
    }

    /// Takes over what was seen of the same token before.
    pub fn take_over(&self, former: &Self) {
        self.seen.fetch_max(former.seen.load(Ordering::Relaxed), Ordering::Relaxed);
        self.written.fetch_max(former.written.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The use to be written, where it is later enough than what is `known`.
    fn due(&self, known: Option<Timestamp>) -> Option<Timestamp> {
        let seen = self.seen.load(Ordering::Relaxed);
        let written = self.written.load(Ordering::Relaxed).max(known.map_or(0, Timestamp::as_second));
        let is_due = seen > 0 && seen >= written.saturating_add(BETWEEN);
        is_due.then(|| Timestamp::from_second(seen).ok()).flatten()
    }
}

/// A use that the status does not tell yet.
pub struct DueUse {
    /// Its ApiToken.
    pub record: Arc<Record>,
    /// Which of its tokens.
    pub at: usize,
    /// When it was used.
    pub used_at: Timestamp,
}

impl DueUse {
    /// The token that was used.
    pub fn token(&self) -> Option<&Token> {
        self.record.tokens.get(self.at)
    }
}

/// At most `most` uses that are to be written: first those of replaced tokens, as an overlap may end early where nobody uses
/// them, then those whose status is the oldest. No more than twice as many stand in memory.
pub fn due(index: &Index, most: usize) -> Vec<DueUse> {
    let mut due = Vec::new();
    for next in index.records().flat_map(due_of) {
        due.push(next);
        if due.len() > 2 * most {
            keep_first(&mut due, most);
        }
    }
    keep_first(&mut due, most);
    due
}

fn keep_first(due: &mut Vec<DueUse>, most: usize) {
    due.sort_by_key(|due| due.token().map(|token| (token.role == Role::Current, token.last_used_at)));
    due.truncate(most);
}

fn due_of(record: &Arc<Record>) -> impl Iterator<Item = DueUse> {
    record.tokens.iter().enumerate().filter_map(|(at, token)| {
        // The status has no place for one that is on its way: what was seen of it stays with it.
        let used_at = (token.role != Role::Coming).then(|| token.uses.due(token.last_used_at))??;
        Some(DueUse {
            record: record.clone(),
            at,
            used_at,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_use_is_written_at_most_once_a_minute_and_never_backwards() {
        for (seen, written, known, expected, why) in [
            (0, 0, None, None, "not used"),
            (1000, 0, None, Some(1000), "the first use that anybody knows of"),
            (1000, 0, Some(941), None, "known to the minute"),
            (1000, 0, Some(940), Some(1000), "a minute later than what is known"),
            (1000, 0, Some(2000), None, "another replica knows of a later one"),
            (1000, 941, Some(10), None, "written, and the watch does not show it yet"),
            (1000, 940, None, Some(1000), "a minute later than what was written"),
        ] {
            let uses = Uses::default();
            uses.see(at(seen));
            uses.wrote(at(written));
            assert_eq!(uses.due(known.map(at)), expected.map(at), "{why}");
        }
    }

    #[test]
    fn a_clock_that_goes_back_takes_nothing_back() {
        let uses = Uses::default();
        uses.see(at(1000));
        uses.see(at(900));
        assert_eq!(uses.due(None), Some(at(1000)));
        let later = Uses::default();
        later.see(at(1100));
        later.take_over(&uses);
        assert_eq!(later.due(None), Some(at(1100)));
    }
}
