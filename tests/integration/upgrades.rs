//! Upgrade, downgrade, uninstallation and a new installation, with a hundred live tokens: none of it touches a token.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use apitoken_operator::api::ApiToken;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    api::{ListParams, ObjectMeta, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    chart::chart,
    support::{
        control_plane::{ControlPlane, OPERATOR_NAMESPACE, OPERATOR_USER},
        eventually,
        operator::Program,
        tokens::{self, Team},
    },
};

const TOKENS: usize = 100;
/// An optional field that the older version does not have.
const NEW_FIELD: &str = "audiences";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_tokens_stay_as_they_are_whatever_becomes_of_the_release() {
    let plane = ControlPlane::start("upgrades");
    helm(
        &plane,
        &["install", "apitoken-operator", &older_chart(plane.dir()), "--create-namespace"],
    );
    let team = Team::new(plane.admin().await, &plane.namespace("shop").await);
    let program = Program::start(&plane, &[]).await;
    join_all((0..TOKENS).map(|number| declare(&team, number))).await;
    all_are_ready(&plane, &team);
    end(program).await;
    let issued = snapshot(&team).await;
    assert_eq!(issued.len(), 2 * TOKENS);

    // The operator goes on beside the new CRDs until its Pod is replaced.
    let since = plane.audit().now();
    let program = Program::start(&plane, &[]).await;
    program.passed(TOKENS).await;
    assert!(!knows_the_new_field(&team).await);
    helm(&plane, &["upgrade", "apitoken-operator", &chart()]);
    eventually("the new CRD is served", || async { knows_the_new_field(&team).await.then_some(()) }).await;
    assert_eq!(snapshot(&team).await, issued);
    assert_eq!(plane.audit().counts(OPERATOR_USER, since), BTreeMap::new());
    team.change("token-0", json!({ "spec": { NEW_FIELD: ["shop"] } })).await;
    team.ready("token-0").await;
    end(program).await;
    let needed = BTreeMap::from([("update apitokens/status".to_owned(), 1)]);
    assert_eq!(plane.audit().counts(OPERATOR_USER, since), needed);
    let upgraded = snapshot(&team).await;
    assert_eq!(values(&upgraded), values(&issued));
    a_new_operator_writes_nothing(&plane).await;

    helm(&plane, &["rollback", "apitoken-operator", "1"]);
    eventually("the older CRD is served", || async {
        (!knows_the_new_field(&team).await).then_some(())
    })
    .await;
    a_new_operator_writes_nothing(&plane).await;
    assert_eq!(snapshot(&team).await, upgraded);

    helm(&plane, &["uninstall", "apitoken-operator"]);
    assert_eq!(what_is_left(&plane), Vec::<String>::new());
    assert_eq!(snapshot(&team).await, upgraded, "all tokens and their Secrets are kept");

    helm(&plane, &["install", "apitoken-operator", &chart()]);
    a_new_operator_writes_nothing(&plane).await;
    assert_eq!(snapshot(&team).await, upgraded);
    plane.stop();
}

fn helm(plane: &ControlPlane, arguments: &[&str]) {
    plane.helm(&[arguments, &["--namespace", OPERATOR_NAMESPACE]].concat());
}

/// A copy of the chart whose CRD of ApiTokens lacks a field.
fn older_chart(dir: &Path) -> String {
    let older = dir.join("older-chart");
    copy(Path::new(&chart()), &older);
    let about = older.join("Chart.yaml");
    let text = fs::read_to_string(&about).unwrap();
    fs::write(&about, text.replace("version: 0.1.0", "version: 0.0.9")).unwrap();
    let file = older.join("files/crds/apitokens.yaml");
    let mut crd: Value = serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let spec = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties");
    assert!(spec.unwrap().as_object_mut().unwrap().remove(NEW_FIELD).is_some());
    fs::write(&file, crd.to_string()).unwrap();
    older.to_str().unwrap().to_owned()
}

fn copy(from: &Path, to: &PathBuf) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Tokens of several kinds: plain, rotated in some days, suspended, and in a Secret that stays.
async fn declare(team: &Team, number: usize) {
    let spec = match number % 4 {
        1 => json!({ "lifetime": "720h", "rotation": { "interval": "240h", "overlap": "1h" } }),
        2 => json!({ "state": "Suspended" }),
        3 => json!({ "secret": { "deletionPolicy": "Retain", "template": { "HEADER": "Bearer {{ token }}" } } }),
        _ => json!({}),
    };
    team.declare(&format!("token-{number}"), spec).await;
}

fn all_are_ready(plane: &ControlPlane, team: &Team) {
    let all = [
        "wait",
        "--for=condition=Ready",
        "apitokens",
        "--all",
        "--timeout=120s",
        "-n",
        &team.namespace,
    ];
    plane.kubectl(&all);
}

/// By a change that is not kept.
async fn knows_the_new_field(team: &Team) -> bool {
    let dry_run = PatchParams {
        dry_run: true,
        ..Default::default()
    };
    let patch = Patch::Merge(json!({ "spec": { NEW_FIELD: ["shop"] } }));
    let changed = team.api::<ApiToken>().patch("token-1", &dry_run, &patch).await.unwrap();
    !changed.spec.audiences.is_empty()
}

async fn end(program: Program) {
    let (status, _) = program.terminate().await;
    assert!(status.success());
}

async fn a_new_operator_writes_nothing(plane: &ControlPlane) {
    let since = plane.audit().now();
    let program = Program::start(plane, &[]).await;
    program.passed(TOKENS).await;
    end(program).await;
    assert_eq!(plane.audit().counts(OPERATOR_USER, since), BTreeMap::new());
}

/// What an object was when it was looked at.
#[derive(Debug, PartialEq)]
struct Seen {
    uid: Option<String>,
    version: Option<String>,
    /// Of a Secret's data; as a hash, so that no failure shows a value.
    content: Option<String>,
}

type Snapshot = BTreeMap<(&'static str, String), Seen>;

/// All ApiTokens and Secrets as they are.
async fn snapshot(team: &Team) -> Snapshot {
    let mut all = Snapshot::new();
    for token in list::<ApiToken>(team).await {
        all.insert(("ApiToken", name(&token.metadata)), seen(&token.metadata, None));
    }
    for secret in list::<Secret>(team).await {
        let content = tokens::hash(&json!(secret.data).to_string());
        all.insert(("Secret", name(&secret.metadata)), seen(&secret.metadata, Some(content)));
    }
    all
}

fn values(snapshot: &Snapshot) -> Vec<(&String, &Seen)> {
    let secrets = snapshot.iter().filter(|((kind, _), _)| *kind == "Secret");
    secrets.map(|((_, name), seen)| (name, seen)).collect()
}

async fn list<K>(team: &Team) -> Vec<K>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    team.api::<K>().list(&ListParams::default()).await.unwrap().items
}

fn name(metadata: &ObjectMeta) -> String {
    metadata.name.clone().unwrap_or_default()
}

fn seen(metadata: &ObjectMeta, content: Option<String>) -> Seen {
    Seen {
        uid: metadata.uid.clone(),
        version: metadata.resource_version.clone(),
        content,
    }
}

/// What the chart made, but for the CRDs, which have to be there.
fn what_is_left(plane: &ControlPlane) -> Vec<String> {
    let of_release = "--selector=app.kubernetes.io/instance=apitoken-operator";
    let crds = plane.kubectl(&["get", "customresourcedefinitions", of_release, "-o", "name"]);
    assert_eq!(crds.lines().count(), 3, "{crds}");
    let kinds = "clusterroles,clusterrolebindings,roles,rolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 serviceaccounts,services,deployments,poddisruptionbudgets,configmaps";
    let left = plane.kubectl(&["get", kinds, "--all-namespaces", of_release, "-o", "name"]);
    left.lines().map(str::to_owned).collect()
}
