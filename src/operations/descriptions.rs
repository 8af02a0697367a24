//! What each metric is called, counts and is labelled with: said once, for the registry and for docs/metrics.md.

use prometheus_client::{metrics::MetricType, registry::Registry};

/// What stands before every name.
pub const PREFIX: &str = "apitoken";

/// What there is to know of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// Its name, without the prefix, and without the endings of counters and histograms.
    pub name: &'static str,
    /// What kind of metric it is.
    pub type_: MetricType,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

impl Description {
    /// What only goes up.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(name, MetricType::Counter, labels, help)
    }

    /// What goes up and down.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(name, MetricType::Gauge, labels, help)
    }

    /// What is measured each time, and sorted by size.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self::new(name, MetricType::Histogram, labels, help)
    }

    const fn new(name: &'static str, type_: MetricType, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, type_, labels, help }
    }

    /// Has it shown with the others.
    pub fn register(&self, registry: &mut Registry, metric: impl prometheus_client::registry::Metric) {
        registry.register(self.name, self.help, metric);
    }

    /// The name of its series, as one asks for them.
    pub fn series(&self) -> String {
        let ending = match self.type_ {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        format!("{PREFIX}_{}{ending}", self.name)
    }
}

/// The version of the program.
pub const BUILD: Description = Description::new("build", MetricType::Info, &["version"], "1, with the version of the program");

/// What a text in the OpenMetrics format shows: name, type, labels and help of each metric.
#[cfg(test)]
pub fn shown(text: &str) -> Vec<(String, String, Vec<String>, String)> {
    let mut shown: Vec<(String, String, Vec<String>, String)> = Vec::new();
    for line in text.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            shown.push((name.to_owned(), String::new(), Vec::new(), help.trim_end_matches('.').to_owned()));
        } else if let (Some((_, type_)), Some(last)) =
            (line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')), shown.last_mut())
        {
            last.1 = type_.to_owned();
        } else if let (Some((_, labels)), Some(last)) = (line.split_once('{'), shown.last_mut()) {
            let labels = labels.split("\",").filter_map(|label| label.split_once("=\""));
            last.2 = labels.map(|(name, _)| name.to_owned()).filter(|name| name != "le").collect();
        }
    }
    shown.sort();
    shown.dedup();
    shown
}

/// The same, as these descriptions say it.
#[cfg(test)]
pub fn described(descriptions: &[Description]) -> Vec<(String, String, Vec<String>, String)> {
    let mut described: Vec<_> = descriptions
        .iter()
        .map(|one| {
            let labels = one.labels.iter().map(|label| (*label).to_owned()).collect();
            (
                format!("{PREFIX}_{}", one.name),
                one.type_.as_str().to_owned(),
                labels,
                one.help.to_owned(),
            )
        })
        .collect();
    described.sort();
    described
}
