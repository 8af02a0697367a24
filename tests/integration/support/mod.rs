//! The test bed: a control plane for the whole run, the operator under test, and questions to both.

pub mod application;
pub mod audit;
pub mod clock;
pub mod control_plane;
pub mod front;
pub mod history;
pub mod issuer;
pub mod line;
pub mod operator;
pub mod picture;
pub mod prometheus;
pub mod proxy;
pub mod raw;
pub mod remote;
pub mod replicas;
pub mod tap;
pub mod tokens;
pub mod verifier;
pub mod watch;
pub mod wire;

use std::time::Duration;

use jiff::SignedDuration;
use tokio::time::{Instant, sleep};

/// How long a condition may take to come true on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; says what it waited for when there is none in time.
pub async fn eventually<T, F>(what: &str, ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let answer = in_time(ask).await;
    answer.unwrap_or_else(|| panic!("not in {DEADLINE:?}: {what}"))
}

/// Asks until there is an answer, or the time is over.
pub async fn in_time<T, F>(mut ask: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return Some(answer);
        }
        if Instant::now() > end {
            return None;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// What most tests begin with: the shared control plane, a namespace of their own, and the operator
/// for it inside the test.
pub struct Bed {
    /// The shared control plane.
    pub plane: &'static control_plane::ControlPlane,
    /// The namespace.
    pub team: tokens::Team,
    /// The operator.
    pub operator: operator::InProcess,
}

impl Bed {
    /// A bed for one test.
    pub async fn new(what: &str) -> Self {
        Self::with_delay(what, operator::PROPAGATION_DELAY).await
    }

    /// A bed whose operator lets verifiers have that long to learn of a new value. With a delay that
    /// no test waits out, a rotation stands still until the test steps the clock.
    pub async fn with_delay(what: &str, propagation_delay: SignedDuration) -> Self {
        let plane = control_plane::shared();
        let namespace = plane.namespace(what).await;
        let operator =
            operator::InProcess::start_with(plane.operator().await, &namespace, clock::TestClock::default(), propagation_delay).await;
        let team = tokens::Team::new(plane.admin().await, &namespace);
        Self { plane, team, operator }
    }

    /// Lets time pass, and has the operator look at the token.
    pub async fn pass(&self, time: SignedDuration, name: &str) {
        self.operator.advance(time).await;
        self.team.nudge(name).await;
    }

    /// The operator is away for that long.
    pub async fn restarted_after(self, time: SignedDuration) -> Self {
        let Self { plane, team, operator } = self;
        let clock = operator.clock.clone();
        operator.stop().await;
        clock.advance(time);
        let operator = operator::InProcess::start_with(plane.operator().await, &team.namespace, clock, operator::PROPAGATION_DELAY).await;
        Self { plane, team, operator }
    }
}
