//! Logs: one line for each thing done, never a value.

use clap::ValueEnum;
use tracing::info;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

use super::traces::Traces;

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

/// Changes how much is logged while the program runs.
#[derive(Clone)]
pub struct LevelSwitch {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LevelSwitch {
    /// From now on so much is logged.
    pub fn set(&self, level: LogLevel) {
        // It fails only where nothing logs any more.
        let _ = self.filter.reload(filter(level));
        info!(level = ?level, "the log level was changed");
    }
}

/// Begins to log to standard error, our own lines only: what matters of the libraries' errors stands
/// in ours, and the libraries' lines may hold what was sent. Traces go where they are sent, if anywhere.
pub fn init(format: LogFormat, level: LogLevel, traces: Option<&Traces>) -> LevelSwitch {
    let (filter, handle) = reload::Layer::new(filter(level));
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
    let mut layers = vec![lines];
    layers.extend(traces.map(|traces| traces.layer().boxed()));
    tracing_subscriber::registry().with(layers).init();
    LevelSwitch { filter: handle }
}

fn filter(level: LogLevel) -> EnvFilter {
    let level = format!("{level:?}").to_lowercase();
    EnvFilter::new(format!("apitoken_operator={level}"))
}
