//! A control plane of several teams, with many Secrets that are nobody's here.

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{Api, api::ListParams};
use serde_json::json;

use super::{
    etcd::Etcd,
    support::{control_plane::ControlPlane, eventually, tokens::Team},
};

/// Requests under way at once, as many as the operator has.
pub const AT_ONCE: usize = 32;
/// The tokens are spread over so many namespaces.
const NAMESPACES: usize = 20;
/// What a foreign Secret holds.
const FOREIGN_BYTES: usize = 1024;

/// A control plane of its own.
pub struct World {
    pub plane: ControlPlane,
    teams: Vec<Team>,
}

impl World {
    /// With so many foreign Secrets.
    pub async fn new(name: &str, foreign_secrets: usize) -> Self {
        let plane = ControlPlane::with_chart(name);
        let mut teams = Vec::new();
        for _ in 0..NAMESPACES {
            teams.push(Team::new(plane.admin().await, &plane.namespace("bench").await));
        }
        put_secrets(&plane, foreign_secrets).await;
        Self { plane, teams }
    }

    /// Whose token that is.
    pub fn team(&self, number: usize) -> &Team {
        &self.teams[number % NAMESPACES]
    }
}

async fn put_secrets(plane: &ControlPlane, count: usize) {
    let namespace = plane.namespace("foreign").await;
    let secrets = (0..count).map(|number| {
        let name = format!("secret-{number:06}");
        let key = format!("/registry/secrets/{namespace}/{name}");
        (key, foreign(&namespace, &name, number))
    });
    Etcd::of(plane).put(secrets).await;
    let api: Api<Secret> = Api::namespaced(plane.admin().await, &namespace);
    eventually("the API server knows all Secrets", || async {
        let one = api.list(&ListParams::default().limit(1)).await.unwrap();
        let rest = usize::try_from(one.metadata.remaining_item_count.unwrap_or_default()).unwrap();
        (one.items.len() + rest == count).then_some(())
    })
    .await;
}

fn foreign(namespace: &str, name: &str, number: usize) -> serde_json::Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": namespace, "name": name, "uid": format!("{number:08x}-0000-4000-8000-{number:012x}"),
            "creationTimestamp": Time(Timestamp::UNIX_EPOCH), "labels": { "app.kubernetes.io/managed-by": "somebody-else" },
        },
        "type": "Opaque",
        "data": { "value": ByteString(vec![b'x'; FOREIGN_BYTES]) },
    })
}
