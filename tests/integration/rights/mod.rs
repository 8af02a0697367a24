//! The rights of the programs: each says so where one is missing, and uses every one of them.

use std::{
    fmt,
    future::pending,
    io::{self, Write},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use apitoken_operator::api::ApiToken;
use futures::FutureExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

use crate::support::{
    DEADLINE,
    control_plane::{ControlPlane, OPERATOR_NAMESPACE},
    in_time,
    tokens::{self, Team},
};

mod controller;
mod verifier;

/// How long a program may take to say what it lacks.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program whose rights are tried.
trait Tried: Sized {
    /// The chart's name for its ServiceAccount and its roles.
    const ACCOUNT: &str;

    /// Has one with the rights of that account do all that it can do; it is left running.
    async fn use_everything(account: &Account<'_>, team: &Team) -> Self;

    /// Ends it.
    async fn stop(self);

    /// What it says where it lacks a right, beside the API server's own words.
    fn complaints(missing: &Right) -> Vec<String>;

    /// Takes away what the next one would look after.
    fn clean_up(_account: &Account<'_>) {}
}

/// The rights that a program with all of them does not use, by the audit log.
fn unused<'r, P: Tried>(plane: &ControlPlane, rights: &'r [Right]) -> Vec<&'r Right> {
    let account = Account::new(plane, format!("{}-with-all", P::ACCOUNT), rights.iter());
    alone(async |_| P::use_everything(&account, &account.team().await).await.stop().await);
    P::clean_up(&account);
    let user = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{}", account.name);
    let unused = || {
        let used = plane.audit().used(&user, Default::default());
        let is_used = |right: &&Right| right.is_for_a_policy() || used.contains(&right.to_string());
        rights.iter().filter(|right| !is_used(right)).collect::<Vec<_>>()
    };
    // A watch is written down once it has ended.
    alone(async |_| in_time(|| async { unused().is_empty().then_some(()) }).await);
    unused()
}

/// The rights that a program does without and says nothing of it.
fn silent<'r, P: Tried>(plane: &ControlPlane, rights: &'r [Right]) -> Vec<&'r Right> {
    let mut silent = Vec::new();
    for (number, missing) in rights.iter().enumerate() {
        let others = rights.iter().filter(|right| *right != missing);
        let account = Account::new(plane, format!("{}-without-{number}", P::ACCOUNT), others);
        if !alone(async |log| account.complains_of::<P>(missing, &log).await) {
            silent.push(missing);
        }
        P::clean_up(&account);
    }
    silent
}

// --- Rights ---

/// One verb on one resource.
#[derive(Debug, PartialEq)]
struct Right {
    /// `ClusterRole`, or `Role` in the operator's namespace.
    kind: &'static str,
    group: String,
    resource: String,
    verb: String,
}

impl Right {
    fn rule(&self) -> Value {
        json!({ "apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb] })
    }

    /// Asked for by the admission policy of the status, and by no request.
    fn is_for_a_policy(&self) -> bool {
        self.verb == "control"
    }

    /// What has to be said where it is missing: the API server's words, or the program's own.
    fn is_complained_of_in<P: Tried>(&self, text: &str) -> bool {
        let words_of_the_server = format!("cannot {} resource \"{}\"", self.verb, self.resource);
        let has = |words: &String| text.contains(words);
        has(&words_of_the_server) || P::complaints(self).iter().any(has)
    }
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)
    }
}

/// What the chart gives to a program.
fn rights<P: Tried>(plane: &ControlPlane) -> Vec<Right> {
    let mut rights = Vec::new();
    for kind in ["ClusterRole", "Role"] {
        let role = plane.kubectl(&[
            "get",
            kind,
            P::ACCOUNT,
            "-n",
            OPERATOR_NAMESPACE,
            "--ignore-not-found",
            "-o",
            "json",
        ]);
        let role: Value = serde_json::from_str(&role).unwrap_or_default();
        for rule in role["rules"].as_array().into_iter().flatten() {
            for resource in texts(&rule["resources"]) {
                let right = |verb| Right {
                    kind,
                    group: texts(&rule["apiGroups"]).concat(),
                    resource: resource.clone(),
                    verb,
                };
                rights.extend(texts(&rule["verbs"]).into_iter().map(right));
            }
        }
    }
    rights
}

fn texts(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).unwrap()
}

// --- A program with some of them ---

/// A ServiceAccount in the operator's namespace.
struct Account<'a> {
    plane: &'a ControlPlane,
    /// Its name, and that of all that is made for it.
    name: String,
}

impl<'a> Account<'a> {
    fn new<'r>(plane: &'a ControlPlane, name: String, rights: impl Iterator<Item = &'r Right>) -> Self {
        let (of_cluster, of_namespace): (Vec<_>, Vec<_>) = rights.partition(|right| right.kind == "ClusterRole");
        let metadata = json!({ "name": name, "namespace": OPERATOR_NAMESPACE });
        let mut items = vec![json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })];
        for (kind, rights) in [("ClusterRole", &of_cluster), ("Role", &of_namespace)] {
            let api = "rbac.authorization.k8s.io";
            let rules: Vec<Value> = rights.iter().map(|right| right.rule()).collect();
            items.push(json!({ "apiVersion": format!("{api}/v1"), "kind": kind, "metadata": metadata, "rules": rules }));
            items.push(json!({
                "apiVersion": format!("{api}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata,
                "roleRef": { "apiGroup": api, "kind": kind, "name": name },
                "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": OPERATOR_NAMESPACE }],
            }));
        }
        let file = plane.dir().join(format!("{name}.json"));
        std::fs::write(&file, json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()).unwrap();
        plane.kubectl(&["apply", "-f", file.to_str().unwrap()]);
        let account = Self { plane, name };
        // The authorizer learns of a role a moment later.
        let one = of_cluster.iter().find(|right| !right.resource.contains('/')).unwrap();
        let end = Instant::now() + DEADLINE;
        while !account.has(one) {
            assert!(Instant::now() < end, "{} has no right to {one}", account.name);
        }
        account
    }

    fn has(&self, right: &Right) -> bool {
        let user = format!("--as=system:serviceaccount:{OPERATOR_NAMESPACE}:{}", self.name);
        let resource = format!("{}.{}", right.resource, right.group);
        let question = [
            "auth",
            "can-i",
            &right.verb,
            resource.trim_end_matches('.'),
            "--all-namespaces",
            &user,
        ];
        self.plane.try_kubectl(&question).status.success()
    }

    /// Whether a program without that right says so.
    async fn complains_of<P: Tried>(&self, missing: &Right, log: &Log) -> bool {
        let team = self.team().await;
        let work = async {
            let Err(panic) = AssertUnwindSafe(P::use_everything(self, &team)).catch_unwind().await else {
                return;
            };
            // It ended, and said why.
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            log.clone().write_all(said.as_bytes()).unwrap();
        };
        let complaint = async {
            while !missing.is_complained_of_in::<P>(&(log.text() + &conditions(&team).await)) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let said_nothing = async {
            work.await;
            pending::<()>().await;
        };
        let told = async {
            tokio::select! {
                () = complaint => {}
                () = said_nothing => {}
            }
        };
        timeout(PATIENCE, told).await.is_ok()
    }

    /// A namespace for its work.
    async fn team(&self) -> Team {
        Team::new(self.plane.admin().await, &self.plane.namespace(&self.name).await)
    }
}

/// What the conditions of its ApiTokens say.
async fn conditions(team: &Team) -> String {
    let tokens = team.api::<ApiToken>().list(&ListParams::default()).await.unwrap().items;
    let of_all = tokens.iter().flat_map(|token| tokens::status(token).conditions);
    of_all.map(|condition| condition.message + "\n").collect()
}

// --- What it says ---

/// Runs this in a runtime of its own, on this thread, so that its log is heard alone and nothing of it is left afterwards.
fn alone<T>(run: impl AsyncFnOnce(Log) -> T) -> T {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _heard = tracing::subscriber::set_default(subscriber);
    Builder::new_current_thread().enable_all().build().unwrap().block_on(run(log))
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
