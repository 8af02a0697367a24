//! The controller's rights: it says so where one is missing, and it uses every one of them.

use std::{
    fmt,
    future::pending,
    io::{self, Write},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use apitoken_operator::{
    api::{ApiToken, TokenIssuer, names},
    controller::clock::Clock,
};
use futures::FutureExt;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

use crate::support::{
    DEADLINE,
    clock::TestClock,
    control_plane::{ControlPlane, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE},
    eventually, in_time,
    issuer::{PLAIN, ScriptedIssuer},
    operator::InProcess,
    remote::{ISSUER, issuer_spec, of_the_issuer},
    tokens::{self, Team},
    wire::Wire,
};

/// How long the operator may take to say what it lacks.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many orphans find room in the status of an issuer.
const ROOM: usize = 100;

#[test]
fn it_says_which_right_is_missing_and_uses_every_one() {
    let plane = ControlPlane::with_chart("rights");
    let rights = rights(&plane);
    assert!(rights.len() > 25, "{rights:?}");
    assert_eq!(unused(&plane, &rights), Vec::<&Right>::new(), "nobody needs these");
    // Else it is there already, and nobody has to make it.
    remove_issuer(&plane, "builtin");
    assert_eq!(
        silent(&plane, &rights),
        Vec::<&Right>::new(),
        "nobody is told that these are missing"
    );
    plane.stop();
}

/// The rights that an operator with all of them does not use, by the audit log.
fn unused<'r>(plane: &ControlPlane, rights: &'r [Right]) -> Vec<&'r Right> {
    let account = Account::new(plane, "with-all".to_owned(), rights.iter());
    alone(async |_| account.use_everything(&account.team().await).await.stop().await);
    account.clean_up();
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

/// The rights that an operator does without and says nothing of it.
fn silent<'r>(plane: &ControlPlane, rights: &'r [Right]) -> Vec<&'r Right> {
    let mut silent = Vec::new();
    for (number, missing) in rights.iter().enumerate() {
        let account = Account::new(plane, format!("without-{number}"), rights.iter().filter(|right| *right != missing));
        if !alone(async |log| account.complains_of(missing, &log).await) {
            silent.push(missing);
        }
        account.clean_up();
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

    /// What has to be said where it is missing: the API server's words in the log, or our own.
    fn is_complained_of_in(&self, text: &str) -> bool {
        let Self { verb, resource, .. } = self;
        if self.is_for_a_policy() {
            return text.contains("needs the verb control on apitokens/status");
        }
        let done = if verb == "get" { "read" } else { verb };
        let words = [
            format!("cannot {verb} resource \"{resource}\""),
            format!("not allowed to {verb} {resource}."),
            format!("the API server refuses to {done} {}", singular(resource)),
        ];
        words.iter().any(|words| text.contains(words))
    }
}

/// As messages to users name it: `Secret` for `secrets`.
fn singular(resource: &str) -> String {
    let (first, rest) = resource.split_at(1);
    first.to_uppercase() + rest.trim_end_matches('s')
}

impl fmt::Display for Right {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.verb, self.resource)
    }
}

/// What the chart gives to the controller, but for the Lease, which only an election uses. The right to make the default issuer
/// comes first: whoever has it makes one, and then nobody needs it.
fn rights(plane: &ControlPlane) -> Vec<Right> {
    let mut rights = Vec::new();
    for kind in ["ClusterRole", "Role"] {
        let role = plane.kubectl(&["get", kind, OPERATOR_ACCOUNT, "-n", OPERATOR_NAMESPACE, "-o", "json"]);
        let role: Value = serde_json::from_str(&role).unwrap();
        for rule in role["rules"].as_array().unwrap() {
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
    rights.retain(|right| right.resource != "leases");
    rights.sort_by_key(|right| right.to_string() != "create clustertokenissuers");
    rights
}

fn texts(list: &Value) -> Vec<String> {
    serde_json::from_value(list.clone()).unwrap()
}

// --- An operator with some of them ---

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

    /// Whether an operator without that right says so.
    async fn complains_of(&self, missing: &Right, log: &Log) -> bool {
        let team = self.team().await;
        let work = async {
            let Err(panic) = AssertUnwindSafe(self.use_everything(&team)).catch_unwind().await else {
                return;
            };
            // It ended, and said why.
            let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            log.clone().write_all(said.as_bytes()).unwrap();
        };
        let complaint = async {
            while !missing.is_complained_of_in(&(log.text() + &conditions(&team).await)) {
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

    /// Has an operator with these rights do all that it can do; it is left running.
    async fn use_everything(&self, team: &Team) -> InProcess {
        let clock = TestClock::default();
        let issuer = ScriptedIssuer::new(PLAIN, &clock);
        issuer.number_by(&self.name);
        let client = self.plane.account(OPERATOR_NAMESPACE, &self.name).await;
        let issuers = Arc::new(issuer.by(&Wire::default()));
        let mut operator = InProcess::start_at(client, clock.clone(), issuers, &team.namespace).await;

        let everything = async {
            tokio::join!(self.rotate_suspend_and_revoke(team), self.retain(team));
            self.find_orphans(team, &clock, &issuer).await;
        };
        tokio::select! {
            () = everything => {}
            why = operator.ended() => panic!("the operator ended: {why}"),
        }
        operator
    }

    /// At the built-in issuer, which is the default one.
    async fn rotate_suspend_and_revoke(&self, team: &Team) {
        team.declare("plain", json!({})).await;
        team.ready("plain").await;
        team.request("plain", "now").await;
        team.rotated("plain", 1).await;
        // The same Event twice is counted up.
        for state in ["Suspended", "Active", "Suspended"] {
            team.change("plain", json!({ "spec": { "state": state } })).await;
            team.ready("plain").await;
        }
        team.change("plain", json!({ "spec": { "state": "Revoked" } })).await;
        eventually("the Secret of a revoked token goes", || async {
            team.secret("plain").await.is_none().then_some(())
        })
        .await;
    }

    /// At issuers that others run: tokens that outlive their ApiTokens stand in the ledgers.
    async fn retain(&self, team: &Team) {
        let credential = json!({ "wavefront": { "url": "https://example.com", "credentialsRef": { "name": self.name, "key": "token" } } });
        self.plane.credential(&self.name).await;
        self.plane.cluster_issuer(&self.name, credential).await;
        team.credential("vendor", "vendor-credential").await;
        team.issuer(ISSUER, issuer_spec(json!({}))).await;
        let shared = json!({ "issuerRef": { "kind": "ClusterTokenIssuer", "name": self.name }, "deletionPolicy": "Retain" });
        team.declare("shared", shared).await;
        team.declare("own", of_the_issuer(json!({ "deletionPolicy": "Retain" }))).await;
        for name in ["shared", "own"] {
            team.ready(name).await;
            team.delete::<ApiToken>(name).await;
            eventually("it goes", || async {
                team.api::<ApiToken>().get_opt(name).await.unwrap().is_none().then_some(())
            })
            .await;
        }
    }

    /// More than the status of an issuer holds: they stand in ConfigMaps, until they are revoked.
    async fn find_orphans(&self, team: &Team, clock: &TestClock, issuer: &ScriptedIssuer) {
        let namespaces: Api<Namespace> = Api::all(self.plane.admin().await);
        let cluster = namespaces.get("kube-system").await.unwrap().uid().unwrap();
        let plant = |number: usize| issuer.plant(Some(&format!("x k8s-{}-0123456789-{number}", &cluster[..8])));
        (0..ROOM - 1).for_each(|number| drop(plant(number)));
        // One more stands in the ledger by now: the token that was retained.
        for (number, in_book) in [(ROOM - 1, 1), (ROOM, 2)] {
            plant(number);
            clock.advance(SignedDuration::from_mins(10));
            respec(
                team,
                json!({ "metadata": { "annotations": { "example.com/nudge": clock.now().to_string() } } }),
            )
            .await;
            eventually("what finds no room stands in a ConfigMap", || async {
                (self.book(team).await == in_book).then_some(())
            })
            .await;
        }
        respec(team, json!({ "spec": { "orphanPolicy": "Revoke" } })).await;
        eventually("the ConfigMap goes", || async { (self.book(team).await == 0).then_some(()) }).await;
    }

    /// How many orphans of the team's issuer stand in ConfigMaps.
    async fn book(&self, team: &Team) -> usize {
        let api: Api<ConfigMap> = Api::namespaced(self.plane.admin().await, OPERATOR_NAMESPACE);
        let maps = api.list(&ListParams::default().labels(names::LEDGER_LABEL)).await.unwrap().items;
        let is_ours = |map: &&ConfigMap| map.annotations().get(names::LEDGER_NAMESPACE_ANNOTATION) == Some(&team.namespace);
        maps.iter().filter(is_ours).flat_map(|map| &map.data).map(|data| data.len()).sum()
    }

    /// The next operator would look after its issuer.
    fn clean_up(&self) {
        remove_issuer(self.plane, &self.name);
    }
}

fn remove_issuer(plane: &ControlPlane, name: &str) {
    let unlock = r#"--patch={"metadata":{"finalizers":null}}"#;
    plane.try_kubectl(&["patch", "clustertokenissuer", name, "--type=merge", unlock]);
    plane.kubectl(&["delete", "clustertokenissuer", name, "--ignore-not-found"]);
}

/// What the conditions of its ApiTokens say.
async fn conditions(team: &Team) -> String {
    let tokens = team.api::<ApiToken>().list(&ListParams::default()).await.unwrap().items;
    let of_all = tokens.iter().flat_map(|token| tokens::status(token).conditions);
    of_all.map(|condition| condition.message + "\n").collect()
}

async fn respec(team: &Team, patch: Value) {
    let api: Api<TokenIssuer> = team.api();
    api.patch(ISSUER, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
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
