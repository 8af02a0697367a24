//! A client that asks over connections that are kept: bounded in number and time, on loopback only.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use http_body_util::{BodyExt, Empty};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
    header::{AUTHORIZATION, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use rand::RngExt;
use tokio::{net::TcpStream, time::sleep_until};

use super::world::QUESTION;

/// What is asked, and what is to be answered.
#[derive(Clone)]
pub struct Asked {
    /// Of these one is presented at random.
    tokens: Arc<Vec<HeaderValue>>,
    answer: StatusCode,
}

impl Asked {
    /// Tokens that get that answer.
    pub fn new(tokens: impl Iterator<Item = String>, answer: StatusCode) -> Self {
        let header = |token: String| HeaderValue::from_str(&format!("Bearer {token}")).unwrap();
        Self {
            tokens: Arc::new(tokens.map(header).collect()),
            answer,
        }
    }

    fn request(&self) -> Request<Empty<Bytes>> {
        let token = &self.tokens[rand::rng().random_range(0..self.tokens.len())];
        Request::get(QUESTION)
            .header(HOST, "verifier")
            .header(AUTHORIZATION, token)
            .body(Empty::new())
            .unwrap()
    }
}

/// How much is asked.
#[derive(Clone, Copy)]
pub struct Load {
    /// Over how many connections.
    pub connections: usize,
    /// How many requests a second, all together; nothing: as many as get answers.
    pub rate: Option<u32>,
    /// For how long.
    pub lasting: Duration,
}

/// What came of it.
pub struct Outcome {
    took: Duration,
    /// Of each request, in order of length.
    latencies: Vec<Duration>,
}

impl Outcome {
    /// How many requests were answered.
    pub fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// Requests answered a second.
    pub fn rate(&self) -> f64 {
        self.requests() as f64 / self.took.as_secs_f64()
    }

    /// Latency that this share of the requests stayed below, in milliseconds.
    pub fn quantile(&self, share: f64) -> f64 {
        let at = (self.latencies.len() as f64 * share) as usize;
        self.latencies[at.min(self.latencies.len() - 1)].as_secs_f64() * 1000.0
    }
}

/// Whose turn it is, where the rate is given.
struct Pace {
    began: Instant,
    period: Option<Duration>,
    next: AtomicU32,
}

impl Pace {
    async fn turn(&self) {
        if let Some(period) = self.period {
            let due = self.began + period * self.next.fetch_add(1, Ordering::Relaxed);
            sleep_until(due.into()).await;
        }
    }
}

/// Asks.
pub async fn run(server: SocketAddr, asked: &Asked, load: Load) -> Outcome {
    let began = Instant::now();
    let pace = Arc::new(Pace {
        began,
        period: load.rate.map(|rate| Duration::from_secs(1) / rate),
        next: AtomicU32::new(0),
    });
    let end = began + load.lasting;
    let connections = (0..load.connections).map(|_| tokio::spawn(connection(server, asked.clone(), pace.clone(), end)));
    let latencies = futures::future::join_all(connections.collect::<Vec<_>>()).await;
    let took = began.elapsed();
    let mut latencies: Vec<Duration> = latencies.into_iter().flat_map(Result::unwrap).collect();
    latencies.sort_unstable();
    Outcome { took, latencies }
}

async fn connection(server: SocketAddr, asked: Asked, pace: Arc<Pace>, end: Instant) -> Vec<Duration> {
    let stream = TcpStream::connect(server).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (sender, driver) = handshake(TokioIo::new(stream)).await.unwrap();
    // Both in one task, so that no request waits for another thread of the client.
    tokio::select! {
        ended = driver => panic!("the server ended a connection: {ended:?}"),
        latencies = ask(sender, &asked, &pace, end) => latencies,
    }
}

async fn ask(mut sender: SendRequest<Empty<Bytes>>, asked: &Asked, pace: &Pace, end: Instant) -> Vec<Duration> {
    let mut latencies = Vec::new();
    loop {
        pace.turn().await;
        let request = asked.request();
        let sent = Instant::now();
        if sent >= end {
            return latencies;
        }
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), asked.answer);
        response.into_body().collect().await.unwrap();
        latencies.push(sent.elapsed());
        sender.ready().await.unwrap();
    }
}
