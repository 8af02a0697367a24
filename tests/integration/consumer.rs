//! Two hundred tokens rotate while their consumers read the Secrets and show the values: none is refused.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use apitoken_operator::api::ApiToken;
use futures::{StreamExt, future::join_all, stream};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::json;
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::support::{
    audit::{Moment, Write},
    control_plane::{self, OPERATOR_USER},
    eventually,
    operator::Program,
    tokens::{Team, good_hashes, hash, pending_hash, rotations, status, works},
    watch::{Seen, Watch, follow},
};

const WITH_OVERLAP: usize = 200;
const WITHOUT_OVERLAP: usize = 20;
const TOKENS: usize = WITH_OVERLAP + WITHOUT_OVERLAP;
/// A consumer's pause between two requests: together they shall not be what keeps the API server busy.
const PAUSE: Duration = Duration::from_secs(2);
/// How long verifiers get to learn of a new value.
const DELAY: SignedDuration = SignedDuration::from_secs(5);
/// The ApiToken that says what time it is, so that the checker knows how old its knowledge is.
const HEARTBEAT: &str = "heartbeat";
const BEAT: &str = "example.com/beat";

/// A verifier as simple as can be: it knows what the ApiTokens say.
struct Checker {
    known: Arc<Mutex<Known>>,
    _watch: Watch,
}

/// What the watch brought.
#[derive(Default)]
struct Known {
    /// Hashes by ApiToken, each with its end.
    hashes: BTreeMap<String, Vec<(String, Timestamp)>>,
    /// All that was written before this time is known.
    until: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused,
    /// Refused by a checker that did not hear of the last seconds: new values are promised to be known
    /// only to those whose watch is younger than the delay.
    Stale,
}

impl Checker {
    async fn begin(team: &Team) -> Self {
        let known = Arc::new(Mutex::new(Known::default()));
        let learns = known.clone();
        let learn = move |seen: Seen<ApiToken>| learns.lock().unwrap().learn(seen);
        let _watch = follow(team, learn).await;
        Self { known, _watch }
    }

    fn verdict(&self, value: &str) -> Verdict {
        let (hash, now) = (hash(value), Timestamp::now());
        let known = self.known.lock().unwrap();
        let mut hashes = known.hashes.values().flatten();
        if hashes.any(|(good, end)| *good == hash && now < *end) {
            Verdict::Accepted
        } else if now.duration_since(known.until) < DELAY {
            Verdict::Refused
        } else {
            Verdict::Stale
        }
    }
}

impl Known {
    fn learn(&mut self, seen: Seen<ApiToken>) {
        let token = match seen {
            Seen::Is(token) => token,
            Seen::Gone(token) => {
                self.hashes.remove(&token.name_any());
                return;
            }
        };
        if let Some(beat) = token.annotations().get(BEAT) {
            self.until = beat.parse().unwrap();
        }
        self.hashes.insert(token.name_any(), good_until(&token));
    }
}

/// What is to be accepted for one ApiToken.
fn good_until(token: &ApiToken) -> Vec<(String, Timestamp)> {
    if !works(token) {
        return Vec::new();
    }
    let lasting = good_hashes(token, |_| false).into_iter().map(|hash| (hash, Timestamp::MAX));
    let previous = status(token).previous.into_iter();
    lasting
        .chain(previous.filter_map(|token| Some((token.hash?, token.revoke_at.0))))
        .collect()
}

/// Says the time, again and again.
async fn beat(team: Team) {
    team.declare(HEARTBEAT, json!({ "state": "Revoked" })).await;
    loop {
        let now = Timestamp::now().to_string();
        team.annotate(HEARTBEAT, json!({ BEAT: now })).await;
        sleep(Duration::from_millis(250)).await;
    }
}

/// Reads a Secret and shows its value, again and again; how often it was accepted.
async fn consume(team: Team, checker: Arc<Checker>, number: usize, end: CancellationToken) -> usize {
    let name = name(number);
    let mut accepted = 0;
    while !end.is_cancelled() {
        let value = team.value(&name, "token").await;
        let verdict = checker.verdict(&value);
        accepted += usize::from(verdict == Verdict::Accepted);
        if verdict == Verdict::Refused {
            assert!(number >= WITH_OVERLAP, "{name}: a value just read is refused");
            let next = team.value(&name, "token").await;
            assert!(
                next != value && checker.verdict(&next) != Verdict::Refused,
                "{name}: refused before its successor was there"
            );
        }
        sleep(PAUSE).await;
    }
    accepted
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
        sleep(PAUSE / 4).await;
        let tokens = team.api::<ApiToken>().list(&Default::default()).await.unwrap();
        let done = |token: &ApiToken| works(token) && pending_hash(token).is_none() && rotations(token) == times;
        let all = tokens.iter().filter(|token| done(token)).count() == TOKENS;
        all.then_some(())
    })
    .await;
}

/// What rotations cost: the announcement, the Secret, the status; an Event for each.
fn rotations_cost(team: &Team, since: Moment, rounds: usize) {
    let writes = control_plane::shared().audit().writes(OPERATOR_USER, since);
    let done = |what: &str| {
        let hits =
            |write: &&Write| write.namespace == team.namespace && write.code < 300 && format!("{} {}", write.verb, write.resource) == what;
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
    let arguments = [
        format!("--watch-namespace={}", team.namespace),
        format!("--propagation-delay={DELAY:#}"),
    ];
    let program = Program::start(plane, &arguments.each_ref().map(String::as_str)).await;
    declare_all(&team).await;
    let heart = tokio::spawn(beat(team.clone()));
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
    let accepted: Vec<usize> = join_all(consumers).await.into_iter().map(Result::unwrap).collect();
    assert!(accepted.iter().all(|times| *times > 2), "{accepted:?}");
    rotations_cost(&team, since, 2);

    it_can_refuse(&team, &checker, &first_values).await;
    heart.abort();
    let (ended, _) = program.terminate().await;
    assert!(ended.success());
}

/// The checker is no yes-man: it refuses what never was a token, what has ended, what leaked and what is suspended.
async fn it_can_refuse(team: &Team, checker: &Checker, first_values: &[String; 2]) {
    let [overlaps, ended] = first_values;
    assert_eq!(checker.verdict(overlaps), Verdict::Accepted);
    is_refused(checker, "apt_0000000000000000000000000000000000000000000000000").await;
    is_refused(checker, ended).await;
    team.leaked(&name(0), "leaked").await;
    is_refused(checker, overlaps).await;
    team.change(&name(1), json!({ "spec": { "state": "Suspended" } })).await;
    is_refused(checker, &team.value(&name(1), "token").await).await;
}

async fn is_refused(checker: &Checker, value: &str) {
    eventually("the value is refused", || async {
        (checker.verdict(value) == Verdict::Refused).then_some(())
    })
    .await;
}
