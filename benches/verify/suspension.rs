//! How long it takes from a write that suspends a token until each of three replicas turns it away, and back.

use std::time::Duration;

use super::support::{
    control_plane::{ControlPlane, VERIFIER_ACCOUNT},
    replicas::{Learned, Replica, present, rounds},
    tokens::Team,
};

const REPLICAS: usize = 3;

/// Measures so many writes.
pub async fn measure(writes: usize) {
    let plane = ControlPlane::with_chart("suspension");
    let team = Team::new(plane.admin().await, &plane.namespace("bench").await);
    present(&team).await;
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        let client = plane.client_of(VERIFIER_ACCOUNT, None).await;
        replicas.push(Replica::start(client, &team).await);
    }
    let rounds = rounds(&team, &replicas, writes).await;
    println!("\n{writes} times suspended or activated, in turns; counted from just before the write was sent");
    println!("| replica | write | first answer by it: p50 ms | p99 ms | last answer before it: p50 ms | p99 ms |");
    println!("|---|---|---|---|---|---|");
    for replica in 0..REPLICAS {
        for (write, first) in [("suspended", 0), ("activated", 1)] {
            let learned: Vec<Learned> = rounds.iter().skip(first).step_by(2).map(|round| round[replica]).collect();
            let first = quantiles(learned.iter().map(|learned| learned.first));
            let last = quantiles(learned.iter().map(|learned| learned.last_former));
            println!("| {} | {write} | {first} | {last} |", replica + 1);
        }
    }
    drop(replicas);
    plane.stop();
}

fn quantiles(times: impl Iterator<Item = Duration>) -> String {
    let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    format!("{:.1} | {:.1}", at(0.5), at(0.99))
}
