//! How long each of three replicas takes until a suspended token is turned away. The operator need not run for that.
//! `make bench` tells how long it takes; here it is the order that counts, within bounds that a busy machine keeps.

use std::time::Duration;

use apitoken_operator::api::ApiToken;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::support::{
    control_plane::{ControlPlane, VERIFIER_ACCOUNT, shared},
    eventually,
    line::{Line, State},
    replicas::{Learned, Replica, TOKEN, learned, present, rounds, write},
    tokens::Team,
};

/// How late a replica may be whose watch stands, on a busy machine.
const LATE: Duration = Duration::from_secs(5);
/// How late one may be that has to find the API server again: its longest pause, and an API server that has just begun.
const LATE_AFTER_RESTART: Duration = Duration::from_secs(20);

async fn team(plane: &ControlPlane, what: &str) -> Team {
    let namespace = plane.namespace(what).await;
    let team = Team::new(plane.admin().await, &namespace);
    present(&team).await;
    team
}

/// A write that changes nothing.
async fn takes_writes(team: &Team) -> bool {
    let nothing = Patch::Merge(json!({}));
    team.api::<ApiToken>().patch(TOKEN, &PatchParams::default(), &nothing).await.is_ok()
}

async fn replicas(plane: &ControlPlane, team: &Team, count: usize) -> Vec<Replica> {
    let mut replicas = Vec::new();
    for _ in 0..count {
        let client = plane.client_of(VERIFIER_ACCOUNT, None).await;
        replicas.push(Replica::start(client, team).await);
    }
    replicas
}

fn in_time(learned: &[Learned], latest: Duration) {
    for replica in learned {
        assert!(replica.first < latest && replica.last_former < latest, "{replica:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_turns_a_suspended_token_away_soon_and_for_good() {
    let plane = shared();
    let team = team(plane, "latency").await;
    let replicas = replicas(plane, &team, 3).await;
    for round in rounds(&team, &replicas, 30).await {
        in_time(&round, LATE);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_api_server_takes_no_word_from_any_replica() {
    let plane = ControlPlane::with_chart("verifier-latency");
    let team = team(&plane, "latency-restart").await;
    let replicas = replicas(&plane, &team, 3).await;
    for _ in 0..2 {
        let sent = write(&team, false).await;
        tokio::task::block_in_place(|| plane.restart_api_server());
        in_time(&learned(&replicas, sent, false).await, LATE_AFTER_RESTART);
        eventually("the API server takes writes again", || async {
            takes_writes(&team).await.then_some(())
        })
        .await;
        let sent = write(&team, true).await;
        in_time(&learned(&replicas, sent, true).await, LATE_AFTER_RESTART);
    }
    for round in rounds(&team, &replicas, 4).await {
        in_time(&round, LATE);
    }
    drop(replicas);
    plane.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_watch_hangs_holds_up_no_other() {
    let plane = shared();
    let team = team(plane, "latency-line").await;
    let whole = replicas(plane, &team, 2).await;
    let line = Line::to(plane.server()).await;
    let client = plane.client_of(VERIFIER_ACCOUNT, Some(line.address())).await;
    let hanging = Replica::start(client, &team).await;
    for _ in 0..2 {
        line.set(State::Hangs);
        let sent = write(&team, false).await;
        in_time(&learned(&whole, sent, false).await, LATE);
        assert!(hanging.accepts(), "it knows nothing else");
        line.set(State::Open);
        let hung = sent.elapsed();
        in_time(&[hanging.learned(sent, false).await], hung + LATE);

        let sent = write(&team, true).await;
        in_time(&learned(&whole, sent, true).await, LATE);
        in_time(&[hanging.learned(sent, true).await], LATE);
    }
}
