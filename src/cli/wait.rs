//! Waiting until the operator has done what was asked. Progress goes to standard error.

use std::time::Duration;

use anyhow::bail;
use jiff::SignedDuration;
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep};

use super::{
    cluster::{self, Cluster},
    exit::Failure,
    output, spans,
};
use crate::api::{
    ApiToken, ApiTokenStatus,
    conditions::{self, ConditionType},
};

/// How often the object is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a standstill that was there before may last: the operator looks at the change within moments.
const PATIENCE: Duration = Duration::from_secs(5);

/// What each command that waits can be asked.
#[derive(clap::Args)]
pub struct Waiting {
    /// Wait until it is done.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, such as 5m.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = spans::parse)]
    pub timeout: SignedDuration,
}

/// Waits until the object is as described.
pub async fn until(
    cluster: &Cluster,
    token: &ApiToken,
    timeout: SignedDuration,
    is_so: impl Fn(&ApiToken) -> bool,
) -> anyhow::Result<ApiToken> {
    let api: Api<ApiToken> = cluster.namespaced(&token.namespace().unwrap_or_default());
    let name = token.name_any();
    let begun = Instant::now();
    let mut told = String::new();
    loop {
        let seen = match cluster.call(api.get(&name)).await {
            // What was asked for is written: the API server may come back.
            Err(error) if cluster::is_unanswered(&error) && begun.elapsed() < timeout.unsigned_abs() => {
                output::tell(format!("{name}: {error:#}"));
                sleep(LOOK_EVERY).await;
                continue;
            }
            seen => seen?,
        };
        if seen.uid() != token.uid() {
            bail!("ApiToken {name} was deleted and made again meanwhile");
        }
        if is_so(&seen) {
            return Ok(seen);
        }
        let status = seen.status.clone().unwrap_or_default();
        let says = progress(&status);
        if says != told {
            output::tell(format!("{name}: {says}"));
            told.clone_from(&says);
        }
        if begun.elapsed() > PATIENCE && conditions::is_true(&status.conditions, ConditionType::Stalled) {
            bail!("ApiToken {name} stands still until something is changed: {says}");
        }
        if begun.elapsed() > timeout.unsigned_abs() {
            return Err(Failure::waited(format!(
                "ApiToken {name} is not done after {}; it goes on by itself. {says}",
                spans::length(timeout)
            )));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn progress(status: &ApiTokenStatus) -> String {
    match conditions::find(&status.conditions, ConditionType::Ready) {
        Some(ready) if ready.status == "True" => "the operator has not begun yet".to_owned(),
        Some(ready) => format!("{}: {}", ready.reason, ready.message),
        None => "the operator has not looked at it yet".to_owned(),
    }
}
