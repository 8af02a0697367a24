//! A real proxy, configured by the file of that name in examples/verifier, with an application behind it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{
    application::{Application, Arrived},
    control_plane::source,
    in_time, raw,
};

/// How often a proxy is started whose port somebody else took meanwhile.
const ATTEMPTS: usize = 3;

/// Which proxy, and how it asks the verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the names of the proxies")]
pub enum Kind {
    Nginx,
    Caddy,
    EnvoyHttp,
    EnvoyGrpc,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Nginx, Self::Caddy, Self::EnvoyHttp, Self::EnvoyGrpc];

    /// Whether it is Envoy, which joins headers of one name with a comma.
    pub fn is_envoy(self) -> bool {
        matches!(self, Self::EnvoyHttp | Self::EnvoyGrpc)
    }

    fn example(self) -> &'static str {
        match self {
            Self::Nginx => "nginx.conf",
            Self::Caddy => "Caddyfile",
            Self::EnvoyHttp => "envoy-http.yaml",
            Self::EnvoyGrpc => "envoy-grpc.yaml",
        }
    }

    /// The port of the verifier in the example.
    fn verifier_port(self) -> u16 {
        if self == Self::EnvoyGrpc { 9090 } else { 8090 }
    }

    /// The command that runs it in a directory, in one process.
    fn command(self, dir: &Path) -> Command {
        let config = dir.join(self.example());
        let command = |name: &str, arguments: &[&str]| {
            let mut command = Command::new(tool(name));
            command.args(arguments);
            command
        };
        let mut command = match self {
            Self::Nginx => command(
                "nginx",
                &["-g", "daemon off; master_process off;", "-p", dir.to_str().unwrap(), "-c"],
            ),
            Self::Caddy => command("caddy", &["run", "--config"]),
            Self::EnvoyHttp | Self::EnvoyGrpc => command("envoy", &["--disable-hot-restart", "--concurrency", "1", "-c"]),
        };
        command.arg(config).env_clear().env("HOME", dir);
        command
    }
}

/// A proxy that ends with its test.
pub struct Front {
    /// Which one.
    pub kind: Kind,
    /// Where it listens: `127.0.0.1:<port>`.
    pub address: String,
    application: Application,
    child: Child,
    dir: TempDir,
}

/// What came of a request.
pub struct Outcome {
    /// What the client was told.
    pub answer: raw::Answer,
    /// What the application got.
    pub arrived: Vec<Arrived>,
}

impl Front {
    /// Starts a proxy that asks the verifier there, and waits until it listens.
    pub async fn start(kind: Kind, verifier: &str) -> Self {
        let mut log = String::new();
        for _ in 0..ATTEMPTS {
            let front = Self::spawn(kind, verifier).await;
            match front.listening().await {
                Ok(front) => return front,
                Err(why) => log = why,
            }
        }
        panic!("{kind:?} did not start:\n{log}");
    }

    async fn spawn(kind: Kind, verifier: &str) -> Self {
        let application = Application::start().await;
        let (address, dir) = (free_address(), tempfile::tempdir().unwrap());
        let ports = [
            (8000, address.as_str()),
            (kind.verifier_port(), verifier),
            (9000, &application.address),
        ];
        let example = fs::read_to_string(source().join("examples/verifier").join(kind.example())).unwrap();
        let config = ports
            .into_iter()
            .fold(example, |config, (port, address)| with_address(&config, port, address));
        fs::write(dir.path().join(kind.example()), config).unwrap();
        let log = File::create(dir.path().join("output")).unwrap();
        let mut command = kind.command(dir.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self {
            kind,
            address,
            application,
            child: command.spawn().unwrap(),
            dir,
        }
    }

    /// This one, or what it wrote where it does not listen in time.
    async fn listening(mut self) -> Result<Self, String> {
        let listens = in_time(|| {
            let (ended, connects) = (self.child.try_wait().unwrap().is_some(), TcpStream::connect(&self.address));
            async move { if ended { Some(false) } else { connects.await.ok().map(|_| true) } }
        })
        .await;
        // No request was made yet, so that nobody's token is in it.
        listens.filter(|listens| *listens).ok_or_else(|| self.log()).map(|_| self)
    }

    /// Sends a request, such as `GET /`, with these headers and this body.
    pub async fn send(&self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> Outcome {
        let mut head = format!("{line} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if !headers.iter().any(|(name, _)| *name == "Connection") {
            head.push_str("Connection: close\r\n");
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let request = [head.as_bytes(), b"\r\n", body].concat();
        let answer = raw::send(&self.address, &request).await;
        Outcome {
            answer,
            arrived: self.arrived(),
        }
    }

    /// What the application got since this was last asked.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.application.arrived()
    }

    /// Everything that it wrote.
    pub fn log(&self) -> String {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let texts = files.filter(|path| path.is_file()).map(|path| fs::read(path).unwrap());
        texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of a program that hack/tools fetches.
pub fn tool(name: &str) -> PathBuf {
    let output = Command::new(source().join("hack/tools")).arg(name).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// The text with the one address of that port replaced, in either of the ways in which the examples write it.
fn with_address(text: &str, port: u16, address: &str) -> String {
    let (host, new_port) = address.split_once(':').unwrap();
    let pair = (format!("127.0.0.1:{port}"), address.to_owned());
    let yaml = (
        format!("address: 127.0.0.1, port_value: {port}}}"),
        format!("address: {host}, port_value: {new_port}}}"),
    );
    let count = text.matches(&pair.0).count() + text.matches(&yaml.0).count();
    assert_eq!(count, 1, "the example has one address with port {port}");
    text.replace(&pair.0, &pair.1).replace(&yaml.0, &yaml.1)
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
