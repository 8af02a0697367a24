//! Fake vendors: strict servers with state over real HTTP on loopback, and faults at any call.
//!
//! A vendor is a [`Behaviour`]: it says which operation a call is, and answers it. The frame does all
//! the rest: it serves, logs the calls, goes wrong as a test asks, lets lists lag, and checks bodies
//! against the vendor's OpenAPI document where there is one.

#![allow(dead_code, unused_imports, reason = "each crate of tests uses a part of it")]

pub mod amendments;
mod faults;
mod messages;
mod mutation;
mod serving;

pub mod mailtrap;
pub mod openapi;
pub mod prefactor;
pub mod softwareone;
pub mod wavefront;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::{net::TcpListener, task::AbortHandle};

use self::{faults::Faults, openapi::Document};
pub use self::{
    faults::{ANY, Fault, Shown},
    messages::{Reply, Request},
};

/// The time at a vendor.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// By which faults choose it: `list`, `create`, `get`, `delete`, `reset`, `update`, `suspend`, `activate`, `revoke`. The answers
    /// of a `list` can lag.
    pub name: &'static str,
    /// Its path in the vendor's document, such as `/api/api_tokens/{id}`.
    pub template: &'static str,
    /// The file of that document.
    pub document: Option<&'static str>,
}

/// How a vendor behaves. Its state is cloned, so that lists can lag.
pub trait Behaviour: Clone + Send + 'static {
    /// What a call asks for; nothing where the vendor has no such path.
    fn operation(&self, request: &Request) -> Option<Operation>;
    /// Does it, or refuses it as the vendor would, and answers.
    fn answer(&mut self, operation: &'static str, request: &Request) -> Reply;
    /// The time.
    fn now(&self) -> Timestamp;
    /// How a call is logged: its method and path, without any secret.
    fn shown(&self, request: &Request) -> String {
        format!("{} {}", request.method, request.path())
    }
}

/// A vendor that runs as long as its test. When it goes, it fails the test if a call or an answer was not as the vendor's document has it.
pub struct Fake<B: Behaviour> {
    url: String,
    shared: Arc<Mutex<Shared<B>>>,
    task: AbortHandle,
}

struct Shared<B> {
    vendor: B,
    /// How it was before each call that may have changed it.
    before: Vec<B>,
    lag: usize,
    calls: Vec<String>,
    callers: Vec<String>,
    faults: Faults,
    violations: Vec<String>,
}

impl<B: Behaviour> Fake<B> {
    /// Starts one.
    pub async fn start(vendor: B) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Shared {
            vendor,
            before: Vec::new(),
            lag: 0,
            calls: Vec::new(),
            callers: Vec::new(),
            faults: Faults::default(),
            violations: Vec::new(),
        }));
        let task = tokio::spawn(serving::serve(listener, shared.clone())).abort_handle();
        Self { url, shared, task }
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Looks at its state, or changes it as somebody else would.
    pub fn with<R>(&self, look: impl FnOnce(&mut B) -> R) -> R {
        look(&mut self.lock().vendor)
    }

    /// The calls so far.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// The credential of each of them.
    pub fn callers(&self) -> Vec<String> {
        self.lock().callers.clone()
    }

    /// Has the next call of that operation go wrong.
    pub fn next(&self, operation: &'static str, fault: Fault) {
        self.lock().faults.add(operation, fault, true);
    }

    /// Has each call of that operation go wrong.
    pub fn always(&self, operation: &'static str, fault: Fault) {
        self.lock().faults.add(operation, fault, false);
    }

    /// Has one call of so many go wrong, whatever it is; the same ones for the same seed.
    pub fn random(&self, seed: u64, one_in: u32, faults: Vec<Fault>) {
        self.lock().faults.choose_at_random(seed, one_in, faults);
    }

    /// Has lists show how it was so many changes ago.
    pub fn lag(&self, changes: usize) {
        self.lock().lag = changes;
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        let mut shared = self.lock();
        (shared.faults, shared.lag) = (Faults::default(), 0);
    }

    fn lock(&self) -> MutexGuard<'_, Shared<B>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Behaviour> Drop for Fake<B> {
    fn drop(&mut self) {
        self.task.abort();
        let violations = std::mem::take(&mut self.lock().violations);
        assert!(violations.is_empty() || std::thread::panicking(), "{violations:#?}");
    }
}

impl<B: Behaviour> Shared<B> {
    /// What comes back for a call; nothing where it goes wrong.
    fn handle(&mut self, request: &Request) -> (Reply, Option<Shown>) {
        self.calls.push(self.vendor.shown(request));
        self.callers.push(request.credential().unwrap_or_default().to_owned());
        let Some(operation) = self.vendor.operation(request) else {
            self.violations.push(format!("there is no {}", self.vendor.shown(request)));
            return (Reply::empty(404), None);
        };
        let fault = self.faults.take(operation.name);
        if fault.as_ref().is_some_and(|fault| !fault.done) {
            return (Reply::empty(200), fault.map(|fault| fault.shown));
        }
        let reply = self.answer(operation, request);
        if let Some(document) = operation.document.and_then(Document::named) {
            self.violations.extend(document.check(operation.template, request, &reply));
        }
        (reply, fault.map(|fault| fault.shown))
    }

    fn answer(&mut self, operation: Operation, request: &Request) -> Reply {
        let lags = operation.name == "list" && self.lag > 0;
        let former = self.before.len().checked_sub(self.lag).filter(|_| lags);
        if let Some(mut former) = former.map(|at| self.before[at].clone()) {
            return former.answer(operation.name, request);
        }
        if request.method != "GET" {
            self.before.push(self.vendor.clone());
        }
        self.vendor.answer(operation.name, request)
    }
}
