//! Objects as the model keeps them: the real ones, with times that are relative to one fixed moment.
//!
//! In every frame (the API server's, and that of each pass) it is [`NOW`]. Time passes by moving all
//! times in the object back; what is older than [`OLDEST`] is as old as that, so that there are
//! finitely many states however long the model runs.

use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::{Arc, LazyLock, Mutex},
};

use apitoken_operator::{api::ApiTokenStatus, api::names};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time};
use serde::Serialize;

/// Seconds of a model's time. No decision asks whether something is older than this.
pub const OLDEST: i64 = 30;
/// What lies further ahead than this waits for no clock.
const FAR_AWAY: i64 = 3600;
/// What the clock shows in every frame: 2030-01-01.
const NOW: i64 = 1_893_456_000;

/// The time in every frame.
pub fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// A moment that many seconds ago.
pub fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

/// How many seconds ago `at` is.
pub fn age(at: Timestamp) -> i64 {
    NOW - at.as_second()
}

/// A real object, compared by its text.
pub struct Kept<T> {
    print: u64,
    object: Arc<T>,
}

impl<T: Serialize> Kept<T> {
    /// Keeps an object.
    pub fn new(object: T) -> Self {
        let mut hasher = DefaultHasher::new();
        serde_json::to_string(&object).unwrap().hash(&mut hasher);
        Self {
            print: hasher.finish(),
            object: Arc::new(object),
        }
    }
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self {
            print: self.print,
            object: self.object.clone(),
        }
    }
}

impl<T> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl<T> Eq for Kept<T> {}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.print)
    }
}

/// Answers that are worked out once.
pub struct Memo<K, V>(Mutex<HashMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Memo<K, V> {
    /// The answer for `key`.
    pub fn get(&self, key: &K, answer: impl FnOnce() -> V) -> V {
        if let Some(known) = self.0.lock().unwrap().get(key) {
            return known.clone();
        }
        let answer = answer();
        self.0.lock().unwrap().insert(key.clone(), answer.clone());
        answer
    }
}

/// Objects of some age, by the object and the seconds that have passed.
pub type Known<T> = Memo<(u64, i64), Kept<T>>;

/// What has times in it.
pub trait Aged: Serialize + Clone + 'static {
    /// Moves every time in it back; less than zero brings it into the frame of an older clock.
    fn grow_older(&mut self, seconds: i64);

    /// What was worked out already.
    fn known() -> &'static Known<Self>;

    /// Takes an object in, in the frame that its times are of.
    fn kept(mut self) -> Kept<Self> {
        self.grow_older(0);
        Kept::new(self)
    }
}

impl<T: Aged> Kept<T> {
    /// The object after that many seconds.
    pub fn aged(&self, seconds: i64) -> Self {
        if seconds == 0 {
            return self.clone();
        }
        T::known().get(&(self.print, seconds), || {
            let mut older = T::clone(self);
            older.grow_older(seconds);
            Self::new(older)
        })
    }
}

/// How old something is after that many seconds.
pub fn older(age: i64, seconds: i64) -> i64 {
    // Old stays old: how old it is exactly is not known any more.
    if age >= OLDEST { OLDEST } else { (age + seconds).min(OLDEST) }
}

fn moved(at: Timestamp, seconds: i64) -> Timestamp {
    ago(older(age(at), seconds))
}

/// A moment of which it is only asked whether it is over. One that is far away never comes nearer.
fn over(at: Timestamp, seconds: i64) -> Timestamp {
    if age(at) < -FAR_AWAY {
        return ago(-2 * FAR_AWAY);
    }
    let at = moved(at, seconds);
    if at <= now() { ago(OLDEST) } else { at }
}

/// A moment of which it is only asked whether it is just now.
fn just_now(at: Timestamp, seconds: i64) -> Timestamp {
    if seconds > 0 { ago(OLDEST) } else { at }
}

impl Aged for ApiTokenStatus {
    fn grow_older(&mut self, seconds: i64) {
        for Time(at) in self.token.iter_mut().filter_map(|token| token.issued_at.as_mut()) {
            *at = just_now(*at, seconds);
        }
        for previous in &mut self.previous {
            previous.revoke_at = Time(over(previous.revoke_at.0, seconds));
        }
        if let Some(pending) = &mut self.pending {
            pending.started_at = Time(moved(pending.started_at.0, seconds));
        }
        // No decision of this model asks for these.
        self.last_rotation_at = None;
        for condition in &mut self.conditions {
            condition.last_transition_time = Time(now());
        }
        if let Some(failures) = &mut self.failures {
            failures.first_at = Time(now());
            failures.last_at = Time(just_now(failures.last_at.0, seconds));
            failures.next_retry_at = failures.next_retry_at.take().map(|Time(at)| Time(over(at, seconds)));
        }
    }

    fn known() -> &'static Known<Self> {
        static KNOWN: LazyLock<Known<ApiTokenStatus>> = LazyLock::new(Known::default);
        &KNOWN
    }
}

impl Aged for Secret {
    fn grow_older(&mut self, seconds: i64) {
        let annotations = self.metadata.annotations.get_or_insert_default();
        if let Some(issued_at) = annotations.get_mut(names::ISSUED_AT_ANNOTATION) {
            *issued_at = just_now(issued_at.parse().unwrap(), seconds).to_string();
        }
    }

    fn known() -> &'static Known<Self> {
        static KNOWN: LazyLock<Known<Secret>> = LazyLock::new(Known::default);
        &KNOWN
    }
}
