//! The operator is cut off between all calls to an issuer that others run and all writes to the API
//! server, all that it had in memory is lost, and another one starts a while later: one
//! token lives at the end, and the Secret holds it.

use std::panic::AssertUnwindSafe;

use apitoken_operator::{
    api::{ApiToken, api_token::ObservedState, conditions::ConditionType},
    issuers::{Capabilities, ListedState},
};
use futures::{FutureExt, future::BoxFuture};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::{
    issuer::{NAMELESS, PLAIN, READABLE, RESETTING, SUSPENDING},
    proxy::Cut,
    remote::{Remote, for_each, of_the_issuer},
    tokens::is_true,
};

/// After this long what a lost operator had in hand can be taken over.
const HAND_OVER: SignedDuration = SignedDuration::from_secs(60);

/// Something that is done to a token.
#[derive(Clone, Copy)]
struct Operation {
    can: Capabilities,
    spec: fn() -> Value,
    /// Whether the token is there before.
    issued: bool,
    /// Begins it.
    begin: fn(&Remote) -> BoxFuture<'_, ()>,
    /// What the operator does for it, in its order.
    effects: &'static [&'static str],
    /// Waits until it is done, and sees that all is well.
    end: fn(&Remote) -> BoxFuture<'_, ()>,
}

impl Operation {
    /// Does it with the operator cut off nowhere, then everywhere.
    async fn survives_everywhere(self) {
        let remote = Remote::new("cut", self.can).await;
        let beside = remote.another("cut").await;
        self.begin_at(&beside, None).await;
        (self.end)(&beside).await;
        let done = beside.wire.effects();
        assert_eq!(
            done.iter().take(self.effects.len()).collect::<Vec<_>>(),
            self.effects.iter().collect::<Vec<_>>()
        );
        beside.stop().await;
        for_each(self.points(), async |(at, cut)| {
            self.survives(remote.another("cut").await, at, cut).await
        })
        .await;
        remote.stop().await;
    }

    /// Before all, and after each step that changes something. After one is before the next: nothing
    /// that the operator had in memory outlives it.
    fn points(&self) -> impl Iterator<Item = (usize, Cut)> {
        let changes = self.effects.iter().enumerate().filter(|(_, effect)| **effect != "list");
        std::iter::once((0, Cut::Before)).chain(changes.map(|(at, _)| (at, Cut::After)))
    }

    async fn survives(&self, remote: Remote, at: usize, cut: Cut) {
        self.begin_at(&remote, Some((at, cut))).await;
        remote.wire.is_cut().await;
        let remote = remote.crash(HAND_OVER).await;
        let end = AssertUnwindSafe((self.end)(&remote)).catch_unwind().await;
        let calls = remote.issuer.calls();
        assert!(
            end.is_ok(),
            "cut off {cut:?} {:?}: {calls:?} in {}",
            self.effects[at],
            remote.team.namespace
        );
        remote.stop().await;
    }

    async fn begin_at(&self, remote: &Remote, cut: Option<(usize, Cut)>) {
        if self.issued {
            remote.declare("ci", (self.spec)()).await;
            remote.team.ready("ci").await;
            remote.clock.advance(SignedDuration::from_secs(10));
        }
        remote.wire.arm(cut);
        (self.begin)(remote).await;
    }
}

fn nothing() -> Value {
    json!({})
}

fn declare(remote: &Remote) -> BoxFuture<'_, ()> {
    remote.declare("ci", json!({})).map(drop).boxed()
}

fn rotate(remote: &Remote) -> BoxFuture<'_, ()> {
    let annotations = json!({ "apitoken.dev/rotate-requested-at": "1" });
    remote
        .team
        .change("ci", json!({ "metadata": { "annotations": annotations } }))
        .map(drop)
        .boxed()
}

fn suspend(remote: &Remote) -> BoxFuture<'_, ()> {
    remote.respec(json!({ "state": "Suspended" })).boxed()
}

fn revoke(remote: &Remote) -> BoxFuture<'_, ()> {
    remote.respec(json!({ "state": "Revoked" })).boxed()
}

fn delete(remote: &Remote) -> BoxFuture<'_, ()> {
    remote.team.delete::<ApiToken>("ci").boxed()
}

fn is_issued(remote: &Remote) -> BoxFuture<'_, ()> {
    async {
        let token = remote.team.ready("ci").await;
        assert_eq!(token.status.unwrap().rotations, None);
        remote.is_whole().await;
    }
    .boxed()
}

fn is_rotated(remote: &Remote) -> BoxFuture<'_, ()> {
    remote.rotated(1).map(drop).boxed()
}

/// Two tokens live while the overlap runs, the one in the Secret and the one before it, and one after it.
fn is_rotated_with_overlap(remote: &Remote) -> BoxFuture<'_, ()> {
    async {
        let done = |token: &ApiToken| {
            let status = token.status.clone().unwrap();
            status.rotations == Some(1) && status.pending.is_none() && is_true(token, ConditionType::Ready)
        };
        let token = remote.team.until("ci", "rotated", done).await;
        let live = remote.issuer.live();
        assert_eq!(live.len(), 2, "{live:?}");
        assert_eq!(live[0].id, "tok-1");
        let status = token.status.unwrap();
        assert_eq!(status.token.unwrap().id.as_ref(), Some(&live[1].id));
        assert_eq!(remote.team.value("ci", "token").await, live[1].value);
        remote.later(SignedDuration::from_hours(2)).await;
        remote.rotated(1).await;
    }
    .boxed()
}

fn in_state(remote: &Remote, state: ObservedState) -> BoxFuture<'_, ()> {
    let is_so = move |token: &ApiToken| {
        let status = token.status.as_ref().unwrap();
        status.state == Some(state) && status.previous.is_empty() && is_true(token, ConditionType::Ready)
    };
    async move {
        remote.team.until("ci", &format!("{state:?}"), is_so).await;
    }
    .boxed()
}

fn is_suspended(remote: &Remote) -> BoxFuture<'_, ()> {
    async {
        in_state(remote, ObservedState::Suspended).await;
        remote.is_whole().await;
        assert_eq!(remote.issuer.live()[0].state, ListedState::Suspended);
    }
    .boxed()
}

fn is_withdrawn(remote: &Remote) -> BoxFuture<'_, ()> {
    async {
        in_state(remote, ObservedState::Suspended).await;
        assert_eq!(remote.issuer.live_ids(), [""; 0]);
        let token = remote.team.token("ci").await;
        assert_eq!(token.status.unwrap().token, None);
    }
    .boxed()
}

fn is_revoked(remote: &Remote) -> BoxFuture<'_, ()> {
    async {
        in_state(remote, ObservedState::Revoked).await;
        assert_eq!(remote.issuer.live_ids(), [""; 0]);
        assert!(remote.team.secret("ci").await.is_none());
    }
    .boxed()
}

fn is_gone(remote: &Remote) -> BoxFuture<'_, ()> {
    async {
        remote.until_gone("ci").await;
        assert_eq!(remote.issuer.live_ids(), [""; 0]);
        assert!(remote.ledger().await.is_empty());
    }
    .boxed()
}

const ISSUE: Operation = Operation {
    can: PLAIN,
    spec: nothing,
    issued: false,
    begin: declare,
    effects: &[
        "PUT tokenissuers/vendor/status",
        "PATCH secrets/vendor",
        "PATCH tokenissuers/vendor",
        "PATCH apitokens/ci",
        "list",
        "PUT apitokens/ci/status",
        "create",
        "POST secrets",
        "PUT apitokens/ci/status",
    ],
    end: is_issued,
};

const ROTATE: Operation = Operation {
    can: PLAIN,
    spec: nothing,
    issued: true,
    begin: rotate,
    effects: &[
        "list",
        "PUT apitokens/ci/status",
        "create",
        "PUT secrets/ci",
        "PUT apitokens/ci/status",
        "list",
        "delete tok-1",
        "PUT apitokens/ci/status",
    ],
    end: is_rotated,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_issue() {
    ISSUE.survives_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_issue_where_values_are_shown() {
    Operation { can: READABLE, ..ISSUE }.survives_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_issue_where_tokens_have_no_names() {
    Operation { can: NAMELESS, ..ISSUE }.survives_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation() {
    ROTATE.survives_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_where_values_are_shown() {
    Operation { can: READABLE, ..ROTATE }.survives_everywhere().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_where_tokens_have_no_names() {
    Operation {
        can: NAMELESS,
        effects: &[
            "list",
            "PUT apitokens/ci/status",
            "create",
            "PUT secrets/ci",
            "PUT apitokens/ci/status",
            "list",
            "revoke tok-1",
            "delete tok-1",
            "PUT apitokens/ci/status",
        ],
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_in_place() {
    Operation {
        can: RESETTING,
        effects: &[
            "list",
            "PUT apitokens/ci/status",
            "reset tok-1",
            "PUT secrets/ci",
            "PUT apitokens/ci/status",
            "list",
            "delete tok-1",
            "PUT apitokens/ci/status",
        ],
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_with_overlap() {
    Operation {
        spec: || json!({ "rotation": { "interval": "48h", "overlap": "2h" } }),
        effects: &[
            "list",
            "PUT apitokens/ci/status",
            "create",
            "PUT secrets/ci",
            "PUT apitokens/ci/status",
        ],
        end: is_rotated_with_overlap,
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_suspension() {
    Operation {
        can: SUSPENDING,
        begin: suspend,
        effects: &["list", "suspend tok-1", "PUT apitokens/ci/status"],
        end: is_suspended,
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal() {
    Operation {
        spec: || json!({ "suspendPolicy": "Withdraw" }),
        begin: suspend,
        effects: &["list", "delete tok-1", "PUT secrets/ci", "PUT apitokens/ci/status"],
        end: is_withdrawn,
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation() {
    Operation {
        begin: revoke,
        effects: &["list", "delete tok-1", "DELETE secrets/ci", "PUT apitokens/ci/status"],
        end: is_revoked,
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion() {
    Operation {
        begin: delete,
        effects: &["list", "delete tok-1", "PATCH apitokens/ci"],
        end: is_gone,
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_where_a_token_is_revoked_first() {
    Operation {
        can: NAMELESS,
        begin: delete,
        effects: &["list", "revoke tok-1", "delete tok-1", "PATCH apitokens/ci"],
        end: is_gone,
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_that_leaves_the_token() {
    Operation {
        spec: || json!({ "deletionPolicy": "Retain" }),
        begin: delete,
        effects: &["PUT tokenissuers/vendor/status", "PATCH apitokens/ci"],
        end: |remote| {
            async {
                remote.until_gone("ci").await;
                assert_eq!(remote.issuer.live_ids(), ["tok-1"]);
                assert_eq!(remote.ledger().await, [("tok-1".to_owned(), "Retained".to_owned())]);
            }
            .boxed()
        },
        ..ROTATE
    }
    .survives_everywhere()
    .await;
}

/// What a first issue that was never ended leaves is ended with its object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_in_the_middle_of_a_first_issue() {
    for can in [PLAIN, NAMELESS] {
        let remote = Remote::new("middle", can).await;
        let at = ISSUE.effects.iter().position(|effect| *effect == "create").unwrap();
        remote.wire.arm(Some((at, Cut::After)));
        remote.team.declare("ci", of_the_issuer(json!({}))).await;
        remote.wire.is_cut().await;
        remote.team.delete::<ApiToken>("ci").await;
        let remote = remote.crash(HAND_OVER).await;
        is_gone(&remote).await;
        remote.stop().await;
    }
}
