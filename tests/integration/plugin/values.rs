//! Values: shown to whoever may read them, known by their hash, never in arguments.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::json;

use super::Plugin;
use crate::support::Bed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_is_for_whoever_may_read_its_secret() {
    let Bed { plane, team, operator } = Bed::new("plugin-value").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({ "secret": { "name": "other", "key": "k" } })).await;
    team.ready("ci").await;
    let value = team.value("other", "k").await;
    // No assertion may print what it compares.
    assert!(
        plugin.run(&["get-value", "ci"]).await.ended(0) == value,
        "the value and nothing else"
    );

    team.viewer("viewer").await;
    let viewer = plugin.run(&["get-value", "ci", "--as=viewer"]).await;
    assert!(viewer.stdout.is_empty(), "nothing is shown");
    assert_eq!(viewer.stderr.lines().count(), 1, "{viewer:?}");
    viewer.told(1, "you may not read the Secret other, which holds the value");
    plugin.run(&["list", "--as=viewer"]).await.ended(0);
    plugin
        .run(&["rotate", "ci", "--as=viewer"])
        .await
        .told(1, "cannot patch resource \"apitokens\"");

    plugin.run(&["suspend", "ci", "--wait"]).await.ended(0);
    plugin.run(&["get-value", "ci"]).await.told(0, "this value does not work");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_goes_to_the_clipboard_by_standard_input_alone() {
    let Bed { plane, team, operator } = Bed::new("plugin-copy").await;
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    let tools = tempfile::tempdir().unwrap();
    let here = Plugin::new(plane, &team.namespace).with_tools(tools.path());
    here.run(&["get-value", "ci", "--copy"]).await.told(1, "there is no clipboard here");

    let tool = tools.path().join("pbcopy");
    let dir = tools.path().display();
    fs::write(
        &tool,
        format!("#!/bin/sh\ntr '\\0' ' ' </proc/$$/cmdline >{dir}/arguments\ncat >{dir}/copied\n"),
    )
    .unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let copied = here.run(&["get-value", "ci", "--copy"]).await;
    assert!(!copied.stderr.contains(&value), "it is not shown");
    assert!(copied.ended(0).is_empty(), "it is not shown");
    assert!(fs::read_to_string(tools.path().join("copied")).unwrap() == value, "it is copied");
    assert!(!fs::read_to_string(tools.path().join("arguments")).unwrap().contains(&value));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_a_value_is_and_whether_it_works() {
    let Bed { plane, team, operator } = Bed::new("plugin-verify").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({ "rotation": { "interval": "240h", "overlap": "1h" } }))
        .await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    let subject = format!("{}/ci", team.namespace);
    let row = |table: String| {
        table
            .lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };

    let found = plugin.anywhere(&["verify"], &format!("{value}\n")).await.ended(0);
    let found = row(found);
    assert_eq!(
        (&found[0], &found[1], &found[3]),
        (&subject, &"current".to_owned(), &"works".to_owned())
    );
    team.request("ci", "1").await;
    team.rotated("ci", 1).await;
    assert_eq!(row(plugin.fed(&["verify"], &value).await.ended(0))[1], "replaced");
    plugin.run(&["suspend", "ci", "--wait"]).await.ended(0);
    let held = plugin.fed(&["verify"], &team.value("ci", "token").await).await.ended(5);
    assert!(held.contains("does not work (suspended)"), "{held}");
    plugin.fed(&["verify"], "apt_nobody").await.told(3, "no ApiToken of the namespace");
    plugin.fed(&["verify"], "two words").await.told(2, "this can't be a token");

    for arguments in [
        &["verify", &value][..],
        &["leak", &value],
        &["list", &format!("--expiring={value}")],
    ] {
        let refused = plugin.run(arguments).await;
        assert!(!refused.stderr.contains(&value) && refused.stdout.is_empty(), "it is not repeated");
        refused.told(2, "values are never arguments");
    }
    operator.stop().await;
}
