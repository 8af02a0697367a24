//! The chart's guardrails, by what a real API server refuses.

use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use apitoken_operator::api::{ApiToken, api_token::ObservedState, names};

use crate::{
    chart::chart,
    support::{
        Bed,
        control_plane::{ControlPlane, OPERATOR_NAMESPACE, shared},
        eventually,
        tokens::{self, Team},
    },
};

/// What an ApiToken must say to pass all of the demands below.
const OWNER: &str = "example.com/team";

/// Has the API server demand this of the ApiTokens in namespaces with the label `guardrails: <name>`.
fn demand(plane: &ControlPlane, name: &str, mut demands: Value) {
    demands["name"] = json!(name);
    demands["namespaceSelector"] = json!({ "matchLabels": { "guardrails": name } });
    let bindings = format!("guardrails.bindings={}", json!([demands]));
    let chart = chart();
    let manifests = plane.helm(&[
        "template",
        "apitoken-operator",
        &chart,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--set-json",
        &bindings,
    ]);
    let wanted = |object: &Value| object["metadata"]["name"].as_str().is_some_and(|of| of.contains("-guardrail"));
    let items: Vec<Value> = crate::chart::objects(&manifests).into_iter().filter(wanted).collect();
    let file = plane.dir().join(format!("guardrails-{name}.json"));
    std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).unwrap();
    plane.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", file.to_str().unwrap()]);
}

/// Puts the namespace under these demands, and waits until one that this breaks is refused.
async fn put_under(plane: &ControlPlane, namespace: &str, name: &str, broken: Value) {
    plane.kubectl(&["label", "namespace", namespace, &format!("guardrails={name}")]);
    eventually("the guardrails are in force", || async {
        refusal(plane, namespace, json!({}), broken.clone()).await
    })
    .await;
}

/// What the API server says to a new ApiToken; nothing where it is accepted. Nothing is kept.
async fn refusal(plane: &ControlPlane, namespace: &str, labels: Value, spec: Value) -> Option<String> {
    let object = json!({ "metadata": { "name": "asked", "labels": labels }, "spec": spec });
    let dry_run = PostParams {
        dry_run: true,
        ..Default::default()
    };
    let api: Api<ApiToken> = Api::namespaced(plane.admin().await, namespace);
    let created = api.create(&dry_run, &serde_json::from_value(object).unwrap()).await;
    created.err().map(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refuses_what_breaks_its_demand_and_nothing_else() {
    let plane = shared();
    let cases = [
        (
            "max-lifetime",
            json!({ "maxLifetime": "720h" }),
            "a token lives for at most 720h here: set spec.lifetime",
            vec![
                json!({}),
                json!({ "lifetime": "720h1s" }),
                json!({ "lifetime": "43201m" }),
                json!({ "rotation": { "interval": "24h" } }),
                json!({ "expiresAt": in_days(31) }),
            ],
            vec![
                json!({ "lifetime": "720h" }),
                json!({ "lifetime": "1s" }),
                json!({ "expiresAt": in_days(29) }),
            ],
        ),
        (
            "rotation",
            json!({ "requireRotation": true }),
            "tokens are rotated here: set spec.rotation",
            vec![json!({}), json!({ "lifetime": "720h" }), json!({ "state": "Suspended" })],
            vec![
                json!({ "rotation": { "interval": "24h" } }),
                json!({ "lifetime": "24h", "rotation": {} }),
            ],
        ),
        (
            "issuers",
            json!({ "allowedIssuers": ["ClusterTokenIssuer/builtin", "TokenIssuer/*"] }),
            "is not allowed here: set spec.issuerRef to one of ClusterTokenIssuer/builtin TokenIssuer/*",
            vec![
                json!({}),
                issuer("ClusterTokenIssuer", "other"),
                issuer("ClusterTokenIssuer", "builtin2"),
            ],
            vec![issuer("ClusterTokenIssuer", "builtin"), issuer("TokenIssuer", "any")],
        ),
        (
            "default-issuer",
            json!({ "allowedIssuers": ["default"] }),
            "the issuer TokenIssuer/default is not allowed here",
            vec![issuer("TokenIssuer", "default")],
            vec![json!({})],
        ),
        (
            "scopes",
            json!({ "allowedScopes": ["orders:read", "stock:*", "{namespace}/*"] }),
            "these scopes are not allowed here: orders:write",
            vec![
                json!({ "scopes": ["orders:read", "orders:write"] }),
                json!({ "scopes": ["orders:write"] }),
            ],
            vec![
                json!({}),
                json!({ "scopes": [] }),
                json!({ "scopes": ["orders:read", "stock:write", "stock:", "NAMESPACE/x"] }),
            ],
        ),
        (
            "scopes-of-others",
            json!({ "allowedScopes": ["{namespace}/*"] }),
            "these scopes are not allowed here: other/x",
            vec![json!({ "scopes": ["other/x", "NAMESPACE/x"] })],
            vec![json!({ "scopes": ["NAMESPACE/x"] })],
        ),
        (
            "secret-types",
            json!({ "allowedSecretTypes": ["kubernetes.io/basic-auth", "example.com/token"] }),
            "are not allowed here: set spec.secret.type to one of kubernetes.io/basic-auth example.com/token",
            vec![json!({}), json!({ "secret": { "type": "example.com/tokens" } })],
            vec![json!({ "secret": { "type": "example.com/token" } })],
        ),
        (
            "retain",
            json!({ "forbidRetain": true }),
            "no token outlives its ApiToken here: set spec.deletionPolicy to Revoke",
            vec![json!({ "deletionPolicy": "Retain" }), json!({ "adopt": { "tokenID": "1" } })],
            vec![
                json!({}),
                json!({ "deletionPolicy": "Revoke" }),
                json!({ "adopt": { "tokenID": "1" }, "deletionPolicy": "Revoke" }),
            ],
        ),
        (
            "retained-secrets",
            json!({ "forbidRetain": true }),
            "no Secret outlives its ApiToken here: set spec.secret.deletionPolicy to Delete",
            vec![json!({ "secret": { "deletionPolicy": "Retain" } })],
            vec![json!({ "secret": { "deletionPolicy": "Delete" } })],
        ),
    ];
    for (name, demands, message, refused, accepted) in cases {
        let namespace = plane.namespace(&format!("guardrail-{name}")).await;
        let here = |spec: &Value| serde_json::from_str::<Value>(&spec.to_string().replace("NAMESPACE", &namespace)).unwrap();
        for spec in refused.iter().chain(&accepted) {
            let without = refusal(plane, &namespace, json!({}), here(spec)).await;
            assert_eq!(without, None, "{name}: {spec} is refused where nothing is demanded");
        }
        demand(plane, name, demands);
        put_under(plane, &namespace, name, here(&refused[0])).await;
        for spec in &refused {
            let said = refusal(plane, &namespace, json!({}), here(spec)).await.unwrap_or_default();
            assert!(said.contains(message), "{name}: to {spec} it says {said:?}");
        }
        for spec in &accepted {
            assert_eq!(refusal(plane, &namespace, json!({}), here(spec)).await, None, "{name}: {spec}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_has_to_be_named_and_to_stay_named() {
    let plane = shared();
    let namespace = plane.namespace("guardrail-owner").await;
    let team = Team::new(plane.admin().await, &namespace);
    demand(plane, "owner", json!({ "ownerLabel": OWNER }));
    team.declare_with(json!({ "name": "before", "labels": {} }), json!({})).await;
    put_under(plane, &namespace, "owner", json!({})).await;
    let message = "ApiTokens say here whose they are: set the label example.com/team";
    for labels in [json!({}), json!({ OWNER: "" }), json!({ "team": "shop" })] {
        let said = refusal(plane, &namespace, labels, json!({})).await.unwrap_or_default();
        assert!(said.contains(message), "{said}");
    }
    team.declare_with(json!({ "name": "ci", "labels": { OWNER: "shop" } }), json!({}))
        .await;
    let said = change(&team, "ci", json!({ "metadata": { "labels": { OWNER: null } } }))
        .await
        .unwrap();
    assert!(said.contains(message), "{said}");
    assert_eq!(
        change(&team, "ci", json!({ "metadata": { "labels": { "more": "x" } } })).await,
        None
    );
    assert_eq!(
        change(&team, "before", json!({ "metadata": { "annotations": { "more": "x" } } })).await,
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn warnings_and_audits_refuse_nothing() {
    let plane = shared();
    let namespace = plane.namespace("guardrail-warns").await;
    demand(
        plane,
        "warns",
        json!({ "requireRotation": true, "validationActions": ["Warn", "Audit"] }),
    );
    plane.kubectl(&["label", "namespace", &namespace, "guardrails=warns"]);
    eventually("it warns", || async {
        let file = plane.dir().join("warned.json");
        let object = json!({ "apiVersion": "apitoken.dev/v1alpha1", "kind": "ApiToken", "metadata": { "name": "x" }, "spec": {} });
        std::fs::write(&file, object.to_string()).unwrap();
        let output = plane.try_kubectl(&["create", "--dry-run=server", "-n", &namespace, "-f", file.to_str().unwrap()]);
        assert!(output.status.success());
        String::from_utf8_lossy(&output.stderr)
            .contains("tokens are rotated here")
            .then_some(())
    })
    .await;
}

/// Guardrails that come later hold for what is asked for from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_from_before_is_still_kept_and_can_always_be_ended() {
    let bed = Bed::new("guardrail-later").await;
    let namespace = bed.team.namespace.clone();
    for name in ["ci", "suspended"] {
        bed.team.declare(name, json!({ "description": "breaks all demands" })).await;
        bed.team.ready(name).await;
    }
    let demands = json!({
        "maxLifetime": "1h", "requireRotation": true, "allowedIssuers": ["TokenIssuer/none"], "allowedSecretTypes": ["example.com/none"],
        "ownerLabel": OWNER,
    });
    demand(bed.plane, "later", demands);
    put_under(bed.plane, &namespace, "later", json!({})).await;

    let value = bed.team.value("ci", "token").await;
    bed.team.request("ci", "now").await;
    bed.team.rotated("ci", 1).await;
    assert_ne!(bed.team.value("ci", "token").await, value, "the operator goes on with it");
    let operator: Api<ApiToken> = Api::namespaced(bed.plane.operator().await, &namespace);
    for finalizers in [json!([names::FINALIZER]), json!(null)] {
        let patch = Patch::Merge(json!({ "metadata": { "finalizers": finalizers } }));
        operator.patch("ci", &PatchParams::default(), &patch).await.unwrap();
    }

    for change_that_asks in [
        json!({ "description": "other" }),
        json!({ "scopes": ["more"] }),
        json!({ "lifetime": "2h" }),
    ] {
        let said = change(&bed.team, "ci", json!({ "spec": change_that_asks })).await.unwrap();
        assert!(said.contains("-guardrail-"), "{said}");
    }
    assert_eq!(
        change(&bed.team, "suspended", json!({ "spec": { "state": "Suspended" } })).await,
        None
    );
    bed.team.ready("suspended").await;
    let said = change(&bed.team, "suspended", json!({ "spec": { "state": "Active" } }))
        .await
        .unwrap();
    assert!(said.contains("-guardrail-"), "{said}");
    assert_eq!(change(&bed.team, "ci", json!({ "spec": { "state": "Revoked" } })).await, None);
    let revoked = bed.team.ready("ci").await;
    assert_eq!(tokens::state(&revoked), Some(ObservedState::Revoked));
    for name in ["ci", "suspended"] {
        let api = bed.team.api::<ApiToken>();
        api.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("it is gone", || async { api.get_opt(name).await.unwrap().is_none().then_some(()) }).await;
    }
    bed.operator.stop().await;
}

/// Else a namespace that is deleted with the parameters in it would stop every operator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_parameters_stop_nobody() {
    let plane = shared();
    let namespace = plane.namespace("guardrail-lost").await;
    demand(plane, "lost", json!({ "maxLifetime": "1h" }));
    put_under(plane, &namespace, "lost", json!({})).await;
    plane.kubectl(&["delete", "configmap", "apitoken-operator-guardrails-lost", "-n", OPERATOR_NAMESPACE]);
    eventually("writes are let through", || async {
        refusal(plane, &namespace, json!({}), json!({})).await.is_none().then_some(())
    })
    .await;
}

/// What the API server says to a change; nothing where it is done.
async fn change(team: &Team, name: &str, patch: Value) -> Option<String> {
    let changed = team
        .api::<ApiToken>()
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    changed.err().map(|error| error.to_string())
}

fn issuer(kind: &str, name: &str) -> Value {
    json!({ "issuerRef": { "kind": kind, "name": name } })
}

fn in_days(days: i64) -> String {
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
    format!("{end:.0}")
}
