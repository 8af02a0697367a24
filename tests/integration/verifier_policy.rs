//! Who may write what to an ApiToken's status: the chart's rights and its admission policy, on a real API server.

use std::time::Instant;

use apitoken_operator::api::{ApiToken, crds};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{
    DEADLINE,
    control_plane::{ControlPlane, OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, shared, source},
    eventually,
    tokens::{self, Team},
};

/// What came of a write.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    /// The admission policy refused it.
    Policy,
    /// RBAC refused it.
    Rights,
    /// The object is not what the patch takes it for, or would not be valid.
    Invalid,
}
use Answer::{Done, Invalid, Policy, Rights};

const USED: &str = "/status/token/lastUsedAt";
const REPLACED_USED: &str = "/status/previous/0/lastUsedAt";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verifier_moves_times_of_last_use_forward() {
    let token = Token::new("last-use").await;
    let verifier = token.plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    let change = |path: &str, time: Value| json!([{ "op": "add", "path": path, "value": time }]);
    for (what, patch, expected) in [
        ("later", change(USED, json!("2026-05-01T00:01:00Z")), Done),
        ("later, in another zone", change(USED, json!("2026-05-01T02:01:00+02:00")), Done),
        ("the same", change(USED, json!("2026-05-01T00:00:00Z")), Done),
        ("replaced: later", change(REPLACED_USED, json!("2026-05-01T00:01:00Z")), Done),
        (
            "replaced: the first use",
            change("/status/previous/1/lastUsedAt", json!("2026-05-01T00:01:00Z")),
            Done,
        ),
        ("earlier", change(USED, json!("2026-04-30T23:59:59Z")), Policy),
        ("earlier, in another zone", change(USED, json!("2026-05-01T01:59:00+02:00")), Policy),
        ("taken away", json!([{ "op": "remove", "path": USED }]), Policy),
        ("null", change(USED, Value::Null), Policy),
        ("replaced: earlier", change(REPLACED_USED, json!("2026-04-30T23:59:59Z")), Policy),
        ("replaced: taken away", json!([{ "op": "remove", "path": REPLACED_USED }]), Policy),
        ("no time", change(USED, json!("yesterday")), Invalid),
    ] {
        assert_eq!(token.patch(&verifier, patch).await, expected, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verifier_forges_nothing() {
    let token = Token::new("forge").await;
    let verifier = token.plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    let forged = hash('f');
    let replaced = json!({ "hash": forged, "revokeAt": "2030-01-01T00:00:00Z" });
    let pending = json!({ "attempt": 1, "verb": "create", "reason": "x", "startedAt": "2026-01-01T00:00:00Z", "hash": forged });
    for (op, path, value) in [
        ("replace", "/status/token/hash", json!(forged)),
        ("replace", "/status/token/expiresAt", json!("2030-01-01T00:00:00Z")),
        (
            "replace",
            "/status/token",
            json!({ "hash": forged, "lastUsedAt": "2026-05-02T00:00:00Z" }),
        ),
        ("replace", "/status/previous/0/hash", json!(forged)),
        ("replace", "/status/previous/1/revokeAt", json!("2030-01-01T00:00:00Z")),
        ("add", "/status/previous/0", replaced.clone()),
        ("add", "/status/previous/-", replaced),
        ("replace", "/status/previous", json!([])),
        ("remove", "/status/previous/1", Value::Null),
        ("replace", "/status/pending", pending),
        ("replace", "/status/pending/hash", json!(forged)),
        ("replace", "/status/state", json!("Suspended")),
        ("replace", "/status/issuerRef/name", json!("another")),
        ("replace", "/status/conditions/0/status", json!("False")),
        ("replace", "/status/secretRef/name", json!("another")),
        ("remove", "/status", Value::Null),
    ] {
        let forgery = json!({ "op": op, "path": path, "value": value });
        let use_of_it = json!({ "op": "add", "path": USED, "value": "2026-05-02T00:00:00Z" });
        assert_eq!(token.patch(&verifier, json!([forgery])).await, Policy, "{op} {path}");
        if path != "/status" {
            let both = token.patch(&verifier, json!([use_of_it, forgery])).await;
            assert_eq!(both, Policy, "{op} {path} beside a later use");
        }
    }
}

/// So that a field that comes later is not left open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_verifier_takes_no_field_away() {
    let token = Token::new("fields").await;
    let verifier = token.plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    let status = full_status();
    for (schema, object) in [("/status", &status), ("/status/token", &status["token"])] {
        assert_eq!(fields_of(object), fields_in_schema(schema), "this test sets all fields of {schema}");
        for field in fields_of(object) {
            let path = format!("{schema}/{field}");
            let answer = token.patch(&verifier, json!([{ "op": "remove", "path": path }])).await;
            assert_eq!(answer, Policy, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_status_reaches_neither_spec_nor_metadata() {
    let token = Token::new("beside").await;
    let verifier = token.plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    let before = token.team.token("ci").await;
    let used = json!({ "op": "add", "path": USED, "value": "2026-05-02T00:00:00Z" });
    for (path, value) in [
        ("/spec/scopes", json!(["all"])),
        ("/metadata/labels", json!({ "a": "b" })),
        ("/metadata/annotations", json!({ "apitoken.dev/rotate-requested-at": "now" })),
        ("/metadata/finalizers", json!(["example.com/forever"])),
        (
            "/metadata/ownerReferences",
            json!([{ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "x" }]),
        ),
        ("/metadata/managedFields", json!([{}])),
    ] {
        let patch = json!([used, { "op": "add", "path": path, "value": value }]);
        let after = patch_status(&verifier, &token.team.namespace, patch).await.unwrap();
        assert_eq!(json!(after.spec), json!(before.spec), "{path}");
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            assert_eq!(json!(after.metadata)[field], json!(before.metadata)[field], "{path}");
        }
        assert_eq!(owners(&after), owners(&before), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_last_use_from_before_a_rotation_is_refused() {
    let token = Token::new("stale").await;
    let verifier = token.plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    let used = |place: &str, hash: &str| {
        json!([
            { "op": "test", "path": format!("{place}/hash"), "value": hash },
            { "op": "add", "path": format!("{place}/lastUsedAt"), "value": "2026-05-02T00:00:00Z" },
        ])
    };
    let old = hash('a');
    assert_eq!(token.patch(&verifier, used("/status/token", &old)).await, Done);
    let rotated = json!({ "token": { "hash": hash('e') }, "previous": [{ "hash": old, "revokeAt": "2026-06-01T00:00:00Z" }] });
    token.team.change_status("ci", rotated).await;
    assert_eq!(token.patch(&verifier, used("/status/token", &old)).await, Invalid);
    assert_eq!(token.patch(&verifier, used("/status/previous/0", &old)).await, Done);
    assert_eq!(
        token.patch(&verifier, used("/status/previous/1", &old)).await,
        Invalid,
        "it is gone"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_those_in_control_write_the_whole_status() {
    let token = Token::new("control").await;
    let namespace = &token.team.namespace;
    token.bind("--clusterrole=edit", "an-editor");
    token.bind("--clusterrole=admin", "an-admin");
    token.bind(&token.role("writes", "patch,update"), "a-writer");
    token.bind(&token.role("writes-and-controls", "patch,update,control"), "a-restorer");
    token.plane.kubectl(&[
        "create",
        "clusterrolebinding",
        namespace,
        "--clusterrole=cluster-admin",
        "--user=a-cluster-admin",
    ]);
    let forgery = json!([{ "op": "replace", "path": "/status/token/hash", "value": hash('f') }]);
    let used = json!([{ "op": "replace", "path": USED, "value": "2026-05-02T00:00:00Z" }]);
    for (user, for_forgery, for_use) in [
        ("an-editor", Rights, Rights),
        ("an-admin", Rights, Rights),
        ("a-writer", Policy, Done),
        ("a-restorer", Done, Done),
        ("a-cluster-admin", Done, Done),
    ] {
        let client = token.plane.user(user).await;
        // The authorizer learns of a new role a moment later.
        eventually(&format!("{user} has its rights"), || async {
            (token.patch(&client, used.clone()).await == for_use).then_some(())
        })
        .await;
        assert_eq!(token.patch(&client, forgery.clone()).await, for_forgery, "{user}");
        assert_eq!(token.put(&client, hash('f')).await, for_forgery, "{user}");
    }
    assert_eq!(token.put(&token.plane.operator().await, hash('f')).await, Done, "the controller");
    token.plane.kubectl(&["delete", "clusterrolebinding", namespace]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_status_beside_the_spec_is_dropped() {
    let token = Token::new("dropped").await;
    token.bind("--clusterrole=edit", "dropped-editor");
    let api: Api<ApiToken> = Api::namespaced(token.plane.user("dropped-editor").await, &token.team.namespace);
    let forged = json!({ "metadata": { "name": "forged" }, "spec": {}, "status": full_status() });
    let forged: ApiToken = serde_json::from_value(forged).unwrap();
    let created = eventually("the editor has its rights", || async {
        api.create(&PostParams::default(), &forged).await.ok()
    })
    .await;
    assert_eq!(json!(created.status), json!({ "observedGeneration": -1 }));
    let patch = Patch::Merge(json!({ "spec": { "description": "x" }, "status": { "token": { "hash": hash('f') } } }));
    let changed = api.patch("ci", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(tokens::recorded_hash(&changed), hash('a'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_status_is_within_what_a_policy_may_cost() {
    let token = Token::new("largest").await;
    let mut status = full_status();
    let replaced = json!({
        "id": "i".repeat(256), "account": "a".repeat(1024), "hash": hash('b'), "revokeAt": "2026-06-01T00:00:00Z", "lastUsedAt": "2026-05-01T00:00:00Z",
    });
    let condition = |number: usize| {
        json!({
            "type": format!("T{number}"), "status": "True", "reason": "R".repeat(1024), "message": "m".repeat(32768),
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    status["previous"] = json!(vec![replaced; 8]);
    status["pending"]["before"] = json!(vec![hash('d'); 4096]);
    status["conditions"] = (0..8).map(condition).collect();
    token.team.change_status("ci", status).await;
    let verifier = token.plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    let used = |path| json!([{ "op": "add", "path": path, "value": "2026-05-02T00:00:00Z" }]);
    assert_eq!(token.patch(&verifier, used(USED)).await, Done);
    assert_eq!(token.patch(&verifier, used("/status/previous/7/lastUsedAt")).await, Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_policy_of_one_release_knows_the_controller_of_another() {
    let plane = ControlPlane::with_chart("releases");
    let token = Token::on(&plane, "releases").await;
    let chart = source().join("charts/apitoken-operator");
    let options = ["-n", "second", "--create-namespace", "--set", "crds.enabled=false"];
    plane.helm(&[["install", "second", chart.to_str().unwrap()].as_slice(), &options].concat());
    plane.kubectl(&["delete", "validatingadmissionpolicybinding", "apitoken-operator-status"]);
    let forgery = json!([{ "op": "replace", "path": "/status/token/hash", "value": hash('f') }]);
    let verifier = plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
    eventually("the second release's policy alone is in force", || async {
        let refused = patch_status(&verifier, &token.team.namespace, forgery.clone()).await.err()?;
        refused.to_string().contains("second-apitoken-operator-status").then_some(())
    })
    .await;
    for (namespace, name) in [(OPERATOR_NAMESPACE, "apitoken-operator"), ("second", "second-apitoken-operator")] {
        let controller = plane.account(namespace, &format!("{name}-controller")).await;
        assert_eq!(token.put(&controller, hash('f')).await, Done, "{name}");
        let verifier = plane.account(namespace, &format!("{name}-verifier")).await;
        assert_eq!(token.patch(&verifier, forgery.clone()).await, Policy, "{name}");
        let used = json!([{ "op": "replace", "path": USED, "value": "2026-05-02T00:00:00Z" }]);
        assert_eq!(token.patch(&verifier, used).await, Done, "{name}");
    }
    plane.stop();
}

#[test]
fn the_verifier_has_the_rights_that_it_needs_and_no_more() {
    let user = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{VERIFIER_ACCOUNT}");
    for (verbs, resource, expected) in [
        ("list watch", "apitokens.apitoken.dev", true),
        ("list watch", "tokenissuers.apitoken.dev", true),
        ("list watch", "clustertokenissuers.apitoken.dev", true),
        ("list watch", "namespaces", true),
        ("create", "tokenreviews.authentication.k8s.io", true),
        ("create", "subjectaccessreviews.authorization.k8s.io", true),
        ("patch", "apitokens.apitoken.dev/status", true),
        ("update control", "apitokens.apitoken.dev/status", false),
        ("create update patch delete", "apitokens.apitoken.dev", false),
        ("patch update", "tokenissuers.apitoken.dev/status", false),
        ("patch update", "clustertokenissuers.apitoken.dev/status", false),
        ("get list watch create update patch delete", "secrets", false),
        ("get list create", "configmaps", false),
        ("create", "serviceaccounts/token", false),
        ("create", "introspections.apitoken.dev", false),
    ] {
        for verb in verbs.split(' ') {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            let subresource = format!("--subresource={subresource}");
            let question = ["auth", "can-i", verb, resource, &subresource, "--all-namespaces", &user];
            let allowed = || shared().try_kubectl(&question).status.success();
            // The authorizer learns of a role a moment later, and then of all of it.
            let end = Instant::now() + DEADLINE;
            while expected && !allowed() && Instant::now() < end {}
            assert_eq!(allowed(), expected, "{verb} {resource} {subresource}");
        }
    }
}

// --- One ApiToken ---

/// An ApiToken that no operator looks at, with a full status.
struct Token<'a> {
    plane: &'a ControlPlane,
    team: Team,
}

impl<'a> Token<'a> {
    async fn new(what: &str) -> Self {
        Self::on(shared(), what).await
    }

    async fn on(plane: &'a ControlPlane, what: &str) -> Self {
        let namespace = plane.namespace(&format!("policy-{what}")).await;
        let team = Team::new(plane.admin().await, &namespace);
        team.declare("ci", json!({})).await;
        team.change_status("ci", full_status()).await;
        let token = Self { plane, team };
        let verifier = plane.account(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT).await;
        let forgery = json!([{ "op": "replace", "path": "/status/token/hash", "value": hash('f') }]);
        // The API server learns of a new policy a moment later.
        eventually("the policy is in force", || async {
            (token.patch(&verifier, forgery.clone()).await == Policy).then_some(())
        })
        .await;
        token
    }

    /// What comes of a JSON Patch of the status. Nothing is kept.
    async fn patch(&self, client: &Client, patch: Value) -> Answer {
        answer(patch_status(client, &self.team.namespace, patch).await)
    }

    /// What comes of an update of the status with another hash. Nothing is kept.
    async fn put(&self, client: &Client, hash: String) -> Answer {
        let mut object = self.team.token("ci").await;
        object.status.as_mut().and_then(|status| status.token.as_mut()).unwrap().hash = Some(hash);
        let api: Api<ApiToken> = Api::namespaced(client.clone(), &self.team.namespace);
        let dry_run = PostParams {
            dry_run: true,
            ..Default::default()
        };
        answer(api.replace_status("ci", &dry_run, &object).await)
    }

    /// Makes a role for those verbs on the status; how to name it in a binding.
    fn role(&self, name: &str, verbs: &str) -> String {
        let resource = "--resource=apitokens.apitoken.dev/status";
        let verbs = format!("--verb={verbs}");
        self.plane
            .kubectl(&["create", "role", name, "-n", &self.team.namespace, &verbs, resource]);
        format!("--role={name}")
    }

    fn bind(&self, role: &str, user: &str) {
        let user_flag = format!("--user={user}");
        self.plane
            .kubectl(&["create", "rolebinding", user, "-n", &self.team.namespace, role, &user_flag]);
    }
}

async fn patch_status(client: &Client, namespace: &str, patch: Value) -> kube::Result<ApiToken> {
    let api: Api<ApiToken> = Api::namespaced(client.clone(), namespace);
    let dry_run = PatchParams {
        dry_run: true,
        ..Default::default()
    };
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    api.patch_status("ci", &dry_run, &patch).await
}

fn answer(result: kube::Result<ApiToken>) -> Answer {
    match result {
        Ok(_) => Done,
        Err(kube::Error::Api(status)) if status.code == 422 => Invalid,
        Err(kube::Error::Api(status)) if status.code == 403 && status.message.contains("ValidatingAdmissionPolicy") => Policy,
        Err(kube::Error::Api(status)) if status.code == 403 => Rights,
        Err(error) => panic!("{error}"),
    }
}

/// Who owns which fields beside the status.
fn owners(token: &ApiToken) -> Value {
    let mut entries = token.metadata.managed_fields.clone().unwrap_or_default();
    entries.retain(|entry| entry.subresource.is_none());
    json!(entries)
}

fn hash(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn full_status() -> Value {
    json!({
        "observedGeneration": 1, "state": "Active", "issuerRef": { "kind": "ClusterTokenIssuer", "name": "builtin" },
        "token": {
            "id": "x-3", "hint": "abcd", "hash": hash('a'), "name": "shop.ci", "account": "shop.ci", "accountType": "user", "createdBy": "me",
            "issuedAt": "2026-01-01T00:00:00Z", "expiresAt": "2027-01-01T00:00:00Z", "lastUsedAt": "2026-05-01T00:00:00Z",
            "parametersHash": "p", "requestedEnd": "2027-01-01T00:00:00Z", "resetTried": true,
        },
        "previous": [
            { "id": "x-1", "hash": hash('b'), "revokeAt": "2026-06-01T00:00:00Z", "lastUsedAt": "2026-05-01T00:00:00Z" },
            { "id": "x-2", "hash": hash('c'), "revokeAt": "2026-06-02T00:00:00Z" },
        ],
        "attempts": 3,
        "pending": { "attempt": 4, "verb": "create", "reason": "Interval", "startedAt": "2026-05-01T00:00:00Z", "hash": hash('d') },
        "nextRotationAt": "2026-06-01T00:00:00Z", "lastRotationAt": "2026-05-01T00:00:00Z", "lastRotationReason": "Interval",
        "lastRotationRequest": "x", "rotations": 2, "secretRef": { "name": "ci", "resourceVersion": "1" },
        "availableActions": { "activate": false, "suspend": true, "revoke": true, "rotate": true, "delete": true },
        "failures": { "count": 1, "firstAt": "2026-05-01T00:00:00Z", "lastAt": "2026-05-01T00:00:00Z" },
        "conditions": [{ "type": "Ready", "status": "True", "reason": "Ready", "message": "x", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
    })
}

fn fields_of(object: &Value) -> Vec<String> {
    let mut fields: Vec<String> = object.as_object().unwrap().keys().cloned().collect();
    fields.sort();
    fields
}

/// The names of the fields that the schema of the ApiToken has there.
fn fields_in_schema(path: &str) -> Vec<String> {
    let crd = json!(crds::all().into_iter().find(|crd| crd.spec.names.kind == "ApiToken"));
    let below = path.replace('/', "/properties/");
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    fields_of(schema.pointer(&format!("{below}/properties")).unwrap())
}
