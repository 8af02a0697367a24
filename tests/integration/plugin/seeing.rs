//! What shows ApiTokens and issuers and changes nothing.

use serde_json::{Value, json};

use super::Plugin;
use crate::support::Bed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_attention_comes_first() {
    let Bed { plane, team, operator } = Bed::new("plugin-list").await;
    let plugin = Plugin::new(plane, &team.namespace);
    plugin.run(&["list"]).await.told(0, "No such ApiTokens in the namespace");

    team.foreign_secret("taken").await;
    team.declare("a-fine", json!({ "lifetime": "720h", "rotation": { "interval": "240h" } }))
        .await;
    team.declare("b-soon", json!({ "lifetime": "24h" })).await;
    team.declare("z-conflict", json!({ "secret": { "name": "taken" } })).await;
    team.ready("a-fine").await;
    team.ready("b-soon").await;
    team.reason("z-conflict", "SecretConflict").await;

    let list = plugin.run(&["list"]).await.ended(0);
    let lines: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        lines[0],
        ["NAME", "STATE", "READY", "ENDS", "ROTATES", "USED", "ATTENTION"],
        "{list}"
    );
    assert_eq!(
        lines.iter().skip(1).map(|line| line[0]).collect::<Vec<_>>(),
        ["z-conflict", "a-fine", "b-soon"],
        "{list}"
    );
    assert!(
        list.contains("SecretConflict: the Secret \"taken\" is not of this ApiToken"),
        "{list}"
    );

    let wide = plugin.run(&["list", "--output=wide"]).await.ended(0);
    assert!(wide.contains("ClusterTokenIssuer/builtin"), "{wide}");
    let everywhere = plugin.anywhere(&["list", "-A"], "").await.ended(0);
    assert!(
        everywhere.starts_with("NAMESPACE") && everywhere.contains(&team.namespace),
        "{everywhere}"
    );

    let expiring = plugin.run(&["list", "--expiring=7d", "-ojson"]).await.ended(0);
    let expiring: Value = serde_json::from_str(&expiring).unwrap();
    let names: Vec<&str> = expiring["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["b-soon"], "the other is rotated before it ends");
    let unused = plugin.run(&["list", "--unused=0s", "-oyaml"]).await.ended(0);
    assert!(unused.contains("name: a-fine") && !unused.contains("z-conflict"), "{unused}");
    plugin.run(&["list", "--expiring=soon"]).await.told(2, "such as 7d");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_has_a_story() {
    let Bed { plane, team, operator } = Bed::new("plugin-describe").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({ "description": "deploys the shop", "lifetime": "720h" }))
        .await;
    team.ready("ci").await;
    team.note("ci", "Issued").await;
    let story = plugin.run(&["describe", "ci"]).await.ended(0);
    for part in [
        &format!("ApiToken:    {}/ci", team.namespace),
        "State:       Active, as declared",
        "Issuer:      ClusterTokenIssuer/builtin",
        "Secret:      ci, key token",
        "So far:\n",
        "the token ends",
        "Events:\n",
        "Issued: Issued token",
    ] {
        assert!(story.contains(part), "{part}: {story}");
    }
    plugin.run(&["describe", "nobody"]).await.told(3, "\"nobody\" not found");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuers_are_shown_as_far_as_one_may_see_them() {
    let Bed { plane, team, operator } = Bed::new("plugin-issuers").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.issuer("own", json!({ "builtin": {} })).await;
    let issuers = plugin.run(&["issuers"]).await.ended(0);
    assert!(issuers.contains("ClusterTokenIssuer/builtin"), "{issuers}");
    assert!(issuers.contains(&format!("TokenIssuer/{}/own", team.namespace)), "{issuers}");

    team.viewer("viewer").await;
    let viewer = plugin.run(&["issuers", "--as=viewer"]).await;
    assert!(
        !viewer.stdout.contains("ClusterTokenIssuer/") && viewer.stdout.contains("/own"),
        "{viewer:?}"
    );
    viewer.told(0, "You may not list ClusterTokenIssuers");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_its_version_and_helps() {
    let Bed { plane, team, operator } = Bed::new("plugin-help").await;
    let plugin = Plugin::new(plane, &team.namespace);
    assert_eq!(plugin.run(&["version"]).await.ended(0).trim(), env!("CARGO_PKG_VERSION"));
    assert!(plugin.run(&["--help"]).await.ended(0).contains("Exit statuses:"));
    plugin.run(&["nonsense"]).await.told(2, "nonsense");
    plugin.run(&["list", "--as-group=x"]).await.told(2, "--as-group needs --as");
    plugin.run(&["list", "--context=nowhere"]).await.told(1, "nowhere");
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef kubectl-apitoken"),
        ("fish", "complete -c kubectl-apitoken"),
    ] {
        assert!(plugin.run(&["completion", shell]).await.ended(0).contains(part), "{shell}");
    }
    operator.stop().await;
}
