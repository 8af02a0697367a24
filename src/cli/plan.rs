//! `plan`: what an apply would do. kubectl itself makes the dry run, so that what is planned is what it would send.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Resource, ResourceExt,
    core::{Selector, SelectorExt},
};
use serde_json::Value;

use super::{
    cluster::{self, Cluster, Connection},
    exit::{Exit, Failure},
    forecast::{self, SeenIssuer},
    output,
};
use crate::{
    api::{
        ApiToken, ClusterTokenIssuer, IssuerKind, IssuerRef, IssuerSpec, IssuerStatus, TokenIssuer,
        conditions::{self, ConditionType},
        issuer::AllowedNamespaces,
    },
    controller::stores::is_default,
    issuers::{self, Issuers, KnownIssuers},
    lifecycle::{IssuerProblem, IssuerReadiness, ObservedIssuer},
};

/// Arguments of `plan`.
#[derive(clap::Args)]
pub struct Arguments {
    /// File, directory or address with manifests, as for kubectl apply; - for standard input. Repeat for more.
    #[arg(long = "filename", short, value_name = "FILE", required_unless_present = "kustomize")]
    filenames: Vec<String>,
    /// Directory with a kustomization, as for kubectl apply.
    #[arg(long, short, value_name = "DIRECTORY", conflicts_with = "filenames")]
    kustomize: Option<String>,
    /// Look into directories below too.
    #[arg(long, short = 'R')]
    recursive: bool,
    /// Plan for kubectl apply --server-side.
    #[arg(long)]
    server_side: bool,
}

/// Plans.
pub async fn run(cluster: &Cluster, connection: &Connection, arguments: &Arguments, now: Timestamp) -> anyhow::Result<Exit> {
    let (objects, is_whole) = dry_run(connection, arguments)?;
    let (tokens, others): (Vec<Value>, Vec<Value>) = objects.into_iter().partition(is_api_token);
    if !others.is_empty() {
        output::tell(format!("{} objects of other kinds are not looked at.", others.len()));
    }
    if tokens.is_empty() && is_whole {
        output::tell("No ApiTokens.");
    }
    let mut is_refused = false;
    for token in tokens {
        let after: ApiToken = serde_json::from_value(token).context("an ApiToken of the dry run can't be read")?;
        let namespace = after.namespace().unwrap_or_default();
        let before = before(cluster, &namespace, &after.name_any()).await?;
        let issuer = issuer(cluster, &after).await?;
        let forecast = forecast::forecast(before.as_ref(), &after, issuer, now);
        is_refused |= forecast.is_refused;
        let lines: String = forecast.lines.iter().map(|line| format!("  {}\n", output::tame(line))).collect();
        output::print(format!("{namespace}/{}\n{lines}", after.name_any()))?;
    }
    Ok(match (is_whole, is_refused) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::LeftToDo,
        (true, false) => Exit::Done,
    })
}

/// What the API server would keep, and whether it would take all. What it refuses kubectl tells on standard error.
fn dry_run(connection: &Connection, arguments: &Arguments) -> anyhow::Result<(Vec<Value>, bool)> {
    let mut command = Command::new("kubectl");
    command
        .args(["apply", "--dry-run=server", "--output=json"])
        .args(connection.as_arguments());
    command.args(arguments.filenames.iter().map(|file| format!("--filename={file}")));
    command.args(arguments.kustomize.iter().map(|directory| format!("--kustomize={directory}")));
    command.args(arguments.recursive.then_some("--recursive"));
    command.args(arguments.server_side.then_some("--server-side"));
    let output = command.stdin(Stdio::inherit()).stderr(Stdio::inherit()).output();
    let output = output.context("kubectl makes the dry run, and can't be run")?;
    if output.stdout.is_empty() && !output.status.success() {
        bail!("the dry run failed: kubectl says why");
    }
    if output.stdout.is_empty() {
        return Err(Failure::usage("nothing to plan"));
    }
    let answer: Value = serde_json::from_slice(&output.stdout).context("the dry run can't be read")?;
    let objects = match answer.get("items").and_then(Value::as_array) {
        Some(items) => items.clone(),
        None => vec![answer],
    };
    Ok((objects, output.status.success()))
}

fn is_api_token(object: &Value) -> bool {
    let version = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    object.get("kind").and_then(Value::as_str) == Some("ApiToken") && version.starts_with("apitoken.dev/")
}

async fn before(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<Option<ApiToken>> {
    cluster.call(cluster.namespaced(namespace).get_opt(name)).await
}

/// The issuer that the ApiToken has or will have, as far as one may read it.
async fn issuer(cluster: &Cluster, token: &ApiToken) -> anyhow::Result<SeenIssuer> {
    match read_issuer(cluster, token).await {
        Ok(read) => Ok(Some(read)),
        Err(error) if cluster::is_forbidden(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_issuer(cluster: &Cluster, token: &ApiToken) -> anyhow::Result<Result<ObservedIssuer, IssuerProblem>> {
    let bound = token.status.as_ref().and_then(|status| status.issuer_ref.clone());
    let reference = match token.spec.issuer_ref.clone().or(bound) {
        Some(reference) => reference,
        None => match default_issuer(cluster).await? {
            Ok(reference) => reference,
            Err(problem) => return Ok(Err(problem)),
        },
    };
    let namespace = token.namespace().unwrap_or_default();
    let found = match reference.kind {
        IssuerKind::TokenIssuer => {
            let api = cluster.namespaced::<TokenIssuer>(&namespace);
            let found = cluster.call(api.get_opt(&reference.name)).await?;
            found.map(|issuer| observed(&reference, &issuer, &issuer.spec.common, issuer.status.as_ref(), true))
        }
        IssuerKind::ClusterTokenIssuer => {
            let api = cluster.cluster_wide::<ClusterTokenIssuer>();
            match cluster.call(api.get_opt(&reference.name)).await? {
                Some(issuer) => {
                    let allowed = allows(cluster, issuer.spec.allowed_namespaces.as_ref(), &namespace).await?;
                    Some(observed(&reference, &issuer, &issuer.spec.common, issuer.status.as_ref(), allowed))
                }
                None => None,
            }
        }
    };
    Ok(found.ok_or(IssuerProblem::NotFound(reference)))
}

async fn default_issuer(cluster: &Cluster) -> anyhow::Result<Result<IssuerRef, IssuerProblem>> {
    let issuers = cluster
        .list(&cluster.cluster_wide::<ClusterTokenIssuer>(), Default::default())
        .await?;
    let mut defaults: Vec<String> = issuers
        .iter()
        .filter(|issuer| is_default(*issuer))
        .map(ResourceExt::name_any)
        .collect();
    Ok(match (defaults.pop(), defaults.is_empty()) {
        (None, _) => Err(IssuerProblem::NoDefault),
        (Some(name), true) => Ok(IssuerRef {
            kind: IssuerKind::ClusterTokenIssuer,
            name,
        }),
        (Some(name), false) => Err(IssuerProblem::SeveralDefaults(defaults.into_iter().chain([name]).collect())),
    })
}

async fn allows(cluster: &Cluster, allowed: Option<&AllowedNamespaces>, namespace: &str) -> anyhow::Result<bool> {
    let Some(allowed) = allowed else { return Ok(true) };
    if allowed.names.iter().any(|name| name == namespace) {
        return Ok(true);
    }
    let Some(selector) = allowed.selector.clone().and_then(|selector| Selector::try_from(selector).ok()) else {
        return Ok(false);
    };
    let found = cluster.call(cluster.cluster_wide::<Namespace>().get(namespace)).await?;
    Ok(selector.matches(found.labels()))
}

fn observed<K: Resource>(
    reference: &IssuerRef,
    issuer: &K,
    spec: &IssuerSpec,
    status: Option<&IssuerStatus>,
    namespace_allowed: bool,
) -> ObservedIssuer {
    ObservedIssuer {
        reference: reference.clone(),
        spec: spec.clone(),
        capabilities: KnownIssuers.capabilities(spec),
        generation: issuer.meta().generation,
        credential: None,
        version: String::new(),
        timeout: issuers::DEFAULT_TIMEOUT,
        readiness: readiness(issuer, status),
        held: true,
        namespace_allowed,
        busy: false,
    }
}

fn readiness<K: Resource>(issuer: &K, status: Option<&IssuerStatus>) -> IssuerReadiness {
    if issuer.meta().deletion_timestamp.is_some() {
        return IssuerReadiness::Deleting;
    }
    match status.and_then(|status| conditions::find(&status.conditions, ConditionType::Ready)) {
        Some(ready) if ready.status == "True" => IssuerReadiness::Ready,
        Some(ready) => IssuerReadiness::NotReady(ready.message.clone()),
        None => IssuerReadiness::Unknown,
    }
}
