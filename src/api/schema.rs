//! Schemas that the derive can't write: maps with bounds, and the types of Kubernetes, which come
//! without any.

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema, transform::Transform};
use serde_json::{Value, json};

use super::{
    bounds,
    rules::{self, FieldRule},
};

/// Bounds a map of strings: how many entries it has, and how long each value is.
pub fn map(entries: usize, value: usize) -> impl Transform {
    move |schema: &mut Schema| {
        schema.insert("maxProperties".to_owned(), entries.into());
        schema.insert("additionalProperties".to_owned(), json!({"type": "string", "maxLength": value}));
    }
}

/// `status.conditions`: the type of Kubernetes, with the bounds that Kubernetes itself keeps to.
pub fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": bounds::CONDITIONS,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "description": "One aspect of this object's state.",
            "type": "object",
            "required": ["type", "status", "lastTransitionTime", "reason", "message"],
            "properties": {
                "type": {
                    "description": "The aspect, such as Ready.",
                    "type": "string", "maxLength": 316, "minLength": 1,
                },
                "status": {
                    "description": "True, False or Unknown.",
                    "type": "string", "enum": ["True", "False", "Unknown"],
                },
                "observedGeneration": {
                    "description": "metadata.generation that this condition speaks of. It is out of date where it is less than the object's.",
                    "type": "integer", "format": "int64", "minimum": 0, "maximum": bounds::GENERATION,
                },
                "lastTransitionTime": {
                    "description": "When status last changed, RFC 3339.",
                    "type": "string", "format": "date-time",
                },
                "reason": {
                    "description": "One word from a closed list, for alerts and scripts to match on.",
                    "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "description": "What is the matter and what to do about it, for people.",
                    "type": "string", "maxLength": 32768,
                },
            },
        },
    })
}

/// A label selector: the type of Kubernetes, with bounds, and refusing what could never select.
pub fn label_selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "description": "Labels that a namespace must have, with these values.",
                "type": "object",
                "maxProperties": bounds::SELECTOR,
                "additionalProperties": {"type": "string", "maxLength": bounds::LABEL},
                "x-kubernetes-validations": validations(&[rules::LABEL_KEYS, rules::LABEL_VALUES]),
            },
            "matchExpressions": {
                "description": "Conditions on labels; a namespace must meet all.",
                "type": "array",
                "maxItems": bounds::SELECTOR,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "description": "One condition on a label.",
                    "type": "object",
                    "required": ["key", "operator"],
                    "x-kubernetes-validations": validations(&[rules::SELECTOR_OPERATOR]),
                    "properties": {
                        "key": {
                            "description": "Key of the label.",
                            "type": "string", "maxLength": bounds::LABEL_KEY,
                            "x-kubernetes-validations": validations(&[rules::SELECTOR_KEY]),
                        },
                        "operator": {
                            "description": "In or NotIn: the label's value is, or is not, one of values. Exists or DoesNotExist: the label is there, or not.",
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values for In and NotIn.",
                            "type": "array", "maxItems": bounds::LIST,
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string", "maxLength": bounds::LABEL},
                            "x-kubernetes-validations": validations(&[rules::SELECTOR_VALUES]),
                        },
                    },
                },
            },
        },
    })
}

fn validations(rules: &[FieldRule]) -> Vec<Value> {
    rules.iter().map(|rule| json!(Rule::from(*rule))).collect()
}
