//! What is counted, by the conventions of Prometheus.
//!
//! No label holds a tenant's name. What the watches hold is counted when somebody asks: see [`super::counts`].

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use super::{
    counts,
    descriptions::{BUILD, Description, PREFIX},
    progress::{self, Progress},
};
use crate::{
    controller::{clock::Clock, stores::Stores},
    issuers::Seconds,
};

const OPERATIONS: Description = Description::counter(
    "operations",
    &["operation", "result"],
    "Steps taken for ApiTokens, by step and result",
);
const OPERATION_DURATION: Description =
    Description::histogram("operation_duration_seconds", &["operation"], "How long a step took, by step");
const EVENTS: Description = Description::counter(
    "events",
    &["reason"],
    "What was told of ApiTokens, by the reason of the Event: Issued, Rotated, Revoked and so on",
);
const RECONCILIATIONS: Description = Description::counter("reconciliations", &["result"], "Passes over ApiTokens, by result");
const RECONCILIATION_DURATION: Description =
    Description::histogram("reconciliation_duration_seconds", &[], "How long a pass over an ApiToken took");
const LEADER: Description = Description::gauge("leader", &[], "1 where this replica works, 0 where it stands by");
const RUNNING: Description = Description::gauge("reconciliations_running", &[], "Passes over ApiTokens that run now");
const VENDOR_REQUESTS: Description = Description::counter(
    "vendor_requests",
    &["vendor", "operation", "result"],
    "What was asked of vendors, by vendor, operation and result; one that reads several pages counts once",
);
const VENDOR_DURATION: Description = Description::histogram(
    "vendor_request_duration_seconds",
    &["vendor", "operation"],
    "How long vendors took, waits for a rate limit included",
);
const RATE_LIMIT_WAITS: Description = Description::counter(
    "vendor_rate_limit_wait_seconds",
    &["vendor"],
    "How long calls were held back to keep an issuer's rateLimit, in all",
);

/// What the controller counts as it happens.
const HAPPENING: [Description; 10] = [
    OPERATIONS,
    OPERATION_DURATION,
    EVENTS,
    RECONCILIATIONS,
    RECONCILIATION_DURATION,
    LEADER,
    RUNNING,
    VENDOR_REQUESTS,
    VENDOR_DURATION,
    RATE_LIMIT_WAITS,
];

/// All that the controller counts.
pub fn descriptions() -> Vec<Description> {
    [&HAPPENING[..], &counts::ALL, &[BUILD]].concat()
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As it should.
    Success,
    /// Not.
    Failure,
    /// Somebody else was first; it is done again.
    Conflict,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Conflict => "conflict",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    vendor: &'static str,
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VendorLabels {
    vendor: &'static str,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    vendor: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    /// What the watches hold.
    pub counts: counts::Counter,
    /// Whether work goes on.
    pub progress: Progress,
    operations: Family<OperationLabels, Counter>,
    operation_durations: Histograms<StepLabels>,
    events: Family<EventLabels, Counter>,
    reconciliations: Family<ResultLabels, Counter>,
    durations: Histogram,
    leader: Gauge,
    running: Gauge,
    vendor_requests: Family<RequestLabels, Counter>,
    vendor_durations: Histograms<VendorLabels>,
    rate_limit_waits: Family<WaitLabels, Seconds>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix(PREFIX),
            counts: counts::Counter::default(),
            progress: Progress::default(),
            operations: Family::default(),
            operation_durations: Family::new_with_constructor(calls),
            events: Family::default(),
            reconciliations: Family::default(),
            durations: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            leader: Gauge::default(),
            running: Gauge::default(),
            vendor_requests: Family::default(),
            vendor_durations: Family::new_with_constructor(calls),
            rate_limit_waits: Family::default(),
        };
        metrics.registered()
    }
}

/// From a hundredth of a second to 40.
fn calls() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 13))
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        OPERATIONS.register(registry, self.operations.clone());
        OPERATION_DURATION.register(registry, self.operation_durations.clone());
        EVENTS.register(registry, self.events.clone());
        RECONCILIATIONS.register(registry, self.reconciliations.clone());
        RECONCILIATION_DURATION.register(registry, self.durations.clone());
        LEADER.register(registry, self.leader.clone());
        RUNNING.register(registry, self.running.clone());
        VENDOR_REQUESTS.register(registry, self.vendor_requests.clone());
        VENDOR_DURATION.register(registry, self.vendor_durations.clone());
        RATE_LIMIT_WAITS.register(registry, self.rate_limit_waits.clone());
        BUILD.register(registry, build_info());
        registry.register_collector(Box::new(self.counts.clone()));
        self
    }

    /// From now on tokens and issuers are counted in these stores.
    pub fn count_tokens_in(&self, stores: Arc<Stores>, clock: Arc<dyn Clock>) {
        self.counts.counts_in(stores, clock);
    }

    /// This replica works from now on, or does not.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A step was taken.
    pub fn operation(&self, operation: &'static str, outcome: Outcome, took: Duration) {
        self.progress.moved();
        let result = outcome.as_str();
        self.operations.get_or_create(&OperationLabels { operation, result }).inc();
        self.operation_durations
            .get_or_create(&StepLabels { operation })
            .observe(took.as_secs_f64());
    }

    /// An Event was published, or tried to be.
    pub fn event(&self, reason: &'static str) {
        self.events.get_or_create(&EventLabels { reason }).inc();
    }

    /// A pass over an ApiToken begins, and runs until what is given goes.
    pub fn pass_begins(&self) -> Running<'_> {
        self.running.inc();
        Running {
            metrics: self,
            _pass: self.progress.pass(),
        }
    }

    /// A pass over an ApiToken ended.
    pub fn reconciliation(&self, outcome: Outcome, took: Duration) {
        self.reconciliations.get_or_create(&ResultLabels { result: outcome.as_str() }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// A vendor was asked for something.
    pub fn vendor_request(&self, vendor: &'static str, operation: &'static str, result: &'static str, took: Duration) {
        self.progress.moved();
        self.vendor_requests
            .get_or_create(&RequestLabels { vendor, operation, result })
            .inc();
        self.vendor_durations
            .get_or_create(&VendorLabels { vendor, operation })
            .observe(took.as_secs_f64());
    }

    /// Where it is counted how long the calls to a vendor are held back.
    pub fn rate_limit_waits(&self, vendor: &'static str) -> Seconds {
        self.rate_limit_waits.get_or_create_owned(&WaitLabels { vendor })
    }

    /// Why the program is to be started again; nothing where work goes on, or none waits.
    pub fn stuck(&self) -> Option<&'static str> {
        self.progress.stuck(self.counts.work_waits())
    }

    /// All of it in the OpenMetrics text format.
    ///
    /// # Errors
    /// Where the text can't be written, which memory alone can cause.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A pass that runs. It counts until it is dropped, however the pass ends.
pub struct Running<'a> {
    metrics: &'a Metrics,
    _pass: progress::Pass<'a>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.metrics.running.dec();
    }
}

/// The version of the program, for the metric `build_info`.
pub fn build_info() -> Info<[(&'static str, &'static str); 1]> {
    Info::new([("version", env!("CARGO_PKG_VERSION"))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::descriptions::{described, shown};

    #[test]
    fn each_metric_is_what_its_description_says() {
        let metrics = Metrics::default();
        let took = Duration::from_secs(1);
        metrics.operation("issue", Outcome::Success, took);
        metrics.event("Issued");
        metrics.reconciliation(Outcome::Success, took);
        metrics.vendor_request("mailtrap", "list", "success", took);
        metrics.rate_limit_waits("mailtrap").inc_by(1.0);
        let expected = described(&[&HAPPENING[..], &[BUILD]].concat());
        let store = described(&counts::ALL);
        let mut shown = shown(&metrics.encode().unwrap());
        shown.retain(|metric| !store.iter().any(|counted| counted.0 == metric.0));
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_pass_counts_as_running_until_it_is_dropped() {
        let metrics = Metrics::default();
        let running = || metrics.encode().unwrap().contains("apitoken_reconciliations_running 1\n");
        let pass = metrics.pass_begins();
        assert!(running());
        drop(pass);
        assert!(!running());
    }
}
