//! The bad day: values in a log are found, and ended.

use std::fmt::Write;

use apitoken_operator::api::names;
use kube::ResourceExt;
use serde_json::json;

use super::Plugin;
use crate::support::{
    Bed,
    tokens::{recorded_hash, rotations, status},
    verifier::{self, InProcess},
};

const QUESTION: &str = "issuer=ClusterTokenIssuer/builtin";

/// A log of some megabytes with values somewhere in it.
fn log(values: &[&str]) -> tempfile::NamedTempFile {
    let mut text = String::new();
    for (number, value) in values.iter().enumerate() {
        for line in 0..20_000 {
            writeln!(text, "2030-01-01T00:00:00Z request_{number}_{line} from 192.0.2.7 took 12ms").unwrap();
        }
        writeln!(text, r#"{{"message":"first\n{value}\nlast"}}"#).unwrap();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_in_a_log_is_found_and_dead_when_the_command_ends() {
    let Bed { plane, team, operator } = Bed::new("plugin-leak").await;
    let plugin = Plugin::new(plane, &team.namespace);
    let verifier = InProcess::start(plane.operator().await, &operator.clock, verifier::settings(&team.namespace)).await;
    team.declare("ci", json!({ "rotation": { "interval": "240h", "overlap": "24h" } }))
        .await;
    team.declare("other", json!({})).await;
    team.ready("ci").await;
    let before = team.value("ci", "token").await;
    team.request("ci", "1").await;
    team.rotated("ci", 1).await;
    let current = team.value("ci", "token").await;
    let untouched = team.ready("other").await;
    let log = log(&[&before, &current, &current]);
    let file = log.path().to_str().unwrap();
    verifier.until_accepts(QUESTION, &before, true).await;

    let report = plugin.run(&["leak", file, "--report-only"]).await;
    for part in ["replaced", "current", "works"] {
        assert!(report.stdout.contains(part), "{part}: {report:?}");
    }
    assert!(!report.stdout.contains(&before) && !report.stderr.contains(&current));
    report.told(5, "still work");
    plugin.run(&["leak", file]).await.told(2, "say --yes");
    plugin.run(&["leak", file, "--dry-run=server"]).await.ended(0);
    assert_eq!(rotations(&team.passed_by("ci").await), 1, "nothing was changed");

    let told = plugin.run(&["leak", file, "--yes"]).await;
    told.told(0, &format!("{}/ci: what leaked is dead", team.namespace));
    let token = team.token("ci").await;
    assert_eq!((rotations(&token), status(&token).previous), (2, vec![]));
    assert!(
        !token.annotations().contains_key(names::ROTATE_OVERLAP_ANNOTATION),
        "the next one has its overlap"
    );
    for leaked in [&before, &current] {
        verifier.until_accepts(QUESTION, leaked, false).await;
    }
    verifier.until_accepts(QUESTION, &team.value("ci", "token").await, true).await;
    assert_eq!(recorded_hash(&team.token("other").await), recorded_hash(&untouched));

    plugin
        .run(&["leak", file, "--yes"])
        .await
        .told(0, "3 times a value of our format that no ApiToken");
    verifier.stop().await;
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_rotated_is_told_with_what_to_do() {
    let Bed { plane, team, operator } = Bed::new("plugin-leak-stuck").await;
    let plugin = Plugin::new(plane, &team.namespace);
    let mut log = String::new();
    for name in ["held", "ended", "fine"] {
        team.declare(name, json!({ "secret": { "deletionPolicy": "Retain" } })).await;
        team.ready(name).await;
        log.push_str(&team.value(name, "token").await);
        log.push(' ');
    }
    plugin.run(&["suspend", "held", "--wait"]).await.ended(0);
    plugin.run(&["revoke", "ended", "--yes", "--wait"]).await.ended(0);

    plugin.fed(&["leak", "-"], &log).await.told(2, "say --yes or --report-only");
    let told = plugin.fed(&["leak", "-", "--yes"], &log).await;
    assert!(
        told.stdout.contains("does not work (suspended)") && told.stdout.contains("does not work (revoked)"),
        "{told:?}"
    );
    assert!(told.stderr.contains("kubectl apitoken revoke held"), "{told:?}");
    assert!(
        !told.stderr.contains("ended is revoked"),
        "one that is dead for good needs nothing: {told:?}"
    );
    told.told(5, "fine: what leaked is dead");
    assert_eq!(
        rotations(&team.token("fine").await),
        1,
        "one that stands in the way holds no other back"
    );
    assert_eq!(rotations(&team.token("held").await), 0);

    plugin
        .fed(&["leak", "-", "--report-only"], "nothing here")
        .await
        .told(0, "No value of an ApiToken");
    plugin
        .run(&["leak", "/nowhere/log", "--yes"])
        .await
        .told(1, "/nowhere/log can't be read: No such file");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_leak_is_not_ended_it_is_told_how_to_stop_it() {
    let Bed { plane, team, operator } = Bed::new("plugin-leak-late").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let value = team.value("ci", "token").await;
    team.change("ci", json!({ "spec": { "secret": { "template": { "more": "{{ nothing }}" } } } }))
        .await;
    team.reason("ci", "TemplateInvalid").await;
    let told = plugin.fed(&["leak", "-", "--yes"], &value).await;
    assert!(
        told.stderr.contains("stands still until something is changed: TemplateInvalid"),
        "{told:?}"
    );
    told.told(1, "what leaked may still work: kubectl apitoken suspend");
    let token = team.token("ci").await;
    let overlap = token.annotations().get(names::ROTATE_OVERLAP_ANNOTATION);
    assert_eq!(overlap.map(String::as_str), Some("0s"), "it is still asked for");
    plugin.run(&["suspend", "ci", "--wait"]).await.ended(0);
    team.change("ci", json!({ "spec": { "state": "Active", "secret": { "template": null } } }))
        .await;
    assert_eq!(status(&team.rotated("ci", 1).await).previous, []);
    operator.stop().await;
}
