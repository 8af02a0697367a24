//! How the Secret of a token is to look, and whether one that was found looks so.
//!
//! Only what the spec declares is ours; everything else in a Secret survives. What we wrote once and
//! no longer declare is known from the Secret's managed fields and goes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use serde_json::Value;

use super::{
    observed::{FoundSecret, Observed, ObservedSecret},
    rotation,
    template::{self, TemplateError, Variables},
};
use crate::{
    api::{
        ApiToken, GROUP, VERSION,
        api_token::{SecretDeletionPolicy, TokenStatus},
        names,
    },
    token_value::{self, TokenValue},
};

/// A Secret as it is to be, and what differs from the one that was found.
pub struct DesiredSecret {
    /// The whole object.
    pub secret: FoundSecret,
    /// What differs: `data.<key>`, `labels.<name>` and so on; empty where nothing is to be written.
    pub changes: Vec<String>,
}

/// Name of the Secret that the spec declares.
pub fn name(token: &ApiToken) -> &str {
    let declared = token.spec.secret.name.as_deref();
    declared.or(token.metadata.name.as_deref()).unwrap_or_default()
}

/// Namespace of the token and its Secret.
pub fn namespace(token: &ApiToken) -> &str {
    token.metadata.namespace.as_deref().unwrap_or_default()
}

/// `<namespace>.<name>`: the account and the name at the issuer where none is declared.
pub fn default_account(token: &ApiToken) -> String {
    format!("{}.{}", namespace(token), token.metadata.name.as_deref().unwrap_or_default())
}

/// Name at the issuer, without a marker.
pub fn display_name(token: &ApiToken) -> String {
    token.spec.display_name.clone().unwrap_or_else(|| default_account(token))
}

/// A fingerprint of the vendor's parameters; nothing where there are none.
pub fn parameters_hash(token: &ApiToken) -> Option<String> {
    let parameters = token.spec.parameters.as_ref()?;
    let text = serde_json::to_vec(parameters).ok()?;
    Some(token_value::hash(&text).chars().take(16).collect())
}

/// Owning account at the issuer; nothing for the one of an issuer that others run.
pub fn account(observed: &Observed) -> Option<String> {
    let default = (!observed.is_remote()).then(|| default_account(&observed.token));
    observed.token.spec.account.clone().or(default)
}

/// Whether a Secret is a credential of Kubernetes or Helm itself: it is nobody's to take over. The types
/// that users fill by themselves are none.
pub fn is_of_the_cluster(found: &FoundSecret) -> bool {
    let type_ = found.object().type_.as_deref().unwrap_or_default();
    let users = ["basic-auth", "ssh-auth", "dockercfg", "dockerconfigjson"];
    match type_.strip_prefix("kubernetes.io/") {
        Some(type_) => !users.contains(&type_),
        None => type_.starts_with("bootstrap.kubernetes.io/") || type_.starts_with("helm.sh/"),
    }
}

/// The Secret as it is to be for `record`, from nothing or from the one that was found.
///
/// # Errors
/// Where a template can't be rendered.
pub fn desired(
    observed: &Observed,
    record: &TokenStatus,
    value: &TokenValue,
    found: Option<&FoundSecret>,
) -> Result<DesiredSecret, TemplateError> {
    let token = observed.token.as_ref();
    let data = data(token, record, value, previous_value(observed, record, found))?;
    let found = found.map(FoundSecret::object);
    let mut object = found.cloned().unwrap_or_else(|| new_secret(token));
    let mut changes = Vec::new();
    let owned = Owned::of(&object);

    let declared = data.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))).collect();
    merge("data", object.data.get_or_insert_default(), declared, &owned.data, &mut changes);
    let metadata = &mut object.metadata;
    merge(
        "labels",
        metadata.labels.get_or_insert_default(),
        labels(token),
        &owned.labels,
        &mut changes,
    );
    merge(
        "annotations",
        metadata.annotations.get_or_insert_default(),
        annotations(observed, record),
        &owned.annotations,
        &mut changes,
    );
    set_owner(token, metadata, &mut changes);
    Ok(DesiredSecret {
        secret: FoundSecret::new(object),
        changes,
    })
}

/// The Secret marked as holding an ended value; nothing where it is marked already.
pub fn marked_as_ended(token: &ApiToken, found: &FoundSecret) -> Option<FoundSecret> {
    let held = found.bytes(&token.spec.secret.key).map(token_value::hash);
    let recorded = || token.status.as_ref()?.token.as_ref()?.hash.clone();
    let hash = held.or_else(recorded)?;
    if found.annotation(names::ENDED_ANNOTATION) == Some(&hash) {
        return None;
    }
    let mut object = found.object().clone();
    object
        .metadata
        .annotations
        .get_or_insert_default()
        .insert(names::ENDED_ANNOTATION.to_owned(), hash);
    Some(FoundSecret::new(object))
}

fn new_secret(token: &ApiToken) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name(token).to_owned()),
            namespace: token.metadata.namespace.clone(),
            ..Default::default()
        },
        type_: Some(token.spec.secret.type_.clone()),
        ..Default::default()
    }
}

/// The value that was replaced last and works on, where it is to be shown and a Secret of ours holds it.
fn previous_value(observed: &Observed, record: &TokenStatus, found: Option<&FoundSecret>) -> Option<TokenValue> {
    if !observed.token.spec.secret.include_previous {
        return None;
    }
    let replaced = observed.current().filter(|current| current.hash != record.hash);
    let replaced = replaced.map(|current| rotation::replaced(observed, current));
    let recorded = observed.previous().iter().rev().cloned();
    let mut working = replaced
        .into_iter()
        .chain(recorded)
        .filter(|previous| !rotation::is_over(observed, previous));
    let former = match &observed.former_secret {
        ObservedSecret::Found(former) => Some(former),
        ObservedSecret::Unchanged | ObservedSecret::Absent => None,
    };
    working.find_map(|previous| {
        found
            .into_iter()
            .chain(former)
            .find_map(|found| found.value_with_hash(previous.hash.as_deref()?))
    })
}

fn data(
    token: &ApiToken,
    record: &TokenStatus,
    value: &TokenValue,
    previous: Option<TokenValue>,
) -> Result<BTreeMap<String, String>, TemplateError> {
    let variables = Variables {
        token: value.expose(),
        previous_token: previous.as_ref().map(TokenValue::expose).unwrap_or_default(),
        account: record.account.as_deref().unwrap_or_default(),
        id: record.id.as_deref().unwrap_or_default(),
        name: token.metadata.name.as_deref().unwrap_or_default(),
        namespace: namespace(token),
        scopes: &token.spec.scopes,
    };
    let rendered = template::render(&token.spec.secret.template, &variables)?;
    let mut data: BTreeMap<String, String> = rendered.into_iter().map(|(key, text)| (key, text.to_string())).collect();
    data.insert(token.spec.secret.key.clone(), value.expose().to_owned());
    if let Some(previous) = previous {
        data.insert(names::PREVIOUS_TOKEN_KEY.to_owned(), previous.expose().to_owned());
    }
    Ok(data)
}

fn labels(token: &ApiToken) -> BTreeMap<String, String> {
    let mut labels = token.spec.secret.labels.clone();
    labels.insert(names::MANAGED_BY_LABEL.to_owned(), names::MANAGER.to_owned());
    labels
}

fn annotations(observed: &Observed, record: &TokenStatus) -> BTreeMap<String, String> {
    let token = observed.token.as_ref();
    let mut annotations = token.spec.secret.annotations.clone();
    let time = |time: &Time| time.0.to_string();
    let ours = [
        (names::API_TOKEN_ANNOTATION, token.metadata.name.clone()),
        (names::UID_ANNOTATION, token.metadata.uid.clone()),
        (names::TOKEN_ID_ANNOTATION, record.id.clone()),
        (names::HASH_ANNOTATION, record.hash.clone()),
        (names::ISSUED_AT_ANNOTATION, record.issued_at.as_ref().map(time)),
        (names::EXPIRES_AT_ANNOTATION, record.expires_at.as_ref().map(time)),
    ];
    annotations.extend(ours.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let leaked = observed
        .current()
        .filter(|current| rotation::is_leak(observed) && current.hash != record.hash);
    if let Some(hash) = leaked.and_then(|leaked| leaked.hash.clone()) {
        annotations.insert(names::ENDED_ANNOTATION.to_owned(), hash);
    }
    annotations
}

/// Brings `present` to hold `declared`, and takes out what we put there once and declare no more.
fn merge<V: PartialEq>(
    what: &str,
    present: &mut BTreeMap<String, V>,
    declared: BTreeMap<String, V>,
    owned: &BTreeSet<String>,
    changes: &mut Vec<String>,
) {
    for key in owned.iter().filter(|key| !declared.contains_key(*key)) {
        if present.remove(key).is_some() {
            changes.push(format!("{what}.{key}"));
        }
    }
    for (key, value) in declared {
        if present.get(&key) != Some(&value) {
            changes.push(format!("{what}.{key}"));
            present.insert(key, value);
        }
    }
}

/// The owner reference is there under `deletionPolicy: Delete` only; a former object of our name is
/// no owner any more, foreign owners stay.
fn set_owner(token: &ApiToken, metadata: &mut ObjectMeta, changes: &mut Vec<String>) {
    let api_version = format!("{GROUP}/{VERSION}");
    let token_name = token.metadata.name.clone().unwrap_or_default();
    let before = metadata.owner_references.clone().unwrap_or_default();
    let is_ours = |owner: &OwnerReference| owner.kind == "ApiToken" && owner.api_version == api_version && owner.name == token_name;
    let mut owners: Vec<OwnerReference> = before.iter().filter(|owner| !is_ours(owner)).cloned().collect();
    if token.spec.secret.deletion_policy == SecretDeletionPolicy::Delete {
        // Without blockOwnerDeletion: setting it needs a right on finalizers in some clusters.
        owners.push(OwnerReference {
            api_version: api_version.clone(),
            kind: "ApiToken".to_owned(),
            name: token_name.clone(),
            uid: token.metadata.uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        });
    }
    if owners != before {
        changes.push("ownerReferences".to_owned());
    }
    metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
}

/// The keys that we wrote last, by the Secret's managed fields.
#[derive(Default)]
struct Owned {
    data: BTreeSet<String>,
    labels: BTreeSet<String>,
    annotations: BTreeSet<String>,
}

impl Owned {
    fn of(secret: &Secret) -> Self {
        let mut owned = Self::default();
        let entries = secret.metadata.managed_fields.as_deref().unwrap_or_default();
        for entry in entries.iter().filter(|entry| entry.manager.as_deref() == Some(names::MANAGER)) {
            let Some(fields) = &entry.fields_v1 else { continue };
            owned.data.extend(keys_at(&fields.0, "/f:data"));
            owned.labels.extend(keys_at(&fields.0, "/f:metadata/f:labels"));
            owned.annotations.extend(keys_at(&fields.0, "/f:metadata/f:annotations"));
        }
        // The mark of an ended value is not declared, and must outlive the value.
        owned.annotations.remove(names::ENDED_ANNOTATION);
        owned
    }
}

fn keys_at(fields: &Value, path: &str) -> BTreeSet<String> {
    let map = fields.pointer(path).and_then(Value::as_object);
    let names = map.into_iter().flat_map(serde_json::Map::keys);
    names.filter_map(|name| name.strip_prefix("f:")).map(str::to_owned).collect()
}
