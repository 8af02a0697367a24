//! `helm test`: there are no Pods here, so what its containers run is run by itself, with the busybox of the distribution in place
//! of the image's.

use std::process::Command;

use serde_json::Value;

use crate::{
    chart::rendered,
    support::{
        control_plane::{OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, shared},
        eventually,
        front::tool,
        operator::Program,
        proxy::{Cut, Fault, Proxy},
    },
};

/// What the container of that program runs, with the address in place of the program's Service.
fn command(program: &str, address: &str) -> Vec<String> {
    let objects = rendered(&[]);
    let pod = objects
        .iter()
        .find(|object| object["metadata"]["name"] == "apitoken-operator-test")
        .unwrap();
    let containers = pod["spec"]["containers"].as_array().unwrap();
    let container = containers.iter().find(|container| container["name"] == program).unwrap();
    assert_eq!(container["args"], Value::Null);
    let service = format!("http://apitoken-operator-{program}:");
    let words: Vec<String> = serde_json::from_value(container["command"].clone()).unwrap();
    let (asked, told): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.starts_with(&service));
    assert!(asked.len() == 1 && words.last() == asked.first().copied(), "{words:?}");
    let path = asked[0]
        .trim_start_matches(&service)
        .trim_start_matches(|digit: char| digit.is_ascii_digit());
    told.into_iter().cloned().chain([format!("http://{address}{path}")]).collect()
}

/// Whether that command ends well. That it breaks off is no answer.
fn passes(program: &str, address: &str) -> bool {
    let mut busybox = Command::new(tool("busybox"));
    busybox.args(command(program, address)).env_clear();
    let status = busybox.output().unwrap().status;
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
    status.success()
}

/// Where probes are answered.
async fn address(program: &Program) -> String {
    eventually("it serves probes", || async { program.address("serving probes and metrics") }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_where_the_programs_are_ready_and_fails_where_they_are_not_or_are_not_there() {
    let plane = shared();
    let namespace = plane.namespace("helm-test").await;
    let watched = format!("--watch-namespace={namespace}");
    for (program, account, listed) in [
        ("controller", OPERATOR_ACCOUNT, "/secrets"),
        ("verifier", VERIFIER_ACCOUNT, "/apitokens"),
    ] {
        let proxy = Proxy::start(plane.anonymous().await).await;
        proxy.hold(Fault::at("GET", listed, Cut::Before));
        let kubeconfig = plane.account_kubeconfig(OPERATOR_NAMESPACE, account, Some(proxy.address())).await;
        let arguments: &[&str] = if program == "verifier" { &["--address=127.0.0.1:0"] } else { &[] };
        let running = Program::run(plane, &kubeconfig, &[&[program, &watched], arguments].concat());
        proxy.holds_the_request().await;
        let address = address(&running).await;
        assert!(!passes(program, &address), "the {program} has not listed yet");
        proxy.let_go();
        eventually("it is ready", || async { running.is_ready().await.then_some(()) }).await;
        assert!(passes(program, &address), "the {program} is ready");
        drop(running);
        assert!(!passes(program, &address), "the {program} is gone");
    }
}
