//! The floor: the verifier's server, in a process of its own, with a constant answer as long as the verifier's.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use apitoken_operator::verifier::listener::Listener;
use axum::{Router, http::header::CACHE_CONTROL, response::IntoResponse};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What makes this program the server.
pub const ARGUMENT: &str = "constant-server";

/// The server, as a process that ends with this one.
pub struct Constant {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Constant {
    /// Starts it.
    pub fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self { child, address }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Constant {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until standard input ends.
pub async fn serve() {
    let listener = Listener::new(TcpListener::bind("127.0.0.1:0").await.unwrap(), None);
    println!("{}", listener.address().unwrap());
    let shutdown = CancellationToken::new();
    let ended = shutdown.clone();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        ended.cancel();
    });
    listener.serve(Router::new().fallback(answer), shutdown).await;
}

async fn answer() -> impl IntoResponse {
    [
        (CACHE_CONTROL.as_str(), "no-store"),
        ("x-auth-subject", "team-0/token-000001"),
        ("x-auth-account", "team-0.token-000001"),
        ("x-auth-scopes", "orders:read orders:write"),
        ("x-auth-token-id", "0000000001-1"),
    ]
}
