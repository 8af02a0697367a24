//! A real Prometheus that scrapes programs of ours and knows the chart's alerts.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{control_plane::source, front::tool, in_time};

/// How often it is started where somebody else took its port meanwhile.
const ATTEMPTS: usize = 3;
/// The rules of the chart.
pub const ALERTS: &str = "charts/apitoken-operator/files/alerts.yaml";

/// A Prometheus that ends with its test.
pub struct Prometheus {
    address: String,
    child: Child,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes these addresses each second, as jobs of these names.
    pub async fn start(targets: &[(&str, &str)]) -> Self {
        for _ in 0..ATTEMPTS {
            let mut prometheus = Self::spawn(targets);
            let is_ready = in_time(|| {
                let ended = prometheus.child.try_wait().unwrap().is_some();
                let ready = reqwest::get(format!("http://{}/-/ready", prometheus.address));
                async move {
                    let ready = ready.await.is_ok_and(|answer| answer.status().is_success());
                    (ended || ready).then_some(ready)
                }
            })
            .await;
            if is_ready == Some(true) {
                return prometheus;
            }
        }
        panic!("Prometheus did not start");
    }

    fn spawn(targets: &[(&str, &str)]) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let dir = tempfile::tempdir().unwrap();
        let jobs = targets.iter().map(|(job, target)| {
            json!({ "job_name": job, "static_configs": [{ "targets": [target], "labels": { "namespace": "apitoken-system" } }] })
        });
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": [source().join(ALERTS)],
            "scrape_configs": jobs.collect::<Vec<_>>(),
        });
        fs::write(dir.path().join("prometheus.yml"), config.to_string()).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let child = command(dir.path(), &address).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Self { address, child, _dir: dir }
    }

    /// What a query gives now: its samples.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        self.ask("query", &[("query", query)]).await["result"].as_array().unwrap().clone()
    }

    /// What a query gave over the last so many seconds.
    pub async fn history(&self, query: &str, seconds: i64) -> Vec<Value> {
        let end = jiff::Timestamp::now().as_second();
        let (start, end) = ((end - seconds).to_string(), end.to_string());
        let answer = self
            .ask("query_range", &[("query", query), ("start", &start), ("end", &end), ("step", "1")])
            .await;
        answer["result"].as_array().unwrap().clone()
    }

    /// The rules that it evaluates.
    pub async fn rules(&self) -> Vec<Value> {
        self.ask("rules", &[]).await["groups"][0]["rules"].as_array().unwrap().clone()
    }

    async fn ask(&self, what: &str, parameters: &[(&str, &str)]) -> Value {
        let mut url = url::Url::parse(&format!("http://{}/api/v1/{what}", self.address)).unwrap();
        url.query_pairs_mut().extend_pairs(parameters);
        let answer = reqwest::get(url).await.unwrap().bytes().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(dir: &Path, address: &str) -> Command {
    let mut command = Command::new(tool("prometheus"));
    command
        .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null());
    command
}
