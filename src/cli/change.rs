//! Changes of an ApiToken: patches of what a command changes, and nothing else.

use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{cluster::Cluster, output, story};
use crate::{
    api::{
        ApiToken,
        api_token::{DesiredState, ObservedState},
        conditions::{self, ConditionType},
        names,
    },
    lifecycle::rotation::tells_leak,
};

/// The name under which the plugin writes.
pub const MANAGER: &str = "kubectl-apitoken";
/// How often a patch is made again from what somebody else changed meanwhile.
const TRIES: usize = 5;

/// Whether a change is only tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// It is made.
    None,
    /// The API server checks it, and keeps nothing of it.
    Server,
}

/// What each command that writes can be asked.
#[derive(clap::Args)]
pub struct DryRun {
    /// server: have the API server check the change, and keep nothing of it.
    #[arg(long, value_enum, default_value = "none")]
    pub dry_run: Mode,
}

impl DryRun {
    /// Whether nothing is kept.
    pub fn is_set(&self) -> bool {
        self.dry_run == Mode::Server
    }

    /// Says what was done, as kubectl does.
    pub fn done(&self, token: &ApiToken, what: &str) -> anyhow::Result<()> {
        let dry = if self.is_set() { " (server dry run)" } else { "" };
        output::print(format!("apitoken.apitoken.dev/{} {what}{dry}\n", token.name_any()))
    }

    /// Parameters of a patch.
    pub fn patch_params(&self) -> PatchParams {
        PatchParams {
            dry_run: self.is_set(),
            field_manager: Some(MANAGER.to_owned()),
            ..Default::default()
        }
    }
}

/// Patches the object that was read, and not another one of its name.
pub async fn patch(cluster: &Cluster, token: &ApiToken, dry_run: &DryRun, mut change: Value) -> anyhow::Result<ApiToken> {
    change["metadata"]["uid"] = json!(token.uid());
    let api = cluster.namespaced(&token.namespace().unwrap_or_default());
    cluster
        .call(api.patch(&token.name_any(), &dry_run.patch_params(), &Patch::Merge(change)))
        .await
}

/// Asks for a rotation, with an overlap of its own where one is given. Gives the object and the text of the request.
///
/// The change depends on annotations that others may write: it is made under the version that was read.
pub async fn request_rotation(
    cluster: &Cluster,
    token: &ApiToken,
    overlap: Option<&str>,
    dry_run: &DryRun,
) -> anyhow::Result<(ApiToken, String)> {
    let mut token = token.clone();
    let request = Timestamp::now().to_string();
    for _ in 1..TRIES {
        match patch(cluster, &token, dry_run, rotation(&token, &request, overlap)).await {
            Err(error) if super::cluster::is_conflict(&error) => {
                let api = cluster.namespaced(&token.namespace().unwrap_or_default());
                let now: ApiToken = cluster.call(api.get(&token.name_any())).await?;
                if now.uid() != token.uid() {
                    return Err(error);
                }
                token = now;
            }
            patched => return Ok((patched?, request)),
        }
    }
    let patched = patch(cluster, &token, dry_run, rotation(&token, &request, overlap)).await?;
    Ok((patched, request))
}

/// Takes the overlap away that came with that request, unless another one was made since.
pub async fn drop_overlap(cluster: &Cluster, token: &ApiToken, request: &str) -> anyhow::Result<()> {
    let path = |name: &str| format!("/metadata/annotations/{}", name.replace('/', "~1"));
    let change = serde_json::from_value(json!([
        { "op": "test", "path": path(names::ROTATE_REQUESTED_AT_ANNOTATION), "value": request },
        { "op": "remove", "path": path(names::ROTATE_OVERLAP_ANNOTATION) },
    ]))?;
    let api: Api<ApiToken> = cluster.namespaced(&token.namespace().unwrap_or_default());
    let params = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..Default::default()
    };
    cluster
        .call(api.patch(&token.name_any(), &params, &Patch::<()>::Json(change)))
        .await?;
    Ok(())
}

/// An overlap that stands there from an earlier request is taken away, but not from under one that is not answered yet:
/// it may be a leak's.
fn rotation(token: &ApiToken, request: &str, overlap: Option<&str>) -> Value {
    let mut annotations = json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: request });
    if overlap.is_some() || !(story::is_open(token) && is_leak(token)) {
        annotations[names::ROTATE_OVERLAP_ANNOTATION] = json!(overlap);
    }
    json!({ "metadata": { "resourceVersion": token.resource_version(), "annotations": annotations } })
}

/// Whether the annotations tell of a leak.
pub fn is_leak(token: &ApiToken) -> bool {
    let overlap = token.annotations().get(names::ROTATE_OVERLAP_ANNOTATION);
    overlap.is_some_and(|overlap| tells_leak(overlap))
}

/// Why a rotation would not be done now, and what to do. Pure.
pub fn obstacle(token: &ApiToken) -> Option<String> {
    let status = token.status.clone().unwrap_or_default();
    let name = token.name_any();
    let why = if token.metadata.deletion_timestamp.is_some() {
        "is being deleted: its tokens end with it".to_owned()
    } else if token.spec.state == DesiredState::Revoked || status.state == Some(ObservedState::Revoked) {
        "is revoked for good: nothing of it works, and nothing is issued for it; make another ApiToken where one is needed".to_owned()
    } else if token.spec.state == DesiredState::Suspended {
        format!(
            "is suspended, so nothing of it works now and it is not rotated: to end its value for good, kubectl apitoken revoke {name}; \
             to go on with a new one, rotate it after kubectl apitoken activate {name}, or set spec.suspendPolicy to Withdraw before that"
        )
    } else if status.state == Some(ObservedState::Expired) && token.spec.lifetime.is_none() {
        "has expired at a fixed end: set a later spec.expiresAt, and a new value is issued".to_owned()
    } else if conditions::is_true(&status.conditions, ConditionType::Paused) || token.is_paused() {
        format!(
            "is paused, so the operator does nothing to it: take the annotation {} away, or kubectl apitoken suspend {name}, which \
             verifiers honour all the same; a vendor does not",
            names::PAUSED_ANNOTATION
        )
    } else if status.token.is_none() {
        "has no token yet: kubectl apitoken describe says why".to_owned()
    } else {
        return None;
    };
    Some(format!("ApiToken {}/{name} {why}", token.namespace().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    const OPEN: &str = "apitoken.dev/rotate-requested-at";
    const OVERLAP: &str = "apitoken.dev/rotate-overlap";

    fn annotated(annotations: Value, answered: &str) -> ApiToken {
        let mut token = samples::token("ci", json!({}), json!({ "token": {}, "lastRotationRequest": answered }));
        token.metadata.annotations = serde_json::from_value(annotations).unwrap();
        token
    }

    #[test]
    fn a_request_takes_an_old_overlap_away_but_not_from_an_open_leak() {
        for (annotations, overlap, expected, why) in [
            (json!({}), None, json!({ OPEN: "now", OVERLAP: null }), "nothing stands there"),
            (
                json!({ OPEN: "old", OVERLAP: "0s" }),
                None,
                json!({ OPEN: "now", OVERLAP: null }),
                "the leak was answered",
            ),
            (
                json!({ OPEN: "new", OVERLAP: "0s" }),
                None,
                json!({ OPEN: "now" }),
                "the leak is open",
            ),
            (
                json!({ OPEN: "new", OVERLAP: "6h" }),
                None,
                json!({ OPEN: "now", OVERLAP: null }),
                "an open request of another kind",
            ),
            (
                json!({}),
                Some("0s"),
                json!({ OPEN: "now", OVERLAP: "0s" }),
                "an overlap is asked for",
            ),
        ] {
            let patch = rotation(&annotated(annotations, "old"), "now", overlap);
            assert_eq!(patch["metadata"]["annotations"], expected, "{why}");
        }
    }

    #[test]
    fn what_stands_in_the_way_of_a_rotation_is_told() {
        for (spec, status, expected) in [
            (json!({}), json!({ "state": "Active", "token": {} }), None),
            (json!({ "state": "Revoked" }), json!({ "token": {} }), Some("revoked for good")),
            (json!({}), json!({ "state": "Revoked" }), Some("revoked for good")),
            (
                json!({ "state": "Suspended" }),
                json!({ "state": "Active", "token": {} }),
                Some("is suspended"),
            ),
            (
                json!({}),
                json!({ "state": "Expired", "token": {} }),
                Some("a later spec.expiresAt"),
            ),
            (json!({ "lifetime": "1h" }), json!({ "state": "Expired", "token": {} }), None),
            (
                json!({}),
                json!({ "token": {}, "conditions": [{ "type": "Paused", "status": "True", "reason": "Paused", "message": "", "lastTransitionTime": samples::NOW }] }),
                Some("is paused"),
            ),
            (json!({}), json!({}), Some("has no token yet")),
        ] {
            let told = obstacle(&samples::token("ci", spec.clone(), status));
            assert_eq!(told.is_some(), expected.is_some(), "{spec}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{spec}");
        }
    }
}
