//! The operator under test, always with the identity of the chart's ServiceAccount.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use apitoken_operator::{
    controller::{self, Foundations, Handles, RunError, Settings},
    issuers::{Issuers, KnownIssuers},
    operations::metrics::Metrics,
};
use jiff::SignedDuration;
use kube::{Client, config::Kubeconfig};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    DEADLINE,
    clock::TestClock,
    control_plane::{ControlPlane, OPERATOR_NAMESPACE},
    eventually,
};

/// How long verifiers get to learn of a new value where a test says nothing else.
pub const PROPAGATION_DELAY: SignedDuration = SignedDuration::from_secs(1);

/// The operator inside the test, with a clock that the test steps. It watches one namespace, so that
/// many of them share a control plane.
pub struct InProcess {
    /// Its clock.
    pub clock: TestClock,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

impl InProcess {
    /// Starts it for one namespace and waits until it is ready.
    pub async fn start(plane: &ControlPlane, namespace: &str) -> Self {
        Self::start_with(plane.operator().await, namespace, TestClock::default(), PROPAGATION_DELAY).await
    }

    /// Starts it with that way to the API server, that clock and that time for verifiers.
    pub async fn start_with(client: Client, namespace: &str, clock: TestClock, propagation_delay: SignedDuration) -> Self {
        Self::begin(client, clock, Arc::new(KnownIssuers), settings(namespace, propagation_delay)).await
    }

    /// Starts it with that way to the API server, that time and those issuers.
    pub async fn start_at(client: Client, clock: TestClock, issuers: Arc<dyn Issuers>, namespace: &str) -> Self {
        Self::begin(client, clock, issuers, settings(namespace, PROPAGATION_DELAY)).await
    }

    /// The same for all namespaces, on a control plane that no other operator works on.
    pub async fn start_everywhere(client: Client, clock: TestClock, issuers: Arc<dyn Issuers>) -> Self {
        let settings = Settings {
            watch_namespaces: Vec::new(),
            ..settings("", PROPAGATION_DELAY)
        };
        Self::begin(client, clock, issuers, settings).await
    }

    async fn begin(client: Client, clock: TestClock, issuers: Arc<dyn Issuers>, settings: Settings) -> Self {
        let (ready, mut is_ready) = watch::channel(false);
        let shutdown = CancellationToken::new();
        let metrics = Arc::new(Metrics::default());
        let handles = Handles {
            ready,
            metrics: metrics.clone(),
        };
        let foundations = Foundations {
            client,
            clock: Arc::new(clock.clone()),
            issuers,
        };
        let running = controller::run(foundations, settings, handles, shutdown.clone());
        let task = tokio::spawn(running);
        if is_ready.wait_for(|ready| *ready).await.is_err() {
            let ended = task.await.unwrap().err().map(|error| error.to_string());
            panic!("the operator ended before it was ready: {}", ended.unwrap_or_default());
        }
        Self {
            clock,
            metrics,
            shutdown,
            task,
        }
    }

    /// Lets time pass between two passes: one that has just written something may read the clock once more.
    pub async fn advance(&self, time: SignedDuration) {
        eventually("no pass runs", || async {
            self.metrics().contains("apitoken_reconciliations_running 0\n").then_some(())
        })
        .await;
        self.clock.advance(time);
    }

    /// What it counts.
    pub fn metrics(&self) -> String {
        self.metrics.encode().unwrap()
    }

    /// Why it ended by itself, once it has.
    pub async fn ended(&mut self) -> String {
        match (&mut self.task).await {
            Ok(Err(error)) => error.to_string(),
            otherwise => format!("{otherwise:?}"),
        }
    }

    /// Ends it as SIGTERM does.
    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Ends it where it stands.
    pub async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn settings(namespace: &str, propagation_delay: SignedDuration) -> Settings {
    Settings {
        watch_namespaces: vec![namespace.to_owned()],
        single_namespace: false,
        concurrency: 8,
        propagation_delay,
        poll_interval: SignedDuration::from_mins(10),
        revoke_deadline: SignedDuration::from_mins(15),
        default_issuer: "builtin".to_owned(),
        namespace: OPERATOR_NAMESPACE.to_owned(),
        cluster_id: String::new(),
        former_cluster_ids: Vec::new(),
        observe_only: false,
        allow_private_issuers: true,
        leader_elect: false,
        instance: "test".to_owned(),
    }
}

/// The real program.
pub struct Program {
    child: Child,
    kubeconfig: PathBuf,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Program {
    /// A command of the program with a clean environment.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apitoken-operator"));
        command.env_clear();
        command
    }

    /// Starts the controller and waits until it is ready.
    pub async fn start(plane: &ControlPlane, arguments: &[&str]) -> Self {
        Self::start_with(plane, &plane.operator_kubeconfig(None).await, arguments).await
    }

    /// Starts the controller with that way to the API server and waits until it is ready.
    pub async fn start_with(plane: &ControlPlane, kubeconfig: &Kubeconfig, arguments: &[&str]) -> Self {
        let program = Self::spawn(plane, kubeconfig, arguments);
        eventually("the program is ready", || async { program.is_ready().await.then_some(()) }).await;
        program
    }

    /// Starts the controller.
    pub fn spawn(plane: &ControlPlane, kubeconfig: &Kubeconfig, arguments: &[&str]) -> Self {
        Self::run(plane, kubeconfig, &[&["controller"], arguments].concat())
    }

    /// Starts a command of the program that goes on.
    pub fn run(plane: &ControlPlane, kubeconfig: &Kubeconfig, arguments: &[&str]) -> Self {
        let file = tempfile::Builder::new().suffix(".kubeconfig").tempfile_in(plane.dir()).unwrap();
        let path = file.into_temp_path().keep().unwrap();
        std::fs::write(&path, serde_json::to_string(kubeconfig).unwrap()).unwrap();
        let mut command = Self::command();
        command.args(arguments).arg("--admin-address=127.0.0.1:0").env("KUBECONFIG", &path);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        collect(child.stderr.take().unwrap(), lines.clone());
        Self {
            child,
            kubeconfig: path,
            lines,
        }
    }

    /// Whether it is ready.
    pub async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// Waits until so many passes over ApiTokens went well.
    pub async fn passed(&self, times: usize) {
        eventually(&format!("{times} passes went well"), || async {
            let metrics = self.get("/metrics").await?;
            let count = metrics
                .lines()
                .find_map(|line| line.strip_prefix("apitoken_reconciliations_total{result=\"success\"} "))?;
            (count.parse::<usize>().unwrap() >= times).then_some(())
        })
        .await;
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Asks the admin address for a path; nothing where it does not listen.
    pub async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address("serving probes and metrics")?).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The address that it logged with these words: `127.0.0.1:<port>`.
    pub fn address(&self, words: &str) -> Option<String> {
        let lines = self.lines.lock().unwrap();
        let line = lines.iter().find(|line| line.contains(words))?;
        let address = line
            .split("127.0.0.1:")
            .nth(1)?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>();
        Some(format!("127.0.0.1:{address}"))
    }

    /// SIGKILL: it ends where it stands.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: it ends in order; how and how fast.
    pub async fn terminate(mut self) -> (ExitStatus, Duration) {
        let started = std::time::Instant::now();
        assert!(Command::new("kill").arg(self.pid().to_string()).status().unwrap().success());
        (self.wait().await, started.elapsed())
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        eventually("the program ends", || {
            let ended = self.child.try_wait().unwrap();
            async move { ended }
        })
        .await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

fn collect(stderr: std::process::ChildStderr, lines: Arc<Mutex<Vec<String>>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    });
}
