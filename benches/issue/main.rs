//! How fast tokens are issued, against the floor: a bare client that does just the same writes, on a control plane like the
//! operator's, in the same run. How much memory that takes beside foreign Secrets, and what a restart takes.
//!
//! `make bench`; `APITOKEN_BENCH_TOKENS` says how many tokens (`2000,10000`), `APITOKEN_BENCH_SECRETS` how many foreign Secrets (30000).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that can't go on ends"
)]
#![allow(dead_code, reason = "the test bed has more than a benchmark needs")]

mod bare;
#[path = "../shared/etcd.rs"]
mod etcd;
mod operator;
#[path = "../shared/process.rs"]
mod process;
#[path = "../../tests/integration/support/mod.rs"]
mod support;
mod world;

use std::{env, time::Duration};

use operator::Operator;
use process::Memory;

#[tokio::main]
async fn main() {
    let sizes = env::var("APITOKEN_BENCH_TOKENS").unwrap_or_else(|_| "2000,10000".to_owned());
    let foreign_secrets: usize = env::var("APITOKEN_BENCH_SECRETS").map_or(30_000, |count| count.parse().unwrap());
    for tokens in sizes.split(',').map(|size| size.parse().unwrap()) {
        let floor = bare::issue(tokens, foreign_secrets).await;
        let operator = operator::issue(tokens, foreign_secrets).await;
        report(tokens, foreign_secrets, floor, &operator);
    }
}

fn report(tokens: usize, foreign_secrets: usize, floor: Duration, operator: &Operator) {
    let per_second = |took: Duration| tokens as f64 / took.as_secs_f64();
    let (floor_rate, rate) = (per_second(floor), per_second(operator.issued_in));
    let restart = &operator.restart;
    println!("{tokens} tokens beside {foreign_secrets} foreign Secrets");
    println!("  bare client: {:.1} s, {floor_rate:.0} a second", floor.as_secs_f64());
    println!(
        "  operator:    {:.1} s, {rate:.0} a second, {:.2} of the bare client; memory {}",
        operator.issued_in.as_secs_f64(),
        rate / floor_rate,
        mebibytes(&operator.memory)
    );
    println!(
        "  restart:     ready after {:.1} s, looked at all after {:.1} s, wrote {:?}; memory {}",
        restart.ready_after.as_secs_f64(),
        restart.looked_after.as_secs_f64(),
        restart.writes,
        mebibytes(&restart.memory)
    );
}

fn mebibytes(memory: &Memory) -> String {
    let mebi = |kibi: usize| kibi as f64 / 1024.0;
    format!("{:.1} MiB, at most {:.1} MiB", mebi(memory.held), mebi(memory.most))
}
