//! Rotating, suspending, activating, revoking.

use apitoken_operator::api::{api_token::ObservedState, names};
use jiff::SignedDuration;
use kube::ResourceExt;
use serde_json::json;

use super::Plugin;
use crate::support::{
    Bed,
    tokens::{last_rotation_reason, recorded_hash, rotations, state, status},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_rotated_with_the_overlap_that_is_asked_for() {
    let Bed { plane, team, operator } = Bed::new("plugin-rotate").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({ "rotation": { "interval": "240h", "overlap": "1h" } }))
        .await;
    let old = recorded_hash(&team.ready("ci").await);
    let told = plugin.run(&["rotate", "ci", "--overlap=6h", "--wait"]).await.ended(0);
    assert_eq!(told, "apitoken.apitoken.dev/ci rotated\n");
    let token = team.ready("ci").await;
    assert_ne!(recorded_hash(&token), old);
    assert_eq!((rotations(&token), last_rotation_reason(&token)), (1, "Requested".to_owned()));
    let previous = &status(&token).previous[0];
    let overlap = previous.revoke_at.0.duration_since(status(&token).last_rotation_at.unwrap().0);
    assert_eq!(
        (previous.hash.as_deref(), overlap),
        (Some(old.as_str()), SignedDuration::from_hours(6))
    );

    plugin.run(&["rotate", "ci", "--wait"]).await.ended(0);
    let token = team.rotated("ci", 2).await;
    let ends: Vec<_> = status(&token).previous.iter().map(|previous| previous.revoke_at.0).collect();
    let overlap = ends[0].duration_since(status(&token).last_rotation_at.unwrap().0);
    assert_eq!(
        (ends.len(), overlap),
        (2, SignedDuration::from_hours(1)),
        "the next one has the declared overlap"
    );
    assert!(!token.annotations().contains_key(names::ROTATE_OVERLAP_ANNOTATION));

    plugin.run(&["rotate", "ci", "--overlap=0h", "--wait"]).await.ended(0);
    assert_eq!(status(&team.rotated("ci", 3).await).previous, [], "nothing of the old works on");
    for mistyped in ["--overlap=soon", "--overlap=0sec", "--overlap=-1h", "--overlap="] {
        plugin.run(&["rotate", "ci", mistyped]).await.told(2, "--overlap");
    }
    assert_eq!(rotations(&team.passed_by("ci").await), 3, "nothing was asked for");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_is_set_and_waited_for() {
    let Bed { plane, team, operator } = Bed::new("plugin-states").await;
    let plugin = Plugin::new(plane, &team.namespace);
    let labels = json!({ "name": "ci", "labels": { "argocd.argoproj.io/instance": "shop" } });
    team.declare_with(labels, json!({})).await;
    team.ready("ci").await;

    let suspended = plugin.run(&["suspend", "ci", "--wait"]).await;
    assert!(suspended.stderr.contains("Argo CD applies this object from Git"), "{suspended:?}");
    assert_eq!(suspended.ended(0), "apitoken.apitoken.dev/ci suspended\n");
    assert_eq!(state(&team.token("ci").await), Some(ObservedState::Suspended));
    plugin.run(&["rotate", "ci"]).await.told(1, "is suspended");
    plugin.run(&["activate", "ci", "--wait"]).await.ended(0);
    assert_eq!(state(&team.token("ci").await), Some(ObservedState::Active));

    plugin.run(&["revoke", "ci"]).await.told(2, "say --yes");
    assert_eq!(state(&team.looked_at("ci").await), Some(ObservedState::Active));
    plugin.run(&["revoke", "ci", "--yes", "--wait"]).await.ended(0);
    assert_eq!(state(&team.token("ci").await), Some(ObservedState::Revoked));
    plugin.run(&["revoke", "ci"]).await.ended(0);
    plugin.run(&["activate", "ci"]).await.told(1, "can't be taken back");
    plugin.run(&["suspend", "nobody"]).await.told(3, "not found");
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_changes_nothing() {
    let Bed { plane, team, operator } = Bed::new("plugin-dry").await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({})).await;
    team.declare("held", json!({ "state": "Suspended" })).await;
    let before = [team.ready("ci").await, team.ready("held").await];
    for arguments in [["rotate", "ci"], ["suspend", "ci"], ["revoke", "ci"], ["activate", "held"]] {
        let [command, name] = arguments;
        let told = plugin.run(&[command, name, "--dry-run=server", "--wait"]).await.ended(0);
        assert!(told.ends_with("(server dry run)\n"), "{command}: {told}");
    }
    let after = [team.passed_by("ci").await, team.token("held").await];
    assert_eq!(before[1].resource_version(), after[1].resource_version());
    assert_eq!((&before[0].spec, &before[0].status), (&after[0].spec, &after[0].status));
    operator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_in_time_and_where_nothing_will_come() {
    let Bed { plane, team, operator } = Bed::with_delay("plugin-wait", SignedDuration::from_hours(1)).await;
    let plugin = Plugin::new(plane, &team.namespace);
    team.declare("ci", json!({})).await;
    team.ready("ci").await;
    let late = plugin.run(&["rotate", "ci", "--wait", "--timeout=2s"]).await;
    assert!(late.stderr.contains("Progressing: a new token is being issued"), "{late:?}");
    late.told(4, "is not done after 2s; it goes on by itself");

    team.foreign_secret("taken").await;
    team.declare("stuck", json!({ "secret": { "name": "taken" } })).await;
    team.reason("stuck", "SecretConflict").await;
    plugin
        .run(&["activate", "stuck", "--wait"])
        .await
        .told(1, "stands still until something is changed: SecretConflict");
    operator.stop().await;
}
