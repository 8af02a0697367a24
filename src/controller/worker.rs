//! Runs passes over the objects of one kind: each object once at a time, so many at once, namespaces in turns.
//!
//! kube's own controller takes objects in the order of their names' arrival, whosever they are.

use std::{collections::HashMap, time::Duration};

use kube::{Resource, runtime::reflector::Store};
use tokio::{
    select,
    task::{Id, JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    recent::{Key, key},
    stores::Guarded,
    times::Times,
    turns::Turns,
    watches::Queue,
};
use crate::operations::leader::Leadership;

/// How long until an object is looked at again whose pass broke off.
const AFTER_A_PANIC: Duration = Duration::from_secs(300);

/// When an object is to be looked at again by itself; nothing: once it changes.
pub type Again = Option<Duration>;

/// What there is to do.
pub struct Work<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    /// Objects to begin with.
    pub first: Vec<Key>,
    /// Names of objects that changed.
    pub queue: Queue<K>,
    /// Objects that are worked on at once.
    pub slots: u16,
}

/// How long work goes on.
#[derive(Clone)]
pub struct Term {
    /// No pass goes on where this does not hold.
    pub leadership: Leadership,
    /// No pass begins after this.
    pub shutdown: CancellationToken,
}

/// Runs until the shutdown, and then until the passes have ended that run.
pub async fn run<K, F>(work: Work<K>, term: Term, pass: impl Fn(Key) -> F)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    F: Future<Output = Again> + Send + 'static,
{
    let Work { first, mut queue, slots } = work;
    let mut desk = Desk::new(first, slots);
    loop {
        while let Some(key) = desk.turns.next() {
            desk.begin(key.clone(), term.leadership.clone().while_it_holds(pass(key)));
        }
        let due = desk.times.next();
        select! {
            () = term.shutdown.cancelled() => break,
            Some(name) = queue.recv() => desk.told((name.namespace.unwrap_or_default(), name.name)),
            Some(ended) = desk.passes.join_next_with_id() => desk.ended(ended),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => desk.due(),
        }
    }
    while desk.passes.join_next().await.is_some() {}
}

/// All objects of these stores.
pub fn keys<K>(stores: &[&Store<Guarded<K>>]) -> Vec<Key>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let objects = stores.iter().flat_map(|store| store.state());
    objects.map(|object| key(object.meta())).collect()
}

struct Desk {
    turns: Turns,
    times: Times,
    passes: JoinSet<Again>,
    names: HashMap<Id, Key>,
}

impl Desk {
    fn new(first: Vec<Key>, slots: u16) -> Self {
        let mut turns = Turns::new(slots.into());
        first.into_iter().for_each(|key| turns.add(key));
        Self {
            turns,
            times: Times::default(),
            passes: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    fn begin(&mut self, key: Key, pass: impl Future<Output = Again> + Send + 'static) {
        let id = self.passes.spawn(pass).id();
        self.names.insert(id, key);
    }

    fn told(&mut self, key: Key) {
        self.times.forget(&key);
        self.turns.add(key);
    }

    fn due(&mut self) {
        while let Some(key) = self.times.due(Instant::now()) {
            self.turns.add(key);
        }
    }

    fn ended(&mut self, ended: Result<(Id, Again), JoinError>) {
        let (id, again) = ended.unwrap_or_else(|broken| {
            error!("a pass broke off, which is a bug; its object is looked at again in {AFTER_A_PANIC:?}");
            (broken.id(), Some(AFTER_A_PANIC))
        });
        let Some(key) = self.names.remove(&id) else { return };
        let waits = self.turns.done(&key);
        if let Some(pause) = again.filter(|_| !waits) {
            self.times.set(key, Instant::now() + pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use kube::runtime::reflector::ObjectRef;
    use tokio::{
        sync::{Semaphore, mpsc},
        task::yield_now,
    };

    use super::*;
    use crate::api::ApiToken;

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    #[tokio::test]
    async fn a_pass_that_breaks_off_holds_up_no_other_and_one_that_runs_is_waited_for() {
        let (tell, queue) = mpsc::channel(8);
        let first = vec![key("bad"), key("good")];
        let work = Work::<ApiToken> { first, queue, slots: 1 };
        let term = Term {
            leadership: Leadership::undisputed(),
            shutdown: CancellationToken::new(),
        };
        let (begun, ended) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let steps = Arc::new(Semaphore::new(0));
        let pass = |(_, name): Key| {
            let (begun, ended, steps) = (begun.clone(), ended.clone(), steps.clone());
            async move {
                begun.lock().unwrap().push(name.clone());
                assert_ne!(name, "bad");
                steps.acquire().await.unwrap().forget();
                *ended.lock().unwrap() += 1;
                (*ended.lock().unwrap() == 1).then_some(Duration::ZERO)
            }
        };
        let until = async |what: &[&str]| {
            while *begun.lock().unwrap() != what {
                yield_now().await;
            }
        };
        let test = async {
            until(&["bad", "good"]).await;
            steps.add_permits(1);
            until(&["bad", "good", "good"]).await;
            for _ in 0..3 {
                tell.send(ObjectRef::new("good").within("shop")).await.unwrap();
            }
            while tell.capacity() < tell.max_capacity() {
                yield_now().await;
            }
            steps.add_permits(1);
            until(&["bad", "good", "good", "good"]).await;
            assert_eq!(*ended.lock().unwrap(), 2, "one at a time");
            term.shutdown.cancel();
            yield_now().await;
            steps.add_permits(1);
        };
        tokio::join!(run(work, term.clone(), pass), test);
        assert_eq!(*ended.lock().unwrap(), 3);
    }
}
