//! Several replicas of the real program: one works, the others stand by, and one of them takes over, however
//! the first one ends.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use apitoken_operator::api::ApiToken;
use futures::{StreamExt, future::join_all, stream};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Secret};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
    config::Kubeconfig,
};
use serde_json::json;

use crate::support::{
    audit::Moment,
    control_plane::{self, ControlPlane, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, OPERATOR_USER},
    eventually,
    history::History,
    line::{Line, State},
    operator::Program,
    tokens::{Team, hash, recorded_hash},
};

mod outage;
mod rights;
mod vendor;

const LEASE: &str = "apitoken-operator-controller";
/// A Lease that nobody renews is free after this.
const DURATION: Duration = Duration::from_secs(15);
/// What a busy machine may add to any time.
const MARGIN: Duration = Duration::from_secs(10);

/// A namespace that the replicas work for, with their Lease in it.
struct Ground<'a> {
    plane: &'a ControlPlane,
    team: Team,
}

impl Ground<'static> {
    async fn new(what: &str) -> Self {
        Ground::with_rights(control_plane::shared(), what, "get,create,update").await
    }
}

impl<'a> Ground<'a> {
    /// Where they have these rights on the Lease.
    async fn with_rights(plane: &'a ControlPlane, what: &str, verbs: &str) -> Self {
        let namespace = plane.namespace(what).await;
        let account = format!("--serviceaccount={OPERATOR_NAMESPACE}:{OPERATOR_ACCOUNT}");
        let rights = [&format!("--verb={verbs}"), "--resource=leases.coordination.k8s.io"];
        plane.kubectl(&[&["create", "role", "lease", "-n", &namespace], &rights[..]].concat());
        plane.kubectl(&["create", "rolebinding", "lease", "-n", &namespace, "--role=lease", &account]);
        let team = Team::new(plane.admin().await, &namespace);
        team.issuer("own", json!({ "builtin": {} })).await;
        Self { plane, team }
    }

    /// Starts a replica and waits until its probe says that it is ready.
    async fn replica(&self) -> Program {
        self.replica_by(None, &["--leader-elect"]).await
    }

    async fn replica_by(&self, server: Option<&str>, arguments: &[&str]) -> Program {
        let kubeconfig = self.plane.operator_kubeconfig(server).await;
        let program = self.spawn(&kubeconfig, arguments);
        eventually("the replica is ready", || async { program.is_ready().await.then_some(()) }).await;
        program
    }

    /// Starts a replica.
    fn spawn(&self, kubeconfig: &Kubeconfig, arguments: &[&str]) -> Program {
        let namespace = &self.team.namespace;
        let (own, watched) = (format!("--namespace={namespace}"), format!("--watch-namespace={namespace}"));
        Program::spawn(self.plane, kubeconfig, &[&[own.as_str(), &watched], arguments].concat())
    }

    /// A replica that leads, and one that stands by.
    async fn two(&self) -> (Program, Program) {
        let first = self.replica().await;
        until_it_leads(&first).await;
        (first, self.replica().await)
    }

    async fn declare(&self, name: &str) {
        let issuer = json!({ "kind": "TokenIssuer", "name": "own" });
        self.team.declare(name, json!({ "issuerRef": issuer })).await;
    }

    async fn declare_many(&self, count: usize) {
        let numbers = stream::iter(0..count);
        numbers
            .for_each_concurrent(32, |number| async move { self.declare(&format!("token-{number}")).await })
            .await;
    }

    /// Waits until so many tokens are Ready: each has one Secret, with the value that its status names.
    async fn all_ready(&self, count: usize) {
        eventually("all tokens are ready", || async {
            let tokens = self.team.api::<ApiToken>().list(&ListParams::default()).await.unwrap().items;
            (tokens.iter().filter(|token| !recorded_hash(token).is_empty()).count() == count).then_some(())
        })
        .await;
        let secrets = self.team.api::<Secret>().list(&ListParams::default()).await.unwrap().items;
        let tokens = self.team.api::<ApiToken>().list(&ListParams::default()).await.unwrap().items;
        assert_eq!((tokens.len(), secrets.len()), (count, count));
        for token in tokens {
            let secret = secrets.iter().find(|secret| secret.name_any() == token.name_any()).unwrap();
            let value = String::from_utf8(secret.data.as_ref().unwrap()["token"].0.clone()).unwrap();
            assert_eq!(recorded_hash(&token), hash(&value), "{}", token.name_any());
        }
    }

    /// How often a Secret was made or written since then, and a status.
    fn done(&self, since: Moment) -> (usize, usize) {
        let writes = self.plane.audit().writes(OPERATOR_USER, since);
        let ours = writes
            .iter()
            .filter(|write| write.namespace == self.team.namespace && write.code < 300);
        let of = |resource: &str| ours.clone().filter(|write| write.resource == resource).count();
        (of("secrets"), of("apitokens/status"))
    }

    async fn lease(&self) -> Lease {
        self.team.api::<Lease>().get(LEASE).await.unwrap()
    }
}

async fn leads(program: &Program) -> bool {
    let metrics = program.get("/metrics").await;
    metrics.is_some_and(|metrics| metrics.lines().any(|line| line == "apitoken_leader 1"))
}

/// Waits until it leads; how long that took.
async fn until_it_leads(program: &Program) -> Duration {
    let since = Instant::now();
    eventually("it leads", || async { leads(program).await.then_some(()) }).await;
    since.elapsed()
}

fn signal(program: &Program, name: &str) {
    let pid = program.pid().to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_works_and_the_next_takes_over_at_once_when_it_ends() {
    let ground = Ground::new("succession").await;
    let (leader, next) = ground.two().await;
    let last = ground.replica().await;
    ground.declare("first").await;
    ground.team.ready("first").await;
    assert!(leads(&leader).await && !leads(&next).await && !leads(&last).await);
    let holder = ground.lease().await.spec.unwrap().holder_identity.unwrap();

    let (ended, took) = leader.terminate().await;
    assert!(ended.success() && took < Duration::from_secs(10), "{ended} after {took:?}");
    let since = Instant::now();
    eventually("one of the others leads", || async {
        (leads(&next).await || leads(&last).await).then_some(())
    })
    .await;
    let without = since.elapsed();
    println!("SIGTERM: {took:?} until the leader has ended, {without:?} until the next one works");
    assert!(without < Duration::from_secs(5), "{without:?}");
    ground.declare("second").await;
    ground.team.ready("second").await;
    assert!(leads(&next).await != leads(&last).await, "just one leads");
    let spec = ground.lease().await.spec.unwrap();
    assert_ne!(spec.holder_identity.as_ref(), Some(&holder));
    assert_eq!(spec.lease_transitions, Some(1));

    // Who stands by ends as well, and takes nothing along.
    let (leader, other) = if leads(&next).await { (next, last) } else { (last, next) };
    let (ended, took) = other.terminate().await;
    assert!(ended.success() && took < Duration::from_secs(5), "{ended} after {took:?}");
    ground.declare("third").await;
    ground.team.ready("third").await;
    assert_eq!(ground.lease().await.spec.unwrap().lease_transitions, Some(1));
    assert!(leader.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_next_takes_over_within_the_lease_and_not_before() {
    let ground = Ground::new("crash").await;
    let (leader, next) = ground.two().await;
    let since = ground.plane.audit().now();
    ground.declare_many(60).await;
    leader.kill();
    let took = until_it_leads(&next).await;
    println!("SIGKILL: {took:?} until the next one works");
    assert!(took > DURATION - Duration::from_secs(5) && took < DURATION + MARGIN, "{took:?}");
    ground.all_ready(60).await;
    // The answer to the last write of the one that was killed may never have been logged.
    assert!(ground.done(since).0 <= 60, "each Secret was written once");
    assert!(next.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_stood_still_never_works_again_beside_the_next() {
    let ground = Ground::new("stopped").await;
    let (mut leader, next) = ground.two().await;
    let since = ground.plane.audit().now();
    ground.declare_many(60).await;
    signal(&leader, "STOP");
    until_it_leads(&next).await;
    ground.all_ready(60).await;

    let woken = ground.plane.audit().now();
    signal(&leader, "CONT");
    let ended = leader.wait().await;
    assert_eq!(ended.code(), Some(1), "{}", leader.log());
    assert!(leader.log().contains("the Lease was lost"), "{}", leader.log());
    assert_eq!(ground.done(woken), (0, 0), "{}", leader.log());
    assert_eq!(ground.done(since).0, 60, "each Secret was written once");
    assert!(leads(&next).await);
    assert!(next.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_outlives_a_short_silence_and_ends_in_a_long_one_before_the_next_begins() {
    let ground = Ground::new("silence").await;
    let line = Line::to(ground.plane.server()).await;
    let mut leader = ground.replica_by(Some(line.address()), &["--leader-elect"]).await;
    until_it_leads(&leader).await;
    let next = ground.replica().await;

    for silence in [State::Cut, State::Hangs] {
        line.set(silence);
        // Longer than two renewals, shorter than what a leader outlives: the time itself is what is tried.
        tokio::time::sleep(Duration::from_secs(5)).await;
        line.set(State::Open);
        let before = ground.lease().await.spec.unwrap().renew_time;
        eventually("it renews again", || async {
            (ground.lease().await.spec.unwrap().renew_time != before).then_some(())
        })
        .await;
        assert!(leads(&leader).await && !leads(&next).await, "{silence:?}: {}", leader.log());
    }

    line.set(State::Hangs);
    let since = Instant::now();
    let ended = async {
        let ended = leader.wait().await;
        (ended, since.elapsed())
    };
    let taken = async {
        until_it_leads(&next).await;
        since.elapsed()
    };
    let ((ended, end), taken) = futures::future::join(ended, taken).await;
    println!("silence: the leader ended after {end:?}, the next began after {taken:?}");
    assert_eq!(ended.code(), Some(1), "{}", leader.log());
    assert!(end < taken, "the leader ended after {end:?}, the next began after {taken:?}");
    ground.declare("ci").await;
    ground.team.ready("ci").await;
    assert!(next.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_by_follows_everything_and_works_on_nothing() {
    let ground = Ground::new("stand-by").await;
    let lease: Lease = serde_json::from_value(json!({ "metadata": { "name": LEASE }, "spec": { "holderIdentity": "somebody" } })).unwrap();
    let leases: Api<Lease> = ground.team.api();
    leases.create(&Default::default(), &lease).await.unwrap();
    let renewing = leases.clone();
    let somebody = tokio::spawn(async move {
        for number in 0.. {
            let renewal = json!({ "spec": { "leaseTransitions": number } });
            renewing
                .patch(LEASE, &PatchParams::default(), &Patch::Merge(renewal))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let replica = ground.replica().await;
    let since = ground.plane.audit().now();
    // More than its queues hold.
    let count = 1100;
    ground.declare_many(count).await;
    let counted = format!("apitoken_tokens{{state=\"Pending\",issuer=\"none\"}} {count}");
    eventually("it has seen all of them", || async {
        replica.get("/metrics").await.filter(|metrics| metrics.contains(&counted))
    })
    .await;
    assert!(replica.is_ready().await && !leads(&replica).await);
    assert_eq!(ground.done(since), (0, 0));

    somebody.abort();
    leases.delete(LEASE, &DeleteParams::default()).await.unwrap();
    until_it_leads(&replica).await;
    ground.declare("late").await;
    ground.team.ready("late").await;
    assert!(replica.terminate().await.0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_both_work_still_make_one_token_each() {
    let ground = Ground::new("two-leaders").await;
    let (one, other) = (ground.replica_by(None, &[]).await, ground.replica_by(None, &[]).await);
    let history = History::begin(&ground.team).await;
    let since = ground.plane.audit().now();
    ground.declare_many(50).await;
    ground.all_ready(50).await;
    let names: Vec<String> = (0..10).map(|number| format!("token-{number}")).collect();
    join_all(names.iter().map(|name| ground.team.request(name, "now"))).await;
    join_all(names.iter().map(|name| ground.team.rotated(name, 1))).await;
    ground.all_ready(50).await;
    let moments = history.moments().await;
    for number in 0..50 {
        let name = format!("token-{number}");
        let values: BTreeSet<String> = moments.iter().flat_map(|moment| moment.values_of(&name)).collect();
        let expected = if names.contains(&name) { 2 } else { 1 };
        assert_eq!(values.len(), expected, "values that the Secret of {name} ever held");
    }
    history.no_value_was_refused().await;
    println!("{:?}", ground.plane.audit().counts(OPERATOR_USER, since));
    for program in [one, other] {
        assert!(leads(&program).await);
        assert!(program.terminate().await.0.success());
    }
}
