//! What the watches tell, taken into the index.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future::{BoxFuture, FutureExt, join_all};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::Time};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
};
use tracing::warn;

use super::{
    Verifier,
    catalogue::Catalogue,
    follow::{Ear, News, follow},
    lookup::record::Record,
    run::Settings,
};
use crate::{
    api::{ApiToken, ClusterTokenIssuer, IssuerId, IssuerKind, TokenIssuer},
    controller::stores::{Scope, id_of},
};

/// What is followed.
pub struct Reach {
    scopes: Vec<Scope>,
    sees_cluster: bool,
}

impl Reach {
    /// What the user sets.
    pub fn of(settings: &Settings) -> Self {
        Self {
            scopes: Scope::of(&settings.watch_namespaces),
            sees_cluster: !settings.single_namespace,
        }
    }

    /// How many watches that takes: of namespaces and ClusterTokenIssuers, and two of each scope.
    pub fn watches(&self) -> usize {
        2 * (usize::from(self.sees_cluster) + self.scopes.len())
    }
}

/// Keeps the index up to date for ever.
pub async fn run(verifier: &Verifier, client: &Client, reach: &Reach) {
    let feed = Feed {
        verifier,
        catalogue: Mutex::default(),
    };
    let ear = |watch| Ear {
        freshness: &verifier.freshness,
        watch,
    };
    let mut watches: Vec<BoxFuture<'_, ()>> = Vec::new();
    if reach.sees_cluster {
        watches.push(follow(Api::all(client.clone()), ear(0), feed.namespaces()).boxed());
        watches.push(follow(Api::all(client.clone()), ear(1), feed.cluster_issuers()).boxed());
    }
    for scope in &reach.scopes {
        let first = watches.len();
        watches.push(follow(scope.api(client), ear(first), feed.issuers(scope)).boxed());
        watches.push(follow(scope.api(client), ear(first + 1), feed.tokens(scope)).boxed());
    }
    join_all(watches).await;
}

struct Feed<'a> {
    verifier: &'a Verifier,
    catalogue: Mutex<Catalogue>,
}

impl Feed<'_> {
    fn catalogue(&self) -> MutexGuard<'_, Catalogue> {
        self.catalogue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, catalogue: &Catalogue) {
        let (rules, default) = catalogue.rules();
        self.verifier.index_mut().set_issuers(rules, default);
    }

    fn namespaces(&self) -> impl FnMut(News<PartialObjectMeta<Namespace>>) + Send {
        let mut listing = None;
        move |news| {
            let mut catalogue = self.catalogue();
            let matters = match news {
                News::ListBegins => {
                    listing = Some(HashSet::new());
                    false
                }
                News::Put(namespace) => {
                    if let Some(listed) = &mut listing {
                        listed.insert(namespace.name_any());
                    }
                    catalogue.put_namespace(namespace)
                }
                News::Gone(namespace) => catalogue.remove_namespace(&namespace.name_any()),
                News::Listed => {
                    let listed = listing.take().unwrap_or_default();
                    catalogue.keep_namespaces(|name| listed.contains(name));
                    true
                }
            };
            if matters && listing.is_none() {
                self.publish(&catalogue);
            }
        }
    }

    fn cluster_issuers(&self) -> impl FnMut(News<DeserializeGuard<ClusterTokenIssuer>>) + Send {
        self.any_issuers(
            IssuerKind::ClusterTokenIssuer,
            |_| true,
            |catalogue, issuer| catalogue.put_cluster_issuer(issuer),
        )
    }

    fn issuers(&self, scope: &Scope) -> impl FnMut(News<DeserializeGuard<TokenIssuer>>) + Send {
        let scope = scope.clone();
        self.any_issuers(
            IssuerKind::TokenIssuer,
            move |id| scope.covers(&id.namespace),
            |catalogue, issuer| catalogue.put_issuer(issuer),
        )
    }

    /// `covered` tells which issuers this watch speaks of.
    fn any_issuers<K>(
        &self,
        kind: IssuerKind,
        covered: impl Fn(&IssuerId) -> bool + Send,
        put: fn(&mut Catalogue, &K),
    ) -> impl FnMut(News<DeserializeGuard<K>>) + Send
    where
        K: Resource<DynamicType = ()>,
    {
        let mut listing = None;
        move |news| {
            let mut catalogue = self.catalogue();
            match news {
                News::ListBegins => listing = Some(HashSet::new()),
                News::Put(issuer) => {
                    let id = id_of(kind, &issuer);
                    match &issuer.0 {
                        Ok(issuer) => put(&mut catalogue, issuer),
                        Err(error) => {
                            warn!(issuer = %id, %error, "the issuer can't be read: none of its tokens is accepted");
                            catalogue.remove_issuer(&id);
                        }
                    }
                    if let Some(listed) = &mut listing {
                        listed.insert(id);
                    }
                }
                News::Gone(issuer) => catalogue.remove_issuer(&id_of(kind, &issuer)),
                News::Listed => {
                    let listed = listing.take().unwrap_or_default();
                    catalogue.keep_issuers(kind, |id| listed.contains(id) || !covered(id));
                }
            }
            if listing.is_none() {
                self.publish(&catalogue);
            }
        }
    }

    fn tokens(&self, scope: &Scope) -> impl FnMut(News<DeserializeGuard<ApiToken>>) + Send {
        let scope = scope.clone();
        // Between the two ends of a list nothing but the list is told.
        let mut listing = 0;
        move |news| match news {
            News::ListBegins => listing += 1,
            News::Put(token) => match &token.0 {
                Ok(token) => self.token(token, listing),
                Err(error) => {
                    let (namespace, name) = (token.namespace().unwrap_or_default(), token.name_any());
                    warn!(namespace, name, %error, "the ApiToken can't be read: it is not accepted");
                    self.verifier.index_mut().remove(&token.uid().unwrap_or_default());
                }
            },
            News::Gone(token) => {
                self.verifier.index_mut().remove(&token.uid().unwrap_or_default());
            }
            News::Listed => {
                self.verifier
                    .index_mut()
                    .keep(|record| record.listing == listing || !scope.covers(&record.terms.namespace));
            }
        }
    }

    fn token(&self, token: &ApiToken, listing: u32) {
        let now = self.verifier.clock.now();
        let took_away = match Record::of(token) {
            Some(record) => self.verifier.index_mut().put(Record { listing, ..record }, now),
            None => self.verifier.index_mut().remove(&token.uid().unwrap_or_default()).is_some(),
        };
        if let Some(written_at) = last_write(token).filter(|_| took_away) {
            self.verifier.metrics.revoked(now.duration_since(written_at));
        }
    }
}

/// When it was last written, as the API server noted it: to the second.
fn last_write(token: &ApiToken) -> Option<Timestamp> {
    let metadata = &token.metadata;
    let writes = metadata.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
    writes.chain(&metadata.deletion_timestamp).map(|Time(at)| *at).max()
}
