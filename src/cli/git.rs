//! Whether an object comes from Git, where a change by hand is put back. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Labels and annotations by which the tools mark what is theirs.
const MARKS: [(&str, &str); 4] = [
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];
/// Names under which they write.
const MANAGERS: [(&str, &str); 3] = [
    ("argocd-controller", "Argo CD"),
    ("kustomize-controller", "Flux"),
    ("helm-controller", "Flux"),
];

/// The tool that applies this object from Git, where one does.
pub fn manager(metadata: &ObjectMeta) -> Option<&'static str> {
    let keys = || metadata.labels.iter().chain(&metadata.annotations).flat_map(|map| map.keys());
    let marked = MARKS.iter().find(|(mark, _)| keys().any(|key| key == mark));
    let written = || {
        let mut managers = metadata
            .managed_fields
            .iter()
            .flatten()
            .filter_map(|fields| fields.manager.as_deref());
        managers.find_map(|manager| MANAGERS.iter().find(|(name, _)| *name == manager))
    };
    marked.or_else(written).map(|(_, tool)| *tool)
}

/// What to tell whoever changes `field` by hand.
pub fn warning(metadata: &ObjectMeta, field: &str) -> Option<String> {
    let tool = manager(metadata)?;
    Some(format!(
        "Warning: {tool} applies this object from Git: where {field} is declared there, it puts this back. Change it in Git too."
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn metadata(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_tools_are_known_by_their_marks() {
        for (value, tool) in [
            (json!({}), None),
            (json!({ "labels": { "app.kubernetes.io/instance": "x" } }), None),
            (json!({ "labels": { "argocd.argoproj.io/instance": "x" } }), Some("Argo CD")),
            (json!({ "annotations": { "argocd.argoproj.io/tracking-id": "x" } }), Some("Argo CD")),
            (json!({ "labels": { "kustomize.toolkit.fluxcd.io/name": "x" } }), Some("Flux")),
            (json!({ "managedFields": [{ "manager": "helm-controller" }] }), Some("Flux")),
            (json!({ "managedFields": [{ "manager": "kubectl" }] }), None),
        ] {
            assert_eq!(manager(&metadata(value.clone())), tool, "{value}");
        }
    }
}
