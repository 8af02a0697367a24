//! The real program: how it starts, what it shows, how it ends.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};

use crate::support::{
    control_plane::{self, ControlPlane},
    eventually,
    operator::Program,
    proxy::{Cut, Fault, Proxy},
    tokens::Team,
};

fn one_line(output: &std::process::Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_bad_flag_ends_it() {
    for arguments in [
        &["controller", "--nonsense"][..],
        &["controller", "--concurrency=0"],
        &["controller", "--propagation-delay=soon"],
        &["controller", "--single-namespace=shop"],
        &["controller", "--single-namespace=", "--cluster-id=01234567"],
        &["verifier", "--single-namespace="],
        &[
            "controller",
            "--single-namespace=shop",
            "--cluster-id=01234567",
            "--watch-namespace=shop",
        ],
        &["verifier", "--deny-when-stale=20s"],
        &["verifier", "--tls-key=key.pem"],
        &["nonsense"],
    ] {
        let output = Program::command().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(one_line(&output).contains("--help"), "{arguments:?}");
    }
}

#[test]
fn without_a_cluster_it_says_what_to_do() {
    let output = Program::command()
        .arg("controller")
        .arg("--admin-address=127.0.0.1:0")
        .arg("--log-level=error")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("set KUBECONFIG"), "{output:?}");
}

#[test]
fn a_cluster_that_does_not_answer_ends_it() {
    let kubeconfig = tempfile::NamedTempFile::new().unwrap();
    let nowhere = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": "http://127.0.0.1:1" } }],
        "users": [{ "name": "u", "user": {} }],
    });
    std::fs::write(kubeconfig.path(), nowhere.to_string()).unwrap();
    let mut command = Program::command();
    command
        .args(["controller", "--admin-address=127.0.0.1:0", "--log-level=error"])
        .env("KUBECONFIG", kubeconfig.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("can't reach the API server"), "{output:?}");
}

#[test]
fn an_admin_address_in_use_ends_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("--admin-address={}", taken.local_addr().unwrap());
    let output = Program::command()
        .args(["controller", &address, "--log-level=error"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(one_line(&output).contains("--admin-address"), "{output:?}");
}

#[test]
fn it_prints_its_version_and_its_crds() {
    let version = Program::command().arg("version").output().unwrap();
    assert_eq!(String::from_utf8(version.stdout).unwrap().trim(), env!("CARGO_PKG_VERSION"));
    let crds = Program::command().arg("crds").output().unwrap();
    assert_eq!(
        String::from_utf8(crds.stdout)
            .unwrap()
            .matches("kind: CustomResourceDefinition")
            .count(),
        3
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rights_it_says_which_are_missing() {
    let plane = control_plane::shared();
    let mut kubeconfig = plane.operator_kubeconfig(None).await;
    kubeconfig
        .auth_infos
        .iter_mut()
        .for_each(|user| user.auth_info = Some(Default::default()));
    let mut program = Program::spawn(plane, &kubeconfig, &[]);
    assert_eq!(program.wait().await.code(), Some(1));
    let log = eventually("the reason", || async {
        Some(program.log()).filter(|log| log.contains("apitoken-operator: "))
    })
    .await;
    assert!(log.contains("not allowed to list apitokens.apitoken.dev"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_crds_it_says_how_to_get_them_and_with_them_it_serves_its_probes() {
    let plane = ControlPlane::with_chart("program");
    let crds: Api<CustomResourceDefinition> = Api::all(plane.admin().await);
    crds.delete("apitokens.apitoken.dev", &DeleteParams::default()).await.unwrap();
    eventually("the kind is gone", || async {
        crds.get_opt("apitokens.apitoken.dev").await.unwrap().is_none().then_some(())
    })
    .await;
    let kubeconfig = plane.operator_kubeconfig(None).await;
    let mut program = Program::spawn(&plane, &kubeconfig, &[]);
    assert_eq!(program.wait().await.code(), Some(1));
    let log = eventually("the reason", || async {
        Some(program.log()).filter(|log| log.contains("apitoken-operator: "))
    })
    .await;
    assert!(log.contains("apitoken-operator crds | kubectl apply"), "{log}");

    plane.kubectl(&[
        "apply",
        "--server-side",
        "-f",
        control_plane::source().join("crds").to_str().unwrap(),
    ]);
    plane.kubectl(&["wait", "--for=condition=Established", "crd/apitokens.apitoken.dev", "--timeout=60s"]);
    let program = Program::start(&plane, &["--log-format=json"]).await;
    let team = Team::new(plane.admin().await, &plane.namespace("program").await);
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    assert!(program.get("/livez").await.unwrap().starts_with("HTTP/1.1 200"));
    for series in [
        "apitoken_tokens{state=\"Active\",issuer=\"ClusterTokenIssuer/builtin\"} 1",
        "apitoken_operations_total{operation=\"create_secret\",result=\"success\"} 1",
        "apitoken_reconciliations_total{result=\"success\"}",
        "apitoken_build_info{version=",
    ] {
        // The watch shows a token's new state a little after the API server does.
        eventually(series, || async {
            program.get("/metrics").await.filter(|metrics| metrics.contains(series))
        })
        .await;
    }
    let log = program.log();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{log}");
    let issued: Vec<&str> = log.lines().filter(|line| line.contains("\"Issued\"")).collect();
    assert_eq!(issued.len(), 1, "one line for one thing done: {log}");

    let (status, took) = program.terminate().await;
    assert!(status.success() && took < Duration::from_secs(10), "{status} after {took:?}");
    plane.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_not_ready_before_its_watches_have_listed() {
    let plane = control_plane::shared();
    let proxy = Proxy::start(plane.anonymous().await).await;
    proxy.hold(Fault::at("GET", "/secrets", Cut::Before));
    let kubeconfig = plane.operator_kubeconfig(Some(proxy.address())).await;
    let namespace = plane.namespace("not-ready").await;
    let program = Program::spawn(plane, &kubeconfig, &[&format!("--watch-namespace={namespace}")]);
    proxy.holds_the_request().await;
    let answer = eventually("the probe answers", || program.get("/readyz")).await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(program.get("/livez").await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_after_the_api_server_was_away() {
    let plane = ControlPlane::with_chart("away");
    let program = Program::start(&plane, &[]).await;
    let team = Team::new(plane.admin().await, &plane.namespace("away").await);
    team.declare("before", json!({})).await;
    team.ready("before").await;
    plane.restart_api_server();
    team.declare("after", json!({})).await;
    team.ready("after").await;
    let (status, _) = program.terminate().await;
    assert!(status.success());
    plane.stop();
}
