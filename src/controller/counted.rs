//! An issuer whose calls are counted, timed and traced. One operation counts once, however many pages it reads.

use std::{sync::Arc, time::Instant};

use futures::{FutureExt, future::BoxFuture};
use tracing::{Instrument, Span, field::Empty, info_span};

use crate::{
    api::issuer::IssuerType,
    issuers::{Capabilities, IssuedToken, Issuer, IssuerError, ListedToken, TokenRequest, Verb},
    operations::{metrics::Metrics, traces},
};

/// Counts what it lets through.
pub struct Counted {
    /// Who does it.
    pub issuer: Arc<dyn Issuer>,
    /// The vendor's name in the metrics.
    pub vendor: &'static str,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
}

/// The name of a type of issuer in the metrics.
pub fn vendor(type_: Option<IssuerType<'_>>) -> &'static str {
    match type_ {
        None | Some(IssuerType::Builtin(_)) => "builtin",
        Some(IssuerType::Mailtrap(_)) => "mailtrap",
        Some(IssuerType::Prefactor(_)) => "prefactor",
        Some(IssuerType::Softwareone(_)) => "softwareone",
        Some(IssuerType::Wavefront(_)) => "wavefront",
    }
}

impl Counted {
    fn count<'a, T: 'a>(
        &'a self,
        operation: &'static str,
        call: BoxFuture<'a, Result<T, IssuerError>>,
    ) -> BoxFuture<'a, Result<T, IssuerError>> {
        let span = info_span!(target: traces::TARGET, "vendor_call", vendor = self.vendor, operation, result = Empty);
        async move {
            let began = Instant::now();
            let outcome = call.await;
            let result = outcome.as_ref().err().map_or("success", result);
            Span::current().record("result", result);
            self.metrics.vendor_request(self.vendor, operation, result, began.elapsed());
            outcome
        }
        .instrument(span)
        .boxed()
    }
}

impl Issuer for Counted {
    fn capabilities(&self) -> Capabilities {
        self.issuer.capabilities()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        self.count("inventory", self.issuer.inventory())
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        self.count("list", self.issuer.list(request))
    }

    fn create<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.count("create", self.issuer.create(request))
    }

    fn reset<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        self.count("reset", self.issuer.reset(id, request))
    }

    fn update<'a>(&'a self, id: &'a str, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        self.count("update", self.issuer.update(id, request))
    }

    fn change<'a>(&'a self, id: &'a str, verb: Verb, request: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        let operation = match verb {
            Verb::Suspend => "suspend",
            Verb::Activate => "activate",
            Verb::Revoke => "revoke",
            Verb::Delete => "delete",
        };
        self.count(operation, self.issuer.change(id, verb, request))
    }
}

fn result(error: &IssuerError) -> &'static str {
    match error {
        IssuerError::CredentialMissing(_) => "credential_missing",
        IssuerError::Unreachable(_) => "unreachable",
        IssuerError::CertificateRefused(_) => "certificate_refused",
        IssuerError::AddressRefused => "address_refused",
        IssuerError::Unavailable(_) => "unavailable",
        IssuerError::RateLimited { .. } => "rate_limited",
        IssuerError::QuotaExceeded => "quota_exceeded",
        IssuerError::Refused(_) => "refused",
        IssuerError::CredentialRefused => "credential_refused",
        IssuerError::NotPermitted(_) => "not_permitted",
        IssuerError::AccountNotFound => "account_not_found",
        IssuerError::OutcomeUnknown(_) => "outcome_unknown",
    }
}
