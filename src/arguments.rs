//! The command line. Every flag has an environment variable `APITOKEN_<FLAG>`.

use std::{collections::BTreeSet, net::SocketAddr};

use apitoken_operator::{
    api::Duration,
    controller::Settings,
    operations::telemetry::{LogFormat, LogLevel},
};
use clap::{Args, Parser, Subcommand};

/// A Kubernetes operator for API tokens.
#[derive(Parser)]
#[command(name = "apitoken-operator", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program can do.
#[derive(Subcommand)]
pub enum Command {
    /// Issue the declared tokens and keep them as declared.
    Controller(Box<ControllerArguments>),
    /// Print the custom resource definitions as YAML.
    Crds,
    /// Print the version.
    Version,
}

/// Flags of `controller`.
#[derive(Args)]
pub struct ControllerArguments {
    /// The operator's own namespace.
    #[arg(long, env = "APITOKEN_NAMESPACE", default_value = "apitoken-system")]
    pub namespace: String,
    /// Namespace to watch; repeat for more, separate by commas in the environment. Default: all.
    #[arg(long, env = "APITOKEN_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// ApiTokens that are worked on at once.
    #[arg(long, env = "APITOKEN_CONCURRENCY", default_value = "32", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub concurrency: u16,
    /// How long verifiers get to learn of a new value before the Secret shows it.
    #[arg(long, env = "APITOKEN_PROPAGATION_DELAY", default_value = "2s", value_parser = duration)]
    pub propagation_delay: Duration,
    /// How often a vendor is asked whether a token is still what we think.
    #[arg(long, env = "APITOKEN_POLL_INTERVAL", default_value = "10m", value_parser = duration)]
    pub poll_interval: Duration,
    /// How long a vendor's token may resist being ended before its ApiToken goes and the issuer's ledger keeps it.
    #[arg(long, env = "APITOKEN_REVOKE_DEADLINE", default_value = "15m", value_parser = duration)]
    pub revoke_deadline: Duration,
    /// Name of the default ClusterTokenIssuer that is made where there is none; empty: never.
    #[arg(long, env = "APITOKEN_DEFAULT_ISSUER", default_value = "builtin")]
    pub default_issuer: String,
    /// Id of this cluster in the names of tokens at vendors, at least 8 hex digits. Default: the uid of the namespace kube-system.
    #[arg(long, env = "APITOKEN_CLUSTER_ID", value_parser = cluster_id)]
    pub cluster_id: Option<String>,
    /// Id that this cluster had before, whose tokens count as its own; repeat for more, separate by commas in the environment.
    #[arg(long, env = "APITOKEN_FORMER_CLUSTER_ID", value_delimiter = ',', value_parser = cluster_id)]
    pub former_cluster_id: Vec<String>,
    /// Change nothing at any vendor: for a copy of a cluster whose tokens are still another one's.
    #[arg(long, env = "APITOKEN_OBSERVE_ONLY")]
    pub observe_only: bool,
    /// Let TokenIssuers lead to addresses inside the cluster's network, which their namespace could not reach otherwise.
    #[arg(long, env = "APITOKEN_ALLOW_PRIVATE_ISSUERS")]
    pub allow_private_issuers: bool,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "APITOKEN_ADMIN_ADDRESS", default_value = "127.0.0.1:8080")]
    pub admin_address: SocketAddr,
    /// Logs.
    #[command(flatten)]
    pub log: LogArguments,
}

/// Flags of every command that runs for long.
#[derive(Args)]
pub struct LogArguments {
    /// How log lines look.
    #[arg(long, env = "APITOKEN_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// How much is logged.
    #[arg(long, env = "APITOKEN_LOG_LEVEL", value_enum, default_value = "info")]
    pub log_level: LogLevel,
}

impl ControllerArguments {
    /// The settings of the controller.
    pub fn settings(&self) -> Settings {
        Settings {
            watch_namespaces: self.watched(),
            concurrency: self.concurrency,
            propagation_delay: self.propagation_delay.as_signed(),
            poll_interval: self.poll_interval.as_signed(),
            revoke_deadline: self.revoke_deadline.as_signed(),
            default_issuer: self.default_issuer.clone(),
            namespace: self.namespace.clone(),
            cluster_id: self.cluster_id.clone().unwrap_or_default(),
            former_cluster_ids: self.former_cluster_id.clone(),
            observe_only: self.observe_only,
            allow_private_issuers: self.allow_private_issuers,
            instance: instance(),
        }
    }

    /// Each namespace once: two controllers on one namespace would work against each other.
    fn watched(&self) -> Vec<String> {
        let named = self.watch_namespace.iter().filter(|namespace| !namespace.is_empty());
        named.collect::<BTreeSet<_>>().into_iter().cloned().collect()
    }
}

/// The Pod's name, or the host's: tells the replicas apart.
fn instance() -> String {
    let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    std::env::var("POD_NAME")
        .or_else(|_| hostname())
        .unwrap_or_else(|_| "apitoken-operator".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// As much of an id as stands in the names of tokens must be there.
fn cluster_id(text: &str) -> Result<String, String> {
    let digits = text.chars().filter(char::is_ascii_hexdigit).count();
    let only_hex = text.chars().all(|character| character.is_ascii_hexdigit() || character == '-');
    if only_hex && digits >= 8 {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("use at least 8 hex digits, such as the uid of a namespace".to_owned())
    }
}
