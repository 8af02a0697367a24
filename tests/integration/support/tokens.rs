//! ApiTokens and Secrets as a user makes and sees them.

use apitoken_operator::{
    api::{
        ApiToken, ApiTokenStatus, TokenIssuer,
        api_token::{DesiredState, ObservedState, PreviousToken},
        conditions::{self, ConditionType},
        names,
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

use super::{control_plane, eventually, in_time};

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

    /// Gives a user of that name the rights of the ClusterRole `view` in the namespace, the chart's among them.
    pub async fn viewer(&self, user: &str) {
        let plane = control_plane::shared();
        let namespace = format!("--namespace={}", self.namespace);
        plane.kubectl(&[
            "create",
            "rolebinding",
            user,
            "--clusterrole=view",
            &format!("--user={user}"),
            &namespace,
        ]);
        let (list, user) = (["auth", "can-i", "list", "apitokens.apitoken.dev"], format!("--as={user}"));
        eventually("the rights are there", || async {
            let answer = plane.try_kubectl(&[&list[..], &[&user, &namespace]].concat());
            answer.status.success().then_some(())
        })
        .await;
    }

    /// Creates a TokenIssuer.
    pub async fn issuer(&self, name: &str, spec: Value) -> TokenIssuer {
        let object = json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "TokenIssuer", "metadata": { "name": name }, "spec": spec });
        self.api()
            .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
            .await
            .unwrap()
    }

    /// Creates a Secret with a credential under the key `token`.
    pub async fn credential(&self, name: &str, value: &str) -> Secret {
        let object = json!({ "metadata": { "name": name }, "stringData": { "token": value } });
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
        self.own_secret(name, json!({ "theirs": "x" })).await
    }

    /// Creates a Secret of a user's own with these keys.
    pub async fn own_secret(&self, name: &str, keys: Value) -> Secret {
        let object = json!({ "metadata": { "name": name }, "stringData": keys });
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

    /// Sets annotations on an ApiToken.
    pub async fn annotate(&self, name: &str, annotations: Value) {
        self.change(name, json!({ "metadata": { "annotations": annotations } })).await;
    }

    /// Asks for a rotation; any value that was not there before does.
    pub async fn request(&self, name: &str, value: &str) {
        self.annotate(name, json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: value })).await;
    }

    /// Asks for a rotation that ends the old value at once.
    pub async fn leaked(&self, name: &str, value: &str) {
        self.annotate(
            name,
            json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: value, names::ROTATE_OVERLAP_ANNOTATION: "0s" }),
        )
        .await;
    }

    /// Changes what the operator and verifiers write, as an admin can.
    pub async fn change_status(&self, name: &str, patch: Value) {
        let api: Api<ApiToken> = self.api();
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": patch })))
            .await
            .unwrap();
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

    /// Waits until the token was rotated so often and is Ready.
    pub async fn rotated(&self, name: &str, times: i64) -> ApiToken {
        self.until(name, &format!("Ready after {times} rotations"), |token| {
            rotations(token) == times && status(token).pending.is_none() && is_true(token, ConditionType::Ready)
        })
        .await
    }

    /// Waits until a new value is announced, which the Secret does not show yet.
    pub async fn announced(&self, name: &str) -> ApiToken {
        self.until(name, "a new value is announced", |token| pending_hash(token).is_some())
            .await
    }

    /// Waits until the operator has looked at the token, with all that was so before this was asked:
    /// what it did not do by then, it does not do.
    pub async fn looked_at(&self, name: &str) -> ApiToken {
        let asked = self
            .change(
                name,
                json!({ "spec": { "description": format!("look at {}", jiff::Timestamp::now()) } }),
            )
            .await;
        self.until(name, "looked at", |token| {
            status(token).observed_generation >= asked.metadata.generation
        })
        .await
    }

    /// Waits until the operator has looked at the token, though it writes nothing: what was asked of it
    /// later is done.
    pub async fn passed_by(&self, name: &str) -> ApiToken {
        self.nudge(name).await;
        let witness = format!("witness-of-{name}");
        self.declare(&witness, json!({})).await;
        self.ready(&witness).await;
        self.delete::<ApiToken>(&witness).await;
        self.token(name).await
    }

    /// Waits until Ready has that reason.
    pub async fn reason(&self, name: &str, reason: &str) -> ApiToken {
        self.until(name, reason, |token| reason_of(token, ConditionType::Ready) == reason)
            .await
    }

    /// Waits until the ApiToken is as described.
    pub async fn until(&self, name: &str, what: &str, is_so: impl Fn(&ApiToken) -> bool) -> ApiToken {
        let found = in_time(|| async { Some(self.token(name).await).filter(&is_so) }).await;
        match found {
            Some(token) => token,
            None => panic!(
                "ApiToken {}/{name} is not so in time: {what}; its status is {}",
                self.namespace,
                json!(self.token(name).await.status)
            ),
        }
    }

    /// The reasons of all Events about an ApiToken.
    pub async fn events(&self, name: &str) -> Vec<String> {
        self.told(name).await.into_iter().filter_map(|event| event.reason).collect()
    }

    /// Waits for an Event with that reason; what it says.
    pub async fn note(&self, name: &str, reason: &str) -> String {
        eventually(&format!("the Event {reason} about {name}"), || async {
            let events = self.told(name).await;
            let event = events.into_iter().find(|event| event.reason.as_deref() == Some(reason))?;
            event.note
        })
        .await
    }

    /// How often an Event with that reason was published.
    pub async fn times_told(&self, name: &str, reason: &str) -> i32 {
        let events = self.told(name).await;
        let times = events.iter().filter(|event| event.reason.as_deref() == Some(reason));
        times.map(|event| event.series.as_ref().map_or(1, |series| series.count)).sum()
    }

    async fn told(&self, name: &str) -> Vec<Event> {
        let mut events = self.api::<Event>().list(&ListParams::default()).await.unwrap().items;
        events.retain(|event| event.regarding.as_ref().and_then(|object| object.name.as_deref()) == Some(name));
        events
    }
}

/// What the operator observed; empty before it looked.
pub fn status(token: &ApiToken) -> ApiTokenStatus {
    token.status.clone().unwrap_or_default()
}

/// The state that was observed.
pub fn state(token: &ApiToken) -> Option<ObservedState> {
    status(token).state
}

/// Whether the condition is True.
pub fn is_true(token: &ApiToken, type_: ConditionType) -> bool {
    conditions::is_true(&status(token).conditions, type_)
}

/// The reason of a condition; empty before there is one.
pub fn reason_of(token: &ApiToken, type_: ConditionType) -> String {
    conditions::find(&status(token).conditions, type_)
        .map(|condition| condition.reason.clone())
        .unwrap_or_default()
}

/// The message of a condition; empty before there is one.
pub fn message_of(token: &ApiToken, type_: ConditionType) -> String {
    conditions::find(&status(token).conditions, type_)
        .map(|condition| condition.message.clone())
        .unwrap_or_default()
}

/// The recorded hash of the current token; empty where there is none.
pub fn recorded_hash(token: &ApiToken) -> String {
    status(token).token.and_then(|current| current.hash).unwrap_or_default()
}

/// The hash of the value that is announced.
pub fn pending_hash(token: &ApiToken) -> Option<String> {
    status(token).pending?.hash
}

/// The hashes of the tokens that were replaced and still work.
pub fn previous_hashes(token: &ApiToken) -> Vec<String> {
    status(token).previous.into_iter().filter_map(|previous| previous.hash).collect()
}

/// How often the token was rotated.
pub fn rotations(token: &ApiToken) -> i64 {
    status(token).rotations.unwrap_or(0)
}

/// Why it was rotated last.
pub fn last_rotation_reason(token: &ApiToken) -> String {
    status(token).last_rotation_reason.unwrap_or_default()
}

/// The hashes that are good while the token is active: of the current value, of an announced one,
/// and of those replaced tokens that have not ended.
pub fn good_hashes(token: &ApiToken, has_not_ended: impl Fn(&PreviousToken) -> bool) -> Vec<String> {
    let status = status(token);
    let current = status.token.and_then(|current| current.hash);
    let announced = status.pending.and_then(|pending| pending.hash);
    let previous = status
        .previous
        .into_iter()
        .filter(has_not_ended)
        .filter_map(|previous| previous.hash);
    current.into_iter().chain(announced).chain(previous).collect()
}

/// Whether the token works, as declared and as observed.
pub fn works(token: &ApiToken) -> bool {
    let stays = token.metadata.deletion_timestamp.is_none();
    stays && token.spec.state == DesiredState::Active && state(token) == Some(ObservedState::Active)
}

/// The hash of a value.
pub fn hash(value: &str) -> String {
    token_value::hash(value.as_bytes())
}
