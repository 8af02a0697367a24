//! The way to the API server, found as kubectl finds it, and what its errors say.

use std::{path::PathBuf, time::Duration};

use anyhow::anyhow;
use futures::future::BoxFuture;
use hyper_util::client::proxy::matcher::Matcher;
use jiff::SignedDuration;
use kube::{
    Api, Client, Config, Resource,
    api::{ListParams, ObjectList},
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
    core::{ClusterResourceScope, NamespaceResourceScope},
};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::{exit::Failure, proxy, spans};
use crate::api::ApiToken;

/// Objects in one answer of a list.
const PAGE: u32 = 500;

/// Which cluster, in whose name: as with kubectl.
#[derive(clap::Args)]
pub struct Connection {
    /// Path to the kubeconfig. Default: $KUBECONFIG, else ~/.kube/config, else the Pod's ServiceAccount.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: the current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// Namespace. Default: the context's.
    #[arg(long, short, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// User to impersonate.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub user: Option<String>,
    /// Group to impersonate, beside --as; repeat for more.
    #[arg(long = "as-group", global = true, value_name = "GROUP")]
    pub groups: Vec<String>,
    /// How long one request may take, such as 10s; 0: for ever.
    #[arg(long, global = true, value_name = "DURATION", default_value = "30s", value_parser = request_timeout)]
    pub request_timeout: SignedDuration,
}

fn request_timeout(text: &str) -> Result<SignedDuration, String> {
    match text.parse() {
        Ok(seconds) => Ok(SignedDuration::from_secs(i64::from(u32::min(seconds, 1 << 30)))),
        Err(_) => spans::parse(text),
    }
}

/// A cluster to talk to.
pub struct Cluster {
    client: Client,
    /// The namespace that was named, else the context's.
    pub namespace: String,
    request_timeout: Duration,
}

/// In which namespaces objects are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In all.
    Everywhere,
    /// In one.
    In(String),
}

impl Connection {
    /// Finds the cluster. Whether it answers shows later.
    pub async fn cluster(&self) -> anyhow::Result<Cluster> {
        if self.user.is_none() && !self.groups.is_empty() {
            return Err(Failure::usage("--as-group needs --as"));
        }
        let mut config = self.config().await?;
        if let Some(user) = &self.user {
            config.auth_info.impersonate = Some(user.clone());
            config.auth_info.impersonate_groups = Some(self.groups.clone()).filter(|groups| !groups.is_empty());
        }
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| anyhow!("the kubeconfig can't be used: {error}"))?;
        let request_timeout = match self.request_timeout.unsigned_abs() {
            Duration::ZERO => Duration::MAX,
            bounded => bounded,
        };
        Ok(Cluster {
            client,
            namespace,
            request_timeout,
        })
    }

    /// Names of the contexts that can be chosen.
    pub fn contexts(&self) -> Vec<String> {
        let contexts = self.kubeconfig().map(|kubeconfig| kubeconfig.contexts).unwrap_or_default();
        contexts.into_iter().map(|context| context.name).collect()
    }

    fn kubeconfig(&self) -> Result<Kubeconfig, KubeconfigError> {
        match &self.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        }
    }

    async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..Default::default()
        };
        let unusable = |error: KubeconfigError| anyhow!("the kubeconfig can't be used: {error}");
        match self.kubeconfig() {
            Ok(kubeconfig) => {
                let proxy = proxy::declared(&kubeconfig, self.context.as_deref());
                let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(unusable)?;
                if proxy.is_some() || proxy::is_direct(&config.cluster_url, &Matcher::from_env()) {
                    config.proxy_url = proxy;
                }
                Ok(config)
            }
            Err(error) if self.kubeconfig.is_some() || self.context.is_some() => Err(unusable(error)),
            Err(error) => Config::incluster().map_err(|_| unusable(error)),
        }
    }

    /// The namespace that was named, else all of them.
    pub fn widest(&self) -> Place {
        self.namespace.clone().map_or(Place::Everywhere, Place::In)
    }

    /// The same for a kubectl that is run on behalf of this command.
    pub fn as_arguments(&self) -> Vec<String> {
        let kubeconfig = self.kubeconfig.as_ref().map(|path| path.display().to_string());
        let single = [
            ("--kubeconfig", &kubeconfig),
            ("--context", &self.context),
            ("--namespace", &self.namespace),
            ("--as", &self.user),
        ];
        let single = single
            .into_iter()
            .filter_map(|(flag, value)| Some(format!("{flag}={}", value.as_ref()?)));
        let groups = self.groups.iter().map(|group| format!("--as-group={group}"));
        let timeout = format!("--request-timeout={}s", self.request_timeout.as_secs());
        single.chain(groups).chain([timeout]).collect()
    }
}

impl Cluster {
    /// ApiTokens of the namespace.
    pub fn tokens(&self) -> Api<ApiToken> {
        self.namespaced(&self.namespace)
    }

    /// Objects of some kind in a namespace.
    pub fn namespaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self, namespace: &str) -> Api<K> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of some kind that stand in no namespace.
    pub fn cluster_wide<K: Resource<Scope = ClusterResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// All namespaces, or the one.
    pub fn place(&self, all_namespaces: bool) -> Place {
        if all_namespaces {
            Place::Everywhere
        } else {
            Place::In(self.namespace.clone())
        }
    }

    /// The ApiToken of that name in the namespace.
    pub async fn token(&self, name: &str) -> anyhow::Result<ApiToken> {
        self.call(self.tokens().get(name)).await
    }

    /// All objects of some kind in a place.
    pub async fn all<K>(&self, place: &Place) -> anyhow::Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
    {
        let api: Api<K> = match place {
            Place::Everywhere => Api::all(self.client.clone()),
            Place::In(namespace) => self.namespaced(namespace),
        };
        self.list(&api, ListParams::default()).await
    }

    /// All objects that the parameters select, page by page.
    pub async fn list<K: Clone + DeserializeOwned + std::fmt::Debug>(&self, api: &Api<K>, list: ListParams) -> anyhow::Result<Vec<K>> {
        let mut list = list.limit(PAGE);
        let mut items = Vec::new();
        loop {
            let page: BoxFuture<'_, kube::Result<ObjectList<K>>> = Box::pin(api.list(&list));
            let page = self.call(page).await?;
            items.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => list = list.continue_token(&token),
                None => return Ok(items),
            }
        }
    }

    /// Names of objects of some kind, the first so many.
    pub async fn names<K: Clone + DeserializeOwned + std::fmt::Debug>(&self, api: &Api<K>, most: u32) -> anyhow::Result<Vec<String>> {
        let list = ListParams::default().limit(most);
        let page = self.call(api.list_metadata(&list)).await?;
        Ok(page.items.into_iter().filter_map(|object| object.metadata.name).collect())
    }

    /// All ApiTokens of a place, to look for the owner of a value.
    pub async fn owners(&self, place: &Place) -> anyhow::Result<Vec<ApiToken>> {
        let read = self.all(place).await;
        read.map_err(|error| match place {
            Place::Everywhere if is_forbidden(&error) => error.context("to look in one namespace only, name it with --namespace"),
            _ => error,
        })
    }

    /// One request, bounded in time, with an error that a person can use.
    pub async fn call<T>(&self, call: impl Future<Output = kube::Result<T>>) -> anyhow::Result<T> {
        let answer = timeout(self.request_timeout, call).await;
        let late = || {
            Unanswered(format!(
                "the API server did not answer in {:?}: see --request-timeout",
                self.request_timeout
            ))
        };
        let answer = answer.map_err(|_| late())?;
        answer.map_err(explained)
    }
}

/// The server's own words, and what to do where they don't say it.
fn explained(error: kube::Error) -> anyhow::Error {
    match error {
        kube::Error::Api(status) if status.is_not_found() => {
            let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
            if named {
                Failure::not_found(status.message.clone())
            } else {
                anyhow!("this cluster does not know the kinds of apitoken-operator: install its chart first")
            }
        }
        kube::Error::Api(status) => anyhow::Error::new(Refused(status)),
        other => anyhow::Error::new(Unanswered(format!("can't talk to the API server: {other}"))),
    }
}

/// The API server refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct Refused(Box<kube::core::Status>);

/// There was no answer that can be used.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unanswered(String);

/// Whether there was no answer, so that it may be worth another try.
pub fn is_unanswered(error: &anyhow::Error) -> bool {
    error.is::<Unanswered>()
}

/// Whether the API server refused for want of a right.
pub fn is_forbidden(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.0.is_forbidden())
}

/// Whether the object was changed by somebody else meanwhile.
pub fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refused>().is_some_and(|refused| refused.0.is_conflict())
}
