//! Replicas of the verifier that are asked about one token all the time: when did each of them learn of a write?

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kube::Client;
use serde_json::json;
use tokio::{task::AbortHandle, time::sleep};

use super::{clock::TestClock, eventually, tokens, tokens::Team, verifier, verifier::InProcess};

/// How many ask one replica, each over a connection of its own.
const ASKERS: usize = 2;
/// The pause between two questions of one of them: the machine has other work too.
const PAUSE: Duration = Duration::from_millis(1);
/// Answers that are awaited after the first new one, so that an old one behind it would show.
const MORE: usize = 20;
/// The ApiToken.
pub const TOKEN: &str = "presented";
/// Its value.
pub const VALUE: &str = "apt_presented-again-and-again";

#[derive(Clone, Copy)]
struct Answer {
    asked: Instant,
    told: Instant,
    accepted: bool,
}

/// How one replica learned of a write, counted from just before the write was sent.
#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// When the first answer came that follows the write.
    pub first: Duration,
    /// When the last answer came that does not.
    pub last_former: Duration,
}

/// A verifier that is asked all the time. It ends with its test.
pub struct Replica {
    answers: Arc<Mutex<Vec<Answer>>>,
    askers: Vec<AbortHandle>,
    _verifier: InProcess,
}

impl Replica {
    /// Starts one with that way to the API server.
    pub async fn start(client: Client, team: &Team) -> Self {
        let verifier = InProcess::start(client, &TestClock::default(), verifier::settings(&team.namespace)).await;
        let question = format!("issuer=TokenIssuer/{}/own", team.namespace);
        verifier.until_accepts(&question, VALUE, true).await;
        let answers = Arc::new(Mutex::new(Vec::new()));
        let url = format!("http://{}/authorize?{question}", verifier.http);
        let askers = (0..ASKERS).map(|_| tokio::spawn(ask(url.clone(), answers.clone())).abort_handle());
        Self {
            askers: askers.collect(),
            answers,
            _verifier: verifier,
        }
    }

    /// Whether the answer that came last let the token through.
    pub fn accepts(&self) -> bool {
        self.answers.lock().unwrap().last().is_some_and(|answer| answer.accepted)
    }

    /// Waits until the write that was sent then counts, and sees to it that no answer goes back behind it, nor came before it.
    pub async fn learned(&self, sent: Instant, accepts: bool) -> Learned {
        let enough = |answers: &[Answer]| answers.iter().filter(|answer| answer.accepted == accepts).count() > MORE;
        eventually("the replica answers by what was written", || async {
            enough(&self.answers.lock().unwrap()).then_some(())
        })
        .await;
        let answers = std::mem::take(&mut *self.answers.lock().unwrap());
        let (new, former): (Vec<Answer>, Vec<Answer>) = answers.into_iter().partition(|answer| answer.accepted == accepts);
        let first = new.iter().map(|answer| answer.told).min().unwrap();
        assert!(first > sent, "it answered by what was not written yet");
        assert!(
            former.iter().all(|answer| answer.asked < first),
            "an answer went back behind the write"
        );
        let last_former = former.iter().map(|answer| answer.told).max().unwrap_or(sent);
        Learned {
            first: first - sent,
            last_former: last_former.saturating_duration_since(sent),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.askers.iter().for_each(AbortHandle::abort);
    }
}

async fn ask(url: String, answers: Arc<Mutex<Vec<Answer>>>) {
    let client = reqwest::Client::new();
    loop {
        let asked = Instant::now();
        let accepted = verifier::answer(client.get(&url).bearer_auth(VALUE)).await.status == 200;
        let told = Instant::now();
        answers.lock().unwrap().push(Answer { asked, told, accepted });
        sleep(PAUSE).await;
    }
}

/// Makes the token that is presented: Active, though no operator runs.
pub async fn present(team: &Team) {
    team.issuer("own", json!({ "builtin": {} })).await;
    let issuer = json!({ "kind": "TokenIssuer", "name": "own" });
    team.declare(TOKEN, json!({ "issuerRef": issuer })).await;
    let token = json!({ "id": "0123456789-1", "hash": tokens::hash(VALUE), "issuedAt": "2030-01-01T00:00:00Z" });
    team.change_status(TOKEN, json!({ "state": "Active", "issuerRef": issuer, "token": token }))
        .await;
}

/// Suspends the token, or activates it: just before the write was sent.
pub async fn write(team: &Team, active: bool) -> Instant {
    let state = if active { "Active" } else { "Suspended" };
    let sent = Instant::now();
    team.change(TOKEN, json!({ "spec": { "state": state } })).await;
    sent
}

/// Suspends and activates the token in turns, so many times: how each replica learned of each write.
pub async fn rounds(team: &Team, replicas: &[Replica], count: usize) -> Vec<Vec<Learned>> {
    let mut rounds = Vec::new();
    for round in 0..count {
        let active = round % 2 == 1;
        let sent = write(team, active).await;
        rounds.push(learned(replicas, sent, active).await);
    }
    rounds
}

/// How each replica learned of one write.
pub async fn learned(replicas: &[Replica], sent: Instant, active: bool) -> Vec<Learned> {
    let mut learned = Vec::new();
    for replica in replicas {
        learned.push(replica.learned(sent, active).await);
    }
    learned
}
