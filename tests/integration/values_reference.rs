//! The table of values in the chart's README: defaults and meanings from values.yaml, types from its schema.

use std::{collections::BTreeSet, fmt::Write, fs};

use serde_json::Value;

use crate::support::control_plane::source;

/// Helm's own: no chart has it in its values.yaml.
const HELMS_OWN: &str = "global";

/// The table. It panics where a value of the schema is not in values.yaml, or has no comment there.
pub fn table() -> String {
    let schema: Value = serde_json::from_str(&file("values.schema.json")).unwrap();
    let text = file("values.yaml");
    let defaults: Value = serde_saphyr::from_str(&text).unwrap();
    let mut missing = leaves(&schema, "");
    missing.remove(HELMS_OWN);
    let mut table = String::from("| Value | Type | Default | Meaning |\n|---|---|---|---|\n");
    for (path, comment) in commented(&text).into_iter().filter(|(path, _)| missing.remove(path)) {
        assert!(!comment.is_empty(), "{path} has no comment in values.yaml");
        let type_ = type_of(&schema, node(&schema, "/properties/", &path));
        let default = shown(node(&defaults, "/", &path));
        let meaning = comment.replace('|', "\\|");
        writeln!(table, "| `{path}` | {type_} | {default} | {meaning} |").unwrap();
    }
    assert_eq!(
        missing,
        BTreeSet::new(),
        "these stand in values.schema.json, but not in values.yaml"
    );
    table
}

fn file(name: &str) -> String {
    fs::read_to_string(source().join("charts/apitoken-operator").join(name)).unwrap()
}

/// The paths of all values that are not mere parents of others.
fn leaves(schema: &Value, path: &str) -> BTreeSet<String> {
    let Some(properties) = schema["properties"].as_object() else {
        return BTreeSet::from([path.to_owned()]);
    };
    let below = |(name, schema): (&String, &Value)| leaves(schema, &join(path, name));
    properties.iter().flat_map(below).collect()
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// What stands at the path, each step of which is behind that prefix.
fn node<'a>(tree: &'a Value, prefix: &str, path: &str) -> &'a Value {
    let pointer = format!("{prefix}{}", path.replace('.', prefix));
    tree.pointer(&pointer).unwrap_or_else(|| panic!("{path} is not there"))
}

/// The path of every key of values.yaml, with the comment right above it.
fn commented(text: &str) -> Vec<(String, String)> {
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let words = line.trim_start();
        if let Some(words) = words.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        if let Some((key, _)) = words.split_once(':').filter(|(key, _)| key.chars().all(char::is_alphanumeric)) {
            let depth = line.len() - words.len();
            parents.retain(|(of_parent, _)| *of_parent < depth);
            let parent = parents.last().map_or("", |(_, path)| path);
            let path = join(parent, key);
            parents.push((depth, path.clone()));
            found.push((path, comment.join(" ")));
        }
        comment.clear();
    }
    found
}

fn type_of(schema: &Value, value: &Value) -> String {
    let value = match value["$ref"].as_str() {
        Some(reference) => schema.pointer(reference.trim_start_matches('#')).unwrap(),
        None => value,
    };
    if let Some(choices) = value["enum"].as_array() {
        let choices: Vec<String> = choices.iter().map(shown).collect();
        return choices.join(", ");
    }
    match value["type"].as_str().expect("a type") {
        "array" => "list".to_owned(),
        "object" => "map".to_owned(),
        type_ => type_.to_owned(),
    }
}

fn shown(value: &Value) -> String {
    match value.as_str().filter(|text| !text.is_empty()) {
        Some(text) => format!("`{text}`"),
        None => format!("`{value}`"),
    }
}
