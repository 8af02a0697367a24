//! The verifier: who is let through, on a real API server and over real HTTP.

mod grpc;
mod introspection;
mod last_use;
mod latency;
mod outage;
mod proxies;
mod states;
mod strangers;
mod transport;

use crate::support::{Bed, clock::TestClock, control_plane::VERIFIER_ACCOUNT, verifier};

/// What most tests begin with: an operator, a verifier beside it on the same clock, and an issuer of the team's own.
pub struct Gate {
    /// The operator and the team.
    pub bed: Bed,
    /// The verifier.
    pub verifier: verifier::InProcess,
    /// The question that names the team's issuer.
    pub question: String,
}

/// The name of the team's own issuer.
pub const ISSUER: &str = "own";

impl Gate {
    /// A gate for one test.
    pub async fn new(what: &str) -> Self {
        Self::with(what, |_| {}).await
    }

    /// A gate whose verifier is told something else.
    pub async fn with(what: &str, change: impl FnOnce(&mut apitoken_operator::verifier::Settings)) -> Self {
        let bed = Bed::new(what).await;
        bed.team.issuer(ISSUER, serde_json::json!({ "builtin": {} })).await;
        let mut settings = verifier::settings(&bed.team.namespace);
        change(&mut settings);
        let client = bed.plane.client_of(VERIFIER_ACCOUNT, None).await;
        let verifier = verifier::InProcess::start(client, &bed.operator.clock, settings).await;
        let question = format!("issuer=TokenIssuer/{}/{ISSUER}", bed.team.namespace);
        Self { bed, verifier, question }
    }

    /// Declares a token of the team's own issuer and waits until it is let through: its value.
    pub async fn issued(&self, name: &str, mut spec: serde_json::Value) -> String {
        spec["issuerRef"] = serde_json::json!({ "kind": "TokenIssuer", "name": ISSUER });
        self.bed.team.declare(name, spec).await;
        self.bed.team.ready(name).await;
        let value = self.bed.team.value(name, "token").await;
        self.verifier.until_accepts(&self.question, &value, true).await;
        value
    }

    /// The clock of operator and verifier.
    pub fn clock(&self) -> &TestClock {
        &self.bed.operator.clock
    }
}
