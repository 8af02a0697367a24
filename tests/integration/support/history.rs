//! Every version of a team's ApiTokens and Secrets, so that a test sees each moment in between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
};

use apitoken_operator::api::{ApiToken, names};
use k8s_openapi::api::core::v1::Secret;
use kube::{Resource, ResourceExt, api::ListParams, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;

use super::{
    eventually,
    tokens::{Team, good_hashes, hash, works},
    watch::{Seen, Watch, follow},
};

/// Versions by number. Both kinds are counted together, as they are stored in one etcd, so the
/// numbers tell which came first.
type Versions<K> = Arc<Mutex<BTreeMap<u64, Change<K>>>>;

/// A version of an object, or its end.
#[derive(Clone)]
enum Change<K> {
    Is(K),
    Gone(String),
}

/// What was there at one moment.
#[derive(Clone, Default)]
pub struct Moment {
    /// The ApiTokens by name.
    pub tokens: BTreeMap<String, ApiToken>,
    /// The Secrets by name.
    pub secrets: BTreeMap<String, Secret>,
}

/// What happens in one namespace.
pub struct History {
    team: Team,
    tokens: Versions<ApiToken>,
    secrets: Versions<Secret>,
    /// The number of the version that made what was there at the beginning whole.
    begun: u64,
    _watches: (Watch, Watch),
}

impl History {
    /// Keeps all versions from now on.
    pub async fn begin(team: &Team) -> Self {
        let (tokens, secrets) = (Versions::default(), Versions::default());
        let watches = (record(team, tokens.clone()).await, record(team, secrets.clone()).await);
        let begun = numbers(&tokens, &secrets).pop_last().unwrap_or_default();
        Self {
            team: team.clone(),
            tokens,
            secrets,
            begun,
            _watches: watches,
        }
    }

    /// All moments up to now, the first one first.
    pub async fn moments(&self) -> Vec<Moment> {
        eventually("the history is complete", || async {
            let moments = self.replayed();
            let now = moments.last().cloned().unwrap_or_default();
            let complete = versions(now.tokens.values()) == self.present::<ApiToken>().await
                && versions(now.secrets.values()) == self.present::<Secret>().await;
            complete.then_some(moments)
        })
        .await
    }

    /// At no moment did an active token's Secret hold a value that a verifier refuses, or was there none.
    pub async fn no_value_was_refused(&self) {
        let refused: Vec<String> = self.moments().await.iter().flat_map(Moment::refused).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }

    fn replayed(&self) -> Vec<Moment> {
        let mut now = Moment::default();
        let mut moments = Vec::new();
        for number in numbers(&self.tokens, &self.secrets) {
            apply(&mut now.tokens, self.tokens.lock().unwrap().get(&number));
            apply(&mut now.secrets, self.secrets.lock().unwrap().get(&number));
            if number >= self.begun {
                moments.push(now.clone());
            }
        }
        moments
    }

    async fn present<K>(&self) -> BTreeMap<String, String>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        versions(&self.team.api::<K>().list(&ListParams::default()).await.unwrap().items)
    }
}

impl Moment {
    /// The active tokens whose consumers can't do with what they read, each with what is wrong.
    pub fn refused(&self) -> Vec<String> {
        let working = self.tokens.iter().filter(|(_, token)| works(token));
        let refused = working.filter_map(|(name, token)| {
            let values = self.values_of(name);
            let good = good_hashes(token, |_| true);
            let version = token.resource_version().unwrap_or_default();
            if values.is_empty() {
                return Some(format!("{name} at {version}: no Secret holds its value"));
            }
            let all_good = values.iter().all(|value| good.contains(&hash(value)));
            (!all_good).then(|| format!("{name} at {version}: a Secret holds a value that is refused"))
        });
        refused.collect()
    }

    /// The values that the Secrets of an ApiToken hold under the key `token`.
    pub fn values_of(&self, token: &str) -> Vec<String> {
        let of_token = |secret: &&Secret| {
            secret
                .annotations()
                .get(names::API_TOKEN_ANNOTATION)
                .is_some_and(|name| name == token)
        };
        let value = |secret: &Secret| String::from_utf8(secret.data.as_ref()?.get("token")?.0.clone()).ok();
        self.secrets.values().filter(of_token).filter_map(value).collect()
    }
}

fn numbers(tokens: &Versions<ApiToken>, secrets: &Versions<Secret>) -> BTreeSet<u64> {
    let (tokens, secrets) = (tokens.lock().unwrap(), secrets.lock().unwrap());
    tokens.keys().chain(secrets.keys()).copied().collect()
}

fn apply<K: Clone + ResourceExt>(present: &mut BTreeMap<String, K>, change: Option<&Change<K>>) {
    match change {
        Some(Change::Is(object)) => {
            present.insert(object.name_any(), object.clone());
        }
        Some(Change::Gone(name)) => {
            present.remove(name);
        }
        None => {}
    }
}

fn versions<'a, K: ResourceExt + 'a>(objects: impl IntoIterator<Item = &'a K>) -> BTreeMap<String, String> {
    let version = |object: &K| (object.name_any(), object.resource_version().unwrap_or_default());
    objects.into_iter().map(version).collect()
}

fn number<K: ResourceExt>(object: &K) -> u64 {
    object.resource_version().unwrap().parse().unwrap()
}

/// Keeps all versions of one kind.
async fn record<K>(team: &Team, versions: Versions<K>) -> Watch
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let keep = move |seen: Seen<K>| {
        let (number, change) = match seen {
            Seen::Is(object) => (number(&object), Change::Is(object)),
            Seen::Gone(object) => (number(&object), Change::Gone(object.name_any())),
        };
        versions.lock().unwrap().insert(number, change);
    };
    follow(team, keep).await
}
