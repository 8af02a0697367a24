//! How fast tokens are verified, against the floor: the same server with a constant answer, in the same run. And how long it
//! takes until each of three replicas turns a suspended token away.
//!
//! `make bench`; `APITOKEN_BENCH_VERIFIER_TOKENS` says with how many tokens (`100,10000,100000`), `APITOKEN_BENCH_SECONDS` how long
//! each load lasts (5), `APITOKEN_BENCH_SUSPENSIONS` how often a token is suspended or activated (200).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that can't go on ends"
)]
#![allow(dead_code, reason = "the test bed has more than a benchmark needs")]

mod constant;
#[path = "../shared/etcd.rs"]
mod etcd;
mod load;
#[path = "../shared/process.rs"]
mod process;
#[path = "../../tests/integration/support/mod.rs"]
mod support;
mod suspension;
mod throughput;
mod world;

use std::time::Duration;

#[tokio::main]
async fn main() {
    if std::env::args().any(|argument| argument == constant::ARGUMENT) {
        return constant::serve().await;
    }
    let sizes = std::env::var("APITOKEN_BENCH_VERIFIER_TOKENS").unwrap_or_else(|_| "100,10000,100000".to_owned());
    let sizes: Vec<usize> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    let lasting = Duration::from_secs(number("APITOKEN_BENCH_SECONDS", 5));
    throughput::measure(&sizes, lasting).await;
    let suspensions = number("APITOKEN_BENCH_SUSPENSIONS", 200);
    suspension::measure(usize::try_from(suspensions).unwrap()).await;
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().unwrap())
}
