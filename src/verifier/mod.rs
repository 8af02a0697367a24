//! Answers whether a presented token of a built-in issuer works, now.
//!
//! ```text
//!   ApiTokens, issuers, Namespaces          a service's caller
//!        │ watch (never a Secret)               │ token
//!        ▼                                      ▼
//!   follow ──► feed ──► lookup (hash -> record) ◄── http: /authorize, /introspect; grpc: Check
//!                         ▲                     │
//!                         └──── uses ───────────┘ ──► last_use: status.token.lastUsedAt, every so often
//! ```
//!
//! [`lookup`] decides and knows nothing of Kubernetes, HTTP or clocks. No value is ever kept: a token is known by its
//! hash. The verifier answers from memory, so it goes on while the controller, or the API server, is away.

mod bearer;
mod callers;
mod catalogue;
mod feed;
mod follow;
mod forward_auth;
mod freshness;
mod grpc;
mod http;
mod last_use;
pub mod listener;
pub mod lookup;
pub mod metrics;
mod run;
pub mod tls;

pub use self::run::{Settings, Sockets, run, verifier};

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use tracing::debug;

use self::{
    freshness::Freshness,
    lookup::{
        decision::{Bearer, Denial},
        index::Index,
        presented::TokenHash,
        question::Question,
    },
    metrics::Metrics,
};
use crate::{controller::clock::Clock, operations::server::Program};

/// What answers all questions.
pub struct Verifier {
    index: RwLock<Index>,
    freshness: Freshness,
    clock: Arc<dyn Clock>,
    /// How long it may answer without a word from the API server; nothing: for ever.
    deny_when_stale: Option<Duration>,
    metrics: Metrics,
}

impl Verifier {
    /// Knows nothing yet, of so many watches.
    pub fn new(clock: Arc<dyn Clock>, watches: usize, deny_when_stale: Option<Duration>) -> Self {
        Self {
            index: RwLock::default(),
            freshness: Freshness::new(watches),
            clock,
            deny_when_stale,
            metrics: Metrics::default(),
        }
    }

    /// Who presents this text as a token. The question is the service's, the text its caller's.
    ///
    /// # Errors
    /// Why the caller is turned away.
    pub fn verify(&self, question: &Question, presented: Option<&[u8]>) -> Result<Bearer, Denial> {
        let began = Instant::now();
        let decision = self.decide(question, presented);
        if let Err(denial) = &decision {
            debug!(reason = denial.as_str(), "turned away");
        }
        self.metrics.decided(decision.as_ref().err().copied(), began.elapsed());
        decision
    }

    fn decide(&self, question: &Question, presented: Option<&[u8]>) -> Result<Bearer, Denial> {
        let presented = presented.ok_or(Denial::Missing)?;
        let hash = TokenHash::of_presented(presented).ok_or(Denial::Malformed)?;
        if self.is_stale() {
            return Err(Denial::Stale);
        }
        let now = self.clock.now();
        let bearer = self.index().decide(question, &hash, now)?;
        if let Some(token) = bearer.token() {
            token.uses.see(now);
        }
        Ok(bearer)
    }

    /// Whether nothing was heard for longer than it may answer without; before the first lists nothing is known at all.
    fn is_stale(&self) -> bool {
        match (self.freshness.age(), self.deny_when_stale) {
            (None, _) => true,
            (Some(age), Some(longest)) => age > longest,
            (Some(_), None) => false,
        }
    }

    fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program for Verifier {
    /// It answers from memory: no restart makes its knowledge younger.
    fn stuck(&self) -> Option<&'static str> {
        None
    }

    fn not_ready(&self) -> Option<&'static str> {
        match self.freshness.age() {
            None => Some("the watches have not listed yet"),
            Some(_) if self.is_stale() => Some("the API server was not heard for too long"),
            Some(_) => None,
        }
    }

    fn metrics(&self) -> Result<String, fmt::Error> {
        let tokens = self.index().len();
        self.metrics.encode(tokens, self.freshness.age())
    }
}
