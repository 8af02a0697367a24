//! The real program, as it issues tokens, and as it starts again once all are issued.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    process::{self, Memory},
    support::{control_plane::OPERATOR_USER, operator::Program},
    world::{AT_ONCE, World},
};

/// More than the slowest machine needs.
const LIMIT: Duration = Duration::from_secs(1800);

/// What was seen of it.
pub struct Operator {
    /// From the first ApiToken that was declared until all were Active.
    pub issued_in: Duration,
    /// Its memory then.
    pub memory: Memory,
    /// What was seen after a restart.
    pub restart: Restart,
}

/// A start with all tokens issued.
pub struct Restart {
    /// From the start of the process until it was ready.
    pub ready_after: Duration,
    /// Until it had looked at every token.
    pub looked_after: Duration,
    /// Its memory then.
    pub memory: Memory,
    /// What it wrote.
    pub writes: BTreeMap<String, usize>,
}

/// Lets it issue so many tokens, then starts it again.
pub async fn issue(tokens: usize, foreign_secrets: usize) -> Operator {
    let world = World::new("operator", foreign_secrets).await;
    let program = Program::start(&world.plane, &[]).await;
    let started = Instant::now();
    stream::iter(0..tokens)
        .for_each_concurrent(AT_ONCE, |number| {
            let team = world.team(number);
            async move { drop(team.declare(&format!("token-{number}"), json!({})).await) }
        })
        .await;
    until_active(&program, tokens).await;
    let issued_in = started.elapsed();
    let memory = process::memory(program.pid());
    program.terminate().await;
    let restart = restart(&world, tokens).await;
    world.plane.stop();
    Operator {
        issued_in,
        memory,
        restart,
    }
}

/// Declaring is faster than issuing: so the operator has much to do yet when all are declared.
async fn until_active(program: &Program, tokens: usize) {
    let all = format!("apitoken_tokens{{state=\"Active\",issuer=\"ClusterTokenIssuer/builtin\"}} {tokens}\n");
    let are_active = async || program.get("/metrics").await.is_some_and(|metrics| metrics.contains(&all));
    let become_active = async {
        while !are_active().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LIMIT, become_active).await.expect("all tokens are active");
}

async fn restart(world: &World, tokens: usize) -> Restart {
    let audit = world.plane.audit();
    let before = audit.now();
    let started = Instant::now();
    let program = Program::start(&world.plane, &[]).await;
    let ready_after = started.elapsed();
    program.passed(tokens).await;
    Restart {
        ready_after,
        looked_after: started.elapsed(),
        memory: process::memory(program.pid()),
        writes: audit.counts(OPERATOR_USER, before),
    }
}
