//! The test bed: a control plane for the whole run, the operator under test, and questions to both.

pub mod audit;
pub mod clock;
pub mod control_plane;
pub mod issuer;
pub mod operator;
pub mod proxy;
pub mod remote;
pub mod tokens;
pub mod wire;

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long a condition may take to come true on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer; says what it waited for when there is none in time.
pub async fn eventually<T, F>(what: &str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < end, "not in {DEADLINE:?}: {what}");
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
        let plane = control_plane::shared();
        let namespace = plane.namespace(what).await;
        let operator = operator::InProcess::start(plane, &namespace).await;
        let team = tokens::Team::new(plane.admin().await, &namespace);
        Self { plane, team, operator }
    }
}
