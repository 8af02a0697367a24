//! The command line. Every flag has an environment variable `APITOKEN_<FLAG>`.

use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

use apitoken_operator::{
    api::Duration,
    controller::Settings,
    operations::telemetry::{LogFormat, LogLevel},
    verifier::{self, tls},
};
use clap::{Args, Parser, Subcommand, ValueEnum, builder::NonEmptyStringValueParser};
use url::Url;

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
    /// Answer whether presented tokens of built-in issuers work.
    Verifier(Box<VerifierArguments>),
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
    /// The only namespace to work in, with rights in it alone: no ClusterTokenIssuers, no default issuer. Needs --cluster-id.
    #[arg(
        long,
        env = "APITOKEN_SINGLE_NAMESPACE",
        conflicts_with = "watch_namespace",
        requires = "cluster_id",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub single_namespace: Option<String>,
    /// Work only while holding the Lease apitoken-operator-controller: for several replicas.
    #[arg(long, env = "APITOKEN_LEADER_ELECT")]
    pub leader_elect: bool,
    /// ApiTokens that are worked on at once, of one namespace at most three quarters of it.
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
    /// Logs and traces.
    #[command(flatten)]
    pub log: LogArguments,
}

/// Flags of `verifier`.
#[derive(Args)]
pub struct VerifierArguments {
    /// Where /authorize and /introspect are served.
    #[arg(long, env = "APITOKEN_ADDRESS", default_value = "127.0.0.1:8090")]
    pub address: SocketAddr,
    /// Where Envoy's external authorization over gRPC is served. Default: nowhere.
    #[arg(long, env = "APITOKEN_GRPC_ADDRESS")]
    pub grpc_address: Option<SocketAddr>,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, env = "APITOKEN_ADMIN_ADDRESS", default_value = "127.0.0.1:8081")]
    pub admin_address: SocketAddr,
    /// File with the certificate chain in PEM, for TLS on both addresses; read again when it changes. Default: no TLS.
    #[arg(long, env = "APITOKEN_TLS_CERTIFICATE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// File with the certificate's key in PEM.
    #[arg(long, env = "APITOKEN_TLS_KEY", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// How callers of /introspect prove themselves.
    #[arg(long, env = "APITOKEN_INTROSPECTION_AUTH", value_enum, default_value = "kubernetes")]
    pub introspection_auth: IntrospectionAuth,
    /// The audience of the ServiceAccount tokens by which they do.
    #[arg(long, env = "APITOKEN_INTROSPECTION_AUDIENCE", default_value = "apitoken.dev")]
    pub introspection_audience: String,
    /// Turn every token away after so long without a word from the API server, such as 5m, at least 30s. Default: never.
    #[arg(long, env = "APITOKEN_DENY_WHEN_STALE", value_parser = staleness)]
    pub deny_when_stale: Option<Duration>,
    /// Whether status.token.lastUsedAt is written.
    #[arg(long, env = "APITOKEN_LAST_USE", value_enum, default_value = "record")]
    pub last_use: LastUse,
    /// Namespace to watch; repeat for more, separate by commas in the environment. Default: all.
    #[arg(long, env = "APITOKEN_WATCH_NAMESPACE", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// The only namespace to work in, with rights in it alone: tokens of ClusterTokenIssuers are not accepted.
    #[arg(long, env = "APITOKEN_SINGLE_NAMESPACE", conflicts_with = "watch_namespace", value_parser = NonEmptyStringValueParser::new())]
    pub single_namespace: Option<String>,
    /// Logs and traces.
    #[command(flatten)]
    pub log: LogArguments,
}

/// How callers of introspection prove themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IntrospectionAuth {
    /// By a ServiceAccount token, and the right to create introspections.apitoken.dev.
    Kubernetes,
    /// Not at all: for a network in which everybody may ask.
    None,
}

/// What becomes of the knowledge when tokens were used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LastUse {
    /// It is written to the status.
    Record,
    /// Nothing.
    Off,
}

/// Flags of every command that runs for long: what it tells.
#[derive(Args, Clone)]
pub struct LogArguments {
    /// How log lines look.
    #[arg(long, env = "APITOKEN_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
    /// How much is logged; PUT /log-level on the admin address changes it later.
    #[arg(long, env = "APITOKEN_LOG_LEVEL", value_enum, default_value = "info")]
    pub log_level: LogLevel,
    /// Where traces are sent as OTLP over HTTP, such as http://collector:4318; the path /v1/traces is added. Default: nowhere.
    #[arg(long, env = "APITOKEN_OTLP_ENDPOINT", value_parser = otlp_endpoint)]
    pub otlp_endpoint: Option<Url>,
}

impl ControllerArguments {
    /// The settings of the controller.
    pub fn settings(&self) -> Settings {
        Settings {
            watch_namespaces: watched(&self.watch_namespace, self.single_namespace.as_ref()),
            single_namespace: self.single_namespace.is_some(),
            concurrency: self.concurrency,
            propagation_delay: self.propagation_delay.as_signed(),
            poll_interval: self.poll_interval.as_signed(),
            revoke_deadline: self.revoke_deadline.as_signed(),
            default_issuer: Some(self.default_issuer.clone())
                .filter(|_| self.single_namespace.is_none())
                .unwrap_or_default(),
            namespace: self.namespace.clone(),
            cluster_id: self.cluster_id.clone().unwrap_or_default(),
            former_cluster_ids: self.former_cluster_id.clone(),
            observe_only: self.observe_only,
            allow_private_issuers: self.allow_private_issuers,
            leader_elect: self.leader_elect,
            instance: instance(),
        }
    }
}

impl VerifierArguments {
    /// The settings of the verifier.
    pub fn settings(&self) -> verifier::Settings {
        let audience = Some(self.introspection_audience.clone());
        verifier::Settings {
            watch_namespaces: watched(&self.watch_namespace, self.single_namespace.as_ref()),
            single_namespace: self.single_namespace.is_some(),
            introspection_audience: audience.filter(|_| self.introspection_auth == IntrospectionAuth::Kubernetes),
            deny_when_stale: self.deny_when_stale.as_ref().map(|longest| longest.as_signed().unsigned_abs()),
            records_uses: self.last_use == LastUse::Record,
        }
    }

    /// The files of the certificate, where there is one.
    pub fn certificate(&self) -> Option<tls::Files> {
        Some(tls::Files {
            certificate: self.tls_certificate.clone()?,
            key: self.tls_key.clone()?,
        })
    }
}

/// Each namespace once: two controllers on one namespace would work against each other.
fn watched(namespaces: &[String], single: Option<&String>) -> Vec<String> {
    let named = namespaces.iter().chain(single).filter(|namespace| !namespace.is_empty());
    named.collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

/// The Pod's name, or the host's: tells the replicas apart.
fn instance() -> String {
    let hostname = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    std::env::var("POD_NAME")
        .or_else(|_| hostname())
        .unwrap_or_else(|_| "apitoken-operator".to_owned())
}

fn otlp_endpoint(text: &str) -> Result<Url, String> {
    let address = Url::parse(text).ok().filter(|address| matches!(address.scheme(), "http" | "https"));
    address.ok_or_else(|| "use an address with http or https".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    Duration::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// The API server is heard at least every 15 s on a quiet cluster: less would turn everybody away now and then.
fn staleness(text: &str) -> Result<Duration, String> {
    let longest = duration(text)?;
    if longest.as_signed().as_secs() < 30 {
        return Err("use at least 30s".to_owned());
    }
    Ok(longest)
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
