//! `rotate`: asks for a new value now.

use anyhow::bail;

use super::{
    change::{self, DryRun},
    cluster::Cluster,
    exit::Exit,
    git, output, story,
    wait::{self, Waiting},
};
use crate::api::{ApiToken, Duration, names};

/// Arguments of `rotate`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the ApiToken.
    name: String,
    /// How long the replaced value works on, such as 6h. 0s: it ends at once, and so does each one that was replaced before.
    /// Default: what spec.rotation.overlap says.
    #[arg(long, value_name = "DURATION", value_parser = overlap)]
    overlap: Option<Duration>,
    #[command(flatten)]
    waiting: Waiting,
    #[command(flatten)]
    dry_run: DryRun,
}

fn overlap(text: &str) -> Result<Duration, String> {
    Duration::try_from(text.to_owned()).map_err(|error| error.to_string())
}

/// Rotates.
pub async fn run(cluster: &Cluster, arguments: &Arguments) -> anyhow::Result<Exit> {
    let token = cluster.token(&arguments.name).await?;
    if let Some(why) = change::obstacle(&token) {
        bail!(why);
    }
    let overlap = arguments.overlap.as_ref();
    let ends_at_once = overlap.is_some_and(|overlap| overlap.as_signed().is_zero());
    if overlap.is_some() && !ends_at_once && story::is_open(&token) && change::is_leak(&token) {
        bail!(
            "a leak of {} is being dealt with, and no overlap is to come between: wait until it is done",
            arguments.name
        );
    }
    // The operator knows a leak by this text.
    let text = overlap.map(|overlap| if ends_at_once { "0s".to_owned() } else { overlap.to_string() });
    if let Some(warning) = git::warning(&token.metadata, names::ROTATE_REQUESTED_AT_ANNOTATION) {
        output::tell(warning);
    }
    let (asked, request) = change::request_rotation(cluster, &token, text.as_deref(), &arguments.dry_run).await?;
    if arguments.dry_run.is_set() || !arguments.waiting.wait {
        arguments.dry_run.done(&asked, "rotation requested")?;
        return Ok(Exit::Done);
    }
    let done = wait::until(cluster, &asked, arguments.waiting.timeout, |token| is_answered(token, &request)).await?;
    arguments.dry_run.done(&done, "rotated")?;
    Ok(Exit::Done)
}

/// Whether that request was handled.
pub fn is_answered(token: &ApiToken, request: &str) -> bool {
    let status = token.status.as_ref();
    status.is_some_and(|status| status.pending.is_none() && status.last_rotation_request.as_deref() == Some(request))
}
