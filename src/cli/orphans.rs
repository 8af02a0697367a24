//! `orphans`: tokens at vendors that no ApiToken accounts for, from the ledgers of all issuers.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Preconditions},
};

use super::{
    ask,
    change::DryRun,
    cluster::{self, Cluster, Place},
    exit::Exit,
    issuers::{self, Issuers},
    output, spans,
};
use crate::{
    api::{IssuerId, IssuerKind, IssuerRef, issuer::Orphan, names},
    controller::book,
};

/// Arguments of `orphans`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The namespace that the operator runs in, where the ledger of an issuer that is gone is kept.
    #[arg(long, value_name = "NAME", default_value = "apitoken-system")]
    operator_namespace: String,
    /// Forget the entries whose issuer is gone, once you have ended their tokens at the vendor. Asks first.
    #[arg(long)]
    clear: bool,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    dry_run: DryRun,
}

/// A page of a ledger that stands in a ConfigMap.
struct Page {
    map: ConfigMap,
    issuer: String,
    fate: PageFate,
}

/// What becomes of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageFate {
    /// Its issuer is there.
    Worked,
    /// Its issuer is gone.
    Left,
    /// Not all issuers may be seen.
    Unknown,
}

/// Shows them, and forgets those that are left over where that is asked for.
pub async fn run(cluster: &Cluster, arguments: &Arguments, now: Timestamp) -> anyhow::Result<Exit> {
    // What is left over is known only where all issuers are.
    let (issuers, sees_all) = read(cluster).await?;
    let pages = pages(cluster, arguments, &issuers, sees_all).await?;
    if arguments.clear {
        if !sees_all {
            bail!("--clear needs the right to list ClusterTokenIssuers, and TokenIssuers of all namespaces");
        }
        return clear(
            cluster,
            arguments,
            pages.into_iter().filter(|page| page.fate == PageFate::Left).collect(),
        )
        .await;
    }
    let rows = rows(&issuers, &pages, now);
    if rows.is_empty() {
        output::tell("No orphans.");
        return Ok(Exit::Done);
    }
    let head = ["ISSUER", "ID", "NAME", "APITOKEN", "REASON", "SINCE", "WHAT BECOMES OF IT"];
    output::print(output::table(&head, &rows))?;
    Ok(Exit::Done)
}

/// The issuers that one may see, and whether these are all there are.
async fn read(cluster: &Cluster) -> anyhow::Result<(Issuers, bool)> {
    let (issuers, everywhere) = match issuers::read(cluster, &Place::Everywhere).await {
        Err(error) if cluster::is_forbidden(&error) => {
            output::tell(format!(
                "You may not list TokenIssuers of all namespaces: only those of {} are shown.",
                cluster.namespace
            ));
            (issuers::read(cluster, &Place::In(cluster.namespace.clone())).await?, false)
        }
        read => (read?, true),
    };
    if issuers.of_cluster.is_none() {
        output::tell("You may not list ClusterTokenIssuers: their orphans are left out.");
    }
    let sees_all = everywhere && issuers.of_cluster.is_some();
    Ok((issuers, sees_all))
}

async fn pages(cluster: &Cluster, arguments: &Arguments, issuers: &Issuers, sees_all: bool) -> anyhow::Result<Vec<Page>> {
    let api: Api<ConfigMap> = cluster.namespaced(&arguments.operator_namespace);
    let maps = match cluster.list(&api, ListParams::default().labels(names::LEDGER_LABEL)).await {
        Err(error) if cluster::is_forbidden(&error) && !arguments.clear => {
            output::tell(format!(
                "You may not list the ConfigMaps of {}: orphans of issuers that are gone are left out.",
                arguments.operator_namespace
            ));
            return Ok(Vec::new());
        }
        maps => maps?,
    };
    let living = keys(issuers);
    let fate = |map: &ConfigMap| match map.labels().get(names::LEDGER_LABEL) {
        Some(key) if living.contains(key) => PageFate::Worked,
        Some(_) if sees_all => PageFate::Left,
        _ => PageFate::Unknown,
    };
    let pages = maps.into_iter().map(|map| Page {
        issuer: issuer_of(&map),
        fate: fate(&map),
        map,
    });
    Ok(pages.collect())
}

/// The ledgers of the issuers that exist. One made anew under its old name has another.
fn keys(issuers: &Issuers) -> BTreeSet<String> {
    let of_cluster = issuers.of_cluster.iter().flatten().map(|issuer| {
        let reference = reference(IssuerKind::ClusterTokenIssuer, issuer.name_any());
        book::key(&IssuerId::new(&reference, ""), &issuer.uid().unwrap_or_default())
    });
    let of_namespaces = issuers.of_namespaces.iter().map(|issuer| {
        let reference = reference(IssuerKind::TokenIssuer, issuer.name_any());
        let namespace = issuer.namespace().unwrap_or_default();
        book::key(&IssuerId::new(&reference, &namespace), &issuer.uid().unwrap_or_default())
    });
    of_cluster.chain(of_namespaces).collect()
}

fn reference(kind: IssuerKind, name: String) -> IssuerRef {
    IssuerRef { kind, name }
}

fn issuer_of(map: &ConfigMap) -> String {
    let part = |name: &str| map.annotations().get(name).map(String::as_str).unwrap_or_default();
    let parts = [
        names::LEDGER_KIND_ANNOTATION,
        names::LEDGER_NAMESPACE_ANNOTATION,
        names::LEDGER_NAME_ANNOTATION,
    ];
    let parts: Vec<&str> = parts.into_iter().map(part).filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

fn rows(issuers: &Issuers, pages: &[Page], now: Timestamp) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for issuer in issuers.of_cluster.iter().flatten() {
        let id = format!("ClusterTokenIssuer/{}", issuer.name_any());
        let orphans = issuer.status.iter().flat_map(|status| &status.orphans);
        rows.extend(orphans.map(|orphan| row(&id, orphan, PageFate::Worked, now)));
    }
    for issuer in &issuers.of_namespaces {
        let id = format!("TokenIssuer/{}/{}", issuer.namespace().unwrap_or_default(), issuer.name_any());
        let orphans = issuer.status.iter().flat_map(|status| &status.orphans);
        rows.extend(orphans.map(|orphan| row(&id, orphan, PageFate::Worked, now)));
    }
    for page in pages {
        rows.extend(entries(&page.map).iter().map(|orphan| row(&page.issuer, orphan, page.fate, now)));
    }
    rows
}

/// One that can't be read is counted where it is deleted, and left out here.
fn entries(map: &ConfigMap) -> Vec<Orphan> {
    let texts = map.data.iter().flat_map(|data| data.values());
    texts.filter_map(|text| serde_json::from_str(text).ok()).collect()
}

fn row(issuer: &str, orphan: &Orphan, page: PageFate, now: Timestamp) -> Vec<String> {
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        issuer.to_owned(),
        orphan.id.clone(),
        dash(&orphan.name),
        dash(&orphan.api_token),
        orphan.reason.clone(),
        spans::from_now(orphan.since.0, now),
        fate(&orphan.reason, page).to_owned(),
    ]
}

fn fate(reason: &str, page: PageFate) -> &'static str {
    match (page, reason) {
        (PageFate::Left, _) => "its issuer is gone: end it at the vendor, then --clear",
        (PageFate::Unknown, _) => "not known: you may not see whether its issuer is there",
        (PageFate::Worked, "NotRevoked") => "is tried again by itself",
        (PageFate::Worked, "Found") => "end it at the vendor, or set orphanPolicy: Revoke",
        (PageFate::Worked, "Retained") => "stays, as declared",
        (PageFate::Worked, _) => "look who made it; end it at the vendor where it is yours",
    }
}

async fn clear(cluster: &Cluster, arguments: &Arguments, left: Vec<Page>) -> anyhow::Result<Exit> {
    if left.is_empty() {
        output::tell("No entries whose issuer is gone.");
        return Ok(Exit::Done);
    }
    let count: usize = left.iter().map(|page| page.map.data.iter().flatten().count()).sum();
    let issuers: BTreeSet<&str> = left.iter().map(|page| page.issuer.as_str()).collect();
    let issuers = issuers.into_iter().collect::<Vec<_>>().join(", ");
    let question = format!("Forget {count} orphans of {issuers}? Nobody else knows of these tokens: end them at the vendor first.");
    if !arguments.yes && !arguments.dry_run.is_set() && !ask::agrees(&question)? {
        output::tell("Nothing was changed.");
        return Ok(Exit::LeftToDo);
    }
    let dry = if arguments.dry_run.is_set() { " (server dry run)" } else { "" };
    for Page { map, issuer, .. } in left {
        let name = map.name_any();
        let api: Api<ConfigMap> = cluster.namespaced(&arguments.operator_namespace);
        let deleted = cluster.call(api.delete(&name, &precisely(&map, &arguments.dry_run))).await;
        deleted.with_context(|| format!("ConfigMap {name} was not deleted"))?;
        output::print(format!(
            "configmap/{name} deleted: {} orphans of {issuer}{dry}\n",
            map.data.iter().flatten().count()
        ))?;
    }
    Ok(Exit::Done)
}

/// What was counted is what is deleted.
fn precisely(map: &ConfigMap, dry_run: &DryRun) -> DeleteParams {
    let params = DeleteParams {
        dry_run: dry_run.is_set(),
        ..Default::default()
    };
    params.preconditions(Preconditions {
        uid: map.uid(),
        resource_version: map.resource_version(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::samples::now;

    #[test]
    fn a_page_says_whose_it_is_and_what_to_do() {
        let entry = json!({ "id": "4711", "reason": "NotRevoked", "since": "2029-12-31T00:00:00Z", "apiToken": "shop/mail" });
        let map: ConfigMap = serde_json::from_value(json!({
            "metadata": { "name": "m", "annotations": {
                "apitoken.dev/issuer-kind": "TokenIssuer", "apitoken.dev/issuer-namespace": "shop", "apitoken.dev/issuer-name": "mailtrap",
            }},
            "data": { "a": entry.to_string(), "b": "not an entry" },
        }))
        .unwrap();
        let page = Page {
            issuer: issuer_of(&map),
            fate: PageFate::Left,
            map,
        };
        let issuers = Issuers {
            of_cluster: None,
            of_namespaces: Vec::new(),
        };
        let expected = [
            "TokenIssuer/shop/mailtrap",
            "4711",
            "-",
            "shop/mail",
            "NotRevoked",
            "24h ago",
            "its issuer is gone: end it at the vendor, then --clear",
        ];
        assert_eq!(rows(&issuers, &[page], now()), [expected]);
    }
}
