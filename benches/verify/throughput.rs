//! Requests a second, latency and memory, with few tokens and many.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use hyper::StatusCode;
use tokio::time::sleep;

use super::{
    constant::Constant,
    load::{self, Asked, Load, Outcome},
    process,
    support::{
        control_plane::{OPERATOR_NAMESPACE, VERIFIER_ACCOUNT},
        operator::Program,
    },
    world::{World, value},
};

/// How often verifier and constant server take turns: the machine is not the same all the time.
const TURNS: usize = 3;
const MANY: usize = 64;
/// Requests a second in the runs at a steady rate, and over how many connections.
const STEADY: (u32, usize) = (1000, 16);

/// How long a start may take at most.
const START: Duration = Duration::from_secs(300);

/// A server under load.
#[derive(Clone, Copy)]
struct Server {
    address: SocketAddr,
    pid: u32,
}

/// What one run shows. Latencies in milliseconds, processor time in microseconds for each request.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    processor: f64,
}

impl Figures {
    fn of(outcome: &Outcome, processor: Duration) -> Self {
        Self {
            rate: outcome.rate(),
            p50: outcome.quantile(0.5),
            p99: outcome.quantile(0.99),
            p999: outcome.quantile(0.999),
            processor: processor.as_secs_f64() * 1e6 / outcome.requests() as f64,
        }
    }

    fn row(&self) -> String {
        let Self { rate, p50, p99, p999, .. } = self;
        format!("{rate:.0} | {p50:.2} | {p99:.2} | {p999:.2}")
    }
}

/// Measures with each number of tokens.
pub async fn measure(sizes: &[usize], lasting: Duration) {
    let mut world = World::new().await;
    let constant = Constant::start();
    let floor = Server {
        address: constant.address,
        pid: constant.pid(),
    };
    for size in sizes {
        world.grow(*size).await;
        with_tokens(&world, floor, *size, lasting).await;
    }
    drop(constant);
    world.plane.stop();
}

async fn with_tokens(world: &World, constant: Server, size: usize, lasting: Duration) {
    let began = Instant::now();
    let kubeconfig = world.plane.account_kubeconfig(OPERATOR_NAMESPACE, VERIFIER_ACCOUNT, None).await;
    let program = Program::run(&world.plane, &kubeconfig, &["verifier", "--address=127.0.0.1:0"]);
    while !program.is_ready().await {
        assert!(began.elapsed() < START, "not ready in {START:?}");
        sleep(Duration::from_millis(20)).await;
    }
    println!("\n{size} tokens; ready after {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(metric(&program, "apitoken_verifier_index_tokens").await, size as f64);
    let rest = process::memory(program.pid());
    let verifier = Server {
        address: program.address("answering over HTTP").unwrap().parse().unwrap(),
        pid: program.pid(),
    };
    let right = Asked::new((0..size).map(value), StatusCode::OK);
    let wrong = Asked::new((size..2 * size).map(value), StatusCode::UNAUTHORIZED);
    let any = Asked::new((0..size).map(value), StatusCode::OK);

    println!("| tokens asked | connections | server | requests/s | p50 ms | p99 ms | p99.9 ms | CPU us/request |");
    println!("|---|---|---|---|---|---|---|---|");
    let full = |connections| Load {
        connections,
        rate: None,
        lasting,
    };
    for (what, asked, load) in [
        ("right", &right, full(1)),
        ("right", &right, full(MANY)),
        ("wrong", &wrong, full(MANY)),
    ] {
        beside(what, (constant, &any), (verifier, asked), load).await;
    }
    let steady = Load {
        connections: STEADY.1,
        rate: Some(STEADY.0),
        lasting,
    };
    let before = decisions(&program).await;
    beside("right, 1000/s", (constant, &any), (verifier, &right), steady).await;
    println!(
        "p99 in the server, by its own histogram: at most {:.3} ms",
        p99(&before, &decisions(&program).await)
    );
    for (server, flood, name) in [
        (constant, &any, "constant, flooded"),
        (verifier, &right, "verifier, flooded by right ones"),
        (verifier, &wrong, "verifier, flooded by wrong ones"),
    ] {
        let beside = tokio::join!(run(server, &right, steady), load::run(server.address, flood, full(MANY)));
        println!(
            "| right, 1000/s beside a flood | {} + {MANY} | {name} | {} | - |",
            STEADY.1,
            beside.0.row()
        );
    }
    let loaded = process::memory(program.pid());
    let mib = |kib: usize| kib as f64 / 1024.0;
    println!(
        "memory: {:.1} MiB when ready, {:.1} MiB after the load, {:.1} MiB at most",
        mib(rest.held),
        mib(loaded.held),
        mib(loaded.most)
    );
}

/// The constant server and the verifier under the same load, in turns; of each figure the median.
async fn beside(what: &str, constant: (Server, &Asked), verifier: (Server, &Asked), load: Load) {
    let (mut floor, mut figures) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        floor.push(run(constant.0, constant.1, load).await);
        figures.push(run(verifier.0, verifier.1, load).await);
    }
    let ratio = median(floor.iter().zip(&figures).map(|(floor, figures)| figures.rate / floor.rate));
    for (name, figures) in [("constant", floor), ("verifier", figures)] {
        let of = |figure: fn(&Figures) -> f64| median(figures.iter().map(figure));
        let middle = Figures {
            rate: of(|figures| figures.rate),
            p50: of(|figures| figures.p50),
            p99: of(|figures| figures.p99),
            p999: of(|figures| figures.p999),
            processor: of(|figures| figures.processor),
        };
        println!(
            "| {what} | {} | {name} | {} | {:.0} |",
            load.connections,
            middle.row(),
            middle.processor
        );
    }
    if load.rate.is_none() {
        println!("of the constant server's requests/s: {ratio:.2}");
    }
}

async fn run(server: Server, asked: &Asked, load: Load) -> Figures {
    let before = process::processor_time(server.pid);
    let outcome = load::run(server.address, asked, load).await;
    Figures::of(&outcome, process::processor_time(server.pid) - before)
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

async fn metric(program: &Program, name: &str) -> f64 {
    let metrics = program.get("/metrics").await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

/// How many decisions took at most so many seconds.
async fn decisions(program: &Program) -> Vec<(f64, u64)> {
    let metrics = program.get("/metrics").await.unwrap();
    let buckets = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("apitoken_verifier_request_duration_seconds_bucket{le=\""));
    let bucket = |line: &str| {
        let (bound, count) = line.split_once("\"} ").unwrap();
        (bound.replace("+Inf", "inf").parse().unwrap(), count.parse().unwrap())
    };
    buckets.map(bucket).collect()
}

/// The bound that 99 of 100 decisions between the two kept, in milliseconds.
fn p99(before: &[(f64, u64)], after: &[(f64, u64)]) -> f64 {
    let counts: Vec<(f64, u64)> = before
        .iter()
        .zip(after)
        .map(|(before, after)| (after.0, after.1 - before.1))
        .collect();
    let all = counts.last().unwrap().1;
    let kept = counts.iter().find(|(_, count)| *count * 100 >= all * 99).unwrap();
    kept.0 * 1000.0
}
