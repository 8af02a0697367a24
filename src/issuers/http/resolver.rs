//! Names are resolved here where only public addresses may be reached, so that the address that was
//! checked is the one that is connected to.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use super::address::is_public;

/// The host has an address that is not of the public internet.
#[derive(Debug, thiserror::Error)]
#[error("the host has an address that is not of the public internet")]
pub struct NotPublic;

/// Resolves a name as the system does, and refuses it where any address of it is not public.
#[derive(Clone, Copy, Debug)]
pub struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // Port 0: the client puts the url's in its place.
            let found: Vec<SocketAddr> = lookup_host((name.as_str(), 0)).await?.collect();
            if !found.iter().all(|address| is_public(address.ip())) {
                return Err(NotPublic.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
