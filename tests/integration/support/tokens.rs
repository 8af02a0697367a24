//! ApiTokens and Secrets as a user makes and sees them.

use apitoken_operator::{
    api::{
        ApiToken, TokenIssuer,
        conditions::{self, ConditionType},
    },
    token_value,
};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::eventually;

/// One namespace as its team sees it.
#[derive(Clone)]
pub struct Team {
    /// The namespace.
    pub namespace: String,
    client: Client,
}

impl Team {
    /// The team of that namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            client,
        }
    }

    /// Objects of some kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an ApiToken.
    pub async fn declare(&self, name: &str, spec: Value) -> ApiToken {
        self.declare_with(json!({ "name": name }), spec).await
    }

    /// Creates an ApiToken with labels and annotations.
    pub async fn declare_with(&self, metadata: Value, spec: Value) -> ApiToken {
        let object = json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "ApiToken", "metadata": metadata, "spec": spec });
        let token: ApiToken = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &token).await.unwrap()
    }

    /// Creates a TokenIssuer.
    pub async fn issuer(&self, name: &str, spec: Value) -> TokenIssuer {
        let object = json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "TokenIssuer", "metadata": { "name": name }, "spec": spec });
        self.api()
            .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap()
    }

    /// Changes a Secret by a merge patch.
    pub async fn change_secret(&self, name: &str, patch: Value) -> Secret {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// Creates a Secret that is nobody's.
    pub async fn foreign_secret(&self, name: &str) -> Secret {
        let object = json!({ "metadata": { "name": name }, "stringData": { "theirs": "x" } });
        self.api()
            .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap()
    }

    /// Deletes an object.
    pub async fn delete<K>(&self, name: &str)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Changes nothing, but has the operator look again: wakes it after its clock was stepped.
    pub async fn nudge(&self, name: &str) {
        let at = jiff::Timestamp::now().to_string();
        self.change(name, json!({ "metadata": { "annotations": { "example.com/nudge": at } } }))
            .await;
    }

    /// Changes an ApiToken by a merge patch.
    pub async fn change(&self, name: &str, patch: Value) -> ApiToken {
        self.api().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap()
    }

    /// The ApiToken now.
    pub async fn token(&self, name: &str) -> ApiToken {
        self.api().get(name).await.unwrap()
    }

    /// The Secret now, if there is one.
    pub async fn secret(&self, name: &str) -> Option<Secret> {
        self.api().get_opt(name).await.unwrap()
    }

    /// One key of a Secret as text; empty where there is none.
    pub async fn value(&self, secret: &str, key: &str) -> String {
        let data = self.secret(secret).await.and_then(|secret| secret.data).unwrap_or_default();
        data.get(key)
            .map(|bytes| String::from_utf8(bytes.0.clone()).unwrap())
            .unwrap_or_default()
    }

    /// Waits until Ready is True for the present spec.
    pub async fn ready(&self, name: &str) -> ApiToken {
        self.until(name, "Ready", |token| {
            let current = token.status.as_ref().and_then(|status| status.observed_generation) == token.metadata.generation;
            current && is_true(token, ConditionType::Ready)
        })
        .await
    }

    /// Waits until Ready has that reason.
    pub async fn reason(&self, name: &str, reason: &str) -> ApiToken {
        self.until(name, reason, |token| ready_reason(token) == reason).await
    }

    /// Waits until the ApiToken is as described.
    pub async fn until(&self, name: &str, what: &str, is_so: impl Fn(&ApiToken) -> bool) -> ApiToken {
        let what = format!("ApiToken {}/{name}: {what}", self.namespace);
        eventually(&what, || async { Some(self.token(name).await).filter(&is_so) }).await
    }

    /// The reasons of all Events about an ApiToken.
    pub async fn events(&self, name: &str) -> Vec<String> {
        let events = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about = events
            .items
            .into_iter()
            .filter(|event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name));
        about.filter_map(|event| event.reason).collect()
    }
}

/// Whether the condition is True.
pub fn is_true(token: &ApiToken, type_: ConditionType) -> bool {
    token
        .status
        .as_ref()
        .is_some_and(|status| conditions::is_true(&status.conditions, type_))
}

/// The reason of Ready; empty before there is one.
pub fn ready_reason(token: &ApiToken) -> &str {
    let conditions = token.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions::find(conditions, ConditionType::Ready)
        .map(|ready| ready.reason.as_str())
        .unwrap_or_default()
}

/// The recorded hash of the current token; empty where there is none.
pub fn recorded_hash(token: &ApiToken) -> String {
    let current = token.status.as_ref().and_then(|status| status.token.as_ref());
    current.and_then(|current| current.hash.clone()).unwrap_or_default()
}

/// The hash of a value.
pub fn hash(value: &str) -> String {
    token_value::hash(value.as_bytes())
}
