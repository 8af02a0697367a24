//! The reference of the API as text, made from the CRDs.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

const HEAD: &str = "# API reference\n\nMade from the code by `make generate`. Group `apitoken.dev`, version `v1alpha1`. `[]` stands for each entry of a \
     list, `<key>` for each key of a map. The same is shown by `kubectl explain --recursive apitoken.spec`.\n";

/// The reference of these kinds.
pub fn text(crds: &[CustomResourceDefinition]) -> String {
    let mut text = HEAD.to_owned();
    for crd in crds {
        let names = &crd.spec.names;
        write!(text, "\n## {}\n\n", names.kind).unwrap();
        let short = names.short_names.iter().flatten().map(|name| format!(", short `{name}`"));
        let short: String = short.collect();
        writeln!(text, "{} (`{}`{short}).", crd.spec.scope, names.plural).unwrap();
        let schema = crd.spec.versions[0].schema.as_ref().unwrap();
        let root = schema.open_api_v3_schema.as_ref().unwrap();
        for (part, schema) in root.properties.iter().flatten() {
            table(&mut text, &names.kind, part, schema);
        }
    }
    text
}

fn table(text: &mut String, kind: &str, part: &str, schema: &JSONSchemaProps) {
    let about = schema.description.as_deref().unwrap_or_default();
    write!(text, "\n### {kind}: {part}\n\n{about}\n\n").unwrap();
    rules(schema).for_each(|rule| writeln!(text, "- {rule}").unwrap());
    if rules(schema).next().is_some() {
        text.push('\n');
    }
    text.push_str("| field | type | meaning | default and bounds |\n|---|---|---|---|\n");
    fields(text, "", schema);
}

fn fields(text: &mut String, path: &str, schema: &JSONSchemaProps) {
    for (name, field) in schema.properties.iter().flatten() {
        let required = schema.required.iter().flatten().any(|required| required == name);
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        row(text, &path, field, required);
        nested(text, &path, field);
    }
}

/// What lies below a field.
fn nested(text: &mut String, path: &str, field: &JSONSchemaProps) {
    fields(text, path, field);
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
        nested(text, &format!("{path}[]"), item);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &field.additional_properties {
        nested(text, &format!("{path}.<key>"), value);
    }
}

fn row(text: &mut String, path: &str, field: &JSONSchemaProps, required: bool) {
    let about = field.description.as_deref().unwrap_or_default();
    let mut limits = bounds(field);
    if required {
        limits.insert(0, "required".to_owned());
    }
    let line = format!("| `{path}` | {} | {} | {} |", type_of(field), cell(about), cell(&limits.join("; ")));
    writeln!(text, "{line}").unwrap();
}

/// A text that doesn't end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn type_of(field: &JSONSchemaProps) -> String {
    let named = field.type_.as_deref().unwrap_or("any");
    if let Some(JSONSchemaPropsOrArray::Schema(item)) = &field.items {
        return format!("list of {}", type_of(item));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &field.additional_properties {
        return format!("map to {}", type_of(value));
    }
    match field.format.as_deref() {
        Some("date-time") => "time (RFC 3339)".to_owned(),
        _ => named.to_owned(),
    }
}

/// Default and bounds, in words.
fn bounds(field: &JSONSchemaProps) -> Vec<String> {
    let mut words = Vec::new();
    let mut add = |what: &str, value: Option<String>| words.extend(value.map(|value| format!("{what} {value}")));
    add("default", field.default.as_ref().map(|value| format!("`{}`", value.0)));
    let values = field
        .enum_
        .as_ref()
        .map(|values| values.iter().map(|value| format!("`{}`", value.0)).collect::<Vec<_>>());
    add("one of", values.map(|values| values.join(", ")));
    add("at least", field.minimum.map(|value| value.to_string()));
    add("at most", field.maximum.map(|value| value.to_string()));
    let characters = |value: i64| format!("{value} characters");
    add("at least", field.min_length.map(characters));
    add("at most", field.max_length.map(characters));
    add("at least", field.min_items.map(|value| format!("{value} entries")));
    add("at most", field.max_items.map(|value| format!("{value} entries")));
    add("at most", field.max_properties.map(|value| format!("{value} keys")));
    add("matches", field.pattern.as_ref().map(|pattern| format!("`{pattern}`")));
    words.extend(rules(field));
    words
}

/// What is said to who breaks a rule.
fn rules(field: &JSONSchemaProps) -> impl Iterator<Item = String> {
    field
        .x_kubernetes_validations
        .iter()
        .flatten()
        .filter_map(|rule| rule.message.clone())
}
