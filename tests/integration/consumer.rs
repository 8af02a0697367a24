//! Two hundred tokens rotate while their consumers read the Secrets and show the values: none is refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use apitoken_operator::api::ApiToken;
use futures::{StreamExt, future::join_all, stream};
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{
    audit::Moment,
    control_plane::{self, OPERATOR_USER},
    eventually,
    operator::Program,
    tokens::{Team, good_hashes, hash, pending_hash, rotations, status, works},
    watch::{Seen, Watch, follow},
};

const WITH_OVERLAP: usize = 200;
const WITHOUT_OVERLAP: usize = 20;
const TOKENS: usize = WITH_OVERLAP + WITHOUT_OVERLAP;
/// A consumer's pause between two requests.
const PAUSE: Duration = Duration::from_millis(500);

/// Hashes by ApiToken, each with its end.
type Index = BTreeMap<String, Vec<(String, Timestamp)>>;

/// A verifier as simple as can be: it knows what the ApiTokens say.
struct Checker {
    index: Arc<Mutex<Index>>,
    _watch: Watch,
}

impl Checker {
    async fn begin(team: &Team) -> Self {
        let index = Arc::new(Mutex::new(Index::new()));
        let known = index.clone();
        let learn = move |seen: Seen<ApiToken>| {
            match seen {
                Seen::Is(token) => known.lock().unwrap().insert(token.name_any(), entries(&token)),
                Seen::Gone(token) => known.lock().unwrap().remove(&token.name_any()),
            };
        };
        let _watch = follow(team, learn).await;
        Self { index, _watch }
    }

    fn accepts(&self, value: &str) -> bool {
        let (hash, now) = (hash(value), Timestamp::now());
        let index = self.index.lock().unwrap();
        index.values().flatten().any(|(known, end)| *known == hash && now < *end)
    }
}

/// What is to be accepted for one ApiToken.
fn entries(token: &ApiToken) -> Vec<(String, Timestamp)> {
    if !works(token) {
        return Vec::new();
    }
    let lasting = good_hashes(token, |_| false).into_iter().map(|hash| (hash, Timestamp::MAX));
    let previous = status(token).previous.into_iter();
    lasting
        .chain(previous.filter_map(|token| Some((token.hash?, token.revoke_at.0))))
        .collect()
}

/// Reads a Secret and shows its value, again and again; how often.
async fn consume(team: Team, checker: Arc<Checker>, number: usize, end: CancellationToken) -> usize {
    let name = name(number);
    let mut times = 0;
    while !end.is_cancelled() {
        let value = team.value(&name, "token").await;
        if !checker.accepts(&value) {
            assert!(number >= WITH_OVERLAP, "{name}: a value just read is refused");
            let next = team.value(&name, "token").await;
            assert!(
                next != value && checker.accepts(&next),
                "{name}: refused before its successor was there"
            );
        }
        times += 1;
        sleep(PAUSE).await;
    }
    times
}

/// The first ones have an overlap.
fn name(number: usize) -> String {
    format!("token-{number}")
}

async fn declare_all(team: &Team) {
    let declare = async |number: usize| {
        let overlap = if number < WITH_OVERLAP { "5m" } else { "0s" };
        let spec = json!({ "rotation": { "interval": "240h", "overlap": overlap } });
        team.declare(&name(number), spec).await;
    };
    stream::iter(0..TOKENS).for_each_concurrent(20, declare).await;
    all_rotated(team, 0).await;
}

async fn request_all(team: &Team, value: &str) {
    let request = async |number: usize| team.request(&name(number), value).await;
    stream::iter(0..TOKENS).for_each_concurrent(20, request).await;
}

/// Waits until every token works and was rotated so often.
async fn all_rotated(team: &Team, times: i64) {
    eventually(&format!("all tokens have {times} rotations"), || async {
        let tokens = team.api::<ApiToken>().list(&Default::default()).await.unwrap();
        let done = |token: &ApiToken| works(token) && pending_hash(token).is_none() && rotations(token) == times;
        let all = tokens.items.len() == TOKENS && tokens.iter().all(done);
        sleep(PAUSE).await;
        all.then_some(())
    })
    .await;
}

/// What rotations cost: the announcement, the Secret, the status; an Event for each.
fn rotations_cost(team: &Team, since: Moment, rounds: usize) {
    let writes = control_plane::shared().audit().writes(OPERATOR_USER, since);
    let done = |what: &str| {
        let hits = |write: &&crate::support::audit::Write| {
            write.namespace == team.namespace && write.code < 300 && format!("{} {}", write.verb, write.resource) == what
        };
        writes.iter().filter(hits).count()
    };
    assert_eq!(done("update secrets"), TOKENS * rounds);
    assert_eq!(done("update apitokens/status"), 2 * TOKENS * rounds);
    assert_eq!(done("create secrets"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_consumer_is_refused_while_two_hundred_tokens_rotate() {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace("consumers").await);
    let program = Program::start(plane, &[&format!("--watch-namespace={}", team.namespace)]).await;
    declare_all(&team).await;
    let checker = Arc::new(Checker::begin(&team).await);
    let first_values = [team.value(&name(0), "token").await, team.value(&name(TOKENS - 1), "token").await];

    let end = CancellationToken::new();
    let consume = |number| tokio::spawn(consume(team.clone(), checker.clone(), number, end.clone()));
    let consumers: Vec<JoinHandle<usize>> = (0..TOKENS).map(consume).collect();
    let since = plane.audit().now();
    for round in 1..=2 {
        request_all(&team, &format!("round {round}")).await;
        all_rotated(&team, round).await;
    }
    end.cancel();
    let times: Vec<usize> = join_all(consumers).await.into_iter().map(Result::unwrap).collect();
    assert!(times.iter().all(|times| *times > 2), "{times:?}");
    rotations_cost(&team, since, 2);

    it_can_refuse(&team, &checker, &first_values).await;
    let (ended, _) = program.terminate().await;
    assert!(ended.success());
}

/// The checker is no yes-man: it refuses what never was a token, what has ended, and what leaked.
async fn it_can_refuse(team: &Team, checker: &Checker, first_values: &[String; 2]) {
    let [overlaps, ended] = first_values;
    assert!(!checker.accepts("apt_0000000000000000000000000000000000000000000000000"));
    assert!(checker.accepts(overlaps) && !checker.accepts(ended));
    team.leaked(&name(0), "leaked").await;
    eventually("the leaked value is refused", || async {
        (!checker.accepts(overlaps)).then_some(())
    })
    .await;
    team.change(&name(1), json!({ "spec": { "state": "Suspended" } })).await;
    let suspended = team.value(&name(1), "token").await;
    eventually("a suspended one is refused", || async {
        (!checker.accepts(&suspended)).then_some(())
    })
    .await;
}
