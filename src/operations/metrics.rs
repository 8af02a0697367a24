//! What is counted, by the conventions of Prometheus.
//!
//! No label holds a tenant's name: cluster issuers stand by name, namespaced ones together. Tokens
//! are counted when somebody asks, from what the watches hold, so that nothing stale remains.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text::encode},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::Registry,
};

use crate::{
    api::{ApiToken, IssuerKind, IssuerRef, api_token::ObservedState},
    controller::stores::Stores,
};

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
struct ResultLabels {
    result: &'static str,
}

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    stores: Arc<OnceLock<Arc<Stores>>>,
    operations: Family<OperationLabels, Counter>,
    reconciliations: Family<ResultLabels, Counter>,
    durations: Histogram,
    leader: Gauge,
    vendor_requests: Family<RequestLabels, Counter>,
    vendor_durations: Family<VendorLabels, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let stores = Arc::new(OnceLock::new());
        let operations = Family::default();
        let reconciliations = Family::default();
        let durations = Histogram::new(exponential_buckets(0.001, 2.0, 14));
        let leader = Gauge::default();
        let vendor_requests = Family::default();
        let vendor_durations: Family<VendorLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 13)));
        let mut registry = Registry::with_prefix("apitoken");
        registry.register("operations", "Steps taken for ApiTokens, by step and result", operations.clone());
        registry.register("reconciliations", "Passes over ApiTokens, by result", reconciliations.clone());
        registry.register(
            "reconciliation_duration_seconds",
            "How long a pass over an ApiToken took",
            durations.clone(),
        );
        registry.register(
            "vendor_requests",
            "What was asked of vendors, by vendor, operation and result; one that reads several pages counts once",
            vendor_requests.clone(),
        );
        registry.register(
            "vendor_request_duration_seconds",
            "How long vendors took, waits for a rate limit included",
            vendor_durations.clone(),
        );
        registry.register("leader", "1 where this replica works, 0 where it stands by", leader.clone());
        registry.register("build", "1, with the version of the program", build_info());
        registry.register_collector(Box::new(Counts { stores: stores.clone() }));
        Self {
            registry,
            stores,
            operations,
            reconciliations,
            durations,
            leader,
            vendor_requests,
            vendor_durations,
        }
    }
}

impl Metrics {
    /// From now on tokens are counted in these stores.
    pub fn count_tokens_in(&self, stores: Arc<Stores>) {
        // A second controller in one program does not exist; the first one's stores stay.
        let _ = self.stores.set(stores);
    }

    /// This replica works from now on, or does not.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A step was taken.
    pub fn operation(&self, operation: &'static str, outcome: Outcome) {
        let result = outcome.as_str();
        self.operations.get_or_create(&OperationLabels { operation, result }).inc();
    }

    /// A pass ended.
    pub fn reconciliation(&self, outcome: Outcome, took: Duration) {
        self.reconciliations.get_or_create(&ResultLabels { result: outcome.as_str() }).inc();
        self.durations.observe(took.as_secs_f64());
    }

    /// A vendor was asked for something.
    pub fn vendor_request(&self, vendor: &'static str, operation: &'static str, result: &'static str, took: Duration) {
        self.vendor_requests
            .get_or_create(&RequestLabels { vendor, operation, result })
            .inc();
        self.vendor_durations
            .get_or_create(&VendorLabels { vendor, operation })
            .observe(took.as_secs_f64());
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

/// The version of the program, for the metric `build_info`.
pub fn build_info() -> Info<[(&'static str, &'static str); 1]> {
    Info::new([("version", env!("CARGO_PKG_VERSION"))])
}

/// Counts tokens by state and issuer, and orphans, when somebody asks.
struct Counts {
    stores: Arc<OnceLock<Arc<Stores>>>,
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counts")
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut family = encoder.encode_descriptor("tokens", "ApiTokens, by state and issuer", None, MetricType::Gauge)?;
        for ((state, issuer), count) in self.counts() {
            let labels = [("state", state), ("issuer", issuer.as_str())];
            let metric = family.encode_family(&labels)?;
            ConstGauge::new(count).encode(metric)?;
        }
        let help = "Tokens at vendors that no ApiToken accounts for, as the issuers' status tells";
        let orphans = encoder.encode_descriptor("orphans", help, None, MetricType::Gauge)?;
        ConstGauge::new(self.orphans()).encode(orphans)
    }
}

impl Counts {
    fn orphans(&self) -> i64 {
        let orphans = self.stores.get().map_or(0, |stores| stores.orphans());
        i64::try_from(orphans).unwrap_or(i64::MAX)
    }

    fn counts(&self) -> BTreeMap<(&'static str, String), i64> {
        let mut counts = BTreeMap::new();
        let scopes = self.stores.get().map(|stores| stores.scopes.as_slice()).unwrap_or_default();
        for token in scopes.iter().flat_map(|scope| scope.tokens.state()) {
            if let Ok(token) = &token.0 {
                *counts.entry(labels(token)).or_default() += 1;
            }
        }
        counts
    }
}

fn labels(token: &ApiToken) -> (&'static str, String) {
    let status = token.status.as_ref();
    let state = match status.and_then(|status| status.state) {
        None | Some(ObservedState::Pending) => "Pending",
        Some(ObservedState::Active) => "Active",
        Some(ObservedState::Suspended) => "Suspended",
        Some(ObservedState::Revoked) => "Revoked",
        Some(ObservedState::Expired) => "Expired",
    };
    let issuer = match status.and_then(|status| status.issuer_ref.as_ref()) {
        None => "none".to_owned(),
        Some(IssuerRef {
            kind: IssuerKind::ClusterTokenIssuer,
            name,
        }) => format!("ClusterTokenIssuer/{name}"),
        Some(_) => "TokenIssuer".to_owned(),
    };
    (state, issuer)
}
