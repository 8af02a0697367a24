//! What goes wrong, and when.

use rand::{RngExt, SeedableRng, rngs::StdRng};

/// Stands for each operation.
pub const ANY: &str = "any";

/// How a call goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whether the vendor does what it was asked.
    pub done: bool,
    /// What the caller gets instead of the answer.
    pub shown: Shown,
}

/// What a caller gets instead of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The connection is closed.
    Closed,
    /// Nothing, for ever.
    Silence,
    /// The first half of the answer, then the connection is closed.
    Cut,
    /// The first half of the answer, as if it were all of it.
    Half,
    /// The answer, changed here and there as that seed has it. It stays JSON.
    Mutated(u64),
    /// These bytes, as JSON with status 200.
    Bytes(Vec<u8>),
    /// A page for people, with status 200.
    Page,
    /// That status, with a page for people.
    Status(u16),
    /// A redirect to another path.
    Redirect,
    /// 429, with that many seconds to wait.
    Limited(Option<u64>),
}

impl Fault {
    /// The vendor does it, and the caller gets this.
    pub fn done(shown: Shown) -> Self {
        Self { done: true, shown }
    }

    /// The vendor does nothing, and the caller gets this.
    pub fn not_done(shown: Shown) -> Self {
        Self { done: false, shown }
    }

    /// Each kind of fault after which nobody can use the answer.
    pub fn all() -> Vec<Self> {
        let either = [
            Shown::Closed,
            Shown::Silence,
            Shown::Page,
            Shown::Status(500),
            Shown::Status(502),
            Shown::Status(503),
            Shown::Redirect,
        ];
        let once_done = [Shown::Cut, Shown::Half].map(Self::done);
        // A 404 that is not the vendor's own says nothing of a token.
        let refusing = [Shown::Limited(None), Shown::Limited(Some(7)), Shown::Status(404)].map(Self::not_done);
        let both = either
            .into_iter()
            .flat_map(|shown| [Self::done(shown.clone()), Self::not_done(shown)]);
        both.chain(once_done).chain(refusing).collect()
    }
}

/// The faults that are to come.
#[derive(Default)]
pub struct Faults {
    chosen: Vec<Chosen>,
    random: Option<Random>,
}

struct Chosen {
    operation: &'static str,
    fault: Fault,
    once: bool,
}

struct Random {
    rng: StdRng,
    one_in: u32,
    faults: Vec<Fault>,
}

impl Faults {
    /// One at the next call of that operation, or at each.
    pub fn add(&mut self, operation: &'static str, fault: Fault, once: bool) {
        self.chosen.push(Chosen { operation, fault, once });
    }

    /// Some at whatever call.
    pub fn choose_at_random(&mut self, seed: u64, one_in: u32, faults: Vec<Fault>) {
        let rng = StdRng::seed_from_u64(seed);
        self.random = Some(Random { rng, one_in, faults });
    }

    /// The one for this call.
    pub fn take(&mut self, operation: &str) -> Option<Fault> {
        let hits = |chosen: &Chosen| chosen.operation == operation || chosen.operation == ANY;
        match self.chosen.iter().position(hits) {
            Some(at) if self.chosen[at].once => Some(self.chosen.remove(at).fault),
            Some(at) => Some(self.chosen[at].fault.clone()),
            None => self.random.as_mut()?.take(),
        }
    }
}

impl Random {
    fn take(&mut self) -> Option<Fault> {
        let at = self.rng.random_range(0..self.faults.len());
        (self.rng.random_range(0..self.one_in) == 0).then(|| self.faults[at].clone())
    }
}
