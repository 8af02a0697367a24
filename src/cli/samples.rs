//! Objects for the tests of the plugin.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::api::ApiToken;

/// The time of the tests.
pub const NOW: &str = "2030-01-01T00:00:00Z";

/// The same as a time.
pub fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// An ApiToken of the namespace `shop`, a month old.
pub fn token(name: &str, spec: Value, status: Value) -> ApiToken {
    serde_json::from_value(json!({
        "apiVersion": "apitoken.dev/v1alpha1",
        "kind": "ApiToken",
        "metadata": {
            "name": name, "namespace": "shop", "uid": "3f0c9a1b-7200-4000-8000-000000000000", "generation": 1,
            "creationTimestamp": "2029-12-01T00:00:00Z",
        },
        "spec": spec,
        "status": status,
    }))
    .unwrap()
}
