//! `get-value`: the value itself, for whoever may read its Secret.

use std::io::IsTerminal;

use anyhow::{anyhow, bail};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::{
    clipboard,
    cluster::{self, Cluster},
    exit::{Exit, Failure},
    output,
};
use crate::{
    api::{ApiToken, api_token::ObservedState},
    lifecycle::{FoundSecret, Ownership, secret},
    token_value,
};

/// Arguments of `get-value`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the ApiToken.
    name: String,
    /// Copy it to the clipboard instead of printing it.
    #[arg(long)]
    copy: bool,
}

/// Prints or copies it, and nothing else.
pub async fn run(cluster: &Cluster, arguments: &Arguments) -> anyhow::Result<Exit> {
    let token = cluster.token(&arguments.name).await?;
    let name = held_in(&token);
    let api: Api<Secret> = cluster.namespaced(&cluster.namespace);
    let read = cluster.call(api.get(&name)).await;
    let found = FoundSecret::new(read.map_err(|error| explained(error, &name))?);
    if found.ownership(&token) == Ownership::Foreign {
        bail!(
            "Secret {name} is not of this ApiToken: kubectl apitoken describe {} says what to do",
            arguments.name
        );
    }
    let key = &token.spec.secret.key;
    let value = found
        .bytes(key)
        .ok_or_else(|| Failure::not_found(format!("Secret {name} has no key {key}")))?;
    warn(&token, value);
    if arguments.copy {
        let tool = clipboard::copy(value)?;
        output::tell(format!("The value is in the clipboard ({tool})."));
        return Ok(Exit::Done);
    }
    output::print(value)?;
    if std::io::stdout().is_terminal() {
        output::print("\n")?;
    }
    Ok(Exit::Done)
}

/// The Secret that was written last.
fn held_in(token: &ApiToken) -> String {
    let recorded = token.status.as_ref().and_then(|status| status.secret_ref.as_ref());
    recorded.map_or_else(|| secret::name(token).to_owned(), |recorded| recorded.name.clone())
}

fn explained(error: anyhow::Error, secret: &str) -> anyhow::Error {
    if cluster::is_forbidden(&error) {
        return anyhow!("you may not read the Secret {secret}, which holds the value: {error}");
    }
    error
}

/// Says so where what is shown does not work, or is not what the status names.
fn warn(token: &ApiToken, value: &[u8]) {
    let status = token.status.clone().unwrap_or_default();
    let recorded = status.token.and_then(|current| current.hash);
    if recorded.is_some_and(|hash| hash != token_value::hash(value)) {
        output::tell(format!(
            "Warning: this is not the value that the status of {} names; it is perhaps being replaced.",
            token.name_any()
        ));
    } else if let Some(state) = status.state.filter(|state| *state != ObservedState::Active) {
        output::tell(format!("Warning: the token is {state:?}: this value does not work."));
    }
}
