//! What the verifier counts, by the conventions of Prometheus. No label holds what a caller or a tenant chose.

use std::{fmt, time::Duration};

use jiff::SignedDuration;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

use super::lookup::decision::Denial;
use crate::operations::{
    descriptions::{BUILD, Description, PREFIX},
    metrics::build_info,
};

const DECISIONS: Description = Description::counter(
    "verifier_decisions",
    &["result", "reason"],
    "Tokens presented, by result and reason",
);
const DURATION: Description = Description::histogram(
    "verifier_request_duration_seconds",
    &[],
    "How long the verifier took to decide on a token, without reading and writing the request",
);
const REVOCATIONS: Description = Description::histogram(
    "verifier_revocation_latency_seconds",
    &[],
    "From the write that took a token away, which the API server notes to the second, to this replica denying it",
);
const TOKENS: Description = Description::gauge("verifier_index_tokens", &[], "ApiTokens in the index");
const AGE: Description = Description::gauge(
    "verifier_index_age_seconds",
    &[],
    "How long ago the API server was last heard, by the watch that was heard longest ago; -1 before the first list",
);
const LAST_USE: Description = Description::counter(
    "verifier_last_use_writes",
    &["result"],
    "Writes of when a token was last used, by result",
);

/// All that the verifier counts.
pub const DESCRIPTIONS: [Description; 7] = [DECISIONS, DURATION, REVOCATIONS, TOKENS, AGE, LAST_USE, BUILD];

/// The word for a token that works.
const ACCEPTED: &str = "accepted";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    result: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// Everything that the verifier counts.
pub struct Metrics {
    registry: Registry,
    accepted: Counter,
    denied: [Counter; Denial::ALL.len()],
    durations: Histogram,
    revocations: Histogram,
    tokens: Gauge,
    age: Gauge<f64, std::sync::atomic::AtomicU64>,
    last_use: Family<ResultLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let decisions: Family<DecisionLabels, Counter> = Family::default();
        let decision = |result, reason| decisions.get_or_create_owned(&DecisionLabels { result, reason });
        let accepted = decision(ACCEPTED, ACCEPTED);
        let denied = Denial::ALL.map(|denial| decision("denied", denial.as_str()));
        let durations = Histogram::new(exponential_buckets(0.000_001, 4.0, 12));
        let revocations = Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0]);
        let (tokens, age, last_use) = (Gauge::default(), Gauge::default(), Family::<ResultLabels, Counter>::default());
        let mut registry = Registry::with_prefix(PREFIX);
        DECISIONS.register(&mut registry, decisions);
        DURATION.register(&mut registry, durations.clone());
        REVOCATIONS.register(&mut registry, revocations.clone());
        TOKENS.register(&mut registry, tokens.clone());
        AGE.register(&mut registry, age.clone());
        LAST_USE.register(&mut registry, last_use.clone());
        BUILD.register(&mut registry, build_info());
        Self {
            registry,
            accepted,
            denied,
            durations,
            revocations,
            tokens,
            age,
            last_use,
        }
    }
}

impl Metrics {
    /// A token was decided on.
    pub fn decided(&self, denial: Option<Denial>, took: Duration) {
        match denial {
            None => self.accepted.inc(),
            Some(denial) => self.denied[denial as usize].inc(),
        };
        self.durations.observe(took.as_secs_f64());
    }

    /// A token that worked does not any more, so long after the write that took it away.
    pub fn revoked(&self, after: SignedDuration) {
        self.revocations.observe(after.as_secs_f64().max(0.0));
    }

    /// It was tried to write a use.
    pub fn wrote_use(&self, result: &'static str) {
        self.last_use.get_or_create(&ResultLabels { result }).inc();
    }

    /// All of it in the OpenMetrics text format, with the size and the age of the index.
    ///
    /// # Errors
    /// Where the text can't be written, which memory alone can cause.
    pub fn encode(&self, tokens: usize, age: Option<Duration>) -> Result<String, fmt::Error> {
        self.tokens.set(i64::try_from(tokens).unwrap_or(i64::MAX));
        self.age.set(age.map_or(-1.0, |age| age.as_secs_f64()));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::descriptions::{described, shown};

    #[test]
    fn each_metric_is_what_its_description_says() {
        let metrics = Metrics::default();
        metrics.wrote_use("success");
        assert_eq!(shown(&metrics.encode(0, None).unwrap()), described(&DESCRIPTIONS));
    }
}
