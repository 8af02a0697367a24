//! The chart, by the real Helm on a real API server.

use serde_json::{Value, json};

use crate::support::{
    control_plane::{ControlPlane, OPERATOR_NAMESPACE, source},
    operator::Program,
    tokens::Team,
};

fn chart() -> String {
    source().join("charts/apitoken-operator").to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_installs_on_an_empty_cluster_upgrades_and_keeps_tokens_when_it_goes() {
    let plane = ControlPlane::with_chart("chart");
    let program = Program::start(&plane, &[]).await;
    let team = Team::new(plane.admin().await, &plane.namespace("chart").await);
    team.declare("ci", json!({})).await;
    let value = {
        team.ready("ci").await;
        team.value("ci", "token").await
    };
    plane.helm(&[
        "upgrade",
        "apitoken-operator",
        &chart(),
        "-n",
        OPERATOR_NAMESPACE,
        "--set",
        "log.level=debug",
    ]);
    let deployment = plane.kubectl(&[
        "get",
        "deployment",
        "apitoken-operator-controller",
        "-n",
        OPERATOR_NAMESPACE,
        "-o",
        "json",
    ]);
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert!(pod.to_string().contains("\"runAsNonRoot\":true") && pod.to_string().contains("RuntimeDefault"));
    assert!(container["livenessProbe"].is_object() && container["readinessProbe"].is_object());
    assert!(container["resources"]["limits"]["memory"].is_string());

    plane.helm(&["uninstall", "apitoken-operator", "-n", OPERATOR_NAMESPACE]);
    assert_eq!(
        team.value("ci", "token").await,
        value,
        "the CRDs are kept, and the tokens with them"
    );
    drop(program);

    plane.install_chart();
    let program = Program::start(&plane, &[]).await;
    team.change("ci", json!({ "spec": { "secret": { "labels": { "team": "shop" } } } }))
        .await;
    team.ready("ci").await;
    assert_eq!(team.value("ci", "token").await, value);
    drop(program);
    plane.stop();
}

#[test]
fn its_arguments_are_those_that_the_program_takes() {
    let plane = crate::support::control_plane::shared();
    let manifests = plane.helm(&["template", "apitoken-operator", &chart(), "--set", "crds.enabled=false"]);
    let line = manifests
        .lines()
        .find(|line| line.contains("--admin-address"))
        .expect("the address of the probes is set");
    let arguments: Vec<&str> = manifests.lines().filter_map(|line| line.trim().strip_prefix("- --")).collect();
    assert!(!arguments.is_empty(), "{line}");
    let help = Program::command().args(["controller", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for argument in arguments {
        let flag = argument.split('=').next().unwrap();
        assert!(help.contains(&format!("--{flag}")), "the program has no flag --{flag}");
    }
}

#[test]
fn unknown_and_wrong_values_are_refused() {
    let plane = crate::support::control_plane::shared();
    for value in [
        "nonsense=1",
        "log.nonsense=1",
        "log.level=loud",
        "concurrency=0",
        "image.pullPolicy=Sometimes",
    ] {
        let output = plane.try_helm(&["template", "x", &chart(), "--set", value]);
        assert!(!output.status.success(), "{value} is accepted");
    }
}

#[test]
fn lint_finds_nothing() {
    let plane = crate::support::control_plane::shared();
    plane.helm(&["lint", "--strict", &chart()]);
}

#[test]
fn teams_get_the_rights_that_their_roles_promise_and_no_more() {
    let plane = crate::support::control_plane::shared();
    let namespace = "default";
    for role in ["view", "edit", "admin"] {
        plane.kubectl(&[
            "create",
            "rolebinding",
            &format!("test-{role}"),
            "-n",
            namespace,
            &format!("--clusterrole={role}"),
            &format!("--user=a-{role}"),
        ]);
    }
    for (role, verb, resource, expected) in [
        ("view", "get", "apitokens.apitoken.dev", true),
        ("view", "create", "apitokens.apitoken.dev", false),
        ("edit", "create", "apitokens.apitoken.dev", true),
        ("edit", "create", "tokenissuers.apitoken.dev", false),
        ("admin", "create", "tokenissuers.apitoken.dev", true),
        ("admin", "create", "clustertokenissuers.apitoken.dev", false),
        ("admin", "update", "apitokens.apitoken.dev --subresource=status", false),
        ("admin", "patch", "tokenissuers.apitoken.dev --subresource=status", false),
    ] {
        let user = format!("--as=a-{role}");
        let question: Vec<&str> = ["auth", "can-i", verb]
            .into_iter()
            .chain(resource.split(' '))
            .chain(["-n", namespace, &user])
            .collect();
        let answered = || plane.try_kubectl(&question).status.success() == expected;
        // The roles are put together by a controller, moments after the chart is installed.
        let end = std::time::Instant::now() + crate::support::DEADLINE;
        while !answered() {
            assert!(std::time::Instant::now() < end, "{role} {verb} {resource} should be {expected}");
        }
    }
}
