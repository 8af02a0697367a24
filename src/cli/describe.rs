//! `describe`: the story of a token, with its Events.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, ResourceExt, api::ListParams};

use super::{
    cluster::{self, Cluster},
    exit::Exit,
    output, story,
};
use crate::api::ApiToken;

/// Arguments of `describe`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the ApiToken.
    name: String,
}

/// Tells the story.
pub async fn run(cluster: &Cluster, arguments: &Arguments, now: Timestamp) -> anyhow::Result<Exit> {
    let token = cluster.token(&arguments.name).await?;
    let mut text = story::story(&token, now);
    match events(cluster, &token).await {
        Ok(events) => text.push_str(&story::events(&events, now)),
        Err(error) if cluster::is_forbidden(&error) => output::tell("You may not read the Events of this namespace."),
        Err(error) => return Err(error),
    }
    output::print(text)?;
    Ok(Exit::Done)
}

async fn events(cluster: &Cluster, token: &ApiToken) -> anyhow::Result<Vec<Event>> {
    let api: Api<Event> = cluster.namespaced(&cluster.namespace);
    let uid = token.uid().unwrap_or_default();
    let about = ListParams::default().fields(&format!("involvedObject.kind=ApiToken,involvedObject.uid={uid}"));
    cluster.list(&api, about).await
}
