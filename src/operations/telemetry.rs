//! Logs: one line for each thing done, never a value.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogLevel {
    /// What nobody can go on from.
    Error,
    /// What a person should look at.
    Warn,
    /// Each thing done.
    Info,
    /// Each step.
    Debug,
    /// Everything.
    Trace,
}

/// Begins to log to standard error, our own lines only: what matters of the libraries' errors stands
/// in ours, and the libraries' lines may hold what was sent.
pub fn init(format: LogFormat, level: LogLevel) {
    let level = format!("{level:?}").to_lowercase();
    let filter = EnvFilter::new(format!("apitoken_operator={level}"));
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .with_writer(std::io::stderr)
            .json()
            .flatten_event(true)
            .with_filter(filter)
            .boxed(),
    };
    tracing_subscriber::registry().with(lines).init();
}
