//! Writes to the status when tokens were last used: in batches, beside the path of requests, bounded in number.
//!
//! Each write is a JSON Patch that tests the token's hash beside it: after a rotation it is refused, not misplaced. Where
//! another replica was faster, the write is refused or not needed any more.

use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use rand::RngExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::{
    Verifier,
    lookup::record::{Role, Token},
    lookup::uses::{self, DueUse},
};
use crate::api::{ApiToken, names};

/// The time between two batches; replicas spread theirs.
const BETWEEN: Duration = Duration::from_secs(5);
/// Writes in a batch: 20 a second at most, whatever the number of tokens in use.
const BATCH: usize = 100;
/// Writes at a time.
const AT_A_TIME: usize = 4;
/// How long one may take.
const CALL: Duration = Duration::from_secs(5);
/// The pause after writes were forbidden: that lasts until somebody changes a role or a policy.
const FORBIDDEN: Duration = Duration::from_secs(300);

/// How a write went.
enum Outcome {
    Written,
    /// The status is not as it was known: it is seen anew, and tried again if that is still needed.
    Outdated,
    Forbidden,
    Failed,
}

/// Writes for ever.
pub async fn run(verifier: &Verifier, client: &Client) {
    loop {
        let spread = rand::rng().random_range(0..1000);
        sleep(BETWEEN + Duration::from_millis(spread)).await;
        if flush(verifier, client).await {
            warn!("not allowed to write when tokens were last used: see whether the chart's role and admission policy are there");
            sleep(FORBIDDEN).await;
        }
    }
}

/// Writes what is due. Tells whether a write was forbidden.
pub async fn flush(verifier: &Verifier, client: &Client) -> bool {
    let due = uses::due(&verifier.index(), BATCH);
    let writes = due.into_iter().map(|due| write(verifier, client, due));
    stream::iter(writes)
        .buffer_unordered(AT_A_TIME)
        .fold(false, async |any, forbidden| any || forbidden)
        .await
}

async fn write(verifier: &Verifier, client: &Client, due: DueUse) -> bool {
    let Some(token) = due.token() else { return false };
    let outcome = send(client, &due, operations(token, due.used_at)).await;
    if matches!(outcome, Outcome::Written) {
        token.uses.wrote(due.used_at);
    }
    verifier.metrics.wrote_use(match outcome {
        Outcome::Written => "success",
        Outcome::Outdated => "conflict",
        Outcome::Forbidden | Outcome::Failed => "failure",
    });
    matches!(outcome, Outcome::Forbidden)
}

async fn send(client: &Client, due: &DueUse, operations: Value) -> Outcome {
    let Ok(patch) = serde_json::from_value(operations) else {
        return Outcome::Failed;
    };
    let api: Api<ApiToken> = Api::namespaced(client.clone(), &due.record.terms.namespace);
    let params = PatchParams {
        field_manager: Some(format!("{}-verifier", names::MANAGER)),
        ..Default::default()
    };
    match timeout(CALL, api.patch_status(&due.record.name, &params, &Patch::<ApiToken>::Json(patch))).await {
        Ok(Ok(_)) => Outcome::Written,
        Ok(Err(kube::Error::Api(status))) if status.is_forbidden() => Outcome::Forbidden,
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() || status.is_invalid() => Outcome::Outdated,
        Ok(Err(_)) | Err(_) => Outcome::Failed,
    }
}

/// The use of one token, and what must still be so beside it.
fn operations(token: &Token, used_at: Timestamp) -> Value {
    let place = match token.role {
        Role::Previous(at) => format!("/status/previous/{at}"),
        Role::Current | Role::Coming => "/status/token".to_owned(),
    };
    let path = format!("{place}/lastUsedAt");
    let mut operations = vec![json!({ "op": "test", "path": format!("{place}/hash"), "value": token.hash.to_hex() })];
    if let Some(known) = token.last_used_at {
        operations.push(json!({ "op": "test", "path": path, "value": known }));
    }
    operations.push(json!({ "op": "add", "path": path, "value": used_at }));
    Value::Array(operations)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        token_value,
        verifier::lookup::{presented::TokenHash, uses::Uses},
    };

    fn token(role: Role, last_used_at: Option<&str>) -> Token {
        Token {
            hash: TokenHash::of_presented(b"abc").unwrap(),
            role,
            id: "0123456789-1".into(),
            account: "shop.ci".into(),
            issued_at: None,
            ends_at: None,
            last_used_at: last_used_at.map(|at| at.parse().unwrap()),
            uses: Uses::default(),
        }
    }

    #[test]
    fn a_write_holds_only_for_the_token_that_was_used() {
        let hash = token_value::hash(b"abc");
        let used_at = "2030-01-01T00:02:00Z".parse().unwrap();
        assert_eq!(
            operations(&token(Role::Previous(1), None), used_at),
            json!([
                { "op": "test", "path": "/status/previous/1/hash", "value": hash },
                { "op": "add", "path": "/status/previous/1/lastUsedAt", "value": "2030-01-01T00:02:00Z" },
            ])
        );
        assert_eq!(
            operations(&token(Role::Current, Some("2030-01-01T00:01:00Z")), used_at),
            json!([
                { "op": "test", "path": "/status/token/hash", "value": hash },
                { "op": "test", "path": "/status/token/lastUsedAt", "value": "2030-01-01T00:01:00Z" },
                { "op": "add", "path": "/status/token/lastUsedAt", "value": "2030-01-01T00:02:00Z" },
            ])
        );
    }
}
