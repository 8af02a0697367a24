//! The API server is away for everybody, for longer than a Lease lasts.

use super::*;
use crate::support::{
    clock::TestClock,
    control_plane::VERIFIER_ACCOUNT,
    tokens::{rotations, status},
    verifier::{self, InProcess},
};

/// Longer than the Lease lasts, so that both replicas have to make up for it.
const AWAY: Duration = Duration::from_secs(60);
/// How soon all is well again.
const SOON: Duration = Duration::from_secs(60);
/// A rotation lasts longer than it takes to end the API server.
const TWO: [&str; 2] = ["--leader-elect", "--propagation-delay=10s"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_long_absence_of_the_api_server_one_leads_and_a_rotation_is_brought_to_its_end() {
    let plane = ControlPlane::with_chart("absence");
    let ground = Ground::with_rights(&plane, "absence", "get,create,update").await;
    let mut leader = ground.replica_by(None, &TWO).await;
    until_it_leads(&leader).await;
    let next = ground.replica_by(None, &TWO).await;
    let namespace = ground.team.namespace.clone();
    let question = format!("issuer=TokenIssuer/{namespace}/own");
    let client = plane.client_of(VERIFIER_ACCOUNT, None).await;
    let verifier = InProcess::start(client, &TestClock::default(), verifier::settings(&namespace)).await;
    ground.declare("ci").await;
    ground.team.ready("ci").await;
    let old = ground.team.value("ci", "token").await;
    verifier.until_accepts(&question, &old, true).await;

    // Made while there is somebody to ask for it.
    let kubeconfig = plane.operator_kubeconfig(None).await;
    let start = || ground.spawn(&kubeconfig, &TWO);
    ground.team.request("ci", "now").await;
    ground.team.announced("ci").await;
    plane.stop_api_server();
    let since = Instant::now();
    let ended = leader.wait().await;
    assert_eq!(ended.code(), Some(1), "{}", leader.log());
    assert!(leader.log().contains("the Lease was lost"), "{}", leader.log());
    // Kubernetes starts it again at once, and later again where that did not help.
    let mut too_early = start();
    assert_eq!(too_early.wait().await.code(), Some(1), "{}", too_early.log());
    while since.elapsed() < AWAY {
        assert!(verifier.accepts(&question, &old).await, "what worked goes on working");
        assert!(!leads(&next).await, "{}", next.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    plane.start_api_server();
    let back = Instant::now();
    let again = start();
    until_it_leads(&next).await;
    let leads_after = back.elapsed();
    ground.team.rotated("ci", 1).await;
    let rotated_after = back.elapsed();
    let new = ground.team.value("ci", "token").await;
    verifier.until_accepts(&question, &new, true).await;
    ground.declare("late").await;
    ground.team.ready("late").await;
    eventually("the other one is ready", || async { again.is_ready().await.then_some(()) }).await;
    println!(
        "back: it leads after {leads_after:?}, has rotated after {rotated_after:?}, all is done after {:?}",
        back.elapsed()
    );
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());

    // One token is left, and one leader.
    verifier.until_accepts(&question, &old, false).await;
    let token = ground.team.token("ci").await;
    assert_eq!((rotations(&token), recorded_hash(&token)), (1, hash(&new)));
    assert_eq!(
        status(&token).attempts,
        Some(3),
        "the first, the one that was cut off, and one after it"
    );
    assert!(status(&token).pending.is_none() && status(&token).previous.is_empty());
    assert_eq!(ground.team.value("ci", "token").await, new);
    assert!(leads(&next).await && !leads(&again).await);
    assert_eq!(ground.lease().await.spec.unwrap().lease_transitions, Some(1));
    for program in [again, next] {
        assert!(program.terminate().await.0.success());
    }
    verifier.stop().await;
    plane.stop();
}
