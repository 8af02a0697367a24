//! The CustomResourceDefinitions: what `apitoken-operator crds` prints and `crds/` holds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{ApiToken, ClusterTokenIssuer, TokenIssuer};

/// The longest RFC 3339 time: nine digits of a second and a numeric offset.
const TIME: i64 = 35;

/// The definitions of all kinds, always in the same order.
///
/// Use these and not `ApiToken::crd()`: here is added what the derive can't say.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![
        definition::<ApiToken>(),
        definition::<TokenIssuer>(),
        definition::<ClusterTokenIssuer>(),
    ]
}

/// The files of `crds/`: name and content, in the order of [`all`].
///
/// # Errors
/// A definition can't be written as YAML.
pub fn files() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    all()
        .iter()
        .map(|crd| Ok((format!("{}.yaml", crd.spec.names.plural), serde_saphyr::to_string(crd)?)))
        .collect()
}

/// All definitions as one YAML text with several documents, for `kubectl apply -f -`.
///
/// # Errors
/// A definition can't be written as YAML.
pub fn yaml() -> Result<String, serde_saphyr::ser::Error> {
    Ok(files()?.into_iter().map(|(_, text)| format!("---\n{text}")).collect())
}

fn definition<K: CustomResourceExt>() -> CustomResourceDefinition {
    let mut crd = K::crd();
    for root in crd
        .spec
        .versions
        .iter_mut()
        .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
    {
        complete(root);
        // Else kstatus and Helm's `--wait` take an object for current that nobody has seen yet.
        if let Some(status) = root.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(json!({"observedGeneration": -1})));
        }
    }
    crd
}

/// Makes a schema, and all within it, fit for the API server.
fn complete(schema: &mut JSONSchemaProps) {
    // A null of a user is then pruned like an absent field, and no rule has to think of it.
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    if schema.format.as_deref() == Some("date-time") {
        schema.max_length = Some(TIME);
    }
    if let Some(description) = &mut schema.description {
        *description = description.replace('\n', " ");
    }
    children(schema).for_each(complete);
}

fn children(schema: &mut JSONSchemaProps) -> impl Iterator<Item = &mut JSONSchemaProps> {
    let items = match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&mut **items),
        _ => None,
    };
    let values = match &mut schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(&mut **values),
        _ => None,
    };
    schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .chain(items)
        .chain(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_yaml_is_read_back_as_what_was_written() {
        let read: Vec<CustomResourceDefinition> = serde_saphyr::from_multiple(&yaml().unwrap()).unwrap();
        assert_eq!(read, all());
    }

    #[test]
    fn every_field_is_described_and_has_bounds() {
        let mut unbounded = Vec::new();
        for mut crd in all() {
            for root in crd
                .spec
                .versions
                .iter_mut()
                .filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
            {
                check(root, &crd.spec.names.kind, &mut unbounded);
            }
        }
        assert_eq!(unbounded, Vec::<String>::new());
    }

    fn check(schema: &mut JSONSchemaProps, path: &str, unbounded: &mut Vec<String>) {
        let bounded = match schema.type_.as_deref() {
            Some("string") => schema.max_length.is_some() || schema.enum_.is_some(),
            Some("integer") => schema.minimum.is_some() && schema.maximum.is_some(),
            Some("array") => schema.max_items.is_some() && schema.x_kubernetes_list_type.is_some(),
            Some("object") => schema.properties.is_some() || schema.max_properties.is_some(),
            Some("boolean") => true,
            _ => false,
        };
        if !bounded {
            unbounded.push(format!("{path} has no bound"));
        }
        if schema.nullable.is_some() || schema.enum_.iter().flatten().any(|value| value.0.is_null()) {
            unbounded.push(format!("{path} takes null"));
        }
        if schema.format.as_deref().is_some_and(|format| format.starts_with("uint")) {
            unbounded.push(format!("{path} has a format that Kubernetes does not know"));
        }
        for (name, child) in schema.properties.iter().flatten() {
            if child.description.as_deref().is_none_or(|text| text.len() < 10) {
                unbounded.push(format!("{path}.{name} has no description"));
            }
        }
        for child in children(schema) {
            check(child, path, unbounded);
        }
    }
}
