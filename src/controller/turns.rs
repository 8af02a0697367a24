//! Whose turn it is: objects wait by namespace and namespaces take turns, so that thousands of one team
//! don't hold up the one of another.
//!
//! Pure: it knows names and counts, no task and no time. It holds no more names than there are objects.

use std::collections::{HashMap, HashSet, VecDeque};

use super::recent::Key;

/// One namespace leaves so much of the slots to others, as a share: a newcomer need not wait for a slow issuer.
const LEFT_TO_OTHERS: usize = 4;

/// Objects that wait for a slot, and those that have one.
pub struct Turns {
    slots: usize,
    taken: usize,
    namespaces: HashMap<String, Namespace>,
    /// Namespaces in which an object waits, in the order of their turns.
    order: VecDeque<String>,
}

#[derive(Default)]
struct Namespace {
    waiting: VecDeque<String>,
    /// The same names: none waits twice.
    known: HashSet<String>,
    /// Those in work, and whether they are to be looked at again after it.
    working: HashMap<String, bool>,
}

impl Turns {
    /// With so many slots.
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            taken: 0,
            namespaces: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The object is to be looked at: once, however often this is said before its turn. One that is in work
    /// comes again after it.
    pub fn add(&mut self, (namespace, name): Key) {
        let entry = self.namespaces.entry(namespace.clone()).or_default();
        if let Some(again) = entry.working.get_mut(&name) {
            *again = true;
        } else if entry.known.insert(name.clone()) {
            if entry.waiting.is_empty() {
                self.order.push_back(namespace);
            }
            entry.waiting.push_back(name);
        }
    }

    /// Gives a slot to the object whose turn it is; nothing where none is free, or nobody may have it.
    pub fn next(&mut self) -> Option<Key> {
        if self.taken >= self.slots {
            return None;
        }
        let most = self.slots - self.slots / LEFT_TO_OTHERS;
        let has_room = |name: &String| self.namespaces.get(name).is_some_and(|entry| entry.working.len() < most);
        let at = self.order.iter().position(has_room)?;
        let namespace = self.order.remove(at)?;
        let entry = self.namespaces.get_mut(&namespace)?;
        let name = entry.waiting.pop_front()?;
        entry.known.remove(&name);
        entry.working.insert(name.clone(), false);
        if !entry.waiting.is_empty() {
            self.order.push_back(namespace.clone());
        }
        self.taken += 1;
        Some((namespace, name))
    }

    /// The object gives its slot back. Whether it waits again.
    pub fn done(&mut self, (namespace, name): &Key) -> bool {
        let Some(entry) = self.namespaces.get_mut(namespace) else {
            return false;
        };
        let Some(again) = entry.working.remove(name) else {
            return false;
        };
        self.taken -= 1;
        if again {
            self.add((namespace.clone(), name.clone()));
        } else if entry.waiting.is_empty() && entry.working.is_empty() {
            self.namespaces.remove(namespace);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        let (namespace, name) = text.split_once('/').unwrap();
        (namespace.to_owned(), name.to_owned())
    }

    /// Says what happens, in words: `+a/1` is added, `-a/1` is done, `?` gives out slots while there are any.
    fn given(slots: usize, script: &str) -> String {
        let mut turns = Turns::new(slots);
        let mut given = Vec::new();
        for word in script.split(' ') {
            match word.split_at(1) {
                ("+", name) => turns.add(key(name)),
                ("-", name) => drop(turns.done(&key(name))),
                _ => given.extend(std::iter::from_fn(|| turns.next()).map(|(namespace, name)| format!("{namespace}/{name}"))),
            }
        }
        given.join(" ")
    }

    #[test]
    fn namespaces_take_turns() {
        for (slots, script, expected, why) in [
            (2, "?", "", "nobody waits"),
            (2, "+a/1 +a/2 +a/3 ?", "a/1 a/2", "no more than the slots"),
            (2, "+a/1 +a/2 +a/3 ? -a/1 ?", "a/1 a/2 a/3", "a slot that is given back is used"),
            (
                1,
                "+a/1 +a/2 +a/3 +b/1 ? -a/1 ? -b/1 ?",
                "a/1 b/1 a/2",
                "one of b comes before the rest of a",
            ),
            (
                3,
                "+a/1 +a/2 +b/1 +b/2 +c/1 ? -a/1 -b/1 -c/1 ?",
                "a/1 b/1 c/1 a/2 b/2",
                "one each, then the next",
            ),
            (2, "+a/1 +a/1 +a/1 ? -a/1 ?", "a/1", "who waits, waits once"),
            (
                2,
                "+a/1 ? +a/1 ? +a/1 ? -a/1 ?",
                "a/1 a/1",
                "who is in work comes once more, after it",
            ),
            (
                1,
                "+a/1 ? +a/2 +b/1 +a/1 -a/1 ? -a/2 ? -b/1 ?",
                "a/1 a/2 b/1 a/1",
                "and joins the end of its queue",
            ),
            (
                4,
                "+a/1 +a/2 +a/3 +a/4 ? +b/1 ?",
                "a/1 a/2 a/3 b/1",
                "one namespace leaves a quarter to the others",
            ),
            (
                4,
                "+a/1 +a/2 +a/3 +a/4 ? +b/1 ? -b/1 ? -a/1 ?",
                "a/1 a/2 a/3 b/1 a/4",
                "even when nobody wants it",
            ),
            (
                2,
                "-a/1 +a/1 ? -a/2 -a/1 -a/1 +a/1 ?",
                "a/1 a/1",
                "what has no slot gives none back",
            ),
        ] {
            assert_eq!(given(slots, script), expected, "{why}: {script}");
        }
    }

    #[test]
    fn nothing_is_kept_of_what_is_done() {
        let mut turns = Turns::new(8);
        for number in 0..1000 {
            turns.add((format!("n{}", number % 7), number.to_string()));
        }
        let mut seen = HashSet::new();
        while let Some(key) = turns.next() {
            assert!(!turns.done(&key) && seen.insert(key));
        }
        assert_eq!(
            (seen.len(), turns.taken, turns.namespaces.len(), turns.order.len()),
            (1000, 0, 0, 0)
        );
    }
}
