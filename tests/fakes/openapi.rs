//! Checks requests and answers against a vendor's OpenAPI document.
//!
//! The documents are not part of this project: the environment variable names a folder that holds
//! them. Beside what a document says, no body may have a property that it does not know.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

use super::{
    Reply, Request,
    amendments::{AMENDMENTS, Amendment},
};

/// The folder with the documents.
pub const SPECS: &str = "APITOKEN_VENDOR_SPECS";

/// A vendor's document.
pub struct Document {
    root: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Document {
    /// The document of that file; nothing where nobody says in which folder it is.
    ///
    /// # Panics
    /// Where the folder does not hold it.
    pub fn named(file: &'static str) -> Option<&'static Self> {
        static KNOWN: Mutex<Option<HashMap<&str, &Document>>> = Mutex::new(None);
        let folder = folder()?;
        let mut known = KNOWN.lock().unwrap();
        let known = known.get_or_insert_default();
        Some(
            known
                .entry(file)
                .or_insert_with(|| Box::leak(Box::new(Self::read(folder.join(file), file)))),
        )
    }

    fn read(path: PathBuf, file: &str) -> Self {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let amendments = AMENDMENTS.iter().filter(|amendment| amendment.documents.contains(&file));
        Self::new(&text, amendments)
    }

    /// A document in YAML or JSON.
    pub fn new<'a>(text: &str, amendments: impl IntoIterator<Item = &'a Amendment>) -> Self {
        let mut root: Value = serde_saphyr::from_str(text).unwrap();
        for amendment in amendments {
            amend(&mut root, amendment.pointer, (amendment.value)());
        }
        Self {
            root: in_json_schema(root),
            validators: Mutex::default(),
        }
    }

    /// What in a call that was accepted, and in its answer, is not as the document has it.
    pub fn check(&self, template: &str, request: &Request, reply: &Reply) -> Vec<String> {
        let method = request.method.to_lowercase();
        let Some(operation) = self.root["paths"][template].get(&method) else {
            return vec![format!("{method} {template} is not in the document")];
        };
        let accepted = (200..300).contains(&reply.status);
        let asked = accepted.then(|| self.check_request(operation, request)).flatten();
        let found = asked.into_iter().chain(self.check_reply(operation, reply));
        found.map(|what| format!("{method} {template}: {what}")).collect()
    }

    fn check_request(&self, operation: &Value, request: &Request) -> Option<String> {
        match (operation.get("requestBody"), request.body.is_empty()) {
            (None, true) => None,
            (None, false) => Some("it has a body, and the document none".to_owned()),
            (Some(declared), true) => (declared["required"] == true).then(|| "it lacks its body".to_owned()),
            (Some(declared), false) => self.check_body(&declared["content"], &request.body),
        }
    }

    /// That a vendor limits its calls, or fails, stands in no document.
    fn check_reply(&self, operation: &Value, reply: &Reply) -> Option<String> {
        if reply.status == 429 || reply.status >= 500 {
            return None;
        }
        let Some(declared) = operation["responses"].get(reply.status.to_string()) else {
            return Some(format!("status {} is not in the document", reply.status));
        };
        let content = self.resolved(declared).get("content");
        match (content, reply.body.is_empty()) {
            (None, true) => None,
            (None, false) => Some(format!("status {} has a body, and the document none", reply.status)),
            (Some(content), _) => self.check_body(content, &reply.body),
        }
    }

    fn check_body(&self, content: &Value, body: &[u8]) -> Option<String> {
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return Some("the body is no JSON".to_owned());
        };
        let validator = self.validator(&content["application/json"]["schema"]);
        // The values stand in the texts, so only the places are told.
        let errors: Vec<String> = validator
            .iter_errors(&body)
            .map(|error| format!("{} at `{}`", error.masked(), error.instance_path()))
            .collect();
        (!errors.is_empty()).then(|| errors.join("; "))
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut validators = self.validators.lock().unwrap();
        let compiled = || {
            let mut whole = self.closed(schema);
            whole["components"] = json!({ "schemas": self.closed_components() });
            Arc::new(jsonschema::options().should_validate_formats(true).build(&whole).unwrap())
        };
        validators.entry(schema.to_string()).or_insert_with(compiled).clone()
    }

    fn closed_components(&self) -> Map<String, Value> {
        let schemas = self.root["components"]["schemas"].as_object().unwrap();
        schemas
            .iter()
            .map(|(name, schema)| (name.clone(), self.closed_within(schema)))
            .collect()
    }

    /// The schema of a whole value: what it lists is all that the value may have.
    fn closed(&self, schema: &Value) -> Value {
        let mut closed = self.closed_within(schema);
        let listed = self.resolved(schema);
        let lists = listed.get("properties").is_some() || listed.get("allOf").is_some();
        if lists && listed.get("additionalProperties").is_none() {
            closed["unevaluatedProperties"] = json!(false);
        }
        closed
    }

    /// The schema with each value inside of it closed. One that is only part of another (`allOf`) stays open itself.
    fn closed_within(&self, schema: &Value) -> Value {
        let Value::Object(fields) = schema else {
            return schema.clone();
        };
        let mut closed = fields.clone();
        for (name, field) in &mut closed {
            match (name.as_str(), field) {
                ("items", items) => *items = self.closed(items),
                ("properties", Value::Object(properties)) => properties.values_mut().for_each(|schema| *schema = self.closed(schema)),
                ("allOf" | "anyOf" | "oneOf", Value::Array(parts)) => parts.iter_mut().for_each(|part| *part = self.closed_within(part)),
                _ => {}
            }
        }
        Value::Object(closed)
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.root.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }
}

/// The folder, if somebody names it. Else it is said once that nothing is checked: past the test harness, which hides what tests print.
fn folder() -> Option<PathBuf> {
    static SAID: std::sync::Once = std::sync::Once::new();
    let folder = std::env::var_os(SPECS).map(PathBuf::from);
    if folder.is_none() {
        SAID.call_once(|| {
            let said = writeln!(
                std::io::stderr(),
                "not checked against the vendors' OpenAPI documents: {SPECS} is not set"
            );
            drop(said);
        });
    }
    folder
}

/// Puts the value where the pointer says; one that is there already is not amended any more.
fn amend(root: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = root.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer} has no place"));
    assert_ne!(parent.get(name), Some(&value), "{pointer} needs no amendment");
    parent[name] = value;
}

/// `nullable` of OpenAPI 3.0 in the words of JSON Schema. And a schema that is closed is so as a whole, not by each of its parts (`allOf`):
/// that is done here, as for those that don't say it.
fn in_json_schema(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(in_json_schema).collect(),
        Value::Object(mut fields) => {
            fields.retain(|name, field| name != "additionalProperties" || *field != json!(false));
            let nullable = fields.remove("nullable") == Some(json!(true));
            let schema: Value = fields.into_iter().map(|(name, field)| (name, in_json_schema(field))).collect();
            if nullable {
                json!({ "anyOf": [schema, { "type": "null" }] })
            } else {
                schema
            }
        }
        other => other,
    }
}
