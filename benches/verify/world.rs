//! A control plane with so many ApiTokens, as the API server stores them.

use apitoken_operator::api::ApiToken;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use super::{
    etcd::Etcd,
    support::{
        control_plane::ControlPlane,
        eventually,
        tokens::{self, Team},
    },
};

/// What is asked of each token: of which issuer it must be, and a scope.
pub const QUESTION: &str = "/authorize?issuer=ClusterTokenIssuer/builtin&scope=orders:read";
const NAMESPACES: usize = 100;
const FIRST: &str = "token-000000";

/// A control plane whose tokens get more and more.
pub struct World {
    pub plane: ControlPlane,
    etcd: Etcd,
    namespaces: Vec<String>,
    /// An ApiToken as the API server stored it.
    stored: Value,
    count: usize,
}

impl World {
    /// One with an issuer and one token.
    pub async fn new() -> Self {
        let plane = ControlPlane::with_chart("verify");
        plane.cluster_issuer("builtin", json!({ "builtin": {} })).await;
        let mut namespaces = Vec::new();
        for _ in 0..NAMESPACES {
            namespaces.push(plane.namespace("team").await);
        }
        let team = Team::new(plane.admin().await, &namespaces[0]);
        let uid = team
            .declare(FIRST, json!({ "scopes": ["orders:read", "orders:write"], "audiences": ["shop"] }))
            .await
            .metadata
            .uid;
        team.change_status(FIRST, status(&namespaces[0], FIRST, &id(&uid.unwrap()), &value(0)))
            .await;
        let etcd = Etcd::of(&plane);
        let stored = etcd.get(&key(&namespaces[0], FIRST)).await;
        Self {
            plane,
            etcd,
            namespaces,
            stored,
            count: 1,
        }
    }

    /// Makes them so many.
    pub async fn grow(&mut self, count: usize) {
        let added = (self.count..count).map(|number| self.object(number));
        self.etcd.put(added).await;
        self.count = count;
        // The API server answers from a cache that follows etcd.
        let api: Api<ApiToken> = Api::all(self.plane.admin().await);
        eventually("the API server knows all tokens", || async {
            let one = api.list(&ListParams::default().limit(1)).await.unwrap();
            (one.metadata.remaining_item_count == i64::try_from(count - 1).ok()).then_some(())
        })
        .await;
    }

    fn object(&self, number: usize) -> (String, Value) {
        let namespace = &self.namespaces[number % NAMESPACES];
        let name = format!("token-{number:06}");
        let uid = format!("{number:08x}-0000-4000-8000-{number:012x}");
        let mut object = self.stored.clone();
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["namespace"] = json!(namespace);
        object["status"] = status(namespace, &name, &id(&uid), &value(number));
        (key(namespace, &name), object)
    }
}

/// The value of a token.
pub fn value(number: usize) -> String {
    format!("apt_{number:049}")
}

fn id(uid: &str) -> String {
    let digits: String = uid.chars().filter(char::is_ascii_hexdigit).take(10).collect();
    format!("{digits}-1")
}

fn key(namespace: &str, name: &str) -> String {
    format!("/registry/apitoken.dev/apitokens/{namespace}/{name}")
}

/// As the operator writes it for a token that works.
fn status(namespace: &str, name: &str, id: &str, value: &str) -> Value {
    let condition = |type_: &str, status: &str, message: String| {
        json!({
            "type": type_, "status": status, "reason": type_, "message": message, "observedGeneration": 1,
            "lastTransitionTime": "2030-01-01T00:00:00Z",
        })
    };
    json!({
        "observedGeneration": 1, "state": "Active", "attempts": 1,
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
        "token": {
            "id": id, "hint": "xxxx", "hash": tokens::hash(value), "name": format!("{namespace}.{name}"), "account": format!("{namespace}.{name}"),
            "issuedAt": "2026-01-01T00:00:00Z",
        },
        "secretRef": { "name": name, "resourceVersion": "1000" },
        "availableActions": { "activate": false, "suspend": true, "revoke": true, "rotate": true, "delete": true },
        "conditions": [
            condition("Ready", "True", format!("token {id} is active; its value is in Secret {name}")),
            condition("Issued", "True", format!("token {id} was issued")),
            condition("SecretSynced", "True", format!("Secret {name} is as declared")),
            condition("Active", "True", "the token works".to_owned()),
            condition("Reconciling", "False", String::new()),
            condition("Stalled", "False", String::new()),
        ],
    })
}
