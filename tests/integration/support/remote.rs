//! What a test of an issuer that others run begins with.

use std::sync::Arc;

use apitoken_operator::{
    api::{ApiToken, TokenIssuer, conditions, conditions::ConditionType, issuer::Orphan, names},
    issuers::{Capabilities, Issuer as _},
};
use futures::{StreamExt, stream};
use jiff::SignedDuration;
use kube::Client;
use serde_json::{Value, json};

use super::{
    clock::TestClock,
    control_plane::{self, ControlPlane},
    eventually,
    issuer::ScriptedIssuer,
    operator::InProcess,
    tokens::{Team, hash, is_true, recorded_hash},
    wire::Wire,
};

/// As many operators as run beside each other in one test.
const AT_ONCE: usize = 6;
/// The name of the TokenIssuer.
pub const ISSUER: &str = "vendor";

/// Tries the rows of a table beside each other: each of them mostly waits.
pub async fn for_each<R>(rows: impl IntoIterator<Item = R>, test: impl AsyncFn(R)) {
    let test = &test;
    stream::iter(rows)
        .for_each_concurrent(AT_ONCE, |row| async move { test(row).await })
        .await;
}

/// The shared control plane, a namespace with an issuer that others run, and the operator for it.
pub struct Remote {
    /// The control plane.
    pub plane: &'static ControlPlane,
    /// The namespace.
    pub team: Team,
    /// The issuer.
    pub issuer: ScriptedIssuer,
    /// The time, for operator and issuer.
    pub clock: TestClock,
    /// The way from the operator to the world.
    pub wire: Wire,
    admin: Client,
    upstream: Client,
    operator: InProcess,
}

impl Remote {
    /// With an issuer that is ready and can do that.
    pub async fn new(what: &str, can: Capabilities) -> Self {
        Self::with(what, can, json!({})).await
    }

    /// With fields of the TokenIssuer's spec.
    pub async fn with(what: &str, can: Capabilities, fields: Value) -> Self {
        let plane = control_plane::shared();
        Self::reached_by(plane.admin().await, plane.operator().await, what, can, fields).await
    }

    /// Another one, reached by the same connections: a new one costs more than all that a test does.
    pub async fn another(&self, what: &str) -> Self {
        let can = self.issuer.capabilities();
        Self::reached_by(self.admin.clone(), self.upstream.clone(), what, can, json!({})).await
    }

    async fn reached_by(admin: Client, upstream: Client, what: &str, can: Capabilities, fields: Value) -> Self {
        let plane = control_plane::shared();
        let namespace = plane.namespace(what).await;
        let (clock, wire) = (TestClock::default(), Wire::default());
        let issuer = ScriptedIssuer::new(can, &clock);
        let operator = start(&upstream, &namespace, &clock, &issuer, &wire).await;
        let team = Team::new(admin.clone(), &namespace);
        team.credential("vendor", "vendor-credential").await;
        team.issuer(ISSUER, issuer_spec(fields)).await;
        let remote = Self {
            plane,
            team,
            issuer,
            clock,
            wire,
            admin,
            upstream,
            operator,
        };
        eventually("the issuer is ready", || async {
            let status = remote.token_issuer().await.status?;
            conditions::is_true(&status.conditions, ConditionType::Ready).then_some(())
        })
        .await;
        remote
    }

    /// With a token `ci` that is issued.
    pub async fn issued(what: &str, can: Capabilities, spec: Value) -> Self {
        let remote = Self::new(what, can).await;
        remote.declare("ci", spec).await;
        remote.team.ready("ci").await;
        remote
    }

    /// Declares an ApiToken of the issuer.
    pub async fn declare(&self, name: &str, spec: Value) -> ApiToken {
        self.team.declare(name, of_the_issuer(spec)).await
    }

    /// Changes the spec of the ApiToken `ci`.
    pub async fn respec(&self, patch: Value) {
        self.team.change("ci", json!({ "spec": patch })).await;
    }

    /// Lets time pass, and has the operator look at `ci` again.
    pub async fn later(&self, by: SignedDuration) {
        self.clock.advance(by);
        self.team.nudge("ci").await;
    }

    /// Asks for a rotation of `ci`, a while after what was last done to it.
    pub async fn ask_for_rotation(&self, request: &str) {
        self.clock.advance(SignedDuration::from_secs(10));
        let annotations = json!({ names::ROTATE_REQUESTED_AT_ANNOTATION: request });
        self.team.change("ci", json!({ "metadata": { "annotations": annotations } })).await;
    }

    /// Waits until `ci` is ready, was rotated that often, and nothing of a rotation is left to do.
    pub async fn rotated(&self, rotations: i64) -> ApiToken {
        let token = self
            .team
            .until("ci", "rotated", |token| {
                let status = token.status.clone().unwrap_or_default();
                let done = status.pending.is_none() && status.previous.is_empty();
                done && status.rotations == Some(rotations) && is_true(token, ConditionType::Ready)
            })
            .await;
        self.is_whole().await;
        token
    }

    /// One token lives, the status names it, and the Secret holds it.
    pub async fn is_whole(&self) {
        let live = self.issuer.live();
        assert_eq!(live.len(), 1, "one token lives: {live:?}, after {:?}", self.issuer.calls());
        let token = self.team.token("ci").await;
        assert_eq!(current_id(&token), live[0].id);
        assert_eq!(self.team.value("ci", "token").await, live[0].value);
        assert_eq!(recorded_hash(&token), hash(&live[0].value));
    }

    /// Waits until exactly these tokens live at the issuer.
    pub async fn until_live(&self, ids: &[&str]) {
        let what = format!("{ids:?} live at the issuer of {}", self.team.namespace);
        eventually(&what, || async { (self.issuer.live_ids() == ids).then_some(()) }).await;
    }

    /// Waits until the ApiToken is gone.
    pub async fn until_gone(&self, name: &str) {
        let what = format!("ApiToken {}/{name} goes", self.team.namespace);
        eventually(&what, || async {
            self.team.api::<ApiToken>().get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    /// The TokenIssuer now.
    pub async fn token_issuer(&self) -> TokenIssuer {
        self.team.api().get(ISSUER).await.unwrap()
    }

    /// Its ledger: ids and reasons.
    pub async fn ledger(&self) -> Vec<(String, String)> {
        let orphans = self.token_issuer().await.status.unwrap_or_default().orphans;
        orphans.into_iter().map(|Orphan { id, reason, .. }| (id, reason)).collect()
    }

    /// Starts another operator beside the first one.
    pub async fn another_operator(&self) -> InProcess {
        start(&self.upstream, &self.team.namespace, &self.clock, &self.issuer, &Wire::default()).await
    }

    /// Ends the operator where it stands, and starts another one a while later.
    pub async fn crash(self, pause: SignedDuration) -> Self {
        self.operator.kill().await;
        self.clock.advance(pause);
        let wire = Wire::default();
        let operator = start(&self.upstream, &self.team.namespace, &self.clock, &self.issuer, &wire).await;
        Self { operator, wire, ..self }
    }

    /// Ends the operator.
    pub async fn stop(self) {
        self.operator.stop().await;
    }
}

async fn start(upstream: &Client, namespace: &str, clock: &TestClock, issuer: &ScriptedIssuer, wire: &Wire) -> InProcess {
    let client = wire.client(upstream.clone());
    InProcess::start_at(client, clock.clone(), Arc::new(issuer.by(wire)), namespace).await
}

/// The spec of an issuer that others run; every one of them opens the scripted one.
pub fn issuer_spec(fields: Value) -> Value {
    merged(
        json!({ "wavefront": { "url": "https://example.com", "credentialsRef": { "name": "vendor", "key": "token" } } }),
        fields,
    )
}

/// The spec of an ApiToken of that issuer.
pub fn of_the_issuer(fields: Value) -> Value {
    merged(json!({ "issuerRef": { "kind": "TokenIssuer", "name": ISSUER } }), fields)
}

fn merged(mut object: Value, fields: Value) -> Value {
    object.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    object
}

/// The id of the current token; empty where there is none.
pub fn current_id(token: &ApiToken) -> String {
    let current = token.status.as_ref().and_then(|status| status.token.as_ref());
    current.and_then(|current| current.id.clone()).unwrap_or_default()
}
