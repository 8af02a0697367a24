//! The schemas and validation rules of the API on a real API server, with the manifests in `tests/manifests`.

use std::collections::BTreeSet;

use apitoken_operator::api::{ApiToken, ClusterTokenIssuer, TokenIssuer, crds};
use k8s_openapi::{
    api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, PostParams},
    core::{Request, Status},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::control_plane;

const NEW: [&str; 4] = [
    include_str!("../manifests/api-tokens-accepted.yaml"),
    include_str!("../manifests/api-tokens-refused.yaml"),
    include_str!("../manifests/issuers-accepted.yaml"),
    include_str!("../manifests/issuers-refused.yaml"),
];
const CHANGES: [&str; 2] = [
    include_str!("../manifests/api-tokens-changes.yaml"),
    include_str!("../manifests/issuers-changes.yaml"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_are_accepted_or_refused_as_they_say() {
    let client = control_plane::shared().admin().await;
    let mut wrong = Vec::new();
    for case in NEW.iter().flat_map(|file| cases(file)) {
        let resource = resource(&case.kind);
        let mut object = json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "case"}});
        if let Some(spec) = &case.spec {
            object["spec"] = spec.clone();
        }
        let answer = submit(&client, &url(&resource, "default"), None, &object).await;
        wrong.extend(case.objection(answer));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_accepted_or_refused_as_they_say() {
    let client = control_plane::shared().admin().await;
    let namespace = create_namespace(&client).await;
    let mut wrong = Vec::new();
    for case in CHANGES.iter().flat_map(|file| cases(file)) {
        let resource = resource(&case.kind);
        let api = api(&client, &resource, &namespace);
        let mut object = existing(&api, &resource, &case).await;
        object.data["spec"] = case.spec.clone().unwrap();
        let (name, url) = (object.name_any(), url(&resource, &namespace));
        let answer = loop {
            let answer = submit(&client, &url, Some(&name), &serde_json::to_value(&object).unwrap()).await;
            // An operator of another test may write to an issuer of the whole cluster meanwhile.
            match answer {
                Err(status) if status.is_conflict() => object.metadata = api.get(&name).await.unwrap().metadata,
                answer => break answer,
            }
        };
        wrong.extend(case.objection(answer));
        api.delete(&name, &DeleteParams::default()).await.unwrap();
    }
    Api::<Namespace>::all(client)
        .delete(&namespace, &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(wrong, Vec::<String>::new());
}

/// Else kstatus takes an object that nobody has looked at for one that is up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_object_has_a_status_that_says_that_nobody_has_looked_yet() {
    let client = control_plane::shared().admin().await;
    let api = Api::<ApiToken>::default_namespaced(client);
    let new: ApiToken = serde_json::from_value(json!({
        "apiVersion": "apitoken.dev/v1alpha1", "kind": "ApiToken", "metadata": {"generateName": "never-seen-"}, "spec": {},
    }))
    .unwrap();
    let name = api.create(&PostParams::default(), &new).await.unwrap().name_any();
    let status = api.get(&name).await.unwrap().status;
    api.delete(&name, &DeleteParams::default()).await.unwrap();
    assert_eq!(status.and_then(|status| status.observed_generation), Some(-1));
}

/// So that a rule that is lost, in one of the places where it stands, is missed.
#[test]
fn every_rule_in_every_place_refuses_a_manifest() {
    let refusals: Vec<Refusal> = NEW
        .iter()
        .chain(&CHANGES)
        .flat_map(|file| cases(file))
        .flat_map(|case| case.refused)
        .collect();
    let untried: Vec<_> = rules_of_all_kinds()
        .into_iter()
        .filter(|(field, message)| !refusals.iter().any(|refusal| refusal.is_from(field, message)))
        .collect();
    assert_eq!(untried, vec![], "a manifest in tests/manifests must be refused by each of these");
}

// --- The manifests ---

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    /// Empty: it is accepted.
    #[serde(default)]
    refused: Vec<Refusal>,
    kind: String,
    /// What the answer must not repeat: it may be a value or a password.
    hidden: Option<String>,
    before: Option<Value>,
    status: Option<Value>,
    spec: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refusal {
    #[serde(default)]
    field: String,
    message: String,
}

fn cases(file: &str) -> Vec<Case> {
    let mut cases: Value = serde_saphyr::from_str(file).unwrap();
    repeat(&mut cases);
    serde_json::from_value(cases).unwrap()
}

/// Puts `xxx` wherever a manifest says `x * 3`.
fn repeat(value: &mut Value) {
    match value {
        Value::String(text) => *text = repeated(text),
        Value::Array(items) => items.iter_mut().for_each(repeat),
        Value::Object(fields) => {
            fields.values_mut().for_each(repeat);
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(key, value)| (repeated(&key), value))
                .collect::<Map<_, _>>();
        }
        _ => {}
    }
}

fn repeated(text: &str) -> String {
    match text.split_once(" * ").map(|(text, times)| (text, times.parse())) {
        Some((text, Ok(times))) => text.repeat(times),
        _ => text.to_owned(),
    }
}

impl Case {
    /// What is wrong with the API server's answer.
    fn objection(&self, answer: Result<Value, Status>) -> Option<String> {
        match answer {
            Ok(_) if !self.refused.is_empty() => Some(format!("{}: accepted", self.case)),
            Ok(object) => readable(&self.kind, object)
                .err()
                .map(|error| format!("{}: unreadable: {error}", self.case)),
            Err(status) if self.refused.is_empty() || !self.refused.iter().all(|refusal| refusal.is_in(&status)) => {
                Some(format!("{}: refused: {}", self.case, status.message))
            }
            Err(status) if self.hidden.as_ref().is_some_and(|hidden| status.message.contains(hidden)) => {
                Some(format!("{}: repeated: {}", self.case, status.message))
            }
            Err(_) => None,
        }
    }
}

impl Refusal {
    fn is_in(&self, status: &Status) -> bool {
        let causes = status.details.iter().flat_map(|details| &details.causes);
        if self.field.is_empty() {
            status.message.contains(&self.message)
        } else {
            causes
                .into_iter()
                .any(|cause| cause.field == self.field && cause.message.contains(&self.message))
        }
    }

    fn is_from(&self, field: &str, message: &str) -> bool {
        self.field.replace("[0]", "[]") == field && message.contains(&self.message)
    }
}

/// What the API server accepts the operator must be able to read.
fn readable(kind: &str, object: Value) -> serde_json::Result<()> {
    match kind {
        "ApiToken" => ApiToken::deserialize(object).map(drop),
        "TokenIssuer" => TokenIssuer::deserialize(object).map(drop),
        _ => ClusterTokenIssuer::deserialize(object).map(drop),
    }
}

// --- The rules ---

/// Field and message of all rules on what users write, over all kinds.
fn rules_of_all_kinds() -> BTreeSet<(String, String)> {
    let mut rules = BTreeSet::new();
    for crd in crds::all() {
        let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
        collect_rules(schema, "", &mut rules);
    }
    rules.retain(|(field, _)| !field.starts_with(".status"));
    rules.into_iter().map(|(field, message)| (field[1..].to_owned(), message)).collect()
}

fn collect_rules(schema: &JSONSchemaProps, path: &str, rules: &mut BTreeSet<(String, String)>) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let field = format!("{path}{}", rule.field_path.as_deref().unwrap_or_default());
        rules.insert((field, rule.message.clone().unwrap()));
    }
    for (name, child) in schema.properties.iter().flatten() {
        collect_rules(child, &format!("{path}.{name}"), rules);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect_rules(items, &format!("{path}[]"), rules);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        collect_rules(values, &format!("{path}.*"), rules);
    }
}

// --- The API server ---

async fn create_namespace(client: &Client) -> String {
    let namespace: Namespace = serde_json::from_value(json!({"metadata": {"generateName": "api-validation-"}})).unwrap();
    let api = Api::<Namespace>::all(client.clone());
    api.create(&PostParams::default(), &namespace).await.unwrap().name_any()
}

/// The object as it was before the change.
async fn existing(api: &Api<DynamicObject>, resource: &ApiResource, case: &Case) -> DynamicObject {
    let mut new = DynamicObject::new("", resource).data(json!({"spec": case.before.clone().unwrap()}));
    new.metadata.name = None;
    new.metadata.generate_name = Some("api-validation-".to_owned());
    let mut object = api
        .create(&PostParams::default(), &new)
        .await
        .unwrap_or_else(|error| panic!("{}: {error}", case.case));
    if let Some(status) = &case.status {
        object.data["status"] = status.clone();
        let name = object.name_any();
        object = loop {
            match api.replace_status(&name, &PostParams::default(), &object).await {
                Err(kube::Error::Api(error)) if error.is_conflict() => object.metadata = api.get(&name).await.unwrap().metadata,
                written => break written.unwrap_or_else(|error| panic!("{}: {error}", case.case)),
            }
        };
    }
    object
}

/// Creates, or replaces the object `name`, as kubectl does: unknown fields are errors. Nothing is kept.
async fn submit(client: &Client, url: &str, name: Option<&str>, object: &Value) -> Result<Value, Status> {
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let body = serde_json::to_vec(object).unwrap();
    let request = Request::new(url);
    let mut request = match name {
        None => request.create(&params, body),
        Some(name) => request.replace(name, &params, body),
    }
    .unwrap();
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse().unwrap();
    match client.request(request).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

fn resource(kind: &str) -> ApiResource {
    match kind {
        "ApiToken" => ApiResource::erase::<ApiToken>(&()),
        "TokenIssuer" => ApiResource::erase::<TokenIssuer>(&()),
        "ClusterTokenIssuer" => ApiResource::erase::<ClusterTokenIssuer>(&()),
        _ => panic!("no kind of ours: {kind}"),
    }
}

fn is_cluster_wide(resource: &ApiResource) -> bool {
    resource.kind == "ClusterTokenIssuer"
}

fn url(resource: &ApiResource, namespace: &str) -> String {
    let scope = if is_cluster_wide(resource) {
        String::new()
    } else {
        format!("namespaces/{namespace}/")
    };
    format!("/apis/{}/{scope}{}", resource.api_version, resource.plural)
}

fn api(client: &Client, resource: &ApiResource, namespace: &str) -> Api<DynamicObject> {
    if is_cluster_wide(resource) {
        Api::all_with(client.clone(), resource)
    } else {
        Api::namespaced_with(client.clone(), namespace, resource)
    }
}
