//! `issuers`: who makes tokens here, and how they are.

use kube::ResourceExt;

use super::{
    cluster::{self, Cluster, Place},
    exit::Exit,
    output,
};
use crate::{
    api::{
        ClusterTokenIssuer, IssuerSpec, IssuerStatus, TokenIssuer,
        conditions::{self, ConditionType},
        issuer::IssuerType,
    },
    controller::stores::is_default,
};

/// Arguments of `issuers`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Show the TokenIssuers of all namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
}

/// Both kinds of issuers that one may see.
pub struct Issuers {
    /// Those of the whole cluster; nothing where they may not be listed.
    pub of_cluster: Option<Vec<ClusterTokenIssuer>>,
    /// Those of a namespace, or of all.
    pub of_namespaces: Vec<TokenIssuer>,
}

/// Shows them.
pub async fn run(cluster: &Cluster, arguments: &Arguments) -> anyhow::Result<Exit> {
    let place = cluster.place(arguments.all_namespaces);
    let issuers = read(cluster, &place).await?;
    if issuers.of_cluster.is_none() {
        output::tell("You may not list ClusterTokenIssuers: they are left out.");
    }
    let rows = rows(&issuers);
    if rows.is_empty() {
        output::tell("No issuers.");
        return Ok(Exit::Done);
    }
    let head = ["ISSUER", "TYPE", "DEFAULT", "READY", "MANAGED", "UNMANAGED", "ORPHANS", "MESSAGE"];
    output::print(output::table(&head, &rows))?;
    Ok(Exit::Done)
}

/// Reads them.
pub async fn read(cluster: &Cluster, place: &Place) -> anyhow::Result<Issuers> {
    let of_cluster = cluster
        .list(&cluster.cluster_wide::<ClusterTokenIssuer>(), Default::default())
        .await;
    let of_cluster = match of_cluster {
        Err(error) if cluster::is_forbidden(&error) => None,
        read => Some(read?),
    };
    Ok(Issuers {
        of_cluster,
        of_namespaces: cluster.all(place).await?,
    })
}

fn rows(issuers: &Issuers) -> Vec<Vec<String>> {
    let of_cluster = issuers.of_cluster.iter().flatten().map(|issuer| {
        let id = format!("ClusterTokenIssuer/{}", issuer.name_any());
        row(id, &issuer.spec.common, is_default(issuer), issuer.status.as_ref())
    });
    let of_namespaces = issuers.of_namespaces.iter().map(|issuer| {
        let id = format!("TokenIssuer/{}/{}", issuer.namespace().unwrap_or_default(), issuer.name_any());
        row(id, &issuer.spec.common, false, issuer.status.as_ref())
    });
    of_cluster.chain(of_namespaces).collect()
}

fn row(id: String, spec: &IssuerSpec, default: bool, status: Option<&IssuerStatus>) -> Vec<String> {
    let ready = status.and_then(|status| conditions::find(&status.conditions, ConditionType::Ready));
    let tokens = status.and_then(|status| status.tokens.as_ref());
    let count = |count: Option<i32>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
    vec![
        id,
        type_of(spec).to_owned(),
        if default { "yes" } else { "-" }.to_owned(),
        ready.map_or_else(|| "-".to_owned(), |ready| ready.status.clone()),
        count(tokens.map(|tokens| tokens.managed)),
        count(tokens.map(|tokens| tokens.unmanaged)),
        status.map_or(0, |status| status.orphans.len()).to_string(),
        ready
            .map(|ready| format!("{}: {}", ready.reason, ready.message))
            .unwrap_or_default(),
    ]
}

fn type_of(spec: &IssuerSpec) -> &'static str {
    match spec.issuer_type() {
        Some(IssuerType::Builtin(_)) => "builtin",
        Some(IssuerType::Mailtrap(_)) => "mailtrap",
        Some(IssuerType::Prefactor(_)) => "prefactor",
        Some(IssuerType::Softwareone(_)) => "softwareone",
        Some(IssuerType::Wavefront(_)) => "wavefront",
        None => "-",
    }
}
