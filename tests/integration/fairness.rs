//! Thousands of tokens of one team don't hold up the one of another.

use apitoken_operator::api::ApiToken;
use futures::{StreamExt, stream};
use kube::api::ListParams;
use serde_json::json;

use crate::support::{
    control_plane, eventually,
    operator::Program,
    tokens::{Team, recorded_hash},
};

const MANY: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_another_team_is_ready_long_before_the_many() {
    let plane = control_plane::shared();
    let admin = plane.admin().await;
    let [many, one] = [plane.namespace("many").await, plane.namespace("one").await].map(|name| Team::new(admin.clone(), &name));
    for team in [&many, &one] {
        team.issuer("own", json!({ "builtin": {} })).await;
    }
    let spec = || json!({ "issuerRef": { "kind": "TokenIssuer", "name": "own" } });
    stream::iter(0..MANY)
        .for_each_concurrent(32, |number| {
            let many = &many;
            async move { drop(many.declare(&format!("token-{number}"), spec()).await) }
        })
        .await;
    let watched = [&many, &one].map(|team| format!("--watch-namespace={}", team.namespace));
    let program = Program::start(plane, &[&watched[0], &watched[1], "--concurrency=8"]).await;
    let issued = async || {
        let tokens = many.api::<ApiToken>().list(&ListParams::default()).await.unwrap().items;
        tokens.iter().filter(|token| !recorded_hash(token).is_empty()).count()
    };
    eventually("the many are in work", || async { (issued().await > 0).then_some(()) }).await;

    one.declare("ci", spec()).await;
    one.ready("ci").await;
    let before_it = issued().await;
    assert!(before_it < MANY / 2, "{before_it} of the others came first");
    eventually("the many are not held up for ever", || async {
        (issued().await > MANY / 2).then_some(())
    })
    .await;
    let (status, _) = program.terminate().await;
    assert!(status.success());
}
