//! What others see of the programs: metrics, alerts, the dashboard, the log.

use std::{
    collections::BTreeSet,
    fs,
    process::Command,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Bytes, routing::post};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    fakes::{
        Fake,
        wavefront::{self, Wavefront},
    },
    support::{
        control_plane::{self, OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, source},
        eventually,
        front::tool,
        operator::Program,
        picture,
        prometheus::{ALERTS, Prometheus},
        tokens::Team,
    },
};

const DASHBOARD: &str = "charts/apitoken-operator/files/dashboard.json";
/// A use is written a minute later, and who works is told where replicas take turns.
const MAY_BE_EMPTY: [&str; 1] = ["apitoken_verifier_last_use_writes_total"];

fn alerts() -> Vec<Value> {
    let text = fs::read_to_string(source().join(ALERTS)).unwrap();
    let rules: Value = serde_saphyr::from_str(&text).unwrap();
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

/// The queries of the dashboard, by the titles of their panels.
fn panels() -> Vec<(String, Vec<String>)> {
    let dashboard: Value = serde_json::from_slice(&fs::read(source().join(DASHBOARD)).unwrap()).unwrap();
    let query = |target: &Value| target["expr"].as_str().unwrap().replace("$__rate_interval", "20s");
    let of = |panel: &Value| {
        let targets = panel["targets"].as_array().unwrap();
        (panel["title"].as_str().unwrap().to_owned(), targets.iter().map(query).collect())
    };
    dashboard["panels"].as_array().unwrap().iter().map(of).collect()
}

#[test]
fn alerts_fire_where_they_should_and_nowhere_else() {
    let output = Command::new(tool("promtool"))
        .args(["test", "rules"])
        .arg(source().join("tests/alerts/alerts.yaml"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn each_alert_is_tested_to_fire_and_says_what_to_do() {
    let tests = fs::read_to_string(source().join("tests/alerts/alerts.yaml")).unwrap();
    let runbooks = fs::read_to_string(source().join("docs/runbooks.md")).unwrap();
    let headings: BTreeSet<String> = runbooks
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let fires = |part: &str| part.trim_start().starts_with(name) && part.contains("exp_labels");
        assert!(tests.split("alertname: ").any(fires), "{name} is not tested to fire");
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        let heading = runbook.strip_prefix("docs/runbooks.md#").unwrap();
        assert!(headings.contains(heading), "{name}: docs/runbooks.md has no section {heading}");
    }
}

/// An issuer at a fake vendor, with the credential in that Secret.
fn vendor_spec(vendor: &Fake<Wavefront>, secret: &str) -> Value {
    let reference = json!({ "name": secret, "key": "token" });
    json!({ "wavefront": { "url": vendor.url(), "serviceAccount": wavefront::ACCOUNT, "credentialsRef": reference },
        "rateLimit": { "requests": 2, "per": "1s" } })
}

fn vendor() -> Value {
    json!({ "kind": "TokenIssuer", "name": "vendor" })
}

/// The real programs beside a real Prometheus and a fake vendor.
struct Scene {
    team: Team,
    verifier: Program,
    prometheus: Prometheus,
    _controller: Program,
    vendor: Fake<Wavefront>,
}

impl Scene {
    async fn new() -> Self {
        let plane = control_plane::shared();
        let team = Team::new(plane.admin().await, &plane.namespace("observed").await);
        let watched = format!("--watch-namespace={}", team.namespace);
        let controller = Program::start(plane, &[&watched, "--allow-private-issuers"]).await;
        let kubeconfig = plane.account_kubeconfig(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, None).await;
        let verifier = Program::run(plane, &kubeconfig, &["verifier", "--address=127.0.0.1:0", &watched]);
        eventually("the verifier is ready", || async { verifier.is_ready().await.then_some(()) }).await;
        let address = |program: &Program| program.address("serving probes and metrics").unwrap();
        let prometheus = Prometheus::start(&[("controller", &address(&controller)), ("verifier", &address(&verifier))]).await;
        let vendor = Fake::start(Wavefront::new(Arc::new(Timestamp::now))).await;
        let scene = Self {
            team,
            verifier,
            prometheus,
            _controller: controller,
            vendor,
        };
        scene.declare_issuers().await;
        scene
    }

    /// One that is ready, and one that is not.
    async fn declare_issuers(&self) {
        self.team.credential("vendor", wavefront::CREDENTIAL).await;
        self.team.issuer("vendor", vendor_spec(&self.vendor, "vendor")).await;
        self.team.issuer("broken", vendor_spec(&self.vendor, "nowhere")).await;
    }

    /// Tokens that stay: one that is rotated some day, one that ends by itself, one of the vendor.
    async fn declare_tokens(&self) {
        for (name, spec) in [
            ("rotating", json!({ "rotation": { "interval": "240h" } })),
            ("ending", json!({ "lifetime": "240h" })),
            ("remote", json!({ "issuerRef": vendor() })),
        ] {
            self.team.declare(name, spec).await;
            self.team.ready(name).await;
        }
    }

    /// A token is made, presented and revoked, and another one rotated.
    async fn act(&self, round: usize) {
        let name = format!("short-{round}");
        self.team.declare(&name, json!({})).await;
        self.team.ready(&name).await;
        let value = self.team.value(&name, "token").await;
        self.presents(&value, true).await;
        self.team.change(&name, json!({ "spec": { "state": "Revoked" } })).await;
        self.presents(&value, false).await;
        self.team.leaked("remote", &format!("round-{round}")).await;
        self.team.rotated("remote", i64::try_from(round).unwrap()).await;
    }

    async fn presents(&self, value: &str, works: bool) {
        let address = self.verifier.address("answering over HTTP").unwrap();
        let url = format!("http://{address}/authorize");
        eventually("the verifier knows", || async {
            let answer = reqwest::Client::new().get(&url).bearer_auth(value).send().await.unwrap();
            (answer.status().is_success() == works).then_some(())
        })
        .await;
    }

    async fn has_data(&self, query: &str) -> bool {
        let samples = self.prometheus.query(query).await;
        samples.iter().any(|sample| sample["value"][1] != "NaN")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_takes_each_query_and_each_panel_shows_something() {
    let scene = Scene::new().await;
    scene.declare_tokens().await;
    let queries: Vec<String> = panels().into_iter().flat_map(|(_, queries)| queries).collect();
    let mut wanted: Vec<&String> = queries
        .iter()
        .filter(|query| !MAY_BE_EMPTY.iter().any(|series| query.contains(series)))
        .collect();
    let draws = std::env::var_os("APITOKEN_GENERATE").is_some();
    for round in 1..=15 {
        scene.act(round).await;
        let mut still_wanted = Vec::new();
        for query in wanted {
            if !scene.has_data(query).await {
                still_wanted.push(query);
            }
        }
        wanted = still_wanted;
        if wanted.is_empty() && !draws {
            break;
        }
    }
    assert!(wanted.is_empty(), "without data: {wanted:#?}");
    for query in &queries {
        scene.prometheus.query(query).await;
    }
    let rules = scene.prometheus.rules().await;
    assert_eq!(rules.len(), alerts().len());
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    assert!(scene.has_data("apitoken_vendor_rate_limit_wait_seconds_total > 0").await);
    let broken = scene.prometheus.query("apitoken_issuers{ready=\"false\"}").await;
    assert_eq!(broken.len(), 1, "{broken:?}");
    assert_eq!(broken[0]["metric"]["issuer"], "TokenIssuer", "no tenant is named");
    if draws {
        draw(&scene.prometheus).await;
    }
}

/// Panels that docs/metrics.md shows, and the files of their pictures.
const PICTURES: [(&str, &str); 3] = [
    ("Tokens by state", "tokens"),
    ("Calls to vendors", "vendors"),
    ("Tokens presented", "presented"),
];

/// Draws what Prometheus saw for the documentation.
async fn draw(prometheus: &Prometheus) {
    for (title, file) in PICTURES {
        let (_, queries) = panels().into_iter().find(|(panel, _)| panel == title).unwrap();
        let mut series = prometheus.history(&queries[0], 60).await;
        series.retain(|series| picture::points(series).iter().any(|(_, value)| *value != 0.0));
        let path = source().join(format!("docs/images/{file}.svg"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, picture::svg(title, &series)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_level_changes_while_the_program_runs() {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace("log-level").await);
    let program = Program::start(plane, &[&format!("--watch-namespace={}", team.namespace)]).await;
    let url = format!("http://{}/log-level", program.address("serving probes and metrics").unwrap());
    let set = async |level: &'static str| {
        let answer = reqwest::Client::new().put(&url).body(level).send().await.unwrap();
        answer.status().as_u16()
    };
    let tells_steps = |name: &str| {
        let log = program.log();
        log.lines().any(|line| line.contains("step taken") && line.contains(name))
    };
    team.declare("quiet", json!({})).await;
    team.ready("quiet").await;
    assert_eq!(set("loud").await, 400);
    assert_eq!(set("debug").await, 200);
    team.declare("told", json!({})).await;
    team.ready("told").await;
    eventually("its steps are logged", || async { tells_steps("told").then_some(()) }).await;
    assert_eq!(set("error").await, 200);
    team.declare("hushed", json!({})).await;
    team.ready("hushed").await;
    assert!(!tells_steps("quiet") && !tells_steps("hushed"), "{}", program.log());
    let value = team.value("told", "token").await;
    assert!(!program.log().contains(&value), "no level shows a value");
}

/// A receiver of traces that keeps all bodies.
async fn receiver() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let kept = received.clone();
    let keep = async move |body: Bytes| kept.lock().unwrap().extend(body);
    let router = Router::new().route("/v1/traces", post(keep));
    tokio::spawn(async { axum::serve(listener, router).await });
    (address, received)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_tell_of_passes_and_calls_and_hold_no_value() {
    let plane = control_plane::shared();
    let team = Team::new(plane.admin().await, &plane.namespace("traced").await);
    let (address, received) = receiver().await;
    let arguments = [
        format!("--watch-namespace={}", team.namespace),
        "--allow-private-issuers".to_owned(),
        format!("--otlp-endpoint={address}"),
    ];
    let program = Program::start(plane, &arguments.each_ref().map(String::as_str)).await;
    let fake = Fake::start(Wavefront::new(Arc::new(Timestamp::now))).await;
    team.credential("vendor", wavefront::CREDENTIAL).await;
    team.issuer("vendor", vendor_spec(&fake, "vendor")).await;
    team.declare("traced-token", json!({ "issuerRef": vendor() })).await;
    team.ready("traced-token").await;
    let value = team.value("traced-token", "token").await;
    let holds = |text: &str| {
        let received = received.lock().unwrap();
        received.windows(text.len()).any(|part| part == text.as_bytes())
    };
    for told in ["reconcile", "traced-token", "vendor_call", "wavefront", "create", "success"] {
        eventually(told, || async { holds(told).then_some(()) }).await;
    }
    let (status, _) = program.terminate().await;
    assert!(status.success());
    assert!(!holds(&value) && !holds(wavefront::CREDENTIAL), "no trace holds a value");
}
