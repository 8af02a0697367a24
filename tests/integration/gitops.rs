//! What GitOps tools make of our objects, by the code that they themselves run: Argo CD's Lua, the kstatus of Flux and Helm, Kustomize.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
    sync::OnceLock,
};

use apitoken_operator::api::ApiToken;
use serde_json::{Value, json};

use crate::support::{
    Bed,
    control_plane::{shared, source},
    tokens::{Team, rotations, state},
};

/// Runs our program that holds those tools' code.
fn gitops(arguments: &[&str], object: &Value) -> Value {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let built = Command::new(source().join("hack/gitops/build"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(built.status.success(), "hack/gitops was not built");
        PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
    });
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "gitops {arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn script(name: &str) -> String {
    source().join("hack/argocd").join(name).to_str().unwrap().to_owned()
}

fn health(object: &Value) -> Value {
    gitops(&["lua", &script("health.lua")], object)["status"].clone()
}

fn kstatus(object: &Value) -> Value {
    gitops(&["kstatus"], object)["Status"].clone()
}

/// The actions that Argo CD offers.
fn actions(object: &Value) -> Vec<String> {
    let offered = gitops(&["lua", &script("actions/discovery.lua")], object);
    let enabled = offered
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, action)| action["disabled"] == false);
    enabled.map(|(name, _)| name.clone()).collect()
}

/// The object as the API server shows it to those tools, with `kind` and `apiVersion`.
fn seen(team: &Team, kind: &str, name: &str) -> Value {
    serde_json::from_str(&shared().kubectl(&["get", kind, name, "-n", &team.namespace, "-o", "json"])).unwrap()
}

#[track_caller]
fn assert_seen(object: &Value, kstatus_is: &str, health_is: &str, actions_are: &[&str]) {
    let name = &object["metadata"]["name"];
    assert_eq!(kstatus(object), kstatus_is, "kstatus of {name}: {object}");
    assert_eq!(health(object), health_is, "health of {name}: {object}");
    assert_eq!(actions(object), actions_are, "actions of {name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn argo_cd_and_flux_see_each_state_as_it_is() {
    let Bed { plane, team, operator } = Bed::new("gitops").await;
    let see = |name: &str| seen(&team, "apitoken", name);

    team.declare("ready", json!({})).await;
    team.ready("ready").await;
    assert_seen(&see("ready"), "Current", "Healthy", &["revoke", "rotate", "suspend"]);

    team.declare(
        "progressing",
        json!({ "issuerRef": { "kind": "TokenIssuer", "name": "nobody-made-it" } }),
    )
    .await;
    team.reason("progressing", "IssuerNotFound").await;
    let progressing = see("progressing");
    assert_eq!(
        (kstatus(&progressing), health(&progressing)),
        (json!("InProgress"), json!("Progressing"))
    );

    team.foreign_secret("stalled").await;
    team.declare("stalled", json!({})).await;
    team.reason("stalled", "SecretConflict").await;
    let stalled = see("stalled");
    assert_eq!((kstatus(&stalled), health(&stalled)), (json!("Failed"), json!("Degraded")));

    team.declare("suspended", json!({ "state": "Suspended" })).await;
    team.ready("suspended").await;
    assert_seen(&see("suspended"), "Current", "Healthy", &["activate", "revoke"]);

    team.declare("revoked", json!({ "state": "Revoked" })).await;
    team.ready("revoked").await;
    assert_seen(&see("revoked"), "Current", "Healthy", &[]);

    team.declare("expired", json!({ "expiresAt": "2020-01-01T00:00:00Z" })).await;
    team.reason("expired", "Expired").await;
    assert_seen(&see("expired"), "Failed", "Degraded", &[]);

    team.declare("paused", json!({})).await;
    team.ready("paused").await;
    team.annotate("paused", json!({ "apitoken.dev/paused": "true" })).await;
    team.until("paused", "paused", |token| {
        json!(token.status)["conditions"].to_string().contains("\"Paused\"")
    })
    .await;
    assert_seen(&see("paused"), "Current", "Suspended", &["revoke", "rotate", "suspend"]);
    team.change("paused", json!({ "spec": { "description": "nobody has seen this yet" } }))
        .await;
    assert_eq!(kstatus(&see("paused")), "InProgress");

    team.declare_with(json!({ "name": "deleting", "finalizers": ["example.com/holds-it"] }), json!({}))
        .await;
    team.ready("deleting").await;
    team.delete::<ApiToken>("deleting").await;
    let deleting = see("deleting");
    assert_eq!(
        (kstatus(&deleting), health(&deleting)),
        (json!("Terminating"), json!("Progressing"))
    );
    team.change("deleting", json!({ "metadata": { "finalizers": null } })).await;

    operator.stop().await;
    team.declare("unseen", json!({})).await;
    assert_seen(&see("unseen"), "InProgress", "Progressing", &[]);
    team.change("ready", json!({ "spec": { "state": "Suspended" } })).await;
    let changed = see("ready");
    assert_eq!((kstatus(&changed), health(&changed)), (json!("InProgress"), json!("Progressing")));
    let default: Value = serde_json::from_str(&plane.kubectl(&["get", "clustertokenissuer", "builtin", "-o", "json"])).unwrap();
    assert_eq!((kstatus(&default), health(&default)), (json!("Current"), json!("Healthy")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_action_of_argo_cd_does_what_it_says_and_changes_nothing_else() {
    let Bed { team, operator, .. } = Bed::new("actions").await;
    team.declare("ci", json!({ "secret": { "labels": {} }, "scopes": [] })).await;
    team.ready("ci").await;
    let patch = |action: &str| {
        gitops(
            &["patch", &script(&format!("actions/{action}/action.lua"))],
            &seen(&team, "apitoken", "ci"),
        )
    };

    let rotate = patch("rotate");
    let at = rotate["metadata"]["annotations"]["apitoken.dev/rotate-requested-at"]
        .as_str()
        .unwrap();
    at.parse::<jiff::Timestamp>().unwrap();
    assert_eq!(
        rotate,
        json!({ "metadata": { "annotations": { "apitoken.dev/rotate-requested-at": at } } })
    );
    team.change("ci", rotate).await;
    team.rotated("ci", 1).await;

    for (action, declared) in [("suspend", "Suspended"), ("activate", "Active"), ("revoke", "Revoked")] {
        let change = patch(action);
        assert_eq!(change, json!({ "spec": { "state": declared } }));
        team.change("ci", change).await;
        let token = team.ready("ci").await;
        assert_eq!(json!(state(&token)), declared);
        assert_eq!(rotations(&token), 1);
    }
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applied_again_nothing_differs_and_the_spec_stays_the_appliers() {
    let Bed { plane, team, operator } = Bed::new("apply").await;
    let folder = source().join("examples");
    let apply = |verb: &str| {
        let folder = folder.to_str().unwrap();
        let manager = "--field-manager=argocd-controller";
        plane.try_kubectl(&[verb, "--server-side", manager, "-n", &team.namespace, "-f", folder])
    };
    let versions = || {
        let columns =
            "custom-columns=KIND:.kind,NAME:.metadata.name,VERSION:.metadata.resourceVersion,GENERATION:.metadata.generation,SPEC:.spec";
        plane.kubectl(&["get", "apitokens,tokenissuers", "-n", &team.namespace, "-o", columns])
    };
    let applied = apply("apply");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let namespace = team.namespace.as_str();
    plane.until_all_ready(namespace, "60s");

    let before = versions();
    for _ in 0..2 {
        assert!(apply("apply").status.success());
        assert_eq!(versions(), before, "an apply of the same changes nothing");
    }
    let difference = apply("diff");
    assert!(
        difference.status.success() && difference.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&difference.stdout)
    );

    let objects = plane.kubectl(&[
        "get",
        "apitokens,tokenissuers",
        "-n",
        namespace,
        "-o",
        "json",
        "--show-managed-fields",
    ]);
    let objects: Value = serde_json::from_str(&objects).unwrap();
    let objects = objects["items"].as_array().unwrap();
    assert!(objects.len() >= 9);
    for field in objects
        .iter()
        .flat_map(|object| object["metadata"]["managedFields"].as_array().unwrap())
    {
        let owns_spec = !field["fieldsV1"]["f:spec"].is_null();
        assert!(!owns_spec || field["manager"] == "argocd-controller", "{field}");
    }
    operator.stop().await;
}

/// A chart that holds ApiTokens alone.
fn chart_of_tokens(manifests: &str) -> tempfile::TempDir {
    let chart = tempfile::tempdir().unwrap();
    fs::create_dir(chart.path().join("templates")).unwrap();
    fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: tokens\nversion: 1.0.0\n").unwrap();
    fs::write(chart.path().join("templates/tokens.yaml"), manifests).unwrap();
    chart
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_waits_until_tokens_are_ready() {
    let Bed { plane, team, operator } = Bed::new("helm-wait").await;
    let tokens = fs::read_to_string(source().join("examples/06-rotation-with-overlap.yaml")).unwrap();
    let suspended = fs::read_to_string(source().join("examples/04-suspended.yaml")).unwrap();
    let chart = chart_of_tokens(&format!("{tokens}\n---\n{suspended}"));
    let install = |release: &str, namespace: &str, timeout: &str| {
        let chart = chart.path().to_str().unwrap();
        plane.try_helm(&["install", release, chart, "-n", namespace, "--wait", "--timeout", timeout])
    };
    let installed = install("tokens", &team.namespace, "60s");
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    for name in ["rotating", "suspended"] {
        assert_eq!(health(&seen(&team, "apitoken", name)), "Healthy", "{name}");
    }
    operator.stop().await;

    // Where no operator looks, it waits in vain: else it would not have waited above either.
    let elsewhere = plane.namespace("helm-wait-in-vain").await;
    assert!(!install("tokens", &elsewhere, "3s").status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kustomize_has_hashes_and_prefixes_reach_all_references() {
    let plane = shared();
    let overlay = source().join("examples/kustomize/overlays/prod");
    let overlay = overlay.to_str().unwrap();
    let rendered = plane.kubectl(&["kustomize", overlay]);
    let objects: Vec<Value> = serde_saphyr::from_multiple(&rendered).unwrap();
    let object = |kind: &str| objects.iter().find(|object| object["kind"] == kind).unwrap();
    let name = |kind: &str| object(kind)["metadata"]["name"].as_str().unwrap();

    assert!(name("Secret").starts_with("prod-mailtrap-"), "{rendered}");
    assert_eq!(object("TokenIssuer")["spec"]["mailtrap"]["credentialsRef"]["name"], name("Secret"));
    assert_eq!(name("TokenIssuer"), "prod-mail");
    assert_eq!(object("ApiToken")["spec"]["issuerRef"]["name"], name("TokenIssuer"));
    assert_eq!(name("ApiToken"), "prod-newsletter");
    let volume = &object("Deployment")["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(volume["secret"]["secretName"], name("ApiToken"));

    let namespace = plane.namespace("kustomize").await;
    let accepted = plane.kubectl(&["apply", "--dry-run=server", "-n", &namespace, "-k", overlay]);
    assert_eq!(accepted.matches("created (server dry run)").count(), 4, "{accepted}");
}
