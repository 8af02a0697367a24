//! `suspend`, `activate`, `revoke`: what `spec.state` says.

use anyhow::bail;
use kube::ResourceExt;
use serde_json::json;

use super::{
    ask,
    change::{self, DryRun},
    cluster::Cluster,
    exit::Exit,
    git, output,
    wait::{self, Waiting},
};
use crate::api::{
    ApiToken,
    api_token::{DesiredState, ObservedState, SuspendPolicy},
    conditions::{self, ConditionType},
};

/// Arguments of `suspend` and `activate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the ApiToken.
    name: String,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    dry_run: DryRun,
}

/// Arguments of `revoke`.
#[derive(clap::Args)]
pub struct RevokeArguments {
    #[command(flatten)]
    common: Arguments,
    /// Don't ask.
    #[arg(long, short)]
    yes: bool,
}

/// Holds a token back, or lets it work again.
pub async fn set(cluster: &Cluster, arguments: &Arguments, state: DesiredState) -> anyhow::Result<Exit> {
    let token = cluster.token(&arguments.name).await?;
    if token.spec.state == DesiredState::Revoked {
        bail!(
            "ApiToken {} is revoked, and that can't be taken back: make another ApiToken where one is needed",
            arguments.name
        );
    }
    if state == DesiredState::Suspended && token.spec.suspend_policy == SuspendPolicy::Withdraw {
        output::tell("Under suspendPolicy: Withdraw this ends the value for good; activating issues a new one.");
    }
    write(cluster, &token, arguments, state).await
}

/// Ends a token for good.
pub async fn revoke(cluster: &Cluster, RevokeArguments { common, yes }: &RevokeArguments) -> anyhow::Result<Exit> {
    let token = cluster.token(&common.name).await?;
    let is_done = token.spec.state == DesiredState::Revoked;
    if !is_done && !common.dry_run.is_set() && !*yes && !ask::agrees(&question(&token))? {
        output::tell("Nothing was changed.");
        return Ok(Exit::LeftToDo);
    }
    write(cluster, &token, common, DesiredState::Revoked).await
}

fn question(token: &ApiToken) -> String {
    let hint = token.status.as_ref().and_then(|status| status.token.as_ref()?.hint.clone());
    let value = hint.map(|hint| format!(" (value ...{hint})")).unwrap_or_default();
    let namespace = token.namespace().unwrap_or_default();
    let name = token.name_any();
    format!("Revoke ApiToken {namespace}/{name}{value}? It never works again, and this can't be taken back.")
}

async fn write(cluster: &Cluster, token: &ApiToken, arguments: &Arguments, state: DesiredState) -> anyhow::Result<Exit> {
    if let Some(warning) = git::warning(&token.metadata, "spec.state") {
        output::tell(warning);
    }
    let what = match state {
        DesiredState::Active => "activated",
        DesiredState::Suspended => "suspended",
        DesiredState::Revoked => "revoked",
    };
    let written = if token.spec.state == state {
        token.clone()
    } else {
        change::patch(cluster, token, &arguments.dry_run, json!({ "spec": { "state": state } })).await?
    };
    if arguments.waiting.wait && !arguments.dry_run.is_set() {
        let generation = written.metadata.generation;
        wait::until(cluster, &written, arguments.waiting.timeout, |token| {
            is_in(token, state, generation)
        })
        .await?;
    }
    arguments.dry_run.done(&written, what)?;
    Ok(Exit::Done)
}

/// Whether the operator has seen that spec, and the token is as it says.
fn is_in(token: &ApiToken, state: DesiredState, generation: Option<i64>) -> bool {
    let wanted = match state {
        DesiredState::Active => ObservedState::Active,
        DesiredState::Suspended => ObservedState::Suspended,
        DesiredState::Revoked => ObservedState::Revoked,
    };
    token.status.as_ref().is_some_and(|status| {
        // One that is ended is ended, whatever else of it is not as declared.
        let serves = state != DesiredState::Active || conditions::is_true(&status.conditions, ConditionType::Ready);
        status.observed_generation >= generation && status.state == Some(wanted) && serves
    })
}
