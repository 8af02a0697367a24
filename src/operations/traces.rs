//! Traces over OTLP, off unless an endpoint is set: one span for each pass, one for each call to a vendor in it.
//!
//! Only spans with the target [`TARGET`] are sent, and no log lines: what a span may carry is seen where it is made. No
//! value and no credential is among it.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing_subscriber::{Layer, Registry, filter::Targets};
use url::Url;

use crate::issuers::http;

/// The target of the spans that are sent, and of nothing else, so that no log line shows them.
pub const TARGET: &str = "traces";
/// How long one delivery may take; what can't be delivered is lost.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the last delivery may take.
const LAST: Duration = Duration::from_secs(1);

/// Traces can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The endpoint is not an address.
    #[error("--otlp-endpoint must be the http or https address of an OTLP receiver, such as http://collector:4318")]
    Endpoint,
    /// No client could be made.
    #[error("no client for traces could be made: {0}")]
    Client(#[from] reqwest::Error),
    /// TLS can't be set up.
    #[error("no TLS for traces could be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The exporter could not be made.
    #[error("traces can't be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Sends spans until it is ended.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sends them to the path `/v1/traces` under that address. Not to be called where tasks run: the client blocks.
    ///
    /// # Errors
    /// Where nothing can be sent there. Whether anybody listens shows later, and does not matter to the work.
    pub fn to(endpoint: &Url) -> Result<Self, TraceError> {
        if !matches!(endpoint.scheme(), "http" | "https") {
            return Err(TraceError::Endpoint);
        }
        let mut address = endpoint.clone();
        let mut path = address.path_segments_mut().map_err(|()| TraceError::Endpoint)?;
        path.pop_if_empty().extend(["v1", "traces"]);
        drop(path);
        let client = reqwest::blocking::Client::builder()
            .tls_backend_preconfigured(http::system_tls()?)
            .timeout(TIMEOUT)
            .build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(address.as_str())
            .with_timeout(TIMEOUT)
            .build()?;
        let resource = Resource::builder_empty().with_service_name("apitoken-operator").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self { provider })
    }

    /// What takes in the spans.
    pub fn layer(&self) -> impl Layer<Registry> + Send + Sync + use<> {
        tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_tracer(self.provider.tracer("apitoken-operator"))
            .with_filter(Targets::new().with_target(TARGET, tracing::Level::INFO))
    }

    /// Sends what is left.
    pub fn end(&self) {
        let _ = self.provider.shutdown_with_timeout(LAST);
    }
}
