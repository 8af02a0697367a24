//! Completion of `kubectl apitoken`, as kubectl asks for it.

use std::{os::unix::fs::PermissionsExt, time::Duration};

use serde_json::json;
use tokio::time::timeout;

use super::Plugin;
use crate::support::Bed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_completes_commands_flags_and_names() {
    let Bed { plane, team, operator } = Bed::new("plugin-completion").await;
    let tools = tempfile::tempdir().unwrap();
    let program = tools.path().join("kubectl_complete-apitoken");
    let plugin = Plugin::new(plane, &team.namespace).with_tools(tools.path());
    std::fs::write(&program, plugin.run(&["completion", "kubectl"]).await.ended(0)).unwrap();
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
    team.declare("ci", json!({})).await;
    team.declare("cron", json!({})).await;
    team.declare("mail", json!({})).await;

    let namespace = format!("--namespace={}", team.namespace);
    let unknown = format!("--namespace={}-nobody", team.namespace);
    for (words, expected) in [
        (&["rotate", &namespace, ""][..], &["ci", "cron", "mail", ":4"][..]),
        (&["rotate", &namespace, "c"], &["ci", "cron", ":4"]),
        (&["-n", &team.namespace, "revoke", "--yes", "m"], &["mail", ":4"]),
        (&["rotate", &unknown, ""], &[":4"]),
        (
            &["rotate", "--server-that-is-not=", &namespace, "mail", "--over"],
            &["--overlap", ":4"],
        ),
        (&["list", &namespace, ""], &[":4"]),
        (&["sus"], &["suspend", ":4"]),
        (&["list", "-o", "j"], &["json", ":4"]),
    ] {
        let asked = [&["__complete", "apitoken"], words].concat();
        let told = plugin.kubectl(&asked, "").await.ended(0);
        let candidates: Vec<&str> = told.lines().map(|line| line.split('\t').next().unwrap()).collect();
        assert_eq!(candidates, expected, "{words:?}");
    }
    let begun = &team.namespace[..team.namespace.len() - 1];
    let namespaces = plugin.kubectl(&["__complete", "apitoken", "list", "-n", begun], "").await.ended(0);
    assert!(namespaces.lines().any(|line| line == team.namespace), "{namespaces}");
    assert!(
        namespaces.lines().all(|line| line.starts_with(begun) || line == ":4"),
        "{namespaces}"
    );
    let described = plugin.kubectl(&["__complete", "apitoken", "rot"], "").await.ended(0);
    assert_eq!(described, "rotate\tAsk for a new value now\n:4\n");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_does_not_answer_gives_no_names_and_soon() {
    let Bed { plane, team, operator } = Bed::new("plugin-completion-late").await;
    let plugin = Plugin::new(plane, &team.namespace);
    // It takes connections, and never says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let kubeconfig = json!({
        "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", silent.local_addr().unwrap()) } }],
        "users": [{ "name": "u", "user": {} }],
    });
    std::fs::write(file.path(), kubeconfig.to_string()).unwrap();
    let kubeconfig = format!("--kubeconfig={}", file.path().display());
    for (words, expected) in [
        (["--", "rotate", &kubeconfig, ""], ":4\n"),
        (["--", "rotate", "--kubeconfig=/nowhere", ""], ":4\n"),
        (["--", &kubeconfig, "--context", ""], "c\n:4\n"),
    ] {
        let asked = [&["__complete"], &words[..]].concat();
        let told = timeout(Duration::from_secs(20), plugin.anywhere(&asked, "")).await;
        let told = told.expect("somebody waits at the keyboard");
        assert_eq!(
            (told.stdout.as_str(), told.stderr.as_str(), told.code),
            (expected, "", 0),
            "{words:?}"
        );
    }
    operator.stop().await;
}
