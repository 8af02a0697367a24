//! A fake vendor as the issuer of a world: reached by its adapter over HTTP, with faults on the way.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use apitoken_operator::{
    api::{IssuerSpec, api_token::Parameters},
    issuers::{Access, Capabilities, Issuer, Issuers as _, KnownIssuers, Reach},
    lifecycle::Step,
    token_value::TokenValue,
};
use jiff::Timestamp;
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use crate::{
    fakes::{Fake, Fault, Shown},
    histories::{Kept, Site},
    vendors::{OTHERS, Vendor},
};

/// 2030-01-01, when histories begin.
const BEGINNING: i64 = 1_893_456_000;

/// One fault in so many is that no answer ever comes, which takes the whole of the issuer's time limit, in real time.
const SILENCES: u32 = 150;
const TIMEOUT: &str = "2s";

/// A vendor, and the way to it.
pub struct Market<V: Vendor> {
    fake: Fake<V::Fake>,
    clock: Arc<AtomicI64>,
    spec: IssuerSpec,
    issuer: Mutex<Arc<dyn Issuer>>,
    /// Whether the vendor has asked for peace.
    limited: AtomicBool,
    rng: Mutex<StdRng>,
}

impl<V: Vendor> Market<V> {
    /// One that has tokens of others, and behaves as that seed has it where the vendor's documentation leaves it open.
    pub async fn open(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let clock = Arc::new(AtomicI64::new(BEGINNING));
        let time = clock.clone();
        let now = Arc::new(move || Timestamp::from_second(time.load(Ordering::SeqCst)).unwrap());
        let mut vendor = V::new(now, &mut rng);
        for name in OTHERS {
            V::plant(&mut vendor, name);
        }
        let fake = Fake::start(vendor).await;
        let mut spec = V::spec(fake.url());
        spec["timeout"] = TIMEOUT.into();
        let spec = serde_json::from_value(spec).unwrap();
        Self {
            fake,
            clock,
            issuer: Mutex::new(reach::<V>(&spec)),
            spec,
            limited: AtomicBool::new(false),
            rng: Mutex::new(rng),
        }
    }

    /// What the vendor can do.
    pub fn capabilities(&self) -> Capabilities {
        self.issuer().capabilities()
    }
}

impl<V: Vendor> Site for Market<V> {
    fn issuer(&self) -> Arc<dyn Issuer> {
        self.issuer.lock().unwrap().clone()
    }

    fn spec(&self) -> IssuerSpec {
        self.spec.clone()
    }

    fn other_parameters(&self) -> Option<Parameters> {
        V::other_parameters()
    }

    /// Once time has passed, calls that a limit held back are sent again: real time does not pass with that of the world.
    fn tell_time(&self, now: Timestamp) {
        let before = self.clock.swap(now.as_second(), Ordering::SeqCst);
        if before < now.as_second() && self.limited.swap(false, Ordering::SeqCst) {
            *self.issuer.lock().unwrap() = reach::<V>(&self.spec);
        }
    }

    /// Now and then it is not the call itself, but the look before it that some adapters take.
    fn go_wrong(&self, step: &Step, done: bool) {
        let rng = &mut self.rng.lock().unwrap();
        let operation = match operation(step) {
            operation if rng.random_range(0..4) > 0 => operation,
            _ => "list",
        };
        let shown = match rng.random_range(0..SILENCES) {
            0 => Shown::Silence,
            _ => ways(operation, done).choose(rng).unwrap().clone(),
        };
        self.limited.fetch_or(matches!(shown, Shown::Limited(_)), Ordering::SeqCst);
        self.fake.next(operation, Fault { done, shown });
    }

    fn lag(&self) {
        self.fake.lag(1);
    }

    fn heal(&self) {
        self.fake.heal();
    }

    fn tokens(&self) -> Vec<Kept> {
        self.fake.with(|vendor| V::tokens(vendor))
    }

    fn remove(&self, id: &str) {
        self.fake.with(|vendor| V::remove(vendor, id));
    }

    fn plant(&self) -> Option<String> {
        self.fake.with(|vendor| V::plant(vendor, OTHERS[0]))
    }
}

/// The way to a vendor, with nothing held back.
fn reach<V: Vendor>(spec: &IssuerSpec) -> Arc<dyn Issuer> {
    let access = Access {
        spec,
        credential: TokenValue::new(V::CREDENTIAL),
        reach: Reach::Anywhere,
        waited: Default::default(),
    };
    KnownIssuers.open(access).unwrap().unwrap()
}

/// The call of a step, in the words of the fakes.
fn operation(step: &Step) -> &'static str {
    match step {
        Step::CreateToken => "create",
        Step::ResetToken { .. } => "reset",
        Step::UpdateToken { .. } => "update",
        Step::SuspendToken { .. } => "suspend",
        Step::ActivateToken { .. } => "activate",
        Step::RevokeToken { .. } => "revoke",
        Step::DeleteToken { .. } => "delete",
        _ => "list",
    }
}

/// How a call can go wrong. A read that may well succeed a moment later is repeated after that moment, which is real time here.
fn ways(operation: &str, done: bool) -> Vec<Shown> {
    let mut ways = vec![Shown::Page, Shown::Redirect, Shown::Status(500), Shown::Bytes(b"[[]]".to_vec())];
    ways.push(if done { Shown::Half } else { Shown::Limited(Some(1)) });
    if operation != "list" {
        ways.extend([Shown::Closed, Shown::Status(502), Shown::Status(503)]);
        ways.extend(done.then_some(Shown::Cut));
    }
    ways
}
