//! Writes straight into etcd, by its JSON gateway: through the API server 100,000 objects would take many minutes.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;

/// Writes in one transaction: etcd takes 128 at most.
const BATCH: usize = 100;

/// The etcd of a control plane.
pub struct Etcd {
    client: Client,
    url: String,
}

impl Etcd {
    /// With the certificate that the control plane's script made for the admin.
    pub fn of(plane: &ControlPlane) -> Self {
        let read = |name: &str| std::fs::read(plane.dir().join(name)).unwrap();
        let identity = [read("pki/admin.crt"), read("pki/admin.key")].concat();
        let client = Client::builder()
            .tls_certs_only([Certificate::from_pem(&read("pki/ca.crt")).unwrap()])
            .identity(Identity::from_pem(&identity).unwrap())
            .build()
            .unwrap();
        let port = String::from_utf8(read("port")).unwrap();
        Self {
            client,
            url: format!("https://127.0.0.1:{}/v3/kv", port.trim()),
        }
    }

    /// The object under a key.
    pub async fn get(&self, key: &str) -> Value {
        let answer = self.call("range", &json!({ "key": STANDARD.encode(key) })).await;
        let stored = answer["kvs"][0]["value"].as_str().unwrap();
        serde_json::from_slice(&STANDARD.decode(stored).unwrap()).unwrap()
    }

    /// Puts objects under their keys.
    pub async fn put(&self, objects: impl Iterator<Item = (String, Value)>) {
        let mut puts = objects
            .map(|(key, object)| json!({ "requestPut": { "key": STANDARD.encode(key), "value": STANDARD.encode(object.to_string()) } }))
            .peekable();
        while puts.peek().is_some() {
            let batch: Vec<Value> = puts.by_ref().take(BATCH).collect();
            let answer = self.call("txn", &json!({ "success": batch })).await;
            assert_eq!(answer["succeeded"], true);
        }
    }

    async fn call(&self, what: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}/{what}", self.url)).body(body.to_string());
        let response = request.send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
    }
}
