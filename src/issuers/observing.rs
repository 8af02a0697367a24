//! An issuer that is only asked: for a copy of a cluster whose tokens are still another one's.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use super::{Capabilities, IssuedToken, Issuer, IssuerError, ListedToken, TokenRequest, Verb};

/// Lets nothing through that makes, changes or ends a token.
pub struct Observing(pub Arc<dyn Issuer>);

fn refused<'a, T: Send + 'a>() -> BoxFuture<'a, Result<T, IssuerError>> {
    let why = "the operator runs with --observe-only and changes nothing at a vendor";
    async move { Err(IssuerError::Refused(why.to_owned())) }.boxed()
}

impl Issuer for Observing {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn inventory(&self) -> BoxFuture<'_, Result<Vec<ListedToken>, IssuerError>> {
        self.0.inventory()
    }

    fn list<'a>(&'a self, request: &'a TokenRequest) -> BoxFuture<'a, Result<Vec<ListedToken>, IssuerError>> {
        self.0.list(request)
    }

    fn create<'a>(&'a self, _: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        refused()
    }

    fn reset<'a>(&'a self, _: &'a str, _: &'a TokenRequest) -> BoxFuture<'a, Result<IssuedToken, IssuerError>> {
        refused()
    }

    fn update<'a>(&'a self, _: &'a str, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        refused()
    }

    fn change<'a>(&'a self, _: &'a str, _: Verb, _: &'a TokenRequest) -> BoxFuture<'a, Result<(), IssuerError>> {
        refused()
    }
}
